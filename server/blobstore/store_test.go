package blobstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// shelf is a store in memory that can be opened again.
type shelf struct {
	t  *testing.T
	fs vfs.FS
	d  *db.DB
	s  *Store
}

func newShelf(t *testing.T, fs vfs.FS) *shelf {
	t.Helper()
	h := &shelf{t: t, fs: fs}
	h.open()
	t.Cleanup(h.close)
	return h
}

func (h *shelf) open() {
	h.t.Helper()
	var err error
	if h.d, err = db.Open("db", db.Options{FS: h.fs}); err != nil {
		h.t.Fatal(err)
	}
	if h.s, err = Open(h.d, Config{FS: h.fs, Dir: "blobs", OpenFiles: 2}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *shelf) close() {
	h.t.Helper()
	if err := errors.Join(h.s.Close(), h.d.Close()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *shelf) put(sid id.Session, name id.Blob, blob []byte) error {
	h.t.Helper()
	e, err := h.s.Enter(sid)
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Put(context.Background(), wire.ClassS, name, bytes.NewReader(blob), 1000)
}

func (h *shelf) get(sid id.Session, name id.Blob) ([]byte, error) {
	h.t.Helper()
	e, err := h.s.Enter(sid)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	b, err := e.Open(name)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var out bytes.Buffer
	_, err = b.WriteTo(&out)
	return out.Bytes(), err
}

func small() []byte {
	b := make([]byte, wire.BlobSizeS)
	rand.Read(b)
	return b
}

func (h *shelf) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestSlotsAreUsedAgain: a deleted blob's slot goes to the next blob, also after a restart, and a failed put gives its slot back.
func TestSlotsAreUsedAgain(t *testing.T) {
	h := newShelf(t, vfs.NewMem())
	sid := id.NewSession()
	names := []id.Blob{id.NewBlob(), id.NewBlob(), id.NewBlob()}
	for _, n := range names {
		h.must(h.put(sid, n, small()))
	}
	e, err := h.s.Enter(sid)
	h.must(err)
	h.must(e.Delete(names[1], id.NewBlob()))
	e.Close()
	h.close()
	h.open()
	if err := h.put(sid, id.NewBlob(), small()[:99]); !errors.Is(err, wire.Busy) {
		t.Errorf("short body: %v", err)
	}
	blob, name := small(), id.NewBlob()
	h.must(h.put(sid, name, blob))
	_, path := fileName{sid, 0}.path(h.fs, "blobs")
	info, err := h.fs.Stat(path)
	h.must(err)
	if info.Size() != 3*wire.BlobSizeS {
		t.Errorf("segment of %d bytes, want three slots", info.Size())
	}
	got, err := h.get(sid, name)
	h.must(err)
	if !bytes.Equal(got, blob) || h.s.Blobs() != 3 || h.s.Bytes() != 3*wire.BlobSizeS || h.s.Stored(sid) != 3 {
		t.Errorf("%d blobs, %d bytes", h.s.Blobs(), h.s.Bytes())
	}
	if err := h.put(sid, name, small()); !errors.Is(err, wire.Conflict) {
		t.Errorf("other bytes under the same name: %v", err)
	}
}

// TestR5FailedSyncCondemnsTheSegment: after a failed sync the put fails, no later blob trusts the file, and what was there before stays.
func TestR5FailedSyncCondemnsTheSegment(t *testing.T) {
	var fail atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasPrefix(op.Path, "blobs/") && fail.CompareAndSwap(true, false) {
			return errorfs.ErrInjected
		}
		return nil
	})
	h := newShelf(t, errorfs.Wrap(vfs.NewMem(), inject))
	sid, first, second := id.NewSession(), id.NewBlob(), id.NewBlob()
	h.must(h.put(sid, first, small()))
	fail.Store(true)
	blob := small()
	if err := h.put(sid, second, blob); wire.StatusOf(err) != wire.Internal {
		t.Fatalf("put after a failed sync: %v", err)
	}
	if _, err := h.get(sid, second); !errors.Is(err, wire.NotFound) {
		t.Fatalf("get: %v", err)
	}
	h.must(h.put(sid, second, blob))
	if _, path := (fileName{sid, 1}).path(h.fs, "blobs"); errors.Is(exists(h.fs, path), errAbsent) {
		t.Error("the blob went to the condemned segment")
	}
	if _, err := h.get(sid, first); err != nil {
		t.Error(err)
	}
}

var errAbsent = errors.New("absent")

func exists(fs vfs.FS, path string) error {
	if _, err := fs.Stat(path); err != nil {
		return errAbsent
	}
	return nil
}

// TestDropAndOrphans: dropping a session removes its files and nobody else's, twice is once, and files without a session go.
func TestDropAndOrphans(t *testing.T) {
	h := newShelf(t, vfs.NewMem())
	var sids []id.Session
	for range 4 {
		sid := id.NewSession()
		h.must(h.put(sid, id.NewBlob(), small()))
		sids = append(sids, sid)
	}
	h.must(h.s.Drop(sids[0]))
	h.must(h.s.Drop(sids[0]))
	live := func(s id.Session) (bool, error) { return s == sids[1] || s == sids[2], nil }
	n, err := h.s.Orphans(context.Background(), live)
	h.must(err)
	if n != 1 {
		t.Errorf("%d orphans, want 1", n)
	}
	for i, sid := range sids {
		_, path := fileName{sid, 0}.path(h.fs, "blobs")
		if there, want := exists(h.fs, path) == nil, i == 1 || i == 2; there != want {
			t.Errorf("file of session %d: there %v, want %v", i, there, want)
		}
	}
	if h.s.Stored(sids[0]) != 0 || h.s.Blobs() != 3 {
		t.Errorf("%d blobs counted", h.s.Blobs())
	}
}

// TestDropWaits: blobs are not removed under a request.
func TestDropWaits(t *testing.T) {
	h := newShelf(t, vfs.NewMem())
	sid, name := id.NewSession(), id.NewBlob()
	h.must(h.put(sid, name, small()))
	e, err := h.s.Enter(sid)
	h.must(err)
	dropped := make(chan error, 1)
	go func() { dropped <- h.s.Drop(sid) }()
	for {
		other, err := h.s.Enter(sid)
		if err != nil {
			break // the drop has begun
		}
		other.Close()
	}
	b, err := e.Open(name)
	h.must(err)
	h.must(b.Verify())
	b.Close()
	e.Close()
	h.must(<-dropped)
	if _, err := h.get(sid, name); !errors.Is(err, wire.NotFound) {
		t.Errorf("after the drop: %v", err)
	}
}

// TestPutOfTwoClasses: a session has one class.
func TestPutOfTwoClasses(t *testing.T) {
	h := newShelf(t, vfs.NewMem())
	sid := id.NewSession()
	h.must(h.put(sid, id.NewBlob(), small()))
	e, err := h.s.Enter(sid)
	h.must(err)
	defer e.Close()
	for _, class := range []wire.Class{wire.ClassL, 0, 9} {
		if err := e.Put(context.Background(), class, id.NewBlob(), neverRead{t}, 10); !errors.Is(err, wire.Malformed) {
			t.Errorf("class %d: %v", class, err)
		}
	}
	if err := e.Put(context.Background(), wire.ClassS, id.NewBlob(), neverRead{t}, 1); !errors.Is(err, wire.QuotaSpace) {
		t.Errorf("above the limit: %v", err)
	}
}

// neverRead is a body that must be refused unread.
type neverRead struct{ t *testing.T }

func (r neverRead) Read([]byte) (int, error) {
	r.t.Error("the body was read")
	return 0, io.EOF
}

func FuzzRow(f *testing.F) {
	f.Add(row{wire.ClassL, 7, 9}.bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRow(b); err == nil && !bytes.Equal(r.bytes(), b) {
			t.Errorf("%x has another encoding %x", b, r.bytes())
		}
	})
}

// silent is a body that brings a little and then nothing until it is given up.
type silent struct {
	head    io.Reader
	aborted chan struct{}
	once    sync.Once
}

func (s *silent) Read(p []byte) (int, error) {
	if n, err := s.head.Read(p); n > 0 || err != io.EOF {
		return n, err
	}
	<-s.aborted
	return 0, os.ErrDeadlineExceeded
}

func (s *silent) Abort() { s.once.Do(func() { close(s.aborted) }) }

// TestStalledPutGivesWay: a device that has lost a connection puts its blob again on another one, and is not kept waiting by
// what is left of the first attempt.
func TestStalledPutGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newShelf(t, vfs.NewMem())
		e, err := h.s.Enter(id.NewSession())
		h.must(err)
		defer e.Close()
		name, blob := id.NewBlob(), small()
		first := &silent{head: bytes.NewReader(blob[:1000]), aborted: make(chan struct{})}
		ended := make(chan error)
		go func() { ended <- e.Put(t.Context(), wire.ClassS, name, first, 10) }()
		synctest.Wait()
		began := time.Now()
		h.must(e.Put(t.Context(), wire.ClassS, name, bytes.NewReader(blob), 10))
		if took := time.Since(began); took > 2*stalled {
			t.Errorf("the second attempt waited %v", took)
		}
		if err := <-ended; !errors.Is(err, wire.Busy) {
			t.Errorf("the first attempt: %v", err)
		}
	})
}
