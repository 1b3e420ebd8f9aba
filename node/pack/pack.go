// Package pack lays frames into packs of constant size and finds them again
// (docs/SPEC.md sections 3.2, 3.3 and 3.6). A pack explains itself: its table says
// which run of which item every byte of every frame is, so that a receiver can put
// content away as it arrives, in any order, before it has the manifest.
//
// The plaintext of a pack, before it is sealed:
//
//	prelude  u32 offset of the table, u32 size of the table
//	frames   end to end
//	table    what the frames are
//	zeros    up to PlainSize
//
// The table lies behind the frames so that a Builder never moves a byte of content.
// Packs are sealed by crypto/seal, which this package does not know.
package pack

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/proto/wire"
)

// Limits of a pack. A decoder rejects what goes beyond before it allocates for it.
const (
	MaxChunk   = compress.MaxChunk // bytes of a chunk
	MaxFrames  = 4096              // frames of a pack
	MaxExtents = 1 << 17           // extents of a pack, all frames together: 3 MiB when parsed

	preludeSize = 8
	plainS      = 261_832   // the largest P with 56 + P + 16·(⌊P/16384⌋+1) ≤ wire.BlobSizeS
	plainL      = 4_206_520 // and wire.BlobSizeL
)

// PlainSize returns the exact size in bytes of a pack's plaintext before sealing, 0
// for an unknown class: what fits into the class's blob beside salt, commitment and
// one tag per 16 KiB record (SPEC 3.3).
func PlainSize(class wire.Class) int {
	switch class {
	case wire.ClassS:
		return plainS
	case wire.ClassL:
		return plainL
	}
	return 0
}

// Type is what a frame's chunk is. The numbers are on the wire: append only.
type Type uint8

// The types. Content never shares a pack with the other two.
const (
	Content  Type = 1 // bytes of items; sealed under the pack key
	Page     Type = 2 // a page of the manifest
	PackList Type = 3 // a page of the list of packs
)

// String returns the type's name.
func (t Type) String() string {
	switch t {
	case Content:
		return "content"
	case Page:
		return "page"
	case PackList:
		return "pack list"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Extent is one run of an item's bytes. The extents of a chunk lie end to end in it.
type Extent struct {
	Ordinal  item.Ordinal
	Offset   int64  // where the run begins in the item's content
	Revision uint32 // attempt at the item's content that the run belongs to
	Length   uint32 // bytes, at least 1
}

// FrameInfo describes one frame.
type FrameInfo struct {
	Type    Type
	Kind    item.Kind // the one kind whose content or items the chunk holds; KindNone for a PackList
	Codec   compress.Codec
	RawSize uint32   // bytes of the chunk
	Size    uint32   // bytes of the frame; RawSize if the codec is Raw
	Hash    [32]byte // SHA-256 of the chunk
	Extents []Extent // of a Content frame: in order, the lengths sum to RawSize; none otherwise
	Start   uint32   // offset of the frame in the pack's plaintext; follows from the sizes
}

// Errors, to be compared with errors.Is. Everything but ErrFull means that the bytes
// are not a pack, or not the pack that was meant, whoever made them.
var (
	ErrFull   = errors.New("pack is full")
	ErrSize   = errors.New("pack has the wrong size")
	ErrLayout = errors.New("pack layout is malformed")     // prelude, padding, sum of the frames
	ErrTable  = errors.New("pack table is malformed")      // encoding, counts
	ErrFrame  = errors.New("frame description is invalid") // unknown type, kind or codec, sizes out of range
	ErrExtent = errors.New("extent is invalid")            // empty, out of range, or the sum is not the chunk's size
	ErrMixed  = errors.New("pack mixes content and pages") // or pack lists
	ErrChunk  = errors.New("chunk does not match its hash")
)

// check validates all of a frame's description but its extents.
func (f *FrameInfo) check() error {
	switch {
	case f.RawSize < 1 || f.RawSize > MaxChunk || f.Size < 1 || f.Size > MaxChunk || !f.Codec.Valid():
		return ErrFrame
	case f.Codec == compress.Raw && f.Size != f.RawSize:
		return ErrFrame
	case f.Codec != compress.Raw && f.Size >= f.RawSize: // then it would have been raw
		return ErrFrame
	}
	switch f.Type {
	case Content:
		if f.Kind.Valid() {
			return nil
		}
	case Page:
		if f.Kind.Valid() && len(f.Extents) == 0 {
			return nil
		}
	case PackList:
		if f.Kind == item.KindNone && len(f.Extents) == 0 {
			return nil
		}
	}
	return ErrFrame
}

// checkExtents validates a content frame's extents.
func (f *FrameInfo) checkExtents() error {
	if f.Type != Content {
		return nil
	}
	var sum uint64
	for i := range f.Extents {
		e := &f.Extents[i]
		if e.Length == 0 || e.Length > MaxChunk || e.Offset < 0 || e.Offset > item.MaxSize-int64(e.Length) {
			return ErrExtent
		}
		sum += uint64(e.Length) // at most MaxExtents of MaxChunk
	}
	if sum != uint64(f.RawSize) {
		return ErrExtent
	}
	return nil
}

// Padme returns the number of blobs that a session of n blobs is padded to, with
// blobs of random bytes (SPEC 3.6): n rounded up so that its binary form keeps only
// as many leading bits as its length's length. It leaks O(log log n) bits and adds at
// most 12 %. (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
// Communication with PURBs", PETS 2019.)
func Padme(n uint64) uint64 {
	if n < 2 {
		return n
	}
	e := bits.Len64(n) - 1       // floor(log2 n)
	s := bits.Len64(uint64(e))   // bits kept behind the first one
	mask := uint64(1)<<(e-s) - 1 // e ≥ s for every n ≥ 2
	return (n + mask) &^ mask
}
