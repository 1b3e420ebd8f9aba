package preview

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/proto/id"
)

func open(t testing.TB, dir string, pretend func(*folder.Caps)) *folder.Target {
	t.Helper()
	tg, err := folder.Open(dir, id.Session{0xab, 1, 2, 3}, folder.Options{Pretend: pretend})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tg.Close() })
	return tg
}

func file(path string, size int64) item.Item {
	return item.Item{Kind: item.File, Form: item.FormFile, Path: path, Size: size, ModTime: 1e18, Perm: 0o644}
}

// pages numbers items and yields them in pages of n.
func pages(n int, items ...item.Item) Pages {
	for i := range items {
		items[i].Ordinal = item.Ordinal(i)
	}
	return func(yield func([]item.Item, error) bool) {
		for len(items) > 0 {
			k := min(n, len(items))
			if !yield(items[:k], nil) {
				return
			}
			items = items[k:]
		}
	}
}

func dests(t *testing.T, p *Plan) []string {
	t.Helper()
	var out []string
	for n := 1; n <= p.Pages(); n++ {
		page, err := p.Page(n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Entries {
			out = append(out, page.Entries[i].Verdict.String()+" "+page.Entries[i].Dest)
		}
	}
	return out
}

func put(t testing.TB, dir, path, content string) {
	t.Helper()
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRT1RT2Rejected: a manifest with one path that leads out is refused as a whole.
func TestRT1RT2Rejected(t *testing.T) {
	for _, path := range []string{
		"../../.ssh/authorized_keys", "a/../../b", "..", ".", "a/./b", "a//b", "a/", "/etc/cron.d/x", "//srv/share", "a/..",
		"", "C:x", "C:/x", `C:\x`, `\\?\GLOBALROOT`, "~/x", "a\x00.jpg", strings.Repeat("x", 256), strings.Repeat("y/", 2500) + "y",
		strings.Repeat("d/", 300) + "f",
	} {
		dir := t.TempDir()
		tg := open(t, dir, nil)
		store := MemStore{}
		_, err := Build(context.Background(), tg, pages(10, file("good", 1), file(path, 1)), store, Options{})
		if !errors.Is(err, folder.ErrPath) {
			t.Errorf("%q: %v, want ErrPath", path, err)
		}
		if store[0] != nil {
			t.Errorf("%q: a plan was stored", path)
		}
		if _, err := Load(tg, store, Options{}); !errors.Is(err, ErrNoPlan) {
			t.Errorf("%q: %v, want ErrNoPlan", path, err)
		}
	}
}

// windows is a target with the rules of Windows, and case-insensitive.
func windows(c *folder.Caps) {
	c.CaseSensitive, c.Normalizes, c.AnyBytes, c.WindowsNames = false, true, false, true
}

// TestNames: RT-3, RT-5, RT-6, RT-7.
func TestRT3RT5RT6RT7Names(t *testing.T) {
	for _, c := range []struct {
		name    string
		pretend func(*folder.Caps)
		paths   string // separated by |
		want    string
	}{
		{"RT3 control characters", nil, "a\nb|a\rb|\x7f|\x1b[2J", "a%0Ab|a%0Db|%7F|%1B[2J"},
		{"RT3 escaped twins", nil, "a%0Ab|a\nb", "a%0Ab|a%0Ab (2)"},
		{"RT5 bytes kept where they can be", nil, "caf\xe9.txt|e\u0301|\u00e9|\u202egpj.exe", "caf\xe9.txt|e\u0301|\u00e9|\u202egpj.exe"},
		{"RT5 invalid UTF-8", windows, "caf\xe9.txt|\xed\xa0\x80", "caf%E9.txt|%ED%A0%80"},
		{"RT5 twins", windows, "e\u0301.txt|\u00e9.txt|\u00c9.TXT", "e\u0301.txt|\u00e9 (2).txt|\u00c9 (3).TXT"},
		{"RT6 case", windows, "A.txt|a.txt|a (2).txt", "A.txt|a (2).txt|a (2) (2).txt"},
		{"RT6 directories", windows, "DIR/x|dir/x|Dir/y|dir/z", "DIR/x|dir (2)/x|Dir (3)/y|dir (2)/z"},
		{"RT6 file and directory", windows, "DIR|dir/x", "DIR|dir (2)/x"},
		{"RT6 one name twice", nil, "x|x|d|d/y", "x|x (2)|d|d (2)/y"},
		{"RT7 devices", windows, "CON|nul.txt|COM1.a.b|COM\u00b9|aux.|a. |file:stream|q?*", "CON_|nul_.txt|COM1_.a.b|COM\u00b9_|aux%2E|a.%20|file%3Astream|q%3F%2A"},
		{"RT7 ordinary elsewhere", nil, "CON|aux.|file:stream|.git/hooks/x|.bashrc|desktop.ini", "CON|aux.|file:stream|.git/hooks/x|.bashrc|desktop.ini"},
		{"our own staging", nil, ".decant-ab010203/tree/x|.decant-0|.DECANT-ab010203", ".decant-ab010203 (2)/tree/x|.decant-0 (2)|.DECANT-ab010203 (2)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var items []item.Item
			for _, p := range strings.Split(c.paths, "|") {
				items = append(items, file(p, 1))
			}
			tg := open(t, t.TempDir(), c.pretend)
			p, err := Build(context.Background(), tg, pages(2, items...), MemStore{}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range dests(t, p) {
				_, d, _ = strings.Cut(d, " ")
				got = append(got, d)
			}
			if strings.Join(got, "|") != c.want {
				t.Errorf("got  %q\nwant %q", strings.Join(got, "|"), c.want)
			}
		})
	}
}

// TestVerdicts: what is there decides.
func TestVerdicts(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "same.txt", "12345")
	tm := (&item.Item{ModTime: 1e18}).Time()
	os.Chtimes(filepath.Join(dir, "same.txt"), tm, tm)
	put(t, dir, "size.txt", "12345")
	put(t, dir, "other.txt", "123456789")
	put(t, dir, "d/in.txt", "1")
	put(t, dir, "isfile", "1")
	os.Mkdir(filepath.Join(dir, "isdir"), 0o755)
	os.Symlink("/etc", filepath.Join(dir, "link"))
	tg := open(t, dir, nil)
	photo := file("skip.jpg", 7)
	photo.Kind = item.Photo
	lost := file("lost", 3)
	lost.Lost = item.ReasonUnreadable
	sub := item.Item{Kind: item.File, Form: item.FormDir, Path: "d", Perm: 0o755, ModTime: 1e18}
	nw := item.Item{Kind: item.File, Form: item.FormDir, Path: "isfile", Perm: 0o755, ModTime: 1e18}
	items := []item.Item{file("same.txt", 5), file("size.txt", 5), file("other.txt", 5), sub, file("d/in.txt", 2), file("d/new", 2),
		nw, file("isfile/x", 1), file("isdir", 1), file("link/passwd", 1), file("link", 1), photo, lost, file("e/f/g", 1)}
	store := MemStore{}
	p, err := Build(context.Background(), tg, pages(3, items...), store, Options{Kinds: []item.Kind{item.File}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"same same.txt", "conflict size (2).txt", "conflict other (2).txt", "same d", "conflict d/in (2).txt", "new d/new",
		"conflict isfile (2)", "new isfile (2)/x", "conflict isdir (2)", "new link (2)/passwd", "conflict link (3)", "skipped skip.jpg", "lost lost", "new e/f/g"}
	if got := dests(t, p); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	e, _ := p.Entry(1)
	if e.Compare != 1 || e.NaturalName() != "size.txt" {
		t.Errorf("size.txt is to be compared with %b of %q", e.Compare, e.NaturalName())
	}
	pv := p.Preview()
	if k := pv.Kinds[1]; k.Kind != "file" || k.New.Items != 4 || k.Conflict.Items != 5 || k.Same.Items != 1 || k.Lost.Items != 1 || pv.RenamedCount != 7 {
		t.Errorf("preview %+v", pv)
	}
	names, _ := os.ReadDir(dir)
	if len(names) != 8 {
		t.Errorf("planning left %v in the target", names)
	}
	// The same from the store, extended by an epoch that found more.
	q, err := Load(tg, store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Extend(context.Background(), pages(4, append(items, file("other.txt", 9), file("e/f/h", 1))...)); err != nil {
		t.Fatal(err)
	}
	want = append(want, "conflict other (3).txt", "new e/f/h")
	if got := dests(t, q); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("extended:\ngot  %q\nwant %q", got, want)
	}
}

// TestWithdrawn: what a later epoch has removed gives its name back, in a plan that is
// still in memory and in one that was loaded.
func TestWithdrawn(t *testing.T) {
	ctx := context.Background()
	for _, load := range []bool{false, true} {
		tg := open(t, t.TempDir(), nil)
		store := MemStore{}
		items := []item.Item{file("a", 1), file("d/b", 2), file("c", 3), {Kind: item.File, Form: item.FormDir, Path: "e", ModTime: 1e18, Perm: 0o755}}
		p, err := Build(ctx, tg, pages(3, items...), store, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := tg.NewStager(p)
		if err := s.Write(0, 0, 0, []byte("1")); err != nil {
			t.Fatal(err)
		}
		if load {
			if p, err = Load(tg, store, Options{}); err != nil {
				t.Fatal(err)
			}
		}
		later := append([]item.Item(nil), items...)
		for _, i := range []int{0, 1, 3} {
			later[i] = item.Item{Kind: item.File, Form: items[i].Form, Lost: item.ReasonRemoved}
		}
		gone := item.Item{Kind: item.Contact, Form: item.FormRecord, Lost: item.ReasonRemoved}
		later = append(later, file("a", 5), file("d/b", 2), file("e", 1), gone)
		for range 2 { // again is the same
			if err := p.Extend(ctx, pages(3, later...)); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"new a", "new d/b", "new c", "new e", "new a", "new d/b", "new e", "none "}
		if got := dests(t, p); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("loaded %v:\ngot  %q\nwant %q", load, got, want)
		}
		for o, stage := range []bool{false, false, true, false, true, true, true, false} {
			if pl, err := p.Place(item.Ordinal(o)); err != nil || pl.Stage != stage {
				t.Errorf("item %d: %+v, %v", o, pl, err)
			}
		}
		if in, err := tg.Tree().Lstat("a"); err != nil || in.Exists() {
			t.Errorf("the withdrawn file is still staged: %+v, %v", in, err)
		}
		pv := p.Preview()
		if k := pv.Kinds[0]; k.New != (item.Tally{Items: 4, Bytes: 11}) || pv.SpaceNeeded != 11 || pv.Directories != 0 || len(pv.Kinds) != 1 {
			t.Errorf("%+v", pv)
		}
	}
}

// TestRT10Space: sizes that add up to more than a number can hold don't fit anywhere.
func TestRT10Space(t *testing.T) {
	tg := open(t, t.TempDir(), nil)
	for _, n := range []int{1, 1 << 13, 1<<14 + 1} { // 2^50 to beyond 2^63 bytes
		items := make([]item.Item, n)
		for i := range items {
			items[i] = file(fmt.Sprint("f", i), item.MaxSize)
		}
		p, err := Build(context.Background(), tg, pages(4096, items...), MemStore{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if pv := p.Preview(); pv.Fits(0) || pv.SpaceNeeded < item.MaxSize {
			t.Errorf("%d items of 2^50 bytes fit: %d of %d", n, pv.SpaceNeeded, pv.SpaceFree)
		}
	}
}

// TestRT4Shown: names in a preview are fit to be printed.
func TestRT4Shown(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "\u202egpj.exe", "something longer")
	lost := file("\xff\u2066lost", 1)
	lost.Lost = item.ReasonUnreadable
	tg := open(t, dir, nil)
	p, err := Build(context.Background(), tg, pages(9, file("\u202egpj.exe", 1), file("a\x1b[2J", 1), lost), MemStore{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pv := p.Preview()
	want := []Renamed{{`\u202egpj.exe`, `\u202egpj (2).exe`}, {`a\x1b[2J`, `a%1B[2J`}}
	if fmt.Sprint(pv.Renamed) != fmt.Sprint(want) || pv.Losses[0].Path != `\xff\u2066lost` {
		t.Errorf("%q, %q", pv.Renamed, pv.Losses)
	}
}

// TestLongNames: pages of the longest paths don't fill the memory.
func TestLongNames(t *testing.T) {
	tg := open(t, t.TempDir(), nil)
	deep := strings.Repeat(strings.Repeat("d", 249)+"/", 15)
	const n = 3 * 4096
	gen := func(yield func([]item.Item, error) bool) {
		for first := 0; first < n; first += 4096 {
			page := make([]item.Item, 4096)
			for i := range page {
				page[i] = file(fmt.Sprintf("%s%06d", deep, first+i), 1)
				page[i].Ordinal = item.Ordinal(first + i)
			}
			if !yield(page, nil) {
				return
			}
		}
	}
	p, err := Build(context.Background(), tg, gen, MemStore{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []item.Ordinal{0, 5000, n - 1, 1, 5001, n - 2} {
		if e, err := p.Entry(o); err != nil || !strings.HasSuffix(e.Dest, fmt.Sprintf("%06d", o)) {
			t.Errorf("item %d: %v, %v", o, e, err)
		}
		if p.size > maxCached && p.lru.Len() > 1 || p.size < 0 || p.lru.Len() != len(p.cache) {
			t.Errorf("%d bytes in %d pages are cached", p.size, p.lru.Len())
		}
	}
}
