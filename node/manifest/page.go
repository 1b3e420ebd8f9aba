package manifest

import (
	"slices"

	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/node/item"
)

// Page is a run of items of one kind with consecutive ordinals.
//
// A page decoded into a reused Page overwrites the slices of the items decoded before;
// strings stay. Every item of a page may share memory with the others: clone what is
// to outlive the page.
type Page struct {
	Kind  item.Kind
	First item.Ordinal // of Items[0]; the ordinals follow one by one
	Items []item.Item

	// Backing memory of the items, used again by DecodeInto.
	text    []byte // paths, taken-at times and identities, item by item
	spans   []span // one for each item
	extents []item.Extent
	ranges  []item.Range
	xattrs  []item.XAttr
}

// span is where an item's parts of the backing memory end.
type span struct{ path, taken, identity, extents, ranges, xattrs int }

// An encoded page is: byte kind, varint First, varint count, items. An item is a head
// byte and the fields that its head announces, in the order of appendItem. Everything
// that often repeats is told against the items before it in the page: see state.

// Bits of the head byte.
const (
	headForm      = 3      // Form − 1
	headExtents   = 3 << 2 // file: noExtents, nextExtent or listExtents
	headPerm      = 1 << 4 // Perm as that of the last item of the form; record: Container as that of the last record
	headRevision  = 1 << 5 // Revision as that of the last item
	headSeconds   = 1 << 6 // ModTime is whole seconds
	headMore      = 1 << 7 // a byte of more bits follows; any other bit in it is an error
	extentsShift  = 2
	noExtents     = 0 << extentsShift
	nextExtent    = 1 << extentsShift // one, which begins where the last item's ended, and has all of Size
	listExtents   = 2 << extentsShift
	moreTakenAt   = 1 << 0
	moreIdentity  = 1 << 1
	moreXAttrs    = 1 << 2
	moreLost      = 1 << 3
	placeNext     = 0      // an extent that begins where the last one ended
	placeFrame    = 1      // at the start of the next frame of the same pack
	placePack     = 2      // in another pack: zigzag varint of the distance, varint Frame, varint Offset
	placeElse     = 3      // elsewhere in the same pack: zigzag varint of the frame's distance, varint Offset
	lengthRest    = 1 << 2 // the length is all that is left of Size, or a whole chunk
	defaultPerm   = 0o644
	defaultDir    = 0o755
	second        = 1_000_000_000
	headerReserve = 1 + 10 + 3
)

// state is what items are told against. It starts anew with each page.
type state struct {
	path      []byte // encoder: the last path
	perms     [2]uint16
	revision  uint32
	modTime   int64
	extent    item.Extent
	container item.Ordinal
	rangeEnd  int64
}

func newState(path []byte) state {
	return state{path: path[:0], perms: [2]uint16{defaultPerm, defaultDir}}
}

// AppendPage appends the encoding of p. The error is ErrFull if p is beyond
// MaxPageItems, MaxPageBytes or another limit of a page, and otherwise says which item is not valid.
func AppendPage(dst []byte, p *Page) ([]byte, error) {
	b := NewPageBuilder(p.Kind, p.First)
	for i := range p.Items {
		added, err := b.Add(&p.Items[i])
		if err != nil {
			return nil, err
		}
		if !added {
			return nil, ErrFull
		}
	}
	return append(dst, b.Bytes()...), nil
}

// PageBuilder encodes one page after the other, item by item. It is for one goroutine
// at a time and keeps nothing of what it is given.
type PageBuilder struct {
	kind    item.Kind
	first   item.Ordinal
	count   int
	paths   int
	extents int
	state   state
	buf     []byte // the header goes right in front of buf[headerReserve:]
}

// NewPageBuilder returns a builder of a page that starts with the given ordinal.
func NewPageBuilder(kind item.Kind, first item.Ordinal) *PageBuilder {
	b := &PageBuilder{buf: make([]byte, headerReserve, 64<<10)}
	b.Reset(kind, first)
	return b
}

// Reset begins another page. What Bytes returned is then overwritten.
func (b *PageBuilder) Reset(kind item.Kind, first item.Ordinal) {
	b.kind, b.first, b.count, b.paths, b.extents = kind, first, 0, 0, 0
	b.state, b.buf = newState(b.state.path), b.buf[:headerReserve]
}

// Count is the number of items in the page.
func (b *PageBuilder) Count() int { return b.count }

// Add encodes the next item, whose ordinal must be the next and whose kind the page's.
// added is false if the page has no room for it; the page is then as before, and the item
// begins another one. An item that does not fit an empty page can't be moved: its error is
// ErrLimit. Any other error says why the item is not valid.
func (b *PageBuilder) Add(it *item.Item) (added bool, err error) {
	if it.Kind != b.kind || it.Ordinal != b.first+item.Ordinal(b.count) {
		return false, at(it.Ordinal, ErrItem)
	}
	if it.Ordinal >= MaxItems {
		return false, at(it.Ordinal, ErrLimit)
	}
	if err := checkItem(it); err != nil {
		return false, at(it.Ordinal, err)
	}
	if it.Form != item.FormRecord {
		if err := CheckPath(it.Path); err != nil {
			return false, at(it.Ordinal, err)
		}
	}
	many := len(it.Extents) + len(it.Ranges)
	if b.count < MaxPageItems && b.paths+len(it.Path) <= MaxPagePaths && b.extents+many <= MaxPageExtents {
		end, last := len(b.buf), b.state
		b.buf = b.state.appendItem(b.buf, it)
		if b.size(b.count+1) <= MaxPageBytes {
			if it.Form != item.FormRecord {
				b.state.path = append(b.state.path[:0], it.Path...)
			}
			b.count++
			b.paths += len(it.Path)
			b.extents += many
			return true, nil
		}
		b.buf, b.state = b.buf[:end], last
	}
	if b.count == 0 {
		return false, at(it.Ordinal, ErrLimit)
	}
	return false, nil
}

// size is the length of Bytes if the items in buf are count.
func (b *PageBuilder) size(count int) int {
	return 1 + exact.Size(uint64(b.first)) + exact.Size(uint64(count)) + len(b.buf) - headerReserve
}

// Bytes returns the encoded page, which belongs to b until Reset or Add. Its length
// is at most MaxPageBytes.
func (b *PageBuilder) Bytes() []byte {
	var h [headerReserve]byte
	head := append(h[:0], byte(b.kind))
	head = exact.Append(head, uint64(b.first))
	head = exact.Append(head, uint64(b.count))
	start := headerReserve - len(head)
	copy(b.buf[start:], head)
	return b.buf[start:]
}

// appendItem appends a valid item and moves all of the state but the path.
func (s *state) appendItem(dst []byte, it *item.Item) []byte {
	at := len(dst)
	dst = append(dst, 0)
	head := byte(it.Form - 1)
	var more byte
	if more = moreBits(it); more != 0 {
		head |= headMore
		dst = append(dst, more)
	}
	if it.Revision == s.revision {
		head |= headRevision
	} else {
		dst = exact.Append(dst, uint64(it.Revision))
		s.revision = it.Revision
	}
	if it.Form == item.FormRecord {
		dst, head = s.appendRecord(dst, head, it)
	} else {
		dst, head = s.appendFile(dst, head, it)
	}
	dst = appendMore(dst, more, it)
	dst[at] = head
	return dst
}

func moreBits(it *item.Item) (more byte) {
	if it.TakenAt != "" {
		more |= moreTakenAt
	}
	if len(it.Identity) != 0 {
		more |= moreIdentity
	}
	if len(it.XAttrs) != 0 {
		more |= moreXAttrs
	}
	if it.Lost != item.ReasonNone {
		more |= moreLost
	}
	return more
}

func appendMore(dst []byte, more byte, it *item.Item) []byte {
	if more&moreTakenAt != 0 {
		dst = exact.AppendBytes(dst, it.TakenAt)
	}
	if more&moreIdentity != 0 {
		dst = exact.AppendBytes(dst, it.Identity)
	}
	if more&moreXAttrs != 0 {
		dst = exact.Append(dst, uint64(len(it.XAttrs)))
		for i := range it.XAttrs {
			dst = exact.AppendBytes(dst, it.XAttrs[i].Name)
			dst = exact.AppendBytes(dst, it.XAttrs[i].Value)
		}
	}
	if more&moreLost != 0 {
		dst = append(dst, byte(it.Lost))
	}
	return dst
}

// appendFile appends the fields of a file or directory.
func (s *state) appendFile(dst []byte, head byte, it *item.Item) ([]byte, byte) {
	shared := commonPrefix(s.path, it.Path)
	dst = exact.Append(dst, uint64(shared))
	dst = exact.AppendBytes(dst, it.Path[shared:])
	if perm := &s.perms[it.Form-1]; *perm == it.Perm {
		head |= headPerm
	} else {
		dst = exact.Append(dst, uint64(it.Perm))
		*perm = it.Perm
	}
	if it.ModTime%second == 0 {
		head |= headSeconds
		dst = exact.Append(dst, exact.Zigzag(it.ModTime/second-floorSecond(s.modTime)))
	} else {
		dst = exact.Append(dst, exact.Zigzag(it.ModTime-s.modTime)) // modulo 2⁶⁴
	}
	s.modTime = it.ModTime
	if it.Form == item.FormDir {
		return dst, head
	}
	dst = exact.Append(dst, uint64(it.Size))
	switch {
	case len(it.Extents) == 0:
		head |= noExtents
	case len(it.Extents) == 1 && it.Extents[0] == s.next(it.Size):
		head |= nextExtent
		s.extent = it.Extents[0]
	default:
		head |= listExtents
		dst = s.appendExtents(dst, it)
	}
	return dst, head
}

// next is the extent that a file of the given size has if its content follows that of the one before.
func (s *state) next(size int64) item.Extent {
	return item.Extent{Pack: s.extent.Pack, Frame: s.extent.Frame, Offset: s.extent.Offset + s.extent.Length, Length: uint32(size)}
}

func (s *state) appendExtents(dst []byte, it *item.Item) []byte {
	dst = exact.Append(dst, uint64(len(it.Extents)))
	left := it.Size
	for _, e := range it.Extents {
		code := s.place(&e)
		if int64(e.Length) == min(left, MaxPageBytes) {
			code |= lengthRest
		}
		dst = append(dst, code)
		switch code & 3 {
		case placePack:
			dst = exact.Append(dst, exact.Zigzag(int64(e.Pack)-int64(s.extent.Pack)))
			dst = exact.Append(dst, uint64(e.Frame))
			dst = exact.Append(dst, uint64(e.Offset))
		case placeElse:
			dst = exact.Append(dst, exact.Zigzag(int64(e.Frame)-int64(s.extent.Frame)))
			dst = exact.Append(dst, uint64(e.Offset))
		}
		if code&lengthRest == 0 {
			dst = exact.Append(dst, uint64(e.Length))
		}
		left -= int64(e.Length)
		s.extent = e
	}
	return dst
}

// place says how e lies to the extent before it. The first that applies is the one.
func (s *state) place(e *item.Extent) byte {
	last := &s.extent
	switch {
	case e.Pack != last.Pack:
		return placePack
	case e.Frame == last.Frame && e.Offset == last.Offset+last.Length:
		return placeNext
	case e.Frame == last.Frame+1 && e.Offset == 0:
		return placeFrame
	}
	return placeElse
}

// appendRecord appends the fields of a record. Ranges are told as gap and length.
func (s *state) appendRecord(dst []byte, head byte, it *item.Item) ([]byte, byte) {
	if it.Container == s.container {
		head |= headPerm
	} else {
		dst = exact.Append(dst, uint64(it.Ordinal-it.Container))
		s.container, s.rangeEnd = it.Container, 0
	}
	dst = exact.Append(dst, uint64(len(it.Ranges)))
	dst = exact.Append(dst, exact.Zigzag(it.Ranges[0].Offset-s.rangeEnd))
	for i, r := range it.Ranges {
		if i > 0 {
			dst = exact.Append(dst, uint64(r.Offset-s.rangeEnd))
		}
		dst = exact.Append(dst, uint64(r.Length))
		s.rangeEnd = r.Offset + r.Length
	}
	return dst, head
}

// floorSecond is the second that a time in nanoseconds lies in.
func floorSecond(ns int64) int64 {
	s := ns / second
	if ns%second < 0 {
		s--
	}
	return s
}

func commonPrefix(a []byte, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Clone returns a copy of an item that shares no memory with its page.
func Clone(it *item.Item) item.Item {
	c := *it
	c.Path = string([]byte(it.Path))
	c.Identity, c.Ranges, c.Extents = slices.Clone(it.Identity), slices.Clone(it.Ranges), slices.Clone(it.Extents)
	c.XAttrs = slices.Clone(it.XAttrs)
	return c
}
