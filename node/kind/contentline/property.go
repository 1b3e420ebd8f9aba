package contentline

import (
	"bytes"
	"slices"
	"strings"
)

// Property is one logical line: a property with its group, parameters and value, or a
// line that is none, which has no name.
//
// What it returns is worked out anew at each call. Setters do nothing if nothing would
// change; a property that one has changed is written anew, all others as they were.
type Property struct {
	raw     []byte // as in the file, with a byte order mark before it and its break behind it
	name    string // in capitals, without the group
	shared  *shared
	edited  *edited // not nil: raw holds for the break only
	skip    uint8   // bytes of a byte order mark in raw
	join    joined
	dialect Dialect
	problem Problem
}

// edited is a property that is not as it was in the file.
type edited struct {
	spelled string // the name as it is written: "X-ABLabel"
	group   string
	params  []param
	value   string
}

// Param is one parameter. A parameter of the old dialects that is a value only, as in
// TEL;CELL, has no name.
type Param struct {
	Name   string   // in capitals
	Values []string // without their quotes and the escapes of RFC 6868
}

func (q Param) first() string {
	if len(q.Values) == 0 {
		return ""
	}
	return q.Values[0]
}

// param is a parameter with its text, "" if that has to be made.
type param struct {
	Param
	text string
}

// NewProperty makes a property without a value. name is written as it is given; brk is
// the line break, "" is CRLF.
func NewProperty(d Dialect, brk, name string) *Property {
	if brk == "" {
		brk = "\r\n"
	}
	return &Property{raw: []byte(brk), name: strings.ToUpper(name), shared: &shared{brk: brk[len(brk)-1], whole: brk}, edited: &edited{spelled: name}, dialect: d}
}

// Dialect returns the dialect that the property is written in.
func (p *Property) Dialect() Dialect { return p.dialect }

// Touched reports whether the property is written otherwise than it was read.
func (p *Property) Touched() bool { return p.edited != nil }

// Size returns about how many bytes the property has in the file.
func (p *Property) Size() int {
	if e := p.edited; e != nil {
		return len(p.name) + len(e.value) + 16
	}
	return len(p.raw)
}

// Problem says why the property is flagged; "" is nothing. What it says of a value it
// says without decoding it; see Check.
func (p *Property) Problem() Problem { return p.problem }

// Break returns the line break behind the property.
func (p *Property) Break() string { return p.fileBreak() }

// Clone returns a copy that can be edited without the original changing.
func (p *Property) Clone() *Property {
	if p == nil {
		return nil
	}
	c := *p
	if p.edited != nil {
		e := *p.edited
		e.params = slices.Clone(e.params)
		c.edited = &e
	}
	return &c
}

// blank reports whether the line has nothing but blanks.
func (p *Property) blank() bool {
	return p.edited == nil && p.name == "" && len(bytes.TrimSpace(p.raw[p.skip:])) == 0
}

// Blank reports whether the line has nothing but blanks.
func (p *Property) Blank() bool { return p.blank() }

func (p *Property) fileBreak() string {
	if p.edited != nil {
		return string(p.raw[p.skip:])
	}
	if n := len(p.raw); n > 0 && p.raw[n-1] == p.shared.brk {
		// A base64 value may have a blank line behind it, so that two breaks are there.
		return firstBreak(p.raw[len(bytes.TrimRight(p.raw, "\r\n")):])
	}
	return p.shared.whole
}

// scan returns a scanner whose line is the property, for what it can tell.
func (p *Property) scan() *Scanner {
	s := &Scanner{data: p.raw, brk: p.shared.brk}
	s.Start, s.End = int(p.skip), len(p.raw)
	s.first = s.textEnd(s.Start, s.physical(s.Start))
	if p.join == joinNone && s.first+2 < s.End {
		head := s.data[s.Start:min(s.first, s.Start+headLimit)]
		if i := bytes.IndexByte(head, ':'); i >= 0 && containsFold(head[:i], "QUOTED-PRINTABLE") {
			s.qp = yes
		}
	}
	return s
}

// unfolded returns the line's text, cut off once it is longer than limit. Behind a soft
// break of quoted-printable a blank is text.
func (p *Property) unfolded(limit int) []byte {
	s := p.scan()
	if p.join == joinNone && s.qp != yes {
		return s.unfold(limit)
	}
	var out []byte
	soft := false
	for pos := s.Start; pos < s.End && len(out) <= limit; {
		end := s.physical(pos)
		text := s.data[pos:s.textEnd(pos, end)]
		if pos > s.Start && !soft && len(text) > 0 && isBlank(text[0]) {
			text = text[1:]
		}
		n := len(text)
		soft = s.qp == yes && end < s.End && n > 0 && text[n-1] == '='
		if soft {
			n--
		}
		out = append(out, text[:min(n, limit+1)]...)
		if p.join == joinBackslash && n > 0 && text[n-1] == '\\' && end < s.End {
			out = append(out, 'n')
		}
		pos = end
	}
	return out
}

// Joined reports whether the property goes on in lines without a blank before them, each behind a backslash.
func (p *Property) Joined() bool { return p.join == joinBackslash }

const noLimit = 1<<62 - 1

// head returns what is before the colon; without one it is everything.
func (p *Property) head() []byte {
	line := p.unfolded(headLimit)
	i := colon(line)
	if i < 0 && len(line) > headLimit {
		line = p.unfolded(noLimit)
		i = colon(line)
	}
	if i < 0 {
		return line
	}
	return line[:i]
}

// Name returns the name in capitals, without the group. "" is a line without a colon, or
// a blank one.
func (p *Property) Name() string { return p.name }

// Group returns what is before the dot of the name, "item1"; "" if there is no dot.
func (p *Property) Group() string {
	if p.edited != nil {
		return p.edited.group
	}
	if p.name == "" {
		return ""
	}
	head := p.head()
	if i := bytes.IndexByte(head, ';'); i >= 0 {
		head = head[:i]
	}
	if i := bytes.LastIndexByte(head, '.'); i >= 0 {
		return trimBlanks(string(head[:i]))
	}
	return ""
}

// spelled returns the name as it is written.
func (p *Property) spelled() string {
	if p.edited != nil {
		return p.edited.spelled
	}
	head, _, _ := bytes.Cut(p.head(), []byte{';'})
	return string(trimGroup(head))
}

// Value returns the value as it stands in the file, unfolded: escaped and encoded. The
// soft breaks of quoted-printable and the blanks of folded base64 are gone. A line
// without a name is its own value.
func (p *Property) Value() string {
	if p.edited != nil {
		return p.edited.value
	}
	line := p.unfolded(noLimit)
	if p.name == "" {
		return string(line)
	}
	i := colon(line)
	if i < 0 {
		return ""
	}
	return string(line[i+1:])
}

// Params returns the parameters in order.
func (p *Property) Params() []Param {
	var out []Param
	for _, q := range p.params() {
		out = append(out, q.Param)
	}
	return out
}

func (p *Property) params() []param {
	if p.edited != nil {
		return p.edited.params
	}
	if p.name == "" {
		return nil
	}
	head := string(p.head())
	var out []param
	for i := separator(head, ';'); i >= 0; {
		head = head[i+1:]
		i = separator(head, ';')
		text := head
		if len(out) == maxParams {
			return append(out, param{Param: Param{Values: []string{text}}, text: text})
		}
		if i >= 0 {
			text = head[:i]
		}
		out = append(out, parseParam(text, p.dialect))
	}
	return out
}

// separator finds the first c outside of quotes. A quote that is never closed is no quote.
func separator(s string, c byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case c:
			return i
		case '"':
			if n := strings.IndexByte(s[i+1:], '"'); n >= 0 {
				i += n + 1
			}
		}
	}
	return -1
}

func parseParam(text string, d Dialect) param {
	q := param{text: text}
	name, value, named := strings.Cut(text, "=")
	if !named {
		q.Values = []string{trimBlanks(text)}
		return q
	}
	q.Name = strings.ToUpper(trimBlanks(name))
	for {
		i := separator(value, ',')
		if i < 0 {
			q.Values = append(q.Values, paramValue(value, d))
			return q
		}
		q.Values = append(q.Values, paramValue(value[:i], d))
		value = value[i+1:]
	}
}

func paramValue(v string, d Dialect) string {
	v = trimBlanks(v)
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	if d.carets() && strings.IndexByte(v, '^') >= 0 {
		v = unescapeCarets(v)
	}
	return v
}

func trimBlanks(s string) string { return strings.Trim(s, " \t") }

// Param returns the values of the first parameter of a name, which is written in
// capitals, joined by commas, and whether there is one.
func (p *Property) Param(name string) (string, bool) {
	for _, q := range p.params() {
		if q.Name == name {
			return strings.Join(q.Values, ","), true
		}
	}
	return "", false
}

// Values returns the values of all parameters of a name, which is written in capitals,
// in order. Those without a name are values of TYPE, unless they are an encoding.
func (p *Property) Values(name string) []string {
	var out []string
	for _, q := range p.params() {
		if q.Name == name || q.Name == "" && name == bareName(q.first()) {
			out = append(out, q.Values...)
		}
	}
	return out
}

// bareName returns the name that a parameter without one would have.
func bareName(v string) string {
	switch strings.ToUpper(v) {
	case "QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT":
		return "ENCODING"
	case "INLINE", "CONTENT-ID", "CID", "URL":
		return "VALUE"
	}
	return "TYPE"
}

// encoding returns the encoding of the value: "QUOTED-PRINTABLE", "BASE64" or "".
func (p *Property) encoding() string {
	for _, v := range p.Values("ENCODING") {
		switch strings.ToUpper(v) {
		case "QUOTED-PRINTABLE", "QP", "Q":
			return "QUOTED-PRINTABLE"
		case "BASE64", "B":
			return "BASE64"
		}
	}
	return ""
}

// Encoding returns the encoding of the value: "QUOTED-PRINTABLE", "BASE64" or "" for none.
func (p *Property) Encoding() string { return p.encoding() }
