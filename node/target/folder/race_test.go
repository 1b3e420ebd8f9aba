package folder

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/decant-dev/decant/node/item"
)

// scratch is a directory on a fast file system, if there is one.
func scratch(t testing.TB) string {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "decant-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var attempts = flag.Int("attempts", 100_000, "of TestRT8Swap")

// TestRT8Swap swaps directories of staging and of the target for links to a place
// outside, again and again, while files are staged and renamed into place. Nothing may
// ever appear outside. The loop is as many attempts as -attempts says; -short makes it 5,000.
func TestRT8Swap(t *testing.T) {
	base := scratch(t)
	target, outside := filepath.Join(base, "target"), filepath.Join(base, "outside")
	for _, d := range []string{"target/in/side", "outside/side"} {
		check(t, os.MkdirAll(filepath.Join(base, d), 0o755))
	}
	tg := openT(t, target)
	var plan places
	for i := range 16 {
		plan = append(plan, Place{fmt.Sprintf("in/side/file-%d", i), true, 4, 1e18, 0o644, 0})
	}
	n := *attempts
	if testing.Short() {
		n = 5000
	}
	var stop atomic.Bool
	swapped := make(chan int, 2)
	for _, dir := range []string{filepath.Join(target, "in"), filepath.Join(target, tg.Staging(), "tree", "in")} {
		go func() { swapped <- swap(dir, outside, &stop) }()
	}
	done, refused := 0, 0
	s := tg.NewStager(plan)
	for i := range n {
		o := item.Ordinal(i % len(plan))
		if i%4 == 0 {
			tg.Tree().Forget("")
			tg.Final().Forget("")
		}
		err := s.Write(o, uint32(i/len(plan))%maxRevision, 0, []byte("data"))
		if err == nil {
			err = tg.Tree().Rename(plan[o].Dest, tg.Final(), plan[o].Dest)
		}
		if err == nil {
			done++
			tg.Final().Remove(plan[o].Dest)
		} else {
			refused++
		}
		if i%len(plan) == 0 {
			p := plan[o]
			s.Discard(o, &p)
		}
	}
	stop.Store(true)
	swaps := <-swapped + <-swapped
	escaped := 0
	check(t, filepath.WalkDir(outside, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			escaped++
		}
		return err
	}))
	if escaped != 0 {
		t.Errorf("%d files escaped", escaped)
	}
	if done == 0 || swaps == 0 {
		t.Errorf("%d done, %d refused, %d swaps: the race was not run", done, refused, swaps)
	}
	t.Logf("%d attempts: %d in place, %d refused, %d swaps, %d escapes", n, done, refused, swaps, escaped)
}

// swap puts a link to outside in the place of dir and back, until it is told to stop.
func swap(dir, outside string, stop *atomic.Bool) (n int) {
	away := dir + ".away"
	for ; !stop.Load(); n++ {
		if os.Rename(dir, away) != nil {
			continue
		}
		os.Symlink(outside, dir)
		os.Remove(dir)
		os.RemoveAll(dir) // made anew meanwhile by the stager
		os.Rename(away, dir)
	}
	os.Rename(away, dir)
	return n
}

// TestRT8Links: links, pipes and files with several names are neither followed nor written to.
func TestRT8Links(t *testing.T) {
	base := t.TempDir()
	target, outside := filepath.Join(base, "target"), filepath.Join(base, "outside")
	check(t, os.MkdirAll(filepath.Join(outside, "dir"), 0o755))
	check(t, os.MkdirAll(target, 0o755))
	check(t, os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o644))
	tg := openT(t, target)
	tree := filepath.Join(target, tg.Staging(), "tree")
	check(t, os.Symlink(outside, filepath.Join(tree, "dir")))
	check(t, os.Symlink(filepath.Join(outside, "f"), filepath.Join(tree, "file")))
	check(t, os.Link(filepath.Join(outside, "f"), filepath.Join(tree, "hard")))
	plan := places{{"dir/x", true, 4, 0, 0o644, 0}, {"file", true, 4, 0, 0o644, 0}, {"hard", true, 8, 0, 0o644, 0}, {"dir", true, 4, 0, 0o644, 0}}
	s := tg.NewStager(plan)
	if err := s.Write(0, 0, 0, []byte("evil")); err == nil {
		t.Error("wrote through a linked directory")
	}
	check(t, s.Write(1, 0, 0, []byte("evil"))) // the link is replaced, not followed
	if in, err := tg.Tree().Lstat("hard"); err != nil || in.Nlink == 1 {
		check(t, tg.Tree().Remove("hard")) // this system does not tell how many names a file has
	}
	check(t, s.Write(2, 0, 0, []byte("evil"))) // a piece: the other name is left alone
	check(t, s.Write(2, 0, 4, []byte("evil")))
	check(t, s.Write(3, 0, 0, []byte("evil")))
	if b, err := os.ReadFile(filepath.Join(outside, "f")); err != nil || string(b) != "outside" {
		t.Errorf("outside/f holds %q, %v", b, err)
	}
	if names, _ := os.ReadDir(filepath.Join(outside, "dir")); len(names) != 0 {
		t.Errorf("outside/dir holds %v", names)
	}
	for _, p := range []string{"../x", "/x", "a/../../x", "", "a//b", "a/", "."} {
		if _, err := tg.Final().OpenRead(p); err == nil {
			t.Errorf("opened %q", p)
		}
		if err := tg.Tree().Rename("file", tg.Final(), p); err == nil {
			t.Errorf("renamed to %q", p)
		}
	}
}

// TestRenameSlowly: the way for file systems without an exclusive rename keeps the same promise.
func TestRenameSlowly(t *testing.T) {
	dir := t.TempDir()
	d, err := openTop(dir)
	check(t, err)
	defer d.Close()
	write := func(name, s string) { check(t, os.WriteFile(filepath.Join(dir, name), []byte(s), 0o644)) }
	write("a", "a")
	write("taken", "taken")
	check(t, d.Mkdir("dir", 0o755))
	write("dir/in", "in")
	check(t, d.Mkdir("takendir", 0o755))
	for _, name := range []string{"a", "dir"} {
		for _, to := range []string{"taken", "takendir"} {
			if err := renameSlowly(d, name, d, to); err == nil {
				t.Errorf("%s replaced %s", name, to)
			}
		}
	}
	check(t, renameSlowly(d, "a", d, "b"))
	check(t, renameSlowly(d, "dir", d, "dir2"))
	for name, want := range map[string]string{"b": "a", "taken": "taken", "dir2/in": "in"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	names, err := d.Names(0)
	check(t, err)
	if len(names) != 4 {
		t.Errorf("%v", names)
	}
}
