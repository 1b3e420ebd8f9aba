package apply

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
)

// TestApply applies the sample and looks at everything that it meets.
func TestApply(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.sample()
	w.stage()
	sum := w.apply()

	for path, want := range map[string]string{
		"photos/a.jpg": "jpeg a", "photos/trip/b.jpg": "jpeg b", "docs/same.txt": "the same", "docs/retimed.txt": "same bytes",
		"docs/conflict.txt": "theirs, and longer", "docs/conflict (2).txt": "ours", "docs/length.txt": "87654321",
		"docs/length (2).txt": "12345678", "docs/new.txt": "new", "docs/new/deep/er/x": "x", "docs/kept.txt": "not ours to touch",
		"closed/inner/f": "closed", "empty.txt": "", "top.txt": "top", "link (2)/f": "beside the link", "elsewhere/f": "never touched",
		"broken (2).vcf": "BEGIN:VCARD\r\nFN:No end\r\n",
	} {
		if path == "closed/inner/f" && os.Getuid() != 0 {
			continue
		}
		if got := w.content(path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	if b := w.content("book.vcf"); strings.Count(b, "BEGIN:VCARD") != 4 || !strings.Contains(b, "FN:Two") || !strings.Contains(b, "FN:Other Three") {
		t.Errorf("book.vcf: %q", b)
	}
	if b := w.content("cal.ics"); !strings.Contains(b, "UID:e0") || !strings.Contains(b, "UID:e1") {
		t.Errorf("cal.ics: %q", b)
	}
	if b := w.content("known.vcf"); strings.Count(b, "BEGIN:VCARD") != 2 {
		t.Errorf("known.vcf: %q", b)
	}
	w.checkMeta("photos", 0o755)
	w.checkMeta("photos/trip", 0o750)
	w.checkMeta("closed", 0o500)
	if os.Getuid() == 0 {
		w.checkMeta("closed/inner", 0)
	}
	w.checkMeta("empty", 0o711)

	counts := map[string][7]int64{}
	for i := range sum.Kinds {
		k := &sum.Kinds[i]
		counts[k.Name] = [7]int64{k.Moved.Items, k.Same.Items, k.Kept.Items, k.Merged.Items, k.Skip.Items, k.Lost.Items, k.Failed.Items}
	}
	want := map[string][7]int64{
		// fresh.vcf with a record moved; known.vcf with a record the same, a record of book.vcf too; broken.vcf and its
		// record beside; book.vcf and a record merged, and one kept beside its namesake
		"contact":  {2, 3, 3, 2, 0, 0, 0},
		"calendar": {0, 0, 0, 2, 0, 0, 0},
		"photo":    {2, 0, 0, 0, 0, 0, 0},
		"file":     {11, 3, 2, 0, 0, 0, 0},
	}
	for k, c := range want {
		if counts[k] != c {
			t.Errorf("%s: moved, same, kept, merged, skipped, lost, failed = %v, want %v", k, counts[k], c)
		}
	}
	if sum.Items() != int64(len(w.items)) {
		t.Errorf("%d outcomes for %d items", sum.Items(), len(w.items))
	}

	before := w.tree(true)
	w.reload()
	if again := w.apply(); again.Items() != sum.Items() || w.tree(true) != before {
		t.Errorf("applying a finished plan changed something: %s", diff(before, w.tree(true)))
	}
}

func (w *world) checkMeta(path string, perm os.FileMode) {
	w.t.Helper()
	fi, err := os.Stat(filepath.Join(w.dir, "target", path))
	check(w.t, err)
	if fi.Mode().Perm() != perm || fi.ModTime().UnixNano() != when+7e9 {
		w.t.Errorf("%s is %v, %d", path, fi.Mode(), fi.ModTime().UnixNano())
	}
}

// TestApplyTwice: the same collection in a second session adds nothing.
func TestApplyTwice(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.sample()
	w.stage()
	w.apply()
	check(t, w.target.RemoveStaging())
	before := w.tree(true)

	v := newWorld(t, t.TempDir())
	v.items, v.data = w.items, w.data
	if os.Getuid() != 0 { // nobody else can look into a directory that is closed to him
		check(t, os.Chmod(filepath.Join(w.dir, "target/closed/inner"), 0o700))
		before = w.tree(true)
	}
	check(t, os.Remove(filepath.Join(v.dir, "target")))
	check(t, os.Rename(filepath.Join(w.dir, "target"), filepath.Join(v.dir, "target")))
	v.stage()
	sum := v.apply()
	check(t, v.target.RemoveStaging())
	if after := v.tree(true); after != before {
		t.Errorf("the second time changed something: %s", diff(before, after))
	}
	for _, k := range sum.Kinds {
		if k.Moved.Items+k.Kept.Items+k.Merged.Items+k.Failed.Items != 0 {
			t.Errorf("the second time: %+v", k)
		}
	}
}

// TestUndoExact: afterwards the target is what it was, to the inode and the nanosecond.
func TestUndoExact(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.sample()
	w.open()
	before := w.tree(true)
	w.target.Close()
	w.stage()
	if now := w.tree(true); now != before {
		t.Fatalf("planning and staging changed the target: %s", diff(before, now))
	}
	w.apply()
	w.reload()
	u := w.undo()
	if u.RefusedCount != 0 || u.Restored != 2 {
		t.Errorf("undone: %+v", u)
	}
	if now := w.tree(true); now != before {
		t.Errorf("undo left a difference: %s", diff(before, now))
	}
	if u := w.undo(); u.Files+u.Directories+u.Restored+u.RefusedCount != 0 {
		t.Errorf("undone again: %+v", u)
	}
	check(t, w.target.RemoveStaging())
	if names, _ := os.ReadDir(filepath.Join(w.dir, "target")); len(names) != 7 {
		t.Errorf("%v is left", names)
	}
}

// TestUndoRefuses what the person has changed since, and only that.
func TestUndoRefuses(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.sample()
	w.stage()
	w.apply()
	at := func(p string) string { return filepath.Join(w.dir, "target", p) }
	check(t, os.WriteFile(at("photos/a.jpg"), []byte("edited"), 0o644))       // same size, other time
	check(t, os.WriteFile(at("docs/new.txt"), []byte("new and more"), 0o644)) // other size
	check(t, os.WriteFile(at("book.vcf"), []byte("edited"), 0o644))           // merged, then edited
	check(t, os.WriteFile(at("docs/new/deep/mine"), []byte("mine"), 0o644))   // a file of the person's in our directory
	check(t, os.Remove(at("top.txt")))                                        // removed already
	check(t, os.Remove(at("empty.txt")))                                      // replaced
	check(t, os.WriteFile(at("empty.txt"), nil, 0o644))
	in, err := w.lstat("photos/trip/b.jpg")
	check(t, err)
	inodeTimes := in.ChangeTime != 0 // without them this last change can't be seen
	fi, err := os.Stat(at("photos/trip/b.jpg"))
	check(t, err)
	check(t, os.WriteFile(at("photos/trip/b.jpg"), []byte("JPEG b"), 0o644)) // edited, and the time put back
	check(t, os.Chtimes(at("photos/trip/b.jpg"), fi.ModTime(), fi.ModTime()))
	w.reload()
	u := w.undo()
	refused := map[string]bool{}
	for _, r := range u.Refused {
		refused[r.Path] = true
	}
	want := []string{"photos/a.jpg", "docs/new.txt", "book.vcf", "docs/new/deep", "docs/new", "empty.txt", "photos"}
	if inodeTimes {
		want = append(want, "photos/trip/b.jpg", "photos/trip")
	}
	for _, p := range want {
		if !refused[p] {
			t.Errorf("%s was not refused", p)
		}
		if _, err := os.Lstat(at(p)); err != nil {
			t.Error(err)
		}
	}
	if len(refused) != len(want) {
		t.Errorf("refused: %v", u.Refused)
	}
	for _, p := range []string{"closed", "docs/conflict (2).txt", "link (2)", "fresh.vcf", "docs/new/deep/er"} {
		if _, err := os.Lstat(at(p)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", p)
		}
	}
	if !strings.Contains(w.content("cal.ics"), "UID:e0") || strings.Contains(w.content("cal.ics"), "UID:e1") {
		t.Error("cal.ics was not restored")
	}
}

// TestUndoLate: once the originals are gone, merged files are refused and the rest is undone.
func TestUndoLate(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.sample()
	w.stage()
	w.apply()
	check(t, w.target.RemoveStaging())
	check(t, os.RemoveAll(filepath.Join(w.dir, "target", "empty")))
	check(t, os.WriteFile(filepath.Join(w.dir, "target", "empty"), nil, 0o644)) // our directory is a file now
	w.reload()
	u := w.undo()
	refused := map[string]bool{}
	for _, r := range u.Refused {
		refused[r.Path] = true
	}
	if len(refused) != 3 || !refused["book.vcf"] || !refused["cal.ics"] || !refused["empty"] || u.Restored != 0 {
		t.Errorf("%+v", u)
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "target", "photos")); !errors.Is(err, os.ErrNotExist) {
		t.Error("photos are still there")
	}
}

// TestTargetChanges between the plan and its application: names are taken meanwhile, and
// nothing is replaced.
func TestTargetChanges(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.mkdir("dir", 0o755)
	w.file("dir/a", "ours a")
	w.file("dir/b", "ours b")
	w.file("f.txt", "ours f")
	w.file("g.txt", "the same g")
	w.file("file", "ours")
	w.file("blocked/x", "ours x")
	w.file("c.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:c\r\nFN:C\r\nEND:VCARD\r\n")
	w.stage()
	w.has("dir/a", "their very own a")
	w.has("f.txt", "their f, longer")
	w.has("g.txt", "the same g")
	w.has("file/inside", "a directory now")
	w.has("blocked", "a file now")
	w.has("c.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:d\r\nFN:D\r\nEND:VCARD\r\n")
	before := w.tree(true)
	sum := w.apply()
	for path, want := range map[string]string{
		"dir/a": "their very own a", "dir/a (2)": "ours a", "dir/b": "ours b", "f.txt": "their f, longer", "f (2).txt": "ours f",
		"g.txt": "the same g", "file/inside": "a directory now", "file (2)": "ours", "blocked": "a file now", "blocked (2)/x": "ours x",
	} {
		if got := w.content(path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	if strings.Count(w.content("c.vcf"), "BEGIN:VCARD") != 2 {
		t.Errorf("c.vcf: %q", w.content("c.vcf"))
	}
	if sum.FailedCount != 0 || sum.RenamedCount != 4 {
		t.Errorf("%+v", sum)
	}
	w.undo()
	if now := w.tree(true); now != before {
		t.Errorf("undo left a difference: %s", diff(before, now))
	}
}

// TestSettle: what the final manifest has changed since the catalog.
func TestSettle(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, t.TempDir())
	w.file("d/same", "same")
	w.file("d/grown", "123")
	w.file("d/touched", "touched")
	w.file("d/lost", "gone")
	w.file("d/withdrawn", "nothing")
	w.file("d/missing", "missing")
	w.file("d/empty", "")
	w.file("p.jpg", "not chosen")
	w.opts.Kinds = []item.Kind{item.File}
	w.open()
	var err error
	w.plan, err = preview.Build(ctx, w.target, w.pages(3), fileStore(filepath.Join(w.dir, "plan")), w.opts)
	check(t, err)
	s := w.target.NewStager(w.plan)
	for o, c := range w.data {
		if w.items[o].Path == "d/grown" {
			c = "12345"
		}
		if w.items[o].Path != "d/missing" {
			check(t, s.Write(o, 0, 0, []byte(c)))
		}
	}
	if _, err := Apply(ctx, w.plan, w.log, Options{}); !errors.Is(err, ErrUnsettled) {
		t.Errorf("applying what is not settled: %v", err)
	}
	catalog := w.items
	w.items = append([]item.Item(nil), catalog...)
	w.items[1].Size, w.items[1].ModTime = 5, when+99
	w.items[2].ModTime, w.items[2].Perm = when+98, 0o600
	w.items[2].XAttrs = []item.XAttr{{Name: "user.decant", Value: []byte("v")}}
	w.items[3].Lost = item.ReasonChanging
	w.items[4], w.items[5], w.items[6], w.items[7] = w.items[5], w.items[6], w.items[7], item.Item{}
	final := func(yield func([]item.Item, error) bool) { // ordinals 0–3, then 5–7
		_ = yield(w.items[:4], nil) && yield(w.items[4:6], nil) && yield(w.items[6:7], nil)
	}
	st, err := Settle(ctx, w.plan, s, final, SettleOptions{})
	check(t, err)
	if st.MissingItems != 1 || st.Missing[0] != 5 || st.MissingBytes != 7 || st.Withdrawn != 1 {
		t.Errorf("settled: %+v", st)
	}
	if _, err := Apply(ctx, w.plan, w.log, Options{}); !errors.Is(err, ErrUnsettled) {
		t.Errorf("applying with something missing: %v", err)
	}
	st, err = Settle(ctx, w.plan, s, final, SettleOptions{GiveUp: true})
	check(t, err)
	if !st.OK() {
		t.Errorf("settled: %+v", st)
	}
	sum := w.apply()
	k := sum.Kinds[1]
	if k.Moved.Items != 4 || k.Lost.Items != 1 || k.Failed.Items != 1 || sum.Kinds[0].Skip.Items != 1 || sum.Items() != 7 {
		t.Errorf("%+v", sum)
	}
	if got := w.content("d/grown"); got != "12345" {
		t.Errorf("d/grown holds %q", got)
	}
	in, _ := w.lstat("d/touched")
	if in.Perm != 0o600 || in.ModTime != when+98 {
		t.Errorf("d/touched is %+v", in)
	}
	names, err := os.ReadDir(filepath.Join(w.dir, "target", "d"))
	check(t, err)
	if len(names) != 4 {
		t.Errorf("in place: %v", names)
	}
	w.items[0].Path = "d/other"
	if _, err := Settle(ctx, w.plan, s, final, SettleOptions{}); !errors.Is(err, ErrMismatch) {
		t.Errorf("a manifest that renames an item: %v", err)
	}
}

// TestRT9Metadata: bits that give privileges are masked, times beyond the file system's
// range are clamped and listed, nothing fails.
func TestRT9Metadata(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.file("setuid", "x").Perm = 0o7755
	w.file("early", "x").ModTime = -1 << 63
	w.file("late", "x").ModTime = 1<<63 - 1
	w.file("before 1970", "x").ModTime = -5
	w.file("attribute", "x").XAttrs = []item.XAttr{{Name: "security.capability", Value: []byte("v")}, {Name: "user.ok", Value: []byte("v")}}
	w.mkdir("sticky", 0o7777)
	w.stage()
	for _, l := range w.plan.Preview().Losses {
		if l.Path != "early" && l.Path != "late" && l.Path != "attribute" {
			t.Errorf("forecast: %+v", l)
		}
	}
	sum := w.apply()
	for path, want := range map[string]string{"setuid": "-rwxr-xr-x", "sticky": "drwxrwxrwx"} {
		fi, err := os.Lstat(filepath.Join(w.dir, "target", path))
		check(t, err)
		if fi.Mode().String() != want {
			t.Errorf("%s is %v", path, fi.Mode())
		}
	}
	if in, _ := w.lstat("before 1970"); in.ModTime != -5 && w.target.Caps().KeepsTime(-5) {
		t.Errorf("before 1970: %d", in.ModTime)
	}
	lost := map[string]bool{}
	for _, l := range sum.Losses {
		lost[l.Path] = true
	}
	if !lost["attribute"] || sum.FailedCount != 0 {
		t.Errorf("%+v", sum)
	}
	caps := w.target.Caps()
	if lost["early"] == caps.KeepsTime(-1<<63) || lost["late"] == caps.KeepsTime(1<<63-1) {
		t.Errorf("%+v with %+v", sum.Losses, caps)
	}
}

// TestReadBack verifies chunks by what is in the target, and finds a flipped bit.
func TestReadBack(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.has("b", "other, longer")
	a, b := w.file("a", "first"), w.file("b", "second")
	pieces := []Piece{{Ordinal: a.Ordinal, Length: 5}, {Ordinal: b.Ordinal, Offset: 1, Length: 5}}
	w.stage()
	w.apply()
	r := NewReader(w.plan, w.log)
	defer r.Close()
	if err := r.Verify(pieces, sha256.Sum256([]byte("firstecond"))); err != nil {
		t.Error(err)
	}
	check(t, r.Close())
	check(t, os.WriteFile(filepath.Join(w.dir, "target", "b (2)"), []byte("secOnd"), 0o644))
	if err := r.Verify(pieces, sha256.Sum256([]byte("firstecond"))); !errors.Is(err, ErrDiffers) {
		t.Errorf("a flipped bit: %v", err)
	}
	pieces[0].Revision = 3
	if err := r.Verify(pieces, sha256.Sum256(nil)); !errors.Is(err, ErrNoCopy) {
		t.Errorf("another revision: %v", err)
	}
}
