package fidelity

import (
	"fmt"
	"slices"
	"strings"
)

// part is a component while it is read.
type part struct {
	name   string
	number int
	lines  []*line
	parts  []*part
}

// deep is how many components may be nested before paths stop getting longer.
const deep = 24

// contentRecords reads vCard, iCalendar and vCalendar.
func contentRecords(data []byte) []*Record {
	top := nest(contentLines(data))
	file := &Record{}
	records := []*Record{file}
	for _, l := range top.lines {
		file.Properties = append(file.Properties, l.property("", "2.0"))
	}
	for _, c := range top.parts {
		if c.name == "VCALENDAR" {
			records = append(records, calendar(c, file)...)
			continue
		}
		records = append(records, c.record("2.0"))
	}
	return gather(records)
}

// nest builds the tree of components. What does not close is closed by what can't be inside.
func nest(lines []*line) *part {
	top := &part{}
	stack := []*part{top}
	agent := false
	for _, l := range lines {
		open := stack[len(stack)-1]
		word := strings.ToUpper(strings.TrimSpace(l.value))
		switch {
		case l.name == "BEGIN" && word != "":
			stack = stack[:closes(stack, word, agent)]
			c := &part{name: word, number: l.number}
			at := stack[len(stack)-1]
			at.parts = append(at.parts, c)
			stack = append(stack, c)
		case l.name == "AGENT" && word == "BEGIN:VCARD":
			c := &part{name: "VCARD", number: l.number}
			open.parts = append(open.parts, c)
			stack = append(stack, c)
		case l.name == "END" && word != "":
			k := len(stack) - 1
			for k > 0 && stack[k].name != word {
				k--
			}
			if k == 0 {
				open.lines = append(open.lines, l)
				break
			}
			stack = stack[:k]
		default:
			open.lines = append(open.lines, l)
		}
		agent = l.name == "AGENT" && word == ""
	}
	return top
}

// closes returns how much of the stack stays open when a component begins.
func closes(stack []*part, word string, agent bool) int {
	switch word {
	case "VCALENDAR":
		return 1
	case "VCARD":
		if top := stack[len(stack)-1]; top.name != "VCARD" || agent {
			return len(stack)
		}
		return 1
	case "VEVENT", "VTODO", "VJOURNAL", "VTIMEZONE", "VFREEBUSY", "VAVAILABILITY":
		for k, c := range stack {
			if c.name == "VCALENDAR" {
				return k + 1
			}
		}
		return 1
	}
	return len(stack)
}

// calendar makes records of a calendar; what it says of itself goes to the file's.
func calendar(c *part, file *Record) []*Record {
	version := "2.0"
	if strings.TrimSpace(c.get("VERSION")) == "1.0" {
		version = "1.0"
	}
	for _, l := range c.lines {
		if p := l.property("", version); counts(p.Name) {
			file.Properties = append(file.Properties, p)
		}
	}
	var out []*Record
	for _, sub := range c.parts {
		out = append(out, sub.record(version))
	}
	return out
}

// get returns the value of the first line of a name.
func (c *part) get(name string) string {
	for _, l := range c.lines {
		if l.name == name {
			return l.value
		}
	}
	return ""
}

func counts(name string) bool { return name != "PRODID" && name != "REV" && name != "VERSION" }

// record makes a record of a component.
func (c *part) record(version string) *Record {
	r := &Record{Line: c.number, Kind: "calendar", version: version}
	path := c.name
	switch c.name {
	case "VCARD":
		r.Kind, r.version, path = "contact", c.cardVersion(), ""
	case "VTIMEZONE":
		r.Kind = "timezone"
		r.ID = strings.TrimSpace(c.get("TZID"))
	}
	if r.ID == "" {
		r.ID = bareUUID(strings.TrimSpace(unescape(c.get("UID"), false)))
	}
	c.flatten(r, path, 0)
	r.label()
	return r
}

// cardVersion is what the card says, or what it looks like.
func (c *part) cardVersion() string {
	switch v := strings.TrimSpace(c.get("VERSION")); v {
	case "2.1", "3.0", "4.0":
		return v
	}
	for _, l := range c.lines {
		if slices.ContainsFunc(l.params, func(p param) bool { return p.name == "" }) {
			return "2.1"
		}
	}
	return "3.0"
}

// flatten adds the properties of a component and of those in it.
func (c *part) flatten(r *Record, path string, depth int) {
	if id := strings.TrimSpace(c.get("RECURRENCE-ID")); id != "" {
		path += "[" + id + "]"
	}
	version := r.version
	if c.name == "VCARD" {
		version = c.cardVersion()
	}
	for _, l := range c.lines {
		if counts(l.name) {
			r.Properties = append(r.Properties, l.property(path, version))
		}
	}
	if len(c.lines) == 0 && len(c.parts) == 0 {
		r.Properties = append(r.Properties, Property{Path: path, Name: "(EMPTY)", Line: c.number})
	}
	for _, sub := range c.parts {
		inner := path
		if depth < deep {
			inner = strings.TrimPrefix(path+"/"+sub.name, "/")
		}
		sub.flatten(r, inner, depth+1)
	}
}

// label collects what a report may call a record.
func (r *Record) label() {
	for _, p := range r.Properties {
		switch p.Name {
		case "FN", "SUMMARY", "UID", "NICKNAME", "EMAIL", "TEL", "TZID", "X-WR-CALNAME":
			r.Labels = append(r.Labels, p.Value, strings.TrimSpace(p.Raw))
		case "ORG", "N":
			r.Labels = append(r.Labels, strings.TrimSpace(p.Raw))
			parts := slices.DeleteFunc(strings.Split(p.Value, component), func(s string) bool { return s == "" })
			r.Labels = append(r.Labels, strings.Join(parts, " "))
			if len(parts) > 1 {
				r.Labels = append(r.Labels, parts[0]+", "+parts[1], parts[1]+" "+parts[0])
			}
			r.Labels = append(r.Labels, parts...)
		}
	}
	r.Labels = slices.DeleteFunc(r.Labels, func(s string) bool { return s == "" })
}

// gather brings the components of one UID together, drops time zones that are there several times, and what several
// calendars say of themselves alike.
func gather(records []*Record) (out []*Record) {
	objects, zones := map[string]*Record{}, map[string]bool{}
	file := &Record{}
	said := map[string]bool{}
	for _, r := range records {
		switch {
		case r.Kind == "":
			for _, p := range r.Properties {
				if k := p.strictKey(); p.Name == "" || !said[k] {
					said[k] = true
					file.Properties = append(file.Properties, p)
				}
			}
			continue
		case r.Kind == "timezone":
			if k := r.signature(); zones[k] {
				continue
			} else {
				zones[k] = true
			}
		case r.Kind == "calendar" && r.ID != "":
			if first := objects[r.ID]; first != nil {
				first.Properties = append(first.Properties, r.Properties...)
				first.Labels = append(first.Labels, r.Labels...)
				continue
			}
			objects[r.ID] = r
		}
		out = append(out, r)
	}
	if len(file.Properties) > 0 {
		out = append(out, file)
	}
	return out
}

// signature is the same for records that are the same for Strict.
func (r *Record) signature() string {
	keys := make([]string, len(r.Properties))
	for i, p := range r.Properties {
		keys[i] = p.strictKey()
	}
	slices.Sort(keys)
	return digest([]byte(fmt.Sprint(r.Kind, "\x00", strings.Join(keys, "\x01"))))
}
