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
)

// maxLines bounds the lines that are told apart; what follows is one broken line. Blank lines
// and comments that follow one another count once.
const maxLines = 100_000

// lineKind is what one line of a file is.
type lineKind uint8

const (
	blank  lineKind = iota // or a comment, or several of these
	group                  // [name]
	pair                   // key=value
	broken                 // neither, or a pair before the first group
)

type line struct {
	prev, next *line
	kind       lineKind
	number     int // from 1; 0 for one that was not read
	group      *section
	key        string // of a pair
	value      string // of a pair: without blanks around it, still escaped
	raw        string // with its line break
}

// section is a group with all lines that it has, wherever they stand.
type section struct {
	name string
	last *line              // its last line that is not blank
	keys []string           // in the order of the file; may name keys that are gone
	at   map[string][]*line // the lines that give each key a value; the last one counts
}

// File is a key file. The zero value is an empty one. It is not safe for concurrent use.
type File struct {
	mark       string // a byte order mark
	head, tail *line
	groups     []string // in the order in which they are first named
	byName     map[string]*section
	damaged    []int // numbers of broken lines
}

// Parse reads a file. It does not fail: Broken tells the lines that are not in the form.
// A file that is not UTF-8 is read all the same.
func Parse(data []byte) *File {
	f := &File{}
	text := string(data)
	if strings.HasPrefix(text, "\ufeff") {
		f.mark, text = text[:3], text[3:]
	}
	var current *section
	rest := text
	for number, count := 1, 0; rest != ""; number++ {
		end := strings.IndexByte(rest, '\n') + 1
		if end == 0 || count == maxLines {
			end = len(rest)
		}
		l := &line{raw: rest[:end], kind: broken}
		if count < maxLines {
			l = parseLine(rest[:end])
		}
		rest = rest[end:]
		switch {
		case l.kind == blank && f.tail != nil && f.tail.kind == blank:
			start := len(text) - len(rest) - len(l.raw) - len(f.tail.raw) // they touch
			f.tail.raw = text[start : start+len(f.tail.raw)+len(l.raw)]
			continue
		case l.kind == group:
			current = f.section(l.key)
		case l.kind == pair && current == nil:
			l.kind = broken
		}
		if l.kind == broken {
			f.damaged = append(f.damaged, number)
		}
		count++
		l.group, l.number = current, number
		f.insert(l, f.tail)
	}
	return f
}

// insert puts a line behind another, or at the beginning for nil.
func (f *File) insert(l, behind *line) {
	l.prev = behind
	if behind == nil {
		l.next, f.head = f.head, l
	} else {
		l.next, behind.next = behind.next, l
	}
	if l.next == nil {
		f.tail = l
	} else {
		l.next.prev = l
	}
	if s := l.group; s != nil && l.kind != blank {
		s.last = l
		if l.kind == pair {
			if _, known := s.at[l.key]; !known {
				s.keys = append(s.keys, l.key)
			}
			s.at[l.key] = append(s.at[l.key], l)
		}
	}
}

func (f *File) section(name string) *section {
	if s, ok := f.byName[name]; ok {
		return s
	}
	if f.byName == nil {
		f.byName = map[string]*section{}
	}
	s := &section{name: name, at: map[string][]*line{}}
	f.groups = append(f.groups, name)
	f.byName[name] = s
	return s
}

// parseLine tells what one line is. The key of a group's line is its name.
func parseLine(raw string) *line {
	l := &line{raw: raw}
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

// Groups returns the names of the groups in the order in which they first stand there.
func (f *File) Groups() []string { return f.groups }

// Has reports whether there is a group of the name.
func (f *File) Has(group string) bool { _, ok := f.byName[group]; return ok }

// Keys returns the names of a group's keys in the order in which they first stand there.
func (f *File) Keys(group string) []string {
	s := f.byName[group]
	if s == nil {
		return nil
	}
	var out []string
	for _, k := range s.keys {
		if len(s.at[k]) > 0 {
			out = append(out, k)
		}
	}
	return out
}

// find returns the line that gives a key its value, nil if there is none.
func (f *File) find(group, key string) *line {
	if s := f.byName[group]; s != nil {
		if all := s.at[key]; len(all) > 0 {
			return all[len(all)-1]
		}
	}
	return nil
}

// Raw returns a value as it is written: escaped, without the blanks before it.
func (f *File) Raw(group, key string) (string, bool) {
	if l := f.find(group, key); l != nil {
		return l.value, true
	}
	return "", false
}

// String returns a value as a string; "" if it is not there.
func (f *File) String(group, key string) string {
	raw, _ := f.Raw(group, key)
	return Unescape(raw)
}

// Line returns the number of the line, from 1, from which a key's value was read; 0 is none.
func (f *File) Line(group, key string) int {
	if l := f.find(group, key); l != nil {
		return l.number
	}
	return 0
}

// Broken returns the numbers of the lines, from 1, that were read and are not in the form.
// GLib reads no file that has one.
func (f *File) Broken() []int { return f.damaged }

// Bytes returns the file.
func (f *File) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(f.mark)
	for l := f.head; l != nil; l = l.next {
		b.WriteString(l.raw)
	}
	return b.Bytes()
}

// SetRaw gives a key a value, which is escaped already and has no line break. A value
// that is there is replaced where it stands, keeping what is around it; a new one goes
// behind the group's last pair, and a new group at the end.
func (f *File) SetRaw(group, key, value string) {
	if l := f.find(group, key); l != nil {
		start := strings.IndexByte(l.raw, '=') + 1
		for start < len(l.raw) && (l.raw[start] == ' ' || l.raw[start] == '\t') {
			start++
		}
		l.raw = l.raw[:start] + value + lineBreak(l.raw)
		l.value = value
		return
	}
	s := f.begun(group)
	if lineBreak(s.last.raw) == "" {
		s.last.raw += "\n"
	}
	f.insert(&line{kind: pair, group: s, key: key, value: value, raw: key + "=" + value + "\n"}, s.last)
}

// Set is SetRaw of a string that is not escaped.
func (f *File) Set(group, key, value string) { f.SetRaw(group, key, Escape(value)) }

// begun returns a group, of which a line is there: if need be at the end.
func (f *File) begun(name string) *section {
	s := f.section(name)
	if s.last != nil {
		return s
	}
	if f.tail != nil {
		if lineBreak(f.tail.raw) == "" {
			f.tail.raw += "\n"
		}
		f.insert(&line{kind: blank, group: s, raw: "\n"}, f.tail)
	}
	f.insert(&line{kind: group, group: s, key: name, raw: "[" + name + "]\n"}, f.tail)
	return s
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
	s := f.byName[group]
	if s == nil || len(s.at[key]) == 0 {
		return false
	}
	for _, l := range s.at[key] {
		f.remove(l)
	}
	s.at[key] = nil
	return true
}

// remove takes out the line of a pair, which is not the first of its group.
func (f *File) remove(l *line) {
	l.prev.next = l.next // there is one: the group's
	if l.next == nil {
		f.tail = l.prev
	} else {
		l.next.prev = l.prev
	}
	if l.group.last == l {
		p := l.prev
		for p.group != l.group || p.kind == blank {
			p = p.prev
		}
		l.group.last = p
	}
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
