package contract_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/cache"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/direct"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
	"github.com/decant-dev/decant/test/contract"
)

func TestMemory(t *testing.T) {
	contract.BlobStore(t, func(*testing.T) contract.Store { return new(transfer.Memory) })
}

// serve brings a handler to the fast lane.
func serve(t *testing.T, d *key.Device, h http.Handler) id.Server {
	t.Helper()
	l, err := link.Listen(link.Config{Device: d, Handler: h, Listen: "127.0.0.1:0", FastOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Server()
}

func dial(t *testing.T, d *key.Device, to id.Server) *remote.Remote {
	t.Helper()
	r, err := remote.New(remote.Config{Device: d, Server: to, Carrier: link.Fast})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func open(t *testing.T, sender *remote.Remote) id.Session {
	t.Helper()
	sid := id.NewSession()
	if _, err := sender.Open(t.Context(), remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 100}); err != nil {
		t.Fatal(err)
	}
	return sid
}

// TestServer runs both suites against the server, as devices reach it.
func TestServer(t *testing.T) {
	s, err := server.New(server.Config{Dir: t.TempDir(), Watermark: 1, Caller: link.PeerFrom})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	at := serve(t, key.NewDevice(), s.Handler())
	old, young := key.NewDevice(), key.NewDevice()
	sender, receiver := dial(t, old, at), dial(t, young, at)
	t.Run("blobs", func(t *testing.T) {
		contract.BlobStore(t, func(t *testing.T) contract.Store { return sender.Session(open(t, sender)) })
	})
	t.Run("mailbox", func(t *testing.T) {
		contract.Mailbox(t, func(t *testing.T) contract.Ends {
			sid := open(t, sender)
			if err := sender.Pin(t.Context(), sid, young.Peer(), []byte("pin")); err != nil {
				t.Fatal(err)
			}
			return contract.Ends{A: sender.Mailbox(sid.Scope()), B: receiver.Mailbox(sid.Scope()), PeerA: old.Peer(), PeerB: young.Peer()}
		})
	})
}

// TestCache runs the suite against a cache that brings everything to a server meanwhile. It has no mailboxes.
func TestCache(t *testing.T) {
	device, own := key.NewDevice(), key.NewDevice()
	s, err := server.New(server.Config{Dir: t.TempDir(), Self: device.Peer(), Watermark: 1, Caller: link.PeerFrom})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	home := serve(t, device, s.Handler())
	c, err := cache.New(cache.Config{Dir: t.TempDir(), Device: own, Servers: []id.Server{home}, Carrier: link.Fast, Watermark: 1, Caller: link.PeerFrom})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	old := key.NewDevice()
	atServer, atCache := dial(t, old, home), dial(t, old, serve(t, own, c.Handler()))
	contract.BlobStore(t, func(t *testing.T) contract.Store {
		sid := open(t, atServer)
		permit := key.SignPermit(old, key.Permit{Session: sid, Cache: own.Peer(), Server: home.Peer, NotAfter: time.Now().Add(time.Hour)})
		if _, err := atCache.Open(t.Context(), remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 100, Permit: permit}); err != nil {
			t.Fatal(err)
		}
		return atCache.Session(sid)
	})
}

// state is a desk's store in a journal.
type state struct{ j *journal.Journal }

func (s state) Get(key string) ([]byte, error) {
	v, err := s.j.Get([]byte(key))
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

func (s state) Put(kv map[string][]byte) error {
	b := s.j.Batch()
	for k, v := range kv {
		if v == nil {
			b.Delete([]byte(k))
		} else {
			b.Put([]byte(k), v)
		}
	}
	return b.Commit()
}

func (s state) Each(prefix string, fn func(string, []byte) error) error {
	return s.j.Each([]byte(prefix), func(k, v []byte) error { return fn(string(k), v) })
}

// seat is a desk that keeps all that is put to it, and its sender.
type seat struct {
	desk   *direct.Desk
	sender *remote.Remote
	sid    id.Session
	ends   contract.Ends
}

func newSeat(t *testing.T) *seat {
	t.Helper()
	j, err := journal.OpenOn(vfs.NewMem(), "journal", seal.NewKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	old, young := key.NewDevice(), key.NewDevice()
	d, err := direct.New(direct.Config{Device: young.Peer(), Store: state{j}, Spool: filepath.Join(t.TempDir(), "spool"), Caller: link.PeerFrom,
		Deliver: func(context.Context, id.Blob, []byte, []byte) (bool, error) { return true, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	s := &seat{desk: d, sender: dial(t, old, serve(t, young, d)), sid: id.NewSession()}
	if err := d.Admit(old.Peer(), s.sid); err != nil {
		t.Fatal(err)
	}
	if _, err := s.sender.Open(t.Context(), remote.Offer{Session: s.sid, Class: wire.ClassS, Blobs: 100}); err != nil {
		t.Fatal(err)
	}
	s.ends = contract.Ends{A: s.sender.Mailbox(s.sid.Scope()), B: d.Mailbox(s.sid.Scope()), PeerA: old.Peer(), PeerB: young.Peer()}
	return s
}

// putter is the sender's view of a desk's blobs, with the receiver's Get: a sender has no
// use for one.
type putter struct {
	*remote.Session
	spool *direct.Session
}

func (p putter) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	return p.spool.Get(ctx, name, dst)
}

// keeper is the receiver's view, with the sender's Put.
type keeper struct {
	*direct.Session
	sender *remote.Session
}

func (k keeper) Put(ctx context.Context, name id.Blob, blob []byte) error {
	return k.sender.Deliver(ctx, name, []byte("note"), blob)
}

// TestDesk runs both suites against the other device, from both of its sides.
func TestDesk(t *testing.T) {
	t.Run("blobs of the sender", func(t *testing.T) {
		contract.BlobStore(t, func(t *testing.T) contract.Store {
			s := newSeat(t)
			return putter{s.sender.Session(s.sid), s.desk.Session(s.sid)}
		})
	})
	t.Run("blobs of the receiver", func(t *testing.T) {
		contract.BlobStore(t, func(t *testing.T) contract.Store {
			s := newSeat(t)
			return keeper{s.desk.Session(s.sid), s.sender.Session(s.sid)}
		})
	})
	t.Run("mailbox", func(t *testing.T) {
		contract.Mailbox(t, func(t *testing.T) contract.Ends { return newSeat(t).ends })
	})
}
