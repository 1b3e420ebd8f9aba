package manifest

import (
	"fmt"
	"math"
	"slices"

	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
)

// DecodePage decodes a page. Nothing of the result aliases b.
func DecodePage(b []byte) (*Page, error) {
	p := new(Page)
	if err := p.DecodeInto(b); err != nil {
		return nil, err
	}
	return p, nil
}

// DecodeInto is DecodePage into p's memory; see Page for what that overwrites. On error p has no items.
func (p *Page) DecodeInto(b []byte) error {
	p.Items, p.text, p.spans = p.Items[:0], p.text[:0], p.spans[:0]
	p.extents, p.ranges, p.xattrs = p.extents[:0], p.ranges[:0], p.xattrs[:0]
	if len(b) > MaxPageBytes {
		return ErrLimit
	}
	d := decoder{Reader: exact.NewReader(b), page: p, state: newState(nil)}
	p.Kind = item.Kind(d.Byte())
	p.First = item.Ordinal(d.Max(MaxItems - 1))
	count := int(d.Max(MaxPageItems))
	if d.Failed() || count > d.Len() { // an item is more than a byte
		return ErrEncoding
	}
	if int(p.First)+count > MaxItems {
		return ErrLimit
	}
	p.Items = slices.Grow(p.Items, count)
	p.spans = slices.Grow(p.spans, count)
	for i := range count {
		it := item.Item{Kind: p.Kind, Ordinal: p.First + item.Ordinal(i)}
		if err := d.item(&it); err != nil {
			p.Items = p.Items[:0]
			return at(it.Ordinal, err)
		}
		p.Items = append(p.Items, it)
	}
	if !d.Done() {
		p.Items = p.Items[:0]
		return ErrEncoding
	}
	p.link()
	return nil
}

// link points the items into the backing memory, which no longer moves.
func (p *Page) link() {
	text, last := string(p.text), span{}
	for i := range p.Items {
		it, s := &p.Items[i], p.spans[i]
		it.Path = text[last.identity:s.path]
		it.TakenAt = text[s.path:s.taken]
		it.Identity = cut(p.text, s.taken, s.identity)
		it.Extents = cut(p.extents, last.extents, s.extents)
		it.Ranges = cut(p.ranges, last.ranges, s.ranges)
		it.XAttrs = cut(p.xattrs, last.xattrs, s.xattrs)
		last = s
	}
}

// cut is nil for an empty run, so that a decoded item equals the one encoded.
func cut[T any](s []T, from, to int) []T {
	if from == to {
		return nil
	}
	return s[from:to:to]
}

// decoder reads the items of one page.
type decoder struct {
	exact.Reader
	page *Page
	state
	pathFrom, pathTo int // where the last path lies in page.text
	paths            int // bytes of all paths
}

// item reads one item; what lies in the backing memory is left to link.
func (d *decoder) item(it *item.Item) error {
	head, more := d.Byte(), byte(0)
	if head&headMore != 0 {
		if more = d.Byte(); more == 0 || more > moreTakenAt|moreIdentity|moreXAttrs|moreLost {
			return ErrEncoding
		}
	}
	it.Form = item.Form(head&headForm + 1)
	it.Revision = d.revision
	if head&headRevision == 0 {
		if it.Revision = uint32(d.Max(math.MaxUint32)); it.Revision == d.revision {
			return ErrEncoding
		}
		d.revision = it.Revision
	}
	first := span{extents: len(d.page.extents), ranges: len(d.page.ranges), xattrs: len(d.page.xattrs)}
	var s span
	var err error
	switch it.Form {
	case item.FormFile, item.FormDir:
		err = d.file(it, head)
	case item.FormRecord:
		err = d.record(it, head)
	default:
		err = ErrEncoding
	}
	s.path = len(d.page.text)
	if err == nil {
		s.taken, err = d.more(it, more)
	}
	if err != nil {
		return err
	}
	if d.Failed() {
		return ErrEncoding
	}
	s.identity = len(d.page.text)
	s.extents, s.ranges, s.xattrs = len(d.page.extents), len(d.page.ranges), len(d.page.xattrs)
	d.page.spans = append(d.page.spans, s)
	return d.check(it, first, s)
}

// check validates the item with what belongs to it of the backing memory.
func (d *decoder) check(it *item.Item, first, s span) error {
	full := *it
	full.TakenAt = string(d.page.text[s.path:s.taken])
	full.Identity = d.page.text[s.taken:s.identity]
	full.Extents = d.page.extents[first.extents:s.extents]
	full.Ranges = d.page.ranges[first.ranges:s.ranges]
	full.XAttrs = d.page.xattrs[first.xattrs:s.xattrs]
	return checkItem(&full)
}

// file reads the fields of a file or directory.
func (d *decoder) file(it *item.Item, head byte) error {
	if err := d.path(); err != nil {
		return err
	}
	perm := &d.perms[it.Form-1]
	it.Perm = *perm
	if head&headPerm == 0 {
		if it.Perm = uint16(d.Max(0o777)); it.Perm == *perm {
			return ErrEncoding
		}
		*perm = it.Perm
	}
	if !d.time(it, head&headSeconds != 0) {
		return ErrEncoding
	}
	if it.Form == item.FormDir {
		if head&headExtents != noExtents {
			return ErrEncoding
		}
		return nil
	}
	if it.Size = int64(d.Max(item.MaxSize)); d.Failed() {
		return ErrEncoding
	}
	switch head & headExtents {
	case noExtents:
		return nil
	case nextExtent:
		if it.Size < 1 || it.Size > pack.MaxChunk {
			return ErrExtent
		}
		d.extent = d.next(it.Size)
		d.page.extents = append(d.page.extents, d.extent) // at most one for each item
		return nil
	case listExtents:
		return d.list(it)
	}
	return ErrEncoding
}

// path reads a path and appends it to the page's text.
func (d *decoder) path() error {
	shared := int(d.Max(uint64(d.pathTo - d.pathFrom)))
	suffix := d.Prefixed(item.MaxPath)
	size := shared + len(suffix)
	if d.paths += size; d.Failed() || size > item.MaxPath {
		return ErrEncoding
	}
	if d.paths > MaxPagePaths {
		return ErrLimit
	}
	text, last := d.page.text, d.pathFrom+shared
	if last < d.pathTo && len(suffix) > 0 && text[last] == suffix[0] { // shares more than it says
		return ErrEncoding
	}
	d.page.text = append(append(text, text[d.pathFrom:last]...), suffix...)
	d.pathFrom, d.pathTo = len(text), len(d.page.text)
	return checkPath(d.page.text[d.pathFrom:])
}

// time reads ModTime, which is of whole seconds if and only if the head says so.
func (d *decoder) time(it *item.Item, seconds bool) bool {
	delta := d.Varint()
	if seconds {
		const most = math.MaxInt64 / second
		sec := floorSecond(d.modTime) + delta
		if delta < -2*most-1 || delta > 2*most+1 || sec < -most || sec > most {
			return false
		}
		it.ModTime = sec * second
	} else if it.ModTime = d.modTime + delta; it.ModTime%second == 0 {
		return false
	}
	d.modTime = it.ModTime
	return true
}

// list reads extents one by one.
func (d *decoder) list(it *item.Item) error {
	count := d.Max(MaxPageExtents)
	if count == 0 || count > uint64(d.Len()) {
		return ErrEncoding
	}
	if len(d.page.extents)+len(d.page.ranges)+int(count) > MaxPageExtents {
		return ErrLimit
	}
	d.page.extents = slices.Grow(d.page.extents, int(count))
	only, left := d.next(it.Size), it.Size
	for range count {
		e, ok := d.listed(left)
		if !ok || count == 1 && e == only {
			return ErrEncoding
		}
		d.page.extents = append(d.page.extents, e)
		d.extent = e
		left -= int64(e.Length)
	}
	return nil
}

// listed reads one extent; left is how much of the item's size is not told yet.
func (d *decoder) listed(left int64) (item.Extent, bool) {
	code, last := d.Byte(), &d.extent
	e := item.Extent{Pack: last.Pack, Frame: last.Frame}
	switch code & 3 {
	case placeNext:
		e.Offset = last.Offset + last.Length
	case placeFrame:
		e.Frame++
	case placePack:
		e.Pack = d.near(uint64(last.Pack), MaxPacks)
		e.Frame = uint16(d.Max(pack.MaxFrames - 1))
		e.Offset = uint32(d.Max(pack.MaxChunk))
	case placeElse:
		e.Frame = uint16(d.near(uint64(last.Frame), pack.MaxFrames))
		e.Offset = uint32(d.Max(pack.MaxChunk))
	}
	rest := min(left, MaxPageBytes)
	if code&lengthRest != 0 {
		if rest < 1 {
			return e, false
		}
		e.Length = uint32(rest)
	} else if e.Length = uint32(d.Max(pack.MaxChunk)); int64(e.Length) == rest {
		return e, false
	}
	return e, !d.Failed() && code < lengthRest<<1 && d.place(&e) == code&3 && e.Offset <= pack.MaxChunk-e.Length
}

// near reads a number below limit that is told by its distance from another such number.
func (d *decoder) near(from, limit uint64) uint32 {
	n := from + uint64(d.Varint())
	if n >= limit {
		d.Fail()
		return 0
	}
	return uint32(n)
}

// record reads the fields of a record.
func (d *decoder) record(it *item.Item, head byte) error {
	if head&(headExtents|headSeconds) != 0 {
		return ErrEncoding
	}
	if it.Container = d.container; head&headPerm == 0 {
		distance := d.Max(uint64(it.Ordinal))
		if it.Container = it.Ordinal - item.Ordinal(distance); it.Container == d.container {
			return ErrEncoding
		}
		d.container, d.rangeEnd = it.Container, 0
	}
	count := int(d.Max(item.MaxRanges))
	if count > d.Len() {
		return ErrEncoding
	}
	if count+len(d.page.extents)+len(d.page.ranges) > MaxPageExtents {
		return ErrLimit
	}
	for i := range count {
		gap := int64(0)
		if i == 0 {
			gap = d.Varint()
		} else {
			gap = int64(d.Max(item.MaxSize))
		}
		r := item.Range{Offset: d.rangeEnd + gap, Length: int64(d.Max(item.MaxSize))}
		if r.Offset < 0 || r.Offset > item.MaxSize { // rangeEnd is at most twice MaxSize, so a large gap can't come round
			return ErrItem
		}
		d.page.ranges = append(d.page.ranges, r)
		d.rangeEnd = r.Offset + r.Length
		it.Size += r.Length
	}
	return nil
}

// more reads the fields that few items have, and returns where TakenAt ends in the page's text.
func (d *decoder) more(it *item.Item, more byte) (taken int, err error) {
	p := d.page
	if more&moreTakenAt != 0 {
		p.text = append(p.text, d.nonEmpty(maxTakenAt)...)
	}
	taken = len(p.text)
	if more&moreIdentity != 0 {
		p.text = append(p.text, d.nonEmpty(item.MaxIdentity)...)
	}
	if more&moreXAttrs != 0 {
		if err := d.xattrs(); err != nil {
			return 0, err
		}
	}
	if more&moreLost != 0 {
		if it.Lost = item.Reason(d.Byte()); it.Lost == item.ReasonNone {
			return 0, ErrEncoding
		}
	}
	return taken, nil
}

func (d *decoder) nonEmpty(max int) []byte {
	b := d.Prefixed(max)
	if len(b) == 0 {
		d.Fail()
	}
	return b
}

func (d *decoder) xattrs() error {
	count := d.Max(item.MaxXAttrs)
	if count == 0 {
		return ErrEncoding
	}
	for range count {
		name, value := d.Prefixed(item.MaxComponent), d.Prefixed(item.MaxXAttrSize)
		if d.Failed() {
			return fmt.Errorf("attributes: %w", ErrEncoding)
		}
		d.page.xattrs = append(d.page.xattrs, item.XAttr{Name: string(name), Value: append([]byte{}, value...)})
	}
	return nil
}
