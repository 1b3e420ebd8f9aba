package mbox

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	source "github.com/decant-dev/decant/node/source/mbox"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/env"
)

type sink struct{ records []item.Record }

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return nil
}
func (s *sink) Change(item.Change) error { return nil }

func read(t *testing.T, path string) []item.Record {
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
	return s.records
}

func open(t *testing.T, content string) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.mbox")
	if content != "" {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func existing(t *testing.T, f *File) (out []target.Existing) {
	t.Helper()
	if err := f.Read(context.Background(), item.Message, func(e target.Existing) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// send brings records in as the engine does.
func send(t *testing.T, f *File, incoming []item.Record) (verdicts map[rule.Verdict]int, changes []item.Change) {
	t.Helper()
	profile, _ := f.Profile(context.Background(), item.Message)
	for i, r := range incoming {
		r, c, ok := message.Rules{}.Shape(r, profile)
		if !ok {
			t.Fatalf("%v", c)
		}
		incoming[i], changes = r, append(changes, c...)
	}
	var have []item.Record
	for _, e := range existing(t, f) {
		have = append(have, e.Record)
	}
	decisions, err := message.Rules{}.Match(context.Background(), have, incoming, rule.Options{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	verdicts = map[rule.Verdict]int{}
	var writes []target.Write
	for i, d := range decisions {
		verdicts[d.Verdict]++
		if d.Verdict == rule.New {
			r := incoming[i]
			r.Data = d.Result
			writes = append(writes, target.Write{Record: r})
		}
	}
	err = f.Write(context.Background(), item.Message, writes, func(i int, now target.Existing, err error) error {
		if err == nil && !bytes.Equal(now.Data, writes[i].Record.Data) {
			if m, _ := message.Decode(writes[i].Record.Data); m.Envelope != "" {
				t.Errorf("mail %d is reported as\n%s\nnot\n%s", i, now.Data, writes[i].Record.Data)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return verdicts, changes
}

const mails = "From a@example.com Fri Jan  1 00:00:00 2021\nFrom: a@example.com\nSubject: =?utf-8?q?caf=C3=A9?=\nDate: Fri, 01 Jan 2021 00:00:00 +0000\n\nbody\n>From here\n>>From there\nFrom me without a time\n\n\n" +
	"From b@example.com Fri Jan  1 00:00:00 2021\nSubject: two\nStatus: RO\n\nlast\n\n"

func TestMailsRoundTripByteForByte(t *testing.T) {
	in := open(t, mails)
	records := read(t, in.Path())
	if len(records) != 2 {
		t.Fatalf("%d mails", len(records))
	}
	m, err := message.Decode(records[0].Data)
	if err != nil || m.Subject.S != "café" || m.Date.N != 1609459200000 || !strings.Contains(string(m.Raw), "\nFrom here\n>From there\nFrom me") {
		t.Errorf("%+v, %v", m, err)
	}
	out := open(t, "")
	if v, c := send(t, out, records); v[rule.New] != 2 || len(c) != 0 {
		t.Errorf("%v %v", v, c)
	}
	got, _ := os.ReadFile(out.Path())
	want := strings.Replace(mails, "\nFrom me", "\n>From me", 1) // mboxrd quotes it
	if string(got) != want {
		t.Errorf("written\n%q\nwant\n%q", got, want)
	}
	if v, _ := send(t, out, read(t, in.Path())); v[rule.Same] != 2 {
		t.Errorf("again: %v", v)
	}
}

func TestWhatIsNotChangedStays(t *testing.T) {
	f := open(t, "From a Fri Jan  1 00:00:00 2021\nSubject: one\n\n1\n\nFrom b Fri Jan  1 00:00:00 2021\r\nSubject: two\r\n\r\n2\r\n\r\nFrom c Fri Jan  1 00:00:00 2021\nSubject: three\n\nno break at the end")
	before, _ := f.Snapshot()
	e := existing(t, f)
	if len(e) != 3 {
		t.Fatalf("%d mails", len(e))
	}
	fresh := message.NewMail([]byte("Subject: four\n\nFrom x\n"), "", "")
	var errs []error
	err := f.Write(context.Background(), item.Message, []target.Write{
		{ID: e[0].ID, Version: e[0].Version},
		{Record: item.Record{Data: fresh.Bytes()}},
		{ID: e[1].ID, Version: "x"},
	}, func(_ int, _ target.Existing, err error) error { errs = append(errs, err); return nil })
	got, _ := os.ReadFile(f.Path())
	want := "From b Fri Jan  1 00:00:00 2021\r\nSubject: two\r\n\r\n2\r\n\r\nFrom c Fri Jan  1 00:00:00 2021\nSubject: three\n\nno break at the end\n\nFrom MAILER-DAEMON Thu Jan  1 00:00:00 1970\nSubject: four\n\n>From x\n\n"
	if err != nil || string(got) != want || len(errs) != 3 || errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], target.ErrEdited) {
		t.Errorf("%v %v\n%q\nwant\n%q", err, errs, got, want)
	}
	if err := f.Restore(before, sha256.Sum256(got)); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f.Path()); !bytes.Equal(got, before) {
		t.Error("undoing does not restore the bytes")
	}
}

// phone are an SMS and an MMS with everything that a mail needs to have escaped.
func phone() []item.Record {
	sms := &message.Message{Type: message.SMS, Form: message.FormSBR, Date: message.Int{N: 1609459200123, Known: true}, Box: "received", Address: message.Known("+15551234567"),
		Name: message.Known("Ali\r\nBcc: x@y.z \"ce\""), Body: message.Known("Hello 😀\nFrom me\n=equal\r\n.\n")}
	mms := &message.Message{Type: message.MMS, Form: message.FormSBR, Date: message.Int{N: 1609459201000, Known: true}, Box: "sent", Address: message.Known("+1~+2"),
		Addrs: []message.Addr{{Role: "from", Address: message.Known("insert-address-token")}, {Role: "to", Address: message.Known("+1")}, {Role: "to", Address: message.Known("+2")}}}
	text, image := message.Part{Type: message.Known("text/plain")}, message.Part{Type: message.Known("image/jpeg\r\nX: y"), Name: message.Known("bild \"ü\".jpg"), CID: message.Known("<a\r\nb>")}
	text.SetText("grüße")
	image.SetData(bytes.Repeat([]byte{0, 1, 254, 255}, 100))
	mms.Parts = []message.Part{text, image}
	return []item.Record{{Kind: item.Message, Data: sms.Bytes()}, {Kind: item.Message, Data: mms.Bytes()}}
}

func TestPhonesMessagesBecomeReadable(t *testing.T) {
	f := open(t, "")
	v, changes := send(t, f, phone())
	if v[rule.New] != 2 || len(changes) < 2 || changes[0].Property != "" || changes[0].Effect != item.EffectAltered {
		t.Errorf("%v %v", v, changes)
	}
	if v, _ := send(t, f, phone()); v[rule.Same] != 2 {
		t.Errorf("again: %v", v)
	}
}

// TestPythonReadsWhatIsWritten asks an independent implementation of mbox and MIME.
func TestPythonReadsWhatIsWritten(t *testing.T) {
	python := env.Program(t, "python3")
	f := open(t, strings.Replace(mails, "\nFrom me", "\n>From me", 1))
	send(t, f, phone())
	const script = `
import mailbox, sys, email.policy, email
box = mailbox.mbox(sys.argv[1], create=False)
for key in box.keys():
    m = email.message_from_bytes(box.get_bytes(key), policy=email.policy.default)
    parts = [p for p in m.walk() if not p.is_multipart()]
    print(m['Subject'], '|', m['From'], '|', m['To'], '|', m['Bcc'], '|', m['X'], '|', [(p.get_content_type(), p.get_filename(), p.get_content() if p.get_content_type().startswith('text/') else len(p.get_content())) for p in parts])
`
	out, err := exec.Command(python, "-c", script, f.Path()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := []string{
		`café | a@example.com | None | None | None | [('text/plain', None, 'body\n>From here\n>>From there\n>From me without a time\n\n')]`,
		`two | None | None | None | None | [('text/plain', None, 'last\n')]`,
		`SMS from Ali  Bcc: x@y.z "ce" | "Ali  Bcc: x@y.z \"ce\"" <+15551234567@sms.invalid> | me <me@sms.invalid> | None | None | [('text/plain', None, 'Hello 😀\nFrom me\n=equal\n.\n\n')]`,
		`MMS to +1, +2 | me <me@sms.invalid> | +1@sms.invalid, +2@sms.invalid | None | None | [('text/plain', None, 'grüße'), ('application/octet-stream', 'bild "ü".jpg', 400)]`,
	}
	for i := range want {
		if i >= len(lines) || strings.ReplaceAll(lines[i], `\r\n`, `\n`) != strings.ReplaceAll(want[i], `\r\n`, `\n`) {
			t.Errorf("line %d is\n%s\nwant\n%s", i, append(lines, "")[min(i, len(lines))], want[i])
		}
	}
}
