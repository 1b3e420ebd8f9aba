package chromium

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/kind/bookmark"
)

const fixtures = "../../../../shared/fixtures/bookmarks/radam9__bookmarks-converter/resources/"

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil && strings.HasPrefix(name, fixtures) {
		tb.Skip("the shared fixtures are not there")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// What Chromium 156 wrote itself is written again byte for byte, checksum included.
func TestBytesAreTheBrowsers(t *testing.T) {
	b := read(t, filepath.Join("testdata", "chromium156.json"))
	d, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Bytes(); !bytes.Equal(got, b) {
		t.Errorf("got\n%s", got)
	}
	if len(d.Changes) != 0 {
		t.Errorf("changes: %v", d.Changes)
	}
}

func TestFixture(t *testing.T) {
	b := read(t, fixtures+"bookmarks_chrome.json")
	d, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	d.Tree.Each(func(*bookmark.Node) error { n++; return nil })
	out := d.Bytes()
	for _, want := range []string{`"date_added": "13323109671091028"`, `"guid": "4cf2e351-0e85-532b-bb37-df045d8f8d0f"`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s is not there", want)
		}
	}
	if n != bytes.Count(b, []byte(`"type"`))-3 {
		t.Errorf("%d nodes", n)
	}
}

func TestWhatIsNoFile(t *testing.T) {
	for _, s := range []string{"", "{}", "[]", "null", `{"roots":{}}`, `{"roots":{"other":1}}`, `{"roots":{"other":{"children":[1]}}}`, `{"roots":{"other":{}}} {}`, strings.Repeat(`{"roots":`, 5000),
		`{"roots":{"other":` + strings.Repeat(`{"children":[`, 5000)} {
		if _, err := Parse([]byte(s)); !errors.Is(err, ErrForm) {
			t.Errorf("%.40q: %v", s, err)
		}
	}
}

func TestNewNodesGetNumbers(t *testing.T) {
	d := New()
	for range 2 {
		d.Tree.Root(bookmark.Other).Append(&bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.URL, URL: "http://a.example/", Title: "<a>\u2028\x01"}})
	}
	out := d.Bytes()
	for _, want := range []string{`"id": "4"`, `"id": "5"`, `\u003Ca>\u2028\u0001`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s is not there:\n%s", want, out)
		}
	}
	again, err := Parse(out)
	if err != nil || !bytes.Equal(again.Bytes(), out) {
		t.Errorf("%v\n%s", err, again.Bytes())
	}
}

func FuzzParse(f *testing.F) {
	b, _ := os.ReadFile(filepath.Join("testdata", "chromium156.json"))
	f.Add(b)
	f.Add([]byte(`{"roots":{"other":{"children":[{"type":"folder","name":"a","children":[{}]}],"id":"x"},"q":{"url":1}},"sync":{"a":[1,{}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		once := d.Bytes()
		again, err := Parse(once)
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		if twice := again.Bytes(); !bytes.Equal(once, twice) {
			t.Errorf("written again:\n%s\n%s", once, twice)
		}
	})
}
