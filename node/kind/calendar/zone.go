package calendar

import (
	_ "embed"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // phones and Windows have no zone files of their own that Go finds; costs 0.4 MB
)

// windowsZones says which zone of the tz database Windows means by a name, "001" entries only:
// one "name=zone" a line. From CLDR supplemental/windowsZones.xml, © Unicode, Inc., Unicode License
// V3 (https://www.unicode.org/license.txt).
//
//go:embed windowszones.txt
var windowsZones string

var byWindowsName = sync.OnceValue(func() map[string]string {
	zones := map[string]string{}
	for line := range strings.Lines(windowsZones) {
		name, zone, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		zones[strings.ToLower(name)] = zone
	}
	return zones
})

// located holds the zones that have been asked for and exist: a few hundred at most.
var located sync.Map // string to *time.Location

// locate returns the zone of a name of the tz database, nil if there is none. No path
// leads out of the database, and "Local" is no zone of a calendar.
func locate(name string) *time.Location {
	if !plausible(name) {
		return nil
	}
	if loc, ok := located.Load(name); ok {
		return loc.(*time.Location)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	located.Store(name, loc)
	return loc
}

// singleNames are the names without an area that the database has kept.
const singleNames = " UTC UCT GMT Zulu Universal Greenwich EST MST HST EST5EDT CST6CDT MST7MDT PST8PDT WET CET MET EET " +
	"Cuba Egypt Eire Hongkong Iceland Iran Israel Jamaica Japan Kwajalein Libya Navajo Poland Portugal PRC ROC ROK Singapore Turkey W-SU NZ GB "

// areas are the first parts of all other names.
const areas = " Africa America Antarctica Arctic Asia Atlantic Australia Brazil Canada Chile Etc Europe Indian Mexico Pacific US "

// plausible keeps apart what can be a name of the database from paths and files that lie beside it.
func plausible(name string) bool {
	if len(name) > 40 || name == "" || name[0] < 'A' || name[0] > 'Z' {
		return false
	}
	for _, c := range []byte(name) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("/_+-", rune(c)) {
			return false
		}
	}
	area, _, deep := strings.Cut(name, "/")
	if deep {
		return strings.Contains(areas, " "+area+" ")
	}
	return strings.Contains(singleNames, " "+name+" ")
}

// resolve returns the name in the tz database of what a TZID means: a name of the
// database, with or without a vendor's path before it, a name of Windows, or a display
// name of Outlook with its offset and cities. "" is unknown.
func resolve(tzid string) string {
	tzid = strings.Trim(tzid, " \t\"'")
	if len(tzid) > 200 || tzid == "" {
		return ""
	}
	if locate(tzid) != nil {
		return tzid
	}
	switch strings.ToUpper(tzid) {
	case "Z", "UTC", "GMT", "ETC/UTC", "TZONE://MICROSOFT/UTC", "COORDINATED UNIVERSAL TIME":
		return "UTC"
	}
	if zone := byWindowsName()[strings.ToLower(tzid)]; zone != "" {
		return zone
	}
	parts := strings.Split(tzid, "/")
	for n := min(3, len(parts)-1); n >= 2; n-- {
		if name := strings.Join(parts[len(parts)-n:], "/"); locate(name) != nil {
			return name
		}
	}
	return byCity(tzid)
}

// byCity resolves "(UTC+01:00) Amsterdam, Berlin, Bern": the first of the cities that one
// of the zones of Windows is named after, and that has the offset in winter or summer.
func byCity(display string) string {
	head, cities, ok := strings.Cut(display, ")")
	if !ok || !strings.HasPrefix(head, "(") {
		return ""
	}
	offset, ok := displayOffset(head[1:])
	if !ok {
		return ""
	}
	for _, city := range strings.FieldsFunc(cities, func(r rune) bool { return r == ',' || r == '/' || r == ';' }) {
		zone := zoneOfCity()[strings.ToLower(strings.ReplaceAll(strings.TrimSpace(city), " ", "_"))]
		if zone != "" && hasOffset(locate(zone), offset) {
			return zone
		}
	}
	return ""
}

var zoneOfCity = sync.OnceValue(func() map[string]string {
	cities := map[string]string{}
	for _, zone := range byWindowsName() {
		cities[strings.ToLower(zone[strings.LastIndexByte(zone, '/')+1:])] = zone
	}
	return cities
})

func displayOffset(s string) (seconds int, ok bool) {
	s = strings.TrimPrefix(strings.TrimPrefix(strings.ToUpper(s), "UTC"), "GMT")
	if s == "" {
		return 0, true
	}
	return parseOffset(strings.NewReplacer(":", "", ".", "").Replace(s))
}

func hasOffset(loc *time.Location, seconds int) bool {
	for _, month := range []time.Month{1, 7} {
		if _, off := time.Date(2020, month, 1, 0, 0, 0, 0, loc).Zone(); off == seconds {
			return true
		}
	}
	return false
}

// parseOffset parses a UTC-OFFSET (RFC 5545 3.3.14).
func parseOffset(s string) (seconds int, ok bool) {
	if len(s) != 5 && len(s) != 7 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	n, ok := digits(s[1:])
	if len(s) == 5 {
		n *= 100
	}
	seconds = n/10000*3600 + n/100%100*60 + n%100
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, ok && n/10000 < 24 && n/100%100 < 60 && n%100 < 60
}
