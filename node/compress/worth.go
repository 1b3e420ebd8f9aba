package compress

import "math"

// probe is how much of a chunk Worth looks at, in pieces spread over it.
const (
	probe  = 4096
	pieces = 4
	piece  = probe / pieces
)

// entropyBits[c] is c·log2(c) in 1/256 bit.
var entropyBits = func() (t [piece + 1]uint32) {
	for c := 2; c <= piece; c++ {
		t[c] = uint32(math.Round(float64(c) * math.Log2(float64(c)) * 256))
	}
	return t
}()

// Worth says whether a chunk is likely to shrink by a tenth under zstd, from the
// entropy of the bytes in at most 4 KiB of it, taken as four pieces at even distances.
// It costs a few microseconds whatever len(sample) is. Photos, films, archives and
// encrypted files fail it; text, documents, databases and half-empty files pass.
// An empty sample is not worth it.
func Worth(sample []byte) bool {
	if len(sample) <= piece {
		return len(sample) >= minWorth && entropy(sample) < limit(len(sample))*uint32(len(sample))
	}
	var bits, of uint32
	step := max((len(sample)-piece)/(pieces-1), piece)
	for at := 0; at+piece <= len(sample) && of < probe; at += step {
		bits += entropy(sample[at : at+piece])
		of += piece
	}
	return bits < limit(piece)*of
}

// minWorth is the smallest chunk that zstd can shrink by a tenth at all.
const minWorth = 48

// limit is the entropy in 1/256 bit a byte below which n bytes are worth compressing.
// The entropy of few bytes is underestimated (n random bytes show at most log2 n bits),
// so the limit is lower for them.
func limit(n int) uint32 {
	return uint32(7.0 * 256)
}

// entropy is the order-0 entropy of all of b, at most 1,024 bytes, in 1/256 bit.
func entropy(b []byte) uint32 {
	var h [4][256]uint16
	n := len(b)
	for len(b) >= 4 {
		h[0][b[0]]++
		h[1][b[1]]++
		h[2][b[2]]++
		h[3][b[3]]++
		b = b[4:]
	}
	for _, c := range b {
		h[0][c]++
	}
	bits := entropyBits[n] * 1
	var sum uint32
	for i := range 256 {
		sum += entropyBits[h[0][i]+h[1][i]+h[2][i]+h[3][i]]
	}
	return bits - sum
}
