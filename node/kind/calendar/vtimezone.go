package calendar

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A VTIMEZONE that we write covers the years from the one before it is needed, but not before
// firstYear, up to lastYear; rules that still hold then go on without an end. Zone files with
// 32-bit times end in the year after.
const (
	firstYear = 1900
	lastYear  = 2036
)

var weekdays = [...]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// written holds VTIMEZONEs by zone and first year: years are rounded down to tens, so that they are few.
var written sync.Map // writtenKey to string

type writtenKey struct {
	zone  string
	first int
}

// writeZone returns a VTIMEZONE, lines ended by CRLF, that says what the tz database knows
// of a zone since a year. tzid is the name that it gets.
func writeZone(tzid, zone string, year int) string {
	first := max(min(year-1, lastYear-10), firstYear) / 10 * 10
	key := writtenKey{zone, first}
	body, ok := written.Load(key)
	if !ok {
		body = observances(locate(zone), first)
		written.Store(key, body)
	}
	head := "BEGIN:VTIMEZONE\r\nTZID:" + tzid + "\r\n"
	if tzid != zone {
		head += "X-LIC-LOCATION:" + zone + "\r\n"
	}
	return head + body.(string) + "END:VTIMEZONE\r\n"
}

// change is one change of a zone's clocks.
type change struct {
	from, to int // offsets in seconds
	dst      bool
	name     string
	at       time.Time // on the clock before the change
}

func (c change) sameKind(d change) bool {
	return c.from == d.from && c.to == d.to && c.dst == d.dst && c.name == d.name
}

// series is a run of changes of one kind in consecutive years on the same weekday of
// the same month, counted from its begin or its end.
type series struct {
	changes   []change
	nth, last bool // which way of counting still fits all of them
}

// fits reports whether a change continues a series, and which way of counting remains.
func (s *series) fits(c change) (nth, last bool) {
	p := s.changes[len(s.changes)-1]
	if !p.sameKind(c) || p.at.Year()+1 != c.at.Year() || p.at.Month() != c.at.Month() || p.at.Weekday() != c.at.Weekday() ||
		p.at.Hour() != c.at.Hour() || p.at.Minute() != c.at.Minute() || p.at.Second() != c.at.Second() {
		return false, false
	}
	return s.nth && week(p.at) == week(c.at), s.last && inLastWeek(c.at)
}

func week(t time.Time) int { return (t.Day() + 6) / 7 }

func inLastWeek(t time.Time) bool { return t.Day()+7 > daysIn(t.Year(), int(t.Month())) }

// observances writes the STANDARD and DAYLIGHT parts of a zone since a year.
func observances(loc *time.Location, first int) string {
	var b strings.Builder
	start := time.Date(first, 1, 1, 0, 0, 0, 0, time.UTC).In(loc)
	name, off := start.Zone()
	base := change{from: off, to: off, dst: start.IsDST(), name: name, at: time.Date(first, 1, 1, 0, 0, 0, 0, time.UTC)}
	writeObservance(&b, base, "")
	for _, s := range collect(loc, start) {
		if n := len(s.changes); n >= 3 && s.changes[n-1].at.Year() >= lastYear {
			writeObservance(&b, s.changes[0], s.rule()+"\r\n")
		} else { // dates and not a rule with an end, which old parsers refuse in every form that it can have
			writeObservance(&b, s.changes[0], dates(s.changes[1:]))
		}
	}
	return b.String()
}

// collect returns the changes of a zone after start, in series ordered by their first one.
func collect(loc *time.Location, start time.Time) []*series {
	var all []*series
	for t := start; ; {
		_, next := t.ZoneBounds()
		if next.IsZero() || next.UTC().Year() > lastYear {
			return all
		}
		_, from := next.Add(-time.Second).Zone()
		name, to := next.Zone()
		c := change{from, to, next.IsDST(), name, next.UTC().Add(time.Duration(from) * time.Second)}
		t = next
		if s, nth, last := find(all, c); s != nil {
			s.changes, s.nth, s.last = append(s.changes, c), nth, last
			continue
		}
		all = append(all, &series{changes: []change{c}, nth: true, last: inLastWeek(c.at)})
	}
}

// find returns the series that a change continues. Only the newest ones can.
func find(all []*series, c change) (s *series, nth, last bool) {
	for i := len(all) - 1; i >= max(0, len(all)-8); i-- {
		if nth, last := all[i].fits(c); nth || last {
			return all[i], nth, last
		}
	}
	return nil, false, false
}

func (s *series) rule() string {
	at, n := s.changes[0].at, -1
	if !s.last {
		n = week(at)
	}
	return fmt.Sprintf("RRULE:FREQ=YEARLY;BYMONTH=%d;BYDAY=%d%s", at.Month(), n, weekdays[at.Weekday()])
}

// dates returns a line for each change: some servers keep the first of several on one.
func dates(more []change) string {
	var b strings.Builder
	for _, c := range more {
		b.WriteString("RDATE:" + local(c.at) + "\r\n")
	}
	return b.String()
}

func local(t time.Time) string { return strings.TrimSuffix(momentOf(t).String(), "Z") }

func writeObservance(b *strings.Builder, c change, repeated string) {
	part := "STANDARD"
	if c.dst {
		part = "DAYLIGHT"
	}
	fmt.Fprintf(b, "BEGIN:%s\r\nTZOFFSETFROM:%s\r\nTZOFFSETTO:%s\r\nTZNAME:%s\r\nDTSTART:%s\r\n%sEND:%s\r\n",
		part, offset(c.from), offset(c.to), c.name, local(c.at), repeated, part)
}

func offset(seconds int) string {
	sign := '+'
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	s := fmt.Sprintf("%c%02d%02d", sign, seconds/3600, seconds/60%60)
	if seconds%60 != 0 {
		s += fmt.Sprintf("%02d", seconds%60)
	}
	return s
}
