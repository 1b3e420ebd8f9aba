package db

import (
	"encoding/binary"
	"sync"
	"time"
)

// maxRestartGap is the most by which the clock goes on over a restart. A server that was off for longer
// expires its sessions later by the rest; a server whose wall clock jumped ten years ahead while it
// was off doesn't throw everything away (adversity R-19).
const maxRestartGap = 24 * time.Hour

var clockKey = MetaKey("clock")

// Clock is the server's own time in milliseconds, by which everything expires. While the process runs it
// follows the monotonic clock, so that a wall clock set forwards or back has no effect; over restarts
// it goes on from what was last kept and never back. It starts near Unix time, and Wall turns a point of it
// into Unix time for people and devices.
type Clock struct {
	now   func() time.Time
	began time.Time // with its monotonic reading
	base  int64     // ms at began
	found int64     // what the database held when the clock was opened

	mu   sync.Mutex // guards kept
	kept int64
}

// NewClock continues the database's clock. now is time.Now or a test's.
func NewClock(d *DB, now func() time.Time) (*Clock, error) {
	c := &Clock{now: now, began: now()}
	c.base = c.began.UnixMilli()
	v, err := d.Get(clockKey)
	if err != nil {
		return nil, err
	}
	if len(v) == 8 {
		last := int64(binary.BigEndian.Uint64(v))
		c.found = last
		c.base = min(max(c.base, last), last+maxRestartGap.Milliseconds())
	}
	return c, c.Keep(d)
}

// Now returns the server's time in milliseconds.
func (c *Clock) Now() int64 { return c.base + c.now().Sub(c.began).Milliseconds() }

// Wall returns the Unix time in milliseconds at which the server's clock will show ms.
func (c *Clock) Wall(ms int64) int64 { return c.now().UnixMilli() + ms - c.Now() }

// Keep stores the time for the next start. The sweep calls it once a minute.
func (c *Clock) Keep(d *DB) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Now()
	if now <= c.kept {
		return nil
	}
	b := d.Batch()
	b.Set(clockKey, binary.BigEndian.AppendUint64(nil, uint64(now)))
	if err := b.Commit(); err != nil {
		return err
	}
	c.kept = now
	return nil
}

// Kept returns the time that was last stored.
func (c *Clock) Kept() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept
}
