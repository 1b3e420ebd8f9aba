package fidelity

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Change is one line of a program's own report.
type Change struct {
	Kind     string `json:"kind"`
	Record   string `json:"record"`
	UID      string `json:"uid"`
	From     string `json:"from"`
	Property string `json:"property"` // "VEVENT/VALARM/TRIGGER"; "VEVENT/VALARM" is all of the component, "" all of the record
	Effect   string `json:"effect"`
	Why      string `json:"why"`
	Before   string `json:"before"`
	After    string `json:"after"`
}

// ReadReport reads a report: JSON lines, or one JSON object that has a list of changes somewhere inside.
func ReadReport(r io.Reader) ([]Change, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var known struct {
		Format  string `json:"format"`
		Entries []struct {
			Changes []Change `json:"changes"`
		} `json:"entries"`
	}
	if json.Unmarshal(b, &known) == nil && strings.HasPrefix(known.Format, "decant-report/") {
		var out []Change
		for _, e := range known.Entries {
			out = append(out, e.Changes...)
		}
		return out, nil
	}
	var whole any
	if json.Unmarshal(b, &whole) == nil {
		return findChanges(whole), nil
	}
	var out []Change
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var one any
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("fidelity: report, line %d: %w", n, err)
		}
		out = append(out, findChanges(one)...)
	}
	return out, lines.Err()
}

// findChanges collects every object that has a property and an effect.
func findChanges(v any) (out []Change) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			out = append(out, findChanges(e)...)
		}
	case map[string]any:
		_, effect := v["effect"]
		_, property := v["property"]
		if effect && property {
			b, _ := json.Marshal(v)
			var c Change
			if json.Unmarshal(b, &c) == nil {
				out = append(out, c)
			}
			return out
		}
		names := make([]string, 0, len(v))
		for n := range v {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			out = append(out, findChanges(v[n])...)
		}
	}
	return out
}

// report finds what a program said of a property. What names one property explains one; what names a component or a
// record explains all that is in it.
type report struct {
	byName map[string][]*said
	wide   []*said // of components and records
}

type said struct {
	Change
	used bool
}

func newReport(changes []Change) *report {
	r := &report{byName: map[string][]*said{}}
	for _, c := range changes {
		if c.Effect == "added" || c.Effect == "none" {
			continue // that nothing was lost explains no loss
		}
		s := &said{Change: c}
		path, name := splitName(c.Property)
		r.byName[name] = append(r.byName[name], s)
		if name == "" || path != "" || isComponent(name) {
			r.wide = append(r.wide, s)
		}
	}
	return r
}

// splitName cuts "VEVENT/VALARM/TRIGGER;RELATED" into path and name. The outermost component goes without saying.
func splitName(property string) (path, name string) {
	property, _, _ = strings.Cut(strings.ToUpper(strings.TrimSpace(property)), ";")
	property = stripIndex(property)
	for _, outer := range []string{"VCALENDAR/", "VCARD/"} {
		property = strings.TrimPrefix(property, outer)
	}
	if property == "VCARD" || property == "VCALENDAR" {
		return "", ""
	}
	if i := strings.LastIndexByte(property, '/'); i >= 0 {
		return property[:i], property[i+1:]
	}
	return "", property
}

func isComponent(name string) bool {
	switch name {
	case "VEVENT", "VTODO", "VJOURNAL", "VTIMEZONE", "VFREEBUSY", "VALARM", "STANDARD", "DAYLIGHT", "VAVAILABILITY", "PART", "PARTS", "ADDR", "ADDRS":
		return true
	}
	return strings.HasPrefix(name, "V") && len(name) > 4 || strings.HasPrefix(name, "X-")
}

// stripIndex removes what tells components of one name apart: "VEVENT[20240101]/VALARM" is "VEVENT/VALARM".
func stripIndex(path string) string {
	var b strings.Builder
	depth := 0
	for _, c := range path {
		switch {
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
		case depth == 0:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// covers returns what the program said of a loss, nil if nothing.
func (r *report) covers(l Loss) *Change {
	path, name := strings.ToUpper(stripIndex(l.Path)), strings.ToUpper(l.Name)
	var best *said
	most := 0
	for _, s := range r.byName[name] {
		if s.used {
			continue
		}
		p, _ := splitName(s.Property)
		if p != path && p != "" && !strings.HasSuffix(path, p) {
			continue
		}
		if v := s.fits(l, p == path); v > most {
			best, most = s, v
		}
	}
	if best != nil && name != "" {
		best.used = true
		return &best.Change
	}
	for _, s := range r.wide {
		full := strings.Trim(strings.Join(splitPair(s.Property), "/"), "/")
		inside := full == "" || path == full || strings.HasPrefix(path, full+"/") || strings.HasSuffix(path, "/"+full)
		if inside && s.names(l.Record) {
			return &s.Change
		}
	}
	return nil
}

func splitPair(property string) []string {
	p, n := splitName(property)
	return []string{p, n}
}

// fits rates how well a line of the report fits a loss; 0 is not at all.
func (s *said) fits(l Loss, samePath bool) (v int) {
	known := s.names(l.Record)
	value := s.Before != "" && s.shows(l.Property)
	if !known && !value {
		return 0
	}
	v = 1
	if known {
		v += 4
	}
	if value {
		v += 8
	}
	if samePath {
		v += 2
	}
	return v
}

// names reports whether the line of the report is about the record.
func (s *said) names(r *Record) bool {
	if s.UID != "" && r.ID != "" {
		return bareUUID(s.UID) == bareUUID(r.ID)
	}
	if s.Record == "" {
		return r.Kind == "" || len(r.Labels) == 0
	}
	if s.Record == r.ID || bareUUID(s.Record) == r.ID {
		return true
	}
	return slices.ContainsFunc(r.Labels, func(l string) bool { return same(l, s.Record) })
}

// same compares labels as a person does.
func same(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// shows reports whether the value before in the report is the property's; long ones are cut off there.
func (s *said) shows(p Property) bool {
	const enough = 1024
	b := strings.TrimRight(s.Before, "…")
	for _, v := range append([]string{p.Raw, p.Value, strings.NewReplacer(component, ";", element, ",").Replace(p.Value)}, p.others...) {
		if b == v || len(b) >= enough && strings.HasPrefix(v, b) || strings.HasSuffix(b, ":"+p.Raw) && p.Raw != "" {
			return true
		}
	}
	return false
}
