//go:build unix

package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source"
)

// tree makes files from a map of paths to contents; a path that ends in a slash is a directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "old")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for p, content := range files {
		full := filepath.Join(dir, filepath.Dir(p)) + "/" + filepath.Base(p)
		if strings.HasSuffix(p, "/") {
			must(t, os.MkdirAll(filepath.Join(dir, p), 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		must(t, os.WriteFile(full, []byte(content), 0o644))
	}
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, roots ...string) *Folder {
	t.Helper()
	f, err := New(roots)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// result is what a scan found.
type result struct {
	items  []item.Item
	stats  []source.Stat
	losses []item.Loss
}

func scanAll(t testing.TB, f *Folder) result {
	t.Helper()
	var r result
	err := f.Scan(context.Background(), func(it *item.Item, st source.Stat) error {
		r.items = append(r.items, *it)
		r.stats = append(r.stats, st)
		return nil
	}, func(l item.Loss) { r.losses = append(r.losses, l) })
	must(t, err)
	for _, it := range r.items {
		if it.Form == item.FormRecord {
			continue
		}
		if err := manifest.CheckPath(it.Path); err != nil {
			t.Errorf("a manifest refuses %q: %v", it.Path, err)
		}
	}
	return r
}

func (r result) paths() (paths []string) {
	for _, it := range r.items {
		if it.Form != item.FormRecord {
			paths = append(paths, it.Path)
		}
	}
	return paths
}

func (r result) lost() (lost []string) {
	for _, l := range r.losses {
		lost = append(lost, fmt.Sprintf("%s %d %s", l.Path, l.Reason, l.Detail))
	}
	return lost
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestScanOrderAndMetadata(t *testing.T) {
	dir := tree(t, map[string]string{"b": "1", "a/z": "22", "a.txt": "", "a/b/c": "333", "A": "4", "empty/": ""})
	at := time.Unix(-5, 7)
	must(t, os.Chtimes(filepath.Join(dir, "a/z"), at, at))
	must(t, os.Chmod(filepath.Join(dir, "a/z"), 0o640))
	must(t, os.Chmod(filepath.Join(dir, "empty"), 0o700))
	r := scanAll(t, open(t, dir))
	same(t, "paths", r.paths(), []string{"old", "old/A", "old/a", "old/a/b", "old/a/b/c", "old/a/z", "old/a.txt", "old/b", "old/empty"})
	same(t, "losses", r.lost(), nil)
	for i, it := range r.items {
		switch it.Path {
		case "old/a/z":
			if it.Size != 2 || it.ModTime != at.UnixNano() || it.Perm != 0o640 || it.Form != item.FormFile || it.Kind != item.File {
				t.Errorf("%+v", it)
			}
			if st := r.stats[i]; st.Size != 2 || identifies && (st.Inode == 0 || st.ChangeTime == 0) || st.Nlink != 1 {
				t.Errorf("%+v", st)
			}
		case "old/empty":
			if it.Form != item.FormDir || it.Perm != 0o700 || it.ModTime == 0 || it.HasContent() {
				t.Errorf("%+v", it)
			}
		}
	}
	again := scanAll(t, open(t, dir))
	same(t, "second scan", again.paths(), r.paths())
}

func TestRoots(t *testing.T) {
	one, two := tree(t, map[string]string{"x": "1"}), tree(t, map[string]string{"x": "2", "n.txt": "3"})
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(two, link))
	f := open(t, one, two, link, filepath.Join(two, "n.txt"), filepath.Join(two, "n.txt"), two+"/./")
	r := scanAll(t, f)
	same(t, "paths", r.paths(), []string{"link", "link/n.txt", "link/x", "n (2).txt", "n.txt", "old", "old/x", "old (2)", "old (2)/n.txt", "old (2)/x", "old (3)", "old (3)/n.txt", "old (3)/x"})
	name := item.ReasonName
	same(t, "losses", r.lost(), []string{fmt.Sprintf("n (2).txt %d n.txt", name), fmt.Sprintf("old (2) %d old", name), fmt.Sprintf("old (3) %d old", name)})
	buf := make([]byte, 10)
	for p, want := range map[string]string{"old/x": "1", "old (2)/x": "2", "link/x": "2", "n.txt": "3", "n (2).txt": "3"} {
		if n, _, err := f.ReadSmall(p, buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%s: %q, %v", p, buf[:n], err)
		}
	}
	for _, bad := range []string{"nothing", "old", "old/nothing", "n.txt/x", "old/../old/x", "old/..", "", "/", "old//x", "link/./x"} {
		if _, _, err := f.ReadSmall(bad, buf); err == nil {
			t.Errorf("read %q", bad)
		}
	}
	if _, err := New(nil); err == nil {
		t.Error("opened nothing")
	}
	for _, p := range []string{filepath.Join(one, "none"), os.DevNull} {
		if _, err := New([]string{one, p}); err == nil {
			t.Errorf("opened %s", p)
		}
	}
}

// TestRT8Symlinks shows that links are reported and never followed.
func TestRT8Symlinks(t *testing.T) {
	dir := tree(t, map[string]string{"d/f": "inside"})
	outside := tree(t, map[string]string{"secret": "outside", "f": "outside"})
	must(t, os.Symlink(outside, filepath.Join(dir, "dir")))
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "file.jpg")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	must(t, os.Symlink(".", filepath.Join(dir, "loop")))
	f := open(t, dir)
	r := scanAll(t, f)
	same(t, "paths", r.paths(), []string{"old", "old/d", "old/d/f"})
	why := fmt.Sprint(int(item.ReasonSymlink))
	same(t, "losses", r.lost(), []string{"old/dangling " + why + " ", "old/dir " + why + " ", "old/file.jpg " + why + " ", "old/loop " + why + " "})
	buf := make([]byte, 100)
	for _, p := range []string{"old/dir/secret", "old/file.jpg", "old/loop/d/f"} {
		if _, _, err := f.ReadSmall(p, buf); !errors.Is(err, source.ErrNotRegular) {
			t.Errorf("%s: %v", p, err)
		}
		if _, err := f.Open(p); !errors.Is(err, source.ErrNotRegular) {
			t.Errorf("%s: %v", p, err)
		}
	}

	// A directory that a link replaces after the scan; the cache is cold in g.
	g := open(t, dir)
	must(t, os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "was d")))
	must(t, os.Symlink(outside, filepath.Join(dir, "d")))
	if n, _, err := g.ReadSmall("old/d/f", buf); !errors.Is(err, source.ErrNotRegular) {
		t.Errorf("read %q through a link: %v", buf[:n], err)
	}
}

// TestRT8SwapRace lets directories turn into links and back while they are scanned and
// read: nothing from outside is ever seen.
func TestRT8SwapRace(t *testing.T) {
	dir := tree(t, map[string]string{"d/e/f": "inside", "d/g": "inside"})
	outside := tree(t, map[string]string{"e/f": "outside", "g": "outside", "only outside": "outside"})
	d, aside := filepath.Join(dir, "d"), filepath.Join(filepath.Dir(dir), "aside")
	link := filepath.Join(filepath.Dir(dir), "link")
	must(t, os.Symlink(outside, link))
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			os.Rename(d, aside)
			os.Rename(link, d)
			runtime.Gosched()
			os.Rename(d, link)
			os.Rename(aside, d)
		}
	})
	buf := make([]byte, 100)
	reads := 0
	for range 2000 {
		f, err := New([]string{dir})
		must(t, err)
		err = f.Scan(context.Background(), func(it *item.Item, _ source.Stat) error {
			if strings.Contains(it.Path, "outside") {
				t.Errorf("scanned %q", it.Path)
			}
			return nil
		}, func(item.Loss) {})
		must(t, err)
		for _, p := range []string{"old/d/e/f", "old/d/g"} {
			if n, _, err := f.ReadSmall(p, buf); err == nil {
				if reads++; string(buf[:n]) != "inside" {
					t.Errorf("%s: read %q", p, buf[:n])
				}
			}
		}
		f.Close()
	}
	stop.Store(true)
	wg.Wait()
	if reads == 0 {
		t.Error("the directory was never there")
	}
}

// TestRT9Specials: what is no file or directory is reported, special bits are dropped and
// reported, hard links become files of their own.
func TestRT9Specials(t *testing.T) {
	dir := tree(t, map[string]string{"a": "x", "set": "x", "dir/": ""})
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(sock)
	here, err := os.Getwd()
	must(t, err)
	must(t, os.Chdir(dir)) // a socket's name is short
	err = unix.Bind(sock, &unix.SockaddrUnix{Name: "socket"})
	must(t, os.Chdir(here))
	must(t, err)
	must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	must(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "dir/c")))
	must(t, os.Chmod(filepath.Join(dir, "set"), 0o755|fs.ModeSetuid))
	f := open(t, dir)
	r := scanAll(t, f)
	same(t, "paths", r.paths(), []string{"old", "old/a", "old/b", "old/dir", "old/dir/c", "old/set"})
	lost := r.lost()
	if !identifies {
		lost = append([]string{fmt.Sprintf("old/b %d ", item.ReasonHardLink), fmt.Sprintf("old/dir/c %d ", item.ReasonHardLink)}, lost...)
	}
	same(t, "losses", lost, []string{
		fmt.Sprintf("old/b %d ", item.ReasonHardLink), fmt.Sprintf("old/dir/c %d ", item.ReasonHardLink),
		fmt.Sprintf("old/pipe %d ", item.ReasonSpecial), fmt.Sprintf("old/set %d set-user-ID, set-group-ID or sticky", item.ReasonPerm),
		fmt.Sprintf("old/socket %d ", item.ReasonSpecial),
	})
	if p := r.items[5].Perm; p != 0o755 {
		t.Errorf("permissions %o", p)
	}
	// Must not wait for a writer.
	if _, _, err := f.ReadSmall("old/pipe", make([]byte, 10)); !errors.Is(err, source.ErrNotRegular) {
		t.Errorf("pipe: %v", err)
	}
}

// TestRT3NamesThatManifestsRefuse: such files move under an escaped name, are reported,
// and can be read by it.
func TestRT3NamesThatManifestsRefuse(t *testing.T) {
	files := map[string]string{
		"new\nline.txt": "1", "esc\x1b]0;x\x07": "2", "del\x7f": "3", "%2e%2E": "4", "..\\x": "5", "percent % and \t tab": "6",
		"C:x": "7", "~": "8", "a\\b": "9", "plain %0A": "10", "dir\r/inner\n": "11", "latin1-\xe9": "12", "...": "13", "nel\u0085": "14",
	}
	dir := tree(t, files)
	f := open(t, dir)
	r := scanAll(t, f)
	want := map[string]string{
		"old/new%0Aline.txt": "1", "old/esc%1B]0;x%07": "2", "old/del%7F": "3", "old/%252e%252E": "4", "old/..%5Cx": "5", "old/percent %25 and %09 tab": "6",
		"old/C:x": "7", "old/~": "8", "old/a\\b": "9", "old/plain %0A": "10", "old/dir%0D/inner%0A": "11", "old/latin1-\xe9": "12", "old/...": "13", "old/nel\u0085": "14",
	}
	renamed := map[string]string{}
	for _, l := range r.losses {
		if l.Reason != item.ReasonName {
			t.Errorf("%+v", l)
		}
		renamed[l.Path] = l.Detail
	}
	if len(renamed) != 8 || renamed["old/new%0Aline.txt"] != "new\nline.txt" {
		t.Errorf("renamed: %q", renamed)
	}
	buf := make([]byte, 10)
	found := 0
	for _, it := range r.items {
		if it.Form == item.FormDir {
			continue
		}
		found++
		n, _, err := f.ReadSmall(it.Path, buf)
		if content, ok := want[it.Path]; err != nil || !ok || string(buf[:n]) != content {
			t.Errorf("%q: %q, want %q, %v", it.Path, buf[:n], content, err)
		}
	}
	if found != len(files) {
		t.Errorf("%d files of %d", found, len(files))
	}
}

func TestRT3EscapedNameIsTaken(t *testing.T) {
	dir := tree(t, map[string]string{"a\nb": "escaped", "a%0Ab": "by birth"})
	f := open(t, dir)
	r := scanAll(t, f)
	same(t, "paths", r.paths(), []string{"old", "old/a%0Ab"})
	if len(r.losses) != 1 || r.losses[0].Reason != item.ReasonUnreadable {
		t.Errorf("losses: %+v", r.losses)
	}
	buf := make([]byte, 20)
	if n, _, err := f.ReadSmall("old/a%0Ab", buf); err != nil || string(buf[:n]) != "by birth" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestRT3RootNames(t *testing.T) {
	for name, want := range map[string]string{"C:": "C%3A", "~": "%7E", "\\x": "%5Cx", "a\nb": "a%0Ab", "~x": "~x", "x:y": "x%3Ay", "..\\": "..%5C"} {
		dir := filepath.Join(t.TempDir(), name)
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644))
		f := open(t, dir)
		r := scanAll(t, f)
		if name == "C:" { // it might be the root of a drive
			want = "root"
		}
		same(t, name, r.paths(), []string{want, want + "/f"})
		if _, _, err := f.ReadSmall(want+"/f", make([]byte, 9)); err != nil {
			t.Error(err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"a", "..\\x", "%2e", "a%0Ab", "\n", "C:", "~", "a\\..\\b", "%2e.", "x\x7f", "%", "%5C"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || name == "." || name == ".." || len(name) > 80 || strings.ContainsAny(name, "/\x00") {
			t.Skip()
		}
		for _, top := range []bool{false, true} {
			path := "d/" + name
			if top {
				path = name
			}
			if got, want := portable(name, top), manifest.CheckPath(path) == nil; got != want {
				t.Fatalf("%q at the top %v: portable %v, manifest %v", name, top, got, want)
			}
			e := escape(name, top)
			if err := manifest.CheckPath(strings.TrimSuffix(path, name) + e); err != nil {
				t.Fatalf("%q becomes %q: %v", name, e, err)
			}
			if raw, ok := unescape(e); !top && e != name && (!ok || raw != name) {
				t.Fatalf("%q becomes %q becomes %q", name, e, raw)
			}
		}
	})
}

func TestTooDeep(t *testing.T) {
	dir := tree(t, nil)
	at := dir
	for range item.MaxDepth + 3 {
		at = filepath.Join(at, "d")
	}
	must(t, os.MkdirAll(at, 0o755))
	must(t, os.WriteFile(filepath.Join(at, "f"), nil, 0o644))
	r := scanAll(t, open(t, dir))
	if len(r.items) != item.MaxDepth || len(r.losses) != 1 || r.losses[0].Reason != item.ReasonTooLong {
		t.Fatalf("%d items, losses %+v", len(r.items), r.losses)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := tree(t, map[string]string{"f": "x", "d/g": "x"})
	must(t, os.Chmod(filepath.Join(dir, "f"), 0))
	must(t, os.Chmod(filepath.Join(dir, "d"), 0))
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "d"), 0o755) })
	f := open(t, dir)
	r := scanAll(t, f)
	same(t, "paths", r.paths(), []string{"old", "old/d", "old/f"})
	same(t, "losses", r.lost(), []string{fmt.Sprintf("old/d %d ", item.ReasonUnreadable)})
	if _, _, err := f.ReadSmall("old/f", make([]byte, 10)); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}

func TestReadSmall(t *testing.T) {
	dir := tree(t, map[string]string{"empty": "", "ten": "0123456789"})
	f := open(t, dir)
	for _, c := range []struct {
		path string
		buf  int
		want string
		err  error
	}{
		{"old/empty", 1, "", nil}, {"old/empty", 0, "", source.ErrTooLarge}, {"old/ten", 11, "0123456789", nil},
		{"old/ten", 10, "", source.ErrTooLarge}, {"old/ten", 1000, "0123456789", nil}, {"old/none", 10, "", fs.ErrNotExist}, {"old/none/none", 10, "", fs.ErrNotExist},
	} {
		buf := make([]byte, c.buf)
		n, st, err := f.ReadSmall(c.path, buf)
		if !errors.Is(err, c.err) || string(buf[:n]) != c.want || err == nil && st.Size != int64(n) {
			t.Errorf("%s into %d: %q, %+v, %v", c.path, c.buf, buf[:n], st, err)
		}
	}
}

// TestReadSmallNoticesChange lets a file grow, shrink and change while it is read over
// and over: what is read without an error is never of two contents.
func TestReadSmallNoticesChange(t *testing.T) {
	dir := tree(t, map[string]string{"f": ""})
	name := filepath.Join(dir, "f")
	contents := []string{strings.Repeat("a", 100), strings.Repeat("b", 5000), strings.Repeat("c", 70_000)}
	must(t, os.WriteFile(name, []byte(contents[0]), 0o644))
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			os.WriteFile(name, []byte(contents[i%3]), 0o644) // cut off, then written
			runtime.Gosched()
		}
	})
	f := open(t, dir)
	buf := make([]byte, 100_000)
	changed := 0
	for range 5000 {
		n, _, err := f.ReadSmall("old/f", buf)
		switch {
		case errors.Is(err, source.ErrChanged):
			changed++
		case err != nil:
			t.Fatal(err)
		case n > 0 && len(bytes.Trim(buf[:n], string(buf[:1]))) > 0:
			t.Fatalf("read a mixture of %d bytes", n)
		}
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d of 5000 reads met a change", changed)
}

func TestOpen(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	dir := tree(t, map[string]string{"d/big": string(content)})
	f := open(t, dir)
	file, err := f.Open("old/d/big")
	must(t, err)
	defer file.Close()
	before, err := file.Stat()
	must(t, err)
	got, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<30))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	p := make([]byte, 100)
	if n, err := file.ReadAt(p, int64(len(content))-10); n != 10 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "d/big"), content[:5], 0o644))
	if after, err := file.Stat(); err != nil || after.Same(before) {
		t.Errorf("not noticed: %+v, %+v, %v", before, after, err)
	}
	if _, err := f.Open("old/d"); err == nil {
		t.Error("opened a directory")
	}
}

func TestXAttrs(t *testing.T) {
	if !identifies || runtime.GOOS != "linux" {
		t.Skip("this build moves no extended attributes")
	}
	dir := tree(t, map[string]string{"f": "x", "none": "x", "many": "x"})
	name := filepath.Join(dir, "f")
	if err := unix.Setxattr(name, "user.b", []byte("2"), 0); err != nil {
		t.Skipf("no extended attributes here: %v", err)
	}
	must(t, unix.Setxattr(name, "user.a", []byte{0, 1, 0xff}, 0))
	must(t, unix.Setxattr(dir, "user.dir", []byte("d"), 0))
	trusted := unix.Setxattr(name, "trusted.x", []byte("x"), 0) == nil
	many := 0
	for i := range item.MaxXAttrs + 1 {
		if unix.Setxattr(filepath.Join(dir, "many"), fmt.Sprintf("user.%03d", i), []byte("x"), 0) == nil {
			many++
		}
	}
	f := open(t, dir)
	if r := scanAll(t, f); len(r.items[0].XAttrs) != 1 || r.items[0].XAttrs[0].Name != "user.dir" {
		t.Errorf("directory: %+v", r.items[0].XAttrs)
	}
	file, err := f.Open("old/f")
	must(t, err)
	defer file.Close()
	kept, dropped, err := file.XAttrs()
	must(t, err)
	if len(kept) != 2 || kept[0].Name != "user.a" || !bytes.Equal(kept[0].Value, []byte{0, 1, 0xff}) || kept[1].Name != "user.b" {
		t.Errorf("kept %+v", kept)
	}
	if trusted != slices.Equal(dropped, []string{"trusted.x"}) {
		t.Errorf("dropped %q", dropped)
	}
	buf := make([]byte, 10)
	for p, want := range map[string]bool{"old/f": true, "old/none": false, "old/many": many > 0} {
		if _, st, err := f.ReadSmall(p, buf); err != nil || st.HasXAttrs != want {
			t.Errorf("%s: %+v, %v", p, st, err)
		}
	}
	if many > item.MaxXAttrs {
		file, err := f.Open("old/many")
		must(t, err)
		defer file.Close()
		kept, dropped, err := file.XAttrs()
		if err != nil || len(kept) != item.MaxXAttrs || len(dropped) != 1 {
			t.Errorf("%d kept, %d dropped, %v", len(kept), len(dropped), err)
		}
	}
}

func TestScanEndsWithContext(t *testing.T) {
	f := open(t, smallTree(t, 2000))
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := f.Scan(ctx, func(*item.Item, source.Stat) error {
		if n++; n == 5 {
			cancel()
		}
		return nil
	}, func(item.Loss) {})
	if !errors.Is(err, context.Canceled) || n > 600 {
		t.Errorf("%d items, %v", n, err)
	}
	stop := errors.New("stop")
	if err := f.Scan(context.Background(), func(*item.Item, source.Stat) error { return stop }, func(item.Loss) {}); err != stop {
		t.Error(err)
	}
}

// TestConcurrentReads reads more directories than stay open from several goroutines.
func TestConcurrentReads(t *testing.T) {
	const dirs = 3 * maxCached
	files := map[string]string{}
	for i := range dirs {
		files[fmt.Sprintf("%d/sub/f", i)] = fmt.Sprint(i)
	}
	f := open(t, tree(t, files))
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			buf := make([]byte, 10)
			for i := range 2 * dirs {
				d := (i*(w+1) + w) % dirs
				if n, _, err := f.ReadSmall(fmt.Sprintf("old/%d/sub/f", d), buf); err != nil || string(buf[:n]) != fmt.Sprint(d) {
					t.Errorf("%d: %q, %v", d, buf[:n], err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(f.cache.entries); n > maxCached {
		t.Errorf("%d directories stay open", n)
	}
	for p, e := range f.cache.entries {
		if e.users != 0 {
			t.Errorf("%s is in use", p)
		}
	}
}

// TestScanMemory shows that a scan holds on to nothing that it has passed.
func TestScanMemory(t *testing.T) {
	f := open(t, smallTree(t, 6000))
	var peak, before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	err := f.Scan(context.Background(), func(*item.Item, source.Stat) error {
		if n++; n == 5900 {
			runtime.GC()
			runtime.ReadMemStats(&peak)
		}
		return nil
	}, func(item.Loss) {})
	must(t, err)
	if grown := int64(peak.HeapAlloc) - int64(before.HeapAlloc); grown > 256<<10 {
		t.Errorf("%d bytes after 5,900 files", grown)
	}
}

func TestRecords(t *testing.T) {
	card := func(uid string) string { return "BEGIN:VCARD\nUID:" + uid + "\nEND:VCARD\n" }
	event := "BEGIN:VEVENT\nUID:e\nEND:VEVENT\n"
	dir := tree(t, map[string]string{
		"all.vcf": card("a") + "BEGIN:VCARD\n" + card("b"), "home.ics": "BEGIN:VCALENDAR\n" + event + "BEGIN:VTODO\nEND:VTODO\n" + event + "END:VCALENDAR\n",
		"empty.vcf": "", "not.vcf": "hello", "x.txt": card("c"),
	})
	r := scanAll(t, open(t, dir))
	var got []string
	for i, it := range r.items {
		s := fmt.Sprintf("%v %d %s %d", it.Kind, it.Form, it.Path, it.Size)
		if it.Form == item.FormRecord {
			s = fmt.Sprintf("%v %d %q %d %v", it.Kind, it.Form, it.Identity[:2], it.Size, it.Ranges)
			if r.stats[i] != r.stats[i-1] || it.ModTime != 0 || it.Perm != 0 {
				t.Errorf("%+v", it)
			}
		}
		if it.Form != item.FormDir {
			got = append(got, s)
		}
	}
	if len(got) < 7 || !strings.HasPrefix(got[6], `calendar 3 "\x02`) {
		t.Fatalf("got %q", got)
	}
	got[6] = "by content"
	same(t, "items", got, []string{
		"contact 1 old/all.vcf 68", `contact 3 "\x01a" 28 [{0 28}]`, `contact 3 "\x01b" 28 [{40 28}]`,
		"contact 1 old/empty.vcf 0",
		"calendar 1 old/home.ics 112", `calendar 3 "\x01e" 60 [{16 30} {68 30}]`, "by content",
		"contact 1 old/not.vcf 5", "file 1 old/x.txt 28",
	})
	same(t, "losses", r.lost(), []string{
		fmt.Sprintf("old/all.vcf %d 1 of 3 records; the last has no end", item.ReasonMalformed), fmt.Sprintf("old/not.vcf %d holds no record", item.ReasonMalformed),
	})
}

func TestRecordsOfLargeFile(t *testing.T) {
	dir := tree(t, map[string]string{"all.vcf": ""})
	must(t, os.Truncate(filepath.Join(dir, "all.vcf"), 64<<20+1))
	r := scanAll(t, open(t, dir))
	if len(r.items) != 2 || len(r.losses) != 1 || r.losses[0].Reason != item.ReasonMalformed {
		t.Fatalf("%+v", r)
	}
}
