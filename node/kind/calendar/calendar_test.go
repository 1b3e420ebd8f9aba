package calendar

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// check tells whether records are what Records promises of them.
func check(data []byte, records []contentline.Record) error {
	var all []item.Range
	first := int64(-1)
	for i, r := range records {
		if len(r.Ranges) == 0 || r.Ranges[0].Offset <= first || (r.Identity == nil) != (r.Problem != "") || len(r.Identity) > item.MaxIdentity ||
			r.Problem == "" && len(r.Ranges) > item.MaxRanges {
			return fmt.Errorf("record %d: %d ranges, identity %q, problem %q", i, len(r.Ranges), r.Identity, r.Problem)
		}
		first = r.Ranges[0].Offset
		if !slices.IsSortedFunc(r.Ranges, func(a, b item.Range) int { return int(a.Offset - b.Offset) }) {
			return fmt.Errorf("record %d: ranges %v", i, r.Ranges)
		}
		all = append(all, r.Ranges...)
	}
	slices.SortFunc(all, func(a, b item.Range) int { return int(a.Offset - b.Offset) })
	end := int64(0)
	for _, g := range all {
		if g.Offset < end || g.Length <= 0 || g.Offset+g.Length > int64(len(data)) {
			return fmt.Errorf("range %v after %d of %d", g, end, len(data))
		}
		end = g.Offset + g.Length
	}
	return nil
}

func cal(body string) string { return "BEGIN:VCALENDAR\nVERSION:2.0\n" + body + "END:VCALENDAR\n" }

const (
	a1     = "BEGIN:VEVENT\nUID:a\nDTSTART;TZID=Here:2024\nEND:VEVENT\n"
	a2     = "BEGIN:VEVENT\nUID:a\nRECURRENCE-ID:x\nEND:VEVENT\n"
	a3     = "BEGIN:VEVENT\nUID:a\nSEQUENCE:2\nEND:VEVENT\n"
	b1     = "BEGIN:VTODO\nUID:b\nBEGIN:VALARM\nUID:alarm\nEND:VALARM\nEND:VTODO\n"
	noUID  = "BEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n"
	zone   = "BEGIN:VTIMEZONE\nTZID:Here\nBEGIN:STANDARD\nTZNAME:x\nEND:STANDARD\nEND:VTIMEZONE\n"
	unused = "BEGIN:VTIMEZONE\nTZID:There\nEND:VTIMEZONE\n"
)

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []string // each record's bytes; "!" before a broken one
	}{
		{"one of each", cal(zone + a1 + b1 + noUID), []string{a1, b1, noUID}},
		{"scattered", cal(a1 + b1 + a2), []string{a1 + a2, b1}},
		{"across calendars", cal(a1) + cal(a2), []string{a1 + a2}},
		{"without a calendar", a1 + noUID, []string{a1, noUID}},
		{"twins without UID", cal(noUID + noUID), []string{noUID, noUID}},
		{"unknown component", cal("BEGIN:X-NOTE\nUID:n\nEND:X-NOTE\n"), []string{"BEGIN:X-NOTE\nUID:n\nEND:X-NOTE\n"}},
		{"no end", cal("BEGIN:VEVENT\nUID:x\n" + a1), []string{"!BEGIN:VEVENT\nUID:x\n", a1}},
		{"cut off", "BEGIN:VCALENDAR\n" + a1 + "BEGIN:VEVENT\nUID:x", []string{a1, "!BEGIN:VEVENT\nUID:x"}},
		{"cut off inside", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nBEGIN:VALARM\n", []string{"!BEGIN:VEVENT\nBEGIN:VALARM\n"}},
		{"crossed", cal("BEGIN:VEVENT\nBEGIN:VALARM\nEND:VEVENT\nEND:VALARM\n" + b1), []string{"!BEGIN:VEVENT\nBEGIN:VALARM\nEND:VEVENT\n", b1}},
		{"stray end", cal("END:VEVENT\n" + a1), []string{a1}},
		{"broken zone", cal("BEGIN:VTIMEZONE\nTZID:x\n" + a1), []string{"!BEGIN:VTIMEZONE\nTZID:x\n", a1}},
		{"VTIMEZONE in itself (RT-18)", cal("BEGIN:VTIMEZONE\nBEGIN:VTIMEZONE\nTZID:x\nEND:VTIMEZONE\nEND:VTIMEZONE\n"), []string{"!BEGIN:VTIMEZONE\n"}},
		{"calendar in itself", "BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + cal(a1), []string{"!BEGIN:VEVENT\n", a1}},
		{"only zones", cal(zone), nil},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := Records([]byte(c.data))
			if err := check([]byte(c.data), records); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range records {
				s := string(r.Bytes([]byte(c.data)))
				if r.Problem != "" {
					s = "!" + s
				}
				got = append(got, s)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	records := Records([]byte(cal(b1 + noUID)))
	if len(records) != 2 || string(records[0].Identity) != "\x01b" {
		t.Fatalf("%+v", records)
	}
	sum := contentline.Fingerprint([]byte(noUID))
	if want := append([]byte{2}, sum[:]...); !bytes.Equal(records[1].Identity, want) {
		t.Errorf("identity without a UID: %x, want %x", records[1].Identity, want)
	}
}

func TestTouchingRangesAreOne(t *testing.T) {
	if r := Records([]byte(cal(a1 + a2 + a3))); len(r) != 1 || len(r[0].Ranges) != 1 {
		t.Fatalf("%+v", r)
	}
	scattered := strings.Repeat(a2+noUID, item.MaxRanges+1)
	r := Records([]byte(cal(scattered)))
	if r[0].Problem != contentline.ProblemTooMany || r[0].Identity != nil {
		t.Fatalf("%d ranges: problem %q", len(r[0].Ranges), r[0].Problem)
	}
}

func TestRealCalendars(t *testing.T) {
	for name, want := range map[string]struct{ objects, broken int }{
		"13-MoonPhase.ics": {41, 1}, "blalor.ics": {1, 0}, "outlook-2010.ics": {1, 0}, "vcal-example3.vcs": {2, 0}, "radicale-0827.ics": {1, 0},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		records := Records(data)
		broken := 0
		for _, r := range records {
			if r.Problem != "" {
				broken++
			}
		}
		if err := check(data, records); err != nil || len(records)-broken != want.objects || broken != want.broken {
			t.Errorf("%s: %d objects, %d broken, %v", name, len(records)-broken, broken, err)
		}
	}
}

// TestPublicCalendars runs over the larger collection that lies beside the repository on
// a machine of the project.
func TestPublicCalendars(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "ics")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public collection is not here")
	}
	files := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".ics" && filepath.Ext(p) != ".vcs" {
			return err
		}
		files++
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		records := Records(data)
		if err := check(data, records); err != nil {
			t.Errorf("%s: %v", d.Name(), err)
		}
		parts := 0
		for _, r := range records {
			if r.Problem != "" && d.Name() != "13-MoonPhase.ics" {
				t.Errorf("%s: a record %s", d.Name(), r.Problem)
			}
			parts += len(Records(append([]byte(nil), r.Bytes(data)...)))
		}
		// Every event, task and journal entry is in exactly one record.
		begins := 0
		for _, c := range parse(data).components {
			if !c.zone {
				begins++
			}
		}
		upper := bytes.ToUpper(data)
		want := bytes.Count(upper, []byte("BEGIN:VEVENT")) + bytes.Count(upper, []byte("BEGIN:VTODO")) + bytes.Count(upper, []byte("BEGIN:VJOURNAL"))
		if begins < want || parts != len(records) {
			t.Errorf("%s: %d components of at least %d; %d records, %d when read again", d.Name(), begins, want, len(records), parts)
		}
		merged := Merge(nil, [][]byte{data})
		if again := Merge(merged, [][]byte{data}); merged != nil && !bytes.Equal(again, merged) {
			t.Errorf("%s: merging twice adds something", d.Name())
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatal(files, err)
	}
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name, existing string
		add            []string
		want           string // "nil" for none
	}{
		{"new", cal(b1), []string{noUID}, cal(b1 + noUID)},
		{"whole file", cal(b1), []string{cal(noUID + b1)}, cal(b1 + noUID)},
		{"into nothing", " \n", []string{b1}, header + crlf(b1) + "END:VCALENDAR\r\n"},
		{"same", cal(a1 + b1), []string{b1, a1}, cal(a1 + b1)},
		{"same in other breaks", cal(b1), []string{crlf(b1)}, cal(b1)},
		{"other breaks", crlf(cal(b1)), []string{noUID}, crlf(cal(b1 + noUID))},
		{"exception of a known event", cal(a1), []string{a1 + a2}, cal(a1 + a2)},
		{"other content", cal(a1), []string{a3}, cal(a1 + a3)},
		{"zone comes along", cal(b1), []string{cal(zone + unused + a1)}, cal(b1 + zone + a1)},
		{"zone is there", cal(zone + b1), []string{cal(zone + a1)}, cal(zone + b1 + a1)},
		{"zone behind", cal(b1), []string{cal(a1 + zone)}, cal(b1 + zone + a1)},
		{"last calendar", cal(b1) + cal(noUID), []string{a2}, cal(b1) + cal(noUID+a2)},
		{"text behind", cal(b1) + "bye", []string{a2}, cal(b1+a2) + "bye"},
		{"not a calendar", "hello", []string{b1}, "nil"},
		{"cut off", "BEGIN:VCALENDAR\n" + b1, []string{a2}, "nil"},
		{"broken to add", cal(b1), []string{cal("BEGIN:VEVENT\n")}, "nil"},
		{"other version", cal(b1), []string{"BEGIN:VCALENDAR\nVERSION:1.0\n" + a2 + "END:VCALENDAR\n"}, "nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var add [][]byte
			for _, a := range c.add {
				add = append(add, []byte(a))
			}
			got := Merge([]byte(c.existing), add)
			if s := string(got); s != c.want && !(got == nil && c.want == "nil") {
				t.Fatalf("got %q, want %q", s, c.want)
			}
			if again := Merge(got, add); got != nil && !bytes.Equal(again, got) {
				t.Fatalf("merged again: %q", again)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	got := Compare([]byte(cal(a1+b1)), [][]byte{[]byte(crlf(a1)), []byte(a1 + a2), []byte(noUID), []byte(cal(zone + b1))})
	if want := []contentline.State{contentline.Same, contentline.Differs, contentline.New, contentline.Same}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// TestRT18Limits feeds what is meant to exhaust a parser, and bounds time and memory.
func TestRT18Limits(t *testing.T) {
	for name, c := range map[string]struct {
		data    func() []byte
		records int
		memory  uint64 // bytes allocated in all
	}{
		"folded line of 100 MB": {func() []byte {
			return slices.Concat([]byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDESCRIPTION:"), bytes.Repeat([]byte("\n "+strings.Repeat("x", 73)), 100<<20/75), []byte("\nEND:VEVENT\n"))
		}, 1, 1 << 20},
		"a million dates": {func() []byte {
			return slices.Concat([]byte("BEGIN:VEVENT\nRDATE:"), bytes.Repeat([]byte("20240101T000000Z,"), 1e6), []byte("\nEND:VEVENT\n"))
		}, 1, 1 << 20},
		"a million properties": {func() []byte {
			return slices.Concat([]byte("BEGIN:VEVENT\nUID:x\n"), bytes.Repeat([]byte("RDATE:20240101\n"), 1e6), []byte("END:VEVENT\n"))
		}, 1, 1 << 20},
		"a hundred thousand nested": {func() []byte {
			return slices.Concat([]byte("BEGIN:VEVENT\n"), bytes.Repeat([]byte("BEGIN:X\n"), 1e5), bytes.Repeat([]byte("END:X\n"), 1e5), []byte("END:VEVENT\n"))
		}, 1, 16 << 20},
		"a hundred thousand ends": {func() []byte { return bytes.Repeat([]byte("BEGIN:VEVENT\nEND:X\nEND:Y\n"), 1e5) }, 1e5, 128 << 20},
		"one UID, far apart":      {func() []byte { return []byte(strings.Repeat(a2+noUID, 50_000)) }, 50_001, 128 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			data := c.data()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			records := Records(data)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err := check(data, records); err != nil {
				t.Fatal(err)
			}
			if len(records) != c.records || took > time.Minute || after.TotalAlloc-before.TotalAlloc > c.memory {
				t.Errorf("%d records, %v, %d bytes allocated", len(records), took, after.TotalAlloc-before.TotalAlloc)
			}
		})
	}
}

// FuzzCalendarRecords holds Records and Merge to their promises.
func FuzzCalendarRecords(f *testing.F) {
	names, err := filepath.Glob("testdata/*.[iv]cs")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte(cal(zone+a1)))
	}
	f.Add([]byte(cal(zone+a1+b1+"BEGIN:VEVENT\n")), []byte(a2+noUID))
	f.Add([]byte("BEGIN:VCALENDAR\rEND:VCALENDAR\r"), []byte(crlf(b1)))
	f.Fuzz(func(t *testing.T, existing, add []byte) {
		if err := check(existing, Records(existing)); err != nil {
			t.Fatal(err)
		}
		merged := Merge(existing, [][]byte{add})
		if merged == nil {
			return
		}
		if old := bytes.TrimSpace(existing); len(old) > 0 {
			at := parse(existing).lastEnd
			if !bytes.HasPrefix(merged, existing[:at]) || !bytes.HasSuffix(merged, existing[at:]) {
				t.Fatal("existing was changed")
			}
		}
		have := know(merged, parse(merged))
		for _, c := range parse(add).components {
			if !c.zone && !have.content[contentline.Fingerprint(add[c.start:c.end])] {
				t.Fatal("a component is missing")
			}
		}
		if again := Merge(merged, [][]byte{add}); !bytes.Equal(again, merged) {
			t.Fatalf("merging twice adds something: %q then %q", merged, again)
		}
	})
}
