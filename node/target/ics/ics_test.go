package ics

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/ics"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/fidelity"
)

var ctx = context.Background()

// sink keeps what a source gives.
type sink struct {
	records []item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return errors.New("a calendar has no files")
}

func readSource(t *testing.T, path string) *sink {
	t.Helper()
	src, err := source.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	s := &sink{}
	if err := src.Read(ctx, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, path string) target.Books {
	t.Helper()
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func existing(t *testing.T, b target.Books) (all []target.Existing, records []item.Record) {
	t.Helper()
	ids := map[string]bool{}
	err := b.Read(ctx, item.Calendar, func(e target.Existing) error {
		if ids[e.ID] || e.ID == "" || e.Version == "" {
			t.Errorf("ID %q, version %q", e.ID, e.Version)
		}
		ids[e.ID] = true
		all, records = append(all, e), append(records, e.Record)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, records
}

// deliver does what the engine does: shape, match, write. It returns how many writes there were.
func deliver(t *testing.T, b target.Books, incoming []item.Record) (writes int, changes []item.Change) {
	t.Helper()
	profile, err := b.Profile(ctx, item.Calendar)
	if err != nil {
		t.Fatal(err)
	}
	var shaped []item.Record
	for _, r := range incoming {
		out, told, ok := (calendar.Rules{}).Shape(r, profile)
		changes = append(changes, told...)
		if ok {
			shaped = append(shaped, out)
		}
	}
	have, records := existing(t, b)
	decisions, err := (calendar.Rules{}).Match(ctx, records, shaped, rule.Options{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	var todo []target.Write
	at := map[int]int{}
	for i, d := range decisions {
		changes = append(changes, d.Changes...)
		w := target.Write{Record: shaped[i], Key: fmt.Sprintf("key-%d", i)}
		w.Record.Data = d.Result
		switch d.Verdict {
		case rule.New, rule.Suggest, rule.Conflict:
			at[len(have)+i] = len(todo)
			todo = append(todo, w)
		case rule.Merge:
			if n, ok := at[d.With]; ok {
				todo[n].Record.Data = d.Result
				continue
			}
			w.ID, w.Version = have[d.With].ID, have[d.With].Version
			at[d.With] = len(todo)
			todo = append(todo, w)
		}
	}
	next := 0
	err = b.Write(ctx, item.Calendar, todo, func(i int, now target.Existing, err error) error {
		if i != next || err != nil || now.ID == "" || now.Version == "" {
			t.Errorf("write %d of %s: %v, %+v", i, todo[i].Record.Label, err, now)
		}
		next++
		return nil
	})
	if err != nil || next != len(todo) {
		t.Fatalf("%d of %d written: %v", next, len(todo), err)
	}
	return len(todo), changes
}

func fixtures(t *testing.T, f func(path string, data []byte)) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "ics")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public collection is not here")
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if e := filepath.Ext(p); err != nil || e != ".ics" && e != ".vcs" {
			return err
		}
		data, err := os.ReadFile(p)
		f(p, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func told(changes []item.Change) (report []fidelity.Change) {
	for _, c := range changes {
		report = append(report, fidelity.Change{Record: c.Record, UID: c.UID, Property: c.Property, Effect: c.Effect.String(), Before: c.Before, After: c.After})
	}
	return report
}

// TestFileToFile reads each public calendar and writes it to a new file: nothing is lost
// but what is told, and a second time changes nothing.
func TestFileToFile(t *testing.T) {
	var table fidelity.Table
	dir := t.TempDir()
	n := 0
	fixtures(t, func(path string, data []byte) {
		n++
		src := readSource(t, path)
		out := filepath.Join(dir, fmt.Sprintf("%d%s", n, filepath.Ext(path)))
		_, changes := deliver(t, open(t, out), src.records)
		after, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(path, err)
		}
		before, err := fidelity.Parse("a.ics", data)
		if err != nil {
			t.Fatal(err)
		}
		written, err := fidelity.Parse("b.ics", after)
		if err != nil {
			t.Fatal(err)
		}
		r := fidelity.Compare(before, written, fidelity.Options{Report: told(append(changes, src.changes...))})
		if s := r.Silent(); len(s) > 0 {
			t.Errorf("%s: %d silent losses: %+v", path, len(s), s[0])
		}
		table = append(table, r)
		if writes, _ := deliver(t, open(t, out), readSource(t, path).records); writes > 0 {
			t.Errorf("%s: %d writes the second time", path, writes)
		}
		if again, _ := os.ReadFile(out); !bytes.Equal(again, after) {
			t.Errorf("%s: the second time changes bytes", path)
		}
	})
	whole, perfect := table.Perfect()
	sum := table.Sum()
	t.Logf("%d files: %d of %d properties, strict %d; %d of %d files perfect", n, sum.Kept, sum.Properties, sum.StrictKept, perfect, whole)
}

const (
	head   = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nX-WR-CALNAME:Mine\r\n"
	folded = "BEGIN:VEVENT\r\nsummary:fo\r\n lded\r\nUID:1\r\nDTSTART:20240101T100000Z\r\nEND:VEVENT\r\n"
	second = "BEGIN:VEVENT\r\nUID:2\r\nDTSTART:20240102T100000Z\r\nEND:VEVENT\r\n"
	foot   = "END:VCALENDAR\r\n"
)

func object(body string) item.Record {
	return item.Record{Kind: item.Calendar, Data: []byte("BEGIN:VCALENDAR\nVERSION:2.0\n" + body + "END:VCALENDAR\n")}
}

// file writes a file and opens it as a target.
func file(t *testing.T, content string) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.ics")
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return open(t, path).(*File), path
}

func write(t *testing.T, b target.Books, changes ...target.Write) (now []target.Existing, errs []error) {
	t.Helper()
	err := b.Write(ctx, item.Calendar, changes, func(i int, e target.Existing, err error) error {
		now, errs = append(now, e), append(errs, err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return now, errs
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestInsertingKeepsEveryOtherByte(t *testing.T) {
	before := "\ufeff" + head + "\r\n" + folded + second + foot + "bye"
	f, path := file(t, before)
	third := "BEGIN:VEVENT\nUID:3\nDTSTART;TZID=Here:20240103T100000\nEND:VEVENT\n"
	zone := "BEGIN:VTIMEZONE\nTZID:Here\nEND:VTIMEZONE\n"
	now, errs := write(t, f, target.Write{Record: object(zone + third), Key: "k"})
	if errs[0] != nil {
		t.Fatal(errs)
	}
	crlf := strings.NewReplacer("\n", "\r\n")
	want := "\ufeff" + head + crlf.Replace(zone) + "\r\n" + folded + second + crlf.Replace(third) + foot + "bye"
	if got := content(t, path); got != want {
		t.Fatalf("got\n%q, want\n%q", got, want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
		t.Error(info.Mode())
	}
	again, _ := write(t, f, target.Write{Record: object(zone + third), Key: "k"})
	if content(t, path) != want || again[0].ID != now[0].ID {
		t.Error("an attempt whose answer was lost is made again")
	}
	if _, errs := write(t, f, target.Write{ID: now[0].ID, Version: now[0].Version}); errs[0] != nil {
		t.Fatal(errs)
	}
	if got := content(t, path); got != strings.Replace(want, crlf.Replace(third), "", 1) {
		t.Errorf("after removing it: %q", got)
	}
}

func TestReplace(t *testing.T) {
	f, path := file(t, head+folded+second+foot)
	all, _ := existing(t, f)
	if len(all) != 2 {
		t.Fatal(all)
	}
	changed := strings.Replace(second, "UID:2", "UID:2\r\nSUMMARY:new", 1)
	now, errs := write(t, f, target.Write{ID: all[1].ID, Version: all[1].Version, Record: object(changed)}, target.Write{ID: all[0].ID, Version: "old", Record: object(second)},
		target.Write{ID: "none", Version: "x"}, target.Write{}, target.Write{Record: item.Record{Data: []byte("hello")}})
	if errs[0] != nil || !errors.Is(errs[1], target.ErrEdited) || !errors.Is(errs[2], target.ErrEdited) {
		t.Error(errs)
	}
	for _, err := range errs[3:] {
		if refused := (*target.RefusedError)(nil); !errors.As(err, &refused) {
			t.Error(err)
		}
	}
	if got := content(t, path); got != head+folded+changed+foot {
		t.Errorf("%q", got)
	}
	if now[0].ID != all[1].ID || now[0].Version == all[1].Version {
		t.Error(now[0], all[1])
	}
}

func TestWholeFileIsRestored(t *testing.T) {
	f, path := file(t, head+folded+foot)
	before, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, target.Write{Record: object(second)})
	now := sha256.Sum256([]byte(content(t, path)))
	if err := f.Restore(before, [32]byte{}); !errors.Is(err, target.ErrEdited) {
		t.Error(err)
	}
	if err := f.Restore(before, now); err != nil || content(t, path) != head+folded+foot {
		t.Error(err, content(t, path))
	}
	fresh := open(t, filepath.Join(t.TempDir(), "new.ics")).(*File)
	if b, err := fresh.Snapshot(); b != nil || err != nil {
		t.Error(b, err)
	}
	write(t, fresh, target.Write{Record: object(second)})
	if got := content(t, fresh.Path()); strings.Count(got, "VEVENT") != 2 {
		t.Errorf("%q", got)
	}
	if err := fresh.Restore(nil, sha256.Sum256([]byte(content(t, fresh.Path())))); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(fresh.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestWhatIsSaidOfACalendar(t *testing.T) {
	f, path := file(t, head+folded+foot)
	_, changes := deliver(t, f, []item.Record{{Kind: item.Calendar, Data: []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:PUBLISH\r\nX-WR-CALNAME:Yours\r\n" + second + foot)}})
	if got := content(t, path); got != head+folded+second+foot {
		t.Errorf("%q", got)
	}
	if len(changes) != 2 || changes[0].Property != "METHOD" || changes[1].Before != "Yours" {
		t.Errorf("%+v", changes)
	}
}

func TestExceptionsOfNoDate(t *testing.T) {
	var body string
	for i := range 20 {
		body += fmt.Sprintf("BEGIN:VEVENT\r\nUID:u\r\nRECURRENCE-ID:%08dT000000Z\r\nDTSTART:20240101T100000Z\r\nEND:VEVENT\r\n", i)
	}
	in, out := filepath.Join(t.TempDir(), "in.ics"), filepath.Join(t.TempDir(), "out.ics")
	if err := os.WriteFile(in, []byte(head+body+foot), 0o600); err != nil {
		t.Fatal(err)
	}
	deliver(t, open(t, out), readSource(t, in).records)
	if got := content(t, out); got != head+body+foot {
		t.Error(got)
	}
}

func TestTwoZonesOfOneName(t *testing.T) {
	zone := func(offset string) string {
		return "BEGIN:VTIMEZONE\r\nTZID:Custom\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:" + offset + "\r\nTZOFFSETTO:" + offset + "\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
	}
	event := func(uid string) string {
		return "BEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTART;TZID=Custom:20240101T100000\r\nEND:VEVENT\r\n"
	}
	f, path := file(t, head+zone("+0100")+event("1")+foot)
	deliver(t, f, []item.Record{object(zone("+0500") + event("2"))})
	if got := content(t, path); strings.Count(got, "BEGIN:VCALENDAR") != 2 || !strings.Contains(got, "+0500") {
		t.Errorf("an event is in another zone now: %s", got)
	}
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret.ics")
	for name, data := range map[string]string{"a.ics": head + folded + foot, "two.ics": head + second + strings.Replace(second, "UID:2", "UID:4", 1) + foot, "notes.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(outside, []byte(head+second+foot), 0o644)
	if err := os.Symlink(outside, filepath.Join(dir, "link.ics")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "Work"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir)
	all, _ := existing(t, b)
	if len(all) != 3 || string(all[0].Data) != head+folded+foot || all[0].ID != "a.ics" {
		t.Fatalf("%+v", all)
	}
	changed := []byte(strings.Replace(head+folded+foot, "UID:1", "UID:1\r\nLOCATION:x", 1))
	among := object(strings.Replace(second, "UID:2", "UID:4\r\nLOCATION:y", 1))
	fresh := object(second)
	fresh.Book = "Work"
	now, errs := write(t, b,
		target.Write{ID: all[0].ID, Version: all[0].Version, Record: item.Record{Data: changed}},
		target.Write{ID: all[2].ID, Version: all[2].Version, Record: among},
		target.Write{ID: all[1].ID, Version: all[1].Version},
		target.Write{Record: fresh, Key: "../../evil/k1"},
		target.Write{ID: "../" + filepath.Base(filepath.Dir(outside)) + "/secret.ics", Version: "x", Record: fresh})
	for i, err := range errs[:4] {
		if err != nil {
			t.Error(i, err)
		}
	}
	if errs[4] == nil {
		t.Error("a file outside was written")
	}
	if got := content(t, filepath.Join(dir, "a.ics")); got != string(changed) {
		t.Errorf("%q", got)
	}
	if got := content(t, filepath.Join(dir, "two.ics")); strings.Contains(got, "UID:2") || !strings.Contains(got, "LOCATION:y") {
		t.Errorf("%q", got)
	}
	if now[3].ID != "Work/evilk1.ics" || content(t, filepath.Join(dir, now[3].ID)) != string(fresh.Data) {
		t.Error(now[3].ID)
	}
	again, _ := write(t, b, target.Write{Record: fresh, Key: "../../evil/k1"})
	if again[0].ID != now[3].ID {
		t.Error("an attempt whose answer was lost is made again:", again[0].ID)
	}
	if _, errs := write(t, b, target.Write{ID: "a.ics", Version: now[0].Version}); errs[0] != nil {
		t.Error(errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.ics")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".decant*")); len(left) > 0 {
		t.Error(left)
	}
	src := readSource(t, dir)
	if len(src.records) != 2 || src.records[1].Book != "Work" || len(src.changes) != 1 {
		t.Errorf("%+v", src)
	}
}

// TestKhal lets khal read the directories that we write.
func TestKhal(t *testing.T) {
	khal := env.Program(t, "khal")
	dir, home := t.TempDir(), t.TempDir()
	b := open(t, dir)
	var incoming []item.Record
	fixtures(t, func(path string, data []byte) {
		if strings.Contains(path, "samples") && len(data) < 3<<10 && len(incoming) < 40 {
			incoming = append(incoming, readSource(t, path).records...)
		}
	})
	writes, _ := deliver(t, b, incoming)
	config := fmt.Sprintf("[calendars]\n[[x]]\npath = %s\n[locale]\nlocal_timezone = Europe/Berlin\ndefault_timezone = Europe/Berlin\ntimeformat = %%H:%%M\ndateformat = %%Y-%%m-%%d\n"+
		"longdateformat = %%Y-%%m-%%d\ndatetimeformat = %%Y-%%m-%%d %%H:%%M\nlongdatetimeformat = %%Y-%%m-%%d %%H:%%M\n[sqlite]\npath = %s\n[default]\nhighlight_event_days = False\n", dir, filepath.Join(home, "khal.db"))
	file := filepath.Join(home, "config")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(wait, khal, "-c", file, "list", "--format", "{uid}", "--day-format", "", "1994-01-01", "2030-01-01")
	cmd.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8", "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%.4000s", err, stderr.String())
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		seen[strings.TrimSpace(line)] = true
	}
	if strings.Contains(stderr.String(), "Skipping") || len(seen) < writes/2 {
		t.Errorf("khal shows %d of %d and says:\n%.4000s", len(seen), writes, stderr.String())
	}
	t.Logf("%d objects written, khal shows %d UIDs between 1994 and 2030", writes, len(seen))
}
