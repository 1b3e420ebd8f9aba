package handset

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/test/fidelity"
)

// TestExports asks a tokenizer that shares nothing with this package what the exports hold.
func TestExports(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	x, err := Export(dir, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Export(dir, Options{}); err == nil {
		t.Error("it was made into a directory that is not empty")
	}
	again, other := filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")
	Export(again, Options{Seed: 1})
	Export(other, Options{Seed: 2})
	if a, b, c := contents(t, dir), contents(t, again), contents(t, other); !maps.Equal(a, b) || maps.Equal(a, c) {
		t.Error("what is made does not follow from the seed")
	}
	for path, want := range map[string]int{x.Contacts: exportedContacts, x.Calendar: exportedEvents, x.Messages: exportedMessages, x.Calls: exportedCalls, x.Bookmarks: exportedBookmarks} {
		records, broken := read(t, path)
		if records != want {
			t.Errorf("%s has %d records, want %d", path, records, want)
		}
		if wantBroken := path == x.Contacts; (broken == 1) != wantBroken {
			t.Errorf("%s has %d broken lines", path, broken)
		}
	}
	for dir, want := range map[string]int{x.Notes: exportedNotes + 4, x.Networks: exportedNetworks} {
		if files, err := os.ReadDir(dir); err != nil || len(files) != want {
			t.Errorf("%s has %d files, want %d; %v", dir, len(files), want, err)
		}
	}
}

func TestSettled(t *testing.T) {
	s, err := Settle(filepath.Join(t.TempDir(), "a"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{s.Contacts: 4, s.Calendar: 3, s.Bookmarks: 1} {
		if records, broken := read(t, path); records != want || broken != 0 {
			t.Errorf("%s has %d records and %d broken lines", path, records, broken)
		}
	}
}

// read counts the records of a file, without folders, separators, zones and what is the file's own, and lines that are no property.
func read(t *testing.T, path string) (records, broken int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := fidelity.Parse(path, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Records {
		if r.Kind == "" || r.Kind == "timezone" || r.Kind == "bookmark" && r.Properties[0].Value != "bookmark" {
			continue
		}
		records++
		for _, p := range r.Properties {
			if p.Name == "" {
				broken++
			}
		}
	}
	return records, broken
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for k, v := range fingerprint(t, dir) {
		// Times are those of the making.
		if i := len(v); i > 64 {
			v = v[i-64:]
		}
		all[k] = v
	}
	return all
}
