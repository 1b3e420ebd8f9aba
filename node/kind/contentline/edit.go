package contentline

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"
)

// Raw returns the property as it is written: with folds and its line break. It must not
// be changed.
func (p *Property) Raw() []byte {
	if p.edited == nil {
		return p.raw
	}
	return p.encode()
}

// edit makes the property one that is written anew. It returns where to change it.
func (p *Property) edit() *edited {
	if p.edited == nil {
		// The raw bytes are kept for the line break only.
		brk := p.fileBreak()
		mark := p.raw[:p.skip:p.skip]
		p.edited = &edited{spelled: p.spelled(), group: p.Group(), params: p.params(), value: p.Value()}
		for i, q := range p.edited.params {
			if strings.Count(q.text, `"`)%2 == 1 { // it would pair with one in the value
				p.edited.params[i].text = ""
			}
		}
		p.raw, p.join = append(mark, brk...), joinNone
	}
	return p.edited
}

// SetName gives the property another name, which is written as it is given.
func (p *Property) SetName(name string) {
	if name = clean(name); strings.ToUpper(name) != p.name {
		p.edit().spelled = name
		p.name = strings.ToUpper(name)
	}
}

// SetGroup gives the property another group; "" is none.
func (p *Property) SetGroup(group string) {
	if group = clean(group); group != p.Group() {
		p.edit().group = group
	}
}

// clean drops what can't be in a name.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && nameByte(byte(r)) {
			return r
		}
		return -1
	}, name)
}

// SetDialect says that the property is to be in another dialect. It does not convert the
// value and the parameters: set them anew, decoded before.
func (p *Property) SetDialect(d Dialect) { p.dialect = d }

// SetParam gives the property one parameter of a name, which is written in capitals, with
// these values: in the place of the first one of the name, at the end if there was none. Without values
// all of the name go.
func (p *Property) SetParam(name string, values ...string) {
	old := p.params()
	params := make([]Param, 0, len(old)+1)
	done := len(values) == 0
	for _, q := range old {
		if q.Name != name {
			params = append(params, q.Param)
		} else if !done {
			params = append(params, Param{name, values})
			done = true
		}
	}
	if !done {
		params = append(params, Param{name, values})
	}
	p.SetParams(params)
}

// SetParams gives the property these parameters and no others. Those that it had keep
// their text.
func (p *Property) SetParams(params []Param) {
	old := p.params()
	if slices.EqualFunc(old, params, func(a param, b Param) bool { return sameParam(a.Param, b) }) {
		return
	}
	list := make([]param, len(params))
	for i, q := range params {
		list[i].Param = Param{q.Name, slices.Clone(q.Values)}
		for _, o := range old {
			if sameParam(o.Param, q) && strings.Count(o.text, `"`)%2 == 0 {
				list[i].text = o.text
				break
			}
		}
	}
	p.edit().params = list
}

// QuoteCarets puts quotes around the values of named parameters that are written with a circumflex and without quotes.
// They mean the same: RFC 6868 has its escapes in either form. Parsers older than it know a bare one in no value.
func (p *Property) QuoteCarets() {
	for i, q := range p.params() {
		name, value, named := strings.Cut(q.encode(p.dialect), "=")
		if !named || q.Name == "" || strings.IndexByte(value, '^') < 0 || strings.Count(value, `"`)%2 == 1 {
			continue
		}
		if quoted := quoteCarets(value); quoted != value {
			p.edit().params[i].text = name + "=" + quoted
		}
	}
}

// quoteCarets does it for values with commas between them.
func quoteCarets(list string) string {
	var out []string
	for more := true; more; {
		v := list
		if i := separator(list, ','); i >= 0 {
			v, list = list[:i], list[i+1:]
		} else {
			more = false
		}
		if strings.IndexByte(v, '^') >= 0 && strings.IndexByte(v, '"') < 0 {
			v = `"` + v + `"`
		}
		out = append(out, v)
	}
	return strings.Join(out, ",")
}

func sameParam(a, b Param) bool { return a.Name == b.Name && slices.Equal(a.Values, b.Values) }

// SetValue sets the value as it is to stand in the file, escaped and encoded but not
// folded. Line breaks in it are written as backslash and n.
func (p *Property) SetValue(value string) {
	if strings.ContainsAny(value, "\r\n") {
		value = strings.ReplaceAll(newlines(value), "\n", `\n`)
	}
	if value != p.Value() || p.name == "" {
		p.edit().value = value
	}
}

// SetText sets the value to a text, escaped as the dialect wants it. In the old dialects
// it is quoted-printable in UTF-8 if it has to be.
func (p *Property) SetText(text string) {
	if text = newlines(text); text != p.Text() || p.Check() != "" {
		if p.dialect.Old() {
			p.setEncoded(strings.ReplaceAll(text, `\;`, `\\;`))
		} else {
			p.setEncoded(Escape(text, p.dialect))
		}
	}
}

// SetList sets the value to a list of texts with commas between them.
func (p *Property) SetList(values []string) {
	if slices.Equal(values, p.List()) && p.Check() == "" {
		return
	}
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = Escape(v, p.dialect)
		if p.dialect.Old() {
			escaped[i] = strings.ReplaceAll(escaped[i], ",", `\,`)
		}
	}
	p.setEncoded(strings.Join(escaped, ","))
}

// SetFields sets the value to a list of texts with semicolons between them.
func (p *Property) SetFields(values []string) {
	if slices.Equal(values, p.Fields()) && p.Check() == "" {
		return
	}
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = Escape(v, p.dialect)
	}
	p.setEncoded(strings.Join(escaped, ";"))
}

// SetComponents sets the value to what Components returns. In the old dialects the parts
// of a component are joined by commas, which are text there.
func (p *Property) SetComponents(values [][]string) {
	if slices.EqualFunc(values, p.Components(), slices.Equal) && p.Check() == "" {
		return
	}
	fields := make([]string, len(values))
	for i, parts := range values {
		escaped := make([]string, len(parts))
		for j, v := range parts {
			escaped[j] = Escape(v, p.dialect)
		}
		fields[i] = strings.Join(escaped, ",")
	}
	p.setEncoded(strings.Join(fields, ";"))
}

// SetDecoded sets the value to what Decoded returns: escaped already, but not encoded.
func (p *Property) SetDecoded(v string) {
	if v = newlines(v); v != p.Decoded() || p.Check() != "" {
		p.setEncoded(v)
	}
}

// setEncoded sets a value that is escaped already.
func (p *Property) setEncoded(v string) {
	qp := p.dialect.Old() && needsQP(v)
	var params []Param
	for _, q := range p.Params() {
		if q.Name != "CHARSET" && q.Name != "ENCODING" && (q.Name != "" || bareName(q.first()) != "ENCODING") {
			params = append(params, q)
		}
	}
	if qp {
		if !isASCII(v) {
			params = append(params, Param{"CHARSET", []string{"UTF-8"}})
		}
		params = append(params, Param{"ENCODING", []string{"QUOTED-PRINTABLE"}})
		v = encodeQP(strings.ReplaceAll(v, "\n", "\r\n"))
	}
	p.SetParams(params)
	if v != p.Value() {
		p.edit().value = v
	}
}

// needsQP reports whether a value can't stand as it is in the old dialects.
func needsQP(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < 0x20 && c != '\t' || c >= 0x7f {
			return true
		}
	}
	return len(v) > 0 && (v[0] == ' ' || v[len(v)-1] == ' ' || v[len(v)-1] == '\\')
}

// SetBinary sets the value to bytes as the dialect has them: a data: URI in vCard 4.0,
// base64 in all others. mediaType, which may be "", is said in the URI and in FMTTYPE.
func (p *Property) SetBinary(data []byte, mediaType string) {
	text := base64.StdEncoding.EncodeToString(data)
	params := slices.DeleteFunc(p.Params(), func(q Param) bool {
		return q.Name == "ENCODING" || q.Name == "CHARSET" || q.Name == "VALUE" || q.Name == "MEDIATYPE" || q.Name == "FMTTYPE" || q.Name == "" && bareName(q.first()) != "TYPE"
	})
	switch p.dialect {
	case VCard40:
		text = "data:" + mediaType + ";base64," + text
	case ICal20:
		if mediaType != "" {
			params = append(params, Param{"FMTTYPE", []string{mediaType}})
		}
		params = append(params, Param{"ENCODING", []string{"BASE64"}}, Param{"VALUE", []string{"BINARY"}})
	case VCard30:
		params = append(params, Param{"ENCODING", []string{"b"}})
	default:
		params = append(params, Param{"ENCODING", []string{"BASE64"}})
	}
	p.SetParams(params)
	p.SetValue(text)
}

const (
	foldAt   = 75 // octets, RFC 6350 3.2, RFC 5545 3.1
	foldQPAt = 76 // octets with the '=', RFC 2045 6.7
)

// encode writes the property anew.
func (p *Property) encode() []byte {
	e := p.edited
	brk := string(p.raw[p.skip:])
	out := append([]byte(nil), p.raw[:p.skip]...)
	if p.name == "" {
		return append(append(out, e.value...), brk...)
	}
	head := make([]byte, 0, 64)
	if e.group != "" {
		head = append(append(head, e.group...), '.')
	}
	head = append(head, e.spelled...)
	for _, q := range e.params {
		head = append(head, ';')
		head = append(head, q.encode(p.dialect)...)
	}
	head = append(head, ':')
	switch encoding := p.encoding(); {
	case encoding == "QUOTED-PRINTABLE":
		out = foldQP(append(out, head...), len(head), strings.TrimRight(e.value, "="), brk)
	case encoding == "BASE64" && p.dialect.Old():
		out = foldBase64(append(out, head...), e.value, brk)
	case p.dialect.Old():
		out = append(append(out, head...), e.value...)
	default:
		out = fold(out, append(head, e.value...), brk)
	}
	return append(out, brk...)
}

// fold breaks a line after at most 75 octets, never inside a UTF-8 sequence.
func fold(out, line []byte, brk string) []byte {
	limit := foldAt
	for len(line) > limit {
		n := limit
		for n > limit-utf8.UTFMax && !utf8.RuneStart(line[n]) {
			n--
		}
		if !utf8.RuneStart(line[n]) {
			n = limit // no UTF-8
		}
		for n < len(line) && line[n-1] == '\r' { // it would be taken for a part of the break
			n++
		}
		out = append(out, line[:n]...)
		out = append(append(out, brk...), ' ')
		line = line[n:]
		limit = foldAt - 1
	}
	return append(out, line...)
}

// foldQP breaks quoted-printable softly, never inside an escape, and not before a blank,
// which would be taken for a fold.
func foldQP(out []byte, used int, v, brk string) []byte {
	for used+len(v) > foldQPAt {
		n := max(foldQPAt-1-used, 0)
		if n > 0 && v[n-1] == '=' {
			n--
		} else if n > 1 && v[n-2] == '=' {
			n -= 2
		}
		for n < len(v) && (isBlank(v[n]) || n > 0 && v[n-1] == '\r') {
			n++
		}
		if n == len(v) {
			break
		}
		out = append(out, v[:n]...)
		out = append(append(out, '='), brk...)
		v, used = v[n:], 0
	}
	return append(out, v...)
}

// foldBase64 writes base64 as the old dialects have it: on lines of its own that begin
// with a blank, and with an empty line behind it.
func foldBase64(out []byte, v, brk string) []byte {
	const width = 72
	for len(v) > 0 {
		n := min(width, len(v))
		out = append(append(out, brk...), ' ')
		out = append(out, v[:n]...)
		v = v[n:]
	}
	return append(out, brk...)
}

func (q param) encode(d Dialect) string {
	if q.text != "" {
		return q.text
	}
	values := make([]string, len(q.Values))
	for i, v := range q.Values {
		values[i] = encodeParamValue(v, d)
	}
	if q.Name == "" {
		return strings.Join(values, ",")
	}
	return paramName(q.Name) + "=" + strings.Join(values, ",")
}

// paramName drops what would end a name, or begin a quote.
func paramName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || strings.ContainsRune("\";:,=", r) {
			return -1
		}
		return r
	}, name)
}

func encodeParamValue(v string, d Dialect) string {
	if d.carets() {
		v = strings.NewReplacer("^", "^^", "\n", "^n", "\"", "^'").Replace(newlines(v))
	} else {
		v = strings.NewReplacer("\n", " ", "\"", "'").Replace(newlines(v))
	}
	v = strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, v)
	if strings.ContainsAny(v, ",;:") || v != trimBlanks(v) {
		return `"` + v + `"`
	}
	return v
}

// Equal reports whether two properties are written with the same text, however they are folded.
func (p *Property) Equal(q *Property) bool {
	if p.name != q.name || p.dialect != q.dialect {
		return false
	}
	return bytes.Equal(p.head(), q.head()) && p.Value() == q.Value()
}

// Rewrite makes the property one that is written anew: blanks around names, quotes that
// are not needed and odd folds go. Its text stays the same otherwise.
func (p *Property) Rewrite() {
	e := p.edit()
	for i := range e.params {
		e.params[i].text = ""
	}
}
