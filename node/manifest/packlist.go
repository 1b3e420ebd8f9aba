package manifest

import (
	"slices"

	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/proto/id"
)

// PackRef names one sealed pack: which pack it is, and which blob is the one that counts.
type PackRef struct {
	Index      uint32        // never used twice in a session; content and manifest packs are numbered apart
	Epoch      uint64        // in which it was sealed; with Index it is the context of the seal
	Blob       id.Blob       // where it is stored
	Commitment id.Commitment // of its key: an older attempt under the same index does not open as this one
	Padding    bool          // a blob of random bytes: a receiver fetches it like the others and drops it (SPEC 3.6)
}

// A pack list is: varint count, then for each pack varint gap from the index before
// (the first from −1, 0 for the next), varint Epoch<<1 | Padding, 16 bytes Blob, 32 bytes Commitment.
const minPackRef = 1 + 1 + id.Size + 32

// AppendPackList appends the encoding of 1 to MaxListPacks packs in ascending order of
// their indexes.
func AppendPackList(dst []byte, refs []PackRef) ([]byte, error) {
	if len(refs) == 0 || len(refs) > MaxListPacks {
		return nil, ErrLimit
	}
	return appendPacks(dst, refs)
}

// DecodePackList decodes a page of the pack list. Nothing of the result aliases b.
func DecodePackList(b []byte) ([]PackRef, error) {
	r := exact.NewReader(b)
	refs, err := readPacks(&r, MaxListPacks)
	if err != nil {
		return nil, err
	}
	if len(refs) == 0 || !r.Done() {
		return nil, ErrEncoding
	}
	return refs, nil
}

func appendPacks(dst []byte, refs []PackRef) ([]byte, error) {
	dst = exact.Append(dst, uint64(len(refs)))
	next := uint64(0)
	for i := range refs {
		p := &refs[i]
		if uint64(p.Index) < next || p.Index >= MaxPacks || p.Epoch >= MaxEpoch {
			return nil, ErrPack
		}
		dst = exact.Append(dst, uint64(p.Index)-next)
		epoch := p.Epoch << 1
		if p.Padding {
			epoch |= 1
		}
		dst = exact.Append(dst, epoch)
		dst = append(dst, p.Blob[:]...)
		dst = append(dst, p.Commitment[:]...)
		next = uint64(p.Index) + 1
	}
	return dst, nil
}

func readPacks(r *exact.Reader, most int) ([]PackRef, error) {
	count := r.Max(uint64(most))
	if count*minPackRef > uint64(r.Len()) {
		return nil, ErrEncoding
	}
	refs := slices.Grow([]PackRef(nil), int(count))
	next := uint64(0)
	for range count {
		p := PackRef{Index: uint32(next + r.Max(MaxPacks))}
		epoch := r.Max(MaxEpoch<<1 - 1)
		p.Epoch, p.Padding = epoch>>1, epoch&1 != 0
		r.Fixed(p.Blob[:])
		r.Fixed(p.Commitment[:])
		if r.Failed() {
			return nil, ErrEncoding
		}
		if p.Index >= MaxPacks {
			return nil, ErrPack
		}
		refs = append(refs, p)
		next = uint64(p.Index) + 1
	}
	return refs, nil
}
