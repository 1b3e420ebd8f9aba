package folder

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/decant-dev/decant/node/item"
)

// component reports whether name can be one component of a path: not empty, no
// separator, no NUL, not "." or "..". Every system call that takes a name asks it.
func component(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > item.MaxPath {
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c == '/' || c == 0 || (c == '\\' && backslashSeparates) {
			return false
		}
	}
	return true
}

// CheckPath says whether p is a relative path that stays below where it starts, is
// written in its one clean form and keeps to the limits of package item. It does not
// clean: what is not clean is an attack or a bug, and ErrPath. (Names that are merely
// awkward are MapName's business.)
func CheckPath(p string) error {
	switch {
	case p == "" || len(p) > item.MaxPath:
		return fmt.Errorf("path of %d bytes: %w", len(p), ErrPath)
	case p[0] == '/' || p[len(p)-1] == '/':
		return fmt.Errorf("absolute path or empty name: %w", ErrPath)
	}
	for depth, rest := 1, p; ; depth++ {
		name, more, ok := strings.Cut(rest, "/")
		if !component(name) || len(name) > item.MaxComponent || depth > item.MaxDepth {
			return fmt.Errorf("component %d of path: %w", depth, ErrPath)
		}
		if !ok {
			break
		}
		rest = more
	}
	if len(p) >= 2 && p[1] == ':' && (p[0]|0x20) >= 'a' && (p[0]|0x20) <= 'z' || strings.HasPrefix(p, `\\`) || strings.HasPrefix(p, "~/") {
		return fmt.Errorf("path of a drive, a share or a home: %w", ErrPath)
	}
	return nil
}

// Dir and Base split a clean relative path; Dir of a top-level name is "".
func split(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

// Split returns the directory ("" for the top) and the last component of a clean path.
func Split(p string) (dir, base string) { return split(p) }

// Join puts a component behind a directory ("" is the top).
func Join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// MapName returns the name under which the target can hold name, always a valid
// component of at most item.MaxComponent bytes and the same for the same input:
//
//   - control characters (below 0x20, and 0x7f) become %XX everywhere, so that no
//     file in the target can garble a terminal;
//   - where the target takes only valid UTF-8, other bytes become %XX;
//   - where the target has the rules of Windows, < > : " | ? * \ become %XX, a
//     trailing dot or space becomes %XX, and a reserved device name (CON, NUL, COM1, …,
//     with any extension) gets "_" behind its stem.
func (c *Caps) MapName(name string) string {
	out := name
	if c.mustEscape(name) {
		out = c.escape(name)
	}
	if c.WindowsNames {
		out = windowsName(out)
	}
	if out == name && len(out) <= item.MaxComponent {
		return name
	}
	return shorten(out, "", item.MaxComponent)
}

func (c *Caps) mustEscape(name string) bool {
	ascii := true
	for i := 0; i < len(name); i++ {
		b := name[i]
		if b < 0x20 || b == 0x7f || (c.WindowsNames && strings.IndexByte(windowsBad, b) >= 0) {
			return true
		}
		ascii = ascii && b < utf8.RuneSelf
	}
	return !ascii && !c.AnyBytes && !utf8.ValidString(name)
}

const windowsBad = `<>:"|?*\`

func (c *Caps) escape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		ch := name[i]
		bad := ch < 0x20 || ch == 0x7f || (r == utf8.RuneError && n == 1 && !c.AnyBytes) ||
			(c.WindowsNames && strings.IndexByte(windowsBad, ch) >= 0)
		if bad {
			fmt.Fprintf(&b, "%%%02X", ch)
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// windowsName avoids what Windows gives a meaning of its own.
func windowsName(name string) string {
	if last := name[len(name)-1]; last == '.' || last == ' ' {
		name = name[:len(name)-1] + fmt.Sprintf("%%%02X", last)
	}
	stem, ext, _ := strings.Cut(name, ".")
	if reserved(strings.TrimRight(stem, " ")) {
		name = stem + "_"
		if ext != "" {
			name += "." + ext
		}
	}
	return name
}

func reserved(stem string) bool {
	s := strings.ToUpper(stem)
	switch s {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	if rest, ok := strings.CutPrefix(s, "COM"); ok {
		return port(rest)
	}
	if rest, ok := strings.CutPrefix(s, "LPT"); ok {
		return port(rest)
	}
	return false
}

func port(s string) bool {
	switch s {
	case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return true
	}
	return false
}

// Beside returns the k-th name for something called name whose name is taken: "name
// (k).ext" for k ≥ 2, the name itself for k ≤ 1. The extension is what follows the
// last dot, unless that is the first character or dir is set.
func Beside(name string, k int, dir bool) string {
	if k <= 1 {
		return name
	}
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && !dir && len(name)-i <= 16 {
		stem, ext = name[:i], name[i:]
	}
	return shorten(stem, " ("+strconv.Itoa(k)+")"+ext, item.MaxComponent)
}

// shorten cuts stem between two characters so that it fits before suffix.
func shorten(stem, suffix string, limit int) string {
	if over := len(stem) + len(suffix) - limit; over > 0 {
		cut := len(stem) - over
		for cut > 0 && !utf8.RuneStart(stem[cut]) {
			cut--
		}
		stem = stem[:cut]
	}
	return stem + suffix
}

var folder = cases.Fold()

// Key returns what two names have in common that the target can't tell apart: the
// name itself where the target compares bytes, else the name folded and normalised.
func (c *Caps) Key(path string) string {
	if c.CaseSensitive && !c.Normalizes || asciiLower(path) {
		return path
	}
	if c.Normalizes || !c.CaseSensitive {
		path = norm.NFC.String(path)
	}
	if !c.CaseSensitive {
		path = norm.NFC.String(folder.String(path))
	}
	return path
}

func asciiLower(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return true
}

// stagingPrefix begins the names of staging directories; nothing of a collection may lie in one.
const stagingPrefix = ".decant-"

// ReservedTop reports whether a top-level name belongs to Decant itself.
func ReservedTop(name string) bool {
	return len(name) >= len(stagingPrefix) && strings.EqualFold(name[:len(stagingPrefix)], stagingPrefix)
}
