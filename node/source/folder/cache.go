package folder

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/decant-dev/decant/node/source"
)

// maxCached is how many directory handles stay open beside those in use: enough for
// eight readers of a tree in its own order, far below the usual limit of 1,024.
const maxCached = 128

// dirCache keeps directories open, so that reading a small file costs no walk from the
// root. A handle is evicted only while nobody uses it.
type dirCache struct {
	mu      sync.Mutex // guards everything below and the fields of each entry but dir
	entries map[string]*cached
	clock   uint64
}

type cached struct {
	dir    dir
	users  int
	used   uint64 // the clock when it was last asked for
	static bool   // a root's: not ours to close
}

// get returns the directory of a path, to be given back with put.
func (f *Folder) get(path string) (*cached, error) {
	c := &f.cache
	c.mu.Lock()
	if e := c.entries[path]; e != nil {
		c.clock++
		e.users, e.used = e.users+1, c.clock
		c.mu.Unlock()
		return e, nil
	}
	c.mu.Unlock()

	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		r, err := f.lookup(path)
		if err != nil {
			return nil, err
		}
		if r.file {
			return nil, fs.ErrNotExist
		}
		return c.add(path, &cached{dir: r.dir, static: true}), nil
	}
	if leaves(path[i+1:]) {
		return nil, source.ErrPath
	}
	parent, err := f.get(path[:i])
	if err != nil {
		return nil, err
	}
	d, err := openRaw(path[i+1:], parent.dir.openDir)
	c.put(parent)
	if err != nil {
		return nil, err
	}
	return c.add(path, &cached{dir: d}), nil
}

// leaves reports whether a name does not name an entry of its directory. A scan emits
// none of these; a caller that joined a path badly must not leave the tree by one.
func leaves(name string) bool { return name == "" || name == "." || name == ".." }

// openRaw opens a name as it stands in an item, or what it stands for if it is escaped.
func openRaw[T any](name string, open func(string) (T, error)) (T, error) {
	h, err := open(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	if raw, ok := unescape(name); ok {
		return open(raw)
	}
	return h, err
}

// add enters e unless another goroutine was faster, whose entry is returned then.
func (c *dirCache) add(path string, e *cached) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	if old := c.entries[path]; old != nil {
		e.close()
		old.users, old.used = old.users+1, c.clock
		return old
	}
	if len(c.entries) >= maxCached {
		c.evict()
	}
	e.users, e.used = 1, c.clock
	c.entries[strings.Clone(path)] = e
	return e
}

// evict closes the entry that nobody has used for longest. c.mu is held.
func (c *dirCache) evict() {
	var oldest string
	var victim *cached
	for p, e := range c.entries {
		if e.users == 0 && (victim == nil || e.used < victim.used) {
			oldest, victim = p, e
		}
	}
	if victim != nil {
		delete(c.entries, oldest)
		victim.close()
	}
}

func (c *dirCache) put(e *cached) {
	c.mu.Lock()
	e.users--
	c.mu.Unlock()
}

func (e *cached) close() {
	if !e.static {
		e.dir.close()
	}
}

func (c *dirCache) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, e := range c.entries {
		delete(c.entries, p)
		e.close()
	}
}
