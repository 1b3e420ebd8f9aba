package manifest

import (
	"fmt"
	"math/bits"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
)

// memory is what is left, in bytes, for all sets of one Validator.
type memory int

// hashSet is a set of 64-bit entries, 8 bytes a slot, that grows within a memory. An
// entry's upper bits are a hash under a secret seed, so that nobody can aim at
// one slot; the keep lowest bits are the caller's. Zero is an empty slot.
type hashSet struct {
	slots []uint64
	used  int
	left  *memory
}

const firstSlots = 1 << 10

// reserve makes room for n entries.
func (s *hashSet) reserve(n int) error {
	if want := n + n/4 + firstSlots; want > len(s.slots) {
		return s.resize(want)
	}
	return nil
}

// find returns the slot that holds the entry with h's bits outside of mask, or the
// empty slot where it belongs.
func (s *hashSet) find(h, mask uint64) *uint64 {
	i, _ := bits.Mul64(h, uint64(len(s.slots)))
	for {
		slot := &s.slots[i]
		if *slot == 0 || (*slot^h)&^mask == 0 {
			return slot
		}
		if i++; i == uint64(len(s.slots)) {
			i = 0
		}
	}
}

// grow keeps at least a fifth of the slots empty. It must be called before find returns a slot to be filled.
func (s *hashSet) grow() error {
	if s.used < len(s.slots)-len(s.slots)/5 {
		return nil
	}
	return s.resize(2*len(s.slots) + firstSlots)
}

// resize counts old and new slots as both in use while entries move.
func (s *hashSet) resize(n int) error {
	if 8*n > int(*s.left) {
		return ErrLimit
	}
	old := s.slots
	s.slots = make([]uint64, n)
	for _, e := range old {
		if e != 0 {
			*s.find(e, 0) = e
		}
	}
	*s.left -= memory(8 * (n - len(old)))
	return nil
}

// An entry of frames is 43 bits that determine the frame, a bit that is always set, and
// the 20 lowest bits of where the last extent of its chunk ended: 0 is the whole chunk.
const (
	entryBits = 21
	entryMask = 1<<entryBits - 1
	entrySet  = pack.MaxChunk
	endMask   = pack.MaxChunk - 1
)

// claim takes an extent out of its chunk. Those of one chunk must come in its order
// and not overlap.
func (v *Validator) claim(e *item.Extent) error {
	if !v.packs.has(e.Pack) {
		return fmt.Errorf("%w: pack %d", ErrPack, e.Pack)
	}
	if err := v.frames.grow(); err != nil {
		return err
	}
	h := scramble(uint64(e.Pack)*pack.MaxFrames+uint64(e.Frame), v.salt) << entryBits
	slot := v.frames.find(h, entryMask)
	taken := uint32(*slot & endMask)
	if *slot == 0 {
		v.frames.used++
	} else if taken == 0 {
		taken = pack.MaxChunk
	}
	if e.Offset < taken {
		return ErrOverlap
	}
	*slot = h | entrySet | uint64(e.Offset+e.Length)&endMask
	return nil
}

// scramble is a permutation of the 43-bit numbers, keyed by salt: a Feistel-like mix of
// multiplications by odd numbers and shifts.
func scramble(n, salt uint64) uint64 {
	const mask = 1<<43 - 1
	n = (n ^ salt) & mask
	for range 2 {
		n = n * 0x9E3779B97F4A7C15 & mask
		n ^= n >> 22
		n = n * (salt | 1) & mask
		n ^= n >> 21
	}
	return n
}

// packSet is the set of content packs that the manifest lists.
type packSet []uint64

func (s *packSet) add(index uint32) {
	for int(index/64) >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[index/64] |= 1 << (index % 64)
}

func (s packSet) has(index uint32) bool {
	return int(index/64) < len(s) && s[index/64]&(1<<(index%64)) != 0
}
