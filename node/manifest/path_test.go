package manifest_test

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
)

func TestRT1RT2RT3PathsAreRefused(t *testing.T) {
	for name, paths := range map[string][]string{
		"RT1 traversal": {"../../.ssh/authorized_keys", "a/../../b", `..\..\x`, "%2e%2e/", "%2e%2e/x", "a/.%2E/x", "%2E./x", "....//", "a/..", "..", "a/b/..",
			`a\..\..\b`, `a/..\x`, `x\..`, `a\.\b`},
		"RT2 absolute": {"/etc/cron.d/x", "//srv/share", `C:\x`, "C:x", "c:", `\\?\GLOBALROOT`, `\x`, "~/x", "~", `~\x`},
		"RT3 shape": {"", ".", "./a", "a/.", "a//b", "a/", "/", strings.Repeat("x", 256), "a/" + strings.Repeat("x", 256) + "/b",
			strings.Repeat("x/", 2499) + "xx", strings.Repeat("a/", 10_000) + "a", strings.Repeat("a/", 256) + "a"},
		"RT3 control": {"a\x00.jpg", "\n", "a\nb", "\r", "a\x7f", "\x1b]0;pwn\x07", "a/\tb"},
	} {
		for _, p := range paths {
			if err := manifest.CheckPath(p); !errors.Is(err, manifest.ErrPath) {
				t.Errorf("%s: %.40q gives %v", name, p, err)
			}
			if err := manifest.CheckPath(p); err != nil && len(p) > 3 && strings.Contains(err.Error(), p) {
				t.Errorf("the error tells the name: %v", err)
			}
		}
	}
}

func TestPathsAreKept(t *testing.T) {
	for _, p := range []string{"a", "a/b", "...", "a/.../b", ".bashrc", ".git/hooks/pre-commit", "a..b", "..a", "~a", "~$report.docx", "a/~", "%2f", "100%", "%2e%2e%2e",
		`dev-disk-by\x2duuid.swap`, `a\b`, "ab:c/d", "1:x", "CON", "nul.txt", "aux.", "trailing ", "file:stream", "é", "e\u0301", "gpj.exe\u202e", "\u200b", "\xff\xfe", "a\x9b[2J",
		"日本語", strings.Repeat("x", 255), strings.Repeat("a/", 255) + "a"} {
		if err := manifest.CheckPath(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// FuzzCheckPath holds the policy against path and filepath: what passes stays below
// the directory that it is joined to, on the system at hand and by the rules of Windows.
func FuzzCheckPath(f *testing.F) {
	for _, p := range []string{"a/b", "../x", `..\x`, "C:x", "~/x", "a\x00b", "%2e%2e/x", "a/./b", `a\b`, "\xff"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if manifest.CheckPath(p) != nil {
			return
		}
		if path.Clean(p) != p || path.IsAbs(p) || !filepath.IsLocal(p) || strings.ContainsAny(p, "\x00\r\n") {
			t.Fatalf("%q passes", p)
		}
		windows := strings.ReplaceAll(p, `\`, "/")
		for part := range strings.SplitSeq(windows, "/") {
			if part == ".." || part == "." {
				t.Fatalf("%q passes", p)
			}
		}
		if path.IsAbs(windows) || len(p) > 1 && p[1] == ':' && strings.ContainsAny(p[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Fatalf("%q passes", p)
		}
	})
}

// TestNaughtyNames takes every line of a public collection of awkward strings as a name.
func TestNaughtyNames(t *testing.T) {
	data, err := os.ReadFile("../../../shared/fixtures/names/minimaxir__big-list-of-naughty-strings/blns-odd.txt")
	if err != nil {
		t.Skip("the fixtures are not on this machine")
	}
	for line := range strings.Lines(string(data)) {
		name := strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "/", "_")
		if name == "" || len(name) > item.MaxComponent {
			continue
		}
		control := strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f })
		if err := manifest.CheckPath("x/" + name); (err != nil) != control {
			t.Errorf("%q: %v", name, err)
		}
	}
}
