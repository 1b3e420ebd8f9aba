package contentline

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// Text returns the value decoded: quoted-printable, the character set and the escapes of
// the dialect undone, line breaks as LF. It is valid UTF-8: what is not in its character set is
// read as Windows-1252, and Check tells it.
func (p *Property) Text() string {
	s, _ := p.plain()
	if p.dialect.Old() { // only a semicolon is ever escaped
		return newlines(strings.ReplaceAll(s, `\;`, ";"))
	}
	return newlines(Unescape(s, p.dialect))
}

// List returns the value split at commas that are not escaped, each part decoded. In the
// old dialects there is no such list, but for CATEGORIES and NICKNAME that is how they are written.
func (p *Property) List() []string {
	parts := SplitUnescaped(p.Decoded(), ',')
	for i, s := range parts {
		parts[i] = newlines(Unescape(s, p.dialect))
	}
	return parts
}

// Fields returns the value split at semicolons that are not escaped, each part decoded.
func (p *Property) Fields() []string {
	parts := p.fields()
	for i, s := range parts {
		parts[i] = newlines(Unescape(s, p.dialect))
	}
	return parts
}

// Components returns the value split at semicolons and each part at commas that are not
// escaped, as N, ADR and ORG are. In the old dialects commas do not split.
func (p *Property) Components() [][]string {
	parts := p.fields()
	out := make([][]string, len(parts))
	for i, s := range parts {
		if p.dialect.Old() {
			out[i] = []string{newlines(Unescape(s, p.dialect))}
			continue
		}
		for _, v := range SplitUnescaped(s, ',') {
			out[i] = append(out[i], newlines(Unescape(v, p.dialect)))
		}
	}
	return out
}

// Decoded returns the value with quoted-printable and the character set undone, and its
// escapes as they are.
func (p *Property) Decoded() string {
	s, _ := p.plain()
	return s
}

// plain returns the value as UTF-8, still escaped, and whether it was in its character set.
func (p *Property) plain() (string, bool) {
	v := p.Value()
	if p.encoding() == "QUOTED-PRINTABLE" {
		v = decodeQP(v)
	}
	return p.inUTF8(v)
}

// fields splits before quoted-printable is decoded, so that an encoded semicolon is text,
// but for the character sets in which a byte of a character may be '\' or ';'.
func (p *Property) fields() []string {
	v := p.Value()
	qp := p.encoding() == "QUOTED-PRINTABLE"
	if !qp || p.tricky() {
		if qp {
			v = decodeQP(v)
		}
		s, _ := p.inUTF8(v)
		return SplitUnescaped(s, ';')
	}
	parts := SplitUnescaped(v, ';')
	for i, s := range parts {
		parts[i], _ = p.inUTF8(decodeQP(s))
	}
	return parts
}

func (p *Property) charset() string {
	c, _ := p.Param("CHARSET")
	return strings.ToUpper(c)
}

func (p *Property) tricky() bool {
	c := p.charset()
	for _, prefix := range [...]string{"SHIFT", "SJIS", "X-SJIS", "MS932", "WINDOWS-31J", "GB", "BIG5", "ISO-2022", "HZ", "UTF-16", "CP932"} {
		if strings.HasPrefix(c, prefix) {
			return true
		}
	}
	return false
}

func (p *Property) inUTF8(v string) (string, bool) {
	name := p.charset()
	if name == "" || name == "UTF-8" || name == "UTF8" || name == "US-ASCII" || name == "ASCII" {
		if utf8.ValidString(v) {
			return v, true
		}
		return guess(v), false
	}
	if e := charset(name); e != nil {
		if s, err := e.NewDecoder().String(v); err == nil && !strings.ContainsRune(s, utf8.RuneError) {
			return s, true
		}
	}
	if utf8.ValidString(v) {
		return v, isASCII(v)
	}
	return guess(v), false
}

// charset finds a character set by its name. UTF-16 can't be inside of lines, and
// "replacement" is none.
func charset(name string) encoding.Encoding {
	switch name {
	case "CP932", "MS932", "WINDOWS-31J", "SHIFT-JIS":
		name = "shift_jis"
	case "CP1252", "ANSI":
		name = "windows-1252"
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	if n, err := htmlindex.Name(e); err != nil || n == "replacement" {
		return nil
	}
	return e
}

// guess reads text of no known character set.
func guess(v string) string {
	s, err := charmap.Windows1252.NewDecoder().String(v)
	if err != nil {
		return strings.ToValidUTF8(v, "\ufffd")
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// newlines makes all line breaks LF.
func newlines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// Unescape undoes the backslash escapes of a dialect in a part of a value. A backslash
// that escapes nothing known stays.
func Unescape(s string, d Dialect) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		b.WriteString(s[:i])
		s = s[i:]
		if len(s) == 1 {
			b.WriteByte('\\')
			return b.String()
		}
		switch c := s[1]; c {
		case '\\', ';', ',', ':':
			b.WriteByte(c)
		case '"':
			if d.Old() {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		case 'n', 'N':
			b.WriteByte('\n')
		default:
			b.WriteString(s[:2])
		}
		s = s[2:]
		if i = strings.IndexByte(s, '\\'); i < 0 {
			b.WriteString(s)
			return b.String()
		}
	}
}

// Escape makes text a value, or a part of one, of a dialect. In the old ones line breaks
// stay, since quoted-printable takes care of them.
func Escape(s string, d Dialect) string {
	if !strings.ContainsAny(s, "\\;,\n\r") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for _, c := range []byte(newlines(s)) {
		switch {
		case c == '\\' || c == ';' || c == ',' && !d.Old():
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n' && !d.Old():
			b.WriteString(`\n`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// SplitUnescaped splits at each sep that no backslash is before. The parts keep their escapes.
func SplitUnescaped(s string, sep byte) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func unescapeCarets(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '^' && i+1 < len(s) {
			switch s[i+1] {
			case '^':
				b.WriteByte('^')
				i++
				continue
			case '\'':
				b.WriteByte('"')
				i++
				continue
			case 'n', 'N':
				b.WriteByte('\n')
				i++
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// decodeQP decodes quoted-printable whose soft breaks are gone already. What is no
// escape stays.
func decodeQP(s string) string {
	i := strings.IndexByte(s, '=')
	if i < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for ; i >= 0; i = strings.IndexByte(s, '=') {
		b = append(b, s[:i]...)
		s = s[i:]
		hi, lo := -1, -1
		if len(s) >= 3 {
			hi, lo = hexDigit(s[1]), hexDigit(s[2])
		}
		switch {
		case hi >= 0 && lo >= 0:
			b = append(b, byte(hi<<4|lo))
			s = s[3:]
		case len(s) == 1: // the soft break of a line that nothing follows
			s = ""
		default:
			b = append(b, '=')
			s = s[1:]
		}
	}
	return string(append(b, s...))
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

const hexDigits = "0123456789ABCDEF"

// encodeQP encodes text for a value; line breaks are to be CRLF. A semicolon and a
// backslash stay, since they structure the value.
func encodeQP(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/4)
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 0x7f && c != '=' || c == ' ' && i > 0 && i+1 < len(s) {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
	}
	return b.String()
}

// Binary returns the bytes of a value that is base64, quoted-printable or a data: URI,
// its media type if the value or a parameter says it ("" if not), and whether it is one of them and whole.
func (p *Property) Binary() (data []byte, mediaType string, ok bool) {
	mediaType, _ = p.Param("MEDIATYPE")
	if t, has := p.Param("FMTTYPE"); has {
		mediaType = t
	}
	v := p.Value()
	if len(v) >= 5 && strings.EqualFold(v[:5], "data:") {
		b, t, ok := dataURI(v)
		if t == "" {
			t = mediaType
		}
		return b, t, ok
	}
	switch p.encoding() {
	case "BASE64":
		data, ok = decodeBase64(v)
	case "QUOTED-PRINTABLE":
		data, ok = []byte(decodeQP(v)), true
	}
	return data, mediaType, ok
}

func dataURI(v string) (data []byte, mediaType string, ok bool) {
	head, body, found := strings.Cut(v[5:], ",")
	if !found {
		return nil, "", false
	}
	// Exports escape the comma and the semicolon, which URIs do not need.
	head = strings.ReplaceAll(head, `\`, "")
	mediaType, attributes, _ := strings.Cut(head, ";")
	if strings.HasSuffix(strings.ToLower(";"+attributes), ";base64") {
		data, ok = decodeBase64(strings.ReplaceAll(body, "%3D", "="))
		return data, mediaType, ok
	}
	s, err := url.PathUnescape(body)
	return []byte(s), mediaType, err == nil
}

// decodeBase64 is lenient about blanks, missing padding and the alphabet for URLs.
func decodeBase64(s string) ([]byte, bool) {
	b := make([]byte, 0, len(s))
	for _, c := range []byte(s) {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '-':
			c = '+'
		case '_':
			c = '/'
		}
		b = append(b, c)
	}
	b = bytes.TrimRight(b, "=")
	if len(b) == 0 {
		return nil, false
	}
	n, err := base64.RawStdEncoding.Decode(b, b)
	return b[:n], err == nil
}

// Check decodes the value and says what is wrong with it; "" is nothing.
func (p *Property) Check() Problem {
	if p.problem != "" {
		return p.problem
	}
	if p.encoding() == "BASE64" {
		if _, _, ok := p.Binary(); !ok {
			return ProblemBase64
		}
		return ""
	}
	v, ok := p.plain()
	if !ok {
		return ProblemCharset
	}
	for _, r := range v {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return ProblemControl
		}
	}
	return ""
}
