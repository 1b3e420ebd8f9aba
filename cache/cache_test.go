package cache_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/cache"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// office is a server, a cache that brings to it, and devices.
type office struct {
	t        *testing.T
	server   id.Server
	cacheKey *key.Device
	cacheDir string
	cache    *cache.Cache
	at       id.Server // the cache
	away     atomic.Bool
	old      *key.Device
	young    *key.Device
	sid      id.Session
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, cacheKey: key.NewDevice(), cacheDir: t.TempDir(), old: key.NewDevice(), young: key.NewDevice(), sid: id.NewSession()}
	dev := key.NewDevice()
	s, err := server.New(server.Config{Dir: t.TempDir(), Self: dev.Peer(), Watermark: 1, Caller: link.PeerFrom})
	o.must(err)
	t.Cleanup(func() { o.check(s.Close()) })
	o.server = o.serve(dev, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.away.Load() {
			w.Header().Set(wire.StatusHeader, "301")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		s.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		if o.cache != nil {
			o.check(o.cache.Close())
		}
	})
	return o
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) check(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Error(err)
	}
}

func (o *office) serve(d *key.Device, h http.Handler) id.Server {
	l, err := link.Listen(link.Config{Device: d, Handler: h, Listen: "127.0.0.1:0", FastOnly: true})
	o.must(err)
	o.t.Cleanup(func() { l.Close() })
	return l.Server()
}

// open opens the cache, again on the same state.
func (o *office) open() {
	o.t.Helper()
	var err error
	o.cache, err = cache.New(cache.Config{Dir: o.cacheDir, Device: o.cacheKey, Servers: []id.Server{o.server}, Carrier: link.Fast, Caller: link.PeerFrom, Watermark: 1})
	o.must(err)
	o.at = o.serve(o.cacheKey, o.cache.Handler())
}

func (o *office) dial(cfg remote.Config) *remote.Remote {
	o.t.Helper()
	cfg.Carrier = link.Fast
	r, err := remote.New(cfg)
	o.must(err)
	o.t.Cleanup(func() { r.Close() })
	return r
}

func (o *office) device(d *key.Device, at id.Server) *remote.Remote {
	return o.dial(remote.Config{Device: d, Server: at})
}

func (o *office) permit() key.Permit {
	return key.Permit{Session: o.sid, Cache: o.cacheKey.Peer(), Server: o.server.Peer, NotAfter: time.Now().Add(time.Hour)}
}

func (o *office) offer() remote.Offer {
	return remote.Offer{Session: o.sid, Class: wire.ClassS, Blobs: 20}
}

// begin opens the session at the server and, with a permit, at the cache.
func (o *office) begin() (atServer, atCache *remote.Remote) {
	o.t.Helper()
	atServer, atCache = o.device(o.old, o.server), o.device(o.old, o.at)
	_, err := atServer.Open(o.t.Context(), o.offer())
	o.must(err)
	offer := o.offer()
	offer.Permit = key.SignPermit(o.old, o.permit())
	_, err = atCache.Open(o.t.Context(), offer)
	o.must(err)
	return atServer, atCache
}

func (o *office) root(epoch uint64, final bool) *remote.Root {
	r := &remote.Root{Epoch: epoch, Final: final, Sealed: random(1000), Before: id.Commit{byte(epoch)}}
	c := key.CommitOf(o.sid, epoch, r.Before, r.Sealed)
	r.Signature = o.old.Sign(label.Manifest, label.LV(label.Manifest, c[:]))
	return r
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func (o *office) put(at *remote.Remote, n int) (names []id.Blob, blobs [][]byte) {
	o.t.Helper()
	for range n {
		names, blobs = append(names, id.NewBlob()), append(blobs, random(wire.BlobSizeS))
		o.must(at.Session(o.sid).Put(o.t.Context(), names[len(names)-1], blobs[len(blobs)-1]))
	}
	return names, blobs
}

// arrived waits until the server has the final root of an epoch.
func (o *office) arrived(at *remote.Remote, epoch uint64) *remote.Root {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := at.GetRoot(ctx, o.sid, epoch, 10*time.Second)
		o.must(err)
		if r != nil {
			return r
		}
	}
}

func (o *office) holds(at *remote.Remote, names []id.Blob, blobs [][]byte) {
	o.t.Helper()
	for i, name := range names {
		got, err := at.Session(o.sid).Get(o.t.Context(), name, nil)
		if err != nil || !bytes.Equal(got, blobs[i]) {
			o.t.Errorf("blob %d: %d bytes, %v", i, len(got), err)
		}
	}
}

// TestBrings puts a collection into the cache and finds it at the server, without the sender; and the receiver reads at both.
func TestBrings(t *testing.T) {
	o := newOffice(t)
	o.open()
	atServer, atCache := o.begin()
	o.must(atServer.Pin(t.Context(), o.sid, o.young.Peer(), []byte("pin")))
	o.must(atCache.Pin(t.Context(), o.sid, o.young.Peer(), []byte("pin")))
	names, blobs := o.put(atCache, 5)
	o.must(atCache.Commit(t.Context(), o.sid, o.root(0, false)))
	more, others := o.put(atCache, 5)
	final := o.root(1, true)
	o.must(atCache.Commit(t.Context(), o.sid, final))
	atCache.Close()
	got := o.arrived(atServer, 1)
	if !got.Final || !bytes.Equal(got.Sealed, final.Sealed) {
		t.Errorf("the server has another root: %+v", got)
	}
	for _, at := range []id.Server{o.server, o.at} {
		r := o.device(o.young, at)
		_, err := r.Claim(t.Context(), remote.Claim{Session: o.sid})
		o.must(err)
		o.holds(r, append(names, more...), append(blobs, others...))
	}
	stranger := o.device(key.NewDevice(), o.at)
	if _, err := stranger.Session(o.sid).Get(t.Context(), names[0], nil); wire.StatusOf(err) != wire.Forbidden {
		t.Errorf("a stranger reads in the cache: %v", err)
	}
}

// TestRestart ends the cache while its server is away, and starts it again: everything arrives.
func TestRestart(t *testing.T) {
	o := newOffice(t)
	o.open()
	atServer, atCache := o.begin()
	o.away.Store(true)
	names, blobs := o.put(atCache, 10)
	o.must(atCache.Commit(t.Context(), o.sid, o.root(1, true)))
	if w := o.cache.Waiting(); w.Blobs != 10 || w.Bytes != 10*wire.BlobSizeS || w.Sessions != 1 {
		t.Errorf("waiting: %+v", w)
	}
	o.must(o.cache.Close())
	o.away.Store(false)
	o.open()
	o.arrived(atServer, 1)
	o.holds(atServer, names, blobs)
}

// TestOverAtServer ends the session at the server; the cache forgets it when it next looks, which is when it starts.
func TestOverAtServer(t *testing.T) {
	o := newOffice(t)
	o.open()
	atServer, atCache := o.begin()
	o.put(atCache, 3)
	o.must(atServer.Finish(t.Context(), o.sid, []byte("ack")))
	o.must(o.cache.Close())
	o.open()
	for deadline := time.Now().Add(time.Minute); o.cache.Waiting().Kept > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cache keeps a session that is over")
		}
	}
	again := o.device(o.old, o.at)
	if st, err := again.Status(t.Context(), o.sid); err != nil || st.State != remote.Revoked {
		t.Errorf("at the cache: %+v, %v", st, err)
	}
}

// TestQuota gives the cache more than the session may hold at the server: the surplus never gets there, and no root that needs it.
func TestQuota(t *testing.T) {
	o := newOffice(t)
	o.open()
	atServer, atCache := o.begin()
	most := 20 + 20/8 + 64 // SPEC 7.6
	o.put(atServer, most-3)
	names, _ := o.put(atCache, 5)
	o.must(atCache.Commit(t.Context(), o.sid, o.root(1, true)))
	for deadline := time.Now().Add(time.Minute); o.cache.Waiting().Trouble == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cache has no trouble")
		}
	}
	has, err := atServer.Session(o.sid).Has(t.Context(), names)
	o.must(err)
	n := 0
	for _, there := range has {
		if there {
			n++
		}
	}
	if n > 3 {
		t.Errorf("%d blobs beyond the quota", n-3)
	}
	if r, err := atServer.GetRoot(t.Context(), o.sid, 0, 0); err != nil || r != nil {
		t.Errorf("a root that is not complete was brought: %v, %v", r, err)
	}
}

// TestWhatACacheRefuses tries what a cache does for nobody.
func TestWhatACacheRefuses(t *testing.T) {
	o := newOffice(t)
	o.open()
	r := o.device(o.old, o.at)
	if hello, err := r.Hello(t.Context()); err != nil || !hello.Cache {
		t.Errorf("hello: %+v, %v", hello, err)
	}
	open := func(change func(*key.Permit), by *key.Device) error {
		p := o.permit()
		change(&p)
		offer := o.offer()
		offer.Permit = key.SignPermit(by, p)
		_, err := r.Open(t.Context(), offer)
		return err
	}
	for what, err := range map[string]error{
		"for another server": open(func(p *key.Permit) { p.Server = id.Peer{9} }, o.old),
		"another cache's":    open(func(p *key.Permit) { p.Cache = id.Peer{9} }, o.old),
		"another session's":  open(func(p *key.Permit) { p.Session = id.NewSession() }, o.old),
		"one of yesterday":   open(func(p *key.Permit) { p.NotAfter = time.Now().Add(-24 * time.Hour) }, o.old),
		"another sender's":   open(func(*key.Permit) {}, o.young),
		"none":               func() error { _, err := r.Open(t.Context(), o.offer()); return err }(),
	} {
		if wire.StatusOf(err) != wire.Forbidden {
			t.Errorf("permit, %s: %v", what, err)
		}
	}
	o.must(open(func(*key.Permit) {}, o.old))
	if _, err := r.Allocate(t.Context()); wire.StatusOf(err) != wire.NotFound {
		t.Errorf("a nameplate: %v", err)
	}
	if err := r.Mailbox(o.sid.Scope()).Post(t.Context(), o.young.Peer(), []byte("x")); wire.StatusOf(err) != wire.NotFound {
		t.Errorf("a message: %v", err)
	}
}

// TestWhatAPermitAllows asks the server as caches that lie.
func TestWhatAPermitAllows(t *testing.T) {
	o := newOffice(t)
	o.open()
	atServer, _ := o.begin()
	ctx := t.Context()
	as := func(d *key.Device, by *key.Device, change func(*key.Permit)) *remote.Remote {
		p := o.permit()
		change(&p)
		return o.dial(remote.Config{Device: d, Server: o.server, Permit: key.SignPermit(by, p)})
	}
	same := func(*key.Permit) {}
	blob := random(wire.BlobSizeS)
	for what, r := range map[string]*remote.Remote{
		"of yesterday":       as(o.cacheKey, o.old, func(p *key.Permit) { p.NotAfter = time.Now().Add(-24 * time.Hour) }),
		"of another session": as(o.cacheKey, o.old, func(p *key.Permit) { p.Session = id.NewSession() }),
		"for another server": as(o.cacheKey, o.old, func(p *key.Permit) { p.Server = id.Peer{9} }),
		"of another cache":   as(o.cacheKey, o.old, func(p *key.Permit) { p.Cache = id.Peer{9} }),
		"stolen":             as(o.young, o.old, same),
		"signed by itself":   as(o.cacheKey, o.cacheKey, same),
	} {
		_, has := r.Session(o.sid).Has(ctx, []id.Blob{{1}})
		_, status := r.Status(ctx, o.sid)
		for call, err := range map[string]error{"put": r.Session(o.sid).Put(ctx, id.NewBlob(), blob), "has": has, "status": status, "commit": r.Commit(ctx, o.sid, o.root(1, true))} {
			if wire.StatusOf(err) != wire.Forbidden {
				t.Errorf("a permit %s, %s: %v", what, call, err)
			}
		}
	}
	good := as(o.cacheKey, o.old, same)
	name := id.NewBlob()
	o.must(good.Session(o.sid).Put(ctx, name, blob))
	garbage := o.root(1, true)
	garbage.Sealed = random(1000)
	unsigned := o.root(1, true)
	unsigned.Before = id.Commit{77}
	later := o.root(1, true)
	later.Epoch = 1000
	_, get := good.Session(o.sid).Get(ctx, name, nil)
	_, getRoot := good.GetRoot(ctx, o.sid, 0, 0)
	_, claim := good.Claim(ctx, remote.Claim{Session: o.sid})
	_, _, fetch := good.Mailbox(o.sid.Scope()).Fetch(ctx, 0, 0)
	for call, err := range map[string]error{"a root of its own": good.Commit(ctx, o.sid, garbage), "a root after another": good.Commit(ctx, o.sid, unsigned),
		"a root of a later epoch": good.Commit(ctx, o.sid, later), "get": get, "get root": getRoot, "delete": good.Session(o.sid).Delete(ctx, name),
		"pin": good.Pin(ctx, o.sid, o.cacheKey.Peer(), nil), "finish": good.Finish(ctx, o.sid, nil), "revoke": good.Revoke(ctx, o.sid),
		"fetch": fetch, "post": good.Mailbox(o.sid.Scope()).Post(ctx, o.young.Peer(), nil)} {
		if wire.StatusOf(err) != wire.Forbidden {
			t.Errorf("a good permit, %s: %v", call, err)
		}
	}
	if wire.StatusOf(claim) != wire.NotPinned {
		t.Errorf("claim: %v", claim)
	}
	if err := good.Session(o.sid).Put(ctx, name, random(wire.BlobSizeS)); wire.StatusOf(err) != wire.Conflict {
		t.Errorf("another blob in the place of the first: %v", err)
	}
	o.must(atServer.Pin(ctx, o.sid, o.young.Peer(), []byte("pin")))
	st, err := good.Status(ctx, o.sid)
	if err != nil || !st.Receiver.IsZero() || len(st.Pin) > 0 || len(st.ReceiverCard) > 0 {
		t.Errorf("the cache is told of the receiver: %+v, %v", st, err)
	}
	o.must(good.Commit(ctx, o.sid, o.root(1, true)))
	if err := good.Commit(ctx, o.sid, o.root(0, false)); wire.StatusOf(err) != wire.StaleEpoch {
		t.Errorf("an older root: %v", err)
	}
}

// TestNoServer needs a server to bring things to.
func TestNoServer(t *testing.T) {
	if _, err := cache.New(cache.Config{Dir: t.TempDir(), Device: key.NewDevice()}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a cache without a server: %v", err)
	}
}
