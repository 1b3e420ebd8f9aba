package calendar

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// TestRT18RulesAreBounded feeds what is meant to exhaust whoever expands, follows or
// compares: what is not linear does not come to its end here before the test run is.
func TestRT18RulesAreBounded(t *testing.T) {
	many := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	start := "DTSTART:20240101T100000Z\n"
	for name, data := range map[string]string{
		"endless rule":          cal(event("RRULE:FREQ=SECONDLY;COUNT=2147483647\n")),
		"rule that never fits":  cal(event("RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30\n")),
		"a million dates":       cal(event("RDATE:" + strings.Repeat("20240101T000000Z,", 100_000) + "20240102T000000Z\n")),
		"a million date lines":  cal(event(strings.Repeat("EXDATE:20240101T000000Z\n", 40_000))),
		"a million properties":  cal(event(strings.Repeat("X-A:b\n", 100_000))),
		"one property again":    cal(event(strings.Repeat("SUMMARY:b\n", 40_000))),
		"and with other values": cal(event(many(20_000, func(i int) string { return fmt.Sprintf("SUMMARY:%d\n", i) }))),
		"many parameters":       cal(event("X-A" + strings.Repeat(";B=c", 40_000) + ":d\n")),
		"a long line":           cal(event("DESCRIPTION:" + strings.Repeat("a,", 400_000) + "\n")),
		"a long folded line":    cal(event("DESCRIPTION:" + strings.Repeat("a\n ", 200_000) + "\n")),
		"nested":                cal("BEGIN:VEVENT\n" + strings.Repeat("BEGIN:A\n", 40_000)),
		"zone in itself":        cal(strings.Repeat("BEGIN:VTIMEZONE\nTZID:a\n", 20_000)),
		"many zones":            cal(many(10_000, func(i int) string { return fmt.Sprintf("BEGIN:VTIMEZONE\nTZID:/%d/Europe/Berlin\nEND:VTIMEZONE\n", i) }) + event("")),
		"many names of a zone":  cal(event(many(10_000, func(i int) string { return fmt.Sprintf("X-A;TZID=/%d/Europe/Berlin:b\n", i) }))),
		"many unknown zones":    cal(event(many(10_000, func(i int) string { return fmt.Sprintf("X-A;TZID=(UTC) %d, Nowhere, Europe/X%d:b\n", i, i) }))),
		"many exceptions": cal(many(10_000, func(i int) string {
			return fmt.Sprintf("BEGIN:VEVENT\nUID:u\nRECURRENCE-ID:%08d\n%sEND:VEVENT\n", i, start)
		})),
		"one UID":                cal(strings.Repeat(event("SUMMARY:x\n"), 4_000)),
		"one UID, all different": cal(many(4_000, func(i int) string { return event(fmt.Sprintf("SUMMARY:%d\n", i)) })),
		"no UID":                 cal(strings.Repeat("BEGIN:VEVENT\n"+start+"END:VEVENT\n", 4_000)),
		"a large zone for all": cal("BEGIN:VTIMEZONE\nTZID:Big\nX-A:" + strings.Repeat("b", 1<<20) + "\nEND:VTIMEZONE\n" + many(4_000, func(i int) string {
			return fmt.Sprintf("BEGIN:VEVENT\nUID:%d\nDTSTART;TZID=Big:20240101T100000\nEND:VEVENT\n", i)
		})),
		"a large header for all": cal("X-A:" + strings.Repeat("b", 1<<20) + "\n" + many(4_000, func(i int) string { return fmt.Sprintf("BEGIN:VEVENT\nUID:%d\nEND:VEVENT\n", i) })),
		"many files in one": many(4_000, func(i int) string {
			return cal(fmt.Sprintf("X-A:%d\nBEGIN:VEVENT\nUID:%d\n%sEND:VEVENT\n", i, i, start))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			before := time.Now()
			var memory runtime.MemStats
			var shaped []item.Record
			size := 0
			for _, r := range (Rules{}).Split("x.ics", []byte(data)) {
				size += len(r.Data)
				out, _, ok := (Rules{}).Shape(r, rule.Profile{Strict: true, Schedules: true, Drops: []string{"X-Z*"}})
				if ok {
					shaped = append(shaped, out)
				}
				if len(out.Data) > 4*len(r.Data)+1<<20 {
					t.Errorf("%d bytes became %d", len(r.Data), len(out.Data))
				}
			}
			if size > 256<<20 {
				t.Errorf("%d bytes of records of %d", size, len(data))
			}
			p := place{}
			p.twice(t, shaped)
			f := OpenFile(nil)
			for _, r := range p.records {
				f.Add(r.Data)
			}
			if n := len(f.Bytes()); n > 4*len(data)+len(shaped)*300+1<<20 {
				t.Errorf("a file of %d bytes became %d", len(data), n)
			}
			runtime.ReadMemStats(&memory)
			t.Logf("%d bytes: %v, %d MiB in use", len(data), time.Since(before).Round(time.Millisecond), memory.HeapInuse>>20)
		})
	}
}

// TestRT18StaysInert looks whether what is meant to be run, fetched or expanded stays the text that it is.
func TestRT18StaysInert(t *testing.T) {
	for _, line := range []string{"ATTACH:file:///etc/passwd", "URL:javascript:alert(1)", "RRULE:FREQ=SECONDLY;COUNT=2147483647", "SUMMARY:=cmd|'/c calc'!A1", "ATTACH;FMTTYPE=application/binary:ftp://x/y.exe"} {
		out, changes, ok := (Rules{}).Shape(records(event(line + "\nDTSTAMP:20240101T000000Z\n"))[0], strict)
		if !ok || !bytes.Contains(out.Data, []byte(line+"\n")) {
			t.Errorf("%s: %v %s", line, changes, out.Data)
		}
	}
	out, changes, ok := (Rules{}).Shape(records("BEGIN:VEVENT\nUID:u\nDTSTART:00000101T000000\nDTEND:20240101T000000Z\nSUMMARY:a\x01b\x7f\nEND:VEVENT\n")[0], strict)
	if !ok || !bytes.Contains(out.Data, []byte("X-DECANT-DTSTART:00000101T000000")) || !bytes.Contains(out.Data, []byte("SUMMARY:ab\n")) {
		t.Errorf("%v %+v\n%s", ok, changes, out.Data)
	}
}

// TestTooManyComponents gives more than can be told apart: it stays one object, as it is.
func TestTooManyComponents(t *testing.T) {
	data := []byte(cal(strings.Repeat("Begin:VEVENT\nEND:VEVENT\n", maxComponents)))
	all := (Rules{}).Split("x.ics", data)
	if len(all) != 1 || !bytes.Equal(all[0].Data, data) {
		t.Fatal(len(all))
	}
	if out, _, ok := (Rules{}).Shape(all[0], rule.Profile{}); !ok || !bytes.Equal(out.Data, data) {
		t.Error("it is changed")
	}
	if _, changes, ok := (Rules{}).Shape(all[0], strict); ok || len(changes) != 1 {
		t.Error(ok, changes)
	}
	p := place{}
	p.twice(t, all)
}

func FuzzRules(f *testing.F) {
	for _, s := range []string{cal(zone + a1 + a2 + b1 + noUID), cal(event("RRULE:FREQ=DAILY\nEXDATE;VALUE=DATE:20240102\nDTEND;TZID=Europe/Berlin:20240101T120000\n")),
		"BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nDTSTART:19960401T033000Z\nRRULE:MP1 1+ SU #4\nDALARM:19960401T023000Z;PT5M;2;Wake\nSUMMARY;ENCODING=QUOTED-PRINTABLE:=C3=A4=\nb\nEND:VEVENT\nEND:VCALENDAR\n",
		cal("BEGIN:VEVENT\nitem1.SUMMARY;A;B=\"x:a,b\nRECURRENCE-ID:1\nTRIGGER:x\nGEO:1,2\nEND:VEVENT\n")} {
		f.Add([]byte(s), []byte(cal(a3)))
	}
	f.Fuzz(func(t *testing.T, data, other []byte) {
		if len(data) > 1<<16 || len(other) > 1<<16 {
			return
		}
		var shaped []item.Record
		for _, r := range (Rules{}).Split("a.ics", append(bytes.Clone(data), other...)) {
			if same, _, ok := (Rules{}).Shape(r, rule.Profile{}); !ok || !bytes.Equal(same.Data, r.Data) {
				t.Fatalf("changed for a target that takes all: %q", r.Data)
			}
			out, _, ok := (Rules{}).Shape(r, strict)
			if !ok {
				continue
			}
			again, changes, ok := (Rules{}).Shape(out, strict)
			if !ok || !bytes.Equal(again.Data, out.Data) {
				t.Fatalf("not stable:\n%q\n%q\n%q\n%+v", r.Data, out.Data, again.Data, changes)
			}
			shaped = append(shaped, out)
		}
		p := place{}
		p.twice(t, shaped)
	})
}
