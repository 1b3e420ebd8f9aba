package compress

import "math"

// A probe is at most 4 KiB of a chunk: eight pieces of 512 bytes, one somewhere in each
// of its eighths. Not its beginning, where photos have their describing text, and not
// at even distances, which might be those at which a file repeats itself.
const (
	pieces = 8
	piece  = 512
)

// minWorth is the smallest chunk that zstd can shrink by a tenth at all.
const minWorth = 48

// Worth says whether a chunk is likely to shrink by a tenth under zstd, from the
// entropy of the bytes in a probe. It costs a few microseconds whatever len(chunk) is. Photos,
// films, archives and encrypted files fail it; text, documents, databases and files
// that are half of each pass. Matches between distant parts of a chunk are not seen:
// random bytes that come twice pass for random.
func Worth(chunk []byte) bool {
	if len(chunk) < minWorth {
		return false
	}
	if len(chunk) <= piece {
		return entropy(chunk) < limits[len(chunk)]
	}
	n := min(pieces, len(chunk)/piece)
	eighth := len(chunk) / n
	var bits, limit uint32
	for i := range n {
		const golden = 40503 // of 65536: multiples of it are spread evenly
		at := i*eighth + (eighth-piece)*((i*golden+1<<15)&(1<<16-1))>>16
		bits += entropy(chunk[at : at+piece])
		limit += limits[piece]
	}
	return bits < limit
}

// weight[c] is c·log2(c) in 1/256 bit.
var weight = func() (t [piece + 1]uint32) {
	for c := 2; c <= piece; c++ {
		t[c] = uint32(math.Round(float64(c) * math.Log2(float64(c)) * 256))
	}
	return t
}()

// limits[n] is nine tenths of the entropy that n random bytes are expected to show,
// in 1/256 bit: less than 8n bits, for some values come more often by chance, and never
// more than n·log2(n). How often one of 256 values comes is a Poisson number.
var limits = func() (t [piece + 1]uint32) {
	for n := 2; n <= piece; n++ {
		mean := float64(n) / 256
		p, repeats := math.Exp(-mean), 0.0 // p: probability of c
		for c := 1; c <= min(n, 40); c++ {
			p *= mean / float64(c)
			repeats += 256 * p * float64(weight[c])
		}
		t[n] = uint32(0.9 * (float64(weight[n]) - repeats))
	}
	return t
}()

// entropy is the entropy of the bytes of b, at most piece, each by itself, in 1/256 bit.
func entropy(b []byte) uint32 {
	var even, odd [256]uint16 // two counts, so that a run of one value does not wait for itself
	sum := weight[len(b)]
	for len(b) >= 4 {
		even[b[0]]++
		odd[b[1]]++
		even[b[2]]++
		odd[b[3]]++
		b = b[4:]
	}
	for _, c := range b {
		even[c]++
	}
	for i := range even {
		sum -= weight[even[i]+odd[i]]
	}
	return sum
}
