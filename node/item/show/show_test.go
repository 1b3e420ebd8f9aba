package show

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestRT4RT5 shows every kind of character that must never reach a terminal.
func TestRT4RT5Escapes(t *testing.T) {
	for in, want := range map[string]string{
		"photo é 写真 👨‍👩‍👧.jpg": "photo é 写真 👨‍👩‍👧.jpg",
		"\x1b]0;pwn\x07":       `\x1b]0;pwn\x07`,
		"\x1b[2J":              `\x1b[2J`,
		"a\x9bb":               `a\x9bb`,
		"a\u009bb":             `a\xc2\x9bb`,
		"a\nb\r\tc\x7f":        `a\x0ab\x0d\x09c\x7f`,
		"a\x00.jpg":            `a\x00.jpg`,
		"\u202egpj.exe":        `\u202egpj.exe`,
		"a\u200bb\ufeff":       `a\u200bb\ufeff`,
		"a\u2028b":             `a\u2028b`,
		"\u2066x\u2069":        `\u2066x\u2069`,
		"\U000e0041":           `\U000e0041`,
		"a\u200db.exe":         `a\u200db.exe`,
		"bad\xff\xc0\xaf":      `bad\xff\xc0\xaf`,
		"\xed\xa0\x80":         `\xed\xa0\x80`,
		"\ufffd stays":         "\ufffd stays",
		"":                     "",
	} {
		if got := Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Name(strings.Repeat("x", 10000)); len(got) > maxShown+4 {
		t.Errorf("a name of 10,000 bytes is shown with %d", len(got))
	}
}

// FuzzName: whatever comes in, what goes out is valid, has nothing dangerous and is stable.
func FuzzName(f *testing.F) {
	f.Add("\x1b[2J\u202e\xff")
	f.Add(strings.Repeat("é", 3000))
	f.Fuzz(func(t *testing.T, s string) {
		out := Name(s)
		if !utf8.ValidString(out) {
			t.Fatalf("Name(%q) = %q is not valid UTF-8", s, out)
		}
		for i, r := range out {
			if dangerous(r) && !joins(out, i) {
				t.Fatalf("Name(%q) = %q contains %U", s, out, r)
			}
		}
		if len(s) < maxShown/6 && Name(out) != out {
			t.Fatalf("Name is not stable on %q", s)
		}
	})
}
