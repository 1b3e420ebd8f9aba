// Package exact reads and writes the hand-made binary encodings of docs/SPEC.md
// sections 3 and 4, of which each value has exactly one: numbers are unsigned varints
// in their shortest form, signed ones zigzag first, everything else has a fixed width
// or a length in front. It imports only the standard library.
package exact

import (
	"encoding/binary"
	"math/bits"
)

// Size is the number of bytes of n as a varint, 1 to 10.
func Size(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// Append appends n as a varint.
func Append(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

// Zigzag maps small negative and positive numbers to small unsigned ones: 0, -1, 1, -2 become 0, 1, 2, 3.
func Zigzag(n int64) uint64 { return uint64(n)<<1 ^ uint64(n>>63) }

// Unzigzag is the inverse of Zigzag.
func Unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

// AppendBytes appends b behind its length.
func AppendBytes[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(Append(dst, uint64(len(b))), b...)
}

// Reader reads from the front of a byte slice. The first malformed or out-of-range
// value makes it fail; from then on every method returns zero values, so a caller may
// check once at the end, but must check before it allocates by a number read.
// The zero value reads nothing and is done.
type Reader struct {
	b   []byte
	off int
	bad bool
}

// NewReader returns a Reader of b, which it does not copy.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Failed reports whether anything read so far was malformed.
func (r *Reader) Failed() bool { return r.bad }

// Done reports whether nothing failed and every byte was read.
func (r *Reader) Done() bool { return !r.bad && r.off == len(r.b) }

// Len is the number of bytes not read yet.
func (r *Reader) Len() int { return len(r.b) - r.off }

// Fail marks the input as malformed.
func (r *Reader) Fail() { r.bad, r.off = true, len(r.b) }

// Uvarint reads a varint in its shortest form.
func (r *Reader) Uvarint() uint64 {
	if r.off < len(r.b) && r.b[r.off] < 0x80 {
		r.off++
		return uint64(r.b[r.off-1])
	}
	return r.uvarintSlow()
}

func (r *Reader) uvarintSlow() uint64 {
	n, size := binary.Uvarint(r.b[r.off:])
	if size <= 0 || r.b[r.off+size-1] == 0 { // cut off, more than 64 bits, or a leading group of zeros
		r.Fail()
		return 0
	}
	r.off += size
	return n
}

// Varint reads a zigzag varint.
func (r *Reader) Varint() int64 { return Unzigzag(r.Uvarint()) }

// Max reads a varint that must not be more than max.
func (r *Reader) Max(max uint64) uint64 {
	n := r.Uvarint()
	if n > max {
		r.Fail()
		return 0
	}
	return n
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.off >= len(r.b) {
		r.Fail()
		return 0
	}
	r.off++
	return r.b[r.off-1]
}

// Bytes reads n bytes; the result aliases the input and is nil if there are fewer.
func (r *Reader) Bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b)-r.off {
		r.Fail()
		return nil
	}
	r.off += n
	return r.b[r.off-n : r.off : r.off]
}

// Prefixed reads a length of at most max and that many bytes, aliasing the input.
func (r *Reader) Prefixed(max int) []byte { return r.Bytes(int(r.Max(uint64(max)))) }

// Fixed reads len(dst) bytes into dst.
func (r *Reader) Fixed(dst []byte) { copy(dst, r.Bytes(len(dst))) }
