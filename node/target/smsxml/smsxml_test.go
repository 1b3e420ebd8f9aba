package smsxml

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/smsxml"
	"github.com/decant-dev/decant/node/target"
)

// sink keeps records and changes.
type sink struct {
	records []item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return nil
}
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

func read(t *testing.T, path string) *sink {
	t.Helper()
	in, err := source.Open(path)
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

func existing(t *testing.T, a *Archive) (out []target.Existing) {
	t.Helper()
	if err := a.Read(context.Background(), a.kind, func(e target.Existing) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func records(e []target.Existing) (out []item.Record) {
	for _, e := range e {
		out = append(out, e.Record)
	}
	return out
}

// send brings records into a target as the engine does, and returns the verdicts.
func send(t *testing.T, a *Archive, incoming []item.Record) map[rule.Verdict]int {
	t.Helper()
	profile, _ := a.Profile(context.Background(), a.kind)
	var shaped []item.Record
	for _, r := range incoming {
		r, _, ok := message.Rules{}.Shape(r, profile)
		if !ok {
			t.Fatalf("%s is refused", r.Label)
		}
		shaped = append(shaped, r)
	}
	decisions, err := message.Rules{}.Match(context.Background(), records(existing(t, a)), shaped, rule.Options{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[rule.Verdict]int{}
	var changes []target.Write
	for i, d := range decisions {
		verdicts[d.Verdict]++
		if d.Verdict == rule.New {
			r := shaped[i]
			r.Data = d.Result
			changes = append(changes, target.Write{Record: r, Key: fmt.Sprint(i)})
		}
	}
	write(t, a, changes, nil)
	return verdicts
}

func write(t *testing.T, a *Archive, changes []target.Write, want map[int]error) (now []target.Existing) {
	t.Helper()
	next := 0
	err := a.Write(context.Background(), a.kind, changes, func(i int, e target.Existing, err error) error {
		if i != next || !errors.Is(err, want[i]) {
			t.Errorf("change %d of %d: %v, want %v", i, next, err, want[i])
		}
		next++
		now = append(now, e)
		return nil
	})
	if err != nil || next != len(changes) {
		t.Fatalf("%d of %d were done: %v", next, len(changes), err)
	}
	return now
}

const archive = "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<smses count=\"99\" backup_set=\"x\">\n" +
	"  <sms address='1' date='1000' type='1' body='one'/>\n\t<sms address=\"2\" body=\"two &#55357;&#56832;\" date=\"2000\" type=\"2\" odd=\"&#0;\" />\n" +
	"  <!-- between -->\n  <sms address=\"3\" date=\"3000\" type=\"1\" body=\"three\" />\n</smses>\n"

func open(t *testing.T, name, content string) *Archive {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if content != "" {
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhatIsNotChangedStaysByteForByte(t *testing.T) {
	a := open(t, "sms.xml", archive)
	before := existing(t, a)
	if len(before) != 3 {
		t.Fatalf("%d messages", len(before))
	}
	m := &message.Message{Type: message.SMS, Date: message.Int{N: 4000, Known: true}, Box: "received", Address: message.Known("4"), Body: message.Known("four 😀")}
	edited, _ := message.Decode(before[2].Data)
	edited.Body = message.Known("drei")
	now := write(t, a, []target.Write{
		{Record: item.Record{Kind: item.Message, Data: m.Bytes()}},
		{ID: before[0].ID, Version: before[0].Version},
		{ID: before[2].ID, Version: before[2].Version, Record: item.Record{Data: edited.Bytes()}},
		{ID: before[1].ID, Version: "other"},
		{ID: "none", Version: "x"},
	}, map[int]error{3: target.ErrEdited, 4: target.ErrEdited})
	got, _ := os.ReadFile(a.Path())
	want := "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<smses count=\"3\" backup_set=\"x\">\n" +
		"\t<sms address=\"2\" body=\"two &#55357;&#56832;\" date=\"2000\" type=\"2\" odd=\"&#0;\" />\n" +
		"  <!-- between -->\n  <sms address=\"3\" date=\"3000\" type=\"1\" body=\"drei\" />\n" +
		"  <sms protocol=\"null\" address=\"4\" date=\"4000\" type=\"1\" subject=\"null\" body=\"four &#55357;&#56832;\" toa=\"null\" sc_toa=\"null\" service_center=\"null\" read=\"1\" status=\"-1\" locked=\"0\" date_sent=\"0\" sub_id=\"-1\" readable_date=\"Jan 1, 1970 12:00:04 AM\" contact_name=\"(Unknown)\" />\n</smses>\n"
	if string(got) != want {
		t.Errorf("written\n%s\nwant\n%s", got, want)
	}
	after := existing(t, a)
	for _, i := range []int{0, 2} {
		found := false
		for _, e := range after {
			found = found || e.ID == now[i].ID && e.Version == now[i].Version && bytes.Equal(e.Data, now[i].Data)
		}
		if !found {
			t.Errorf("change %d is not there as it was reported", i)
		}
	}
	if info, _ := os.Stat(a.Path()); info.Mode().Perm() != 0o640 {
		t.Errorf("the permissions are %v now", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(a.Path()), ".decant*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestASecondAttemptAddsNothing(t *testing.T) {
	a := open(t, "sms.xml", archive)
	m := &message.Message{Type: message.SMS, Date: message.Int{N: 4000, Known: true}, Box: "received", Address: message.Known("4"), Body: message.Known("four")}
	changes := []target.Write{{Record: item.Record{Data: m.Bytes()}, Key: "k"}}
	first := write(t, a, changes, nil)
	one, _ := os.ReadFile(a.Path())
	second := write(t, a, changes, nil)
	two, _ := os.ReadFile(a.Path())
	if !bytes.Equal(one, two) || first[0].ID != second[0].ID || first[0].Version != second[0].Version {
		t.Error("the second attempt changed the archive")
	}
}

func TestUndoRestoresTheBytes(t *testing.T) {
	for _, content := range []string{"", archive} {
		a := open(t, "sms.xml", content)
		before, err := a.Snapshot()
		if err != nil || string(before) != content {
			t.Fatalf("%q, %v", before, err)
		}
		m := &message.Message{Type: message.SMS, Box: "sent", Address: message.Known("4"), Body: message.Known("four")}
		write(t, a, []target.Write{{Record: item.Record{Data: m.Bytes()}}}, nil)
		written, _ := os.ReadFile(a.Path())
		if err := a.Restore(before, [32]byte{}); !errors.Is(err, target.ErrEdited) {
			t.Errorf("an edited file is restored: %v", err)
		}
		if err := a.Restore(before, sha256.Sum256(written)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(a.Path())
		if string(got) != content || (content == "") != os.IsNotExist(err) {
			t.Errorf("restored to %q, %v", got, err)
		}
	}
}

func TestArchivesThatCantBeWritten(t *testing.T) {
	m := &message.Message{Type: message.SMS, Box: "sent", Address: message.Known("4"), Body: message.Known("four")}
	mail := message.NewMail([]byte("Subject: x\n\nbody\n"), "", "")
	a := open(t, "cut.xml", archive[:len(archive)-12])
	err := a.Write(context.Background(), item.Message, []target.Write{{Record: item.Record{Data: m.Bytes()}}}, func(int, target.Existing, error) error { return nil })
	if got, _ := os.ReadFile(a.Path()); err == nil || string(got) != archive[:len(archive)-12] {
		t.Errorf("an archive without an end is written: %v", err)
	}
	a = open(t, "empty.xml", "<smses count='0'/>")
	refused := &target.RefusedError{}
	err = a.Write(context.Background(), item.Message, []target.Write{{Record: item.Record{Data: mail.Bytes()}}, {Record: item.Record{Data: m.Bytes()}}}, func(i int, _ target.Existing, err error) error {
		if (i == 0) != errors.As(err, &refused) {
			t.Errorf("change %d: %v", i, err)
		}
		return nil
	})
	if got, _ := os.ReadFile(a.Path()); err != nil || !strings.HasPrefix(string(got), "<smses count='1'>\n  <sms ") || !strings.HasSuffix(string(got), " />\n</smses>") {
		t.Errorf("an empty archive becomes %q, %v", got, err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nowhere", "x.xml")); err == nil {
		t.Error("a target in no directory is opened")
	}
	path := filepath.Join(t.TempDir(), "evil.xml")
	os.WriteFile(path, []byte("<!DOCTYPE x><smses/>"), 0o600)
	if _, err := Open(path); err == nil {
		t.Error("a document type is taken")
	}
}

func TestFixturesIntoTargets(t *testing.T) {
	dir := "../../../../shared/fixtures/sms/shruggietech__sms-backup-restore-parser/fixtures"
	names, _ := filepath.Glob(dir + "/*.xml")
	if len(names) == 0 {
		t.Skip("the shared fixtures are not here")
	}
	for _, name := range names {
		if strings.Contains(name, "calls") || strings.Contains(name, "malformed") {
			continue
		}
		in := read(t, name)
		a := open(t, "sms.xml", "")
		if v := send(t, a, in.records); v[rule.New] != len(in.records) {
			t.Errorf("%s: %v", name, v)
		}
		if v := send(t, a, in.records); v[rule.Same] != len(in.records) {
			t.Errorf("%s again: %v", name, v)
		}
		out := read(t, a.Path())
		for i := range in.records {
			if !bytes.Equal(in.records[i].Data, out.records[i].Data) {
				t.Errorf("%s: went in as\n%s\nand came out as\n%s", name, in.records[i].Data, out.records[i].Data)
			}
		}
	}
}

func TestCalls(t *testing.T) {
	a := open(t, "calls-2021.xml", "")
	if k := a.Kinds(); k[0] != item.Call {
		t.Fatalf("a file of this name holds %v", k)
	}
	first := []message.Attr{{Name: "number", Value: "+1555"}, {Name: "duration", Value: "5"}, {Name: "date", Value: "1000"}, {Name: "type", Value: "1"}}
	c := call.FromSBR(first)
	write(t, a, []target.Write{{Record: item.Record{Kind: item.Call, Data: c.Bytes()}}}, nil)
	got, _ := os.ReadFile(a.Path())
	want := "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<?xml-stylesheet type=\"text/xsl\" href=\"calls.xsl\"?>\n<calls count=\"1\">\n" +
		"  <call number=\"+1555\" duration=\"5\" date=\"1000\" type=\"1\" />\n</calls>"
	if string(got) != want {
		t.Errorf("written\n%s", got)
	}
	e := existing(t, a)
	if len(e) != 1 || !bytes.Equal(e[0].Data, c.Bytes()) {
		t.Fatalf("%+v", e)
	}
	write(t, a, []target.Write{{ID: e[0].ID, Version: e[0].Version}}, nil)
	if e := existing(t, a); len(e) != 0 {
		t.Errorf("%d calls are left", len(e))
	}
}

// TestNewArchive: a file that is not there yet holds what comes first, and refuses the other kind by name.
func TestNewArchive(t *testing.T) {
	call := item.Record{Kind: item.Call, Data: []byte(`{"type":"call","date":1700000000000,"number":"+4930123456","duration":7,"direction":"in"}`)}
	message := item.Record{Kind: item.Message, Data: []byte(`{"type":"sms","date":1700000000000,"box":"inbox","body":"hello"}`)}
	for _, name := range []string{"new.xml", "calls-2024.xml"} {
		a, err := Open(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Kinds()) != 2 {
			t.Errorf("%s takes %v", name, a.Kinds())
		}
		write := func(r item.Record) (e error) {
			err := a.Write(t.Context(), r.Kind, []target.Write{{Record: r, Key: "k"}}, func(_ int, _ target.Existing, err error) error {
				e = err
				return nil
			})
			return errors.Join(e, err)
		}
		if err := write(call); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if refused := (*target.RefusedError)(nil); !errors.As(write(message), &refused) || !strings.Contains(refused.Why, "holds calls") {
			t.Errorf("%s: a message among calls", name)
		}
		if k := a.Kinds(); len(k) != 1 || k[0] != item.Call {
			t.Errorf("%s takes %v", name, k)
		}
		n := 0
		if err := a.Read(t.Context(), item.Call, func(target.Existing) error { n++; return nil }); err != nil || n != 1 {
			t.Errorf("%s: %d calls, %v", name, n, err)
		}
	}
}
