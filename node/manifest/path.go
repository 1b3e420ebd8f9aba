package manifest

import (
	"fmt"

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
// them, and told apart or escaped by whoever writes or shows them. A source lists an
// item whose name is not allowed under another one, and reports that.
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
