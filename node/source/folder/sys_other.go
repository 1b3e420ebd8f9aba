// Built with the tag portable, a Unix system uses this too: so its tests run where developers are.

//go:build !unix || portable

package folder

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/decant-dev/decant/node/source"
)

// dir is an open directory. os.Root keeps every step below it; links are refused by
// looking before and comparing after.
type dir struct{ root *os.Root }

// handle is an open file.
type handle struct{ f *os.File }

var errLink = errors.New("is a link")

func openPath(path string) (dir, error) {
	r, err := os.OpenRoot(path)
	return dir{r}, err
}

func (d dir) openDir(name string) (dir, error) {
	fi, err := d.root.Lstat(name)
	if err != nil {
		return dir{}, err
	}
	if !fi.IsDir() {
		return dir{}, errLink
	}
	r, err := d.root.OpenRoot(name)
	if err != nil {
		return dir{}, err
	}
	if now, err := r.Stat("."); err != nil || !os.SameFile(fi, now) {
		r.Close()
		return dir{}, errLink
	}
	return dir{r}, nil
}

func (d dir) open(name string) (handle, error) {
	fi, err := d.root.Lstat(name)
	if err != nil {
		return handle{}, err
	}
	if !fi.Mode().IsRegular() {
		return handle{}, source.ErrNotRegular
	}
	f, err := d.root.Open(name)
	if err != nil {
		return handle{}, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(fi, now) {
		f.Close()
		return handle{}, errLink
	}
	return handle{f}, nil
}

func (d dir) close() { d.root.Close() }

func (d dir) names([]byte) ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

type shape uint8

const (
	isSpecial shape = iota
	isRegular
	isDir
	isLink
)

type entry struct {
	source.Stat
	shape   shape
	special bool
	clamped bool
}

func (d dir) stat(name string) (entry, error) {
	fi, err := d.root.Lstat(name)
	if err != nil {
		return entry{}, err
	}
	return fromInfo(fi), nil
}

func (d dir) self() (entry, error) {
	fi, err := d.root.Stat(".")
	if err != nil {
		return entry{}, err
	}
	return fromInfo(fi), nil
}

func fromInfo(fi fs.FileInfo) entry {
	e := entry{Stat: source.Stat{Size: fi.Size(), Perm: uint16(fi.Mode().Perm()), Nlink: 1, Blocks: -1}}
	switch t := fi.ModTime(); { // what the years 1678 to 2262 don't hold is clamped
	case t.Year() <= 1678:
		e.ModTime, e.clamped = math.MinInt64, true
	case t.Year() >= 2262:
		e.ModTime, e.clamped = math.MaxInt64, true
	default:
		e.ModTime = t.UnixNano()
	}
	e.special = fi.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0
	switch {
	case fi.Mode().IsRegular():
		e.shape = isRegular
	case fi.IsDir():
		e.shape = isDir
	case fi.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0:
		e.shape = isLink
	}
	return e
}

func (h handle) stat() (source.Stat, bool, error) {
	fi, err := h.f.Stat()
	if err != nil {
		return source.Stat{}, false, err
	}
	e := fromInfo(fi)
	return e.Stat, e.shape == isRegular, nil
}

func (h handle) read(p []byte) (int, error) { return noEOF(h.f.Read(p)) }

func (h handle) readAt(p []byte, off int64) (int, error) { return noEOF(h.f.ReadAt(p, off)) }

// noEOF turns the end of the file into the system's way of saying it: no bytes, no error.
func noEOF(n int, err error) (int, error) {
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (h handle) close() { h.f.Close() }

func isSymlinkError(err error) bool { return errors.Is(err, errLink) }
