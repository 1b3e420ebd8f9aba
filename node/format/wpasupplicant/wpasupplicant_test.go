package wpasupplicant

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const sample = `ctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev
# a comment
country=DE
network={
	ssid="Home # 1" # comment
	psk="it's "quoted" "
	scan_ssid=1
}
cred={
	domain="example.org"
}
network={
	ssid=436166c3a9
	psk=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
`

func TestParse(t *testing.T) {
	f := Parse([]byte(sample))
	if len(f.Globals) != 2 || f.Globals[1] != (Field{"country", "DE"}) {
		t.Errorf("globals %v", f.Globals)
	}
	if len(f.Blocks) != 3 || !f.Blocks[2].Unclosed || f.Blocks[0].Unclosed || f.Blocks[1].Name != "cred" {
		t.Fatalf("blocks %+v", f.Blocks)
	}
	want := []Field{{"ssid", `"Home # 1"`}, {"psk", `"it's "quoted" "`}, {"scan_ssid", "1"}}
	if got := f.Blocks[0].Fields; !slices.Equal(got, want) {
		t.Errorf("fields %q", got)
	}
	if b, ok := Unquote("436166c3a9"); !ok || string(b) != "Café" {
		t.Errorf("%q %v", b, ok)
	}
	if b, ok := Unquote(`P"a\x41\n\"\\\101b"`); !ok || string(b) != "aA\n\"\\Ab" {
		t.Errorf("%q %v", b, ok)
	}
}

func TestQuote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SliceOf(rapid.Byte()).Draw(t, "s")
		if got, _ := Unquote(Quote(s)); !bytes.Equal(got, s) {
			t.Fatalf("%q became %q", s, got)
		}
		b := Block{Name: "network", Fields: []Field{{"ssid", QuoteSSID(append(s, 'x'))}, {"psk", Quote(s)}}}
		again := Parse(b.Bytes())
		if len(again.Blocks) != 1 || !slices.Equal(again.Blocks[0].Fields, b.Fields) {
			t.Fatalf("%q is read as %v", b.Fields, again)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range Parse(data).Blocks {
			if b.Start < 0 || b.End > len(data) || b.Start >= b.End {
				t.Fatalf("block at %d-%d of %d bytes", b.Start, b.End, len(data))
			}
			for _, field := range b.Fields {
				Unquote(field.Value)
			}
		}
	})
}
