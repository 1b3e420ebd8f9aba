package transfer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/node/source"
)

// completion follows which items of an epoch are durable in the store, page by page.
// It is fed with the tables of durable packs only, so that a run after a crash replays
// the journal's pack records through the same code and stands where the last run stood.
//
// A page is in memory from the moment its first item is wanted until its last item is
// durable; it is then written to the journal with its extents, under its done key.
type completion struct {
	j     *journal.Journal
	epoch uint64
	pages []pageSpan // in ordinal order, fixed after load

	mu   sync.Mutex        // guards what follows and every openPage
	open map[int]*openPage // by index into pages

	itemsDone, bytesDone int64
}

type pageSpan struct {
	first item.Ordinal
	count int
	needs int   // items that are still to be read, as the scan left it
	bytes int64 // and their bytes
	done  bool
}

// openPage is one page that is being completed.
type openPage struct {
	*Local
	index int
	left  int           // items that still lack content
	got   []int64       // bytes durable, by item
	runs  map[int][]run // of items whose content is durable in part, by offset
}

// run is one extent of an item with the place in the item where it belongs.
type run struct {
	offset int64
	extent item.Extent
}

// wanting reports whether the item has content that is not referenced yet.
func wanting(it *item.Item) bool {
	return it.HasContent() && it.Size > 0 && len(it.Extents) == 0
}

const pageHead = 4 + 4 + 8

// encodePage encodes a page for the journal, with its span in front.
func encodePage(l *Local) ([]byte, error) {
	needs, bytes := 0, int64(0)
	for i := range l.Items {
		if wanting(&l.Items[i]) {
			needs++
			bytes += l.Items[i].Size
		}
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(l.Items)))
	head = binary.BigEndian.AppendUint32(head, uint32(needs))
	return appendLocal(binary.BigEndian.AppendUint64(head, uint64(bytes)), l)
}

// kindOfPage returns the kind of what encodePage made: each of its parts begins with it.
func kindOfPage(v []byte) item.Kind {
	if len(v) <= pageHead+4 {
		return item.File
	}
	return item.Kind(v[pageHead+4])
}

// decodePage decodes what encodePage made.
func decodePage(v []byte) (*Local, error) {
	if len(v) < pageHead {
		return nil, errLocal
	}
	return decodeLocal(v[pageHead:])
}

// spanOf reads what encodePage put in front.
func spanOf(first item.Ordinal, v []byte) (pageSpan, error) {
	if len(v) < pageHead {
		return pageSpan{}, errLocal
	}
	return pageSpan{first: first, count: int(binary.BigEndian.Uint32(v)), needs: int(binary.BigEndian.Uint32(v[4:])),
		bytes: int64(binary.BigEndian.Uint64(v[8:]))}, nil
}

func ordinalOfKey(k []byte) item.Ordinal { return item.Ordinal(binary.BigEndian.Uint64(k[len(k)-8:])) }

// loadCompletion reads where the epoch stands from the journal: its scan pages, the
// pages that are done, and the packs that are durable.
func loadCompletion(j *journal.Journal, epoch uint64) (*completion, error) {
	c := &completion{j: j, epoch: epoch, open: map[int]*openPage{}}
	done := map[item.Ordinal]bool{}
	err := j.Each(donePrefix(epoch), func(k, v []byte) error {
		done[ordinalOfKey(k)] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	b, size := j.Batch(), 0
	err = j.Each(scanPrefix(epoch), func(k, v []byte) error {
		s, err := spanOf(ordinalOfKey(k), v)
		if err != nil {
			return err
		}
		s.done = done[s.first]
		if s.done {
			c.itemsDone += int64(s.needs)
			c.bytesDone += s.bytes
		} else if s.needs == 0 { // nothing to read: done as it is
			s.done = true
			b.Put(doneKey(epoch, s.first), v)
			size += len(v)
		}
		c.pages = append(c.pages, s)
		if size < 4<<20 {
			return nil
		}
		err = b.Commit()
		b, size = j.Batch(), 0
		return err
	})
	if err == nil && size > 0 {
		err = b.Commit()
	}
	if err != nil {
		return nil, err
	}
	table := new(pack.Table)
	return c, j.Each(packPrefix, func(k, v []byte) error {
		rec, err := decodeRecord(v)
		if err != nil || rec.Purpose != contentPack || rec.Ref.Epoch != epoch {
			return err
		}
		return c.durable(&rec, table)
	})
}

// find returns the index of the page that holds the ordinal.
func (c *completion) find(o item.Ordinal) (int, bool) {
	i, ok := slices.BinarySearchFunc(c.pages, o, func(s pageSpan, o item.Ordinal) int { return cmp.Compare(s.first, o) })
	if !ok {
		i--
	}
	return i, i >= 0 && uint64(o-c.pages[i].first) < uint64(c.pages[i].count)
}

// page returns page i, read from the journal if it is not open, or nil if it is done.
func (c *completion) page(i int) (*openPage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.openLocked(i)
}

func (c *completion) openLocked(i int) (*openPage, error) {
	if c.pages[i].done {
		return nil, nil
	}
	if p := c.open[i]; p != nil {
		return p, nil
	}
	v, err := c.j.Get(scanKey(c.epoch, c.pages[i].first))
	if err != nil {
		return nil, err
	}
	l, err := decodePage(v)
	if err != nil {
		return nil, err
	}
	p := &openPage{Local: l, index: i, left: c.pages[i].needs, got: make([]int64, len(l.Items)), runs: map[int][]run{}}
	c.open[i] = p
	if p.left == 0 {
		return nil, c.finish(p)
	}
	return p, nil
}

// durable takes in a content pack that the store has and the journal knows. table is
// scratch memory.
func (c *completion) durable(rec *record, table *pack.Table) error {
	if err := table.ParseTableInto(rec.Table); err != nil {
		return fmt.Errorf("journal: pack %d: %w", rec.Ref.Index, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range rec.Updates {
		if err := c.updateLocked(&rec.Updates[i]); err != nil {
			return err
		}
	}
	for f := range table.Frames {
		frame := &table.Frames[f]
		offset := uint32(0)
		for _, e := range frame.Extents {
			at := run{e.Offset, item.Extent{Pack: rec.Ref.Index, Frame: uint16(f), Offset: offset, Length: e.Length}}
			offset += e.Length
			if err := c.coverLocked(e.Ordinal, e.Revision, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// item returns the open page and index of an ordinal; nil if the page is done.
func (c *completion) itemLocked(o item.Ordinal) (*openPage, int, error) {
	i, ok := c.find(o)
	if !ok {
		return nil, 0, fmt.Errorf("journal: no page holds item %d", o)
	}
	p, err := c.openLocked(i)
	return p, int(o - c.pages[i].first), err
}

// updateLocked takes over what reading the item found.
func (c *completion) updateLocked(u *update) error {
	p, i, err := c.itemLocked(u.Ordinal)
	if err != nil || p == nil {
		return err
	}
	it := &p.Items[i]
	if u.Revision < it.Revision || len(it.Extents) > 0 {
		return nil
	}
	if u.Revision > it.Revision {
		c.bytesDone -= p.got[i]
		p.got[i] = 0
		delete(p.runs, i)
	}
	it.Revision, it.Size, it.ModTime, it.Perm = u.Revision, u.Size, u.ModTime, u.Perm
	it.TakenAt, it.XAttrs = u.TakenAt, u.XAttrs
	p.Stats[i] = u.Stat
	return nil
}

func (c *completion) coverLocked(o item.Ordinal, revision uint32, r run) error {
	p, i, err := c.itemLocked(o)
	if err != nil || p == nil {
		return err
	}
	it := &p.Items[i]
	if it.Revision != revision || !wanting(it) {
		return nil // of an attempt that was given up, or told twice
	}
	n := int64(r.extent.Length)
	if r.offset == 0 && n == it.Size {
		c.bytesDone += n
		it.Extents = []item.Extent{r.extent}
		return c.completeLocked(p, i)
	}
	runs := p.runs[i]
	k, twice := slices.BinarySearchFunc(runs, r.offset, func(x run, offset int64) int { return cmp.Compare(x.offset, offset) })
	if twice {
		return nil
	}
	runs = slices.Insert(runs, k, r)
	p.runs[i] = runs
	c.bytesDone += n
	if p.got[i] += n; p.got[i] < it.Size {
		return nil
	}
	it.Extents = make([]item.Extent, len(runs))
	for k, r := range runs {
		it.Extents[k] = r.extent
	}
	delete(p.runs, i)
	return c.completeLocked(p, i)
}

func (c *completion) completeLocked(p *openPage, i int) error {
	c.itemsDone++
	return c.settle(p)
}

// settle counts one item less and finishes the page after its last.
func (c *completion) settle(p *openPage) error {
	if p.left--; p.left > 0 {
		return nil
	}
	return c.finish(p)
}

// lose marks an item as lost, for good in this epoch.
func (c *completion) lose(p *openPage, i int, why item.Reason) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := &p.Items[i]
	if !wanting(it) {
		return nil
	}
	it.Lost = why
	c.bytesDone -= p.got[i]
	delete(p.runs, i)
	return c.settle(p)
}

// emptied settles an item that turned out to have no content.
func (c *completion) emptied(u *update) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, i, err := c.itemLocked(u.Ordinal)
	if err != nil || p == nil || !wanting(&p.Items[i]) {
		return err
	}
	if err := c.updateLocked(u); err != nil {
		return err
	}
	return c.completeLocked(p, i)
}

// finish writes a page whose items are all settled.
func (c *completion) finish(p *openPage) error {
	v, err := encodePage(p.Local)
	if err != nil {
		return err
	}
	if err := c.j.Batch().Put(doneKey(c.epoch, p.First), v).Commit(); err != nil {
		return err
	}
	c.pages[p.index].done = true
	delete(c.open, p.index)
	return nil
}

// finished reports whether every page is done.
func (c *completion) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(c.pages, func(s pageSpan) bool { return !s.done })
}

// staleRecords takes the records out of the collection whose container was not read as
// the scan had found it: they may be others by now, or lie beyond its end. The file itself
// travels as it is, whatever is in it. The next scan takes such a container apart again, as it
// takes it for changed. Everything must be finished. It may be run again.
func (c *completion) staleRecords() error {
	stale := map[item.Ordinal]bool{}
	b, changed := c.j.Batch(), false
	err := c.j.Each(donePrefix(c.epoch), func(k, v []byte) error {
		if !kind.HasRecords(kindOfPage(v)) {
			return nil
		}
		l, err := decodePage(v)
		if err != nil {
			return err
		}
		before, err := c.j.Get(scanKey(c.epoch, l.First))
		if err != nil {
			return err
		}
		scanned, err := decodePage(before)
		if err != nil || len(scanned.Items) != len(l.Items) {
			return cmp.Or(err, errLocal)
		}
		dirty := false
		for i := range l.Items {
			it := &l.Items[i]
			switch {
			case it.Form == item.FormFile && it.Revision != scanned.Items[i].Revision:
				stale[it.Ordinal] = true
				l.Stats[i], dirty = source.Stat{}, true
			case it.Form == item.FormRecord && it.Lost == item.ReasonNone && stale[it.Container]:
				it.Lost, dirty = item.ReasonRemoved, true
			}
		}
		if !dirty {
			return nil
		}
		changed = true
		v, err = encodePage(l)
		b.Put(k, v)
		return err
	})
	if err != nil || !changed {
		return err
	}
	return b.Commit()
}

// missing returns the runs of an item that are not durable. c.mu is held.
func missing(p *openPage, i int) (out []item.Range) {
	at := int64(0)
	for _, r := range p.runs[i] {
		if r.offset > at {
			out = append(out, item.Range{Offset: at, Length: r.offset - at})
		}
		at = r.offset + int64(r.extent.Length)
	}
	if size := p.Items[i].Size; at < size {
		out = append(out, item.Range{Offset: at, Length: size - at})
	}
	return out
}
