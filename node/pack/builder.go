package pack

import (
	"encoding/binary"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/proto/wire"
)

// Builder fills one pack after the other in the same memory (a little over PlainSize).
// It is for one goroutine at a time. In the steady state it allocates nothing.
type Builder struct {
	buf      []byte // cap is size + slack; what a finished pack occupies is buf[:size]
	size     int
	end      int // of the last frame in buf
	table    []byte
	frames   int
	extents  int
	content  bool // the type of the first frame, which the others share
	finished bool
}

// lead is what lies in front of a pack in memory, so that its first frame, and with it every whole piece of a large file, begins
// at a multiple of 64 bytes in a page. Where a copy (rep movsb, which is how the kernel copies a file to its reader) begins at byte
// 1 to 15 of a page, Zen processors take two to three times as long, and large slices begin with a page.
const lead = 64 - preludeSize

// Memory returns an empty slice of capacity n at least for a pack's plaintext, placed so that the system reads files
// into its frames, and writes files from them, at full speed.
func Memory(n int) []byte { return make([]byte, lead+n)[lead:lead] }

// NewBuilder returns a Builder of empty packs of the class.
func NewBuilder(class wire.Class) *Builder {
	size := PlainSize(class)
	if size == 0 {
		panic("pack: unknown class")
	}
	b := &Builder{buf: Memory(size + compress.EncodeSlack)[:size+compress.EncodeSlack], size: size, table: make([]byte, 0, 16<<10)}
	b.Reset()
	return b
}

// Reset empties the Builder. What Finish and Tail returned is then overwritten.
func (b *Builder) Reset() {
	b.end, b.table, b.frames, b.extents, b.finished = preludeSize, b.table[:0], 0, 0, false
}

// Frames is the number of frames added since Reset.
func (b *Builder) Frames() int { return b.frames }

// Room returns the largest size of a frame with that many extents that Add is sure to
// take, reckoning MaxExtentSize for each extent; 0 if there is none.
func (b *Builder) Room(extents int) int {
	room := b.size - b.end - maxCount - len(b.table) - maxFrameEntry - extents*MaxExtentSize
	if room < 0 || b.frames == MaxFrames || b.extents+extents > MaxExtents {
		return 0
	}
	return min(room, MaxChunk)
}

// Tail is where the next frame goes: the caller may read or compress up to
// Room(extents) bytes into its front and then Add them, which copies nothing. Its
// length is Room(1), its capacity at least compress.EncodeSlack more, so that
// an Encoder never allocates on a chunk of len(Tail()) bytes. It is valid until the next Add,
// Finish or Reset.
func (b *Builder) Tail() []byte { return b.buf[b.end:][:b.Room(1)] }

// Add puts a frame with the given data behind the last one and copies its
// description; f.Size must be len(data), f.Start is ignored. data may be the front of Tail,
// and is then not copied, but may not overlap it otherwise. ErrFull: it does not fit, and the pack
// is as before. Any other error says that f can't be described.
func (b *Builder) Add(f FrameInfo, data []byte) error {
	if b.finished {
		panic("pack: Add after Finish")
	}
	if err := b.accepts(&f, data); err != nil {
		return err
	}
	table := appendFrame(b.table, &f)
	if b.end+len(data)+maxCount+len(table) > b.size || b.frames == MaxFrames || b.extents+len(f.Extents) > MaxExtents {
		b.table = table[:len(b.table)] // keep what it grew to
		return ErrFull
	}
	b.end += copy(b.buf[b.end:b.size], data)
	b.table, b.frames, b.extents = table, b.frames+1, b.extents+len(f.Extents)
	return nil
}

func (b *Builder) accepts(f *FrameInfo, data []byte) error {
	if int64(f.Size) != int64(len(data)) {
		return ErrFrame
	}
	if err := f.check(); err != nil {
		return err
	}
	if len(f.Extents) > MaxExtents {
		return ErrFull
	}
	if err := f.checkExtents(); err != nil {
		return err
	}
	if b.frames == 0 {
		b.content = f.Type == Content
	}
	if b.content != (f.Type == Content) {
		return ErrMixed
	}
	return nil
}

// Finish completes the pack, which must hold a frame. plain is the whole plaintext,
// PlainSize bytes; table is the table inside it, for the journal. Both belong to the
// Builder and are valid until Reset. A second Finish returns the same.
func (b *Builder) Finish() (plain, table []byte) {
	if b.frames == 0 {
		panic("pack: Finish of an empty pack")
	}
	tail := exact.Append(b.buf[b.end:b.end], uint64(b.frames))
	tail = append(tail, b.table...) // fits: Add reckoned with it
	clear(b.buf[b.end+len(tail) : b.size])
	binary.BigEndian.PutUint32(b.buf, uint32(b.end))
	binary.BigEndian.PutUint32(b.buf[4:], uint32(len(tail)))
	b.finished = true
	return b.buf[:b.size:b.size], tail[:len(tail):len(tail)]
}
