package corpus

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxDifferences is how many differences Compare describes.
const maxDifferences = 20

// Difference says how two trees are not the same.
type Difference struct {
	Count int      // of all differences
	Lines []string // the first of them: "path: what"
}

// Error describes the differences, one a line.
func (d *Difference) Error() string {
	s := fmt.Sprintf("corpus: %d differences:\n  %s", d.Count, strings.Join(d.Lines, "\n  "))
	if d.Count > len(d.Lines) {
		s += "\n  …"
	}
	return s
}

func (d *Difference) note(path, format string, args ...any) {
	if d.Count++; len(d.Lines) < maxDifferences {
		d.Lines = append(d.Lines, fmt.Sprintf("%q: ", path)+fmt.Sprintf(format, args...))
	}
}

// Compare compares two trees by the names, bytes, modification times and permission bits
// of their files and directories, the two directories themselves left out. What Decant
// does not move (symbolic links, devices, pipes) is passed over in a, but must not be in b.
// It returns a *Difference, or the error that kept it from comparing.
func Compare(a, b string) error {
	d := &Difference{}
	c := comparison{d: d, bufA: make([]byte, 1<<20), bufB: make([]byte, 1<<20)}
	if err := c.dirs(a, b, "."); err != nil {
		return err
	}
	if d.Count == 0 {
		return nil
	}
	return d
}

type comparison struct {
	d          *Difference
	bufA, bufB []byte
}

func (c *comparison) dirs(a, b, rel string) error {
	inA, err := list(a, true)
	if err != nil {
		return err
	}
	inB, err := list(b, false)
	if err != nil {
		return err
	}
	for len(inA) > 0 || len(inB) > 0 {
		switch {
		case len(inB) == 0 || len(inA) > 0 && inA[0].Name() < inB[0].Name():
			c.d.note(filepath.Join(rel, inA[0].Name()), "missing")
			inA = inA[1:]
		case len(inA) == 0 || inB[0].Name() < inA[0].Name():
			c.d.note(filepath.Join(rel, inB[0].Name()), "not in the original")
			inB = inB[1:]
		default:
			if err := c.entries(a, b, rel, inA[0], inB[0]); err != nil {
				return err
			}
			inA, inB = inA[1:], inB[1:]
		}
	}
	return nil
}

// list returns the entries of a directory by name, those that Decant moves or all.
func list(dir string, moved bool) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if moved {
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && !e.Type().IsRegular() })
	}
	return entries, err
}

func (c *comparison) entries(a, b, rel string, ea, eb fs.DirEntry) error {
	rel = filepath.Join(rel, ea.Name())
	a, b = filepath.Join(a, ea.Name()), filepath.Join(b, eb.Name())
	if ea.Type() != eb.Type() {
		c.d.note(rel, "is %v, was %v", eb.Type(), ea.Type())
		return nil
	}
	fa, err := os.Lstat(a)
	if err != nil {
		return err
	}
	fb, err := os.Lstat(b)
	if err != nil {
		return err
	}
	if !fa.ModTime().Equal(fb.ModTime()) {
		c.d.note(rel, "changed at %v, was %v", fb.ModTime().UTC(), fa.ModTime().UTC())
	}
	if fa.Mode().Perm() != fb.Mode().Perm() {
		c.d.note(rel, "has permissions %v, had %v", fb.Mode().Perm(), fa.Mode().Perm())
	}
	if ea.IsDir() {
		return c.dirs(a, b, rel)
	}
	if fa.Size() != fb.Size() {
		c.d.note(rel, "has %d bytes, had %d", fb.Size(), fa.Size())
		return nil
	}
	return c.bytes(a, b, rel)
}

func (c *comparison) bytes(a, b, rel string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	for at := int64(0); ; {
		na, errA := io.ReadFull(fa, c.bufA)
		nb, errB := io.ReadFull(fb, c.bufB)
		if na != nb || !bytes.Equal(c.bufA[:na], c.bufB[:nb]) {
			c.d.note(rel, "differs from byte %d on", at+firstDifference(c.bufA[:na], c.bufB[:nb]))
			return nil
		}
		at += int64(na)
		for _, err := range []error{errA, errB} {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

func firstDifference(a, b []byte) int64 {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(min(len(a), len(b)))
}
