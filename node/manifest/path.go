package manifest

import (
	"fmt"
	"strings"

	"github.com/decant-dev/decant/node/item"
)

// CheckPath says whether a path may stand in a manifest. It may if it is relative,
// has 1 to item.MaxDepth components between single slashes, of 1 to item.MaxComponent
// bytes each and item.MaxPath in all, and could mean nothing else to any system:
//
//   - no component is "." or "..", also if a backslash separated components, or a
//     program turned %2e into a dot;
//   - it does not begin like an absolute path, a drive ("C:") or a home directory
//     ("~/"), with slashes or backslashes;
//   - it has no control character (0x00–0x1f, 0x7f).
//
// Any other byte is allowed, also what is not UTF-8: names are kept as the source has
// them, and told apart or escaped by whoever writes or shows them. A source gives an
// item whose name is not allowed another one with SafePath and reports that.
func CheckPath(p string) error { return checkPath(p) }

func checkPath[T ~string | ~[]byte](p T) error {
	if len(p) == 0 || len(p) > item.MaxPath {
		return fmt.Errorf("%w: %d bytes", ErrPath, len(p))
	}
	if p[0] == '\\' || len(p) >= 2 && p[1] == ':' && isLetter(p[0]) || p[0] == '~' && (len(p) == 1 || isSeparator(p[1])) {
		return fmt.Errorf("%w: absolute", ErrPath)
	}
	depth, component, part := 1, 0, 0 // where the component and the part of it behind the last backslash begin
	for i := 0; i <= len(p); i++ {
		c := byte('/')
		if i < len(p) {
			c = p[i]
		}
		switch {
		case c == '/':
			if i == component || i-component > item.MaxComponent || isDots(p[part:i]) {
				return fmt.Errorf("%w: component at byte %d", ErrPath, component)
			}
			if i < len(p) {
				depth++
			}
			component, part = i+1, i+1
		case c == '\\':
			if isDots(p[part:i]) {
				return fmt.Errorf("%w: component at byte %d", ErrPath, component)
			}
			part = i + 1
		case c < 0x20 || c == 0x7f:
			return fmt.Errorf("%w: control character at byte %d", ErrPath, i)
		}
	}
	if depth > item.MaxDepth {
		return fmt.Errorf("%w: %d components", ErrPath, depth)
	}
	return nil
}

func isLetter(c byte) bool    { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isSeparator(c byte) bool { return c == '/' || c == '\\' }

// isDots reports whether a name is "." or "..", or %2e in place of a dot.
func isDots[T ~string | ~[]byte](name T) bool {
	if len(name) == 0 || len(name) > 6 || name[0] != '.' && name[0] != '%' {
		return false
	}
	dots := 0
	for i := 0; i < len(name); dots++ {
		switch {
		case name[i] == '.':
			i++
		case len(name)-i >= 3 && name[i] == '%' && name[i+1] == '2' && name[i+2]|0x20 == 'e':
			i += 3
		default:
			return false
		}
	}
	return dots <= 2
}

// SafePath returns the path under which a source lists an item: p itself if CheckPath
// allows it, else p with the bytes that it does not allow written as %XX. changed tells
// which. ok is false if there is no such path (too long, too deep, empty component): then
// the item can't be moved and is a loss. Two names of one directory may become the
// same; the source must look.
func SafePath(p string) (safe string, changed, ok bool) {
	if CheckPath(p) == nil {
		return p, false, true
	}
	parts := strings.Split(p, "/")
	for i, name := range parts {
		parts[i] = safeName(name, i == 0)
	}
	safe = strings.Join(parts, "/")
	return safe, true, CheckPath(safe) == nil
}

// safeName escapes control characters; and, where CheckPath would take offence at them,
// backslashes, the percent sign of an encoded dot, a colon, a tilde or dots.
func safeName(name string, first bool) string {
	escape := func(c byte) bool { return c < 0x20 || c == 0x7f }
	switch {
	case first && len(name) >= 2 && name[1] == ':' && isLetter(name[0]):
		return name[:1] + "%3A" + safeName(name[2:], false)
	case first && (name == "~" || strings.HasPrefix(name, `~\`)):
		return "%7E" + safeName(name[1:], false)
	case first && strings.HasPrefix(name, `\`):
		return "%5C" + safeName(name[1:], false)
	}
	if dotted(name) {
		escape = func(c byte) bool { return c < 0x20 || c == 0x7f || c == '\\' || c == '%' }
	}
	var b strings.Builder
	for i := range len(name) {
		if escape(name[i]) {
			fmt.Fprintf(&b, "%%%02X", name[i])
		} else {
			b.WriteByte(name[i])
		}
	}
	return b.String()
}

// dotted reports whether a part of name between backslashes is dots.
func dotted(name string) bool {
	for part := range strings.SplitSeq(name, `\`) {
		if isDots(part) {
			return true
		}
	}
	return false
}
