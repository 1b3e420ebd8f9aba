package transfer

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// ErrIntegrity is returned when a pack or page is not what the sender sealed at its place.
var ErrIntegrity = errors.New("what arrived does not verify")

// Sink takes content as it arrives, in any order, the same content perhaps twice. It
// is called by several goroutines at once; data is valid during the call only.
type Sink interface {
	// Write takes a run of an item's bytes.
	Write(o item.Ordinal, revision uint32, offset int64, data []byte) error
	// Note says that an earlier process has written a run, and that it is still there. All notes come before any Write.
	Note(o item.Ordinal, revision uint32, offset, length int64) error
	// Sync makes everything durable that was written before the call.
	Sync() error
}

// DownloadConfig says what is fetched, from where and to where. All fields but Progress are required.
type DownloadConfig struct {
	Journal *journal.Journal
	Store   BlobStore
	Keys    *seal.Keys
	Session id.Session
	Class   wire.Class
	Sink    Sink
	Streams int // packs under way at once, 0: twice the number of processors, at most 4

	// Progress is called with running sums (items and bytes of the whole transfer, wire of this run), one call at a time.
	Progress func(items, bytes, wire int64)
}

// Downloader fetches a session's packs and stages what they hold. Each stream gets a
// pack, opens it, and hands its chunks to the sink as they are decoded; nothing is
// stored sealed, and no byte passes from one goroutine to another.
//
// A pack that is staged is noted in the journal at once without a sync, and at every
// checkpoint (checkpointBytes) with the target synced first. After a crash of the
// process all notes count, after one of the machine (another boot ID) those of the last checkpoint.
type Downloader struct {
	cfg  DownloadConfig
	boot [16]byte

	mu          sync.Mutex // guards what follows
	staged      map[uint32]stagedPack
	items, done int64
	since       map[uint32][]byte  // notes of the packs staged since the last checkpoint
	bad         int                // packs that did not verify in this Fetch
	missing     []manifest.PackRef // packs that no store has, in this Fetch

	wire    atomic.Int64
	streams sync.Pool // of Accept
}

const checkpointBytes = 1 << 30

// Keys of the receiver's journal.
var (
	stagedPrefix  = []byte{'g'} // + index: stagedNote, believed while the machine runs
	durablePrefix = []byte{'G'} // + index: stagedNote, written at a checkpoint
)

func noteKey(prefix []byte, index uint32) []byte {
	return binary.BigEndian.AppendUint32(prefix[:1:1], index)
}

// stagedPack is what is remembered of a staged pack.
type stagedPack struct {
	commitment   id.Commitment
	items, bytes int64
}

// stagedNote is what is noted of a pack: which it was, when, and what it held. Items
// are counted with their first byte.
type stagedNote struct {
	commitment   id.Commitment
	boot         [16]byte
	items, bytes int64
	table        []byte
}

func (n *stagedNote) append(dst []byte) []byte {
	dst = append(append(dst, n.commitment[:]...), n.boot[:]...)
	dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(n.items)), uint64(n.bytes))
	return append(dst, n.table...)
}

const noteSize = 32 + 16 + 8 + 8

func parseNote(b []byte) (n stagedNote, ok bool) {
	if len(b) < noteSize {
		return n, false
	}
	copy(n.commitment[:], b)
	copy(n.boot[:], b[32:])
	n.items, n.bytes = int64(binary.BigEndian.Uint64(b[48:])), int64(binary.BigEndian.Uint64(b[56:]))
	n.table = b[noteSize:]
	return n, true
}

// BootID tells one run of the machine from the next; zero where that is not known.
func BootID() [16]byte { return bootID() }

// bootID tells one run of the machine from the next; zero where that is not known,
// and then no unsynced note is believed.
var bootID = func() (b [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil && len(text) >= 36 {
		copy(b[:], text[:8])
		copy(b[8:], text[28:36])
	}
	return b
}

// NewDownloader reads from the journal which packs are staged already and tells the sink.
func NewDownloader(cfg DownloadConfig) (*Downloader, error) {
	if cfg.Streams == 0 {
		cfg.Streams = min(2*runtime.NumCPU(), 4)
	}
	d := &Downloader{cfg: cfg, boot: bootID(), staged: map[uint32]stagedPack{}, since: map[uint32][]byte{}}
	d.streams.New = func() any { return &stream{d: d, dec: compress.NewDecoder(), plain: pack.Memory(cfg.Class.BlobSize())} }
	table := new(pack.Table)
	for _, prefix := range [][]byte{stagedPrefix, durablePrefix} { // what a checkpoint wrote is never newer
		err := cfg.Journal.Each(prefix, func(k, v []byte) error {
			n, ok := parseNote(v)
			if !ok || len(k) != 5 {
				return errors.New("journal: a staged pack's note is damaged")
			}
			if k[0] == durablePrefix[0] || n.boot == d.boot && d.boot != [16]byte{} {
				return d.restore(binary.BigEndian.Uint32(k[1:]), &n, table)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// restore takes in the note of an earlier process. table is scratch memory.
func (d *Downloader) restore(index uint32, n *stagedNote, table *pack.Table) error {
	if _, ok := d.staged[index]; ok {
		return nil
	}
	d.noted(index, n)
	if len(n.table) == 0 {
		return nil
	}
	if err := table.ParseTableInto(n.table); err != nil {
		return fmt.Errorf("journal: pack %d: %w", index, err)
	}
	for i := range table.Frames {
		for _, e := range table.Frames[i].Extents {
			if err := d.cfg.Sink.Note(e.Ordinal, e.Revision, e.Offset, int64(e.Length)); err != nil {
				return err
			}
		}
	}
	return nil
}

// noted counts a pack, instead of an earlier attempt at the same index: of that the sender
// had not heard that it was here when it died, and has filled the index anew.
func (d *Downloader) noted(index uint32, n *stagedNote) {
	was := d.staged[index]
	d.staged[index] = stagedPack{n.commitment, n.items, n.bytes}
	d.items += n.items - was.items
	d.done += n.bytes - was.bytes
}

// Staged reports whether the pack is staged already.
func (d *Downloader) Staged(r *manifest.PackRef) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.staged[r.Index]
	return ok && p.commitment == r.Commitment
}

// WireBytes returns the bytes of blobs fetched by this Downloader.
func (d *Downloader) WireBytes() int64 { return d.wire.Load() }

// Fetch stages the packs that arrive on refs until it is closed, several at once.
// Packs that are staged already are passed over. A pack that is not there or does not verify does not keep the others from
// being staged; the error is then a MissingError or ErrIntegrity at the end. Nothing of such a pack reaches the sink
// beyond chunks that verify by themselves. One Fetch at a time.
func (d *Downloader) Fetch(ctx context.Context, refs <-chan manifest.PackRef) error {
	d.mu.Lock()
	d.bad, d.missing = 0, nil
	d.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	for range d.cfg.Streams {
		g.Go(func() error {
			s := &stream{d: d, dec: compress.NewDecoder(), blob: pack.Memory(d.cfg.Class.BlobSize())}
			for {
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case ref, ok := <-refs:
					if !ok {
						return nil
					}
					if err := s.pack(ctx, &ref); err != nil {
						return err
					}
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.bad > 0:
		return fmt.Errorf("%w: %d packs", ErrIntegrity, d.bad+len(d.missing))
	case len(d.missing) > 0:
		slices.SortFunc(d.missing, func(a, b manifest.PackRef) int { return cmp.Compare(a.Index, b.Index) })
		return &MissingError{Packs: d.missing}
	}
	return nil
}

// MissingError tells which packs, sorted by index, are in no store. It is an ErrIntegrity: where
// packs came from the other device itself, that device can be asked for them again.
type MissingError struct{ Packs []manifest.PackRef }

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%v: %d packs are gone", ErrIntegrity, len(e.Packs))
}

// Unwrap makes it an ErrIntegrity.
func (e *MissingError) Unwrap() error { return ErrIntegrity }

// Accept stages one pack that the other device has delivered, as Fetch does with one
// that it got. blob is left as it is. The error is ErrIntegrity for a pack that does not verify, and the sink's. It may be called by several goroutines,
// beside a Fetch.
func (d *Downloader) Accept(ref *manifest.PackRef, blob []byte) error {
	if d.Staged(ref) {
		return nil
	}
	s := d.streams.Get().(*stream)
	defer d.streams.Put(s)
	d.wire.Add(int64(len(blob)))
	return s.take(ref, blob, s.plain[:0])
}

// stream is the memory of one goroutine of Fetch.
type stream struct {
	d     *Downloader
	dec   *compress.Decoder
	blob  []byte
	plain []byte // in blob, but of Accept
	chunk []byte
	table pack.Table

	tableBytes []byte
}

func (s *stream) pack(ctx context.Context, ref *manifest.PackRef) (err error) {
	d := s.d
	if d.Staged(ref) {
		return nil
	}
again:
	if s.blob, err = d.cfg.Store.Get(ctx, ref.Blob, s.blob[:0]); err != nil {
		if errors.Is(err, wire.NotFound) {
			if !ref.Padding { // of which nobody misses any
				d.lacks(ref)
			}
			return nil
		}
		return fmt.Errorf("get pack: %w", err)
	}
	d.wire.Add(int64(len(s.blob)))
	if err := s.take(ref, s.blob, s.blob[:0]); !errors.Is(err, ErrIntegrity) { // in place
		return err
	}
	if doubt(d.cfg.Store, ref.Blob) {
		goto again
	}
	d.broken()
	return nil
}

// take opens a pack into dst, which may be its own bytes, stages what it holds and notes
// it. What is wrong with one that does not verify is nobody's business.
func (s *stream) take(ref *manifest.PackRef, blob, dst []byte) (err error) {
	d := s.d
	note := stagedNote{commitment: ref.Commitment, boot: d.boot}
	if !ref.Padding {
		context := manifest.PackContext(d.cfg.Session, ref.Epoch, ref.Index)
		if s.plain, err = seal.OpenWith(dst, &d.cfg.Keys.Pack, context, blob, ref.Commitment); err != nil {
			return fmt.Errorf("%w: pack %d", ErrIntegrity, ref.Index)
		}
		if err := s.table.ParseInto(s.plain, d.cfg.Class); err != nil {
			return fmt.Errorf("%w: pack %d", ErrIntegrity, ref.Index)
		}
		if err := s.stage(&note); err != nil {
			return err
		}
		s.tableBytes = s.table.Append(s.tableBytes[:0])
		note.table = s.tableBytes
	}
	kill.Point(kill.ReceiverStaged)
	return d.note(ref, &note)
}

// stage hands the pack's chunks to the sink.
func (s *stream) stage(note *stagedNote) error {
	for i := range s.table.Frames {
		f := &s.table.Frames[i]
		if f.Type != pack.Content {
			return fmt.Errorf("%w: page among content", ErrIntegrity)
		}
		chunk, err := s.table.Sealed(s.dec, s.chunk, s.plain, i)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrIntegrity, err)
		}
		if f.Codec != compress.Raw {
			s.chunk = chunk
		}
		for _, e := range f.Extents {
			if err := s.d.cfg.Sink.Write(e.Ordinal, e.Revision, e.Offset, chunk[:e.Length]); err != nil {
				return err
			}
			if e.Offset == 0 {
				note.items++
			}
			note.bytes += int64(e.Length)
			chunk = chunk[e.Length:]
		}
	}
	return nil
}

// broken counts a pack that does not verify.
func (d *Downloader) broken() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bad++
}

// lacks notes a pack that no store has.
func (d *Downloader) lacks(ref *manifest.PackRef) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.missing = append(d.missing, *ref)
}

// note records a staged pack, and everything staged so far at a checkpoint.
func (d *Downloader) note(ref *manifest.PackRef, n *stagedNote) error {
	v := n.append(nil)
	if err := d.cfg.Journal.Note(noteKey(stagedPrefix, ref.Index), v); err != nil {
		return err
	}
	kill.Point(kill.ReceiverNoted)
	d.mu.Lock()
	d.noted(ref.Index, n)
	items, done := d.items, d.done
	d.since[ref.Index] = v
	due := len(d.since)*d.cfg.Class.BlobSize() >= checkpointBytes
	if d.cfg.Progress != nil {
		d.cfg.Progress(items, done, d.wire.Load())
	}
	d.mu.Unlock()
	if due {
		return d.Checkpoint()
	}
	return nil
}

// Checkpoint syncs the target and then makes durable that what was staged before is staged.
func (d *Downloader) Checkpoint() error {
	d.mu.Lock()
	since := d.since
	d.since = map[uint32][]byte{}
	d.mu.Unlock()
	if len(since) == 0 {
		return nil
	}
	if err := d.cfg.Sink.Sync(); err != nil {
		return err
	}
	b := d.cfg.Journal.Batch()
	for index, n := range since {
		b.Put(noteKey(durablePrefix, index), n)
	}
	return b.Commit()
}

// Forget drops the notes of all packs that hold something of the items, sorted by ordinal, so that Fetch gets
// them again: what was staged of them is gone. It returns the number of packs. No Fetch may be running.
func (d *Downloader) Forget(items []item.Ordinal) (int, error) {
	b, n := d.cfg.Journal.Batch(), 0
	for _, prefix := range [][]byte{durablePrefix, stagedPrefix} {
		err := eachNote(d.cfg.Journal, prefix, func(index uint32, table *pack.Table) error {
			if !holds(table, items) {
				return nil
			}
			b.Delete(noteKey(durablePrefix, index)).Delete(noteKey(stagedPrefix, index))
			if _, ok := d.staged[index]; ok {
				delete(d.staged, index)
				delete(d.since, index)
				n++
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, b.Commit()
}

func holds(table *pack.Table, items []item.Ordinal) bool {
	for i := range table.Frames {
		for _, e := range table.Frames[i].Extents {
			if _, found := slices.BinarySearch(items, e.Ordinal); found {
				return true
			}
		}
	}
	return false
}

// Staged calls fn with every pack that was staged, and its table, in the order of their
// indices. The table is valid during the call only.
func Staged(j *journal.Journal, fn func(index uint32, table *pack.Table) error) error {
	return eachNote(j, stagedPrefix, fn)
}

func eachNote(j *journal.Journal, prefix []byte, fn func(index uint32, table *pack.Table) error) error {
	table := new(pack.Table)
	return j.Each(prefix, func(k, v []byte) error {
		n, ok := parseNote(v)
		if !ok || len(k) != 5 {
			return errors.New("journal: a staged pack's note is damaged")
		}
		if len(n.table) == 0 {
			return nil
		}
		if err := table.ParseTableInto(n.table); err != nil {
			return err
		}
		return fn(binary.BigEndian.Uint32(k[1:]), table)
	})
}
