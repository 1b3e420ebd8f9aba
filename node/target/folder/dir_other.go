//go:build (!linux && !darwin) || portable

package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// replacesEmptyDir: a directory is never renamed over another one here, and the system refuses to.
const replacesEmptyDir = false

// This file is the implementation for systems without openat. The tag portable puts it
// in the place of the others, so that it is tested where they are at home.

// Dir is a directory below the target, named through the one os.Root of the target.
// Every component is checked to be a directory and no link when it is opened; os.Root
// sees to it that nothing leaves the target even if that changes later.
type Dir struct {
	top *os.Root
	rel string
}

func openTop(dir string) (*Dir, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Dir{r, "."}, nil
}

// Close closes the handle.
func (d *Dir) Close() error {
	if d.rel == "." {
		return d.top.Close()
	}
	return nil
}

func (d *Dir) at(name string) string { return path.Join(d.rel, name) }

// OpenDir opens a directory below d; it fails with ErrNotDirectory for anything else, links included.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	in, err := d.Lstat(name)
	if err != nil {
		return nil, err
	}
	if in.Type == Absent {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if in.Type != Directory {
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNotDirectory}
	}
	return &Dir{d.top, d.at(name)}, nil
}

// Mkdir creates a directory with perm less the umask.
func (d *Dir) Mkdir(name string, perm uint16) error {
	if !component(name) {
		return ErrPath
	}
	return d.top.Mkdir(d.at(name), fs.FileMode(perm&MetaPerm))
}

// Lstat describes a name; a name that is not there is an Info of Type Absent, not an error.
func (d *Dir) Lstat(name string) (Info, error) {
	if !component(name) {
		return Info{}, ErrPath
	}
	fi, err := d.top.Lstat(d.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, nil
	}
	if err != nil {
		return Info{}, err
	}
	return infoOf(fi), nil
}

// Stat describes the directory itself.
func (d *Dir) Stat() (Info, error) {
	fi, err := d.top.Lstat(d.rel)
	if err != nil {
		return Info{}, err
	}
	return infoOf(fi), nil
}

func infoOf(fi fs.FileInfo) Info {
	i := Info{Type: Other, Perm: uint16(fi.Mode().Perm()), Nlink: 1, Size: fi.Size(), ModTime: fi.ModTime().UnixNano(), Blocks: -1}
	switch m := fi.Mode(); {
	case m.IsRegular():
		i.Type = Regular
	case m&(fs.ModeSymlink|fs.ModeIrregular) != 0:
		i.Type = Link
	case m.IsDir():
		i.Type = Directory
	}
	return i
}

// WriteFile creates a file that must not exist, with its content, time and
// permissions. On failure nothing of that name remains.
func (d *Dir) WriteFile(name string, data []byte, mtime int64, perm, bare uint16) error {
	f, err := d.Create(name, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && perm != bare {
		err = f.Chmod(fs.FileMode(perm & MetaPerm))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.Chtimes(name, mtime)
	}
	if err != nil {
		d.Unlink(name)
	}
	return mapWrite(err)
}

// Create creates a file that must not exist and opens it for reading and writing.
func (d *Dir) Create(name string, perm uint16) (*os.File, error) {
	if !component(name) {
		return nil, ErrPath
	}
	f, err := d.top.OpenFile(d.at(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, fs.FileMode(perm&MetaPerm))
	return f, mapWrite(err)
}

// OpenRead opens a regular file for reading; links and pipes are refused.
func (d *Dir) OpenRead(name string) (*os.File, error) { return d.open(name, os.O_RDONLY) }

// OpenWrite opens an existing regular file for reading and writing.
func (d *Dir) OpenWrite(name string) (*os.File, error) { return d.open(name, os.O_RDWR) }

func (d *Dir) open(name string, flags int) (*os.File, error) {
	before, err := d.Lstat(name)
	if err != nil {
		return nil, err
	}
	if before.Type == Absent {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if before.Type != Regular {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	return d.top.OpenFile(d.at(name), flags, 0)
}

var errNotRegular = errors.New("not a regular file of its own")

// Unlink removes a file or link.
func (d *Dir) Unlink(name string) error {
	if !component(name) {
		return ErrPath
	}
	return d.top.Remove(d.at(name))
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error {
	err := d.Unlink(name)
	if err == nil {
		return nil
	}
	sub := &Dir{d.top, d.at(name)}
	if names, lerr := sub.Names(1); lerr == nil && len(names) > 0 {
		return fmt.Errorf("%w: %w", ErrNotEmpty, err)
	}
	return err
}

// Chmod sets the nine permission bits of a file or directory that is no link.
func (d *Dir) Chmod(name string, perm uint16) error {
	if !component(name) {
		return ErrPath
	}
	return d.top.Chmod(d.at(name), fs.FileMode(perm&MetaPerm))
}

// Chtimes sets the modification time, and the access time to the same.
func (d *Dir) Chtimes(name string, mtime int64) error {
	if !component(name) {
		return ErrPath
	}
	return d.top.Chtimes(d.at(name), time.Unix(0, mtime), time.Unix(0, mtime))
}

// chtimesSelf sets the modification time of the directory itself.
func (d *Dir) chtimesSelf(mtime int64) error {
	return d.top.Chtimes(d.rel, time.Unix(0, mtime), time.Unix(0, mtime))
}

// Link gives the file a second name in another directory.
func (d *Dir) Link(name string, to *Dir, toName string) error {
	if !component(name) || !component(toName) {
		return ErrPath
	}
	return d.top.Link(d.at(name), to.at(toName))
}

func (d *Dir) replace(name string, to *Dir, toName string) error {
	if !component(name) || !component(toName) {
		return ErrPath
	}
	return d.top.Rename(d.at(name), to.at(toName))
}

// RenameExclusive moves a name to a name that must not exist (ErrExist).
func (d *Dir) RenameExclusive(name string, to *Dir, toName string) error {
	return renameSlowly(d, name, to, toName)
}

func (d *Dir) exchange(string, *Dir, string) error { return errUnsupported }

// Names lists the directory in no particular order, at most limit names (all if limit ≤ 0).
func (d *Dir) Names(limit int) ([]string, error) {
	f, err := d.top.Open(d.rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if err == io.EOF {
		err = nil
	}
	return names, err
}

// Sync makes the directory's entries durable, where directories can be synced.
func (d *Dir) Sync() error {
	f, err := d.top.Open(d.rel)
	if err != nil {
		return err
	}
	defer f.Close()
	f.Sync() // Windows refuses it for directories and needs none
	return nil
}

func (d *Dir) syncAll() error       { return errUnsupported }
func (d *Dir) free() (int64, error) { return -1, nil }

func setXAttr(*os.File, string, []byte) error   { return errUnsupported }
func getXAttr(*os.File, string) ([]byte, error) { return nil, errUnsupported }

// DropCache asks the system to forget the file's pages, where it can.
func DropCache(*os.File) {}

func copyXAttrs(*os.File, *os.File) {}

// BootID names this run of the kernel; unknown here.
func BootID() string { return "" }

func mapWrite(err error) error {
	if err != nil && isNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
