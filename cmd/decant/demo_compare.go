package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
)

// measure counts the regular files below paths and their bytes.
func measure(paths []string) (sum item.Tally, err error) {
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil // the engine will say what it can't read
			}
			if info, err := e.Info(); err == nil {
				sum.Add(info.Size())
			}
			return nil
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// comparison is what came of comparing what was sent with what arrived.
type comparison struct {
	files, dirs int64
	notMoved    int64    // and listed by the engine
	bad         []string // what is wrong
	seen        map[string]bool
}

// compare looks at every file that was sent, knowing nothing of how it was sent.
// keep are the names in the target of what undo needs, and of what was gathered.
func (d *demo) compare(to string, keep ...string) error {
	c := &comparison{seen: map[string]bool{}}
	for _, root := range d.paths {
		root, err := filepath.Abs(root)
		if err != nil {
			return err
		}
		err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(filepath.Dir(root), path)
			if err != nil {
				return nil
			}
			c.seen[rel] = true
			return c.one(path, filepath.Join(to, rel), e, d.lost(rel))
		})
		if err != nil {
			return err
		}
	}
	extra, err := c.extra(to, keep)
	if err != nil {
		return err
	}
	for _, line := range c.bad[:min(len(c.bad), 10)] {
		d.screen.Say("check: %s", line)
	}
	d.check(len(c.bad) == 0, "same bytes, times and permissions: %s, %s", ui.Plural(c.files, "file"), ui.Plural(c.dirs, "directory"))
	d.check(extra == 0, "nothing else in the new directory, beside records and what undo needs")
	if lines := d.lossLines(); len(lines) > 0 {
		d.screen.Lines(append([]string{"", "What did not move, or not as it was:"}, lines...)...)
	}
	return nil
}

// lost reports whether the engine said that it did not keep an item, or not as it was.
func (d *demo) lost(rel string) item.Reason {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.losses[filepath.ToSlash(rel)].Reason
}

func (d *demo) lossLines() (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.losses {
		lines = append(lines, "  "+ui.LossLine(l))
	}
	slices.Sort(lines)
	return lines
}

// one compares an item. What the engine listed as not moved must not be there.
func (c *comparison) one(src, dst string, e fs.DirEntry, reason item.Reason) error {
	if !e.Type().IsRegular() && !e.IsDir() {
		if reason == item.ReasonNone {
			c.wrong(dst, "is neither file nor directory, and was left out without a word")
		}
		c.notMoved++
		return nil
	}
	want, err := os.Lstat(src)
	if err != nil {
		return err
	}
	got, err := os.Lstat(dst)
	if errors.Is(err, fs.ErrNotExist) {
		if reason == item.ReasonNone {
			c.wrong(dst, "is missing")
		}
		c.notMoved++
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case got.Mode() != want.Mode() && reason != item.ReasonPerm:
		c.wrong(dst, "has the mode "+got.Mode().String()+", not "+want.Mode().String())
	case !got.ModTime().Equal(want.ModTime()) && reason != item.ReasonTime:
		c.wrong(dst, "has the time "+got.ModTime().String()+", not "+want.ModTime().String())
	}
	if e.IsDir() {
		c.dirs++
		return nil
	}
	c.files++
	same, err := sameBytes(src, dst)
	if err == nil && !same {
		c.wrong(dst, "has other content")
	}
	return err
}

func (c *comparison) wrong(path, what string) { c.bad = append(c.bad, show.Name(path)+" "+what) }

// extra counts what lies in the target and was not sent, but for keep.
func (c *comparison) extra(to string, keep []string) (n int, err error) {
	err = filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(to, path)
		if slices.Contains(keep, rel) {
			return filepath.SkipDir
		}
		if rel != "." && !c.seen[rel] {
			c.wrong(path, "was not sent")
			n++
		}
		return nil
	})
	return n, err
}

func sameBytes(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	ba, bb := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, errA := io.ReadFull(fa, ba)
		m, errB := io.ReadFull(fb, bb)
		if !bytes.Equal(ba[:n], bb[:m]) {
			return false, nil
		}
		ended := func(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
		if ended(errA) || ended(errB) {
			return ended(errA) && ended(errB), nil
		}
		if errA != nil || errB != nil {
			return false, errors.Join(errA, errB)
		}
	}
}
