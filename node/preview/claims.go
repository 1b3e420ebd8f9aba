package preview

import "github.com/cespare/xxhash/v2"

// claims remembers which names of the target are spoken for, and by which path of the
// collection: 16 bytes a name in open-addressing tables. Names are known by a 64-bit
// hash: should two collide, one item is called "(2)" for no reason, and nothing is lost.
// It is cut into shards that grow one at a time, so that growing never doubles it.
type claims struct {
	shards [64]shard
}

type shard struct {
	slots []slot // a power of two; a zero key is empty
	n     int
}

type slot struct{ key, owner uint64 }

// hash is never 0.
func hash(s string) uint64 {
	if h := xxhash.Sum64String(s); h != 0 {
		return h
	}
	return 1
}

// get returns who claimed a name.
func (c *claims) get(key uint64) (owner uint64, ok bool) {
	s := &c.shards[key>>58]
	if len(s.slots) == 0 {
		return 0, false
	}
	e := s.find(key)
	return e.owner, e.key != 0 && e.owner != released
}

// released is the owner of a name that is free again. (Owners come from a hash: that one of them is this, and its
// name therefore given twice in the plan, is as unlikely as any collision, and found when the name is used.)
const released = 0

// release gives a name back, if it is owner's.
func (c *claims) release(key, owner uint64) {
	if have, ok := c.get(key); ok && have == owner {
		c.put(key, released)
	}
}

// put claims a name.
func (c *claims) put(key, owner uint64) {
	s := &c.shards[key>>58]
	if 4*(s.n+1) > 3*len(s.slots) {
		s.grow()
	}
	e := s.find(key)
	if e.key == 0 {
		s.n++
	}
	*e = slot{key, owner}
}

func (s *shard) find(key uint64) *slot {
	mask := uint64(len(s.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		if e := &s.slots[i]; e.key == key || e.key == 0 {
			return e
		}
	}
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]slot, max(16, 2*len(old)))
	for _, e := range old {
		if e.key != 0 {
			*s.find(e.key) = e
		}
	}
}
