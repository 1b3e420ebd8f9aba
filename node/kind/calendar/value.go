package calendar

import (
	"fmt"
	"strings"
	"time"
)

// moment is a DATE or DATE-TIME (RFC 5545 3.3.4, 3.3.5) as it is written, in no zone.
type moment struct {
	year, month, day, hour, minute, second int

	date bool // it has no time of day
	utc  bool // it ends in Z
}

// parseMoment parses exactly what the standard allows.
func parseMoment(s string) (m moment, ok bool) {
	switch len(s) {
	case 8:
		m.date = true
	case 15, 16:
		if s[8] != 'T' || len(s) == 16 && s[15] != 'Z' {
			return m, false
		}
		m.utc = len(s) == 16
	default:
		return m, false
	}
	for _, f := range []struct {
		to       *int
		from, up int
	}{{&m.year, 0, 4}, {&m.month, 4, 6}, {&m.day, 6, 8}, {&m.hour, 9, 11}, {&m.minute, 11, 13}, {&m.second, 13, 15}} {
		if f.from >= 8 && m.date {
			break
		}
		if *f.to, ok = digits(s[f.from:f.up]); !ok {
			return m, false
		}
	}
	return m, m.exists()
}

// exists reports whether the calendar has the day and the clock the time. A leap second
// does; servers that don't know it count as none that we must please.
func (m moment) exists() bool {
	return m.year >= 1 && m.year <= 9999 && m.month >= 1 && m.month <= 12 && m.day >= 1 && m.day <= daysIn(m.year, m.month) &&
		m.hour <= 23 && m.minute <= 59 && m.second <= 60
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func digits(s string) (n int, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(s) > 0 && len(s) < 10
}

// mendMoment parses what programs write in place of it: the extended form of ISO 8601,
// fractions, no seconds, 24:00, blanks, a day that the month does not have by one to three.
func mendMoment(s string) (moment, bool) {
	if m, ok := parseMoment(s); ok {
		return m, true
	}
	s = strings.ToUpper(strings.Trim(s, " \t;,\"'\\"))
	if len(s) > 40 {
		return moment{}, false
	}
	day, clock, timed := strings.Cut(s, "T")
	if !timed {
		day, clock, timed = strings.Cut(s, " ")
	}
	day = strings.NewReplacer("-", "", "/", "", ".", "").Replace(day)
	zulu := strings.HasSuffix(clock, "Z")
	clock, _, _ = strings.Cut(strings.TrimSuffix(clock, "Z"), ".")
	clock = strings.ReplaceAll(strings.TrimSpace(clock), ":", "")
	if !timed || clock == "" {
		return clamp(parseMoment(day))
	}
	next := clock == "24" || clock == "2400" || clock == "240000"
	if next {
		clock = "000000"
	}
	for len(clock) < 6 && len(clock)%2 == 0 {
		clock += "00"
	}
	if zulu {
		clock += "Z"
	}
	m, ok := clamp(parseMoment(day + "T" + clock))
	if ok && next {
		m = m.add(24 * time.Hour)
	}
	return m, ok
}

// clamp moves a day like 31 June to the last one of its month.
func clamp(m moment, ok bool) (moment, bool) {
	if !ok && m.day <= 31 && m.month >= 1 && m.month <= 12 && m.year >= 1 {
		m.day = min(m.day, daysIn(m.year, m.month))
		ok = m.exists()
	}
	return m, ok
}

// String writes it as the standard wants it.
func (m moment) String() string {
	s := fmt.Sprintf("%04d%02d%02d", m.year, m.month, m.day)
	if m.date {
		return s
	}
	s += fmt.Sprintf("T%02d%02d%02d", m.hour, m.minute, m.second)
	if m.utc {
		s += "Z"
	}
	return s
}

// shown writes it for a person.
func (m moment) shown() string {
	s := fmt.Sprintf("%04d-%02d-%02d", m.year, m.month, m.day)
	if !m.date {
		s += fmt.Sprintf(" %02d:%02d", m.hour, m.minute)
	}
	return s
}

// in returns the instant that it is on the clocks of a zone.
func (m moment) in(loc *time.Location) time.Time {
	if m.utc || loc == nil {
		loc = time.UTC
	}
	return time.Date(m.year, time.Month(m.month), m.day, m.hour, m.minute, m.second, 0, loc)
}

// add returns what a clock without zone shows later, as long as it has four digits for the year.
func (m moment) add(d time.Duration) moment {
	t := m.in(nil).Add(d)
	if t.Year() < 1 || t.Year() > 9999 {
		return m
	}
	return moment{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), m.date, m.utc}
}

// momentOf returns what a clock shows.
func momentOf(t time.Time) moment {
	return moment{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), false, t.Location() == time.UTC}
}

// validDuration reports whether s is a DURATION (RFC 5545 3.3.6).
func validDuration(s string) bool {
	_, ok := duration(s)
	return ok
}

// duration parses a DURATION. Its length is exact up to 292 years, and capped there.
func duration(s string) (time.Duration, bool) {
	sign := time.Duration(1)
	if s != "" && (s[0] == '+' || s[0] == '-') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	if len(s) < 3 || s[0] != 'P' {
		return 0, false
	}
	const most = 1 << 62
	var total time.Duration
	order, inTime := 0, false
	for s = s[1:]; s != ""; {
		if s[0] == 'T' {
			if inTime || len(s) == 1 || order == 1 {
				return 0, false
			}
			inTime, s = true, s[1:]
			continue
		}
		i := 0
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		n, ok := digits(s[:i])
		if !ok || i == len(s) {
			return 0, false
		}
		rank, unit := durationUnit(s[i], inTime)
		if rank <= order || order == 1 {
			return 0, false
		}
		order, s = rank, s[i+1:]
		if time.Duration(n) > (most-total)/unit {
			total = most
		} else {
			total += time.Duration(n) * unit
		}
	}
	return sign * total, order > 0
}

func durationUnit(c byte, inTime bool) (rank int, unit time.Duration) {
	switch {
	case c == 'W' && !inTime:
		return 1, 7 * 24 * time.Hour
	case c == 'D' && !inTime:
		return 2, 24 * time.Hour
	case c == 'H' && inTime:
		return 3, time.Hour
	case c == 'M' && inTime:
		return 4, time.Minute
	case c == 'S' && inTime:
		return 5, time.Second
	}
	return 0, 1
}

// mendDuration returns the duration that a program meant that writes a little else.
func mendDuration(s string) (string, bool) {
	s = strings.ToUpper(strings.Join(strings.Fields(s), ""))
	if validDuration(s) {
		return s, true
	}
	if len(s) > 40 {
		return "", false
	}
	sign := ""
	for s != "" && (s[0] == '+' || s[0] == '-') {
		if s[0] == '-' {
			sign = "-"
		}
		s = s[1:]
	}
	body := strings.TrimPrefix(s, "P")
	days, clock, timed := strings.Cut(body, "T")
	if body == "" {
		return "", false
	}
	if body == "T" || body == "0" {
		return sign + "PT0S", true
	}
	tries := []string{"P" + strings.TrimSuffix(body, "T")}
	if !timed {
		tries = append(tries, "PT"+body)
		if i := strings.IndexByte(body, 'D'); i >= 0 {
			tries = append(tries, "P"+body[:i+1]+"T"+body[i+1:])
		}
	}
	if w, rest, ok := strings.Cut(days, "W"); ok {
		d, isDays := digits(strings.TrimSuffix(rest, "D"))
		if n, isWeeks := digits(w); isWeeks && n < 1e6 && (isDays || rest == "") {
			t := fmt.Sprintf("P%dD", 7*n+d)
			if clock != "" {
				t += "T" + clock
			}
			tries = append(tries, t)
		}
	}
	for _, t := range tries {
		if validDuration(t) {
			return sign + t, true
		}
	}
	return "", false
}
