package gather

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
)

// shelf is a source in memory.
type shelf struct {
	records []item.Record
	files   map[string]string
	changes []item.Change
	err     error
}

func (s *shelf) Survey(context.Context) ([]item.Found, error) { return nil, nil }
func (s *shelf) Close() error                                 { return nil }

func (s *shelf) Read(_ context.Context, to item.Sink) error {
	for _, r := range s.records {
		if err := to.Record(r); err != nil {
			return err
		}
	}
	for path, data := range s.files {
		err := to.File(path, item.Note, time.Unix(1e9, 0), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil })
		if err != nil {
			return err
		}
	}
	for _, c := range s.changes {
		if err := to.Change(c); err != nil {
			return err
		}
	}
	return s.err
}

// tree returns the files below a directory with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestContainers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	a := &shelf{records: []item.Record{
		{Kind: item.Contact, Data: []byte("BEGIN:VCARD\r\nEND:VCARD")},
		{Kind: item.Contact, Book: "Work/../..", Data: []byte("BEGIN:VCARD\r\nUID:w\r\nEND:VCARD\r\n")},
		{Kind: item.Message, Data: []byte(`{"a":1}`)},
		{Kind: item.Network, Path: "../../etc/passwd.nmconnection", Data: []byte("[connection]\n")},
		{Kind: item.Network, Path: "etc/PASSWD.nmconnection", Data: []byte("[connection]\n")},
	}, files: map[string]string{"a/b.md": "note"}, changes: []item.Change{{Property: "X"}}}
	b := &shelf{records: []item.Record{{Kind: item.Contact, Data: []byte("BEGIN:VCARD\r\nUID:b\r\nEND:VCARD\r\n")}}}
	g, err := Into(t.Context(), dir, []Source{{"vcf:friends.vcf", "friends", a}, {"vcf:Friends.vcf", "Friends", b}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Contacts/friends.vcf":                 "BEGIN:VCARD\r\nEND:VCARD\r\n",
		"Contacts/Friends (2).vcf":             "BEGIN:VCARD\r\nUID:b\r\nEND:VCARD\r\n",
		"Contacts/Work_.._.vcf":                "BEGIN:VCARD\r\nUID:w\r\nEND:VCARD\r\n",
		"Messages/friends.messages.ndjson":     "{\"a\":1}\n",
		"Networks/etc/passwd.nmconnection":     "[connection]\n",
		"Networks/etc/PASSWD (2).nmconnection": "[connection]\n",
		"Notes/friends/a/b.md":                 "note",
	}
	got := tree(t, dir)
	for path, data := range want {
		if got[path] != data {
			t.Errorf("%s holds %q, want %q", path, got[path], data)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %v", got)
	}
	for path, k := range map[string]item.Kind{"Messages/friends.messages.ndjson": item.Message, "Networks/etc/passwd.nmconnection": item.Network,
		"Notes/friends/a/b.md": item.Note, "Contacts/friends.vcf": item.Contact} {
		if kind.Of(path) != k {
			t.Errorf("%s is taken for a %v", path, kind.Of(path))
		}
	}
	if g.Records[item.Contact] != 3 || g.Files != 1 || len(g.Roots) != 4 || !slices.IsSorted(g.Roots) || len(g.Changes) != 1 || g.Changes[0].From != "vcf:friends.vcf" {
		t.Errorf("%+v", g)
	}
	if info, err := os.Stat(filepath.Join(dir, "Contacts/friends.vcf")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestAgain: what has not changed stays the very file that it was, what has gone goes.
func TestAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	card := func(uid string) item.Record {
		return item.Record{Kind: item.Contact, Book: uid, Data: []byte("BEGIN:VCARD\r\nUID:" + uid + "\r\nEND:VCARD\r\n")}
	}
	into := func(s *shelf) {
		t.Helper()
		if _, err := Into(t.Context(), dir, []Source{{"vcf:x", "x", s}}); err != nil {
			t.Fatal(err)
		}
	}
	into(&shelf{records: []item.Record{card("same"), card("gone")}})
	before, err := os.Stat(filepath.Join(dir, "Contacts/same.vcf"))
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := os.Stat(filepath.Join(dir, "Contacts"))
	if err != nil {
		t.Fatal(err)
	}
	into(&shelf{records: []item.Record{card("same"), card("gone")}})
	if again, err := os.Stat(filepath.Join(dir, "Contacts")); err != nil || !again.ModTime().Equal(dirs.ModTime()) {
		t.Errorf("the directory has another time: %v", err)
	}
	into(&shelf{records: []item.Record{card("new"), card("same")}})
	after, err := os.Stat(filepath.Join(dir, "Contacts/same.vcf"))
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("it is another file: %v", err)
	}
	if got := tree(t, dir); len(got) != 2 || got["Contacts/new.vcf"] == "" {
		t.Errorf("there are %v", got)
	}
	// A source that fails leaves what was there.
	failed := errors.New("no")
	if _, err := Into(t.Context(), dir, []Source{{"vcf:x", "x", &shelf{err: failed}}}); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	if got := tree(t, dir); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}

// TestLongContainers: messages go on in another file.
func TestLongContainers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	s := &shelf{}
	line := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	for range 60 {
		s.records = append(s.records, item.Record{Kind: item.Message, Data: line})
	}
	if _, err := Into(t.Context(), dir, []Source{{"smsxml:sms.xml", "sms", s}}); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for path, data := range tree(t, dir) {
		if len(data) > MaxContainer+1<<20 {
			t.Errorf("%s has %d bytes", path, len(data))
		}
		sum += strings.Count(data, "\n")
	}
	if sum != 60 {
		t.Errorf("%d lines", sum)
	}
}

// TestManyLines: no container has so many records that it would not be taken apart.
func TestManyLines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	s := &shelf{records: slices.Repeat([]item.Record{{Kind: item.Call, Data: []byte("{}")}}, maxLines+5)}
	if _, err := Into(t.Context(), dir, []Source{{"smsie:calls.json", "calls", s}}); err != nil {
		t.Fatal(err)
	}
	files := tree(t, dir)
	if a, b := strings.Count(files["Calls/calls.calls.ndjson"], "\n"), strings.Count(files["Calls/calls_002.calls.ndjson"], "\n"); a != maxLines || b != 5 {
		t.Errorf("%d and %d lines", a, b)
	}
	for _, data := range files {
		if kind.TooMany(item.Call, []byte(data)) {
			t.Error("too many records")
		}
	}
}

// TestBooksOfParts: a container that goes on in other files is one book, in the order of the files' names.
func TestBooksOfParts(t *testing.T) {
	names := []string{"Messages/sms.messages.ndjson", "Messages/sms_002.messages.ndjson", "Messages/sms_010.messages.ndjson"}
	if !slices.IsSorted(names) {
		t.Error("the parts are not in their order")
	}
	for _, name := range names {
		if r := kind.Rules(item.Message).Split(name, []byte("{}\n")); len(r) != 1 || r[0].Book != "sms" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
