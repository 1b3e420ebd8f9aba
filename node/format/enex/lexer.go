package enex

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of the XML that is read.
const (
	maxDepth = 64
	maxTag   = 64 << 10 // bytes of a tag, a declaration, a comment's line; text comes in pieces
	chunk    = 32 << 10
)

// ErrForm is returned for what is no file of Evernote.
var ErrForm = errors.New("it is no file of Evernote")

func malformed(why string, args ...any) error {
	return fmt.Errorf("%w: "+why, append([]any{ErrForm}, args...)...)
}

type tokenKind uint8

const (
	startTag tokenKind = iota + 1
	endTag
	textPiece
)

// token is one piece of a file. Its text is valid until the next one is read.
type token struct {
	kind  tokenKind
	name  string
	attrs map[string]string
	text  []byte
}

// lexer reads the XML that Evernote writes. Text of any length is given in pieces. A
// document type is taken as a name only: one that declares anything is an error, and
// nothing is ever fetched. References to characters are joined where programs have written
// each half of a surrogate pair by itself, which encoding/xml would destroy.
type lexer struct {
	r     *bufio.Reader
	open  []string
	ended string // of an empty element, whose end comes next
	cdata bool
	buf   []byte
}

func newLexer(r io.Reader) *lexer { return &lexer{r: bufio.NewReaderSize(r, chunk)} }

// next returns the next token; io.EOF after the last.
func (l *lexer) next() (token, error) {
	for {
		if l.ended != "" {
			name := l.ended
			l.ended = ""
			return l.close(name)
		}
		if l.cdata {
			if t, err := l.inCDATA(); err != nil || len(t.text) > 0 {
				return t, err
			}
			continue
		}
		c, err := l.r.ReadByte()
		if err != nil {
			if err == io.EOF && len(l.open) > 0 {
				err = malformed("it ends inside of <%s>", l.open[len(l.open)-1])
			}
			return token{}, err
		}
		if c != '<' {
			l.r.UnreadByte()
			if t, err := l.text(); err != nil || len(t.text) > 0 {
				return t, err
			}
			continue
		}
		t, err := l.markup()
		if err != nil || t.kind != 0 {
			return t, err
		}
	}
}

func (l *lexer) peek(s string) bool {
	b, _ := l.r.Peek(len(s))
	if string(b) != s {
		return false
	}
	l.r.Discard(len(s))
	return true
}

// markup reads what follows a <. The zero token is what means nothing.
func (l *lexer) markup() (token, error) {
	switch {
	case l.peek("!--"):
		return token{}, l.skip("-->")
	case l.peek("![CDATA["):
		l.cdata = true
		return token{}, nil
	case l.peek("!DOCTYPE"):
		s, err := l.until('>')
		if err == nil && strings.ContainsAny(s, "[]<&%") {
			err = malformed("its document type declares something")
		}
		return token{}, err
	case l.peek("?"):
		return token{}, l.skip("?>")
	case l.peek("/"):
		s, err := l.until('>')
		if err != nil {
			return token{}, err
		}
		return l.close(strings.TrimSpace(s))
	}
	return l.start()
}

// skip reads to the end of s, however far that is.
func (l *lexer) skip(s string) error {
	at := 0
	for at < len(s) {
		c, err := l.r.ReadByte()
		if err != nil {
			return malformed("%q is missing", s)
		}
		switch {
		case c == s[at]:
			at++
		case c == s[0]:
			if at > 1 && s[at-1] == c && c == '-' { // "--->"
				continue
			}
			at = 1
		default:
			at = 0
		}
	}
	return nil
}

// until reads to a character that is not quoted, and leaves it out.
func (l *lexer) until(end byte) (string, error) {
	l.buf = l.buf[:0]
	quote := byte(0)
	for {
		c, err := l.r.ReadByte()
		if err != nil {
			return "", malformed("it ends inside of a tag")
		}
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == end:
			return string(l.buf), nil
		}
		if l.buf = append(l.buf, c); len(l.buf) > maxTag {
			return "", malformed("a tag is too long")
		}
	}
}

func (l *lexer) start() (token, error) {
	s, err := l.until('>')
	if err != nil {
		return token{}, err
	}
	s, empty := strings.CutSuffix(strings.TrimSpace(s), "/")
	name, rest := s, ""
	if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
		name, rest = s[:i], s[i:]
	}
	if name == "" || strings.ContainsAny(name, "<&\"'=") {
		return token{}, malformed("<%.40s> is no tag", s)
	}
	if len(l.open) == maxDepth {
		return token{}, malformed("its elements are too deep inside one another")
	}
	l.open = append(l.open, name)
	if empty {
		l.ended = name
	}
	return token{kind: startTag, name: name, attrs: attributes(rest)}, nil
}

func attributes(s string) map[string]string {
	m := map[string]string{}
	for {
		key, rest, ok := strings.Cut(strings.TrimSpace(s), "=")
		rest = strings.TrimSpace(rest)
		if !ok || rest == "" || rest[0] != '"' && rest[0] != '\'' {
			return m
		}
		v, after, ok := strings.Cut(rest[1:], rest[:1])
		if !ok {
			return m
		}
		m[strings.TrimSpace(key)], s = unescape(v), after
	}
}

func (l *lexer) close(name string) (token, error) {
	if len(l.open) == 0 || l.open[len(l.open)-1] != name {
		return token{}, malformed("</%.40s> ends nothing", name)
	}
	l.open = l.open[:len(l.open)-1]
	return token{kind: endTag, name: name}, nil
}

// inCDATA reads a piece of what is between <![CDATA[ and ]]>.
func (l *lexer) inCDATA() (token, error) {
	l.buf = l.buf[:0]
	for len(l.buf) < chunk {
		c, err := l.r.ReadByte()
		if err != nil {
			return token{}, malformed("]]> is missing")
		}
		if c == ']' && l.peek("]>") {
			l.cdata = false
			break
		}
		l.buf = append(l.buf, c)
	}
	return token{kind: textPiece, text: l.buf}, nil
}

func (l *lexer) text() (token, error) {
	l.buf = l.buf[:0]
	for len(l.buf) < chunk {
		c, err := l.r.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			return token{}, err
		}
		if c == '<' {
			l.r.UnreadByte()
			break
		}
		if c == '&' {
			l.buf = l.reference(l.buf)
			continue
		}
		l.buf = append(l.buf, c)
	}
	return token{kind: textPiece, text: l.buf}, nil
}

const maxReference = 12 // bytes of &#1114111;

// reference reads what follows an &. What is no reference stays as it is.
func (l *lexer) reference(to []byte) []byte {
	n := l.referenceLength()
	if n == 0 {
		return append(to, '&')
	}
	b, _ := l.r.Peek(n)
	s := "&" + string(b)
	l.r.Discard(n)
	if r, ok := number(s); ok && utf16.IsSurrogate(r) {
		if c, _ := l.r.Peek(1); string(c) == "&" {
			l.r.Discard(1)
			if n := l.referenceLength(); n > 0 {
				b, _ := l.r.Peek(n)
				if low, ok := number("&" + string(b)); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
					l.r.Discard(n)
					return utf8.AppendRune(to, utf16.DecodeRune(r, low))
				}
			}
			return l.reference(utf8.AppendRune(to, utf8.RuneError))
		}
	}
	return append(to, unescape(s)...)
}

func (l *lexer) referenceLength() int {
	b, _ := l.r.Peek(maxReference)
	for i, c := range b {
		switch {
		case c == ';':
			return i + 1
		case c == '<' || c == '&' || c <= ' ':
			return 0
		}
	}
	return 0
}

func number(s string) (rune, bool) {
	s = strings.TrimSuffix(s, ";")
	var n uint64
	var err error
	if h, ok := strings.CutPrefix(s, "&#x"); ok {
		n, err = strconv.ParseUint(h, 16, 32)
	} else if d, ok := strings.CutPrefix(s, "&#"); ok {
		n, err = strconv.ParseUint(d, 10, 32)
	} else {
		return 0, false
	}
	return rune(n), err == nil && n <= utf8.MaxRune
}

var named = map[string]string{"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": `"`, "&apos;": "'"}

// unescape replaces the references in a text. Those that it does not know stay.
func unescape(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexByte(s[:min(len(s), maxReference+1)], ';')
		if end < 0 {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		ref := s[:end+1]
		if v, ok := named[ref]; ok {
			b.WriteString(v)
		} else if r, ok := number(ref); ok {
			b.WriteRune(r)
		} else {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		s = s[end+1:]
	}
}
