package pack

import (
	"slices"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/node/item"
)

// The table is: varint count of frames, then for each frame
//
//	byte type, byte kind, byte codec
//	varint RawSize
//	varint Size              absent if the codec is Raw
//	32 bytes Hash
//	varint count of extents  Content only
//	extents
//
// An extent is a varint Length<<1 if it is the usual one: the ordinal behind the last,
// the same revision, offset 0. Otherwise it is Length<<1 | 1 and then zigzag varint of the
// ordinal's distance (modulo 2⁶⁴) from the usual one, varint Revision, varint Offset. Before
// the first extent of a frame the ordinal is −1 and the revision 0. Small files in the
// order of the scan so take two bytes each.

// Sizes of the encoding, for reckoning room.
const (
	maxCount      = 2                       // the count of frames
	maxFrameEntry = 3 + 3 + 3 + 32 + 3      // without extents
	MaxExtentSize = 4 + 10 + 5 + 8          // bytes of one extent at most
	minFrameEntry = 3 + 1 + 32              // of the type with the shortest
	ordinalBefore = item.Ordinal(1<<64 - 1) // −1
)

func usual(prev, e *Extent) bool {
	return e.Ordinal == prev.Ordinal+1 && e.Revision == prev.Revision && e.Offset == 0
}

func distance(prev, e *Extent) uint64 { return exact.Zigzag(int64(e.Ordinal - prev.Ordinal - 1)) }

// appendFrame appends a valid frame's entry.
func appendFrame(dst []byte, f *FrameInfo) []byte {
	dst = append(dst, byte(f.Type), byte(f.Kind), byte(f.Codec))
	dst = exact.Append(dst, uint64(f.RawSize))
	if f.Codec != compress.Raw {
		dst = exact.Append(dst, uint64(f.Size))
	}
	dst = append(dst, f.Hash[:]...)
	if f.Type != Content {
		return dst
	}
	dst = exact.Append(dst, uint64(len(f.Extents)))
	prev := Extent{Ordinal: ordinalBefore}
	for i := range f.Extents {
		e := &f.Extents[i]
		if usual(&prev, e) {
			dst = exact.Append(dst, uint64(e.Length)<<1)
		} else {
			dst = exact.Append(dst, uint64(e.Length)<<1|1)
			dst = exact.Append(dst, distance(&prev, e))
			dst = exact.Append(dst, uint64(e.Revision))
			dst = exact.Append(dst, uint64(e.Offset))
		}
		prev = *e
	}
	return dst
}

// Table says what a pack holds. Reuse one through ParseInto or ParseTableInto; its
// frames then alias memory that the next parse overwrites.
type Table struct {
	Frames []FrameInfo

	extents []Extent // all frames' extents, end to end
}

// Append appends the encoding of the table; parsing gives the same bytes.
func (t *Table) Append(dst []byte) []byte {
	dst = exact.Append(dst, uint64(len(t.Frames)))
	for i := range t.Frames {
		dst = appendFrame(dst, &t.Frames[i])
	}
	return dst
}

// ParseTable parses a table as Builder.Finish returns it. b is not kept.
func ParseTable(b []byte) (*Table, error) {
	t := new(Table)
	if err := t.ParseTableInto(b); err != nil {
		return nil, err
	}
	return t, nil
}

// ParseTableInto is ParseTable into t's memory. On error t is empty.
func (t *Table) ParseTableInto(b []byte) error {
	err := t.parse(b)
	if err != nil {
		t.Frames = t.Frames[:0]
	}
	return err
}

func (t *Table) parse(b []byte) error {
	t.Frames, t.extents = t.Frames[:0], t.extents[:0]
	r := exact.NewReader(b)
	count := r.Max(MaxFrames)
	if count == 0 || count*minFrameEntry > uint64(r.Len()) {
		return ErrTable
	}
	t.Frames = slices.Grow(t.Frames, int(count))
	start := uint32(preludeSize)
	for range count {
		f, err := t.readFrame(&r)
		if err != nil {
			return err
		}
		f.Start = start
		start += f.Size
		t.Frames = append(t.Frames, f)
		if (f.Type == Content) != (t.Frames[0].Type == Content) {
			return ErrMixed
		}
		if start > plainL { // also keeps start from overflowing
			return ErrLayout
		}
	}
	if !r.Done() {
		return ErrTable
	}
	t.link()
	return nil
}

// readFrame reads one entry; of its Extents only the length is meaningful until link.
func (t *Table) readFrame(r *exact.Reader) (f FrameInfo, err error) {
	f.Type, f.Kind, f.Codec = Type(r.Byte()), item.Kind(r.Byte()), compress.Codec(r.Byte())
	f.RawSize = uint32(r.Max(MaxChunk))
	f.Size = f.RawSize
	if f.Codec != compress.Raw {
		f.Size = uint32(r.Max(MaxChunk))
	}
	r.Fixed(f.Hash[:])
	if r.Failed() {
		return f, ErrTable
	}
	if err := f.check(); err != nil || f.Type != Content {
		return f, err
	}
	first := len(t.extents)
	count := r.Max(uint64(MaxExtents - first))
	if count > uint64(min(r.Len(), int(f.RawSize))) { // an extent is at least a byte of the table and of the chunk
		return f, ErrTable
	}
	t.readExtents(r, int(count))
	if r.Failed() {
		return f, ErrTable
	}
	f.Extents = t.extents[first:]
	return f, f.checkExtents()
}

func (t *Table) readExtents(r *exact.Reader, count int) {
	t.extents = slices.Grow(t.extents, count)
	prev := Extent{Ordinal: ordinalBefore}
	for range count {
		n := r.Max(MaxChunk<<1 | 1)
		e := Extent{Ordinal: prev.Ordinal + 1, Revision: prev.Revision, Length: uint32(n >> 1)}
		if n&1 != 0 {
			e.Ordinal += item.Ordinal(r.Varint())
			e.Revision = uint32(r.Max(1<<32 - 1))
			e.Offset = int64(r.Max(item.MaxSize))
			if usual(&prev, &e) { // has a shorter form
				r.Fail()
			}
		}
		if r.Failed() {
			return
		}
		t.extents = append(t.extents, e)
		prev = e
	}
}

// link points every frame's Extents into t.extents, which no longer moves.
func (t *Table) link() {
	rest := t.extents
	for i := range t.Frames {
		n := len(t.Frames[i].Extents)
		t.Frames[i].Extents, rest = rest[:n:n], rest[n:]
	}
}
