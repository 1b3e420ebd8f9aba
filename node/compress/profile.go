package compress

import "encoding/binary"

// Fields of a zstd frame, RFC 8878 section 3.1.1.
const (
	zstdMagic     = 0xFD2FB528
	singleSegment = 1 << 5
	maxBlock      = 128 << 10
)

// checkProfile walks the headers of a zstd frame: one frame that fills src, single
// segment (so that the window is the content), content size rawSize, nothing else set,
// no block over the format's limit. It reads a few bytes per block and allocates nothing.
func checkProfile(src []byte, rawSize int) error {
	if len(src) < 6 || binary.LittleEndian.Uint32(src) != zstdMagic {
		return ErrProfile
	}
	desc := src[4]
	if desc&0x3f != singleSegment { // the low bits: checksum, reserved, unused, dictionary ID
		return ErrProfile
	}
	size, n := contentSize(src[5:], desc>>6)
	if n == 0 || size != uint64(rawSize) {
		return ErrProfile
	}
	return checkBlocks(src[5+n:], rawSize)
}

// contentSize reads the field of the given code, and returns its length, 0 if cut off.
func contentSize(b []byte, code byte) (size uint64, n int) {
	n = 1 << code
	if len(b) < n {
		return 0, 0
	}
	switch code {
	case 0:
		return uint64(b[0]), n
	case 1:
		return uint64(binary.LittleEndian.Uint16(b)) + 256, n
	case 2:
		return uint64(binary.LittleEndian.Uint32(b)), n
	}
	return binary.LittleEndian.Uint64(b), n
}

// checkBlocks demands blocks up to one marked last, and nothing behind it. Raw and RLE
// blocks say what they decode to, so an excess is found here.
func checkBlocks(b []byte, rawSize int) error {
	limit := min(maxBlock, rawSize)
	for left := rawSize; ; {
		if len(b) < 3 {
			return ErrProfile
		}
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last, kind, size := head&1 != 0, head>>1&3, int(head>>3)
		held := size
		switch kind {
		case 0: // raw
			left -= size
		case 1: // one byte, repeated
			left -= size
			held = 1
		case 3:
			return ErrProfile
		}
		b = b[3:]
		if size > limit && kind != 2 || size > maxBlock || left < 0 || held > len(b) {
			return ErrProfile
		}
		b = b[held:]
		if last {
			if len(b) != 0 {
				return ErrProfile
			}
			return nil
		}
	}
}
