// Package blobstore keeps the blobs of sessions: opaque, immutable, of one size per session
// (docs/SPEC.md section 7.5).
//
// # Layout
//
// A session's blobs lie in its own segment files, DIR/xx/SESSION-N, at slots of exactly the blob's size:
// slot i of the session is at (i mod 2^k)·size of segment i div 2^k, a segment being about 64 MiB. The
// database row of a blob names its slot and its CRC-32C. Ending a session unlinks whole files; deleting
// one blob frees its slot for the next.
//
// # Order
//
//	bytes written to the slot → file synced (and its directory, when new) → one synced batch of rows → answer
//
// Puts that arrive while a sync is under way share the next one and its batch (commit.go). A slot whose row
// was never committed is free again after a restart: nothing else remembers it. A failed sync condemns its
// segment: no later blob goes there, and the puts that waited for it fail.
//
// # What was measured
//
// On 2 cores, 256 blobs of class L (1 GiB) over 4 goroutines, every put durable before its answer:
// the figures stand in docs/OPERATIONS.md "Sizing", beside those of the alternative, Pebble with value
// separation. Segments won on tmpfs and on disk.
package blobstore

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// castagnoli is the CRC that processors compute in hardware. It guards against bit rot on the disk; forgery is
// the business of the devices' authenticated encryption.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pieceBytes is how much of a blob is in memory at a time: small enough to stay in the processor's cache between
// reading it from the connection, summing it and writing it, and to bound memory under many slow connections: four times as much
// made a server that 256 of them hold grow by 160 MiB, and nothing faster.
const pieceBytes = 64 << 10

// Config configures Open.
type Config struct {
	FS        db.FS        // nil: db.Disk
	Dir       string       // created if absent
	OpenFiles int          // segment files held open; 0: 256
	Logger    *slog.Logger // nil: discarded
}

// Store is the blob store. All methods are safe for concurrent use.
type Store struct {
	fs     db.FS
	dir    string
	db     *db.DB
	log    *slog.Logger
	files  *fileCache
	commit *committer
	pieces sync.Pool // of *[pieceBytes]byte

	blobs, bytes atomic.Int64
	rotten       atomic.Int64

	mu       sync.Mutex // guards sessions
	sessions map[id.Session]*session
}

// session is what is known in memory about one session's slots. It exists from the first use after a start.
type session struct {
	id id.Session

	mu      sync.Mutex
	changed *sync.Cond // users fell to 0
	users   int        // handles and puts under way
	dropped bool
	loaded  bool       // slots below are known
	class   wire.Class // of the blobs stored, 0 while there are none
	next    uint32     // first slot never used
	free    []uint32   // slots below next that no row names
	stored  int64      // rows
	pending map[id.Blob]*underway
	bad     map[uint32]bool // condemned segments
}

// Open opens the store in c.Dir, whose rows are in d, and counts what is there. It reads no blob.
func Open(d *db.DB, c Config) (*Store, error) {
	if c.FS == nil {
		c.FS = db.Disk
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OpenFiles == 0 {
		c.OpenFiles = 256
	}
	if err := db.MakeDir(c.FS, c.Dir); err != nil {
		return nil, fmt.Errorf("blob directory: %w", err)
	}
	s := &Store{fs: c.FS, dir: c.Dir, db: d, log: c.Logger, sessions: map[id.Session]*session{}}
	s.pieces.New = func() any { return new([pieceBytes]byte) }
	s.files = newFileCache(c.FS, c.Dir, c.OpenFiles)
	s.commit = newCommitter(s)
	if err := s.count(); err != nil {
		return nil, err
	}
	return s, nil
}

// count fills the counters and the sessions' totals from the rows.
func (s *Store) count() error {
	var current *session
	return s.db.EachPrefix(db.AllBlobs(), false, func(k, v []byte) (bool, error) {
		sid, _ := db.ParseBlobKey(k)
		if current == nil || current.id != sid {
			current = s.session(sid)
		}
		r, err := parseRow(v)
		if err != nil {
			return false, err
		}
		current.class = r.class
		current.stored++
		s.blobs.Add(1)
		s.bytes.Add(int64(r.class.BlobSize()))
		return true, nil
	})
}

// Close waits for the puts under way and closes the files.
func (s *Store) Close() error {
	s.commit.close()
	return s.files.close()
}

// Blobs and Bytes are the totals stored; Rotten counts blobs that were found damaged.
func (s *Store) Blobs() int64  { return s.blobs.Load() }
func (s *Store) Bytes() int64  { return s.bytes.Load() }
func (s *Store) Rotten() int64 { return s.rotten.Load() }

func (s *Store) session(sid id.Session) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sessions[sid]
	if e == nil {
		e = &session{id: sid, pending: map[id.Blob]*underway{}}
		e.changed = sync.NewCond(&e.mu)
		s.sessions[sid] = e
	}
	return e
}

// Handle is one request's use of a session's blobs. While it is open, Drop waits; so a handle must be taken before the
// session's state is checked and given back with Close.
type Handle struct {
	s *Store
	e *session
}

// Enter returns a handle on a session, or an error (Done) when its blobs are being removed.
func (s *Store) Enter(sid id.Session) (*Handle, error) {
	for {
		e := s.session(sid)
		e.mu.Lock()
		if e.dropped {
			e.mu.Unlock()
			return nil, wire.Fail(wire.Done, "enter session")
		}
		// The entry may have left the map between the two locks.
		if s.current(sid) == e {
			e.users++
			e.mu.Unlock()
			return &Handle{s, e}, nil
		}
		e.mu.Unlock()
	}
}

func (s *Store) current(sid id.Session) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[sid]
}

// Close gives the handle back. An entry that holds nothing and knows of no condemned segment leaves memory.
func (h *Handle) Close() {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	h.e.users--
	if h.e.users == 0 {
		if h.e.stored == 0 && len(h.e.bad) == 0 && !h.e.dropped {
			h.s.forget(h.e)
		}
		h.e.changed.Broadcast()
	}
}

// forget takes the entry out of memory. e.mu is held.
func (s *Store) forget(e *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[e.id] == e {
		delete(s.sessions, e.id)
	}
}

// Stored returns the number of the session's blobs.
func (s *Store) Stored(sid id.Session) int64 {
	s.mu.Lock()
	e := s.sessions[sid]
	s.mu.Unlock()
	if e == nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stored
}

// underway is one Put that has a slot.
type underway struct {
	ended chan struct{}
	body  io.Reader
	left  atomic.Int64 // bytes of it
	moved atomic.Int64 // Unix nanoseconds, when the last bytes came
}

func newUnderway(body io.Reader, size int) *underway {
	u := &underway{ended: make(chan struct{}), body: body}
	u.left.Store(int64(size))
	u.moved.Store(time.Now().UnixNano())
	return u
}

// Read implements io.Reader.
func (u *underway) Read(p []byte) (int, error) {
	n, err := u.body.Read(p)
	u.left.Add(-int64(n))
	u.moved.Store(time.Now().UnixNano())
	return n, err
}

// stalled is how long a Put may have brought nothing before another of the same name aborts it.
const stalled = time.Second

// displace gives the Put up if it has stalled.
func (u *underway) displace() {
	if a, ok := u.body.(Aborter); ok && u.left.Load() > 0 && time.Since(time.Unix(0, u.moved.Load())) > stalled {
		a.Abort()
	}
}

// Aborter is a body that can be given up from another goroutine: reads end with an error.
type Aborter interface{ Abort() }

// Put reads one blob of the class from body and returns when it is durable. The same name with the same bytes again is
// success; with others it is Conflict. limit bounds the session's blobs (QuotaSpace). A body that ends early or stalls is
// Busy: it may be put again; body is not read past the class's size. A Put that meets another of the same name waits for
// it, and aborts it if it has stalled and its body is an Aborter: a device puts a blob again when it has lost the connection of the first attempt, which
// this side may not have noticed yet.
func (h *Handle) Put(ctx context.Context, class wire.Class, name id.Blob, body io.Reader, limit int64) error {
	if class.BlobSize() == 0 {
		return wire.Fail(wire.Malformed, "put blob")
	}
	for {
		slot, wait, exists, err := h.reserve(class, name, body, limit)
		switch {
		case err != nil:
			return err
		case wait != nil:
			select {
			case <-wait.ended:
			case <-time.After(stalled / 2):
				wait.displace()
			case <-ctx.Done():
				return ctx.Err()
			}
		case exists:
			if again, err := h.compare(class, name, body); !again {
				return err
			}
		default:
			err := h.write(class, name, slot, h.pending(name))
			h.settle(name, slot, err)
			return err
		}
	}
}

// reserve finds out whether the blob is new and gives it a slot.
func (h *Handle) reserve(class wire.Class, name id.Blob, body io.Reader, limit int64) (slot uint32, wait *underway, exists bool, err error) {
	e := h.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := h.load(); err != nil {
		return 0, nil, false, err
	}
	if e.class != 0 && e.class != class {
		return 0, nil, false, wire.Fail(wire.Malformed, "put blob")
	}
	if wait := e.pending[name]; wait != nil {
		return 0, wait, false, nil
	}
	if exists, err := h.s.db.View(db.BlobKey(e.id, name), func([]byte) error { return nil }); exists || err != nil {
		return 0, nil, exists, err
	}
	if e.stored+int64(len(e.pending)) >= limit {
		return 0, nil, false, wire.Fail(wire.QuotaSpace, "put blob")
	}
	slot = e.take(class)
	e.pending[name] = newUnderway(body, class.BlobSize())
	return slot, nil, false, nil
}

// pending returns the body of the Put that has reserved the name.
func (h *Handle) pending(name id.Blob) io.Reader {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	return h.e.pending[name]
}

// take gives out a slot outside condemned segments. e.mu is held.
func (e *session) take(class wire.Class) uint32 {
	e.class = class
	for n := len(e.free); n > 0; n = len(e.free) {
		slot := e.free[n-1]
		e.free = e.free[:n-1]
		if !e.bad[slot/slotsOf(class)] {
			return slot
		}
	}
	for e.bad[e.next/slotsOf(class)] {
		e.next = (e.next/slotsOf(class) + 1) * slotsOf(class)
	}
	e.next++
	return e.next - 1
}

// load finds the free slots from the rows. h.e.mu is held.
func (h *Handle) load() error {
	e := h.e
	if e.loaded {
		return nil
	}
	var used []bool
	err := h.s.db.EachPrefix(db.BlobPrefix(e.id), false, func(_, v []byte) (bool, error) {
		r, err := parseRow(v)
		if err != nil {
			return false, err
		}
		for uint32(len(used)) <= r.slot {
			used = append(used, false)
		}
		used[r.slot] = true
		return true, nil
	})
	if err != nil {
		return err
	}
	e.next, e.free, e.bad = uint32(len(used)), nil, map[uint32]bool{}
	for i := len(used) - 1; i >= 0; i-- {
		if !used[i] {
			e.free = append(e.free, uint32(i))
		}
	}
	e.loaded = true
	return nil
}

// write streams the body into the slot and waits until the row is durable.
func (h *Handle) write(class wire.Class, name id.Blob, slot uint32, body io.Reader) error {
	seg, at := place(class, slot)
	f, err := h.s.files.open(fileName{h.e.id, seg}, true)
	if err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	defer f.release()
	sum, err := h.s.stream(f, at, class.BlobSize(), body)
	if err != nil {
		return err
	}
	return h.s.commit.put(&put{e: h.e, name: name, row: row{class, slot, sum}, file: f})
}

// stream copies size bytes of body to the file and sums them.
func (s *Store) stream(f *segment, at int64, size int, body io.Reader) (sum uint32, err error) {
	buf := s.pieces.Get().(*[pieceBytes]byte)
	defer s.pieces.Put(buf)
	for done := 0; done < size; {
		piece := buf[:min(pieceBytes, size-done)]
		if _, err := io.ReadFull(body, piece); err != nil {
			return 0, bodyError(err)
		}
		sum = crc32.Update(sum, castagnoli, piece)
		if _, err := f.WriteAt(piece, at+int64(done)); err != nil {
			return 0, fmt.Errorf("write segment: %w", err)
		}
		done += len(piece)
	}
	return sum, nil
}

// bodyError is a failure of the connection, not of the store.
func bodyError(cause error) error {
	return fmt.Errorf("%w: %w", wire.Fail(wire.Busy, "read body"), cause)
}

// settle ends a pending put. A slot whose put failed before anything was committed is free again.
func (h *Handle) settle(name id.Blob, slot uint32, err error) {
	e := h.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.free = append(e.free, slot)
	} else {
		e.stored++
		h.s.blobs.Add(1)
		h.s.bytes.Add(int64(e.class.BlobSize()))
	}
	close(e.pending[name].ended)
	delete(e.pending, name)
}

// compare reads body beside the stored blob. again is true when the stored one turned out to be damaged, was taken out, and
// body is still untouched.
func (h *Handle) compare(class wire.Class, name id.Blob, body io.Reader) (again bool, err error) {
	b, err := h.Open(name)
	if errors.Is(err, wire.NotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer b.Close()
	if err := b.Verify(); errors.Is(err, wire.NotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	return false, b.equals(body)
}

// Has reports for each name whether its blob is durable here.
func (h *Handle) Has(names []id.Blob) ([]bool, error) {
	out := make([]bool, len(names))
	for i, n := range names {
		ok, err := h.s.db.View(db.BlobKey(h.e.id, n), func([]byte) error { return nil })
		if err != nil {
			return nil, err
		}
		out[i] = ok
	}
	return out, nil
}

// Delete removes the named blobs, present or not, in one synced batch.
func (h *Handle) Delete(names ...id.Blob) error {
	e := h.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := h.load(); err != nil {
		return err
	}
	b := h.s.db.Batch()
	freed := map[id.Blob]uint32{}
	for _, n := range names {
		key := db.BlobKey(e.id, n)
		_, err := h.s.db.View(key, func(v []byte) error {
			r, err := parseRow(v)
			freed[n] = r.slot
			return err
		})
		if err != nil {
			b.Discard()
			return err
		}
		b.Delete(key)
	}
	if len(freed) == 0 {
		b.Discard()
		return nil
	}
	if err := b.Commit(); err != nil {
		return err
	}
	for _, slot := range freed {
		e.free = append(e.free, slot)
	}
	h.s.removed(e, int64(len(freed)))
	return nil
}

// removed counts n blobs of e less. e.mu is held.
func (s *Store) removed(e *session, n int64) {
	e.stored -= n
	s.blobs.Add(-n)
	s.bytes.Add(-n * int64(e.class.BlobSize()))
}
