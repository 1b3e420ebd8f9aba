// Package wpasupplicant reads and writes wpa_supplicant.conf: global lines and blocks in
// braces, of which "network" are the wireless networks. It knows the form, not what the
// fields mean. The form is that of wpa_supplicant's config_file.c: one field a line,
// strings in double quotes without escapes, P"..." with escapes, all else bare; a "#"
// outside of quotes begins a comment.
package wpasupplicant

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// Field is one line of a block: its value is as it is written, with its quotes.
type Field struct{ Name, Value string }

// Block is what stands between "name={" and "}".
type Block struct {
	Name       string
	Fields     []Field
	Line       int // number of its first line, from 1
	Start, End int // where it stands in the file, whole lines
	Unclosed   bool
	Odd        []string // lines that are no fields
}

// File is what a configuration consists of. Globals are the lines outside of blocks.
type File struct {
	Globals []Field
	Blocks  []Block
	Odd     []int // numbers of lines outside of blocks that are neither
}

// Parse reads a configuration. It does not fail: what is not in the form is Odd.
func Parse(data []byte) File {
	var f File
	var open *Block
	for start, n := 0, 1; start < len(data); n++ {
		end := len(data)
		if i := bytes.IndexByte(data[start:], '\n'); i >= 0 {
			end = start + i + 1
		}
		text := clean(string(data[start:end]))
		name, value, isField := strings.Cut(text, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case text == "":
		case open != nil && text == "}":
			open.End = end
			f.Blocks = append(f.Blocks, *open)
			open = nil
		case open != nil && isField && name != "":
			open.Fields = append(open.Fields, Field{name, value})
		case open != nil:
			open.Odd = append(open.Odd, text)
		case isField && name != "" && value == "{":
			open = &Block{Name: name, Line: n, Start: start}
		case isField && name != "":
			f.Globals = append(f.Globals, Field{name, value})
		default:
			f.Odd = append(f.Odd, n)
		}
		start = end
	}
	if open != nil {
		open.End, open.Unclosed = len(data), true
		f.Blocks = append(f.Blocks, *open)
	}
	return f
}

// clean cuts blanks and the comment off a line.
func clean(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "#") {
		return ""
	}
	from := 0
	if first := strings.IndexByte(s, '"'); first >= 0 {
		from = strings.LastIndexByte(s, '"') // as wpa_supplicant does: the comment is behind the last quote
	}
	if i := strings.IndexByte(s[from:], '#'); i >= 0 {
		s = strings.TrimSpace(s[:from+i])
	}
	return s
}

// Get returns a field's value as it is written; of several the last one counts.
func (b *Block) Get(name string) (string, bool) {
	for i := len(b.Fields) - 1; i >= 0; i-- {
		if b.Fields[i].Name == name {
			return b.Fields[i].Value, true
		}
	}
	return "", false
}

// Bytes returns the block as it is written.
func (b *Block) Bytes() []byte {
	var out bytes.Buffer
	out.WriteString(b.Name + "={\n")
	for _, f := range b.Fields {
		out.WriteString("\t" + f.Name + "=" + f.Value + "\n")
	}
	out.WriteString("}\n")
	return out.Bytes()
}

// Unquote returns the bytes that a value stands for: a string in quotes, with or without escapes,
// or pairs of hexadecimal digits. ok is false if it is neither; then it is the value itself.
func Unquote(value string) (b []byte, ok bool) {
	switch {
	case len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"':
		return []byte(value[1 : len(value)-1]), true
	case len(value) >= 3 && value[:2] == `P"` && value[len(value)-1] == '"':
		return unescape(value[2 : len(value)-1]), true
	}
	if h, err := hex.DecodeString(value); err == nil && len(h) > 0 {
		return h, true
	}
	return []byte(value), false
}

// unescape reads the escapes of wpa_supplicant's printf_decode.
func unescape(s string) []byte {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch c := s[i]; {
		case strings.IndexByte(`nrte`, c) >= 0:
			out = append(out, "\n\r\t\x1b"[strings.IndexByte(`nrte`, c)])
		case c == 'x':
			n := 0
			for n < 2 && i+1+n < len(s) && isHex(s[i+1+n]) {
				n++
			}
			h := strings.Repeat("0", 2-n) + s[i+1:i+1+n]
			if b, err := hex.DecodeString(h); err == nil && n > 0 {
				out = append(out, b...)
			}
			i += n
		case c >= '0' && c <= '7':
			v, n := 0, 0
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				v = v*8 + int(s[i+n]-'0')
				n++
			}
			out = append(out, byte(v))
			i += n - 1
		default: // \\ and \"
			out = append(out, c)
		}
	}
	return out
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// Quote writes a string as a value: in quotes if each byte can stand there, else P"..." with escapes.
func Quote(s []byte) string {
	plain := true
	for _, c := range s {
		plain = plain && c >= 0x20 && c < 0x7f && c != '"'
	}
	if plain {
		return `"` + string(s) + `"`
	}
	var b strings.Builder
	b.WriteString(`P"`)
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= 0x20 && c < 0x7f && c != '#':
			b.WriteByte(c)
		default:
			b.WriteString(`\x` + hex.EncodeToString([]byte{c}))
		}
	}
	b.WriteByte('"')
	return b.String()
}

// QuoteSSID writes an SSID: a string in quotes, or hexadecimal digits.
func QuoteSSID(s []byte) string {
	for _, c := range s {
		if c < 0x20 || c >= 0x7f || c == '"' {
			return hex.EncodeToString(s)
		}
	}
	return `"` + string(s) + `"`
}
