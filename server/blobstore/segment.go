package blobstore

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// segmentBytes is about the size of a full segment file: large enough that a big session has few
// files, small enough that unlinking one doesn't stall the disk.
const segmentBytes = 64 << 20

// slotsOf is the number of slots in a segment of the class: 256 of class S, 16 of class L.
func slotsOf(c wire.Class) uint32 {
	if c == wire.ClassS {
		return segmentBytes / wire.BlobSizeS
	}
	return segmentBytes / (4 << 20)
}

// place returns the segment of a slot and the offset in it.
func place(c wire.Class, slot uint32) (segment uint32, at int64) {
	n := slotsOf(c)
	return slot / n, int64(slot%n) * int64(c.BlobSize())
}

// fileName names a segment file.
type fileName struct {
	session id.Session
	number  uint32
}

// path returns the file's directory and path below dir.
func (n fileName) path(f db.FS, dir string) (parent, path string) {
	hex := n.session.String()
	parent = f.PathJoin(dir, hex[:2])
	return parent, f.PathJoin(parent, hex+"-"+strconv.FormatUint(uint64(n.number), 10))
}

// parseFileName undoes the last element of path.
func parseFileName(base string) (n fileName, ok bool) {
	hex, number, found := strings.Cut(base, "-")
	sid, err := id.ParseSession(hex)
	i, err2 := strconv.ParseUint(number, 10, 32)
	if !found || err != nil || err2 != nil {
		return n, false
	}
	return fileName{sid, uint32(i)}, true
}

// segment is an open segment file, counted by its users.
type segment struct {
	vfs.File
	cache *fileCache
	name  fileName
	users int           // guarded by cache.mu
	place *list.Element // in cache.idle, nil while in use

	mu    sync.Mutex // guards entry
	entry bool       // the directory entry is durable
}

// fileCache holds segment files open, up to a number that only files in use may exceed.
type fileCache struct {
	fs  db.FS
	dir string
	max int

	mu     sync.Mutex // guards the rest
	opened map[fileName]*segment
	idle   *list.List // of *segment without users, the longest idle in front
}

func newFileCache(f db.FS, dir string, max int) *fileCache {
	return &fileCache{fs: f, dir: dir, max: max, opened: map[fileName]*segment{}, idle: list.New()}
}

// open returns the segment with one more user. Without create, an absent file is fs.ErrNotExist.
func (c *fileCache) open(n fileName, create bool) (*segment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.opened[n]; s != nil {
		if s.users++; s.place != nil {
			c.idle.Remove(s.place)
			s.place = nil
		}
		return s, nil
	}
	parent, path := n.path(c.fs, c.dir)
	_, err := c.fs.Stat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && (!fresh || !create) {
		return nil, err
	}
	if fresh {
		if err := db.MakeDir(c.fs, parent); err != nil {
			return nil, err
		}
	}
	f, err := c.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	// A file found on the disk may have been created just before a crash, so its entry is synced once again too.
	s := &segment{File: f, cache: c, name: n, users: 1}
	c.opened[n] = s
	c.shrink()
	return s, nil
}

// release gives up one use.
func (s *segment) release() {
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	if c.opened[s.name] != s { // removed meanwhile
		s.File.Close()
		return
	}
	s.place = c.idle.PushBack(s)
	c.shrink()
}

// shrink closes idle files above the number. c.mu is held.
func (c *fileCache) shrink() {
	for len(c.opened) > c.max && c.idle.Len() > 0 {
		s := c.idle.Remove(c.idle.Front()).(*segment)
		delete(c.opened, s.name)
		s.File.Close()
	}
}

// sync makes the file's bytes and its directory entry durable.
func (s *segment) sync() error {
	if err := s.File.SyncData(); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entry {
		return nil
	}
	parent, _ := s.name.path(s.cache.fs, s.cache.dir)
	if err := db.SyncDir(s.cache.fs, parent); err != nil {
		return fmt.Errorf("sync segment directory: %w", err)
	}
	s.entry = true
	return nil
}

// remove unlinks a segment, open or not. It reports whether there was one.
func (c *fileCache) remove(n fileName) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.opened[n]; s != nil {
		delete(c.opened, n)
		if s.place != nil {
			c.idle.Remove(s.place)
			s.File.Close()
		}
	}
	_, path := n.path(c.fs, c.dir)
	if _, err := c.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err := c.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, nil
}

// close closes every file.
func (c *fileCache) close() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.opened {
		err = errors.Join(err, s.File.Close())
	}
	c.opened = map[fileName]*segment{}
	c.idle.Init()
	return err
}
