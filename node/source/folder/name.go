package folder

import (
	"strings"

	"github.com/decant-dev/decant/node/item"
)

const maxComponent = item.MaxComponent

// portable reports whether a name may stand in a manifest as it is. What may not is
// rejected there, because no honest name of this shape is worth the harm a hostile one
// can do: control characters (which terminals obey), backslashes and drive prefixes
// (which are paths elsewhere), and a lone tilde.
func portable(name string) bool {
	if len(name) >= 2 && name[1] == ':' && isLetter(name[0]) || name == "~" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c == 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// escape returns the name under which a file is moved: its own, or if that is not
// portable, one in which the bytes at fault, and '%', are written as %XX.
func escape(name string) string {
	if portable(name) {
		return name
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c < 0x20 || c == 0x7f || c == '\\' || c == '%' || c == ':' && i == 1 || name == "~" {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape returns the name that escape turned into this one, and whether there is one.
func unescape(name string) (string, bool) {
	if strings.IndexByte(name, '%') < 0 {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b.WriteByte(name[i])
			continue
		}
		if i+2 >= len(name) {
			return "", false
		}
		hi, lo := unhex(name[i+1]), unhex(name[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	raw := b.String()
	return raw, !portable(raw) && escape(raw) == name && strings.IndexByte(raw, '/') < 0 && strings.IndexByte(raw, 0) < 0
}

func unhex(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }
