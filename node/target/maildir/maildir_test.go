package maildir

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/maildir"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/env"
)

type sink struct {
	records []item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return nil
}
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

// maildir makes a Maildir with a folder, a link out of it and what mail programs leave there.
func maildir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"cur", "new", "tmp", ".Sent.Old/cur", ".Sent.Old/new", ".Sent.Old/tmp", ".notes"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"cur/1.a.host:2,FS":           "Subject: one\r\n\r\nbody\r\n",
		"new/2.b.host":                "Subject: two\n\nno break",
		"tmp/3.c.host":                "unfinished",
		".Sent.Old/cur/4.d.host:2,RS": "Subject: four\n\n4\n",
		"cur/.hidden":                 "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "cur", "5.e.host:2,")); err != nil {
		t.Skip(err)
	}
	return dir
}

func read(t *testing.T, dir string) *sink {
	t.Helper()
	in, err := source.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	s := &sink{}
	if err := in.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func have(t *testing.T, d *Dir) (out []target.Existing) {
	t.Helper()
	if err := d.Read(context.Background(), item.Message, func(e target.Existing) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func send(t *testing.T, d *Dir, incoming []item.Record) map[rule.Verdict]int {
	t.Helper()
	profile, _ := d.Profile(context.Background(), item.Message)
	for i, r := range incoming {
		incoming[i], _, _ = message.Rules{}.Shape(r, profile)
	}
	var there []item.Record
	for _, e := range have(t, d) {
		there = append(there, e.Record)
	}
	decisions, err := message.Rules{}.Match(context.Background(), there, incoming, rule.Options{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[rule.Verdict]int{}
	var writes []target.Write
	for i, d := range decisions {
		verdicts[d.Verdict]++
		if d.Verdict == rule.New {
			writes = append(writes, target.Write{Record: incoming[i], Key: "0123-" + string(rune('a'+i))})
		}
	}
	for range 2 { // the second time, the first one's answers were lost
		if err := d.Write(context.Background(), item.Message, writes, func(_ int, _ target.Existing, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
	return verdicts
}

func TestMaildirRoundTrips(t *testing.T) {
	from := maildir(t)
	in := read(t, from)
	if len(in.records) != 3 || len(in.changes) != 1 || !strings.Contains(in.changes[0].Why, "regular") {
		t.Fatalf("%d mails, %v", len(in.records), in.changes)
	}
	to := filepath.Join(t.TempDir(), "new")
	d, err := Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if v := send(t, d, in.records); v[rule.New] != 3 {
		t.Errorf("%v", v)
	}
	out := read(t, to)
	for i := range out.records {
		if string(out.records[i].Data) != string(in.records[i].Data) || out.records[i].Book != in.records[i].Book {
			t.Errorf("went in as %s %s, came out as %s %s", in.records[i].Book, in.records[i].Data, out.records[i].Book, out.records[i].Data)
		}
	}
	if v := send(t, d, read(t, from).records); v[rule.Same] != 3 {
		t.Errorf("again: %v", v)
	}
	if left, _ := filepath.Glob(to + "/*tmp/*"); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if names, _ := filepath.Glob(to + "/.Sent.Old/cur/*.decant:2,RS"); len(names) != 1 {
		t.Errorf("the folder has %v", names)
	}
}

func TestEditedMailsAreLeftAlone(t *testing.T) {
	dir := maildir(t)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e := have(t, d)
	if err := os.Rename(filepath.Join(dir, "cur/1.a.host:2,FS"), filepath.Join(dir, "cur/1.a.host:2,S")); err != nil {
		t.Fatal(err)
	}
	fresh := message.NewMail([]byte("Subject: new\n\nx\n"), "", "S")
	var errs []error
	err = d.Write(context.Background(), item.Message, []target.Write{
		{ID: e[0].ID, Version: e[0].Version},
		{ID: e[1].ID, Version: e[1].Version},
		{ID: e[2].ID, Version: e[2].Version, Record: item.Record{Data: fresh.Bytes()}},
	}, func(_ int, _ target.Existing, err error) error { errs = append(errs, err); return nil })
	if err != nil || !errors.Is(errs[0], target.ErrEdited) || errs[1] != nil || errs[2] != nil {
		t.Fatalf("%v %v", err, errs)
	}
	after := have(t, d)
	if len(after) != 2 || after[0].Label != e[0].Label {
		t.Errorf("%d mails are left", len(after))
	}
}

func TestOpenTakesNoOtherDirectory(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	if d, err := Open(dir); err == nil {
		d.Close()
		t.Error("a directory with something else in it becomes a Maildir")
	}
}

func TestHostileBooksStayInside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m := message.NewMail([]byte("Subject: x\n\n"), "", "../S")
	for i, book := range []string{"../../out", "/abs", "a\x00b", strings.Repeat("x", 5000), "..", "."} {
		err := d.Write(context.Background(), item.Message, []target.Write{{Record: item.Record{Book: book, Data: m.Bytes()}, Key: "../" + string(rune('a'+i))}},
			func(_ int, now target.Existing, err error) error { return err })
		if err != nil {
			t.Errorf("%q: %v", book, err)
		}
	}
	entries, _ := os.ReadDir(filepath.Dir(dir))
	if len(entries) != 1 {
		t.Errorf("something was written outside: %v", entries)
	}
	if n := len(have(t, d)); n != 6 {
		t.Errorf("%d mails", n)
	}
}

// TestPythonReadsWhatIsWritten asks an independent implementation.
func TestPythonReadsWhatIsWritten(t *testing.T) {
	python := env.Program(t, "python3")
	dir := filepath.Join(t.TempDir(), "m")
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	send(t, d, read(t, maildir(t)).records)
	out, err := exec.Command(python, "-c", `
import mailbox, sys
box = mailbox.Maildir(sys.argv[1], create=False)
print(sorted((m['Subject'], m.get_subdir(), m.get_flags()) for m in box), box.list_folders(), [(m['Subject'], m.get_flags()) for m in box.get_folder('Sent.Old')])
`, dir).CombinedOutput()
	if want := "[('one', 'cur', 'FS'), ('two', 'cur', '')] ['Sent.Old'] [('four', 'RS')]\n"; err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}
