//go:build !race

package folder

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// TestR5FailedCall lets each call of a sender that makes something durable fail, one in each run: the sender is not told
// that the thing is there, what it was told before is, and the next run does it all.
func TestR5FailedCall(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace")
	}
	for _, c := range []struct {
		calls, fault string
		least        int // so many of these calls there are
	}{
		{"fsync", "EIO", 10},
		{"renameat", "EIO", 4},
		{"mkdirat", "ENOSPC", 8},
	} {
		t.Run(c.calls, func(t *testing.T) {
			for n := 1; ; n++ {
				dir, sid, sender := t.TempDir(), id.NewSession(), newPeer()
				env := append(os.Environ(), fmt.Sprintf("%s=%s %s %x 1", helperEnv, dir, sid, sender[:]))
				cmd := exec.Command(strace, "-f", "-o", os.DevNull, "-e", "trace="+c.calls,
					"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", c.calls, c.fault, n), os.Args[0])
				cmd.Env = env
				out, err := cmd.Output()
				if err != nil && n == 1 && len(out) == 0 && !bytes.Contains(err.(*exec.ExitError).Stderr, []byte("open folder")) {
					t.Skipf("strace can't inject here: %s", err.(*exec.ExitError).Stderr)
				}
				told := checkTold(t, dir, sid, string(out))
				if err == nil {
					if n <= c.least {
						t.Errorf("call %d failed and nobody minded", n)
					}
					return // there are no more calls
				}
				if told == 2 {
					t.Errorf("call %d failed and all was told", n)
				}
				again := exec.Command(os.Args[0])
				again.Env = env
				out, err = again.Output()
				if err != nil || checkTold(t, dir, sid, string(out)) != 2 {
					t.Errorf("after call %d failed: %v", n, err)
				}
			}
		})
	}
}

// checkTold checks that what a sender was told is there, and that what is there is whole. It returns how much was told.
func checkTold(t *testing.T, dir string, sid id.Session, out string) (told int) {
	t.Helper()
	young := openT(t, dir, id.Peer{1}, false)
	for line := range strings.Lines(out) {
		what, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, err := id.ParseBlob(text)
		if err != nil {
			t.Fatal(err)
		}
		told++
		switch what {
		case "blob":
			if b, err := young.Session(sid).Get(t.Context(), name, nil); err != nil || !bytes.Equal(b, blobOf(name, wire.BlobSizeS)) {
				t.Errorf("blob %v: %v", name, err)
			}
		case "message":
			ms, _, err := young.Mailbox(sid.Scope()).Fetch(t.Context(), 0, 0)
			if err != nil || len(ms) == 0 || id.Blob(ms[len(ms)-1].Body) != name {
				t.Errorf("message %v: %v", name, err)
			}
		}
	}
	return told
}
