package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// endpoint makes an endpoint on loopback that ends with the test.
func endpoint(t testing.TB, cfg EndpointConfig) *Endpoint {
	t.Helper()
	if cfg.Device == nil {
		cfg.Device = newDevice()
	}
	or(&cfg.Listen, "127.0.0.1:0")
	cfg.Loopback = true
	e, err := NewEndpoint(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func (e *Endpoint) self() id.Peer { return e.server.ident.self }

// dialPeer makes a PeerDialer that ends with the test.
func dialPeer(t testing.TB, e *Endpoint, to id.Peer, addrs ...string) *PeerDialer {
	t.Helper()
	d := e.Dial(to)
	t.Cleanup(func() { d.Close() })
	if addrs != nil {
		d.SetAddrs(addrs)
	}
	return d
}

func postPeer(ctx context.Context, d http.RoundTripper, body string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", BaseURL+"/", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := d.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(b), err
}

// within calls f until it is true, for at most a minute of a loaded machine.
func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// TestEndpoint: two devices on one machine reach each other on the fast lane and know who asks.
func TestEndpoint(t *testing.T) {
	receiver := endpoint(t, EndpointConfig{Handler: echo})
	sender := endpoint(t, EndpointConfig{})
	d := dialPeer(t, sender, receiver.self())
	if d.Path() != PathNone {
		t.Fatalf("path %v before any address", d.Path())
	}
	d.SetAddrs(receiver.Addrs())
	for range 3 {
		got, err := postPeer(t.Context(), d, "hello")
		if want := sender.self().String() + " hello"; err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	if w := d.way(); w == nil || w.grade != gradeFast || d.Path() != PathLocal {
		t.Fatalf("path %v, way %+v", d.Path(), w)
	}
	if n := receiver.server.Conns(); n != 1 {
		t.Fatalf("%d connections for sequential requests", n)
	}
}

// TestEndpointBetter: a device that is first known by its libp2p addresses only is asked on the fast lane once its address
// is known, and no request fails on the way.
func TestEndpointBetter(t *testing.T) {
	t.Parallel()
	receiver := endpoint(t, EndpointConfig{Handler: echo})
	sender := endpoint(t, EndpointConfig{})
	at := receiver.server.Addr().AddrPort()
	for i, multi := range hostAddrs(at.Addr(), at.Port()) {
		d := dialPeer(t, sender, receiver.self(), multi.String())
		if _, err := postPeer(t.Context(), d, ""); err != nil {
			t.Fatal(err)
		}
		if w := d.way(); w == nil || w.grade != gradeHost || d.Path() != PathLocal {
			t.Fatalf("%v: path %v, way %+v", multi, d.Path(), w)
		}
		old := d.way()
		d.SetAddrs([]string{multi.String(), receiver.Addrs()[0]})
		within(t, "the fast lane is found", func() bool {
			if _, err := postPeer(t.Context(), d, ""); err != nil {
				t.Fatal(err)
			}
			w := d.way()
			return w != nil && w.grade == gradeFast
		})
		within(t, "the libp2p streams close", func() bool {
			old.mu.Lock()
			defer old.mu.Unlock()
			return len(old.lines) == 0
		})
		d.Close()
		if i == 0 { // so that TCP is dialled next
			sender.host.swarm.ClosePeer(peerID(receiver.self()))
		}
	}
}

// TestReach: a receiver that nobody can dial is asked over the connection that it opens itself.
func TestReach(t *testing.T) {
	t.Parallel()
	receiver := endpoint(t, EndpointConfig{Handler: echo})
	sender := endpoint(t, EndpointConfig{})
	d := dialPeer(t, sender, receiver.self())
	receiver.Reach(sender.self(), sender.Addrs())
	if _, err := postPeer(t.Context(), d, ""); err != nil {
		t.Fatal(err)
	}
	if w := d.way(); w == nil || w.grade != gradeHost {
		t.Fatalf("way %+v", w)
	}
	// The connection breaks: it comes again, and requests with it.
	sender.host.swarm.ClosePeer(peerID(receiver.self()))
	within(t, "asked again", func() bool { _, err := postPeer(t.Context(), d, ""); return err == nil })
	receiver.Reach(sender.self(), nil)
	receiver.host.swarm.ClosePeer(peerID(sender.self()))
	within(t, "the end is noticed", func() bool { return d.Path() == PathNone })
}

// TestAllow: strangers get no connection and no answer on either carrier, and a device that falls from favour loses both.
func TestAllow(t *testing.T) {
	t.Parallel()
	var friend atomic.Pointer[id.Peer]
	receiver := endpoint(t, EndpointConfig{Handler: echo, Allow: func(p id.Peer) bool { f := friend.Load(); return f != nil && *f == p }})
	at := receiver.server.Addr().AddrPort()
	for _, addr := range []string{receiver.Addrs()[0], hostAddrs(at.Addr(), at.Port())[0].String(), hostAddrs(at.Addr(), at.Port())[1].String()} {
		friend.Store(nil)
		sender := endpoint(t, EndpointConfig{})
		d := dialPeer(t, sender, receiver.self(), addr)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if got, err := postPeer(ctx, d, ""); err == nil {
			t.Fatalf("%s: a stranger was told %q", addr, got)
		}
		cancel()
		me := sender.self()
		friend.Store(&me)
		d.Kick()
		within(t, "the friend is served", func() bool { _, err := postPeer(t.Context(), d, ""); return err == nil })
		friend.Store(nil)
		resp, err := d.RoundTrip(must(http.NewRequest("POST", BaseURL+"/", nil)))
		if err != nil || resp.StatusCode != http.StatusForbidden || resp.Header.Get(wire.StatusHeader) != "106" {
			t.Fatalf("%s: on an open connection: %v, %v", addr, resp, err)
		}
		resp.Body.Close()
		receiver.Recheck()
		within(t, "nobody is connected", func() bool { return receiver.server.Conns() == 0 && len(receiver.host.swarm.Conns()) == 0 })
		sender.Close()
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestR14Moves: the other device turns up at another address; the request that is made once it is known works within 3 s.
func TestR14Moves(t *testing.T) {
	dev := newDevice()
	sender := endpoint(t, EndpointConfig{})
	d := dialPeer(t, sender, dev.Peer())
	for _, at := range []string{"127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "127.0.0.1:0"} {
		receiver, err := NewEndpoint(EndpointConfig{Device: dev, Handler: echo, Listen: at, Loopback: true})
		if err != nil {
			t.Skipf("this machine has not all of 127.0.0.0/8: %v", err)
		}
		d.SetAddrs(receiver.Addrs())
		began := time.Now()
		within(t, "a request works", func() bool { _, err := postPeer(t.Context(), d, ""); return err == nil })
		t.Logf("%s after %v", at, time.Since(began))
		receiver.Close()
	}
}

// TestNoPath: a request waits for a way only so long, and ends with its context or the dialer at once.
func TestNoPath(t *testing.T) {
	sender := endpoint(t, EndpointConfig{})
	d := dialPeer(t, sender, newDevice().Peer())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := postPeer(ctx, d, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := postPeer(t.Context(), d, "x"); ended <- err }()
	d.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := postPeer(t.Context(), d, "x"); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestE17WrongDevice: another identity at the address that was told gets no request.
func TestE17WrongDevice(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	other := endpoint(t, EndpointConfig{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })})
	sender := endpoint(t, EndpointConfig{})
	d := dialPeer(t, sender, newDevice().Peer(), other.Addrs()...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := postPeer(ctx, d, "secret"); err == nil || requests.Load() != 0 {
		t.Fatalf("%d requests, %v", requests.Load(), err)
	}
}

// TestPolicy: whatever another side names, this device knocks at no door that it did not mean to.
func TestPolicy(t *testing.T) {
	forbidden := []string{"0.0.0.0", "::", "0.1.2.3", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "169.254.169.254",
		"fe80::1", "ff02::1", "ff0e::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2001:0:1::1", "::127.0.0.1", "fe80::1%eth0"}
	for _, p := range []policy{{}, {local: true}, {loopback: true}, {true, true}} {
		for _, a := range forbidden {
			if p.allows(netip.MustParseAddr(a)) {
				t.Errorf("%+v allows %s", p, a)
			}
		}
		for _, a := range []string{"8.8.8.8", "2a00:1450::1", "::ffff:8.8.8.8", "203.0.113.7"} {
			if !p.allows(netip.MustParseAddr(a)) {
				t.Errorf("%+v forbids %s", p, a)
			}
		}
		for _, a := range []string{"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"} {
			if p.allows(netip.MustParseAddr(a)) != p.local {
				t.Errorf("%+v: %s", p, a)
			}
		}
		for _, a := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"} {
			if p.allows(netip.MustParseAddr(a)) != p.loopback {
				t.Errorf("%+v: %s", p, a)
			}
		}
	}
}

// TestHints: what is no address of an endpoint is not believed, and of many only the first count.
func TestHints(t *testing.T) {
	for _, s := range []string{"", "x", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65535", "[fe80::1%eth0]:1", "example.org:4410", "/ip4/1.2.3.4",
		"/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/udp/1/quic", "/dns4/example.org/tcp/1", "/unix/tmp",
		"/ip4/1.2.3.4/tcp/1/p2p/12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv/p2p-circuit", "/ip6zone/x/ip6/fe80::1/tcp/1",
		strings.Repeat("1", 200)} {
		if h, err := parseHint(s); err == nil {
			t.Errorf("%q became %+v", s, h)
		}
	}
	var many []string
	for range 100 {
		many = append(many, "1.2.3.4:5")
	}
	if n := len(policy{}.hints(many)); n != MaxAddrs {
		t.Errorf("%d hints", n)
	}
}

func FuzzHint(f *testing.F) {
	for _, s := range []string{"1.2.3.4:5", "[2a00::1]:5", "/ip4/1.2.3.4/udp/5/quic-v1", "/ip6/2a00::1/tcp/5", "127.0.0.1:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, h := range (policy{}).hints([]string{s}) {
			if a := h.addr(); private(a) || !a.IsGlobalUnicast() || len(h.host) == 0 {
				t.Fatalf("%q leads to %v", s, a)
			}
		}
	})
}

// TestEndpointClose: endpoints, their dialers and relays leave no goroutine behind, whatever they were doing.
func TestEndpointClose(t *testing.T) {
	before := runtime.NumGoroutine()
	l := &ledger{friends: map[[2]id.Peer]bool{}, bytes: map[[2]id.Peer]int64{}}
	relay, err := Listen(Config{Device: newDevice(), Handler: echo, Listen: "127.0.0.1:0", Relay: l.config()})
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	open := func(h http.Handler) *Endpoint {
		return must(NewEndpoint(EndpointConfig{Device: newDevice(), Handler: h, Listen: "127.0.0.1:0", Relay: relay.Server(), Loopback: true}))
	}
	receiver := open(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("Wait") != "" {
			arrived <- struct{}{}
			<-r.Context().Done()
		}
	}))
	sender := open(nil)
	l.befriend(sender.self(), receiver.self())
	receiver.Reach(sender.self(), sender.Addrs())
	d, idle := sender.Dial(receiver.self()), sender.Dial(newDevice().Peer())
	d.SetAddrs(receiver.Addrs())
	within(t, "a request works", func() bool { _, err := postPeer(t.Context(), d, ""); return err == nil })
	ended := make(chan error, 1)
	go func() {
		r := must(http.NewRequest("POST", BaseURL+"/", nil))
		r.Header.Set("Wait", "1")
		resp, err := d.RoundTrip(r)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	<-arrived
	for range 2 {
		sender.Close()
		receiver.Close()
		relay.Close()
	}
	if err := <-ended; err == nil {
		t.Error("a request outlived its endpoint")
	}
	if _, err := postPeer(t.Context(), idle, ""); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := sender.Announce(nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			var b bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&b, 1)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, b.String())
		}
	}
}
