package gather

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/test/env"
)

// readers print the UIDs of the first VCALENDAR of a file, as programs that know of no other would find them.
var readers = map[string]string{
	"vobject":   "import sys, vobject\nwith open(sys.argv[1]) as f:\n for c in vobject.readOne(f).components():\n  if c.name != 'VTIMEZONE': print(c.uid.value)",
	"icalendar": "import sys, icalendar\nfor c in icalendar.Calendar.from_ical(open(sys.argv[1], 'rb').read()).subcomponents:\n  if c.name != 'VTIMEZONE': print(c['UID'])",
}

// TestOtherProgramsReadAll has libraries of Debian (Radicale, khard and khal read with them) find every object, its time zone
// included, in the one VCALENDAR of a book.
func TestOtherProgramsReadAll(t *testing.T) {
	env.Program(t, "khal") // which brings both
	dir := filepath.Join(t.TempDir(), "records")
	zone := func(name string) string {
		return "BEGIN:VTIMEZONE\r\nTZID:" + name + "\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\n" +
			"BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
	}
	s := &shelf{}
	var want []string
	for i := range 30 {
		name := []string{"Europe/Berlin", "Europe/Paris", "Europe/Rome"}[i%3]
		uid := fmt.Sprintf("uid-%02d", i)
		want = append(want, uid)
		s.records = append(s.records, item.Record{Kind: item.Calendar, Book: "Work", Data: fmt.Appendf(nil, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\nX-WR-CALNAME:Work\r\n%sBEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:20240101T000000Z\r\nDTSTART;TZID=%s:20240101T100000\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
			zone(name), uid, name)})
	}
	if _, err := Into(t.Context(), dir, []Source{{"ics:a", "a", s}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "Calendars", "Work.ics")
	data, err := os.ReadFile(file)
	if err != nil || bytes.Count(data, []byte("BEGIN:VTIMEZONE")) != 3 || bytes.Count(data, []byte("X-WR-CALNAME")) != 1 {
		t.Errorf("%v: %d time zones", err, bytes.Count(data, []byte("BEGIN:VTIMEZONE")))
	}
	for name, script := range readers {
		out, err := exec.Command("/usr/bin/python3", "-c", script, file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%.2000s", name, err, out)
			continue
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %d of %d objects: %.300q", name, len(got), len(want), got)
		}
	}
}
