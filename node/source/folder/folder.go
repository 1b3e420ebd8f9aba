// Package folder reads a collection from directories and files of this device's file
// system. It never follows a symbolic link inside a tree, not even one that takes the
// place of a directory between two steps: every directory is opened relative to the
// handle of its parent, with O_NOFOLLOW. docs/SPEC.md section 4.1 says which names and
// forms come out of it, section 9.1 which records.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/source"
)

// Folder is a source.Source over one or more roots.
type Folder struct {
	roots []root // in the order of their names, which is the order of a scan
	cache dirCache
}

var _ source.Source = (*Folder)(nil)

// root is one path that the person gave: a directory, or a file in its directory.
type root struct {
	name  string // its top-level name in the collection
	given string // the name that the person gave, which differs if name is escaped or numbered
	raw   string // the name behind it, which differs if that is a symbolic link
	dir   dir    // the directory itself, or the one that holds the file
	file  bool
}

// New opens the roots. The last element of each becomes a top-level name of the
// collection; a name that is taken gets " (2)". A root that is itself a symbolic link is
// followed: the person named it. The error names the root that can't be read.
func New(roots []string) (*Folder, error) {
	if len(roots) == 0 {
		return nil, errors.New("folder: no path given")
	}
	f := &Folder{cache: dirCache{entries: map[string]*cached{}}}
	taken := map[string]bool{}
	for _, p := range roots {
		r, err := openRoot(p)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("folder: %w", err)
		}
		r.name = freeName(r.name, r.file, taken)
		taken[r.name] = true
		f.roots = append(f.roots, r)
	}
	slices.SortFunc(f.roots, func(a, b root) int { return strings.Compare(a.name, b.name) })
	return f, nil
}

func openRoot(p string) (root, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return root{}, err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return root{}, err
	}
	fi, err := os.Stat(real)
	if err != nil {
		return root{}, err
	}
	name := filepath.Base(abs)
	if name == string(filepath.Separator) || strings.HasSuffix(name, ":") {
		name = "root" // the root of a file system has no name of its own
	}
	r := root{name: escape(name, true), given: name, raw: filepath.Base(real), file: !fi.IsDir()}
	if len(r.name) > maxComponent {
		return root{}, &fs.PathError{Op: "open", Path: p, Err: errors.New("name too long")}
	}
	at := real
	switch {
	case r.file && !fi.Mode().IsRegular():
		return root{}, &fs.PathError{Op: "open", Path: p, Err: source.ErrNotRegular}
	case r.file:
		at = filepath.Dir(real)
	}
	r.dir, err = openPath(at)
	return r, err
}

// freeName returns name, or the first of "name (2)", "name (3)" … that is not taken. The
// number of a file goes before its extension.
func freeName(name string, file bool, taken map[string]bool) string {
	if !taken[name] {
		return name
	}
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); file && i > 0 {
		stem, ext = name[:i], name[i:]
	}
	for n := 2; ; n++ {
		suffix := " (" + strconv.Itoa(n) + ")" + ext
		short := stem[:min(len(stem), maxComponent-len(suffix))]
		if c := short + suffix; !taken[c] {
			return c
		}
	}
}

// Close closes all handles.
func (f *Folder) Close() error {
	f.cache.closeAll()
	for _, r := range f.roots {
		r.dir.close()
	}
	f.roots = nil
	return nil
}

// lookup finds the root of a path.
func (f *Folder) lookup(top string) (*root, error) {
	for i := range f.roots {
		if f.roots[i].name == top {
			return &f.roots[i], nil
		}
	}
	return nil, source.ErrPath
}
