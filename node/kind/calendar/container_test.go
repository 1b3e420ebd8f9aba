package calendar

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
)

// pack puts records into as few containers as take them; those that none takes are the last files by themselves.
func pack(records []item.Record) (files [][]byte) {
	var all []*Container
	bodies := map[*Container][]byte{}
	var rest [][]byte
next:
	for _, r := range records {
		o := NewObject(r.Data)
		for _, c := range all {
			if part, ok := c.Take(o); ok {
				bodies[c] = append(bodies[c], part...)
				continue next
			}
		}
		c := &Container{}
		if part, ok := c.Take(o); ok {
			bodies[c] = part
			all = append(all, c)
			continue
		}
		rest = append(rest, r.Data)
	}
	for _, c := range all {
		files = append(files, slices.Concat(c.Head(), bodies[c], c.Tail()))
	}
	return append(files, rest...)
}

// sums are the fingerprints of records, sorted.
func sums(records []item.Record) (out []string) {
	for _, r := range records {
		out = append(out, string(r.Data))
	}
	slices.Sort(out)
	return out
}

// checkPacked demands that taking the containers apart gives the same objects again.
func checkPacked(t *testing.T, records []item.Record) [][]byte {
	t.Helper()
	files := pack(records)
	var back []item.Record
	for _, f := range files {
		back = append(back, (Rules{}).Split("", f)...)
	}
	if a, b := sums(records), sums(back); !slices.Equal(a, b) {
		i := 0
		for i < min(len(a), len(b)) && a[i] == b[i] {
			i++
		}
		t.Errorf("%d objects came back as %d from %d files, the first that differs:\n%q\n%q", len(a), len(b), len(files), slices.Concat(a[i:], []string{""})[0], slices.Concat(b[i:], []string{""})[0])
	}
	return files
}

func TestContainer(t *testing.T) {
	const berlin = "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
	event := func(uid, more string) string { return "BEGIN:VEVENT\r\nUID:" + uid + "\r\n" + more + "END:VEVENT\r\n" }
	object := func(header string, parts ...string) string {
		return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + header + strings.Join(parts, "") + "END:VCALENDAR\r\n"
	}
	const named = "DTSTART;TZID=Europe/Berlin:20200101T000000\r\n"
	for _, c := range []struct {
		name    string
		objects []string
		files   int
	}{
		{"one zone for all", []string{object("", berlin, event("1", named)), object("", event("2", "")), object("", berlin, event("3", named))}, 1},
		{"an exception beside its event", []string{object("", event("1", ""), event("1", "RECURRENCE-ID:20200101\r\n")), object("", event("2", ""))}, 1},
		{"the same UID twice", []string{object("", event("1", "")), object("", event("1", "SUMMARY:other\r\n")), object("", event("2", ""))}, 2},
		{"a task of the same UID", []string{object("", event("1", "")), object("", "BEGIN:VTODO\r\nUID:1\r\nEND:VTODO\r\n")}, 1},
		{"another name", []string{object("X-WR-CALNAME:a\r\n", event("1", "")), object("X-WR-CALNAME:b\r\n", event("2", "")), object("X-WR-CALNAME:a\r\n", event("3", ""))}, 2},
		{"another zone of that name", []string{object("", berlin, event("1", named)), object("", strings.ReplaceAll(berlin, "+0100", "+0200"), event("2", named))}, 2},
		{"a zone that nothing names", []string{object("", berlin, event("1", "")), object("", event("2", ""))}, 1},
		{"a zone that only the second names", []string{object("", berlin, event("1", "")), object("", berlin, event("2", named))}, 2},
		{"a zone that nothing names in the second", []string{object("", event("1", "")), object("", berlin, event("2", ""))}, 2},
		{"without UID", []string{object("", "BEGIN:VEVENT\r\nEND:VEVENT\r\n"), object("", "BEGIN:VEVENT\r\nEND:VEVENT\r\n")}, 1},
		{"other line breaks", []string{object("", event("1", "")), strings.ReplaceAll(object("", event("2", "")), "\r\n", "\n")}, 2},
		{"a line behind the components", []string{object("", event("1", "")), "BEGIN:VCALENDAR\r\n" + event("2", "") + "VERSION:2.0\r\nEND:VCALENDAR\r\n"}, 1},
		{"what has no end", []string{object("", event("1", "")), "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:2\r\n"}, 2},
		{"no object", []string{object("", event("1", "")), object("X-A:b\r\n"), object("", berlin)}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var records []item.Record
			for _, o := range c.objects {
				records = append(records, item.Record{Kind: item.Calendar, Data: []byte(o)})
			}
			var split []item.Record
			for _, r := range records {
				split = append(split, (Rules{}).Split("", r.Data)...)
			}
			if files := checkPacked(t, split); len(files) != c.files {
				t.Errorf("%d files, not %d:\n%s", len(files), c.files, bytes.Join(files, []byte("---\n")))
			}
		})
	}
}

// TestContainerLimits goes on in another container before one takes more memory than it should.
func TestContainerLimits(t *testing.T) {
	var records []item.Record
	for i := range 120 {
		records = append(records, item.Record{Kind: item.Calendar, Data: fmt.Appendf(nil, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:%d\r\nATTACH:%s\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", i, strings.Repeat("x", maxContainer/100))})
	}
	if files := checkPacked(t, records); len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	head := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-A:" + strings.Repeat("x", maxHeader/2) + "\r\n"
	records = nil
	for i := range 1000 {
		records = append(records, item.Record{Kind: item.Calendar, Data: fmt.Appendf(nil, "%sBEGIN:VEVENT\r\nUID:%d\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", head, i)})
	}
	checkPacked(t, records)
}

// TestContainerReal takes public calendars apart and puts them together again.
func TestContainerReal(t *testing.T) {
	files, objects, whole := 0, 0, 0
	fixtures(t, func(name string, data []byte) {
		records := (Rules{}).Split("", data)
		n := len(checkPacked(t, records))
		if files, objects = files+1, objects+len(records); n == 1 {
			whole++
		}
		if t.Failed() {
			t.Fatal(name)
		}
	})
	t.Logf("%d objects of %d files, %d of them one container", objects, files, whole)
}

func TestBookOf(t *testing.T) {
	for path, want := range map[string]string{"Calendars/Work.ics": "Work", "Calendars/Work_002.ics": "Work", "Calendars/Trip_2024.ics": "Trip_2024", "old/Plan_101.ics": "Plan_101", "Calendars/_002.ics": "_002", "Calendars/Plan_101_001.ics": "Plan_101"} {
		if got := bookOf(path); got != want {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
}

func FuzzContainer(f *testing.F) {
	f.Add([]byte("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VTIMEZONE\nTZID:z\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:1\nDTSTART;TZID=z:20200101T000000\nEND:VEVENT\nBEGIN:VEVENT\nUID:2\nEND:VEVENT\nEND:VCALENDAR\n"),
		[]byte("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nRECURRENCE-ID:20200101\nEND:VEVENT\nBEGIN:VTODO\nUID:2\nEND:VTODO\nEND:VCALENDAR\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a)+len(b) > 1<<16 {
			return
		}
		var steady []item.Record // broken components may be cut another way the second time, whatever they stand beside
		for _, r := range append((Rules{}).Split("", a), (Rules{}).Split("", b)...) {
			if again := (Rules{}).Split("", r.Data); len(again) == 1 && bytes.Equal(again[0].Data, r.Data) {
				steady = append(steady, r)
			}
		}
		checkPacked(t, steady)
	})
}
