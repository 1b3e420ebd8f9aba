package transfer

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/proto/wire"
)

// cut is how content is cut into chunks. pack.MaxChunk and the pack's size are limits;
// these are choices.
type cut struct {
	piece int64 // a large file's pieces never cross a multiple of this
	small int64 // up to this size a file is read whole and shares its chunk with its neighbours
	chunk int64 // a shared chunk is closed when it holds this much: larger ones compress no better and leave larger gaps at the end of a pack
	fill  int   // a raw piece is cut to fill a pack only if the room is at least this
	page  int   // bytes of an encoded manifest page
	file  int64 // a larger file has more extents than a manifest page may hold bytes
}

func cutFor(class wire.Class) cut {
	c := cut{piece: pack.MaxChunk, small: 128 << 10, chunk: 256 << 10, fill: 64 << 10, page: 768 << 10}
	if class == wire.ClassS {
		c = cut{piece: 64 << 10, small: 32 << 10, chunk: 64 << 10, fill: 8 << 10, page: 128 << 10}
	}
	const extents = 10 // bytes of a page for each piece, in the worst order of packs
	c.file = manifest.MaxPageBytes / extents * c.piece
	return c
}

// most is the most bytes of a shared chunk.
func (c cut) most() int { return min(int(2*c.piece), pack.MaxChunk) }

const (
	batchFiles = 1024 // files of a shared chunk at most
	attempts   = 3    // at an item that changes while it is read
)

// feeder hands out the epoch's wanting items in ordinal order: runs of small files of
// one page, or pieces of large files that never cross a multiple of pack.MaxChunk.
type feeder struct {
	c   *completion
	cut cut

	mu    sync.Mutex // guards what follows; the completion's mu may be taken with it held
	at    int        // page
	next  int        // item in page
	page  *openPage
	large *large   // of which pieces are left to hand out
	again []*large // large files to be read anew
	busy  int      // large files handed out but not settled: they may come again
	idle  *sync.Cond
}

func newFeeder(c *completion, cut cut) *feeder {
	f := &feeder{c: c, cut: cut}
	f.idle = sync.NewCond(&f.mu)
	return f
}

// large is a file that is read in pieces, perhaps by several workers.
type large struct {
	page    *openPage
	i       int
	was     item.Item    // as it stood when it was handed out
	stat    source.Stat  // the same
	attempt int          // 0 goes on where an earlier run stopped; later ones begin anew under a higher revision
	parts   []item.Range // still to be handed out; guarded by the feeder's mu
	given   atomic.Bool  // settled or begun anew: remaining pieces are dropped. Set with mu held

	mu       sync.Mutex  // guards what follows; the feeder's mu may be taken with it held, never the other way round
	file     source.File // open while pieces are read
	readers  int         // pieces being read
	update   update      // what the manifest will say; its Stat is what the file was when reading began
	pending  int64       // bytes that are still to be read
	upToDate bool        // update says nothing that the page does not
}

// job is one unit of work. Exactly one of small and large is set.
type job struct {
	page  *openPage
	small []int // indices of items; valid until the next call by the same worker
	large *large
	part  item.Range
}

// take returns the next job, using scratch for job.small, or ok == false at the end.
func (f *feeder) take(ctx context.Context, scratch []int) (j job, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return job{}, false, err
		}
		if f.large != nil {
			if j, ok := f.piece(); ok {
				return j, true, nil
			}
			f.large = nil
		}
		if n := len(f.again); n > 0 {
			f.large, f.again = f.again[n-1], f.again[:n-1]
			continue
		}
		if f.page == nil {
			if f.at == len(f.c.pages) {
				if f.busy == 0 {
					f.idle.Broadcast()
					return job{}, false, nil
				}
				f.idle.Wait() // a large file may come back
				continue
			}
			if f.page, err = f.c.page(f.at); err != nil {
				return job{}, false, err
			}
			f.at, f.next = f.at+1, 0
			continue
		}
		if j, ok := f.fromPage(scratch[:0]); ok {
			return j, true, nil
		}
	}
}

// fromPage takes a run of small files or begins a large one; ok is false if the page
// is used up or a large file was begun.
func (f *feeder) fromPage(small []int) (job, bool) {
	p, total := f.page, int64(0)
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	for ; f.next < len(p.Items); f.next++ {
		it := &p.Items[f.next]
		if !wanting(it) {
			continue
		}
		if it.Size > f.cut.small {
			if len(small) > 0 {
				break
			}
			f.begin(&large{page: p, i: f.next, was: *it, stat: p.Stats[f.next], parts: missing(p, f.next)})
			f.next++
			return job{}, false
		}
		small = append(small, f.next)
		if total += it.Size; total >= f.cut.chunk || len(small) == batchFiles {
			f.next++
			break
		}
	}
	if len(small) == 0 {
		f.page = nil
		return job{}, false
	}
	return job{page: p, small: small}, true
}

func (f *feeder) begin(l *large) {
	for _, r := range l.parts {
		l.pending += r.Length
	}
	f.busy++
	f.large = l
}

// piece cuts the next piece off the current large file.
func (f *feeder) piece() (job, bool) {
	l := f.large
	if len(l.parts) == 0 || l.given.Load() {
		return job{}, false
	}
	r := &l.parts[0]
	n := min(r.Length, f.cut.piece-r.Offset%f.cut.piece)
	part := item.Range{Offset: r.Offset, Length: n}
	if r.Offset, r.Length = r.Offset+n, r.Length-n; r.Length == 0 {
		l.parts = l.parts[1:]
	}
	return job{page: l.page, large: l, part: part}, true
}

// enlarge turns a small file that grew into a large one.
func (f *feeder) enlarge(p *openPage, i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if !wanting(&p.Items[i]) {
		return
	}
	l := &large{page: p, i: i, was: p.Items[i], stat: p.Stats[i], parts: missing(p, i)}
	for _, r := range l.parts {
		l.pending += r.Length
	}
	f.busy++
	f.again = append(f.again, l)
	f.idle.Broadcast()
}

// repeat queues a large file to be read from the start.
func (f *feeder) repeat(l *large) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = append(f.again, l)
	f.idle.Broadcast()
}

// settled tells that nothing more will come of a large file.
func (f *feeder) settled() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	f.idle.Broadcast()
}

// wake makes every waiting take look at its context again.
func (f *feeder) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle.Broadcast()
}
