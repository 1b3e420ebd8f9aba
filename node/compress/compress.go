// Package compress turns one chunk into the bytes of one frame and back: zstd at its
// fastest level, or the chunk itself where that gains too little. It implements
// docs/SPEC.md section 3.1.
//
// A zstd frame here is of a narrow profile: exactly one frame, single segment, with
// the content size in its header, no dictionary, no checksum (the chunk's SHA-256 is
// checked by the caller, and the pack is authenticated). A decoder therefore knows the
// size of the result, and refuses everything else, before it touches a block.
package compress

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// MaxChunk is the largest chunk in bytes, and so the most that a frame decodes to.
const MaxChunk = 1 << 20

// Codec is how a frame holds its chunk. The numbers are on the wire: append only.
type Codec uint8

// The codecs.
const (
	Raw  Codec = 0
	Zstd Codec = 1
)

// Valid reports whether this version knows the codec.
func (c Codec) Valid() bool { return c <= Zstd }

// String returns the codec's name.
func (c Codec) String() string {
	switch c {
	case Raw:
		return "raw"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// Errors of Decode, to be compared with errors.Is.
var (
	ErrSize    = errors.New("chunk size out of range")                // rawSize is not in 1…MaxChunk, or a raw frame has another size
	ErrCodec   = errors.New("unknown codec")                          // neither Raw nor Zstd
	ErrProfile = errors.New("zstd frame outside the allowed profile") // dictionary, checksum, window, skippable or several frames, another content size
	ErrCorrupt = errors.New("zstd frame is corrupt")
)

// Encoder compresses chunks. It is for one goroutine at a time and holds about 4 MiB;
// reuse it. There is nothing to close.
type Encoder struct{ z *zstd.Encoder }

// NewEncoder returns an Encoder.
func NewEncoder() *Encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(MaxChunk), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false),
		zstd.WithAllLitEntropyCompression(true)) // what passes Worth has low entropy, matches or not
	if err != nil {
		panic("compress: " + err.Error()) // the options are constants
	}
	return &Encoder{z}
}

// EncodeSlack is the spare room that Encode may need beyond len(src) before it finds
// that zstd does not help: with len(src)+EncodeSlack bytes of spare capacity in dst it
// never allocates.
const EncodeSlack = 64

// Encode appends to dst the frame of the chunk src and says how it is coded: Zstd if
// Worth(src) and the result is a tenth smaller, else Raw. src must hold 1…MaxChunk
// bytes and must not overlap dst's spare capacity, all of which may be overwritten.
func (e *Encoder) Encode(dst, src []byte) ([]byte, Codec) {
	if len(src) == 0 || len(src) > MaxChunk {
		panic("compress: chunk size out of range")
	}
	if Worth(src) {
		out := e.z.EncodeAll(src, dst)
		if len(out)-len(dst) <= gain(len(src)) {
			return out, Zstd
		}
	}
	return append(dst, src...), Raw
}

// gain is the largest compressed size that is worth decompressing again.
func gain(n int) int { return n - n/10 - 1 }

// Decoder decompresses frames. It is for one goroutine at a time and holds about
// 300 KiB; reuse it. There is nothing to close.
type Decoder struct{ z *zstd.Decoder }

// NewDecoder returns a Decoder.
func NewDecoder() *Decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxChunk), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic("compress: " + err.Error())
	}
	return &Decoder{z}
}

// decodeSlack lets the decoder copy in whole vectors.
const decodeSlack = 32

// Decode appends to dst the chunk of rawSize bytes that the frame src holds. It
// allocates only if dst has too little spare capacity, all of which may be
// overwritten; rawSize and src may come from anyone. On error it returns dst as it
// was, and an error that is ErrSize, ErrCodec, ErrProfile or ErrCorrupt.
func (d *Decoder) Decode(dst []byte, c Codec, src []byte, rawSize int) ([]byte, error) {
	if rawSize < 1 || rawSize > MaxChunk {
		return dst, ErrSize
	}
	switch c {
	case Raw:
		if len(src) != rawSize {
			return dst, ErrSize
		}
		return append(dst, src...), nil
	case Zstd:
		return d.decodeZstd(dst, src, rawSize)
	}
	return dst, ErrCodec
}

func (d *Decoder) decodeZstd(dst, src []byte, rawSize int) ([]byte, error) {
	if err := checkProfile(src, rawSize); err != nil {
		return dst, err
	}
	if cap(dst)-len(dst) < rawSize {
		dst = slices.Grow(dst, rawSize+decodeSlack)
	}
	n := len(dst)
	out, err := d.z.DecodeAll(src, dst[n:n])
	if err != nil {
		return dst, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if len(out) != rawSize || &out[0] != &dst[:n+1][n] { // the decoder holds to the content size in the header, which is rawSize
		return dst, ErrCorrupt
	}
	return dst[:n+rawSize], nil
}
