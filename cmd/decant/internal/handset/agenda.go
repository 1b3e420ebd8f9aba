package handset

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const berlin = `BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
TZNAME:CEST
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:CET
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE`

// agendas returns two calendars and a list of tasks.
func agendas(o Options) []file {
	return []file{
		agenda("Calendar/personal.ics", o, 90, appointment),
		agenda("Calendar/work.ics", o, 60, meeting),
		agenda("Calendar/tasks.ics", o, 40, task),
	}
}

func agenda(path string, o Options, count int, object func(*rand.Rand, int, *lines)) file {
	return file{path: path, perm: 0o600, mtime: moment(generator(o, path, 0)), data: func(*rand.Rand) []byte {
		var l lines
		l.add("BEGIN:VCALENDAR")
		l.add("VERSION:2.0")
		l.add("PRODID:-//Example//Handset//EN")
		l.add("X-WR-CALNAME:%s", path)
		for s := range strings.SplitSeq(berlin, "\n") {
			l.raw(s)
		}
		for i := range count {
			object(generator(o, path, i+1), i, &l)
		}
		l.add("END:VCALENDAR")
		return l.out
	}}
}

const local, utc, day = "20060102T150405", "20060102T150405Z", "20060102"

func text(r *rand.Rand, n int) string { return escaped(strings.TrimSpace(prose(r, n))) }

// appointment adds something once, or every year, with an alarm.
func appointment(r *rand.Rand, i int, l *lines) {
	at := moment(r)
	l.add("BEGIN:VEVENT")
	l.add("UID:appointment-%d-%x@example.org", i, r.Uint32())
	l.add("DTSTAMP:%s", at.Format(utc))
	if i%5 == 0 {
		l.add("DTSTART;VALUE=DATE:%s", at.Format(day))
		l.add("RRULE:FREQ=YEARLY")
		l.add("SUMMARY:🎂 %s", pick(r, given))
	} else {
		l.add("DTSTART;TZID=Europe/Berlin:%s", at.Format(local))
		l.add("DTEND;TZID=Europe/Berlin:%s", at.Add(time.Hour).Format(local))
		l.add("SUMMARY:%s", text(r, 20))
	}
	l.add("DESCRIPTION:%s", text(r, 200))
	l.add("BEGIN:VALARM")
	l.add("ACTION:DISPLAY")
	l.add("TRIGGER:-PT15M")
	l.add("DESCRIPTION:%s", text(r, 10))
	l.add("END:VALARM")
	l.add("END:VEVENT")
}

// meeting adds something weekly with an exception and, for some, one moved occurrence,
// which is a component of the same UID.
func meeting(r *rand.Rand, i int, l *lines) {
	at := moment(r)
	uid := fmt.Sprintf("meeting-%d-%x", i, r.Uint32())
	l.add("BEGIN:VEVENT")
	l.add("UID:%s", uid)
	l.add("DTSTAMP:%s", at.Format(utc))
	l.add("DTSTART;TZID=Europe/Berlin:%s", at.Format(local))
	l.add("DURATION:PT45M")
	l.add("RRULE:FREQ=WEEKLY;COUNT=52")
	l.add("EXDATE;TZID=Europe/Berlin:%s", at.AddDate(0, 0, 14).Format(local))
	l.add("ATTENDEE;CN=\"%s: guest\";RSVP=TRUE:mailto:guest%d@example.org", pick(r, given), r.IntN(1000))
	l.add("SUMMARY:%s", text(r, 30))
	l.add("END:VEVENT")
	if i%4 != 0 {
		return
	}
	l.add("BEGIN:VEVENT")
	l.add("UID:%s", uid)
	l.add("DTSTAMP:%s", at.Format(utc))
	l.add("RECURRENCE-ID;TZID=Europe/Berlin:%s", at.AddDate(0, 0, 7).Format(local))
	l.add("DTSTART;TZID=Europe/Berlin:%s", at.AddDate(0, 0, 8).Format(local))
	l.add("DURATION:PT1H")
	l.add("SUMMARY:moved: %s", text(r, 20))
	l.add("END:VEVENT")
}

func task(r *rand.Rand, i int, l *lines) {
	at := moment(r)
	l.add("BEGIN:VTODO")
	l.add("UID:task-%d", i)
	l.add("DTSTAMP:%s", at.Format(utc))
	l.add("DUE;VALUE=DATE:%s", at.Format(day))
	l.add("SUMMARY:%s", text(r, 30))
	l.add("PERCENT-COMPLETE:%d", r.IntN(101))
	if i > 0 && i%6 == 0 {
		l.add("RELATED-TO:task-%d", i-1)
	}
	l.add("END:VTODO")
}
