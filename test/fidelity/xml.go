package fidelity

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// node is an element of XML. encoding/xml would not do: it makes two replacement characters of the surrogate pairs with
// which SMS Backup & Restore writes emoji, and gives up at a NUL.
type node struct {
	name  string
	attrs []attr
	nodes []*node
	text  string
	line  int
}

type attr struct{ name, value, raw string }

// parseXML reads what it can. Entities of its own a document can't define.
func parseXML(b []byte) *node {
	top := &node{}
	stack := []*node{top}
	line := 1
	for len(b) > 0 {
		i := bytes.IndexByte(b, '<')
		if i < 0 {
			i = len(b)
		}
		at := stack[len(stack)-1]
		if t := b[:i]; len(bytes.TrimSpace(t)) > 0 {
			at.text += unentity(string(t))
		}
		line += bytes.Count(b[:i], []byte("\n"))
		b = b[i:]
		n := markup(b)
		if n == 0 {
			break
		}
		tag := string(b[:n])
		b = b[n:]
		switch {
		case strings.HasPrefix(tag, "<![CDATA["):
			at.text += strings.TrimSuffix(tag[9:], "]]>")
		case strings.HasPrefix(tag, "<!"), strings.HasPrefix(tag, "<?"):
		case strings.HasPrefix(tag, "</"):
			name := strings.TrimSpace(strings.Trim(tag, "</>"))
			for k := len(stack) - 1; k > 0 && k > len(stack)-64; k-- {
				if stack[k].name == name {
					stack = stack[:k]
					break
				}
			}
		default:
			e := &node{line: line}
			e.name, e.attrs = parseTag(strings.TrimSuffix(strings.TrimSuffix(tag[1:], ">"), "/"))
			at.nodes = append(at.nodes, e)
			if !strings.HasSuffix(tag, "/>") {
				stack = append(stack, e)
			}
		}
		line += strings.Count(tag, "\n")
	}
	return top
}

// markup returns the length of the tag, comment or section at the start of b.
func markup(b []byte) int {
	for _, m := range []struct{ open, end string }{{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}} {
		if bytes.HasPrefix(b, []byte(m.open)) {
			if i := bytes.Index(b, []byte(m.end)); i >= 0 {
				return i + len(m.end)
			}
			return len(b)
		}
	}
	quote := byte(0)
	for i, c := range b {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return len(b)
}

func parseTag(s string) (name string, attrs []attr) {
	s = strings.TrimSpace(s)
	name = s
	if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
		name, s = s[:i], s[i:]
	} else {
		s = ""
	}
	for {
		n, rest, ok := strings.Cut(s, "=")
		rest = strings.TrimLeft(rest, " \t\r\n")
		if !ok || rest == "" || rest[0] != '"' && rest[0] != '\'' {
			return name, attrs
		}
		end := strings.IndexByte(rest[1:], rest[0])
		if end < 0 {
			end = len(rest) - 1
		}
		raw := rest[1 : end+1]
		attrs = append(attrs, attr{strings.TrimSpace(n), unentity(newlines.Replace(raw)), raw})
		s = rest[min(end+2, len(rest)):]
	}
}

var entities = map[string]string{"lt": "<", "gt": ">", "amp": "&", "quot": `"`, "apos": "'"}

// unentity undoes entities. A pair of surrogates is one character; a single one stays as it is written, and so does what is unknown.
func unentity(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexByte(s[:min(len(s), 32)], ';')
		if end < 0 {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		word := s[1:end]
		if e, ok := entities[word]; ok {
			b.WriteString(e)
			s = s[end+1:]
			continue
		}
		r, ok := number(word)
		if !ok {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		s = s[end+1:]
		if utf16.IsSurrogate(r) {
			low := strings.IndexByte(s[:min(len(s), 32)], ';')
			if strings.HasPrefix(s, "&") && low > 0 {
				if second, ok := number(s[1:low]); ok && utf16.DecodeRune(r, second) != '\ufffd' {
					b.WriteRune(utf16.DecodeRune(r, second))
					s = s[low+1:]
					continue
				}
			}
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
}

func number(word string) (rune, bool) {
	digits, ok := strings.CutPrefix(word, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if len(digits) > 0 && (digits[0] == 'x' || digits[0] == 'X') {
		base, digits = 16, digits[1:]
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return rune(n), err == nil && n <= 0x10ffff
}
