// Package dconfdump reads and writes what `dconf dump` prints and `dconf load` reads:
// a key file whose groups are directories relative to the one that was dumped and whose
// values are GVariants in their text form. Values are carried as they are written; Valid
// and Normal look at their tokens only.
//
// The text form of values is that of GLib's documentation, "GVariant Text Format".
package dconfdump

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"fmt"
	"github.com/decant-dev/decant/node/format/keyfile"
)

// Limits.
const (
	MaxSize  = 16 << 20 // bytes of a dump
	MaxValue = 1 << 20  // bytes of a value
	MaxPath  = 1024     // bytes of a path
	maxDepth = 64       // of brackets in a value
)

// Entry is one key. Dir has no slash at its beginning or end; "" is the root.
type Entry struct {
	Dir, Key, Value string
	Line            int
}

// Path is the key's path: "/org/gnome/desktop/interface/clock-format".
func (e Entry) Path() string {
	if e.Dir == "" {
		return "/" + e.Key
	}
	return "/" + e.Dir + "/" + e.Key
}

// Parse reads a dump, in order. odd are the numbers of lines that are not in the form.
func Parse(data []byte) (entries []Entry, odd []int) {
	f := keyfile.Parse(data)
	for _, g := range f.Groups() {
		dir := strings.Trim(g, "/")
		for _, k := range f.Keys(g) {
			v, _ := f.Raw(g, k)
			entries = append(entries, Entry{Dir: dir, Key: k, Value: strings.TrimRight(v, " \t\r"), Line: f.Line(g, k)})
		}
	}
	return entries, f.Broken()
}

// Append writes one entry with its group.
func (e Entry) Append(dst []byte) []byte {
	dir := e.Dir
	if dir == "" {
		dir = "/"
	}
	return append(dst, "["+dir+"]\n"+e.Key+"="+e.Value+"\n"...)
}

// Format writes a dump: entries of one directory that follow one another share a group.
func Format(entries []Entry) []byte {
	var b bytes.Buffer
	for i, e := range entries {
		if i > 0 && entries[i-1].Dir == e.Dir {
			b.WriteString(e.Key + "=" + e.Value + "\n")
			continue
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.Write(e.Append(nil))
	}
	return b.Bytes()
}

// Proper reports whether the path and the value can stand in a dump: the path has only
// characters that settings have, and the value is Valid.
func (e Entry) Proper() bool {
	if len(e.Path()) > MaxPath || e.Key == "" || strings.Contains(e.Dir, "//") {
		return false
	}
	for _, c := range []byte(e.Dir + e.Key) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_./:", c) >= 0) {
			return false
		}
	}
	return !strings.Contains(e.Key, "/") && Valid(e.Value)
}

// Valid reports whether a value may be a GVariant: one line, its strings closed, its brackets matched.
func Valid(value string) bool {
	if value == "" || len(value) > MaxValue || !utf8.ValidString(value) {
		return false
	}
	_, ok := tokens(value)
	return ok
}

// Normal writes a value so that two that mean the same are equal, as far as tokens tell.
func Normal(value string) string {
	t, ok := tokens(value)
	if !ok {
		return value
	}
	return strings.Join(t, " ")
}

// quote writes a string in the one form that unquote reads as the same.
func quote(text string) string {
	b := []byte{'"'}
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return string(append(b, '"'))
}

// tokens cuts a value: strings with one kind of quotes, numbers in one form, words, brackets.
func tokens(s string) (out []string, ok bool) {
	var open []byte
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c < 0x20 && c != '\t' || c == 0x7f:
			return nil, false
		case c == ' ' || c == '\t':
			i++
		case c == '\'' || c == '"':
			text, n := unquote(s[i:])
			if n == 0 {
				return nil, false
			}
			out = append(out, quote(text))
			i += n
		case strings.IndexByte("([{<", c) >= 0:
			if open = append(open, c); len(open) > maxDepth {
				return nil, false
			}
			out = append(out, s[i:i+1])
			i++
		case strings.IndexByte(")]}>", c) >= 0:
			if len(open) == 0 || strings.IndexByte("([{<", open[len(open)-1]) != strings.IndexByte(")]}>", c) {
				return nil, false
			}
			open = open[:len(open)-1]
			if out[len(out)-1] == "," {
				out = out[:len(out)-1] // (5,) is a tuple of one
			}
			out = append(out, s[i:i+1])
			i++
		case c == ',' || c == ':':
			out = append(out, s[i:i+1])
			i++
		default:
			n := 0
			for i+n < len(s) && strings.IndexByte(" \t,:'\"([{<)]}>", s[i+n]) < 0 && s[i+n] >= 0x20 {
				n++
			}
			if c == '@' { // a type, which may have brackets
				n = 1
				for i+n < len(s) && s[i+n] != ' ' {
					n++
				}
			}
			if n == 0 {
				return nil, false
			}
			out = append(out, number(s[i:i+n]))
			i += n
		}
	}
	return out, len(open) == 0 && len(out) > 0
}

// number writes a number in one form; what is none stays.
func number(s string) string {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil && !strings.Contains(s, "_") {
		return strconv.FormatInt(n, 10)
	}
	if c := s[len(s)-1]; c < '0' || c > '9' {
		return s
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && !strings.Contains(s, "_") && strings.ContainsAny(s, ".eE") {
		t := strconv.FormatFloat(f, 'g', -1, 64)
		if !strings.ContainsAny(t, ".e") {
			t += ".0" // an integer is of another type
		}
		return t
	}
	return s
}

// unquote reads a string and returns how long it is with its quotes, 0 if it is not closed.
func unquote(s string) (string, int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return b.String(), i + 1
		case c < 0x20 && c != '\t':
			return "", 0
		case c != '\\':
			b.WriteByte(c)
		case i+1 == len(s):
			return "", 0
		default:
			i++
			switch e := s[i]; e {
			case 'a', 'b', 'f', 'n', 'r', 't', 'v':
				b.WriteByte("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", e)])
			case 'u', 'U':
				digits := map[byte]int{'u': 4, 'U': 8}[e]
				if i+digits >= len(s) {
					return "", 0
				}
				r, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
				if err != nil || r == 0 {
					return "", 0
				}
				b.WriteRune(rune(r))
				i += digits
			default:
				b.WriteByte(e)
			}
		}
	}
	return "", 0
}
