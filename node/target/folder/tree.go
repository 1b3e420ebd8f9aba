package folder

import (
	"container/list"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// maxOpenDirs bounds the directories that one tree holds open: enough that photos of
// many albums arriving at once don't thrash, few beside the usual limit of 1,024 files.
const maxOpenDirs = 256

// Tree is a directory and what lies below it, addressed by clean relative paths. It
// keeps the directories used last open, so that working in one costs one system call
// per file and no walk. Safe for concurrent use.
type Tree struct {
	top *Dir

	mu   sync.Mutex          // guards what follows
	open map[string]*openDir // by path
	lru  list.List           // of *openDir, the last used in front
}

// openDir is one cached directory. users counts who works in it; it is closed when it
// has been dropped from the cache and nobody does.
type openDir struct {
	*Dir
	path    string
	users   int
	dropped bool
	at      *list.Element
}

func newTree(top *Dir) *Tree { return &Tree{top: top, open: map[string]*openDir{}} }

// in calls f with a handle on the directory dir, which is created (with what the umask
// leaves of 0777) if make is set. The handle is valid until f returns.
func (t *Tree) in(dir string, make bool, f func(*Dir) error) error {
	if dir == "" {
		return f(t.top)
	}
	d, err := t.get(dir, make)
	if err != nil {
		return err
	}
	err = f(d.Dir)
	t.put(d)
	return err
}

func (t *Tree) get(dir string, make bool) (*openDir, error) {
	t.mu.Lock()
	if d := t.open[dir]; d != nil {
		d.users++
		if t.lru.Front() != d.at {
			t.lru.MoveToFront(d.at)
		}
		t.mu.Unlock()
		return d, nil
	}
	t.mu.Unlock()

	if dir[0] == '/' {
		return nil, ErrPath
	}
	var fresh *Dir
	parent, base := split(dir)
	err := t.in(parent, make, func(p *Dir) (err error) {
		fresh, err = p.OpenDir(base)
		if make && errors.Is(err, fs.ErrNotExist) {
			if err = p.Mkdir(base, MetaPerm); err == nil || errors.Is(err, ErrExist) {
				fresh, err = p.OpenDir(base)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t.add(strings.Clone(dir), fresh), nil
}

// add puts a directory just opened into the cache; if another goroutine was faster, its handle is used.
func (t *Tree) add(dir string, fresh *Dir) *openDir {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.open[dir]; d != nil {
		fresh.Close()
		d.users++
		return d
	}
	d := &openDir{Dir: fresh, path: dir, users: 1}
	d.at = t.lru.PushFront(d)
	t.open[dir] = d
	if t.lru.Len() > maxOpenDirs {
		t.drop(t.lru.Back().Value.(*openDir))
	}
	return d
}

func (t *Tree) put(d *openDir) {
	t.mu.Lock()
	d.users--
	if d.dropped && d.users == 0 {
		d.Close()
	}
	t.mu.Unlock()
}

// drop forgets a directory; t.mu is held.
func (t *Tree) drop(d *openDir) {
	t.lru.Remove(d.at)
	delete(t.open, d.path)
	if d.dropped = true; d.users == 0 {
		d.Close()
	}
}

// Forget closes the handles on dir ("" is all) and what lies below it: needed when it
// is moved away, because a handle moves with its directory.
func (t *Tree) Forget(dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, d := range t.open {
		if dir == "" || p == dir || strings.HasPrefix(p, dir) && p[len(dir)] == '/' {
			t.drop(d)
		}
	}
}

func (t *Tree) close() error {
	t.Forget("")
	return t.top.Close()
}

// at checks a path and calls f with its directory's handle and its last component.
func (t *Tree) at(path string, make bool, f func(d *Dir, base string) error) error {
	if path == "" || path[0] == '/' {
		return ErrPath
	}
	dir, base := split(path)
	return t.in(dir, make, func(d *Dir) error { return f(d, base) })
}

// Lstat describes what is at path. Where the directory is missing or is no directory
// there is nothing: Type Absent, and no error.
func (t *Tree) Lstat(path string) (in Info, err error) {
	if path == "" {
		return t.top.Stat()
	}
	err = t.at(path, false, func(d *Dir, base string) (err error) {
		in, err = d.Lstat(base)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotDirectory) {
		return Info{}, nil
	}
	return in, err
}

// WriteSynced creates a file that must not exist, with the user attributes of like as far
// as they can be kept, and makes its content durable.
func (t *Tree) WriteSynced(path string, data []byte, mtime int64, perm uint16, like *os.File) error {
	return t.at(path, true, func(d *Dir, base string) error {
		f, err := d.Create(base, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		copyXAttrs(f, like)
		if err == nil {
			err = f.Chmod(fs.FileMode(perm & MetaPerm))
		}
		if err == nil {
			err = d.Chtimes(base, mtime)
		}
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			d.Unlink(base)
		}
		return mapWrite(err)
	})
}

// Mkdir creates a directory and the missing ones above it; one that is there already is no error.
func (t *Tree) Mkdir(path string) error {
	return t.in(path, true, func(*Dir) error { return nil })
}

// Enter reports whether the directory at path can be opened: that it is one, and that
// we may look into it. Other errors are returned.
func (t *Tree) Enter(path string) (bool, error) {
	err := t.in(path, false, func(d *Dir) error { _, err := d.Lstat("x"); return err })
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotDirectory) {
		return false, nil
	}
	return err == nil, err
}

// OpenRead opens a regular file.
func (t *Tree) OpenRead(path string) (f *os.File, err error) {
	err = t.at(path, false, func(d *Dir, base string) error {
		f, err = d.OpenRead(base)
		return err
	})
	return f, err
}

// Remove unlinks a file or a link.
func (t *Tree) Remove(path string) error {
	return t.at(path, false, func(d *Dir, base string) error { return d.Unlink(base) })
}

// Rmdir removes an empty directory.
func (t *Tree) Rmdir(path string) error {
	t.Forget(path)
	return t.at(path, false, func(d *Dir, base string) error { return d.Rmdir(base) })
}

// Chmod sets permission bits; a link is refused.
func (t *Tree) Chmod(path string, perm uint16) error {
	return t.at(path, false, func(d *Dir, base string) error { return d.Chmod(base, perm) })
}

// Chtimes sets the modification time.
func (t *Tree) Chtimes(path string, mtime int64) error {
	if path == "" {
		return t.top.chtimesSelf(mtime)
	}
	return t.at(path, false, func(d *Dir, base string) error { return d.Chtimes(base, mtime) })
}

// SyncDir makes the entries of a directory durable.
func (t *Tree) SyncDir(dir string) error {
	return t.in(dir, false, func(d *Dir) error { return d.Sync() })
}

// Rename moves path in t to toPath in to, whose directory must exist and whose name
// must not (ErrExist). A directory keeps its own times.
func (t *Tree) Rename(path string, to *Tree, toPath string) error {
	return t.at(path, false, func(d *Dir, base string) error {
		return to.at(toPath, false, func(td *Dir, tbase string) error { return d.RenameExclusive(base, td, tbase) })
	})
}

// SwapIn puts path of t in the place of toPath of to and keeps the latter under path
// (see Swap).
func (t *Tree) SwapIn(path string, to *Tree, toPath, aside string) error {
	return t.at(path, false, func(d *Dir, base string) error {
		return to.at(toPath, false, func(td *Dir, tbase string) error { return Swap(d, base, td, tbase, aside) })
	})
}
