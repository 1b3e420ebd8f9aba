// Package calendar finds the objects in a calendar file (.ics, iCalendar and vCalendar
// 1.0) and adds objects to one, without changing a byte of any. An object is all
// components with one UID: an event with its exceptions. Time zones and the header belong
// to the file. docs/SPEC.md section 9.1 gives the rules.
package calendar

import (
	"bytes"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// maxDepth is how deep components may be nested: the deepest that has a meaning is an
// alarm's location inside an event inside a calendar.
const maxDepth = 16

// component is one direct child of a VCALENDAR, or one that stands alone.
type component struct {
	start, end int
	zone       bool   // it is a VTIMEZONE
	id         string // the UID, or a time zone's TZID
	problem    string
}

// file is a parsed calendar file.
type file struct {
	components []component
	lastEnd    int    // where the last END:VCALENDAR begins; -1 without
	version    string // of the last VCALENDAR
}

// Records returns the objects of a calendar in the order of their first components. A
// component that is not closed or not nested properly is there with a Problem. The time
// is linear in the length of data, and the memory in the number of components; the result
// does not refer to data.
func Records(data []byte) []contentline.Record {
	f := parse(data)
	var records []contentline.Record
	byUID := map[string]int{}
	for i := range f.components {
		c := &f.components[i]
		switch at, met := byUID[c.id]; {
		case c.zone && c.problem == "":
		case c.problem != "":
			records = append(records, contentline.Record{Ranges: c.ranges(), Problem: c.problem})
		case c.id == "":
			records = append(records, contentline.Record{Ranges: c.ranges(), Identity: contentline.ContentIdentity(data[c.start:c.end])})
		case met:
			extend(&records[at], c.ranges()[0])
		default:
			byUID[c.id] = len(records)
			records = append(records, contentline.Record{Ranges: c.ranges(), Identity: contentline.UIDIdentity([]byte(c.id))})
		}
	}
	for i := range records {
		if r := &records[i]; len(r.Ranges) > item.MaxRanges {
			r.Identity, r.Problem = nil, contentline.ProblemTooMany
		}
	}
	return records
}

func (c *component) ranges() []item.Range {
	return []item.Range{{Offset: int64(c.start), Length: int64(c.end - c.start)}}
}

// extend adds a range to a record, to its last one if they touch.
func extend(r *contentline.Record, g item.Range) {
	if last := &r.Ranges[len(r.Ranges)-1]; last.Offset+last.Length == g.Offset {
		last.Length += g.Length
		return
	}
	r.Ranges = append(r.Ranges, g)
}

func parse(data []byte) *file {
	p := parser{scanner: contentline.NewScanner(data), file: file{lastEnd: -1}}
	for p.scanner.Next() {
		p.line()
	}
	p.close(len(data), contentline.ProblemNoEnd)
	return &p.file
}

type parser struct {
	scanner *contentline.Scanner
	file    file

	inside  bool      // a VCALENDAR
	open    []string  // names of the components that are open inside it, the outermost first
	excess  int       // how many more are open beyond maxDepth
	current component // the outermost
}

func (p *parser) line() {
	s := p.scanner
	name := s.Name()
	switch {
	case contentline.EqualFold(name, "BEGIN"):
		p.begin(p.value())
	case contentline.EqualFold(name, "END"):
		p.end(p.value())
	case len(p.open) == 0:
		if p.inside && contentline.EqualFold(name, "VERSION") {
			p.file.version = p.value()
		}
	case len(p.open) == 1 && p.excess == 0 && p.current.id == "":
		p.identify(name)
	}
}

func (p *parser) identify(name []byte) {
	property := "UID"
	if p.current.zone {
		property = "TZID"
	}
	if !contentline.EqualFold(name, property) {
		return
	}
	if v, ok := p.scanner.Value(contentline.MaxUID); ok {
		p.current.id = string(contentline.NormalUID(v))
	}
}

// value returns the name of a component in capitals.
func (p *parser) value() string {
	v, _ := p.scanner.Value(64)
	return string(bytes.ToUpper(v))
}

// topLevel reports whether a component of this name never stands inside another one but
// a VCALENDAR, so that meeting it means that what was open before has no end.
func topLevel(name string) bool {
	switch name {
	case "VEVENT", "VTODO", "VJOURNAL", "VTIMEZONE", "VFREEBUSY", "VAVAILABILITY":
		return true
	}
	return false
}

func (p *parser) begin(name string) {
	start := p.scanner.Start
	switch {
	case name == "VCALENDAR":
		p.close(start, contentline.ProblemNoEnd)
		p.inside, p.file.version = true, ""
	case topLevel(name):
		p.close(start, contentline.ProblemNoEnd)
		p.push(name)
	default: // also outside of any VCALENDAR: the bytes of a record are read again like this
		p.push(name)
	}
}

func (p *parser) push(name string) {
	if len(p.open) == maxDepth {
		p.excess++
		p.current.problem = contentline.ProblemTooDeep
		return
	}
	if len(p.open) == 0 {
		p.current = component{start: p.scanner.Start, zone: name == "VTIMEZONE"}
	}
	p.open = append(p.open, name)
}

func (p *parser) end(name string) {
	if name == "VCALENDAR" {
		p.close(p.scanner.Start, contentline.ProblemNoEnd)
		if p.inside {
			p.file.lastEnd = p.scanner.Start
		}
		p.inside = false
		return
	}
	if p.excess > 0 {
		p.excess--
		return
	}
	for i := len(p.open) - 1; i >= 0; i-- {
		if p.open[i] != name {
			p.current.problem = contentline.ProblemNesting
			continue
		}
		if p.open = p.open[:i]; i == 0 {
			p.finish(p.scanner.End)
		}
		return
	}
}

// close ends what is open, because of what comes at end.
func (p *parser) close(end int, problem string) {
	if len(p.open) > 0 {
		if p.current.problem == "" {
			p.current.problem = problem
		}
		p.finish(end)
	}
	p.open, p.excess = p.open[:0], 0
}

func (p *parser) finish(end int) {
	p.current.end = end
	p.file.components = append(p.file.components, p.current)
}
