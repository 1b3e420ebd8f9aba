//go:build linux && !portable

package folder

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/node/item"
)

// TestNoSpace fills a file system of 1 MiB: the error says so, no small item is half
// there, and when there is room again the same calls succeed.
func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() != 0 || unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m") != nil {
		t.Skip("mounting a file system needs root")
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	tg := openT(t, dir)
	if free, err := tg.Free(); err != nil || free > 1<<20 || free < 1<<19 {
		t.Errorf("%d bytes free, %v", free, err)
	}
	small, chunk := bytes.Repeat([]byte("s"), 100_000), bytes.Repeat([]byte("l"), 1<<18)
	var plan places
	for i := range 16 {
		plan = append(plan, Place{"d/" + string(rune('a'+i)), true, 100_000, 1e18, 0o644, 0})
	}
	plan = append(plan, Place{"large", true, 4 << 18, 1e18, 0o644, 0})
	s := tg.NewStager(plan)
	full := item.Ordinal(0)
	for ; full < 16; full++ {
		if err := s.Write(full, 0, 0, small); err != nil {
			if !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
	}
	if full == 16 {
		t.Fatal("1.6 MB went into 1 MiB")
	}
	if in, err := tg.Tree().Lstat(plan[full].Dest); err != nil || in.Exists() {
		t.Errorf("half an item is there: %+v, %v", in, err)
	}
	var err error
	for i := int64(0); i < 4 && err == nil; i++ {
		err = s.Write(16, 0, i<<18, chunk)
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("a large item: %v", err)
	}
	if r := settle(t, s, fileItem(16, plan[16])); r.Complete {
		t.Error("a large item that did not fit counts as complete")
	}
	for o := range full + 1 {
		p := plan[o]
		check(t, s.Discard(o, &p))
	}
	p := plan[16]
	check(t, s.Discard(16, &p))
	check(t, s.Write(full, 0, 0, small))
	if r := settle(t, s, fileItem(full, plan[full])); !r.Complete {
		t.Errorf("once there was room: %+v", r)
	}
}
