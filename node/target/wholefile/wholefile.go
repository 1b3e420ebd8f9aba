// Package wholefile is what targets that are one file have in common: the file appears
// whole or not at all, keeps its permissions, and can be restored exactly.
package wholefile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/decant-dev/decant/node/target"
)

// File is a file that may not exist yet.
type File struct{ path string }

// Open resolves path, if it is a symbolic link, to what it leads to. It reads nothing.
func Open(path string) (*File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(abs)
	switch {
	case err == nil:
		abs = real
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
		if err != nil {
			return nil, err
		}
		if abs, err = follow(filepath.Join(dir, filepath.Base(abs))); err != nil {
			return nil, err
		}
	}
	if info, err := os.Stat(abs); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", abs)
	}
	return &File{abs}, nil
}

// follow resolves a link that leads nowhere yet, once.
func follow(path string) (string, error) {
	to, err := os.Readlink(path)
	if err != nil {
		return path, nil
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	if info, err := os.Lstat(to); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", fmt.Errorf("%s is a link that leads nowhere", path)
	}
	return to, nil
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Open opens the file; nil if it does not exist.
func (f *File) Open() (*os.File, error) {
	in, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return in, err
}

// Snapshot implements target.Whole.
func (f *File) Snapshot() ([]byte, error) {
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if b == nil && err == nil {
		b = []byte{}
	}
	return b, err
}

// Stream implements target.Whole.
func (f *File) Stream() (io.ReadCloser, error) {
	in, err := f.Open()
	if in == nil {
		return nil, err
	}
	return in, err
}

// Restore implements target.Whole.
func (f *File) Restore(before []byte, now [32]byte) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	if in == nil {
		return target.ErrEdited
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return err
	}
	if [32]byte(h.Sum(nil)) != now {
		return target.ErrEdited
	}
	if before == nil {
		if err := os.Remove(f.path); err != nil {
			return err
		}
		return syncDir(filepath.Dir(f.path))
	}
	return f.Replace(in, func(w io.Writer) error { _, err := w.Write(before); return err })
}

// Replace gives the file new content: it is written beside it, synced and renamed. was is
// the file as the caller has read it, nil if there was none; if it is another one by then,
// or was written to since, Replace returns target.ErrEdited. The permissions stay.
func (f *File) Replace(was *os.File, write func(io.Writer) error) error {
	var before fs.FileInfo
	if was != nil {
		var err error
		if before, err = was.Stat(); err != nil {
			return err
		}
	}
	return f.ReplaceSeen(before, write)
}

// ReplaceSeen is Replace for a caller that has looked at the file before it read it.
func (f *File) ReplaceSeen(seen fs.FileInfo, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(f.path)
	temp, err := os.CreateTemp(dir, ".decant-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			temp.Close()
			os.Remove(temp.Name())
		}
	}()
	if err := write(temp); err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	if seen != nil {
		mode = seen.Mode().Perm()
	}
	if err := temp.Chmod(mode); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if err := f.unchanged(seen); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), f.path); err != nil {
		return err
	}
	return syncDir(dir)
}

// unchanged reports ErrEdited if the file is not the one that was seen.
func (f *File) unchanged(seen fs.FileInfo) error {
	now, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && seen == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return target.ErrEdited
	case err != nil:
		return err
	case seen == nil || !os.SameFile(seen, now) || seen.Size() != now.Size() || !seen.ModTime().Equal(now.ModTime()):
		return target.ErrEdited
	}
	return nil
}

// syncDir makes a rename durable. Systems that can't sync a directory do not need it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
