package fidelity

import (
	"bytes"
	"strings"
)

// line is a logical content line.
type line struct {
	number int
	text   string // unfolded: continuation blanks are gone
	kept   string // with continuation blanks, as vCard 2.1 unfolds
	group  string
	name   string // capitals; "" if it is no property
	params []param
	value  string // of text
	other  string // of kept
}

type param struct {
	name   string // capitals; "" if there is only a value
	values []string
}

// has reports whether any parameter is name=value or the bare value; value is in capitals.
func (l *line) has(name, value string) bool {
	for _, p := range l.params {
		if p.name != name && p.name != "" {
			continue
		}
		for _, v := range p.values {
			if strings.ToUpper(strings.TrimSpace(v)) == value {
				return true
			}
		}
	}
	return false
}

// get returns the first value of a parameter.
func (l *line) get(name string) string {
	for _, p := range l.params {
		if p.name == name && len(p.values) > 0 {
			return p.values[0]
		}
	}
	return ""
}

func (l *line) base64() bool {
	return l.has("ENCODING", "B") || l.has("ENCODING", "BASE64")
}

func (l *line) quotedPrintable() bool { return l.has("ENCODING", "QUOTED-PRINTABLE") }

// contentLines unfolds a file. Blank lines are left out.
func contentLines(data []byte) []*line {
	physical := physicalLines(data)
	var out []*line
	for i := 0; i < len(physical); {
		number := i + 1
		var text, kept []byte
		text, kept, i = logical(physical, i)
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		l := &line{number: number, text: string(text), kept: string(kept)}
		l.split()
		out = append(out, l)
	}
	return out
}

func physicalLines(data []byte) [][]byte {
	brk := []byte("\n")
	if !bytes.Contains(data, brk) {
		brk = []byte("\r")
	}
	lines := bytes.Split(data, brk)
	for i, l := range lines {
		lines[i] = bytes.TrimRight(bytes.TrimPrefix(l, []byte("\ufeff")), "\r")
	}
	return lines
}

// logical joins the physical lines from i on that make one, and returns where the next one begins.
func logical(physical [][]byte, i int) (text, kept []byte, next int) {
	text = bytes.Clone(physical[i])
	kept = bytes.Clone(text)
	qp, b64 := encodings(text)
	for i++; i < len(physical); i++ {
		p := physical[i]
		switch {
		case qp && bytes.HasSuffix(text, []byte("=")) && !opens(p):
			text = append(text[:len(text)-1], p...) // RFC 2045: a blank behind a soft break is text
			if kept = bytes.TrimSuffix(kept, []byte("=")); len(p) > 0 && blank(p[0]) {
				p = p[1:] // but programs fold as well
			}
			kept = append(kept, p...)
		case len(p) > 0 && blank(p[0]):
			text, kept = append(text, p[1:]...), append(kept, p...)
			if bytes.IndexByte(text[:len(text)-len(p)+1], ':') < 0 {
				qp, b64 = encodings(text)
			}
		case b64 && len(p) > 0 && isBase64(p):
			text, kept = append(text, p...), append(kept, p...)
		default:
			return text, kept, i
		}
	}
	return text, kept, i
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

func opens(p []byte) bool {
	u := bytes.ToUpper(p[:min(len(p), 6)])
	return bytes.HasPrefix(u, []byte("BEGIN:")) || bytes.HasPrefix(u, []byte("END:"))
}

// encodings reports what the head of a line says of its value.
func encodings(text []byte) (qp, b64 bool) {
	head, _, ok := bytes.Cut(text, []byte(":"))
	if !ok {
		return false, false
	}
	l := line{text: string(head) + ":"}
	l.split()
	return l.quotedPrintable(), l.base64()
}

func isBase64(p []byte) bool {
	for _, c := range p {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '=') {
			return false
		}
	}
	return true
}

// split finds group, name, parameters and value.
func (l *line) split() {
	at := colon(l.text)
	if at < 0 {
		l.value, l.other = l.text, l.kept
		return
	}
	l.value = l.text[at+1:]
	if k := colon(l.kept); k >= 0 {
		l.other = l.kept[k+1:]
	}
	parts := splitQuoted(l.text[:at], ';')
	name := strings.TrimSpace(parts[0])
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		l.group, name = strings.ToUpper(name[:i]), name[i+1:]
	}
	l.name = strings.ToUpper(strings.TrimSpace(name))
	for _, s := range parts[1:] {
		l.params = append(l.params, parseParam(s))
	}
}

// colon returns where the value begins: behind the first colon outside of quotes, else behind the first.
func colon(s string) int {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ':' && !quoted:
			return i
		}
	}
	return strings.IndexByte(s, ':')
}

func splitQuoted(s string, at byte) (out []string) {
	quoted, start := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == at && !quoted:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func parseParam(s string) param {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return param{values: []string{strings.TrimSpace(s)}}
	}
	p := param{name: strings.ToUpper(strings.TrimSpace(name))}
	for _, v := range splitQuoted(value, ',') {
		if t := strings.TrimSpace(v); len(t) >= 2 && t[0] == '"' && t[len(t)-1] == '"' {
			v = t[1 : len(t)-1]
		}
		if p.name == "TYPE" { // TYPE="a,b" is a list too
			p.values = append(p.values, strings.Split(v, ",")...)
			continue
		}
		p.values = append(p.values, caret.Replace(v))
	}
	return p
}

// caret undoes RFC 6868.
var caret = strings.NewReplacer("^^", "^", "^n", "\n", "^'", `"`)
