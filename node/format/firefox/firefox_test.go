package firefox

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/kind/bookmark"
)

const fixtures = "../../../../shared/fixtures/bookmarks/radam9__bookmarks-converter/resources/"

// The hashes are those that Firefox 153 gave its own rows.
func TestURLHash(t *testing.T) {
	for url, want := range map[string]int64{
		"https://support.mozilla.org/products/firefox": 47358327123126,
		"https://support.mozilla.org/kb/customize-firefox-controls-buttons-and-toolbars?utm_source=firefox-browser&utm_medium=default-bookmarks&utm_campaign=customize": 47359956450016,
		"https://www.mozilla.org/contribute/":         47357364218428,
		"https://www.mozilla.org/about/":              47357608426557,
		"https://xn--exmple-cua.com/a%20b?q=%C3%BC#f": 47358664825505,
	} {
		if got := URLHash(url); got != want {
			t.Errorf("%s: %d, want %d", url, got, want)
		}
	}
	URLHash(strings.Repeat("x", 5000))
}

func TestOrigin(t *testing.T) {
	for url, want := range map[string][3]string{
		"https://u:p@a.example:8080/x?y": {"https://", "a.example:8080", "elpmaxe.a."},
		"javascript:alert(1)":            {"javascript:", "", "."},
		"place:type=6":                   {"place:", "", "."},
		"http://[::1]/":                  {"http://", "[::1]", "]1::[."},
		"x":                              {"", "", "."},
	} {
		p, h := origin(url)
		if got := [3]string{p, h, reversed(url)}; got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

func TestBackup(t *testing.T) {
	for _, name := range []string{"bookmarks_firefox.json", "bookmarks_firefox_with_separator.json"} {
		b, err := os.ReadFile(fixtures + name)
		if err != nil {
			t.Skip("the shared fixtures are not there")
		}
		d, err := Parse(b)
		if err != nil {
			t.Fatal(name, err)
		}
		packed, err := Pack(b)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(packed)
		if err != nil || dump(p) != dump(d) {
			t.Errorf("%s: packed it is another: %v", name, err)
		}
		again, err := Parse(d.Bytes())
		if err != nil || dump(again) != dump(d) || len(d.Changes) > 0 {
			t.Errorf("%s: %v %v\n%s\n%s", name, err, d.Changes, dump(again), dump(d))
		}
		if got, want := strings.Count(dump(d), "\n"), bytes.Count(b, []byte(`"typeCode"`))-5; got != want && got != want-1 { // tags are not always there
			t.Errorf("%s: %d nodes of %d", name, got, want)
		}
	}
}

func dump(d *Document) string {
	var out bytes.Buffer
	d.Tree.Each(func(n *bookmark.Node) error { out.Write(n.Encode()); return nil })
	return out.String()
}

func TestWhatIsNoBackup(t *testing.T) {
	for _, s := range []string{"", "{}", "[]", `{"guid":"x"}`, `{"root":"placesRoot"} 1`, magic, magic + "\xff\xff\xff\xff", magic + "\x10\x00\x00\x00\x00", strings.Repeat(`{"children":[`, 5000)} {
		if _, err := Parse([]byte(s)); !errors.Is(err, ErrForm) {
			t.Errorf("%.40q: %v", s, err)
		}
	}
}

func TestDescriptionIsAnAnnotation(t *testing.T) {
	d, err := Parse([]byte(`{"root":"placesRoot","children":[{"root":"toolbarFolder","children":[{"typeCode":1,"title":null,"uri":"u:","annos":[{"name":"` + descriptionAnno + `","value":"d"},{"name":"x","value":1}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	n := d.Tree.Root(bookmark.Toolbar).Children[0]
	var rest []anno
	if json.Unmarshal(n.X[annotations], &rest); n.Description != "d" || len(rest) != 1 || n.Title != "" {
		t.Errorf("%+v", n)
	}
	again, err := Parse(d.Bytes())
	if err != nil || again.Tree.Root(bookmark.Toolbar).Children[0].Description != "d" {
		t.Errorf("%v %s", err, d.Bytes())
	}
}

func TestWhatIsNoDatabase(t *testing.T) {
	for _, sql := range []string{"CREATE TABLE x(y)", "CREATE VIEW moz_bookmarks AS WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id+1 FROM c) SELECT id, 1 type, 1 fk, 1 parent, 1 position, '' title, 1 dateAdded, 1 lastModified, '' guid FROM c"} {
		path := filepath.Join(t.TempDir(), Places)
		db, err := Open(path, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(sql); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read(t.Context(), db); !errors.Is(err, ErrDatabase) {
			t.Errorf("%s: %v", sql, err)
		}
		db.Close()
	}
	path := filepath.Join(t.TempDir(), Places)
	if err := os.WriteFile(path, []byte("hello, this is no database, and long enough to be looked at"), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, _, err := Read(t.Context(), db); !errors.Is(err, ErrDatabase) {
		t.Error(err)
	}
	if Count(t.Context(), path) != -1 {
		t.Error("counted what is no database")
	}
}

// A database whose folders lie in each other in a circle, and whose bookmarks lie nowhere.
func TestBrokenTree(t *testing.T) {
	path := filepath.Join(t.TempDir(), Places)
	db, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE moz_bookmarks(id INTEGER PRIMARY KEY, type, fk, parent, position, title, dateAdded, lastModified, guid);
CREATE TABLE moz_places(id INTEGER PRIMARY KEY, url, last_visit_date);
INSERT INTO moz_places VALUES (1, 'http://a/', NULL);
INSERT INTO moz_bookmarks VALUES (1,2,NULL,0,0,'',0,0,'root________'),(2,2,NULL,1,0,'',0,0,'menu________'),
 (5,2,NULL,6,0,'a',0,0,'aaaaaaaaaaaa'),(6,2,NULL,5,0,'b',0,0,'bbbbbbbbbbbb'),(7,1,1,6,1,'in a circle',0,0,'cccccccccccc'),(8,1,1,99,0,'nowhere',0,0,'dddddddddddd'),(9,1,77,2,0,X'ff',0,0,NULL),(10,9,NULL,2,3,'what',0,0,'eeeeeeeeeeee')`); err != nil {
		t.Fatal(err)
	}
	tree, changes, err := Read(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	got := dump(&Document{Tree: tree})
	for _, want := range []string{"in a circle", "nowhere", `"title":"a"`, `"title":"b"`, "\ufffd"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not there:\n%s", want, got)
		}
	}
	if len(changes) < 3 {
		t.Errorf("changes: %v", changes)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"root":"placesRoot","children":[{"root":"toolbarFolder","children":[{"typeCode":1,"title":"t","uri":"u:","tags":"a,b","keyword":"k","postData":"p"},{"typeCode":3},{"typeCode":2,"title":"f","children":[]}]}]}`))
	f.Add([]byte(magic + "\x05\x00\x00\x00\x50hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(d.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, d.Bytes())
		}
		n, m := 0, 0
		d.Tree.Each(func(*bookmark.Node) error { n++; return nil })
		again.Tree.Each(func(*bookmark.Node) error { m++; return nil })
		if n != m {
			t.Errorf("%d nodes, then %d", n, m)
		}
	})
}
