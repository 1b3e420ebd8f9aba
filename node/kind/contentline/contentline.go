// Package contentline splits vCard and iCalendar files (RFC 6350, RFC 5545, and their
// ancestors vCard 2.1 and vCalendar 1.0) into logical lines without changing or losing a
// byte: a line is a range of the data, and what can't be understood is a line all the
// same. docs/SPEC.md section 9.1 gives the rules.
//
// A Scanner works in one pass and keeps nothing of what it has passed. Parse makes a tree
// of components and properties whose values can be read and edited; what was not edited is
// written as it was.
package contentline

import (
	"bytes"
)

// headLimit is how far into a line the end of its name and parameters is looked for.
const headLimit = 4 << 10

var bom = []byte("\ufeff")

// Scanner walks over logical lines:
//
//	s := contentline.NewScanner(data)
//	for s.Next() {
//		… s.Start, s.End, s.Name() …
//	}
//
// It does not modify the data, and what Name returns may point into it.
type Scanner struct {
	// Start and End bound the present line: with its continuations and its last line
	// break, without a byte order mark.
	Start, End int

	data  []byte
	brk   byte // what ends a physical line: LF, or CR in data without any LF
	first int  // end of the first physical line's text
	qp    tristate
}

type tristate uint8

const (
	unknown tristate = iota
	yes
	no
)

// NewScanner returns a scanner at the start of data.
func NewScanner(data []byte) *Scanner {
	s := &Scanner{data: data, brk: '\n'}
	if bytes.IndexByte(data, '\n') < 0 {
		s.brk = '\r'
	}
	return s
}

// Next moves to the next line and reports whether there is one.
func (s *Scanner) Next() bool {
	if s.End >= len(s.data) {
		return false
	}
	s.Start, s.qp = s.End, unknown
	if bytes.HasPrefix(s.data[s.Start:], bom) {
		s.Start += len(bom)
	}
	last, end := s.Start, s.physical(s.Start)
	s.first = s.textEnd(last, end)
	for end < len(s.data) && (isBlank(s.data[end]) || s.softBreak(last, end)) {
		last, end = end, s.physical(end)
	}
	s.End = end
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// physical returns where the physical line at pos ends, its break included.
func (s *Scanner) physical(pos int) int {
	if i := bytes.IndexByte(s.data[pos:], s.brk); i >= 0 {
		return pos + i + 1
	}
	return len(s.data)
}

// textEnd returns where the text of a physical line ends, before its break.
func (s *Scanner) textEnd(start, end int) int {
	if end > start && s.data[end-1] == s.brk {
		end--
	}
	for end > start && s.data[end-1] == '\r' {
		end--
	}
	return end
}

// softBreak reports whether the line whose last physical line is [last, end) goes on
// behind end as quoted-printable text does: with '=' before the break and nothing after.
// Broken exports leave a '=' on the last line of a value, so a line that opens or closes
// a component is never taken for text.
func (s *Scanner) softBreak(last, end int) bool {
	t := s.textEnd(last, end)
	if t == last || s.data[t-1] != '=' {
		return false
	}
	if s.qp == unknown {
		s.qp = no
		head := s.data[s.Start:min(t, s.Start+headLimit)]
		if i := bytes.IndexByte(head, ':'); i >= 0 && containsFold(head[:i], "QUOTED-PRINTABLE") {
			s.qp = yes
		}
	}
	if s.qp == no {
		return false
	}
	next := s.physical(end)
	return !structural(s.data[end:s.textEnd(end, next)])
}

// structural reports whether a physical line is BEGIN or END of something.
func structural(line []byte) bool {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(value) == 0 || len(value) > 64 || !EqualFold(name, "BEGIN") && !EqualFold(name, "END") {
		return false
	}
	for _, c := range bytes.TrimRight(value, " \t") {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if c != '-' {
				return false
			}
		}
	}
	return true
}

// Name returns the name of the line's property without its group ("item1."). A line
// without a colon has none.
func (s *Scanner) Name() []byte {
	line := s.data[s.Start:s.first]
	if i := bytes.IndexAny(line[:min(len(line), 256)], ":;"); i >= 0 {
		return trimGroup(line[:i])
	}
	if s.first+2 >= s.End { // not folded
		return nil
	}
	head := s.unfold(headLimit)
	if i := bytes.IndexAny(head[:min(len(head), 256)], ":;"); i >= 0 {
		return trimGroup(head[:i])
	}
	return nil
}

func trimGroup(name []byte) []byte {
	if i := bytes.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	return bytes.Trim(name, " \t")
}

// Is reports whether the line's property has this name, which is written in capitals.
func (s *Scanner) Is(name string) bool { return EqualFold(s.Name(), name) }

// Value returns the unfolded value with the blanks around it cut off, and whether it
// is there and no longer than limit bytes.
func (s *Scanner) Value(limit int) ([]byte, bool) {
	line := s.unfold(limit + headLimit)
	i := colon(line)
	if i < 0 {
		return nil, false
	}
	v := bytes.Trim(line[i+1:], " \t")
	return v, len(v) <= limit
}

// Param returns the value of the first parameter of this name, which is written in
// capitals, without its quotes.
func (s *Scanner) Param(name string) ([]byte, bool) {
	head := s.unfold(headLimit)
	if i := colon(head); i >= 0 {
		head = head[:i]
	}
	for {
		i := outside(head, ';')
		if i < 0 {
			return nil, false
		}
		head = head[i+1:]
		p := head
		if j := outside(p, ';'); j >= 0 {
			p = p[:j]
		}
		if k, v, ok := bytes.Cut(p, []byte{'='}); ok && EqualFold(bytes.Trim(k, " \t"), name) {
			return bytes.Trim(v, "\" \t"), true
		}
	}
}

// colon finds where the value begins: the first colon outside quotes. A quote that is
// never closed is no quote.
func colon(line []byte) int {
	if i := outside(line, ':'); i >= 0 {
		return i
	}
	return bytes.IndexByte(line, ':')
}

func outside(line []byte, want byte) int {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == want && !quoted:
			return i
		}
	}
	return -1
}

// unfold returns the line without its breaks and the blank or '=' that made them soft,
// cut off once it is longer than limit. It points into the data if nothing was to remove.
func (s *Scanner) unfold(limit int) []byte {
	if s.first+2 >= s.End {
		return s.data[s.Start:s.first]
	}
	var out []byte
	for pos := s.Start; pos < s.End && len(out) <= limit; {
		end := s.physical(pos)
		text := s.data[pos:s.textEnd(pos, end)]
		if pos > s.Start && isBlank(s.data[pos]) && len(text) > 0 {
			text = text[1:]
		}
		if s.qp == yes && end < s.End && len(text) > 0 && text[len(text)-1] == '=' {
			text = text[:len(text)-1]
		}
		out = append(out, text[:min(len(text), limit+1)]...)
		pos = end
	}
	return out
}

// EqualFold reports whether b is s but for the case of ASCII letters.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if upper(c) != upper(s[i]) {
			return false
		}
	}
	return true
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 0x20
	}
	return c
}

func containsFold(b []byte, s string) bool {
	for i := 0; i+len(s) <= len(b); i++ {
		if EqualFold(b[i:i+len(s)], s) {
			return true
		}
	}
	return false
}
