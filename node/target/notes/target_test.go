package notes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/note"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/notes"
	"github.com/decant-dev/decant/node/target"
)

var (
	_ source.Books = (*notes.Source)(nil)
	_ target.Books = (*Target)(nil)
	_ rule.Rules   = note.Rules{}
)

const fixtures = "../../../../shared/fixtures/notes/obsidianmd__obsidian-importer/"

// collector makes records of files too, as a collection does.
type collector struct {
	records []item.Record
	changes []item.Change
}

func (c *collector) Record(r item.Record) error { c.records = append(c.records, r); return nil }
func (c *collector) Change(x item.Change) error { c.changes = append(c.changes, x); return nil }
func (c *collector) File(at string, k item.Kind, _ time.Time, open func() (io.ReadCloser, error)) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	c.records = append(c.records, (note.Rules{}).Split(note.Top+at, b)...)
	return err
}

func collect(t *testing.T, arg string) *collector {
	t.Helper()
	s, err := notes.Open(arg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found, err := s.Survey(context.Background())
	if err != nil || len(found) != 1 || !found[0].Can {
		t.Errorf("%+v %v", found, err)
	}
	c := &collector{}
	if err := s.Read(context.Background(), c); err != nil {
		t.Fatal(arg, err)
	}
	return c
}

type step struct {
	write target.Write
	now   target.Existing
	old   []byte
}

func deliver(t *testing.T, tg *Target, records []item.Record) (decisions []rule.Decision, steps []step) {
	t.Helper()
	ctx := context.Background()
	var have []target.Existing
	var plain []item.Record
	if err := tg.Read(ctx, item.Note, func(e target.Existing) error {
		have, plain = append(have, e), append(plain, e.Record)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	decisions, err := note.Rules{}.Match(ctx, plain, records, rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var writes []target.Write
	for i, d := range decisions {
		w := target.Write{Record: records[i], Key: fmt.Sprint(i)}
		w.Record.Data = d.Result
		s := step{}
		switch d.Verdict {
		case rule.Same:
			continue
		case rule.Merge:
			w.ID, w.Version, s.old = have[d.With].ID, have[d.With].Version, have[d.With].Data
		}
		s.write = w
		steps, writes = append(steps, s), append(writes, w)
	}
	err = tg.Write(ctx, item.Note, writes, func(i int, now target.Existing, err error) error {
		steps[i].now = now
		if err != nil {
			t.Errorf("%s: %v", writes[i].Record.Path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return decisions, steps
}

func undo(t *testing.T, tg *Target, steps []step) {
	t.Helper()
	var writes []target.Write
	for _, s := range slices.Backward(steps) {
		writes = append(writes, target.Write{ID: s.now.ID, Version: s.now.Version, Record: item.Record{Data: s.old}})
	}
	if err := tg.Write(context.Background(), item.Note, writes, func(i int, _ target.Existing, err error) error { return err }); err != nil {
		t.Fatal(err)
	}
}

// world is all that is in a directory.
func world(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all[at] = "directory"
			return err
		}
		b, err := os.ReadFile(at)
		all[at] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// What comes from Keep, Evernote or a folder is there, is there only once, and goes again.
func TestThereAndBack(t *testing.T) {
	for _, from := range []string{"keep", "keep/notes", "evernote", "evernote/yarle", "evernote/test-file-with-many-dots.enex", "evernote/expected"} {
		t.Run(from, func(t *testing.T) {
			if _, err := os.Stat(fixtures + from); err != nil {
				t.Skip("the shared fixtures are not there")
			}
			c := collect(t, fixtures+from)
			if len(c.records) == 0 {
				t.Fatal("nothing is read")
			}
			dir := t.TempDir()
			tg, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer tg.Close()
			before := world(t, dir)
			_, steps := deliver(t, tg, c.records)
			for _, s := range steps {
				b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(s.now.ID)))
				if err != nil || string(b) != string(s.write.Record.Data) {
					t.Errorf("%s: %v", s.now.ID, err)
				}
				if s.now.ID != s.write.Record.Path {
					t.Errorf("%s became %s", s.write.Record.Path, s.now.ID)
				}
			}
			again, _ := deliver(t, tg, c.records)
			for i, d := range again {
				if d.Verdict != rule.Same {
					t.Errorf("the second time %s is %v", c.records[i].Path, d.Verdict)
				}
			}
			undo(t, tg, steps)
			if after := world(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("after undo there is %v", after)
			}
		})
	}
}

func TestOpeningMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Close()
	if err := tg.Read(context.Background(), item.Note, func(target.Existing) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("looking at it has made the directory")
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Open(file); err == nil {
		t.Error("a file was opened")
	}
}

func TestConflictAndMerge(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.md": "mine", "b.md": "---\nlabels: [x]\nmine: 1\n---\nsame text\n", "sub/c.md": "---\ntitle: C\ncreated: 2024-01-01T00:00:00Z\n---\nold"} {
		os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	before := world(t, dir)
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Close()
	var in []item.Record
	for _, r := range [][2]string{{"a.md", "theirs"}, {"b.md", "---\nlabels: [x, y]\ncolor: RED\nmine: 2\n---\nsame text"}, {"other.md", "---\ntitle: C\ncreated: 2024-01-01T00:00:00Z\n---\nnew"}, {"d.md", "d"}} {
		in = append(in, item.Record{Kind: item.Note, Path: r[0], Data: []byte(r[1])})
	}
	d, steps := deliver(t, tg, in)
	for i, want := range []rule.Verdict{rule.Conflict, rule.Merge, rule.Conflict, rule.New} {
		if d[i].Verdict != want {
			t.Errorf("%s: %v, want %v", in[i].Path, d[i].Verdict, want)
		}
	}
	if len(d[1].Changes) != 1 || d[1].Changes[0].Property != "MINE" {
		t.Errorf("changes: %v", d[1].Changes)
	}
	now := world(t, dir)
	if got := now[filepath.Join(dir, "b.md")]; got != "---\nlabels: [x, y]\nmine: 1\ncolor: RED\n---\nsame text\n" {
		t.Errorf("merged: %q", got)
	}
	if now[filepath.Join(dir, "a.md")] != "mine" || now[filepath.Join(dir, "a (2).md")] != "theirs" {
		t.Errorf("both are not kept: %v", now)
	}
	if info, err := os.Stat(filepath.Join(dir, "b.md")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	again, _ := deliver(t, tg, in)
	for i := range again {
		if again[i].Verdict != rule.Same {
			t.Errorf("again: %s: %v", in[i].Path, again[i].Verdict)
		}
	}
	undo(t, tg, steps)
	if after := world(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after undo: %v", after)
	}
}

func TestEditedIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Close()
	_, steps := deliver(t, tg, []item.Record{{Kind: item.Note, Path: "a.md", Data: []byte("a")}})
	if err := os.WriteFile(filepath.Join(dir, "a.md"), []byte("edited"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{nil, []byte("x")} {
		err := tg.Write(context.Background(), item.Note, []target.Write{{ID: steps[0].now.ID, Version: steps[0].now.Version, Record: item.Record{Data: data}}}, func(_ int, _ target.Existing, err error) error {
			if !errors.Is(err, target.ErrEdited) {
				t.Error(err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestNamesFromOutside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vault")
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Close()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(filepath.Dir(dir), "outside")
	os.Mkdir(outside, 0o700)
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]string{"../../x.md": "", "/etc/x.md": "etc/x.md", ".obsidian/plugins/p/main.js": "_obsidian/plugins/p/main.js", "a\x00b\n.md": "a_b_.md", `c:\x.md`: "c__x.md", "CON.md": "_CON.md",
		"[[x]] #1.md": "[[x]] #1.md", strings.Repeat("é", 300) + ".md": "?", "link/x.md": "", "": "", "...": "", "a/./b.md": "", "\xff.md": "_.md"} {
		now := ""
		err := tg.Write(context.Background(), item.Note, []target.Write{{Record: item.Record{Path: name, Data: []byte("x")}}}, func(_ int, e target.Existing, err error) error {
			if refused := (*target.RefusedError)(nil); err != nil && name != "link/x.md" && !errors.As(err, &refused) {
				t.Errorf("%q: %v", name, err)
			}
			now = e.ID
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if now != want && !(want == "?" && len(now) > 100 && len(now) < 255) && !(name == "../../x.md" || name == "a/./b.md" || name == "...") {
			t.Errorf("%q became %q", name, now)
		}
		if strings.Contains(now, "..") {
			t.Errorf("%q became %q", name, now)
		}
	}
	if all, err := os.ReadDir(outside); err != nil || len(all) > 0 {
		t.Errorf("outside there is %v", all)
	}
	if all, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(all) != 2 {
		t.Errorf("outside there is %v", all)
	}
}
