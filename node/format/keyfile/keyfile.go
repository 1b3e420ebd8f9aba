// Package keyfile reads and edits files in the form of GLib's GKeyFile: groups in
// brackets, keys and values, comments. NetworkManager keeps its connections in it, and
// dconf dumps settings in it. A File remembers every byte: what is not set or deleted is
// written back as it was read, in its order.
//
// The form is that of GLib's documentation of GKeyFile; groups of one name that stand
// apart count as one, and of two values of one key the last one counts.
package keyfile

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// MaxSize is the largest file that programs should hand to Parse, in bytes.
const MaxSize = 16 << 20

// lineKind is what one line of a file is.
type lineKind uint8

const (
	blank  lineKind = iota // or a comment
	group                  // [name]
	pair                   // key=value
	broken                 // neither, or a pair before the first group
)

type line struct {
	kind  lineKind
	group int    // index in File.groups of the group it belongs to; -1 before the first
	key   string // of a pair
	value string // of a pair: without blanks around it, still escaped
	raw   string // with its line break
}

// File is a key file. The zero value is an empty one. It is not safe for concurrent use.
type File struct {
	mark   string // a byte order mark
	lines  []line
	groups []string            // in the order in which they are first named
	byName map[string]int      // index in groups
	values map[entry]int       // index in lines of the pair that counts
	keys   map[string][]string // by group, in the order of the file; may name keys that are gone
	seen   map[entry]struct{}  // what keys holds
}

type entry struct{ group, key string }

// Parse reads a file. It does not fail: Broken tells the lines that are not in the form.
// A file that is not UTF-8 is read all the same.
func Parse(data []byte) *File {
	f := &File{}
	if rest, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok {
		f.mark, data = string(data[:3]), rest
	}
	current := -1
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			end = len(data)
		}
		l := parseLine(string(data[:end]))
		data = data[end:]
		switch {
		case l.kind == group:
			current = f.addGroup(l.key)
		case l.kind == pair && current < 0:
			l.kind = broken
		}
		l.group = current
		f.lines = append(f.lines, l)
		if l.kind == pair {
			f.note(len(f.lines) - 1)
		}
	}
	return f
}

// parseLine tells what one line is. The key of a group's line is its name.
func parseLine(raw string) line {
	l := line{raw: raw}
	s := strings.TrimRight(strings.TrimLeft(raw, " \t\r\n\f\v"), "\r\n")
	switch {
	case s == "" || s[0] == '#':
		return l
	case s[0] == '[':
		s = strings.TrimRight(s, " \t")
		if name, ok := strings.CutSuffix(s[1:], "]"); ok && name != "" && !strings.ContainsAny(name, "[]") && !hasControl(name) {
			l.kind, l.key = group, name
			return l
		}
	default:
		key, value, ok := strings.Cut(s, "=")
		if key = strings.TrimRight(key, " \t"); ok && key != "" {
			l.kind, l.key, l.value = pair, key, strings.TrimLeft(value, " \t")
			return l
		}
	}
	l.kind = broken
	return l
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

func (f *File) addGroup(name string) int {
	if i, ok := f.byName[name]; ok {
		return i
	}
	if f.byName == nil {
		f.byName = map[string]int{}
	}
	f.groups = append(f.groups, name)
	f.byName[name] = len(f.groups) - 1
	return len(f.groups) - 1
}

// note makes the pair of line i the one that counts for its key.
func (f *File) note(i int) {
	if f.values == nil {
		f.values, f.keys, f.seen = map[entry]int{}, map[string][]string{}, map[entry]struct{}{}
	}
	e := entry{f.groups[f.lines[i].group], f.lines[i].key}
	f.values[e] = i
	if _, ok := f.seen[e]; !ok {
		f.seen[e] = struct{}{}
		f.keys[e.group] = append(f.keys[e.group], e.key)
	}
}

// Groups returns the names of the groups in the order in which they first stand there.
func (f *File) Groups() []string { return f.groups }

// Has reports whether there is a group of the name.
func (f *File) Has(group string) bool { _, ok := f.byName[group]; return ok }

// Keys returns the names of a group's keys in the order in which they first stand there.
func (f *File) Keys(group string) []string {
	var out []string
	for _, k := range f.keys[group] {
		if _, ok := f.values[entry{group, k}]; ok {
			out = append(out, k)
		}
	}
	return out
}

// Raw returns a value as it is written: escaped, without the blanks before it.
func (f *File) Raw(group, key string) (string, bool) {
	i, ok := f.values[entry{group, key}]
	if !ok {
		return "", false
	}
	return f.lines[i].value, true
}

// String returns a value as a string; "" if it is not there.
func (f *File) String(group, key string) string {
	raw, _ := f.Raw(group, key)
	return Unescape(raw)
}

// Line returns the number of the line, from 1, that holds a key's value; 0 is none.
func (f *File) Line(group, key string) int {
	if i, ok := f.values[entry{group, key}]; ok {
		return i + 1
	}
	return 0
}

// Broken returns the numbers of the lines, from 1, that are not in the form. GLib reads
// no file that has one.
func (f *File) Broken() (lines []int) {
	for i, l := range f.lines {
		if l.kind == broken {
			lines = append(lines, i+1)
		}
	}
	return lines
}

// Bytes returns the file.
func (f *File) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(f.mark)
	for _, l := range f.lines {
		b.WriteString(l.raw)
	}
	return b.Bytes()
}

// SetRaw gives a key a value, which is escaped already and has no line break. A value
// that is there is replaced where it stands, keeping what is around it; a new one goes
// behind the group's last pair, and a new group at the end.
func (f *File) SetRaw(group, key, value string) {
	if i, ok := f.values[entry{group, key}]; ok {
		l := &f.lines[i]
		start := strings.IndexByte(l.raw, '=') + 1
		for start < len(l.raw) && (l.raw[start] == ' ' || l.raw[start] == '\t') {
			start++
		}
		l.raw = l.raw[:start] + value + lineBreak(l.raw)
		l.value = value
		return
	}
	at := f.placeFor(group)
	l := line{kind: pair, group: f.byName[group], key: key, value: value, raw: key + "=" + value + "\n"}
	f.lines = append(f.lines[:at], append([]line{l}, f.lines[at:]...)...)
	for e, i := range f.values {
		if i >= at {
			f.values[e] = i + 1
		}
	}
	f.note(at)
}

// Set is SetRaw of a string that is not escaped.
func (f *File) Set(group, key, value string) { f.SetRaw(group, key, Escape(value)) }

// placeFor returns the index where a new pair of a group goes, adding the group if it is not there.
func (f *File) placeFor(name string) int {
	if n := len(f.lines); n > 0 && lineBreak(f.lines[n-1].raw) == "" {
		f.lines[n-1].raw += "\n"
	}
	g, ok := f.byName[name]
	if !ok {
		g = f.addGroup(name)
		if len(f.lines) > 0 {
			f.lines = append(f.lines, line{kind: blank, group: g, raw: "\n"})
		}
		f.lines = append(f.lines, line{kind: group, group: g, key: name, raw: "[" + name + "]\n"})
		return len(f.lines)
	}
	at := 0
	for i, l := range f.lines {
		if l.group == g && l.kind != blank {
			at = i + 1
		}
	}
	return at
}

func lineBreak(raw string) string {
	switch {
	case strings.HasSuffix(raw, "\r\n"):
		return "\r\n"
	case strings.HasSuffix(raw, "\n"):
		return "\n"
	}
	return ""
}

// Delete removes a key: every line that gives it a value. It reports whether there was one.
func (f *File) Delete(group, key string) bool {
	if _, ok := f.values[entry{group, key}]; !ok {
		return false
	}
	g := f.byName[group]
	f.keep(func(l line) bool { return l.kind != pair || l.group != g || l.key != key })
	return true
}

// DeleteGroup removes a group with all that stands in it, comments too. It reports whether there was one.
func (f *File) DeleteGroup(name string) bool {
	g, ok := f.byName[name]
	if !ok {
		return false
	}
	f.keep(func(l line) bool { return l.group != g })
	return true
}

// keep drops the lines that want does not.
func (f *File) keep(want func(line) bool) {
	var out bytes.Buffer
	out.WriteString(f.mark)
	for _, l := range f.lines {
		if want(l) {
			out.WriteString(l.raw)
		}
	}
	*f = *Parse(out.Bytes())
}

// Unescape turns a value as it is written into a string: \s \n \t \r \\ and, for lists of
// one element, \;. What is no escape stays.
func Unescape(raw string) string {
	if !strings.Contains(raw, `\`) {
		return raw
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			b.WriteByte(raw[i])
			continue
		}
		i++
		if c := strings.IndexByte(`sntr\;`, raw[i]); c >= 0 {
			b.WriteByte(" \n\t\r\\;"[c])
		} else {
			b.WriteString(raw[i-1 : i+1])
		}
	}
	return b.String()
}

// Escape turns a string into a value: blanks at its beginning, line breaks and backslashes are escaped.
func Escape(s string) string {
	var b strings.Builder
	leading := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ' ' && leading:
			b.WriteString(`\s`)
			continue
		case c == '\t' && leading:
			b.WriteString(`\t`)
			continue
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteByte(c)
		}
		leading = false
	}
	return b.String()
}

// List cuts a value into the elements of a list, which end with semicolons, and unescapes them.
func List(raw string) (out []string) {
	start := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case ';':
			out = append(out, Unescape(raw[start:i]))
			start = i + 1
		}
	}
	if start < len(raw) {
		out = append(out, Unescape(raw[start:]))
	}
	return out
}

// JoinList is the inverse of List.
func JoinList(elements []string) string {
	var b strings.Builder
	for _, e := range elements {
		b.WriteString(strings.ReplaceAll(Escape(e), ";", `\;`))
		b.WriteByte(';')
	}
	return b.String()
}

// UTF8 reports whether the file is UTF-8 throughout, as GLib demands.
func (f *File) UTF8() bool {
	for _, l := range f.lines {
		if !utf8.ValidString(l.raw) {
			return false
		}
	}
	return true
}
