package link

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"

	"github.com/decant-dev/decant/proto/id"
)

// ledger is what a relay asks, and is told.
type ledger struct {
	mu           sync.Mutex
	friends      map[[2]id.Peer]bool
	bytes        map[[2]id.Peer]int64
	reservations int
	circuits     int
}

func (l *ledger) config() *RelayConfig {
	return &RelayConfig{
		Reserve: func(p id.Peer) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			for pair := range l.friends {
				if pair[0] == p || pair[1] == p {
					return true
				}
			}
			return false
		},
		Allow: func(src, dst id.Peer) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.friends[[2]id.Peer{src, dst}]
		},
		Account: func(src, dst id.Peer, n int64) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.bytes[[2]id.Peer{src, dst}] += n
		},
		Gauge: func(reservations, circuits int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.reservations, l.circuits = reservations, circuits
		},
	}
}

func (l *ledger) befriend(a, b id.Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.friends[[2]id.Peer{a, b}] = true
}

func (l *ledger) passed(a, b id.Peer) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes[[2]id.Peer{a, b}]
}

func (l *ledger) gauges() (reservations, circuits int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reservations, l.circuits
}

// relayServerFor starts a relay on loopback.
func listenRelay(t testing.TB) (*Server, *ledger) {
	l := &ledger{friends: map[[2]id.Peer]bool{}, bytes: map[[2]id.Peer]int64{}}
	return listen(t, Config{Handler: echo, Relay: l.config()}), l
}

// outside makes an endpoint that tells no address and dials none but the relay's, as a device behind a NAT that lets
// nothing in.
func outside(t testing.TB, relay *Server, h http.Handler) *Endpoint {
	t.Helper()
	e, err := NewEndpoint(EndpointConfig{Device: newDevice(), Handler: h, Listen: "127.0.0.1:0", Relay: relay.Server()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if addrs := e.Addrs(); len(addrs) != 0 {
		t.Fatalf("tells %v", addrs)
	}
	return e
}

// TestRelay: devices that share a session reach each other through the relay, which counts what passes; others don't.
func TestRelay(t *testing.T) {
	t.Parallel()
	relay, l := listenRelay(t)
	receiver, sender, stranger := outside(t, relay, echo), outside(t, relay, nil), outside(t, relay, nil)
	l.befriend(sender.self(), receiver.self())
	receiver.askRelay()
	within(t, "the reservation", func() bool { n, _ := l.gauges(); return n == 1 })

	d := dialPeer(t, sender, receiver.self())
	got, err := postPeer(t.Context(), d, "hello")
	if want := sender.self().String() + " hello"; err != nil || got != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
	if d.Path() != PathRelayed {
		t.Fatalf("path %v", d.Path())
	}
	if _, n := l.gauges(); n != 1 {
		t.Fatalf("%d circuits", n)
	}
	const size = 4 << 20 // beyond the library's own limit, many times
	if _, err := postPeer(t.Context(), d, string(make([]byte, size))); err != nil {
		t.Fatal(err)
	}
	if n := l.passed(sender.self(), receiver.self()); n < 2*size-2*accountEvery {
		t.Errorf("%d bytes accounted, want about %d", n, 2*size)
	}
	sender.host.hangUp(receiver.self()) // has streams: stays
	if n := len(sender.host.relayed(receiver.self())); n != 1 {
		t.Errorf("%d circuits while one is in use", n)
	}

	s := dialPeer(t, stranger, receiver.self())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if got, err := postPeer(ctx, s, "hello"); err == nil {
		t.Fatalf("a stranger was told %q", got)
	}
	d.Close()
	sender.Close()
	within(t, "the circuit ends", func() bool { _, n := l.gauges(); return n == 0 })
	if n := l.passed(sender.self(), receiver.self()); n < 2*size {
		t.Errorf("%d bytes accounted in the end, want %d at least", n, 2*size)
	}
}

// TestRelayComesBack: the relay goes and comes again, and requests with it.
func TestRelayComesBack(t *testing.T) {
	t.Parallel()
	relay, l := listenRelay(t)
	receiver, sender := outside(t, relay, echo), outside(t, relay, nil)
	l.befriend(sender.self(), receiver.self())
	d := dialPeer(t, sender, receiver.self())
	ask := func() bool { _, err := postPeer(t.Context(), d, ""); return err == nil }
	receiver.askRelay()
	within(t, "asked", ask)
	at := relay.Addr().String()
	relay.Close()
	within(t, "noticed", func() bool { return d.Path() == PathNone })
	again, err := Listen(Config{Device: relay.cfg.Device, Handler: echo, Listen: at, Relay: l.config()})
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	t.Cleanup(func() { again.Close() })
	within(t, "asked again", ask)
}

// TestPunch: two devices that meet at the relay end up talking directly, and the circuit closes.
func TestPunch(t *testing.T) {
	t.Parallel()
	relay, l := listenRelay(t)
	receiver := endpoint(t, EndpointConfig{Handler: echo, Relay: relay.Server()})
	sender := endpoint(t, EndpointConfig{Relay: relay.Server()})
	l.befriend(sender.self(), receiver.self())
	d := dialPeer(t, sender, receiver.self()) // no address is told: both are seen by the relay
	within(t, "a direct path", func() bool {
		if _, err := postPeer(t.Context(), d, ""); err != nil {
			t.Log(err)
		}
		return d.Path() == PathLocal
	})
	within(t, "the circuit is closed", func() bool { return len(sender.host.relayed(receiver.self())) == 0 })
}

// TestL1NothingTold: neither a relay nor a device says anything about itself but what it does.
func TestL1NothingTold(t *testing.T) {
	t.Parallel()
	relay, _ := listenRelay(t)
	device := endpoint(t, EndpointConfig{Handler: echo, Relay: relay.Server()})
	ask := endpoint(t, EndpointConfig{})
	ask.Reach(device.self(), device.Addrs())
	ask.host.know(relay.Server().Peer, []hint{must(parseHint(relay.Addr().String()))})
	for who, peer := range map[string]id.Peer{"relay": relay.Server().Peer, "device": device.self()} {
		c, err := ask.host.dialDirect(t.Context(), peer)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []protocol.ID{"/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/libp2p/autonat/1.0.0",
			"/libp2p/autonat/2/dial-request", "/ipfs/kad/1.0.0", "/meshsub/1.1.0"} {
			s, err := c.NewStream(network.WithNoDial(t.Context(), "test"))
			if err != nil {
				t.Fatal(err)
			}
			s.SetDeadline(time.Now().Add(time.Minute))
			if err := multistream.SelectProtoOrFail(p, io.ReadWriteCloser(s)); err == nil {
				t.Errorf("the %s speaks %s", who, p)
			}
			s.Reset()
		}
	}
}

// TestRT17PunchTargets: what a peer names for hole punching, and a relay as the address that this device is seen at, leads
// nobody to places that it should not knock at.
func TestRT17PunchTargets(t *testing.T) {
	relay, _ := listenRelay(t)
	e := outside(t, relay, nil)
	var named []ma.Multiaddr
	for _, s := range []string{"/ip4/127.0.0.1/tcp/22", "/ip4/192.168.1.1/udp/53/quic-v1", "/ip4/169.254.169.254/tcp/80", "/ip4/224.0.0.1/udp/1/quic-v1",
		"/ip6/::1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1", "/dns4/localhost/tcp/1", "/ip4/8.8.8.8/tcp/1/ws",
		"/ip4/8.8.8.8/udp/53", "/p2p/" + relay.Server().Peer.String() + "/p2p-circuit", "/ip4/203.0.113.9/udp/4410/quic-v1"} {
		named = append(named, must(ma.NewMultiaddr(s)))
	}
	got := e.relaying.FilterRemote("", named)
	if len(got) != 1 || got[0].String() != "/ip4/203.0.113.9/udp/4410/quic-v1" {
		t.Errorf("would knock at %v", got)
	}
	stranger := newDevice().Peer()
	for _, m := range named[:len(named)-2] {
		if plain(m) && e.mayDial(stranger, m) {
			t.Errorf("dials %v", m)
		}
	}
	other := must(ma.NewMultiaddr("/p2p/" + stranger.String() + "/p2p-circuit"))
	if e.mayDial(stranger, other) || !e.mayDial(stranger, e.relaying.through) {
		t.Error("another relay is dialled, or ours is not")
	}
	if len(e.Addrs()) != 0 { // the relay sees it on loopback
		t.Errorf("tells %v", e.Addrs())
	}
}

// TestRT17Reservations: strangers who ask a relay again and again get nothing and stay few.
func TestRT17Reservations(t *testing.T) {
	relay, l := listenRelay(t)
	e := outside(t, relay, echo)
	within(t, "the relay is there", func() bool { return e.host.connected(relay.Server().Peer) })
	for range 50 {
		if _, err := client.Reserve(t.Context(), e.relaying.node, peer.AddrInfo{ID: peerID(relay.Server().Peer)}); err == nil {
			t.Fatal("a stranger has a reservation")
		}
	}
	if n, _ := l.gauges(); n != 0 {
		t.Errorf("%d reservations", n)
	}
	if n := len(relay.host.swarm.ConnsToPeer(peerID(e.self()))); n > 2 {
		t.Errorf("%d connections", n)
	}
	if _, err := e.host.dialThrough(t.Context(), relay.Server().Peer, relay.Server().Peer, e.relaying.through); err == nil {
		for _, c := range e.host.relayed(relay.Server().Peer) {
			t.Errorf("the relay relays to itself: %v", c)
		}
	}
}

// TestThin: a device that connects again and again is let in each time, and what it has in use stays open.
func TestThin(t *testing.T) {
	t.Parallel()
	s := listen(t, Config{Handler: echo})
	dev := newDevice()
	used := dialer(t, DialConfig{Device: dev, Server: s.Server(), Carrier: Libp2p})
	for range 3 * maxLinks {
		if _, err := post(t.Context(), used, nil); err != nil { // keeps a stream open
			t.Fatal(err)
		}
		h := must(newHost(hostConfig{ident: must(newIdentity(dev)), lim: DefaultLimits(), resources: deviceLimits()}))
		t.Cleanup(h.close)
		h.know(s.Server().Peer, []hint{must(parseHint(s.Addr().String()))})
		if _, err := h.dialDirect(t.Context(), s.Server().Peer); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "few are left", func() bool { return len(s.host.swarm.ConnsToPeer(peerID(dev.Peer()))) <= maxLinks })
	if n := len(used.host.swarm.Conns()); n != 1 {
		t.Errorf("the connection in use was closed: %d", n)
	}
}
