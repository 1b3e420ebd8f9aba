// Package rawjson reads and writes JSON without losing anything that encoding/json
// would: the order of members, members of the same name, numbers beyond 53 bits, and
// halves of surrogate pairs, which stand in message archives for what some program could
// not write. Such a half is held in a Go string as the three bytes that UTF-8 would give
// it (WTF-8), and is written as \uXXXX. Values are slices of the text that was parsed.
package rawjson

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how deeply arrays and objects may be nested.
const MaxDepth = 64

// The errors.
var (
	ErrSyntax = errors.New("is not valid JSON")
	ErrDepth  = errors.New("is nested too deeply")
)

// Value is the text of one JSON value, without blanks around it.
type Value []byte

// Member is one member of an object.
type Member struct {
	Name  string
	Value Value
}

// Object returns the members of the object that text is, in order. Blanks may surround it.
func Object(text []byte) ([]Member, error) { return AppendObject(nil, text) }

// AppendObject appends the members of the object that text is to dst.
func AppendObject(dst []Member, text []byte) ([]Member, error) {
	p := parser{text: text}
	p.blank()
	if !p.eat('{') {
		return dst, ErrSyntax
	}
	p.depth = 1
	for first := true; ; first = false {
		p.blank()
		if p.eat('}') {
			break
		}
		if !first && !p.comma() {
			return dst, ErrSyntax
		}
		name, err := p.value()
		if err != nil {
			return dst, err
		}
		s, ok := name.String()
		p.blank()
		if !ok || !p.eat(':') {
			return dst, ErrSyntax
		}
		p.blank()
		v, err := p.value()
		if err != nil {
			return dst, err
		}
		dst = append(dst, Member{s, v})
	}
	return dst, p.end()
}

// Array returns the elements of the array that text is.
func Array(text []byte) (elements []Value, err error) {
	p := parser{text: text}
	p.blank()
	if !p.eat('[') {
		return nil, ErrSyntax
	}
	p.depth = 1
	for first := true; ; first = false {
		p.blank()
		if p.eat(']') {
			break
		}
		if !first && !p.comma() {
			return elements, ErrSyntax
		}
		v, err := p.value()
		if err != nil {
			return elements, err
		}
		elements = append(elements, v)
	}
	return elements, p.end()
}

type parser struct {
	text  []byte
	at    int
	depth int
}

func (p *parser) blank() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) eat(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// comma takes a comma and the blanks behind it.
func (p *parser) comma() bool {
	ok := p.eat(',')
	p.blank()
	return ok
}

func (p *parser) end() error {
	p.blank()
	if p.at != len(p.text) {
		return ErrSyntax
	}
	return nil
}

func (p *parser) value() (Value, error) {
	start := p.at
	if err := p.skip(); err != nil {
		return nil, err
	}
	return Value(p.text[start:p.at:p.at]), nil
}

// skip goes past one value and checks its syntax.
func (p *parser) skip() error {
	if p.at >= len(p.text) {
		return ErrSyntax
	}
	switch c := p.text[p.at]; c {
	case '"':
		return p.skipString()
	case '{', '[':
		return p.skipNested(c)
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	}
	return p.skipNumber()
}

func (p *parser) skipNested(open byte) error {
	if p.depth++; p.depth > MaxDepth {
		return ErrDepth
	}
	p.at++
	end := open + 2 // ']' and '}'
	for first := true; ; first = false {
		p.blank()
		if p.eat(end) {
			p.depth--
			return nil
		}
		if !first && !p.comma() {
			return ErrSyntax
		}
		if open == '{' {
			if p.at >= len(p.text) || p.text[p.at] != '"' {
				return ErrSyntax
			}
			if err := p.skipString(); err != nil {
				return err
			}
			p.blank()
			if !p.eat(':') {
				return ErrSyntax
			}
			p.blank()
		}
		if err := p.skip(); err != nil {
			return err
		}
	}
}

func (p *parser) word(w string) error {
	if len(p.text)-p.at < len(w) || string(p.text[p.at:p.at+len(w)]) != w {
		return ErrSyntax
	}
	p.at += len(w)
	return nil
}

func (p *parser) skipString() error {
	for i := p.at + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return nil
		case c < 0x20:
			return ErrSyntax
		case c == '\\':
			n := escapeLength(p.text[i:])
			if n == 0 {
				return ErrSyntax
			}
			i += n - 1
		}
	}
	return ErrSyntax
}

// escapeLength is the number of bytes of the escape that b begins with; 0 if it is none.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (p *parser) skipNumber() error {
	start := p.at
	p.eat('-')
	if !p.eat('0') && !p.digits() {
		return ErrSyntax
	}
	if p.eat('.') && !p.digits() {
		return ErrSyntax
	}
	if p.at < len(p.text) && p.text[p.at]|0x20 == 'e' {
		p.at++
		if !p.eat('+') {
			p.eat('-')
		}
		if !p.digits() {
			return ErrSyntax
		}
	}
	if p.at == start {
		return ErrSyntax
	}
	return nil
}

func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}

// IsString reports whether v is a string.
func (v Value) IsString() bool { return len(v) > 0 && v[0] == '"' }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return string(v) == "null" }

// Bool returns the truth value that v is.
func (v Value) Bool() (b, ok bool) {
	switch string(v) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// Int returns the whole number that v is.
func (v Value) Int() (int64, bool) {
	if len(v) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}

// Unquoted returns the bytes between the quotes of a string that has no escapes. They are
// v's own.
func (v Value) Unquoted() ([]byte, bool) {
	if !v.IsString() {
		return nil, false
	}
	in := v[1 : len(v)-1]
	for _, c := range in {
		if c == '\\' {
			return nil, false
		}
	}
	return in, true
}

// String returns the string that v is. Halves of surrogate pairs are three bytes each.
// Bytes that are no UTF-8 stay what they are.
func (v Value) String() (s string, ok bool) {
	if !v.IsString() {
		return "", false
	}
	if in, plain := v.Unquoted(); plain {
		return string(in), true
	}
	in := v[1 : len(v)-1]
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		c := in[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		if in[i+1] == 'u' {
			var n int
			out, n = appendUnit(out, in[i:])
			i += n
			continue
		}
		out = append(out, unescaped(in[i+1]))
		i += 2
	}
	return string(out), true
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// appendUnit appends the character of the \u escape, or of the two that are a pair, that b begins with.
func appendUnit(dst, b []byte) ([]byte, int) {
	r, _ := hex4(b)
	if 0xD800 <= r && r < 0xDC00 {
		if low, ok := hex4(b[6:]); ok && 0xDC00 <= low && low < 0xE000 {
			return utf8.AppendRune(dst, 0x10000+(r-0xD800)<<10+(low-0xDC00)), 12
		}
	}
	return AppendWTF8(dst, r), 6
}

// AppendWTF8 appends r in UTF-8, half of a surrogate pair too.
func AppendWTF8(dst []byte, r rune) []byte {
	if 0xD800 <= r && r < 0xE000 {
		return append(dst, 0xED, 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
	}
	return utf8.AppendRune(dst, r)
}

// Half returns the half of a surrogate pair that s begins with, in the three bytes that AppendWTF8 gives it.
func Half(s string) (r rune, ok bool) {
	if len(s) >= 3 && s[0] == 0xED && s[1]&0xE0 == 0xA0 && s[2]&0xC0 == 0x80 {
		return 0xD000 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), true
	}
	return 0, false
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string: control characters and halves of surrogate
// pairs are escaped, and nothing else that need not be. A byte that is no UTF-8 becomes
// U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if 0x20 <= c && c < 0x7F && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			dst = appendEscaped(dst, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[start:i]...)
			if half, ok := Half(s[i:]); ok {
				dst = appendHex(dst, half)
				i += 3
			} else {
				dst = append(dst, "\ufffd"...)
				i++
			}
			start = i
			continue
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return appendHex(dst, rune(c))
}

func appendHex(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
