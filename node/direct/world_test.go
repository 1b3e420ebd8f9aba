package direct

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// memory is a Store that survives its desk, and can fail.
type memory struct {
	mu     sync.Mutex // guards the rest
	kv     map[string][]byte
	puts   int
	fail   int  // the Put that fails
	stored bool // and has its effect nevertheless
}

func newMemory() *memory { return &memory{kv: map[string][]byte{}} }

var errDisk = errors.New("disk is broken")

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.kv[key]), nil
}

func (m *memory) Put(kv map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	fails := m.puts == m.fail
	if fails && !m.stored {
		return errDisk
	}
	for k, v := range kv {
		if v == nil {
			delete(m.kv, k)
		} else {
			m.kv[k] = slices.Clone(v)
		}
	}
	if fails {
		return errDisk
	}
	return nil
}

func (m *memory) Each(prefix string, fn func(string, []byte) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range m.kv {
		if strings.HasPrefix(k, prefix) {
			if err := fn(k, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// breakAt lets the n-th Put from now on fail, with its effect or without.
func (m *memory) breakAt(n int, stored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts, m.fail, m.stored = 0, n, stored
}

// callerKey names the caller of a request that came over no carrier.
type callerKey struct{}

func as(ctx context.Context, p id.Peer) context.Context {
	return context.WithValue(ctx, callerKey{}, p)
}

func callerOf(ctx context.Context) (id.Peer, bool) {
	if p, ok := link.PeerFrom(ctx); ok {
		return p, true
	}
	p, ok := ctx.Value(callerKey{}).(id.Peer)
	return p, ok
}

// world is a receiver with its desk and what is behind it.
type world struct {
	*Desk
	t      testing.TB
	young  *key.Device
	store  *memory
	config Config

	mu        sync.Mutex         // guards the rest
	delivered map[id.Blob]string // note by name
	calls     int                // of Deliver
}

// kept begins the note of a blob that the receiver wants spooled.
const kept = "keep"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, young: key.NewDevice(), store: newMemory(), delivered: map[id.Blob]string{}}
	w.config = Config{Device: w.young.Peer(), Store: w.store, Spool: filepath.Join(t.TempDir(), "spool"), Caller: callerOf, Boot: [16]byte{1},
		Deliver: w.deliver, Has: w.has}
	w.open()
	t.Cleanup(func() { w.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	d, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Desk = d
}

// reopen ends the desk and starts another on what it left.
func (w *world) reopen() {
	w.t.Helper()
	w.Close()
	w.open()
}

func (w *world) deliver(_ context.Context, name id.Blob, note, _ []byte) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	w.delivered[name] = string(note)
	return strings.HasPrefix(string(note), kept), nil
}

func (w *world) has(_ context.Context, names []id.Blob) ([]bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]bool, len(names))
	for i, n := range names {
		_, out[i] = w.delivered[n]
	}
	return out, nil
}

func (w *world) deliveries() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

// shortcut is a transport without a network: the desk is called in the same goroutine.
type shortcut struct {
	w    *world
	peer id.Peer
}

func (s shortcut) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	in := r.Clone(as(r.Context(), s.peer))
	if in.Body == nil {
		in.Body = http.NoBody
	}
	s.w.ServeHTTP(rec, in)
	in.Body.Close()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.ContentLength = int64(rec.Body.Len())
	return resp, nil
}

// visitor is another device at the desk.
type visitor struct {
	*remote.Remote
	peer id.Peer
}

// visit lets a new device come without a network.
func (w *world) visit() *visitor {
	w.t.Helper()
	var p id.Peer
	rand.Read(p[:])
	return w.visitAs(p)
}

func (w *world) visitAs(p id.Peer) *visitor {
	w.t.Helper()
	r, err := remote.New(remote.Config{Transport: shortcut{w, p}})
	if err != nil {
		w.t.Fatal(err)
	}
	return &visitor{r, p}
}

// offer opens a session, of class S.
func (v *visitor) offer(t testing.TB) id.Session {
	t.Helper()
	sid := id.NewSession()
	if _, err := v.Open(t.Context(), remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 8}); err != nil {
		t.Fatal(err)
	}
	return sid
}

// admitted is a visitor with an open session to which it is admitted.
func (w *world) admitted() (*visitor, id.Session) {
	w.t.Helper()
	w.plate()
	v := w.visit()
	sid := v.offer(w.t)
	must(w.t, w.Admit(v.peer, sid))
	return v, sid
}

func (w *world) plate() *remote.Nameplate {
	w.t.Helper()
	p, err := w.Allocate(w.t.Context())
	must(w.t, err)
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err error, s wire.Status) {
	t.Helper()
	if got := wire.StatusOf(err); got != s {
		t.Fatalf("%v, want %v", err, s)
	}
}

func blob() []byte {
	b := make([]byte, wire.BlobSizeS)
	rand.Read(b)
	return b
}

func root(epoch uint64, final bool) *remote.Root {
	r := &remote.Root{Epoch: epoch, Final: final, Sealed: make([]byte, 100), Signature: make([]byte, 64)}
	rand.Read(r.Sealed)
	rand.Read(r.Signature)
	return r
}
