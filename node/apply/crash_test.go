//go:build linux || darwin

package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/kill"
)

// TestCrashChild is not a test but the process that the crash tests kill: it goes on
// with the world in DECANT_CRASH_DIR.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv("DECANT_CRASH_DIR")
	if dir == "" {
		t.Skip("only as a child of the crash tests")
	}
	if !kill.Enabled {
		t.Fatal("built without kill points")
	}
	w := newWorld(t, dir)
	w.reload()
	w.apply()
}

// killable builds this package's tests with kill points.
func killable(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a second binary")
	}
	bin := filepath.Join(t.TempDir(), "apply.test")
	out, err := exec.Command("go", "test", "-c", "-tags", "killpoints", "-o", bin, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("building with kill points: %v\n%s", err, out)
	}
	return bin
}

// run lets a child go on until it has finished (true) or been killed at spec.
func run(t *testing.T, bin, dir, spec string) bool {
	t.Helper()
	cmd := exec.Command(bin, "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), "DECANT_CRASH_DIR="+dir, "DECANT_KILL="+spec)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return true
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
			return false
		}
	}
	t.Fatalf("child with %q: %v\n%s", spec, err, out)
	return false
}

// after is a world that has been killed at each of specs in turn and then finished.
func after(t *testing.T, bin string, want string, specs ...string) (killed bool) {
	t.Helper()
	w := newWorld(t, t.TempDir())
	w.sample()
	w.stage()
	initial := w.tree(true)
	w.target.Close()
	for _, s := range specs {
		killed = !run(t, bin, w.dir, s) || killed
		w.noPartials()
	}
	w.reload()
	sum := w.apply()
	if sum.Items() != int64(len(w.items)) || sum.FailedCount != 0 {
		t.Errorf("%v: %+v", specs, sum)
	}
	if got := w.tree(false); got != want {
		t.Errorf("killed at %v: %s", specs, diff(want, got))
	}
	w.undo()
	if got := w.tree(true); got != initial {
		t.Errorf("killed at %v, undone: %s", specs, diff(initial, got))
	}
	return killed
}

// noPartials: whatever has a final name is whole.
func (w *world) noPartials() {
	w.t.Helper()
	for o, content := range w.data {
		b, err := os.ReadFile(filepath.Join(w.dir, "target", w.items[o].Path))
		if err == nil && len(b) < len(content) && strings.HasPrefix(content, string(b)) {
			w.t.Errorf("%s is there with %d of %d bytes", w.items[o].Path, len(b), len(content))
		}
	}
}

func reference(t *testing.T) string {
	w := newWorld(t, t.TempDir())
	w.sample()
	w.stage()
	w.apply()
	return w.tree(false)
}

// TestR9KillPoints kills the process at every visit to every point of Apply, lets another
// go on, and finds the same tree as without; undo then finds the same tree as before.
func TestR9KillPoints(t *testing.T) {
	bin := killable(t)
	want := reference(t)
	for _, p := range []kill.Name{kill.ReceiverSynced, kill.ReceiverUndoLog, kill.ReceiverRenamed, kill.ReceiverApplied} {
		n := 1
		for ; after(t, bin, want, fmt.Sprintf("%s:%d", p, n)); n++ {
			if t.Failed() {
				return
			}
		}
		if n == 1 {
			t.Errorf("%s was never reached", p)
		}
		t.Logf("%s: killed at %d visits", p, n-1)
	}
}

// TestR9KillPairs kills twice and three times in a row, at random.
func TestR9KillPairs(t *testing.T) {
	bin := killable(t)
	want := reference(t)
	points := []kill.Name{kill.ReceiverUndoLog, kill.ReceiverRenamed, kill.ReceiverApplied}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 15 {
		var specs []string
		for range 2 + rnd.IntN(2) {
			specs = append(specs, fmt.Sprintf("%s:%d", points[rnd.IntN(len(points))], 1+rnd.IntN(8)))
		}
		after(t, bin, want, specs...)
		if t.Failed() {
			return
		}
	}
}

// patience is a context that is over after so many looks at it.
type patience struct {
	context.Context
	left int
}

func (p *patience) Err() error {
	if p.left--; p.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestInterrupted stops Apply and Undo at every place where they look at their context, and repeats them.
func TestInterrupted(t *testing.T) {
	want := reference(t)
	w := newWorld(t, t.TempDir())
	w.sample()
	w.open()
	initial := w.tree(true)
	w.target.Close()
	w.stage()
	stops := 0
	for n := 0; ; n++ {
		_, err := Apply(&patience{t.Context(), n}, w.plan, w.log, Options{})
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stops++
		w.reload()
	}
	if got := w.tree(false); got != want {
		t.Errorf("applied with %d stops: %s", stops, diff(want, got))
	}
	for n := 0; ; n++ {
		_, err := Undo(&patience{t.Context(), n}, w.plan, w.log)
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stops++
		w.reload()
	}
	if got := w.tree(true); got != initial {
		t.Errorf("undone with %d stops: %s", stops, diff(initial, got))
	}
	if stops < 10 {
		t.Errorf("only %d stops", stops)
	}
}

// TestUndoHalfApplied: undo of an application that was killed in the middle.
func TestUndoHalfApplied(t *testing.T) {
	bin := killable(t)
	for _, spec := range []string{"receiver/undo-log:1", "receiver/undo-log:4", "receiver/renamed:2", "receiver/renamed:9", "receiver/applied:3"} {
		w := newWorld(t, t.TempDir())
		w.sample()
		w.stage()
		initial := w.tree(true)
		w.target.Close()
		if run(t, bin, w.dir, spec) {
			t.Errorf("%s was never reached", spec)
		}
		w.reload()
		if u := w.undo(); u.RefusedCount != 0 {
			t.Errorf("%s: %+v", spec, u)
		}
		if got := w.tree(true); got != initial {
			t.Errorf("%s: %s", spec, diff(initial, got))
		}
	}
}

// TestAsOrdinaryUser runs the tests of this package once more as nobody, if we are root:
// what root may do anyway, closed directories for instance, shows only then.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv("DECANT_NOBODY") != "" {
		t.Skip("needs root, to become somebody else")
	}
	dir, err := os.MkdirTemp("", "decant-nobody-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	home := filepath.Join(dir, "home")
	check(t, os.Mkdir(home, 0o700))
	check(t, os.Chown(home, 65534, 65534))
	bin := filepath.Join(dir, "apply.test")
	self, err := os.Executable()
	check(t, err)
	check(t, copyFile(self, bin))
	cmd := exec.Command(bin, "-test.run=^(TestApply|TestApplyTwice|TestUndoExact|TestUndoRefuses|TestTargetChanges|TestClosedTarget|TestInterrupted)$")
	cmd.Dir = home
	cmd.Env = []string{"TMPDIR=" + home, "HOME=" + home, "DECANT_NOBODY=1"}
	cmd.SysProcAttr = asNobody()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func copyFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return errors.Join(err, out.Close())
}

// TestClosedTarget: where the person's own directory may not be written to, the item
// fails alone, stays in staging, and everything else arrives.
func TestClosedTarget(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("nothing is closed to root; see TestAsOrdinaryUser")
	}
	w := newWorld(t, t.TempDir())
	w.file("closed/f", "f")
	w.file("closed/sub/g", "g")
	w.file("open/h", "h")
	w.has("closed/mine", "mine")
	closed := filepath.Join(w.dir, "target", "closed")
	check(t, os.Chmod(closed, 0o500))
	t.Cleanup(func() { os.Chmod(closed, 0o700) })
	w.stage()
	sum := w.apply()
	if sum.FailedCount != 2 || sum.Kinds[0].Moved.Items != 1 || w.content("open/h") != "h" {
		t.Errorf("%+v", sum)
	}
	if u := w.undo(); u.Files != 1 || u.RefusedCount != 0 {
		t.Errorf("%+v", u)
	}
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// TestMergeKeeps permissions and attributes of the file that was there.
func TestMergeKeeps(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.sample()
	w.open()
	if !w.target.Caps().XAttrs {
		t.Skip("no attributes here")
	}
	check(t, unix.Setxattr(filepath.Join(w.dir, "target", "book.vcf"), "user.mine", []byte("kept"), 0))
	w.target.Close()
	w.stage()
	w.apply()
	buf := make([]byte, 64)
	n, err := unix.Getxattr(filepath.Join(w.dir, "target", "book.vcf"), "user.mine", buf)
	if err != nil || string(buf[:n]) != "kept" {
		t.Errorf("the attribute is %q, %v", buf[:max(n, 0)], err)
	}
	if in, _ := w.lstat("book.vcf"); in.Perm != 0o640 || in.ModTime < when {
		t.Errorf("%+v", in)
	}
}
