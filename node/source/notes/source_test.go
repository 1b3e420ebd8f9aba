package notes

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/decant-dev/decant/node/item"
)

type collector struct {
	records []item.Record
	changes []item.Change
	files   map[string]string
}

func (c *collector) Record(r item.Record) error { c.records = append(c.records, r); return nil }
func (c *collector) Change(x item.Change) error { c.changes = append(c.changes, x); return nil }
func (c *collector) File(path string, _ item.Kind, _ time.Time, open func() (io.ReadCloser, error)) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if c.files == nil {
		c.files = map[string]string{}
	}
	c.files[path] = string(b)
	return err
}

func (c *collector) paths() (out []string) {
	for _, r := range c.records {
		out = append(out, r.Path)
	}
	return out
}

func (c *collector) told(record string) bool {
	return slices.ContainsFunc(c.changes, func(x item.Change) bool { return x.Record == record || x.UID == record })
}

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const evernoteFile = `<?xml version="1.0"?><!DOCTYPE en-export SYSTEM "x"><en-export><note><title>E/1</title><content><![CDATA[<en-note>one <en-media hash="5d41402abc4b2a76b9719d911017c592" type="text/plain"/></en-note>]]></content>
<resource><data encoding="base64">aGVsbG8=</data><mime>text/plain</mime><resource-attributes><file-name>h.txt</file-name></resource-attributes></resource></note>
<note><title>E/1</title><content><![CDATA[<en-note>two <en-media hash="5d41402abc4b2a76b9719d911017c592"/></en-note>]]></content><resource><data encoding="base64">aGVsbG8=</data><mime>text/plain</mime><resource-attributes><file-name>h.txt</file-name></resource-attributes></resource></note></en-export>`

func TestRead(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"Keep/a.json":            `{"color":"RED","textContent":"text","title":"A","userEditedTimestampUsec":1,"attachments":[{"filePath":"p.jpeg","mimetype":"image/jpeg"},{"filePath":"gone.png","mimetype":"image/png"}]}`,
		"Keep/a.html":            "<p>the same</p>",
		"Keep/b.json":            `{"isTrashed":true,"textContent":"again","title":"B","userEditedTimestampUsec":1,"attachments":[{"filePath":"p.jpg"}]}`,
		"Keep/a.md":              "a note of mine",
		"Keep/p.jpg":             "PICTURE",
		"Keep/broken.json":       `{"isTrashed":true`,
		"Keep/Labels.txt":        "l",
		"vault/n.md":             "---\ntitle: N\n---\nn",
		"vault/data.json":        `{}`,
		"vault/attachments/x":    "x",
		"vault/.obsidian/app.js": "settings",
		"e.enex":                 evernoteFile,
	})
	secret := filepath.Join(t.TempDir(), "secret.md")
	put(t, filepath.Dir(secret), map[string]string{"secret.md": "SECRET"})
	if err := os.Symlink(secret, filepath.Join(dir, "vault", "link.md")); err != nil {
		t.Skip(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var c collector
	if err := s.Read(context.Background(), &c); err != nil {
		t.Fatal(err)
	}
	if got, want := c.paths(), []string{"Keep/a (2).md", "Keep/b.md", "Keep/Labels.txt", "Keep/a.md", "vault/n.md", "e/E_1.md", "e/E_1 (2).md"}; !slices.Equal(got, want) {
		t.Errorf("notes: %q", got)
	}
	for path, want := range map[string]string{"Keep/attachments/p.jpg": "PICTURE", "Keep/broken.json": `{"isTrashed":true`, "vault/data.json": "{}", "vault/attachments/x": "x", "e/attachments/h.txt": "hello", "e/attachments/h (2).txt": "hello"} {
		if c.files[path] != want {
			t.Errorf("%s: %q", path, c.files[path])
		}
	}
	if len(c.files) != 6 {
		t.Errorf("files: %v", c.files)
	}
	for _, r := range c.records {
		if strings.Contains(string(r.Data), "SECRET") {
			t.Error("a link was followed")
		}
	}
	for _, what := range []string{"broken.json", "gone.png", ".obsidian", "link.md"} {
		if !c.told(what) {
			t.Errorf("nothing is said about %s: %v", what, c.changes)
		}
	}
	if body := string(c.records[0].Data); !strings.Contains(body, "![p.jpg](attachments/p.jpg)") {
		t.Errorf("%s", body)
	}
	if body := string(c.records[6].Data); !strings.Contains(body, "[h.txt](attachments/h%20%282%29.txt)") {
		t.Errorf("%s", body)
	}
	temp := s.temp
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(temp); temp == "" || !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", temp, err)
	}
}

func TestSurveyCounts(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.md": "x", "b.txt": "y", "e.enex": evernoteFile, ".hidden.md": "z", "p.png": "p"})
	for arg, want := range map[string]int64{dir: 4, filepath.Join(dir, "e.enex"): 2} {
		s, err := Open(arg)
		if err != nil {
			t.Fatal(err)
		}
		found, err := s.Survey(context.Background())
		if err != nil || len(found) != 1 || found[0].Items != want || found[0].Bytes <= 0 {
			t.Errorf("%s: %+v %v", arg, found, err)
		}
		s.Close()
	}
	if _, err := Open(filepath.Join(dir, "none")); err == nil {
		t.Error("nothing was opened")
	}
}

// What lies in an archive is read in the same way.
func TestReadFS(t *testing.T) {
	var c collector
	files := fstest.MapFS{"Takeout/Keep/a.json": {Data: []byte(`{"color":"RED","textContent":"t","title":"A","userEditedTimestampUsec":1}`)}, "Takeout/Keep/x.enex": {Data: []byte(evernoteFile)}}
	if err := ReadFS(context.Background(), files, "takeout.zip", nil, &c); err != nil || len(c.records) != 1 || len(c.files) != 1 || c.records[0].From != "takeout.zip/Takeout/Keep/a.json" {
		t.Errorf("%v %+v", err, c)
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	put(t, home, map[string]string{"Documents/Vault/.obsidian/app.json": "{}", "Documents/other/x": "", "Nextcloud/Notes/a.md": ""})
	if got := Find(home); !slices.Equal(got, []string{filepath.Join(home, "Nextcloud", "Notes"), filepath.Join(home, "Documents", "Vault")}) {
		t.Errorf("%q", got)
	}
}

// TestBrokenExport: a file of Evernote that can't be read to its end is told, and the other notes arrive.
func TestBrokenExport(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.enex": `<!DOCTYPE x [<!ENTITY a "b">]><en-export>`,
		"b.md":   "# here\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got collector
	if err := s.Read(t.Context(), &got); err != nil || len(got.records) != 1 || len(got.changes) != 1 || !strings.Contains(got.changes[0].Why, "no file of Evernote") {
		t.Errorf("%+v, %v", got, err)
	}
}
