// Package show makes untrusted text fit to be printed: names of files and contacts,
// labels of devices, words of a server. docs/SPEC.md section 9 says where it applies.
// What it returns contains no control character, nothing that reorders or hides text,
// and no invalid UTF-8, so it can't move a cursor, forge a line or look like another
// name; every other character stays as it is. It is for reading, not for parsing: the
// result does not always tell two names apart.
package show

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown is where a name is cut: longer than any path, short beside a screen log.
const maxShown = 4096

// Name returns s with everything dangerous written as an escape: control characters
// and bytes that are no UTF-8 as \x1b, characters that are invisible or change the
// direction of text as \u202e. It allocates only if something had to be escaped.
func Name(s string) string {
	cut := ""
	if len(s) > maxShown {
		s, cut = s[:maxShown], "…"
	}
	i := safe(s)
	if i == len(s) {
		return s + cut
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n <= 1 || r < 0x20 || r >= 0x7f && r < 0xa0:
			for _, c := range []byte(s[i : i+n]) {
				b.WriteString(`\x`)
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&15])
			}
		case dangerous(r) && !joins(s, i):
			if r > 0xffff {
				b.WriteString(`\U` + pad(strconv.FormatInt(int64(r), 16), 8))
			} else {
				b.WriteString(`\u` + pad(strconv.FormatInt(int64(r), 16), 4))
			}
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String() + cut
}

const hex = "0123456789abcdef"

func pad(s string, n int) string { return strings.Repeat("0", n-len(s)) + s }

// safe returns the length of the longest beginning of s that needs no escape.
func safe(s string) int {
	for i := 0; i < len(s); {
		if c := s[i]; c >= 0x20 && c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 || dangerous(r) && !joins(s, i) {
			return i
		}
		i += n
	}
	return len(s)
}

// dangerous reports whether a character is a control, is invisible, breaks lines or
// changes the direction of the text around it.
func dangerous(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r == 0x2028 || r == 0x2029: // line and paragraph separators
		return true
	case r == 0x034f || r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0 || r == 0x17b4 || r == 0x17b5: // invisible letters
		return true
	case r >= 0xfe00 && r <= 0xfe0f: // variation selectors belong to emoji
		return false
	}
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cs, r)
}

// joins reports whether what stands at s[i] is the joiner between two pictographs, which
// makes one of them.
func joins(s string, i int) bool {
	const joiner, pictographs = "\u200d", 0x2190
	if !strings.HasPrefix(s[i:], joiner) {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i+len(joiner):])
	return before >= pictographs && after >= pictographs && before != utf8.RuneError && after != utf8.RuneError &&
		!dangerous(before) && !dangerous(after)
}
