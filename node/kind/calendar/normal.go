package calendar

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/kind/contentline"
)

// versions tell which of two forms of a component is the newer one; volatile ones change
// whenever a program touches it. Neither makes two components differ.
const (
	versions = " SEQUENCE LAST-MODIFIED DTSTAMP "
	volatile = " CREATED X-MOZ-GENERATION X-MOZ-LASTACK X-LIC-ERROR X-WR-ALARMUID "
)

// params that say nothing, or are the server's.
var silent = map[string]string{
	"ROLE": "REQ-PARTICIPANT", "CUTYPE": "INDIVIDUAL", "PARTSTAT": "NEEDS-ACTION", "RSVP": "FALSE", "RELATED": "START", "RELTYPE": "PARENT", "FBTYPE": "BUSY",
}

// folded are parameters whose values are words of the standard.
const folded = " ROLE CUTYPE PARTSTAT RSVP RELATED RELTYPE FBTYPE FMTTYPE RANGE "

// compared reports whether a property counts when components are compared.
func compared(c *contentline.Component, p *contentline.Property) bool {
	name := p.Name()
	return name != "" && !within(versions, name) && !within(volatile, name) &&
		!(c.Name == "VALARM" && c.Parent != nil && c.Parent.Name != "VCALENDAR" && (name == "UID" || name == "ACKNOWLEDGED"))
}

// entries returns the normal form of a property: one string for each of its values, which are equal if
// the values mean the same, however they are folded, escaped, ordered or named.
func entries(p *contentline.Property) []string {
	name := p.Name()
	head := name + normalParams(p)
	switch {
	case within(singleDates, name) || within(stamps, name):
		return []string{head + ":" + normalMoment(p.Value(), isUTC(p))}
	case within(dateLists, name):
		var out []string
		utc := isUTC(p)
		for v := range strings.SplitSeq(p.Value(), ",") {
			out = append(out, head+":"+normalMoment(v, utc))
		}
		return out
	case name == "DURATION" || name == "TRIGGER":
		return []string{head + ":" + normalDuration(p.Value())}
	case name == "RRULE" || name == "EXRULE":
		return []string{head + ":" + normalRule(p.Value())}
	case name == "CATEGORIES" || name == "RESOURCES":
		var out []string
		for _, v := range p.List() {
			out = append(out, head+":"+strings.TrimSpace(v))
		}
		return out
	case name == "ATTENDEE" || name == "ORGANIZER":
		return []string{head + ":" + strings.ToLower(strings.TrimSpace(p.Text()))}
	case name == "ATTACH" || name == "IMAGE":
		if data, _, ok := p.Binary(); ok {
			return []string{fmt.Sprintf("%s:%x", name, sha256.Sum256(data))}
		}
	case name == "UID":
		return []string{name + ":" + string(contentline.NormalUID([]byte(strings.TrimSpace(p.Text()))))}
	}
	return []string{head + ":" + strings.TrimSpace(contentline.Unescape(p.Text(), contentline.ICal20))}
}

// isUTC reports whether a property's zone is UTC.
func isUTC(p *contentline.Property) bool {
	id, ok := p.Param("TZID")
	return ok && zoneAlias(id) == "UTC"
}

func zoneAlias(id string) string {
	zone := resolve(id)
	switch zone {
	case "":
		return strings.TrimSpace(id)
	case "Etc/UTC", "GMT", "Zulu", "UCT":
		return "UTC"
	}
	return zone
}

func normalMoment(v string, utc bool) string {
	m, ok := mendMoment(v)
	if !ok {
		return strings.TrimSpace(v)
	}
	m.utc = m.utc || utc && !m.date
	return m.String()
}

func normalDuration(v string) string {
	if d, ok := duration(strings.ToUpper(strings.TrimSpace(v))); ok {
		return d.String()
	}
	return normalMoment(v, false)
}

func normalRule(v string) string {
	parts := strings.Split(strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(v, `\`, ""), " ", "")), ";")
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" || s == "INTERVAL=1" || s == "WKST=MO" })
	slices.Sort(parts)
	return strings.Join(parts, ";")
}

// normalParams returns the parameters that mean something, in order of their names.
func normalParams(p *contentline.Property) string {
	var list []string
	for _, q := range p.Params() {
		value := strings.Join(q.Values, ",")
		if within(folded, q.Name) {
			value = strings.ToUpper(value)
		}
		switch {
		case q.Name == "TZID":
			if value = zoneAlias(value); value == "UTC" || isUTCValue(p) {
				continue
			}
		case q.Name == "VALUE", q.Name == "ENCODING", q.Name == "CHARSET", q.Name == "", value == "",
			strings.HasPrefix(q.Name, "SCHEDULE-"), strings.HasPrefix(q.Name, "X-VOBJ-"), silent[q.Name] == value && value != "":
			continue
		}
		list = append(list, ";"+q.Name+"="+value)
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

func isUTCValue(p *contentline.Property) bool { return strings.HasSuffix(p.Value(), "Z") }

// digest is the same for components that mean the same, whatever their version is.
func digest(c *contentline.Component) [32]byte {
	var list []string
	for p := range c.Properties() {
		if compared(c, p) {
			list = append(list, entries(p)...)
		}
	}
	for inner := range c.Components() {
		sum := digest(inner)
		list = append(list, "\x00"+string(sum[:]))
	}
	slices.Sort(list)
	h := sha256.New()
	for _, s := range append([]string{c.Name}, list...) {
		fmt.Fprintf(h, "%d ", len(s))
		h.Write([]byte(s))
	}
	return [32]byte(h.Sum(nil))
}

// compareVersions returns which of two forms of a component is the newer one: positive is the first, 0
// is neither. SEQUENCE counts, then LAST-MODIFIED, then DTSTAMP, as far as both have it.
func compareVersions(a, b *contentline.Component) int {
	if x, y := sequence(a), sequence(b); x != y {
		return x - y
	}
	for _, name := range []string{"LAST-MODIFIED", "DTSTAMP"} {
		x, okX := mendMoment(a.Text(name))
		y, okY := mendMoment(b.Text(name))
		if okX && okY {
			return x.in(nil).Compare(y.in(nil))
		}
	}
	return 0
}

func sequence(c *contentline.Component) int {
	n, ok := digits(strings.TrimSpace(c.Text("SEQUENCE")))
	if !ok {
		return 0
	}
	return n
}
