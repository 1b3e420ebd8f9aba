package blobstore

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/server/db"
)

// SpaceConfig configures NewSpace.
type SpaceConfig struct {
	FS        db.FS
	Dir       string           // on the volume that is watched
	Watermark uint64           // free bytes below which nothing new is taken; 0: a tenth of the volume
	Ballast   uint64           // bytes of a file kept to be given up; 0: none
	Now       func() time.Time // nil: time.Now
}

// Space watches how full the volume is. The database ends the process when the disk refuses a write, so long before
// that new blobs and sessions are refused (the watermark), then everything that grows (half the watermark), and at last a ballast
// file is given up, so that the writes which delete things still find room (adversity R-6). Safe for concurrent use.
type Space struct {
	c SpaceConfig

	mu     sync.Mutex // guards the rest
	asked  time.Time
	usage  vfs.DiskUsage
	known  bool
	loaded bool // the ballast is on the disk
}

// spaceAge is how old a figure may be.
const spaceAge = time.Second

const ballastName = "ballast"

// NewSpace looks at the volume and lays down the ballast if there is room for it.
func NewSpace(c SpaceConfig) (*Space, error) {
	if c.FS == nil {
		c.FS = db.Disk
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Space{c: c}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	_, err := c.FS.Stat(s.path())
	s.loaded = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("ballast: %w", err)
	}
	return s, s.balance()
}

func (s *Space) path() string { return s.c.FS.PathJoin(s.c.Dir, ballastName) }

// look asks the file system. A file system that can't tell, such as one in memory, counts as empty. mu is held.
func (s *Space) look() {
	u, err := s.c.FS.GetDiskUsage(s.c.Dir)
	s.known = err == nil
	s.usage, s.asked = u, s.c.Now()
}

// now returns the free bytes, the volume's size and the watermark.
func (s *Space) now() (avail, total, mark uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c.Now().Sub(s.asked) >= spaceAge {
		s.look()
	}
	return s.figures()
}

// figures is now without looking. mu is held.
func (s *Space) figures() (avail, total, mark uint64) {
	if !s.known {
		return 1 << 60, 1 << 61, 0
	}
	mark = s.c.Watermark
	if mark == 0 {
		mark = s.usage.TotalBytes / 10
	}
	return s.usage.AvailBytes, s.usage.TotalBytes, mark
}

// Free returns the bytes above the watermark and the volume's size.
func (s *Space) Free() (free, total uint64) {
	avail, total, mark := s.now()
	return avail - min(avail, mark), total
}

// Low reports that less than half the watermark is free.
func (s *Space) Low() bool {
	avail, _, mark := s.now()
	return avail < mark/2
}

// Avail returns the bytes that the volume has left.
func (s *Space) Avail() uint64 {
	avail, _, _ := s.now()
	return avail
}

// Balance gives the ballast up when the volume is almost full and lays it down again when there is room. The sweep calls it.
func (s *Space) Balance() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	return s.balance()
}

// balance is Balance without looking. mu is held.
func (s *Space) balance() error {
	avail, _, mark := s.figures()
	switch {
	case s.c.Ballast == 0:
		return nil
	case s.loaded && avail < s.c.Ballast/4:
		if err := s.c.FS.Remove(s.path()); err != nil {
			return fmt.Errorf("give up ballast: %w", err)
		}
		s.loaded = false
	case !s.loaded && avail > mark+s.c.Ballast:
		if err := s.lay(); err != nil {
			return fmt.Errorf("lay down ballast: %w", err)
		}
		s.loaded = true
	}
	return nil
}

// lay writes the ballast's bytes, so that it takes its room on every file system.
func (s *Space) lay() error {
	f, err := s.c.FS.Create(s.path(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err = f.Preallocate(0, int64(s.c.Ballast)); err == nil && f.Fd() == vfs.InvalidFd {
		_, err = f.Write(make([]byte, s.c.Ballast))
	}
	return errors.Join(err, f.Sync(), f.Close())
}
