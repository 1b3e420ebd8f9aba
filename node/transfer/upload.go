package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// UploadConfig says what is uploaded, from where and to where. All fields but the
// callbacks are required, and Store if there are Routes.
type UploadConfig struct {
	Source  source.Source
	Journal *journal.Journal
	Store   BlobStore
	Keys    *seal.Keys
	Session id.Session
	Class   wire.Class
	Workers int // goroutines that read and seal; 0: the number of processors, at most 4
	Streams int // packs being put at once; 0: 4

	// Keeps is what Store's packs are noted as; 0: KeptStored.
	Keeps Kept

	// Routes, if set, takes the packs instead of Store, each where it goes fastest. What must be fetched by name in any
	// case, the padding, still goes to a store if there is one among them.
	Routes *Routes

	// Durable is called after each pack of content is durable in a store, and in the journal, one call at a time. What went to the
	// other device itself needs no telling.
	Durable func(context.Context, manifest.PackRef) error
	// Progress is called with running sums since the start of the epoch (items, bytes) and of the run (wire, read), one call at a time.
	Progress func(items, bytes, wire, read int64)
	// Loss is called for each item that can't be read, and each attribute that can't be kept, from any goroutine.
	Loss func(item.Loss)
}

// Uploader puts one session's packs into a store. The stages of Content, in order:
//
//	feeder   hands out work: runs of small files, pieces of large ones
//	readers  read, hash, compress and lay chunks into a pack each, and seal it when it is full
//	streams  put sealed packs, then note each in the journal before they take the next
//
// A reader waits when all streams are busy; nothing else is queued. Memory is bounded by
// (Workers × 3 + Streams) packs. What is durable is counted by completion, fed by the streams.
type Uploader struct {
	cfg UploadConfig

	mu   sync.Mutex // guards next and free
	next uint32     // lowest pack index that was never used
	free []uint32   // indices below next that no durable pack has

	nextManifest uint32 // lowest index above those of durable manifest packs; used by Manifest only

	count     atomic.Int64 // packs of the session that are durable
	stored    atomic.Int64 // of them, in the store
	delivered atomic.Int64 // of them, at the other device
	cached    atomic.Int64 // of them, in a cache
	wire      atomic.Int64
	read      atomic.Int64
	bufs      sync.Pool
}

// NewUploader reads from the journal which packs are durable already.
func NewUploader(cfg UploadConfig) (*Uploader, error) {
	if cfg.Workers == 0 {
		cfg.Workers = min(runtime.NumCPU(), 4)
	}
	if cfg.Streams == 0 {
		cfg.Streams = 4
	}
	if cfg.Keeps == 0 {
		cfg.Keeps = KeptStored
	}
	u := &Uploader{cfg: cfg}
	u.bufs.New = func() any { b := make([]byte, 0, cfg.Class.BlobSize()); return &b }
	err := cfg.Journal.Each(packPrefix, func(_, v []byte) error {
		rec, err := decodeRecord(v)
		if err != nil {
			return err
		}
		for ; u.next < rec.Ref.Index; u.next++ {
			u.free = append(u.free, u.next)
		}
		u.next = rec.Ref.Index + 1
		u.counted(&rec)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, cfg.Journal.Each(manifestPrefix, func(k, v []byte) error {
		u.nextManifest = binary.BigEndian.Uint32(k[1:]) + 1
		rec, err := decodeRecord(v)
		u.counted(&rec)
		return err
	})
}

func (u *Uploader) counted(rec *record) {
	u.count.Add(1)
	switch rec.Kept {
	case u.cfg.Keeps:
		u.stored.Add(1)
	case KeptDelivered:
		u.delivered.Add(1)
	case KeptCached:
		u.stored.Add(1) // or on the way there
		u.cached.Add(1)
	}
}

// Packs returns the number of the session's packs that are durable, padding included.
func (u *Uploader) Packs() int64 { return u.count.Load() }

// Delivered reports whether some of these are at the other device itself, in no store.
func (u *Uploader) Delivered() bool { return u.delivered.Load() > 0 }

// Cached reports whether some of these went to a cache, and were not found at the server since (Landed).
func (u *Uploader) Cached() bool { return u.cached.Load() > 0 }

// WireBytes returns the bytes of blobs put by this Uploader.
func (u *Uploader) WireBytes() int64 { return u.wire.Load() }

// BytesRead returns the bytes of content read by this Uploader.
func (u *Uploader) BytesRead() int64 { return u.read.Load() }

func (u *Uploader) takeIndex() uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := len(u.free); n > 0 {
		i := u.free[n-1]
		u.free = u.free[:n-1]
		return i
	}
	u.next++
	return u.next - 1
}

// sealed is a pack on its way from a reader to a stream.
type sealed struct {
	blob *[]byte
	rec  *record
}

// upload is the content of one epoch under way.
type upload struct {
	*Uploader
	cfg   UploadConfig
	epoch uint64
	c     *completion
	feed  *feeder
	puts  chan sealed

	notes sync.Mutex // one Durable and Progress call at a time; guards table
	table pack.Table

	had, hadWire int64 // bytes that were durable, and bytes put, when this began
}

// Content reads and puts everything that the epoch's scan pages want and that is not
// durable yet. It returns nil when every item is durable or lost; after an error it can
// be called again, in this process or another.
func (u *Uploader) Content(ctx context.Context, epoch uint64) error {
	c, err := loadCompletion(u.cfg.Journal, epoch)
	if err != nil {
		return err
	}
	up := &upload{Uploader: u, cfg: u.cfg, epoch: epoch, c: c, feed: newFeeder(c, cutFor(u.cfg.Class)), puts: make(chan sealed)}
	up.had, up.hadWire = c.bytesDone, u.wire.Load()
	up.progress()
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, up.feed.wake)
	defer stop()
	readers, readersCtx := errgroup.WithContext(ctx)
	for range u.cfg.Workers {
		readers.Go(func() error { return newReader(up).run(readersCtx) })
	}
	stopReaders := context.AfterFunc(readersCtx, up.feed.wake)
	defer stopReaders()
	g.Go(func() error {
		defer close(up.puts)
		return readers.Wait()
	})
	for range u.cfg.Streams {
		g.Go(func() error {
			for s := range up.puts {
				if err := up.put(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if !c.finished() {
		return errors.New("transfer: items are neither durable nor lost") // a bug, and better said than sent
	}
	if err := c.staleRecords(); err != nil {
		return err
	}
	up.progress()
	return nil
}

// seal seals a pack's plaintext under a new index and gives it to a stream.
func (u *upload) seal(ctx context.Context, plain []byte, rec *record) error {
	s := u.sealPack(plain, u.takeIndex(), u.epoch, rec)
	select {
	case u.puts <- s:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sealPack seals a pack at its place in the session. Every attempt has a fresh salt and a fresh name.
func (u *Uploader) sealPack(plain []byte, index uint32, epoch uint64, rec *record) sealed {
	buf := u.bufs.Get().(*[]byte)
	key, context := &u.cfg.Keys.Pack, manifest.PackContext(u.cfg.Session, epoch, index)
	switch rec.Purpose {
	case manifestPack:
		key, context = &u.cfg.Keys.Manifest, manifest.ManifestPackContext(u.cfg.Session, epoch, index)
	case paddingPack:
		k := seal.NewKey() // which nobody has
		key = &k
	}
	*buf = seal.Seal((*buf)[:0], key, context, plain)
	rec.Ref = manifest.PackRef{Index: index, Epoch: epoch, Blob: id.NewBlob(), Padding: rec.Purpose == paddingPack}
	rec.Ref.Commitment, _ = seal.CommitmentOf(*buf)
	return sealed{buf, rec}
}

// store puts a sealed pack and, once it is durable, notes it in the journal.
func (u *Uploader) store(ctx context.Context, s sealed) error {
	defer u.bufs.Put(s.blob)
	if err := u.keep(ctx, s); err != nil {
		return fmt.Errorf("put pack: %w", err)
	}
	kill.Point(kill.SenderPackPut)
	if err := u.cfg.Journal.Batch().Put(s.rec.key(), s.rec.append(nil)).Commit(); err != nil {
		return err
	}
	kill.Point(kill.SenderPackNoted)
	u.counted(s.rec)
	u.wire.Add(int64(len(*s.blob)))
	return nil
}

// keep puts a sealed pack where it is kept, and says in its record where that is.
func (u *Uploader) keep(ctx context.Context, s sealed) (err error) {
	s.rec.Kept = u.cfg.Keeps
	switch {
	case u.cfg.Routes == nil:
		return u.cfg.Store.Put(ctx, s.rec.Ref.Blob, *s.blob)
	case s.rec.Purpose == paddingPack:
		s.rec.Kept, err = u.cfg.Routes.PutStored(ctx, s.rec.Ref.Blob, *s.blob)
		return err
	}
	s.rec.Kept, err = u.cfg.Routes.Put(ctx, s.rec.Ref.Blob, s.rec.note(), *s.blob)
	return err
}

// put is what a stream does with one pack of content.
func (u *upload) put(ctx context.Context, s sealed) error {
	if err := u.store(ctx, s); err != nil {
		return err
	}
	u.notes.Lock()
	defer u.notes.Unlock()
	if err := u.c.durable(s.rec, &u.table); err != nil {
		return err
	}
	u.report()
	if u.cfg.Durable != nil && s.rec.Kept != KeptDelivered {
		return u.cfg.Durable(ctx, s.rec.Ref)
	}
	return nil
}

func (u *upload) progress() {
	u.notes.Lock()
	defer u.notes.Unlock()
	u.report()
}

// report is called with notes held.
func (u *upload) report() {
	u.c.mu.Lock()
	items, bytes := u.c.itemsDone, u.c.bytesDone
	u.c.mu.Unlock()
	if u.cfg.Routes != nil {
		u.cfg.Routes.Expect(u.expected(bytes))
	}
	if u.cfg.Progress == nil {
		return
	}
	u.cfg.Progress(items, bytes, u.wire.Load(), u.read.Load())
}

// expected is how many packs what is left will fill, if it is like what was put. done are the bytes that are durable.
func (u *upload) expected(done int64) int {
	left := -done
	for i := range u.c.pages {
		left += u.c.pages[i].bytes
	}
	part := 1.0
	if done > u.had {
		part = float64(u.wire.Load()-u.hadWire) / float64(done-u.had)
	}
	return int(math.Ceil(float64(max(left, 0)) * part / float64(u.cfg.Class.BlobSize())))
}

func (u *upload) lose(p *openPage, i int, why item.Reason) error {
	it := &p.Items[i]
	if u.cfg.Loss != nil {
		u.cfg.Loss(item.Loss{Ordinal: it.Ordinal, Kind: it.Kind, Path: it.Path, Reason: why})
	}
	return u.c.lose(p, i, why)
}

func (u *upload) emptied(up *update) error { return u.c.emptied(up) }

// xattrs reads a file's extended attributes and reports those that can't be kept.
func (u *upload) xattrs(it *item.Item, f source.File) []item.XAttr {
	kept, dropped, err := f.XAttrs()
	if err != nil {
		dropped = append(dropped, "")
	}
	for _, name := range dropped {
		if u.cfg.Loss != nil {
			u.cfg.Loss(item.Loss{Ordinal: it.Ordinal, Kind: it.Kind, Path: it.Path, Reason: item.ReasonXAttr, Detail: name})
		}
	}
	return kept
}

// Refs returns the references of the session's durable packs of content and padding,
// in the order of their indices.
func Refs(j *journal.Journal) ([]manifest.PackRef, error) {
	var refs []manifest.PackRef
	err := j.Each(packPrefix, func(_, v []byte) error {
		rec, err := decodeRecord(v)
		refs = append(refs, rec.Ref)
		return err
	})
	return refs, err
}

// Held returns the references of the packs of content that are kept in some way, in the order of their indices.
func Held(j *journal.Journal, kept Kept) ([]manifest.PackRef, error) {
	var refs []manifest.PackRef
	err := j.Each(packPrefix, func(_, v []byte) error {
		rec, err := decodeRecord(v)
		if err == nil && rec.Purpose == contentPack && rec.Kept == kept {
			refs = append(refs, rec.Ref)
		}
		return err
	})
	return refs, err
}

// Lost returns how many of the session's packs that the journal has as stored the store
// has not: a server that was restored from a backup may have forgotten some.
func Lost(ctx context.Context, j *journal.Journal, store BlobStore) (lost int, err error) {
	var names []id.Blob
	ask := func() error {
		has, err := store.Has(ctx, names)
		if err == nil && len(has) != len(names) {
			err = errors.New("transfer: an answer for other packs than were asked for")
		}
		for _, there := range has {
			if !there {
				lost++
			}
		}
		names = names[:0]
		return err
	}
	for _, prefix := range [][]byte{packPrefix, manifestPrefix} {
		err := j.Each(prefix, func(_, v []byte) error {
			rec, err := decodeRecord(v)
			if err != nil || rec.Kept != KeptStored {
				return err
			}
			if names = append(names, rec.Ref.Blob); len(names) < wire.MaxHas {
				return nil
			}
			return ask()
		})
		if err != nil {
			return lost, err
		}
	}
	if len(names) == 0 {
		return lost, nil
	}
	return lost, ask()
}
