package folder

import (
	"strings"

	"github.com/decant-dev/decant/node/item"
)

const maxComponent = item.MaxComponent

// portable reports whether a name may stand in a manifest as it is (manifest.CheckPath;
// a test compares the two): not one with control characters, which terminals obey; nor one
// that elsewhere would be a way out of a directory; nor, at the top, one that would be a
// drive or somebody's home.
func portable(name string, top bool) bool {
	if top && (len(name) >= 2 && name[1] == ':' && isLetter(name[0]) || name[0] == '\\' || name[0] == '~' && (len(name) == 1 || name[1] == '\\')) {
		return false
	}
	suspicious := false
	for i := range len(name) {
		c := name[i]
		if c < 0x20 || c == 0x7f {
			return false
		}
		suspicious = suspicious || c == '\\' || c == '%'
	}
	if !suspicious {
		return true // "." and ".." don't come out of a directory
	}
	for part := range strings.SplitSeq(name, `\`) {
		if dots := strings.NewReplacer("%2e", ".", "%2E", ".").Replace(part); dots == "." || dots == ".." {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// escape returns the name under which a file is moved: its own, or if that is not
// portable, one in which control characters, backslashes, '%', and at the top the colon
// of a drive and a tilde in front, are written as %XX.
func escape(name string, top bool) string {
	if portable(name, top) {
		return name
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c < 0x20 || c == 0x7f || c == '\\' || c == '%' || top && (i == 1 && c == ':' || i == 0 && c == '~') {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape returns the name that escape turned into this one below the top, and whether
// there is one.
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
	return raw, strings.IndexByte(raw, 0) < 0 && !portable(raw, false) && escape(raw, false) == name
}

func unhex(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }
