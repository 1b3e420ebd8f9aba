package smsie

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	format "github.com/decant-dev/decant/node/format/smsie"
	"github.com/decant-dev/decant/node/format/smsxml"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/smsie"
	sourcexml "github.com/decant-dev/decant/node/source/smsxml"
	"github.com/decant-dev/decant/node/target"
	"pgregory.net/rapid"
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

type fataler interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func read(t fataler, path string) *sink {
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

func existing(t fataler, a *Archive) (out []target.Existing) {
	if err := a.Read(context.Background(), a.kind, func(e target.Existing) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func rules(k item.Kind) rule.Rules {
	if k == item.Call {
		return call.Rules{}
	}
	return message.Rules{}
}

// send brings records in as the engine does, and tells what was said about it.
func send(t fataler, a *Archive, incoming []item.Record) (verdicts map[rule.Verdict]int, changes []item.Change) {
	profile, _ := a.Profile(context.Background(), a.kind)
	var shaped []item.Record
	for _, r := range incoming {
		out, c, ok := rules(a.kind).Shape(r, profile)
		if !ok {
			t.Fatalf("%s is refused: %v", r.Data, c)
		}
		shaped, changes = append(shaped, out), append(changes, c...)
	}
	var have []item.Record
	for _, e := range existing(t, a) {
		have = append(have, e.Record)
	}
	decisions, err := rules(a.kind).Match(context.Background(), have, shaped, rule.Options{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	verdicts = map[rule.Verdict]int{}
	var writes []target.Write
	for i, d := range decisions {
		verdicts[d.Verdict]++
		changes = append(changes, d.Changes...)
		if d.Verdict == rule.New {
			r := shaped[i]
			r.Data = d.Result
			writes = append(writes, target.Write{Record: r})
		}
	}
	var now []target.Existing
	err = a.Write(context.Background(), a.kind, writes, func(_ int, e target.Existing, err error) error {
		now = append(now, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, e := range existing(t, a) {
		there[e.ID] = e.Version
	}
	for _, e := range now {
		if there[e.ID] != e.Version {
			t.Fatalf("%s is reported with %s %s, and is there with %q", e.Data, e.ID, e.Version, there[e.ID])
		}
	}
	return verdicts, changes
}

func fresh(t *testing.T, name string) *Archive {
	t.Helper()
	a, err := Open(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFixturesThroughTheZipAndBack(t *testing.T) {
	names, _ := filepath.Glob("../../../../shared/fixtures/sms/shruggietech__sms-backup-restore-parser/fixtures/*.xml")
	if len(names) == 0 {
		t.Skip("the shared fixtures are not here")
	}
	attributes, told := 0, 0
	for _, name := range names {
		in, err := sourcexml.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		s := &sink{}
		if err := in.Read(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		in.Close()
		file := "messages.zip"
		if strings.Contains(name, "calls") {
			file = "calls.json"
		}
		a := fresh(t, file)
		v, changes := send(t, a, s.records)
		if v[rule.New] != len(s.records) {
			t.Errorf("%s: %v", name, v)
		}
		if v, again := send(t, a, s.records); v[rule.Same] != len(s.records) {
			t.Errorf("%s again: %v %v", name, v, again)
		}
		if len(s.records) == 0 {
			continue
		}
		for i, r := range read(t, a.Path()).records {
			n, c := compare(t, s.records[i], r, changes)
			attributes, told = attributes+n, told+c
		}
	}
	t.Logf("%d attributes went there and back, %d differ and are reported", attributes, told)
}

// compare checks that what came back is what went in, or reported. It returns how many attributes there are, and how
// many of them differ.
func compare(t fataler, in, out item.Record, changes []item.Change) (attributes, differ int) {
	if in.Kind == item.Call {
		a, err := call.Decode(in.Data)
		b, err2 := call.Decode(out.Data)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		return compareAttrs(t, "", a.SBR(), b.SBR(), changes)
	}
	a, err := message.Decode(in.Data)
	b, err2 := message.Decode(out.Data)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if _, c, _ := (message.Rules{}).Shape(out, rule.Profile{Version: message.FormSBR}); len(c) > 0 {
		changes = append(changes[:len(changes):len(changes)], c...)
	}
	if s, _, _ := (message.Rules{}).Shape(out, rule.Profile{Version: message.FormSBR}); true {
		b, _ = message.Decode(s.Data)
	}
	x, y := a.SBR(), b.SBR()
	attributes, differ = compareAttrs(t, "", x.Attrs, y.Attrs, changes)
	if len(x.Parts) != len(y.Parts) {
		t.Fatalf("%d parts became %d", len(x.Parts), len(y.Parts))
	}
	for i := range x.Parts {
		n, c := compareAttrs(t, "PART/", x.Parts[i], y.Parts[i], changes)
		attributes, differ = attributes+n, differ+c
	}
	left := y.Addrs
	for _, want := range x.Addrs { // the sender comes first in the zip
		found := false
		for i := range left {
			if maps.Equal(nonNull(left[i]), nonNull(want)) {
				left, found = append(left[:i:i], left[i+1:]...), true
				break
			}
		}
		if !found {
			t.Fatalf("the address %v is not among %v (%v)", want, y.Addrs, changes)
		}
		attributes += len(want)
	}
	if len(x.Addrs) > 0 && len(left) > 0 {
		t.Fatalf("addresses that were made up: %v", left)
	}
	if x.XML != nil {
		if !reported(changes, "XML") {
			t.Fatal("unknown elements vanish")
		}
		differ++
	}
	return attributes, differ
}

func nonNull(attrs []message.Attr) map[string]string {
	out := map[string]string{}
	for _, a := range attrs {
		if a.Value != "null" {
			out[a.Name] = a.Value
		}
	}
	return out
}

func reported(changes []item.Change, property string) bool {
	for _, c := range changes {
		if c.Property == property {
			return true
		}
	}
	return false
}

// derivable are attributes that say only what others do.
var derivable = map[string]bool{"readable_date": true, "contact_name": true, "address": true}

func compareAttrs(t fataler, prefix string, in, out []message.Attr, changes []item.Change) (attributes, differ int) {
	x, y := nonNull(in), nonNull(out)
	for name, v := range x {
		attributes++
		w, ok := y[name]
		if prefix != "" && name == "data" {
			a, err := base64.StdEncoding.DecodeString(v)
			b, err2 := base64.StdEncoding.DecodeString(w)
			if err == nil && err2 == nil && bytes.Equal(a, b) {
				continue
			}
		}
		if (!ok || w != v) && !(name == "contact_name" && v == "(Unknown)") {
			if !reported(changes, prefix+strings.ToUpper(name)) {
				t.Fatalf("%s%s was %q and is %q (%v), which nobody reports: %v\nin %v\nout %v", prefix, name, v, w, ok, changes, in, out)
			}
			differ++
		}
	}
	for name, w := range y {
		if _, ok := x[name]; !ok && !derivable[name] && !reported(changes, prefix+strings.ToUpper(name)) {
			t.Fatalf("%s%s is made up to be %q, which nobody reports: %v\nin %v", prefix, name, w, changes, in)
		}
	}
	return attributes, differ
}

var attributeNames = []string{"protocol", "address", "date", "type", "subject", "body", "toa", "sc_toa", "service_center", "read", "status", "locked", "date_sent", "sub_id",
	"readable_date", "contact_name", "seen", "msg_box", "ct_t", "sub", "m_type", "m_id", "unknown", "_id", "X-y.z", "v", "__display_name", "__parts", "thread_id"}

func drawAttrs(t *rapid.T, names []string) (attrs []message.Attr) {
	order := rapid.Permutation(names).Draw(t, "names")
	for _, n := range order[:rapid.IntRange(0, len(order)).Draw(t, "count")] {
		v := rapid.OneOf(rapid.SampledFrom([]string{"null", "", "0", "1", "-1", "2", "132", "007", "1609459200123", "1609459200000", "1609459200", "bad", "(Unknown)", "137", "151", "130", "129",
			"😀 \x00\n", "\xed\xa0\xbd", "+1 555~+49170", "text/plain", "application/smil", "image/jpeg", "QQ==", "QQ", "Q\nQ=="}), rapid.String()).Draw(t, n)
		attrs = append(attrs, message.Attr{Name: n, Value: v})
	}
	return attrs
}

// TestAnyMessageThroughTheZipAndBack: SMS Backup & Restore to SMS Import / Export and back: every attribute is as it was, or reported.
func TestAnyMessageThroughTheZipAndBack(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		e := &message.Element{Name: rapid.SampledFrom([]string{"sms", "mms"}).Draw(rt, "element"), Attrs: drawAttrs(rt, attributeNames)}
		if e.Name == "mms" {
			for range rapid.IntRange(0, 3).Draw(rt, "parts") {
				e.Parts = append(e.Parts, drawAttrs(rt, []string{"seq", "ct", "name", "chset", "cd", "fn", "cid", "cl", "text", "data", "_data", "other"}))
			}
			for range rapid.IntRange(0, 3).Draw(rt, "addrs") {
				e.Addrs = append(e.Addrs, drawAttrs(rt, []string{"address", "type", "charset", "other"}))
			}
		}
		in := item.Record{Kind: item.Message, Data: message.FromSBR(e).Bytes()}
		a, err := Open(filepath.Join(dir, fmt.Sprint(n)+".zip"))
		if err != nil {
			rt.Fatal(err)
		}
		_, changes := send(rt, a, []item.Record{in})
		s := read(rt, a.Path())
		if len(s.records) != 1 {
			rt.Fatalf("%d messages: %v", len(s.records), s.changes)
		}
		compare(rt, in, s.records[0], append(changes, s.changes...))
		if v, _ := send(rt, a, []item.Record{in}); v[rule.Same] != 1 {
			rt.Fatalf("the second time: %v", v)
		}
		os.Remove(a.Path())
	})
}

func archive(t *testing.T, entries ...[2]string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.Create(e[0])
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, e[1])
	}
	w.Close()
	path := filepath.Join(t.TempDir(), "messages.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	lineSMS = `{"_id":"1","thread_id":"3","address":"+15551234567","date":"1609459200123","date_sent":"0","read":"1","status":"-1","type":"1","body":"hi \ud83d\ude00","sub_id":"2","seen":"1","__display_name":"Alice"}`
	lineMMS = `{"_id":"9","m_type":"132","date":"1609459300","msg_box":"1","sub":null,"odd":[1, {"x": 2}],"__sender_address":{"address":"+15551234567","type":"137"},"__recipient_addresses":[{"address":"+15559999999","type":"151"},{"address":"+15558888888","type":"151"}],` +
		`"__parts":[{"seq":"0","ct":"text/plain","text":"grüße"},{"seq":"1","ct":"image/png","_data":"/data/user_de/0/x/app_parts/PART_1.png"}]}`
	lineOwn = `{"m_type":"132","date":"1609459400","msg_box":"1","__sender_address":{"address":"+15557777777","type":"137"},"__recipient_addresses":[{"address":"+15559999999","type":"151"}],"__parts":[]}`
)

func TestZipsOfTheApp(t *testing.T) {
	path := archive(t, [2]string{"messages.ndjson", lineSMS + "\n" + lineMMS + "\n" + lineOwn + "\n{broken\n"}, [2]string{"data/PART_1.png", "png!"}, [2]string{"data/PART_2.png", "nobody's"})
	s := read(t, path)
	if len(s.records) != 3 || len(s.changes) != 2 {
		t.Fatalf("%d records, %+v", len(s.records), s.changes)
	}
	m, err := message.Decode(s.records[1].Data)
	if err != nil || m.Date.N != 1609459300000 || m.Thread != "+15551234567~+15558888888" || len(m.Parts) != 2 {
		t.Fatalf("%s %v", s.records[1].Data, err)
	}
	if b, _ := m.Parts[1].Data(); string(b) != "png!" {
		t.Errorf("the part is %q", b)
	}
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := a.Snapshot()
	e := existing(t, a)
	sms := &message.Message{Type: message.SMS, Box: "sent", Address: message.Known("4"), Body: message.Known("four")}
	var errs []error
	err = a.Write(context.Background(), item.Message, []target.Write{
		{ID: e[1].ID, Version: e[1].Version}, {Record: item.Record{Data: sms.Bytes()}}, {ID: e[0].ID, Version: "x"}},
		func(_ int, _ target.Existing, err error) error { errs = append(errs, err); return nil })
	if err != nil || errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], target.ErrEdited) {
		t.Fatal(err, errs)
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	if fmt.Sprint(names) != "[messages.ndjson data/PART_2.png]" {
		t.Errorf("the zip has %v", names)
	}
	f, _ := z.Open("messages.ndjson")
	text, _ := io.ReadAll(f)
	if !strings.HasPrefix(string(text), lineSMS+"\n"+lineOwn+"\n{broken\n{") {
		t.Errorf("lines that should stay do not: %s", text)
	}
	now, _ := os.ReadFile(path)
	if err := a.Restore(before, sha256.Sum256(now)); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, before) {
		t.Error("undoing does not restore the bytes")
	}
}

// bomb makes a zip whose lines are so many mebibytes of blanks, without deflating all of them.
func bomb(t *testing.T, mebibytes int) string {
	t.Helper()
	var block, b bytes.Buffer
	f, _ := flate.NewWriter(&block, flate.BestSpeed)
	f.Write(bytes.Repeat([]byte(" "), 1<<20-1))
	f.Write([]byte("\n"))
	f.Flush() // what follows does not depend on it
	raw := append(bytes.Repeat(block.Bytes(), mebibytes), 3, 0)
	w := zip.NewWriter(&b)
	out, err := w.CreateRaw(&zip.FileHeader{Name: "messages.ndjson", Method: zip.Deflate, CompressedSize64: uint64(len(raw)), UncompressedSize64: uint64(mebibytes) << 20})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(raw)
	w.Close()
	path := filepath.Join(t.TempDir(), "bomb.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHostileZips(t *testing.T) {
	for name, path := range map[string]string{
		"bomb in the lines": bomb(t, 300),
		"no messages":       archive(t, [2]string{"data/x", "x"}),
	} {
		in, err := source.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		want := format.ErrBomb
		if name == "no messages" {
			want = format.ErrArchive
		}
		if err := in.Read(context.Background(), &sink{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if found, err := in.Survey(context.Background()); err != nil || found[0].Can {
			t.Errorf("%s: %+v %v", name, found, err)
		}
		in.Close()
	}
	part := func(data string) string {
		return `{"m_type":"132","date":"1","msg_box":"1","__parts":[{"ct":"a/b","_data":"` + data + `"}]}` + "\n"
	}
	path := archive(t, [2]string{"messages.ndjson", part("../../etc/passwd") + part("/etc/passwd") + part("x/..") + part("missing") + `{"a":` + strings.Repeat("[", 100000) + "\n"},
		[2]string{"../../evil", "x"}, [2]string{"data/../../evil", "x"}, [2]string{"data/passwd", "ours"})
	s := read(t, path)
	if len(s.records) != 4 {
		t.Errorf("%d records", len(s.records))
	}
	for i, r := range s.records {
		m, _ := message.Decode(r.Data)
		if b, _ := m.Parts[0].Data(); len(b) > 0 && string(b) != "ours" {
			t.Errorf("message %d has %q", i, b)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(path)), "evil")); err == nil {
		t.Error("something was written outside")
	}
	many := strings.Repeat(part("big"), 4000)
	path = archive(t, [2]string{"messages.ndjson", many}, [2]string{"data/big", strings.Repeat("x", 1<<20)})
	in, _ := source.Open(path)
	defer in.Close()
	if err := in.Read(context.Background(), &discard{}); !errors.Is(err, format.ErrBomb) {
		t.Errorf("the same data 4000 times: %v", err)
	}
}

type discard struct{ sink }

func (*discard) Record(item.Record) error { return nil }

// FuzzParseRow: no panic, and what is read once is read again after it was written.
func FuzzParseRow(f *testing.F) {
	f.Add([]byte(lineSMS))
	f.Add([]byte(lineMMS))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, _, err := format.ParseRow(line)
		if err != nil {
			return
		}
		m := message.FromProvider(r)
		if again, err := message.Decode(m.Bytes()); err != nil || !bytes.Equal(again.Bytes(), m.Bytes()) {
			t.Fatalf("%v: %s", err, m.Bytes())
		}
		text, _ := format.AppendMessage(nil, m, func(string) bool { return false })
		r2, _, err := format.ParseRow(text)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if bytes.Contains(m.Bytes(), []byte("\ufffd")) {
			return
		}
		if m2 := message.FromProvider(r2); !bytes.Equal(strip(m), strip(m2)) {
			t.Fatalf("%s came back as %s", strip(m), strip(m2))
		}
		if _, err := smsxml.Parse(smsxml.AppendElement(nil, m.SBR())); err != nil {
			t.Fatalf("%v in %s", err, smsxml.AppendElement(nil, m.SBR()))
		}
	})
}

// strip is a message without what depends on the order of columns and addresses.
func strip(m *message.Message) []byte {
	c := *m
	c.X, c.Thread, c.Addrs = nil, "", nil
	c.Parts = nil
	return c.Bytes()
}
