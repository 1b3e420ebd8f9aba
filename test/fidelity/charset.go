package fidelity

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf8Text decodes UTF-16 that says so and removes the byte order mark of UTF-8.
func utf8Text(data []byte) []byte {
	switch {
	case bytes.HasPrefix(data, []byte("\ufeff")):
		return data[3:]
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		return wide(data[2:], 0, 1)
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return wide(data[2:], 1, 0)
	}
	return data
}

func wide(b []byte, low, high int) []byte {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, uint16(b[low])|uint16(b[high])<<8)
	}
	return []byte(string(utf16.Decode(units)))
}

// windows1252 is what the bytes 0x80 to 0x9f are; 0 is nothing.
var windows1252 = [32]rune{
	0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017d, 0,
	0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
}

// decodeCharset makes text of bytes. An unknown charset is named in front of them, so that they are equal to themselves only.
func decodeCharset(s, charset string) string {
	switch strings.ToUpper(strings.TrimSpace(charset)) {
	case "", "UTF-8", "UTF8", "US-ASCII", "ASCII":
		if utf8.ValidString(s) {
			return s
		}
		return latin(s, true)
	case "ISO-8859-1", "ISO8859-1", "LATIN1", "LATIN-1", "ISO_8859-1":
		return latin(s, false)
	case "WINDOWS-1252", "CP1252":
		return latin(s, true)
	}
	if ascii(s) {
		return s
	}
	return strings.ToUpper(charset) + "\x00" + s
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf || s[i] == 0x1b { // ISO-2022 shifts with escapes
			return false
		}
	}
	return true
}

func latin(s string, windows bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := rune(s[i])
		if windows && c >= 0x80 && c < 0xa0 && windows1252[c-0x80] != 0 {
			c = windows1252[c-0x80]
		}
		b.WriteRune(c)
	}
	return b.String()
}

// decodeQP undoes quoted-printable, whose soft breaks are gone already. What is no escape stays.
func decodeQP(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '=' && i+2 < len(s) {
			h, ok1 := unhex(s[i+1])
			l, ok2 := unhex(s[i+2])
			if ok1 && ok2 {
				b.WriteByte(h<<4 | l)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.TrimSuffix(b.String(), "=")
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
