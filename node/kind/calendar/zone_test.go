package calendar

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestResolve(t *testing.T) {
	for in, want := range map[string]string{
		"Europe/Berlin": "Europe/Berlin", "Romance Standard Time": "Europe/Paris", "w. europe standard time": "Europe/Berlin", "UTC": "UTC",
		"/mozilla.org/20050126_1/Europe/Berlin": "Europe/Berlin", "/softwarestudio.org/Olson_20011030_5/America/Argentina/Ushuaia": "America/Argentina/Ushuaia",
		"(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna": "Europe/Berlin", "(GMT-05.00) New York": "America/New_York",
		"US/Eastern": "US/Eastern", "EST5EDT": "EST5EDT", "tzone://Microsoft/Utc": "UTC", `"Europe/Berlin"`: "Europe/Berlin",
		"": "", "Local": "", "../../etc/passwd": "", "/etc/localtime": "", "Custom 1": "", "posix/Europe/Berlin": "Europe/Berlin", "Europe": "", "zone.tab": "", "(UTC+01:00) Berlin, ../x": "Europe/Berlin",
	} {
		if got := resolve(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestWindowsZonesExist(t *testing.T) {
	if len(byWindowsName()) < 130 {
		t.Fatal(len(byWindowsName()), "names")
	}
	for name, zone := range byWindowsName() {
		if locate(zone) == nil {
			t.Errorf("%s: %s is no zone", name, zone)
		}
	}
}

// TestWriteZone reads what is written with a small interpreter of its own and compares it
// with the database, hour by hour around each change and month by month.
func TestWriteZone(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza", "Asia/Jerusalem",
		"America/Sao_Paulo", "Europe/Dublin", "Pacific/Apia", "Antarctica/Troll", "Europe/Moscow", "America/Argentina/Buenos_Aires", "UTC", "Etc/GMT+5", "Africa/Monrovia"} {
		for _, year := range []int{1960, 2024, 3000} {
			text := writeZone("x", zone, year)
			if len(text) > 32<<10 {
				t.Errorf("%s since %d: %d bytes", zone, year, len(text))
			}
			compareZone(t, zone, text, min(year, 2030))
		}
	}
}

func compareZone(t *testing.T, zone, text string, year int) {
	t.Helper()
	loc := locate(zone)
	onsets := readZone(t, text)
	wrong := 0
	for at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < lastYear+1; at = at.Add(6*time.Hour + 7*time.Minute) {
		_, want := at.In(loc).Zone()
		got, last := 0, time.Time{}
		for _, o := range onsets {
			if !o.at.After(at) && !o.at.Before(last) {
				got, last = o.offset, o.at
			}
		}
		if got != want {
			if wrong++; wrong < 3 {
				t.Errorf("%s at %v: offset %d, want %d", zone, at, got, want)
			}
		}
	}
}

type onset struct {
	at     time.Time
	offset int
}

// readZone expands the parts of a VTIMEZONE, up to lastYear.
func readZone(t *testing.T, text string) (all []onset) {
	t.Helper()
	var from, to int
	var start, rule string
	var extra []string
	for _, line := range strings.Split(text, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "BEGIN":
			rule, extra = "", nil
		case "TZOFFSETFROM":
			from, _ = parseOffset(value)
		case "TZOFFSETTO":
			to, _ = parseOffset(value)
		case "DTSTART":
			start = value
		case "RRULE":
			rule = value
		case "RDATE":
			extra = append(extra, value)
		case "END":
			if value == "VTIMEZONE" {
				return all
			}
			for _, local := range append(extra, start) {
				m, ok := parseMoment(local)
				if !ok {
					t.Fatalf("%q", local)
				}
				all = append(all, onset{m.in(nil).Add(-time.Duration(from) * time.Second), to})
			}
			if rule != "" {
				all = append(all, expandRule(t, rule, start, from, to)...)
			}
		}
	}
	t.Fatal("no end")
	return nil
}

func expandRule(t *testing.T, rule, start string, from, to int) (all []onset) {
	t.Helper()
	rule, until, limited := strings.Cut(rule, ";UNTIL=")
	var month, n int
	var day string
	if _, err := fmt.Sscanf(rule, "FREQ=YEARLY;BYMONTH=%d;BYDAY=%d%s", &month, &n, &day); err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	m, _ := parseMoment(start)
	for year := m.year; year <= lastYear; year++ {
		var days []time.Time
		for d := time.Date(year, time.Month(month), 1, m.hour, m.minute, m.second, 0, time.UTC); d.Month() == time.Month(month); d = d.AddDate(0, 0, 1) {
			if weekdays[d.Weekday()] == day {
				days = append(days, d)
			}
		}
		at := days[len(days)-1]
		if n > 0 {
			at = days[n-1]
		}
		at = at.Add(-time.Duration(from) * time.Second)
		if limited {
			if u, ok := parseMoment(until); !ok || at.After(u.in(nil)) {
				break
			}
		}
		all = append(all, onset{at, to})
	}
	return all
}

func TestMoments(t *testing.T) {
	for in, want := range map[string]string{
		"20240229": "20240229", "20240229T235960Z": "20240229T235960Z", "20240101T120000": "20240101T120000",
		"2024-01-01T12:00:00Z": "20240101T120000Z", "20240101T1200": "20240101T120000", "20240101T120000.000Z": "20240101T120000Z", "2024-01-01 12:00": "20240101T120000",
		"20240101T240000": "20240102T000000", " 20240101 ": "20240101", "20240631": "20240630", "20240101T": "20240101", "00000101": "", "20241301": "", "hello": "", "": "", "T": "",
		"20240101T256000": "", "20230229T000000Z": "20230228T000000Z", "99991231T240000": "99991231T000000",
	} {
		m, ok := mendMoment(in)
		if got := m.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"PT15M": 15 * time.Minute, "-P1D": -24 * time.Hour, "P1W": 168 * time.Hour, "+P1DT2H3M4S": 26*time.Hour + 3*time.Minute + 4*time.Second, "PT0S": 0,
	} {
		if d, ok := duration(in); !ok || d != want {
			t.Errorf("%q: %v, %v", in, d, ok)
		}
	}
	for in, want := range map[string]string{
		"P": "", "PT": "PT0S", "": "", "P1W2D": "P9D", "P15M": "PT15M", "15M": "PT15M", "-pt15m": "-PT15M", "P1DT": "P1D", "P 1 D": "P1D", "PT1D": "", "P1D2H": "P1DT2H", "P99999999999D": "", "P1W1W": "",
	} {
		if validDuration(in) {
			t.Errorf("%q is valid", in)
		}
		if got, ok := mendDuration(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", in, got, ok, want)
		}
	}
	if d, ok := duration("P999999999W"); !ok || d <= 0 {
		t.Error(d, ok)
	}
}
