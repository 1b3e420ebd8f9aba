package contentline

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []string // each logical line
	}{
		{"plain", "A:1\r\nB:2\r\n", []string{"A:1\r\n", "B:2\r\n"}},
		{"no break at the end", "A:1\nB:2", []string{"A:1\n", "B:2"}},
		{"folded", "A:1\r\n 2\r\n\t3\r\nB:4", []string{"A:1\r\n 2\r\n\t3\r\n", "B:4"}},
		{"old break", "A:1\r 2\rB:3", []string{"A:1\r 2\r", "B:3"}},
		{"doubled break", "A:1\r\r\nB:2\r\r\n", []string{"A:1\r\r\n", "B:2\r\r\n"}},
		{"blank lines", "\r\n\r\nA:1\r\n\r\n", []string{"\r\n", "\r\n", "A:1\r\n", "\r\n"}},
		{"soft break", "N;ENCODING=QUOTED-PRINTABLE:=41=\r\n=42\r\nB:2", []string{"N;ENCODING=QUOTED-PRINTABLE:=41=\r\n=42\r\n", "B:2"}},
		{"soft break with a colon behind", "N;quoted-printable:a=\nb:c\nB:2", []string{"N;quoted-printable:a=\nb:c\n", "B:2"}},
		{"soft break before the end", "N;QUOTED-PRINTABLE:a=\nEND:VCARD\n", []string{"N;QUOTED-PRINTABLE:a=\n", "END:VCARD\n"}},
		{"no soft break in base64", "P;ENCODING=BASE64:ab=\nB:2", []string{"P;ENCODING=BASE64:ab=\n", "B:2"}},
		{"quoted-printable only in the value", "N:QUOTED-PRINTABLE=\nB:2", []string{"N:QUOTED-PRINTABLE=\n", "B:2"}},
		{"byte order marks", "\ufeffA:1\n\ufeffB:2\n", []string{"A:1\n", "B:2\n"}},
		{"rubbish", "\x00\xff\n=\n:::\n;", []string{"\x00\xff\n", "=\n", ":::\n", ";"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for s := NewScanner([]byte(c.data)); s.Next(); {
				got = append(got, c.data[s.Start:s.End])
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestProperty(t *testing.T) {
	for _, c := range []struct{ line, name, value, tzid string }{
		{"UID:abc", "UID", "abc", ""},
		{"item1.UID : abc ", "UID", "abc", ""},
		{"UI\r\n D:a\r\n bc\r\n", "UID", "abc", ""},
		{"DTSTART;TZID=Europe/Berlin:2024", "DTSTART", "2024", "Europe/Berlin"},
		{"DTSTART;X=\"a:b;TZID=no\";tzid=\"Europe/Berlin: old\":2024", "DTSTART", "2024", "Europe/Berlin: old"},
		{"DTSTART;TZID=Europe/\r\n Berlin;VALUE=DATE:20\r\n 24", "DTSTART", "2024", "Europe/Berlin"},
		{"ATTENDEE;CN=\"never closed:mailto:a", "ATTENDEE", "mailto:a", ""},
		{"N;QUOTED-PRINTABLE:=41=\r\n=42", "N", "=41=42", ""},
		{"nothing", "", "", ""},
	} {
		s := NewScanner([]byte(c.line))
		if !s.Next() {
			t.Fatalf("%q: no line", c.line)
		}
		v, _ := s.Value(100)
		tzid, _ := s.Param("TZID")
		if string(s.Name()) != c.name || string(v) != c.value || string(tzid) != c.tzid {
			t.Errorf("%q: got %q, %q, %q", c.line, s.Name(), v, tzid)
		}
		if s.Next() {
			t.Errorf("%q is more than one line", c.line)
		}
	}
	s := NewScanner([]byte("UID:12345"))
	s.Next()
	if _, ok := s.Value(4); ok {
		t.Error("a value longer than the limit was taken")
	}
}

func TestFingerprintIgnoresBreaks(t *testing.T) {
	want := Fingerprint([]byte("A:1\n 2\nB:3\n"))
	for _, same := range []string{"A:1\r\n 2\r\nB:3\r\n", "A:1\r\n 2\nB:3", "A:1\r 2\rB:3", "\ufeffA:1\n 2\nB:3\n", "A:1\r\r\n 2\r\r\nB:3\r\r\n"} {
		if Fingerprint([]byte(same)) != want {
			t.Errorf("%q has another fingerprint", same)
		}
	}
	for _, other := range []string{"A:1\n2\nB:3\n", "A:12\nB:3\n", "A:1\n 2\nB:3\n\n", "A:1\n 2\nB:3 \n"} {
		if Fingerprint([]byte(other)) == want {
			t.Errorf("%q has the same fingerprint", other)
		}
	}
	long := bytes.Repeat([]byte("x"), 1<<20)
	if Fingerprint(long) != Fingerprint(append(bytes.Clone(long), '\n')) {
		t.Error("a long line's fingerprint depends on its break")
	}
}

func TestNormalUID(t *testing.T) {
	for in, want := range map[string]string{
		"urn:uuid:4FBE8971-0BC3-424C-9C26-36C3E1EFF6B1": "4fbe8971-0bc3-424c-9c26-36c3e1eff6b1",
		"4FBE8971-0BC3-424C-9C26-36C3E1EFF6B1":          "4fbe8971-0bc3-424c-9c26-36c3e1eff6b1",
		"Case@Example.ORG":                              "Case@Example.ORG",
		"urn:uuid:not one":                              "urn:uuid:not one",
		"040000008200E00074C5B7101A82E008":              "040000008200E00074C5B7101A82E008",
	} {
		if got := NormalUID([]byte(in)); string(got) != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestRT18LinearTime passes over what makes quadratic splitters stand still: a million
// pieces take them minutes, and one that is linear a fraction of a second.
func TestRT18LinearTime(t *testing.T) {
	for name, piece := range map[string]string{
		"folds": "\r\n x", "soft breaks": "=\r\nx", "blank folds": "\r\n ", "colons": ":", "quotes": "\"", "equals": "=", "begins": "\nBEGIN:X", "marks": "\ufeff\n",
	} {
		data := []byte("N;QUOTED-PRINTABLE:" + strings.Repeat(piece, 1_000_000))
		start := time.Now()
		for s := NewScanner(data); s.Next(); {
			s.Name()
			s.Value(64)
			s.Param("TZID")
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{"A:1\r\n 2\r\n", "N;QUOTED-PRINTABLE:=\r\n=\r\n", "\ufeffBEGIN:VCARD\n", "a\rb\r", "A;B=\":\":c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		end := 0
		for s := NewScanner(data); s.Next(); {
			if gap := data[end:s.Start]; len(gap) > 0 && !bytes.Equal(gap, bom) || s.End <= s.Start && !bytes.HasPrefix(data[end:], bom) {
				t.Fatalf("line [%d,%d) follows %d", s.Start, s.End, end)
			}
			end = s.End
			s.Name()
			s.Param("X")
			if v, ok := s.Value(10); ok && len(v) > 10 {
				t.Fatalf("a value of %d bytes", len(v))
			}
		}
		if end != len(data) {
			t.Fatalf("ended at %d of %d", end, len(data))
		}
		for _, brk := range []string{"\n", "\r\n"} {
			if Fingerprint(AppendLines(nil, data, brk)) != Fingerprint(data) && bytes.IndexByte(data, '\n') >= 0 {
				t.Fatalf("the fingerprint changes with the break %q", brk)
			}
		}
	})
}

func ExampleScanner() {
	data := []byte("BEGIN:VCARD\r\nNOTE:one li\r\n ne\r\nEND:VCARD\r\n")
	for s := NewScanner(data); s.Next(); {
		v, _ := s.Value(100)
		fmt.Printf("%d-%d %s = %s\n", s.Start, s.End, s.Name(), v)
	}
	// Output:
	// 0-13 BEGIN = VCARD
	// 13-31 NOTE = one line
	// 31-42 END = VCARD
}
