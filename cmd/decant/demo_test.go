package main

import (
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
)

// TestNeedlesAreFoundInEveryForm hides a name and a piece of content and looks for them.
func TestNeedlesAreFoundInEveryForm(t *testing.T) {
	dir := t.TempDir()
	content := []byte("The quick brown fox jumps over the lazy dog, and 9876543210 other animals watch it do so; then they all go home again.")
	if err := os.WriteFile(filepath.Join(dir, "a-long-name.txt"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := newNeedles([]string{filepath.Join(dir, "a-long-name.txt")})
	if err != nil {
		t.Fatal(err)
	}
	if n.names != 1 || n.pieces != 1 || !n.works() {
		t.Fatalf("%s, works %v", n.what(), n.works())
	}
	filler := strings.Repeat("\x00\xff lorem ipsum ", 1000)
	for _, secret := range []string{"a-long-name.txt", string(content)} {
		for pre := range 3 {
			text := strings.Repeat("x", pre) + secret
			for form, hidden := range map[string]string{"raw": text, "hex": hex.EncodeToString([]byte(text)), "base64": base64.StdEncoding.EncodeToString([]byte(text))} {
				if n.search([]byte(filler+hidden+filler)) == 0 {
					t.Errorf("%s of %q at %d is not found", form, secret, pre)
				}
				path := filepath.Join(dir, "blob")
				// across the border of two pieces of the file
				if err := os.WriteFile(path, []byte(strings.Repeat("z", 4<<20-len(hidden)/2)+hidden), 0o600); err != nil {
					t.Fatal(err)
				}
				if hits, _, err := n.searchFile(path); err != nil || hits == 0 {
					t.Errorf("%s of %q at %d is not found in a file: %v", form, secret, pre, err)
				}
			}
		}
	}
	if hits := n.search([]byte(filler)); hits != 0 {
		t.Errorf("%d hits in nothing", hits)
	}
}

// TestComparisonFindsEveryDifference spoils one thing at a time.
func TestComparisonFindsEveryDifference(t *testing.T) {
	at := time.Unix(1_700_000_000, 123)
	write := func(t *testing.T, dir string) {
		for _, name := range []string{"d/a", "d/b"} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(name+" content"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(filepath.Join(dir, "d"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(string) error{
		"":           func(string) error { return nil },
		"missing":    func(d string) error { return os.Remove(filepath.Join(d, "d/a")) },
		"content":    func(d string) error { return os.WriteFile(filepath.Join(d, "d/a"), []byte("D/a content"), 0o644) },
		"shorter":    func(d string) error { return os.Truncate(filepath.Join(d, "d/a"), 3) },
		"time":       func(d string) error { return os.Chtimes(filepath.Join(d, "d/a"), at, at.Add(1)) },
		"mode":       func(d string) error { return os.Chmod(filepath.Join(d, "d/a"), 0o600) },
		"dir's time": func(d string) error { return os.Chtimes(filepath.Join(d, "d"), at, at.Add(time.Hour)) },
		"extra":      func(d string) error { return os.WriteFile(filepath.Join(d, "extra"), nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			write(t, src)
			write(t, dst)
			if err := spoil(dst); err != nil {
				t.Fatal(err)
			}
			c := &comparison{seen: map[string]bool{}}
			root := filepath.Join(src, "d")
			err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
				rel, _ := filepath.Rel(src, path)
				c.seen[rel] = true
				return c.one(path, filepath.Join(dst, rel), e, item.ReasonNone)
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.extra(dst, []string{".decant-x"}); err != nil {
				t.Fatal(err)
			}
			if (len(c.bad) > 0) != (name != "") {
				t.Errorf("found %q", c.bad)
			}
		})
	}
}
