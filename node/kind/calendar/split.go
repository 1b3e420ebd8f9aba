package calendar

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// A record repeats the header and the time zones of its calendar. So that a small file
// can't become large records, what is repeated stays below these limits; beyond them it is in
// the first record that has it only.
const (
	maxHeader = 16 << 10  // bytes of header that are repeated
	maxZone   = 64 << 10  // bytes of one time zone that are repeated
	maxCopied = 192 << 20 // bytes repeated in all records of a file
	copyRatio = 64        // times the file's size, likewise
)

// budget is how many bytes are repeated of a file of this size.
func budget(size int) int { return min(max(copyRatio*size, 1<<20), maxCopied) }

// maxComponents is how many components a file may have that is taken apart: more would take more memory than a calendar
// is worth. Such a file is one object, which strict targets refuse.
const maxComponents = 200_000

// TooMany reports whether a file has more components than are taken apart.
func TooMany(data []byte) bool { return tooMany(data) }

// tooMany reports whether a file has more components than that, without taking it apart.
func tooMany(data []byte) bool {
	const begin = "BEGIN"
	if len(data) < maxComponents*len("BEGIN:A\n") {
		return false
	}
	n := 0
	for i := 0; ; i++ {
		j := bytes.IndexByte(data[i:], ':')
		if j < 0 {
			return false
		}
		if i += j; i >= len(begin) && contentline.EqualFold(data[i-len(begin):i], begin) {
			if n++; n > maxComponents {
				return true
			}
		}
	}
}

// Rules are the rules of calendar objects: events, tasks and journal entries, and
// whatever else stands in a calendar, which is carried as it is. docs/SPEC.md section 9.4.
type Rules struct{}

// Split cuts a calendar file into objects. An object is a VCALENDAR with the header
// lines of the one that it was in, all components of one kind and UID (an event with its
// exceptions), and the time zones that they name, all of them byte for byte. A second component of
// the same RECURRENCE-ID, or a second one without, is in another object. Components without UID, and those outside of any
// VCALENDAR, are objects too. Time zones that nothing names are in the first object of
// their calendar, or one by themselves. Lines outside of any component are left out: see Stray.
func (Rules) Split(name string, data []byte) []item.Record {
	if tooMany(data) {
		return []item.Record{{Kind: item.Calendar, Label: "more components than can be told apart", Data: data}}
	}
	s := split(contentline.Parse(data), len(data))
	if name != "" {
		book := bookOf(name)
		for i := range s.out {
			s.out[i].Book = book
		}
	}
	return s.out
}

func split(f *contentline.File, size int) *splitter {
	s := &splitter{brk: lineBreak(f.Text()), budget: budget(size)}
	loose := &source{byKey: map[string]int{}}
	for c := range f.Root.Components() {
		switch c.Name {
		case "VCALENDAR":
			s.calendar(c)
		case "VTIMEZONE":
			loose.addZone(c, s.brk)
		default:
			loose.add(c)
		}
	}
	s.records(loose)
	return s
}

// Stray returns the lines of a file that are outside of any component, joined, and so in
// no record of Split.
func Stray(data []byte) string {
	if tooMany(data) {
		return ""
	}
	var lines []string
	for p := range contentline.Parse(data).Root.Properties() {
		if line := strings.TrimSpace(strings.TrimPrefix(string(p.Raw()), "\ufeff")); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func lineBreak(text []byte) string {
	if contentline.Break(text) == "\n" {
		return "\n"
	}
	return "\r\n"
}

type splitter struct {
	brk    string
	budget int // bytes that may still be repeated
	out    []item.Record
	parts  [][]*contentline.Component // of each record: what is its own in the file
}

// source is one VCALENDAR while it is cut.
type source struct {
	header  []byte
	few     []byte // what of a header that is too long is repeated
	objects []*object
	byKey   map[string]int // kind, UID, RECURRENCE-ID: how many there were
	group   map[string]*object
	zones   []*zoneText
	byName  map[string]*zoneText
}

// object is a record in the making.
type object struct {
	components []*contentline.Component
}

// zoneText is a VTIMEZONE of a source.
type zoneText struct {
	of    *contentline.Component
	name  string
	bytes []byte
	used  bool
}

func (s *splitter) calendar(c *contentline.Component) {
	src := &source{byKey: map[string]int{}}
	for p := range c.Properties() {
		if raw := strings.TrimSpace(string(p.Raw())); raw == "" {
			continue
		}
		src.header = appendLine(src.header, p.Raw(), s.brk)
		switch p.Name() {
		case "VERSION", "PRODID", "CALSCALE", "METHOD", "X-WR-TIMEZONE":
			if p.Size() < 1<<10 && len(src.few) < 4<<10 {
				src.few = appendLine(src.few, p.Raw(), s.brk)
			}
		}
	}
	for inner := range c.Components() {
		if inner.Name == "VTIMEZONE" {
			src.addZone(inner, s.brk)
		} else {
			src.add(inner)
		}
	}
	s.records(src)
}

func (src *source) addZone(c *contentline.Component, brk string) {
	if src.byName == nil {
		src.byName = map[string]*zoneText{}
	}
	z := &zoneText{of: c, name: c.Text("TZID"), bytes: componentBytes(c, brk)}
	src.zones = append(src.zones, z)
	if src.byName[z.name] == nil {
		src.byName[z.name] = z
	}
}

// add puts a component into the object that it belongs to.
func (src *source) add(c *contentline.Component) {
	uid := uidOf(c)
	if uid == "" {
		src.objects = append(src.objects, &object{components: []*contentline.Component{c}})
		return
	}
	if src.group == nil {
		src.group = map[string]*object{}
	}
	key := c.Name + "\x00" + uid + "\x00"
	part := key + recurrenceID(c)
	nth := src.byKey[part]
	src.byKey[part]++
	if nth > 0 {
		key += strconv.Itoa(nth)
	}
	o := src.group[key]
	if o == nil {
		o = &object{}
		src.group[key] = o
		src.objects = append(src.objects, o)
	}
	o.components = append(o.components, c)
}

// records writes the objects of a calendar.
func (s *splitter) records(src *source) {
	named := make([][]*zoneText, len(src.objects))
	for i, o := range src.objects {
		named[i] = src.zonesOf(o)
	}
	var spare []*zoneText
	for _, z := range src.zones {
		if !z.used {
			spare = append(spare, z)
		}
	}
	if len(src.objects) == 0 {
		if len(src.zones) > 0 || len(src.header) > 0 {
			s.record(src, &object{}, src.zones, true)
		}
		return
	}
	written := map[*zoneText]bool{}
	for i, o := range src.objects {
		var zones []*zoneText
		if i == 0 {
			zones = spare
		}
		for _, z := range named[i] {
			if !written[z] || len(z.bytes) <= maxZone && s.spend(len(z.bytes)) {
				zones = append(zones, z)
			}
			written[z] = true
		}
		s.record(src, o, zones, i == 0)
	}
}

// zonesOf returns the zones that an object names, in the order of the file.
func (src *source) zonesOf(o *object) (zones []*zoneText) {
	if len(src.zones) == 0 {
		return nil
	}
	met := map[*zoneText]bool{}
	for _, top := range o.components {
		for c := range top.All() {
			for p := range c.Properties() {
				id, ok := p.Param("TZID")
				if z := src.byName[id]; ok && z != nil && !met[z] {
					met[z], z.used = true, true
					zones = append(zones, z)
				}
			}
		}
	}
	return zones
}

func (s *splitter) spend(n int) bool {
	if n > s.budget {
		return false
	}
	s.budget -= n
	return true
}

func (s *splitter) record(src *source, o *object, zones []*zoneText, first bool) {
	header := src.header
	if !first && (len(header) > maxHeader || !s.spend(len(header))) {
		header = src.few
	}
	size := len(header) + len("BEGIN:VCALENDAREND:VCALENDAR") + 2*len(s.brk)
	for _, z := range zones {
		size += len(z.bytes)
	}
	own := make([][]byte, len(o.components))
	for i, c := range o.components {
		own[i] = componentBytes(c, s.brk)
		size += len(own[i])
	}
	data := make([]byte, 0, size)
	data = append(append(data, "BEGIN:VCALENDAR"...), s.brk...)
	data = append(data, header...)
	for _, z := range zones {
		data = append(data, z.bytes...)
	}
	for _, b := range own {
		data = append(data, b...)
	}
	data = append(append(data, "END:VCALENDAR"...), s.brk...)
	label := ""
	if len(o.components) > 0 {
		label = labelOf(o.components[0])
	} else if len(zones) > 0 {
		label = zones[0].name
	}
	parts := o.components
	if len(parts) == 0 {
		for _, z := range zones {
			parts = append(parts, z.of)
		}
	}
	s.out = append(s.out, item.Record{Kind: item.Calendar, Label: label, Data: data})
	s.parts = append(s.parts, parts)
}

// componentBytes returns a component's bytes, ended by a line break.
func componentBytes(c *contentline.Component, brk string) []byte {
	return appendLine(nil, c.Bytes(), brk)
}

// appendLine appends lines without a byte order mark, and a break if they have none at the end.
func appendLine(dst, lines []byte, brk string) []byte {
	dst = append(dst, strings.TrimPrefix(string(lines), "\ufeff")...)
	if n := len(dst); n > 0 && dst[n-1] != '\n' && dst[n-1] != '\r' {
		dst = append(dst, brk...)
	}
	return dst
}

// uidOf returns the UID of a component in the form in which UIDs are compared.
func uidOf(c *contentline.Component) string {
	p := c.Get("UID")
	if p == nil {
		return ""
	}
	uid := strings.TrimSpace(p.Text())
	if len(uid) > contentline.MaxUID {
		return ""
	}
	return string(contentline.NormalUID([]byte(uid)))
}

// recurrenceID returns which occurrence a component is about, "" for the whole series,
// in a form that can be compared.
func recurrenceID(c *contentline.Component) string {
	p := c.Get("RECURRENCE-ID")
	if p == nil {
		return ""
	}
	if m, ok := mendMoment(p.Value()); ok {
		return m.String()
	}
	return "?" + p.Value()
}

// labelOf says what a component is: its summary and when it begins.
func labelOf(c *contentline.Component) string {
	summary := strings.Join(strings.Fields(c.Text("SUMMARY")), " ")
	if summary == "" {
		summary = strings.Join(strings.Fields(c.Text("DESCRIPTION")), " ")
	}
	if r := []rune(summary); len(r) > 80 {
		summary = string(r[:79]) + "…"
	}
	for _, name := range []string{"DTSTART", "DUE", "DTSTAMP"} {
		if name == "DTSTAMP" && summary != "" {
			break
		}
		if p := c.Get(name); p != nil {
			if m, ok := mendMoment(p.Value()); ok {
				return strings.TrimPrefix(summary+", "+m.shown(), ", ")
			}
		}
	}
	if summary == "" {
		return uidOf(c)
	}
	return summary
}
