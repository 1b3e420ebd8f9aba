// Package wifiqr writes and reads the text that phones show as a QR code to share a
// wireless network ("WIFI:T:WPA;S:name;P:password;;"), and draws the code. The form is
// that of ZXing, which Android and iOS read. A picture that it draws carries the text as a
// PNG text chunk too, so that it can be read again without seeing.
package wifiqr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"unicode/utf8"

	"rsc.io/qr"
	"rsc.io/qr/coding"
)

// Field is one field of the text. Its value has no escapes.
type Field struct{ Name, Value string }

// Code is what a QR code says.
type Code []Field

// Errors.
var (
	ErrForm  = errors.New("wifiqr: not the text of a wireless network")
	ErrLarge = errors.New("wifiqr: too long for a code")
)

// MaxText is the longest text that a code holds, in bytes.
const MaxText = 2331

const scheme = "WIFI:"

// Get returns a field's value, "" if it is not there.
func (c Code) Get(name string) string {
	for _, f := range c {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// String returns the text, empty fields left out.
func (c Code) String() string {
	var b strings.Builder
	b.WriteString(scheme)
	for _, f := range c {
		if f.Value == "" {
			continue
		}
		b.WriteString(f.Name + ":")
		for i := 0; i < len(f.Value); i++ {
			if strings.IndexByte(`\;,:"`, f.Value[i]) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(f.Value[i])
		}
		b.WriteByte(';')
	}
	b.WriteByte(';')
	return b.String()
}

// Parse reads a text. Fields that it does not know are kept.
func Parse(text string) (Code, error) {
	text = strings.TrimRight(text, "\r\n")
	if len(text) > MaxText || len(text) < len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) {
		return nil, ErrForm
	}
	var c Code
	for rest := text[len(scheme):]; rest != "" && rest != ";"; {
		name, after, ok := strings.Cut(rest, ":")
		if !ok || name == "" || strings.ContainsAny(name, `;\`) {
			return nil, ErrForm
		}
		value, tail, closed := cutValue(after)
		if !closed {
			return nil, ErrForm
		}
		c = append(c, Field{strings.ToUpper(name), value})
		rest = tail
	}
	if c.Get("S") == "" {
		return nil, ErrForm
	}
	return c, nil
}

func cutValue(s string) (value, rest string, closed bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == ';':
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// keyword names the chunk that repeats the text.
const keyword = "decant-wifi"

var signature = []byte("\x89PNG\r\n\x1a\n")

// PNG draws the code.
func (c Code) PNG() ([]byte, error) {
	text := c.String()
	if len(text) > MaxText {
		return nil, ErrLarge
	}
	if !utf8.ValidString(text) {
		return nil, ErrForm
	}
	code, err := draw(text)
	if err != nil {
		return nil, err
	}
	picture := code.PNG()
	const head = 8 + 25 // the signature and IHDR
	body := append([]byte("iTXt"+keyword+"\x00\x00\x00\x00\x00"), text...)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)-4))
	chunk = append(chunk, body...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(body))
	return append(append(bytes.Clone(picture[:head]), chunk...), picture[head:]...), nil
}

// unicode announces UTF-8: without it, readers guess, and take what is not English for Chinese
// or Japanese (ISO/IEC 18004, 7.4.2: mode 0111, assignment 26).
type unicode struct{}

func (unicode) String() string                          { return "eci" }
func (unicode) Check() error                            { return nil }
func (unicode) Bits(coding.Version) int                 { return 12 }
func (unicode) Encode(b *coding.Bits, _ coding.Version) { b.Write(7, 4); b.Write(26, 8) }

func draw(text string) (*qr.Code, error) {
	parts := []coding.Encoding{coding.String(text)}
	if strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
		parts = []coding.Encoding{unicode{}, coding.String(text)}
	}
	for v := coding.Version(coding.MinVersion); v <= coding.MaxVersion; v++ {
		bits := 0
		for _, p := range parts {
			bits += p.Bits(v)
		}
		if bits > v.DataBytes(coding.M)*8 {
			continue
		}
		plan, err := coding.NewPlan(v, coding.M, 0)
		if err != nil {
			return nil, err
		}
		c, err := plan.Encode(parts...)
		if err != nil {
			return nil, err
		}
		return &qr.Code{Bitmap: c.Bitmap, Size: c.Size, Stride: c.Stride, Scale: 8}, nil
	}
	return nil, ErrLarge
}

// FromPNG reads the text out of a picture that PNG drew. It looks at no pixel.
func FromPNG(b []byte) (Code, error) {
	if !bytes.HasPrefix(b, signature) {
		return nil, ErrForm
	}
	for b = b[len(signature):]; len(b) >= 12; {
		n := int64(binary.BigEndian.Uint32(b))
		if n > int64(len(b))-12 {
			break
		}
		if text, ok := bytes.CutPrefix(b[4:8+n], []byte("iTXt"+keyword+"\x00\x00\x00\x00\x00")); ok {
			return Parse(string(text))
		}
		b = b[12+n:]
	}
	return nil, ErrForm
}
