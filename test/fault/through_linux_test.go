package fault

import (
	"os"
	"slices"
	"testing"

	"github.com/decant-dev/decant/test/env"
	"golang.org/x/sys/unix"
)

// TestFolderReadOnly receives from a stick that is locked against writing: without a server the receipt waits, and says so; with the
// server back it goes there, and the old device hears of it although it never sees the stick again.
func TestFolderReadOnly(t *testing.T) {
	c := newCrossing(t, "code")
	if os.Getuid() != 0 || unix.Mount("tmpfs", c.stick, "tmpfs", 0, "size=32m") != nil {
		t.Skip("mounting a file system needs root")
	}
	t.Cleanup(func() { unix.Unmount(c.stick, unix.MNT_DETACH) })
	c.begin("5")
	c.put("--whole")
	if err := unix.Mount("", c.stick, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	notices := func(r *env.Result) (codes []string) {
		for _, e := range r.Events {
			if e.Notice != nil {
				codes = append(codes, e.Notice.Code)
			}
		}
		return codes
	}
	r := c.take()
	if r.Err() != nil || !slices.Contains(notices(r), "folder-read-only") || !slices.Contains(notices(r), "receipt-pending") {
		t.Fatalf("exit code %d, notices %v, %s", r.Exit, notices(r), r.Stderr)
	}
	if err := c.w.Server.Start(); err != nil {
		t.Fatal(err)
	}
	if r = c.w.Run(c.device("new", "resume")); r.Err() != nil || slices.Contains(notices(r), "receipt-pending") {
		t.Fatalf("with the server back: exit code %d, notices %v, %s", r.Exit, notices(r), r.Stderr)
	}
	if err := unix.Unmount(c.stick, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if r := c.w.Run(c.device("old", "receipt")); !r.Outcome().SafeWipe {
		t.Errorf("the sender has not heard: exit code %d, %s", r.Exit, r.Stderr)
	}
}
