package transfer

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source"
)

// Scanned is what a scan found.
type Scanned struct {
	Kinds   map[string]item.Tally `json:"kinds"` // all of the collection, by kind name
	Total   item.Tally            `json:"total"`
	ToRead  item.Tally            `json:"to_read"` // files whose content is not in the store yet
	Changed bool                  `json:"changed"` // something differs from the epoch before
	Losses  int64                 `json:"losses"`  // what is left behind

	Earlier bool `json:"-"` // an earlier run has made this scan; there may be more by now
}

func scannedKey(epoch uint64) []byte { return scanKey(epoch, 0)[:9:9] }

var scannedPrefix = []byte("S")

// Scan reads what the source holds into the journal as the scan pages of the epoch
// (1 for the first), without opening any file but address books and calendars. Items
// that are as the epoch before left them keep their ordinals and extents; the rest is to
// be read by Uploader.Content. A scan that was completed before is not repeated: Scan
// then returns what it found. One that finds nothing, or nothing new, leaves no trace, so
// that the next looks again. Memory is bounded by a few pages a kind.
func Scan(ctx context.Context, src source.Source, j *journal.Journal, epoch uint64, loss func(item.Loss)) (*Scanned, error) {
	return scan(ctx, src, j, epoch, false, loss)
}

// Rescan is Scan for an epoch that is to come even if nothing is new: its manifest must be where the one before is not.
func Rescan(ctx context.Context, src source.Source, j *journal.Journal, epoch uint64, loss func(item.Loss)) (*Scanned, error) {
	return scan(ctx, src, j, epoch, true, loss)
}

func scan(ctx context.Context, src source.Source, j *journal.Journal, epoch uint64, anew bool, loss func(item.Loss)) (*Scanned, error) {
	key := append(scannedPrefix, scannedKey(epoch)...)
	var res Scanned
	if err := j.GetJSON(key, &res); !errors.Is(err, journal.ErrNotFound) {
		res.Earlier = true
		return &res, err
	}
	s := &scanner{j: j, epoch: epoch, batch: j.Batch().DeletePrefix(scanPrefix(epoch)), kinds: map[item.Kind]*kindScan{}}
	s.res.Kinds, s.res.Changed = map[string]item.Tally{}, anew
	if epoch > 1 {
		if err := s.loadRuns(); err != nil {
			return nil, err
		}
	}
	err := src.Scan(ctx, s.take, func(l item.Loss) {
		if l.Reason.LeftBehind() {
			s.res.Losses++
		}
		loss(l)
	})
	if err != nil {
		return nil, err
	}
	for _, k := range item.Kinds {
		if err := s.finish(k); err != nil {
			return nil, err
		}
	}
	if s.res.Total.Items == 0 || epoch > 1 && !s.res.Changed {
		return &s.res, j.Batch().DeletePrefix(scanPrefix(epoch)).Commit()
	}
	if err := s.batch.PutJSON(key, &s.res).Commit(); err != nil {
		return nil, err
	}
	kill.Point(kill.SenderScanned)
	return &s.res, nil
}

// pageBudget is how many bytes of a page the scan fills, by its own reckoning; the
// manifest's limit is four times that.
const pageBudget = 256 << 10

type scanner struct {
	j     *journal.Journal
	epoch uint64
	batch *journal.Batch
	size  int // of the batch, about
	kinds map[item.Kind]*kindScan
	known item.Ordinal // lowest that the epoch before had not given
	next  item.Ordinal // lowest that no item has
	res   Scanned
}

// kindScan collects one kind's pages.
type kindScan struct {
	page       Local
	containers []int // by item of page: index in page of its container, -1 if Container is set or there is none
	size       int
	container  int          // index in page of the container whose records follow, -1 if it is elsewhere
	ordinal    item.Ordinal // of that container if it is elsewhere
	skip       bool         // that container is unchanged, its records are known
	runs       []*oldRun
	gone       map[item.Ordinal]bool // containers of the epoch before that were removed or changed: so are their records
}

func (s *scanner) kind(k item.Kind) *kindScan {
	ks := s.kinds[k]
	if ks == nil {
		ks = &kindScan{page: Local{Kind: k}, container: -1, gone: map[item.Ordinal]bool{}}
		s.kinds[k] = ks
	}
	return ks
}

// take is Scan's emit.
func (s *scanner) take(it *item.Item, st source.Stat) error {
	ks := s.kind(it.Kind)
	if it.Form == item.FormRecord {
		if ks.skip {
			return nil
		}
		return s.add(ks, it, st)
	}
	ks.skip, ks.container = false, -1
	known, err := s.match(ks, it, &st)
	if err != nil || known {
		return err
	}
	if err := s.add(ks, it, st); err != nil {
		return err
	}
	ks.container = len(ks.page.Items) - 1
	return nil
}

// add appends a new item.
func (s *scanner) add(ks *kindScan, it *item.Item, st source.Stat) error {
	cost := itemCost(it)
	if len(ks.page.Items) == maxPageItems || ks.size+cost > pageBudget && ks.size > 0 {
		if err := s.flush(ks); err != nil {
			return err
		}
	}
	at := -1
	n := *it
	if it.Form == item.FormRecord {
		if at = ks.container; at < 0 {
			n.Container = ks.ordinal
		}
	}
	ks.page.Items = append(ks.page.Items, n)
	ks.page.Stats = append(ks.page.Stats, st)
	ks.containers = append(ks.containers, at)
	ks.size += cost
	s.res.Changed = true
	s.count(&n)
	return nil
}

func (s *scanner) count(it *item.Item) {
	if it.Lost != item.ReasonNone {
		return
	}
	if it.Form != item.FormDir {
		t := s.res.Kinds[it.Kind.String()]
		t.Items++
		if it.Form == item.FormFile {
			t.Bytes += it.Size
			s.res.Total.Bytes += it.Size
		}
		s.res.Kinds[it.Kind.String()] = t
		s.res.Total.Items++
	}
	if wanting(it) {
		s.res.ToRead.Add(it.Size)
	}
}

var maxPageItems = manifest.MaxPageItems // tests have smaller pages

// itemCost reckons an item's size in a page, extents included.
func itemCost(it *item.Item) int {
	return 48 + len(it.Path) + len(it.Identity) + 16*len(it.Ranges) + int(it.Size>>20)*8
}

// flush gives the page's items their ordinals and writes it.
func (s *scanner) flush(ks *kindScan) error {
	p := &ks.page
	if len(p.Items) == 0 {
		return nil
	}
	p.First = s.next
	for i := range p.Items {
		p.Items[i].Ordinal = s.next
		if c := ks.containers[i]; c >= 0 {
			p.Items[i].Container = p.First + item.Ordinal(c)
		}
		s.next++
	}
	if ks.container >= 0 {
		ks.ordinal, ks.container = p.First+item.Ordinal(ks.container), -1
	}
	err := s.write(p)
	ks.page = Local{Kind: p.Kind, Items: p.Items[:0], Stats: p.Stats[:0]}
	ks.containers, ks.size = ks.containers[:0], 0
	return err
}

// write puts a page into the batch, and the batch into the journal when it is large.
func (s *scanner) write(p *Local) error {
	v, err := encodePage(p)
	if err != nil {
		return err
	}
	s.batch.Put(scanKey(s.epoch, p.First), v)
	if s.size += len(v); s.size < 4<<20 {
		return nil
	}
	return s.commit()
}

func (s *scanner) commit() error {
	err := s.batch.Commit()
	s.batch, s.size = s.j.Batch(), 0
	return err
}

func (s *scanner) finish(k item.Kind) error {
	ks := s.kinds[k]
	if ks == nil {
		return nil
	}
	for _, r := range ks.runs {
		for r.page != nil {
			if err := s.advance(ks, r); err != nil {
				return err
			}
		}
	}
	if err := s.flush(ks); err != nil || s.epoch == 1 || !kind.HasRecords(k) {
		return err
	}
	return s.oldRecords(ks)
}

// oldRecords settles the records that the epoch before knew, once it is known which
// containers are gone: a record may lie far from its container, in another run.
func (s *scanner) oldRecords(ks *kindScan) error {
	if err := s.commit(); err != nil {
		return err
	}
	err := s.j.Each(scanPrefix(s.epoch), func(k, v []byte) error {
		if ordinalOfKey(k) >= s.known || kindOfPage(v) != ks.page.Kind {
			return nil
		}
		p, err := decodePage(v)
		if err != nil {
			return err
		}
		dirty := false
		for i := range p.Items {
			it := &p.Items[i]
			if it.Form != item.FormRecord {
				continue
			}
			if ks.gone[it.Container] && it.Lost != item.ReasonRemoved {
				it.Lost, dirty = item.ReasonRemoved, true
			}
			s.count(it)
		}
		if !dirty {
			return nil
		}
		return s.write(p)
	})
	return err
}

// walkOrder compares two paths in the order of a scan: component by component, a
// directory before what it holds.
func walkOrder(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			if a[i] == '/' {
				return -1
			}
			if b[i] == '/' {
				return 1
			}
			return strings.Compare(a[i:i+1], b[i:i+1])
		}
	}
	return len(a) - len(b)
}

// oldRun is a cursor over pages of the epoch before whose paths ascend. What it
// passes is copied into the new epoch's pages.
type oldRun struct {
	firsts []item.Ordinal // of the pages that follow
	page   *Local         // nil at the end
	at     int
	last   string // path of the last item of the run so far, while runs are found
}

// loadRuns finds the runs of every kind.
func (s *scanner) loadRuns() error {
	err := s.j.Each(donePrefix(s.epoch-1), func(k, v []byte) error {
		p, err := decodePage(v)
		if err != nil {
			return err
		}
		s.next = max(s.next, p.First+item.Ordinal(len(p.Items)))
		s.known = s.next
		first, last := "", ""
		for i := range p.Items {
			if path := p.Items[i].Path; path != "" {
				if first == "" {
					first = path
				}
				last = path
			}
		}
		ks := s.kind(p.Kind)
		n := len(ks.runs)
		if n == 0 || first != "" && walkOrder(ks.runs[n-1].last, first) >= 0 {
			ks.runs = append(ks.runs, &oldRun{})
			n++
		}
		r := ks.runs[n-1]
		r.firsts = append(r.firsts, p.First)
		if last != "" {
			r.last = last
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, ks := range s.kinds {
		for _, r := range ks.runs {
			if err := s.nextPage(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *scanner) nextPage(r *oldRun) error {
	r.page, r.at = nil, 0
	if len(r.firsts) == 0 {
		return nil
	}
	v, err := s.j.Get(doneKey(s.epoch-1, r.firsts[0]))
	if err != nil {
		return err
	}
	r.firsts = r.firsts[1:]
	r.page, err = decodePage(v)
	return err
}

// step moves past the item at the cursor, which stays as it is in r.page.
func (s *scanner) step(r *oldRun) error {
	if it := &r.page.Items[r.at]; it.Form != item.FormRecord {
		s.owed(it)
		s.count(it)
	}
	if r.at++; r.at < len(r.page.Items) {
		return nil
	}
	if err := s.write(r.page); err != nil {
		return err
	}
	return s.nextPage(r)
}

// advance moves past an item that the scan did not find again: it is removed, unless
// it is a record, which oldRecords settles.
func (s *scanner) advance(ks *kindScan, r *oldRun) error {
	if it := &r.page.Items[r.at]; it.Form != item.FormRecord && it.Lost != item.ReasonRemoved {
		it.Lost, it.Extents = item.ReasonRemoved, nil
		s.noteGone(ks, it)
	}
	return s.step(r)
}

// match looks an item up among those of the epoch before. If it is known, its page has
// it in its present form, and its ordinal is set for the records that follow.
func (s *scanner) match(ks *kindScan, it *item.Item, st *source.Stat) (known bool, err error) {
	for _, r := range ks.runs {
		for r.page != nil {
			old := &r.page.Items[r.at]
			if old.Form != item.FormRecord {
				if c := walkOrder(old.Path, it.Path); c > 0 || c == 0 && continues(old, &r.page.Stats[r.at], it, st) {
					break
				}
			}
			if err := s.advance(ks, r); err != nil {
				return false, err
			}
		}
		if r.page == nil || r.page.Items[r.at].Path != it.Path {
			continue
		}
		s.renew(ks, r, it, st)
		return true, s.step(r)
	}
	return false, nil
}

// continues reports whether an item of the same path is the old one in the sense that it
// keeps its ordinal. A receiver may have planned the old one: what was removed has lost its
// place there, what was lost never had one, and a place is for a file or for a directory.
func continues(old *item.Item, was *source.Stat, it *item.Item, st *source.Stat) bool {
	switch old.Lost {
	case item.ReasonNone:
		return old.Form == it.Form
	case item.ReasonUnreadable: // it stays so until something about it changes
		return old.Form == it.Form && st.Same(*was)
	}
	return false
}

// renew compares an item with what it was and takes over what changed.
func (s *scanner) renew(ks *kindScan, r *oldRun, it *item.Item, st *source.Stat) {
	old, was := &r.page.Items[r.at], &r.page.Stats[r.at]
	ks.ordinal, ks.skip = old.Ordinal, true
	if it.Form == item.FormDir || st.Same(*was) {
		if old.Perm != it.Perm || old.ModTime != it.ModTime || it.Form == item.FormDir && !slices.EqualFunc(old.XAttrs, it.XAttrs, sameXAttr) {
			old.Perm, old.ModTime, s.res.Changed = it.Perm, it.ModTime, true
			if it.Form == item.FormDir {
				old.XAttrs = it.XAttrs
			}
		}
		*was = *st
		return
	}
	ordinal, revision := old.Ordinal, old.Revision
	*old = *it
	old.Ordinal, old.Revision = ordinal, revision+1
	*was = *st
	s.noteGone(ks, old)
	ks.skip = false
}

// noteGone notes a container whose records are void.
func (s *scanner) noteGone(ks *kindScan, it *item.Item) {
	s.res.Changed = true
	if kind.HasRecords(it.Kind) {
		ks.gone[it.Ordinal] = true
	}
}

func sameXAttr(a, b item.XAttr) bool { return a.Name == b.Name && bytes.Equal(a.Value, b.Value) }
