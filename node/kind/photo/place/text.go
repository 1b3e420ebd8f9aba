package place

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/decant-dev/decant/node/format/takeout"
)

// names are XMP's properties that name a place, with the prefixes that writers use: coordinates (and all else of a
// receiver) in the first, what a person calls it in the second, drones in the third.
const names = `(?:[A-Za-z][\w.-]*:G(?:PS|ps)\w*|Iptc4xmpExt:Location(?:Created|Shown)|Iptc4xmpCore:(?:Location|CountryCode)|photoshop:(?:City|State|Country)|drone[\w-]*:(?:Latitude|Long(?:i|t)+tude|AbsoluteAltitude))`

var (
	attribute = regexp.MustCompile(`\s(` + names + `)\s*=\s*(?:"[^"<]*"|'[^'<]*')`)
	element   = regexp.MustCompile(`<(` + names + `)(?:\s[^<>]*)?>`)
)

// xmpAt looks into the XMP packet between two offsets.
func (f *finder) xmpAt(from, to int64) {
	if b := f.bytes(from, to); b != nil {
		f.difference("XMP", from, b, f.blankXMP(b))
	}
}

// maxElements is how many places one packet may name as elements: each is sought to its end.
const maxElements = 256

// blankXMP returns the packet with spaces in the place of its places.
func (f *finder) blankXMP(b []byte) []byte {
	out := bytes.Clone(b)
	for _, m := range attribute.FindAllIndex(b, -1) {
		blank(out[m[0]:m[1]])
	}
	for at, n := 0, 0; ; n++ {
		m := element.FindSubmatchIndex(out[at:])
		if m == nil {
			return out
		}
		if n == maxElements {
			f.unknown("it names more places than are taken out")
			return out
		}
		from, to := at+m[0], at+m[1]
		if out[to-2] != '/' {
			to = closing(out, to, string(out[at+m[2]:at+m[3]]))
		}
		blank(out[from:to])
		at = to
	}
}

// closing returns where the element ends whose start tag ends at an offset. One without an end ends with its text.
func closing(b []byte, at int, name string) int {
	end := []byte("</" + name)
	for from := at; ; {
		i := bytes.Index(b[from:], end)
		if i < 0 {
			break
		}
		rest := b[from+i+len(end):]
		if trimmed := bytes.TrimLeft(rest, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '>' {
			return len(b) - len(trimmed) + 1
		}
		from += i + len(end)
	}
	if i := bytes.IndexByte(b[at:], '<'); i >= 0 {
		return at + i
	}
	return len(b)
}

// blank overwrites text with spaces, and leaves its lines.
func blank(b []byte) {
	for i, c := range b {
		if c != '\n' && c != '\r' {
			b[i] = ' '
		}
	}
}

// coordinate is one number in Takeout's description of a picture ("geoData", "geoDataExif").
var coordinate = regexp.MustCompile(`"(?:latitude|longitude|altitude|latitudeSpan|longitudeSpan)"\s*:\s*(-?[0-9][0-9.eE+-]*)`)

// sidecar makes the numbers in Takeout's description of a picture 0, which is how Takeout says that it does not know. Other
// files whose names have the same form are left alone.
func (f *finder) sidecar() {
	if f.size > takeout.MaxSidecar {
		return
	}
	b := f.bytes(0, f.size)
	if _, ok := takeout.Parse(b); !ok {
		return
	}
	out := bytes.Clone(b)
	for _, m := range coordinate.FindAllSubmatchIndex(b, -1) {
		if number := out[m[2]:m[3]]; strings.Trim(string(number), "-0.eE+") != "" {
			copy(number, "0.0") // and of a shorter one the beginning
			if len(number) > 3 {
				blank(number[3:])
			} else if len(number) == 2 {
				copy(number, "0 ")
			}
		}
	}
	f.difference("sidecar", 0, b, out)
}

// iptcPlaces are the numbers of record 2 that name a place.
var iptcPlaces = map[byte]bool{26: true, 27: true, 90: true, 92: true, 95: true, 100: true, 101: true}

// iptcAt blanks the places in IPTC's records between two offsets.
func (f *finder) iptcAt(from, to int64) {
	b := f.bytes(from, to)
	out := bytes.Clone(b)
	for at := 0; at+5 <= len(b) && b[at] == 0x1c; {
		n := int(b[at+3])<<8 | int(b[at+4])
		if n > len(b)-at-5 { // the mark of a longer one is among these
			break
		}
		if b[at+1] == 2 && iptcPlaces[b[at+2]] {
			blank(out[at+5 : at+5+n])
		}
		at += 5 + n
	}
	f.difference("IPTC", from, b, out)
}
