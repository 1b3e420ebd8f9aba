package bookmarks

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
)

var _ source.Books = (*Source)(nil)

const chromiumFile = `{"checksum":"","roots":{"bookmark_bar":{"children":[{"id":"5","name":"a","type":"url","url":"http://a/"}],"id":"1","name":"x","type":"folder"}},"version":1}`

type collector struct {
	records []item.Record
	changes []item.Change
}

func (c *collector) Record(r item.Record) error { c.records = append(c.records, r); return nil }
func (c *collector) Change(x item.Change) error { c.changes = append(c.changes, x); return nil }
func (c *collector) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return errors.New("bookmarks have no files")
}

func put(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	home := filepath.Join(t.TempDir(), "a [b] *")
	for _, dir := range []string{".mozilla/firefox/x.default-esr", "snap/firefox/common/.mozilla/firefox/y.default", ".var/app/org.mozilla.firefox/.mozilla/firefox/z"} {
		put(t, filepath.Join(home, dir, "places.sqlite"), "")
	}
	for _, dir := range []string{".config/chromium/Default", ".config/google-chrome/Profile 1", ".config/BraveSoftware/Brave-Browser/Default", ".config/microsoft-edge/Default", ".config/chromium/System Profile", ".config/opera"} {
		put(t, filepath.Join(home, dir, "Bookmarks"), chromiumFile)
	}
	put(t, filepath.Join(home, ".config/vivaldi/Default/EncryptedBookmarks2"), "v10")
	found := Find(home)
	if len(found) != 9 {
		t.Errorf("found %q", found)
	}
	for i := range found {
		found[i], _ = filepath.Rel(home, found[i])
	}
	if !slices.Contains(found, filepath.FromSlash(".config/google-chrome/Profile 1")) || slices.Contains(found, filepath.FromSlash(".config/chromium/System Profile")) {
		t.Errorf("found %q", found)
	}
	if got := Find(filepath.Join(home, "nobody")); len(got) != 0 {
		t.Errorf("found %q", got)
	}
}

func TestLocate(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		data string
		form Form
	}{"a.html": {"<!DOCTYPE NETSCAPE-Bookmark-file-1>", HTML}, "Bookmarks": {chromiumFile, Chromium}, "b.json": {chromiumFile, Chromium}, "c.json": {` {"guid":"root________"}`, Backup},
		"d.jsonlz4": {"mozLz40\x00", Packed}, "e.bak": {"mozLz40\x00", Packed}, "places.sqlite": {"SQLite format 3\x00", Firefox}, "empty.json": {"", Backup}} {
		put(t, filepath.Join(dir, name), c.data)
		if p, err := Locate(filepath.Join(dir, name)); err != nil || p.Form != c.form {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	if p, err := Locate(filepath.Join(dir, "new.html")); err != nil || p.Form != HTML {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := Locate(t.TempDir()); !errors.Is(err, ErrPlace) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none.html")); err == nil {
		t.Error("a file that does not exist was opened")
	}
	put(t, filepath.Join(dir, "p", "EncryptedBookmarks2"), "v10")
	put(t, filepath.Join(dir, "p", "Preferences"), "{}")
	if _, err := Locate(filepath.Join(dir, "p")); err == nil || !strings.Contains(err.Error(), "encrypted") {
		t.Errorf("encrypted: %v", err)
	}
}

func TestAccountBookmarksAreABookOfTheirOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "google-chrome", "Default")
	for _, name := range []string{"Bookmarks", "AccountBookmarks", "Preferences"} {
		put(t, filepath.Join(dir, name), chromiumFile)
	}
	s, err := Open(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found, err := s.Survey(context.Background())
	if err != nil || len(found) != 2 || found[0].Items != 1 || !found[0].Can || found[1].Book != "Chrome account" {
		t.Errorf("%+v %v", found, err)
	}
	var to collector
	if err := s.Read(context.Background(), &to); err != nil || len(to.records) != 2 || to.records[0].Book != "Chrome" || to.records[1].Book != "Chrome account" {
		t.Errorf("%+v %v", to.records, err)
	}
}

func TestBrokenFilesAreSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	put(t, path, "{")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := s.Survey(context.Background()); err != nil || found[0].Can || found[0].Why == "" {
		t.Errorf("%+v %v", found, err)
	}
	if err := s.Read(context.Background(), &collector{}); err == nil {
		t.Error("it was read")
	}
}
