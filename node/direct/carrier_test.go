package direct

import (
	"bytes"
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// endpoint is a device's presence on this machine.
func endpoint(t testing.TB, d *key.Device, h http.Handler) *link.Endpoint {
	t.Helper()
	e, err := link.NewEndpoint(link.EndpointConfig{Device: d, Handler: h, Listen: "127.0.0.1:0", Loopback: true})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

// come lets a device ask the desk of another over the direct link.
func come(t testing.TB, d *key.Device, to *key.Device, at *link.Endpoint) *remote.Remote {
	t.Helper()
	dialer := endpoint(t, d, nil).Dial(to.Peer())
	dialer.SetAddrs(at.Addrs())
	r, err := remote.New(remote.Config{Transport: dialer})
	must(t, err)
	return r
}

// reach lets the sender of an admitted session come over the direct link.
func (w *world) reach(t testing.TB, class wire.Class) (*remote.Remote, id.Session) {
	t.Helper()
	old, sid := key.NewDevice(), id.NewSession()
	must(t, w.Admit(old.Peer(), sid))
	r := come(t, old, w.young, endpoint(t, w.young, w.Desk))
	_, err := r.Open(t.Context(), remote.Offer{Session: sid, Class: class, Blobs: 1 << 20})
	must(t, err)
	return r, sid
}

// promptly is well below what the carriers allow a peer that stalls, of several requests together.
const promptly = time.Minute

// TestDeliverOverTheLink delivers over the carriers of two devices: to a desk that is
// busy at first, which makes the sender ask before it sends, and to one that takes all.
func TestDeliverOverTheLink(t *testing.T) {
	w := newWorld(t)
	var busy atomic.Int32
	busy.Store(2)
	w.config.Ready = func(context.Context, []byte) error {
		if busy.Add(-1) >= 0 {
			return wire.Busy
		}
		return nil
	}
	w.config.Deliver = func(context.Context, id.Blob, []byte, []byte) (bool, error) { return true, nil }
	w.reopen()
	r, sid := w.reach(t, wire.ClassL)
	store := r.Session(sid)
	began := time.Now()
	for range 4 {
		name, page := id.NewBlob(), bytes.Repeat(blob(), wire.BlobSizeL/wire.BlobSizeS+1)[:wire.BlobSizeL]
		must(t, store.Deliver(t.Context(), name, []byte("note"), page))
		if got, err := w.Session(sid).Get(t.Context(), name, nil); err != nil || !bytes.Equal(got, page) {
			t.Fatalf("what arrived: %d bytes, %v", len(got), err)
		}
	}
	if took := time.Since(began); took > promptly {
		t.Errorf("delivered after %v", took)
	}
}

// TestRefusedOverTheLink refuses blobs unread, and the sender hears of it.
func TestRefusedOverTheLink(t *testing.T) {
	w := newWorld(t)
	at := endpoint(t, w.young, w.Desk)
	old, sid := key.NewDevice(), id.NewSession()
	must(t, w.Admit(old.Peer(), sid))
	sender, stranger := come(t, old, w.young, at), come(t, key.NewDevice(), w.young, at)
	began := time.Now()
	page := make([]byte, wire.BlobSizeL)
	for range 2 {
		want(t, stranger.Session(sid).Put(t.Context(), id.NewBlob(), page), wire.Forbidden)
		want(t, stranger.Session(sid).Deliver(t.Context(), id.NewBlob(), nil, page), wire.Forbidden)
		want(t, sender.Session(sid).Put(t.Context(), id.NewBlob(), page), wire.NotFound) // not opened
		want(t, sender.Session(sid).Deliver(t.Context(), id.NewBlob(), nil, page), wire.NotFound)
	}
	if took := time.Since(began); took > promptly {
		t.Errorf("refused after %v", took)
	}
}

// BenchmarkDeliver moves blobs of class L between two devices on this machine, four at a
// time, to a receiver that looks at nothing.
func BenchmarkDeliver(b *testing.B) {
	w := newWorld(b)
	r, sid := w.reach(b, wire.ClassL)
	store := r.Session(sid)
	page := bytes.Repeat(blob(), wire.BlobSizeL/wire.BlobSizeS+1)[:wire.BlobSizeL]
	must(b, store.Deliver(b.Context(), id.NewBlob(), nil, page)) // connects
	b.SetBytes(wire.BlobSizeL)
	b.SetParallelism(2) // of two processors
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := store.Deliver(context.Background(), id.NewBlob(), nil, page); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
