package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/proto/wire"
)

// Parse finds the frames of a pack's plaintext. It checks the whole layout, and that
// the padding is zeros, but decodes no frame. plain is not kept.
func Parse(plain []byte, class wire.Class) (*Table, error) {
	t := new(Table)
	if err := t.ParseInto(plain, class); err != nil {
		return nil, err
	}
	return t, nil
}

// ParseInto is Parse into t's memory. On error t is empty.
func (t *Table) ParseInto(plain []byte, class wire.Class) error {
	t.Frames = t.Frames[:0]
	if len(plain) == 0 || len(plain) != PlainSize(class) {
		return ErrSize
	}
	start, size := uint64(binary.BigEndian.Uint32(plain)), uint64(binary.BigEndian.Uint32(plain[4:]))
	if start < preludeSize || start+size > uint64(len(plain)) {
		return ErrLayout
	}
	if err := t.ParseTableInto(plain[start : start+size]); err != nil {
		return err
	}
	last := &t.Frames[len(t.Frames)-1]
	if uint64(last.Start)+uint64(last.Size) != start || !zeros(plain[start+size:]) {
		t.Frames = t.Frames[:0]
		return ErrLayout
	}
	return nil
}

// zeros reports whether b holds nothing else.
func zeros(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Chunk returns the chunk of frame i, after it has been checked against its hash.
// plain is the plaintext that t was parsed from. The chunk of a raw frame aliases plain; any other
// is decoded into dst's memory from its start, which grows if it must. The error wraps
// ErrChunk or one of compress's errors.
func (t *Table) Chunk(dec *compress.Decoder, dst, plain []byte, i int) ([]byte, error) {
	f := &t.Frames[i]
	chunk := plain[f.Start:][:f.Size:f.Size]
	if f.Codec != compress.Raw {
		var err error
		if chunk, err = dec.Decode(dst[:0], f.Codec, chunk, int(f.RawSize)); err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
	}
	if sha256.Sum256(chunk) != f.Hash {
		return nil, fmt.Errorf("frame %d: %w", i, ErrChunk)
	}
	return chunk, nil
}

// Sealed is Chunk for a plaintext that has just been opened from its seal: a raw chunk
// is the very bytes that the seal authenticates, and hashing them again would find only
// what went wrong in the memory of the sender. It takes a third off a receiver's work.
func (t *Table) Sealed(dec *compress.Decoder, dst, plain []byte, i int) ([]byte, error) {
	if f := &t.Frames[i]; f.Codec == compress.Raw {
		return plain[f.Start:][:f.Size:f.Size], nil
	}
	return t.Chunk(dec, dst, plain, i)
}
