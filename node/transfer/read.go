package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/photo"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/node/source"
)

// reader is one worker of the upload: it takes a job, reads, hashes, compresses and
// lays the result into its own pack, without handing bytes to another goroutine. A
// full pack is sealed and given to a stream.
type reader struct {
	u       *upload
	b       *pack.Builder
	enc     *compress.Encoder
	chunk   []byte // a shared chunk, or a piece that does not fit the pack's tail
	coded   []byte
	extents []pack.Extent
	indices []int
	updates []update
}

func newReader(u *upload) *reader {
	return &reader{u: u, b: pack.NewBuilder(u.cfg.Class), enc: compress.NewEncoder(), chunk: make([]byte, 0, 2*u.feed.cut.piece),
		coded: make([]byte, 0, pack.MaxChunk+compress.EncodeSlack), indices: make([]int, 0, batchFiles)}
}

func (r *reader) run(ctx context.Context) error {
	for {
		j, ok, err := r.u.feed.take(ctx, r.indices)
		if err != nil {
			return err
		}
		if !ok {
			return r.flush(ctx)
		}
		if j.large != nil {
			err = r.piece(ctx, j.large, j.part)
		} else {
			err = r.batch(ctx, j.page, j.small)
		}
		if err != nil {
			return err
		}
	}
}

// flush seals what the pack holds.
func (r *reader) flush(ctx context.Context) error {
	if r.b.Frames() == 0 {
		return nil
	}
	plain, table := r.b.Finish()
	err := r.u.seal(ctx, plain, &record{Purpose: contentPack, Table: slices.Clone(table), Updates: slices.Clone(r.updates)})
	r.b.Reset()
	r.updates = r.updates[:0]
	return err
}

// add lays a chunk into the pack, into the next one if it does not fit. The chunk may
// be the front of the pack's tail only if it fits.
func (r *reader) add(ctx context.Context, k item.Kind, chunk []byte, raw bool, updates ...update) error {
	f := pack.FrameInfo{Type: pack.Content, Kind: k, RawSize: uint32(len(chunk)), Hash: sha256.Sum256(chunk), Extents: r.extents}
	data := chunk
	if !raw {
		data, f.Codec = r.enc.Encode(r.coded[:0], chunk)
	}
	f.Size = uint32(len(data))
	err := r.b.Add(f, data)
	if errors.Is(err, pack.ErrFull) {
		if err = r.flush(ctx); err == nil {
			err = r.b.Add(f, data)
		}
	}
	r.updates = append(r.updates, updates...)
	return err
}

// batch reads small files into one chunk.
func (r *reader) batch(ctx context.Context, p *openPage, small []int) error {
	r.extents, r.chunk = r.extents[:0], r.chunk[:0]
	var found []update
	for _, i := range small {
		it := &p.Items[i]
		room := r.chunk[len(r.chunk):r.u.feed.cut.most()]
		u, n, err := r.small(p, i, room)
		if errors.Is(err, source.ErrTooLarge) { // it grew, or those before it did
			r.u.feed.enlarge(p, i)
			continue
		}
		if err != nil {
			if err := r.u.lose(p, i, reasonOf(err)); err != nil {
				return err
			}
			continue
		}
		if u.Size == 0 {
			if err := r.u.emptied(&u); err != nil {
				return err
			}
			continue
		}
		if u.Revision != it.Revision || u.TakenAt != it.TakenAt || len(u.XAttrs) > 0 || u.Perm != it.Perm {
			found = append(found, u)
		}
		r.u.read.Add(int64(n))
		r.chunk = r.chunk[:len(r.chunk)+n]
		r.extents = append(r.extents, pack.Extent{Ordinal: u.Ordinal, Revision: u.Revision, Length: uint32(n)})
		if int64(len(room)-n) <= r.u.feed.cut.small { // files grew since the scan
			if err := r.add(ctx, p.Kind, r.chunk, false, found...); err != nil {
				return err
			}
			r.extents, r.chunk, found = r.extents[:0], r.chunk[:0], found[:0]
		}
	}
	if len(r.extents) == 0 {
		return nil
	}
	return r.add(ctx, p.Kind, r.chunk, !compress.Worth(r.chunk), found...)
}

// small reads one small file into the front of buf.
func (r *reader) small(p *openPage, i int, buf []byte) (u update, n int, err error) {
	it := &p.Items[i]
	var st source.Stat
	for range attempts {
		if n, st, err = r.u.cfg.Source.ReadSmall(it.Path, buf); !errors.Is(err, source.ErrChanged) {
			break
		}
	}
	if err != nil {
		return u, 0, err
	}
	u = update{Ordinal: it.Ordinal, Revision: it.Revision, Size: int64(n), ModTime: st.ModTime, Perm: st.Perm, TakenAt: it.TakenAt, Stat: st}
	if !st.Same(p.Stats[i]) {
		u.Revision++
	}
	if it.Kind == item.Photo {
		u.TakenAt = photo.TakenAt(buf[:n])
	}
	if st.HasXAttrs {
		f, err := r.u.cfg.Source.Open(it.Path)
		if err != nil {
			return u, 0, err
		}
		defer f.Close()
		u.XAttrs = r.u.xattrs(it, f)
	}
	return u, n, nil
}

// reasonOf turns a reading error into what the person is told.
func reasonOf(err error) item.Reason {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, source.ErrNotRegular):
		return item.ReasonVanished
	case errors.Is(err, source.ErrChanged):
		return item.ReasonChanging
	}
	return item.ReasonUnreadable
}

// piece reads one piece of a large file.
func (r *reader) piece(ctx context.Context, l *large, part item.Range) error {
	n := int(part.Length)
	if room := r.b.Room(1); room < n && room < r.u.feed.cut.fill { // it goes into the next pack in any case: read it to its place there
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	f, err := r.open(l)
	if err != nil || f == nil {
		return err
	}
	buf := r.b.Tail()
	inTail := len(buf) >= n
	if !inTail {
		buf = r.chunk[:cap(r.chunk)]
	}
	buf = buf[:n]
	got, err := f.ReadAt(buf, part.Offset)
	r.u.read.Add(int64(got))
	if got == n {
		err = nil
	} else if err == nil || err == io.EOF {
		err = source.ErrChanged
	}
	if ok, err := r.account(l, part, err); !ok || err != nil {
		return err
	}
	u := l.update
	r.extents = append(r.extents[:0], pack.Extent{Ordinal: u.Ordinal, Revision: u.Revision, Offset: part.Offset, Length: uint32(n)})
	var updates []update
	if !l.upToDate {
		updates = append(updates, u)
	}
	k := l.page.Kind
	if compress.Worth(buf) {
		return r.add(ctx, k, buf, false, updates...)
	}
	if room := r.b.Room(1); !inTail && room >= r.u.feed.cut.fill { // fill this pack, begin the next with the rest
		r.extents[0].Length = uint32(room)
		if err := r.add(ctx, k, buf[:room], true, updates...); err != nil {
			return err
		}
		buf = buf[room:]
		r.extents = append(r.extents[:0], pack.Extent{Ordinal: u.Ordinal, Revision: u.Revision, Offset: part.Offset + int64(room), Length: uint32(len(buf))})
	}
	return r.add(ctx, k, buf, true, updates...)
}

// open opens a large file for the first of its pieces, and sees whether it is still
// what the scan, or the run before, saw. It returns nil if the piece must be dropped;
// otherwise account must follow.
func (r *reader) open(l *large) (source.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.given.Load() {
		return nil, nil
	}
	if l.file == nil {
		f, err := r.u.cfg.Source.Open(l.was.Path)
		if err != nil {
			return nil, r.giveUp(l, reasonOf(err))
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, r.giveUp(l, reasonOf(err))
		}
		l.file = f
		if st.Size > r.u.feed.cut.file {
			return nil, r.giveUp(l, item.ReasonTooLong)
		}
		if !l.expects(st) {
			return nil, r.restart(l, st)
		}
		r.describe(l, st)
	}
	l.readers++
	return l.file, nil
}

// expects reports whether a file that was just opened is the one whose pieces were
// handed out.
func (l *large) expects(st source.Stat) bool {
	if l.attempt > 0 {
		return st.Size == l.pending
	}
	return st.Same(l.stat)
}

// describe sets what the manifest will say of the file.
func (r *reader) describe(l *large, st source.Stat) {
	it := &l.was
	l.update = update{Ordinal: it.Ordinal, Revision: it.Revision + uint32(l.attempt), Size: st.Size, ModTime: st.ModTime, Perm: st.Perm,
		TakenAt: it.TakenAt, XAttrs: it.XAttrs, Stat: st}
	if st.HasXAttrs {
		l.update.XAttrs = r.u.xattrs(it, l.file)
	}
	if it.Kind == item.Photo {
		l.update.TakenAt = photo.Read(it.Path, l.file, st.Size).TakenAt // films keep it at their end
	}
	l.upToDate = l.attempt == 0 && l.update.TakenAt == it.TakenAt && len(l.update.XAttrs) == len(it.XAttrs)
}

// restart gives up this attempt at a large file, which is not what it was, and queues
// another. l.mu is held.
func (r *reader) restart(l *large, st source.Stat) error {
	if l.attempt == attempts {
		return r.giveUp(l, item.ReasonChanging)
	}
	if st.Size == 0 {
		it := &l.was
		u := update{Ordinal: it.Ordinal, Revision: it.Revision + uint32(l.attempt) + 1, ModTime: st.ModTime, Perm: st.Perm, Stat: st}
		l.end()
		r.u.feed.settled()
		return r.u.emptied(&u)
	}
	next := &large{page: l.page, i: l.i, was: l.was, stat: l.stat, attempt: l.attempt + 1, parts: []item.Range{{Offset: 0, Length: st.Size}}, pending: st.Size}
	l.end() // next takes its place among the busy
	r.u.feed.repeat(next)
	return nil
}

// giveUp marks a large file as lost. l.mu is held.
func (r *reader) giveUp(l *large, why item.Reason) error {
	l.end()
	r.u.feed.settled()
	return r.u.lose(l.page, l.i, why)
}

// end makes the remaining pieces be dropped, and closes the file once nobody reads it.
func (l *large) end() {
	l.given.Store(true)
	if l.readers == 0 && l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// account notes that a piece was read, or why not. Whoever reads the last piece checks
// that the file did not change meanwhile, before that piece goes anywhere: an attempt
// that straddles a change so never becomes complete. ok is false if the piece is to be dropped.
func (r *reader) account(l *large, part item.Range, failure error) (ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers--
	if l.given.Load() {
		l.end()
		return false, nil
	}
	if failure != nil && !errors.Is(failure, source.ErrChanged) {
		return false, r.giveUp(l, reasonOf(failure))
	}
	if l.pending -= part.Length; failure == nil && l.pending > 0 {
		return true, nil
	}
	st, err := l.file.Stat()
	if err != nil {
		return false, r.giveUp(l, reasonOf(err))
	}
	if failure != nil || !st.Same(l.update.Stat) {
		return false, r.restart(l, st)
	}
	l.end()
	r.u.feed.settled()
	return true, nil
}
