package link

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/decant-dev/decant/proto/id"
)

// EndpointConfig configures an Endpoint. Device is required.
type EndpointConfig struct {
	Device Device

	// Handler is what other devices may ask of this one. Nil: this device only asks, and opens no fast lane.
	Handler http.Handler

	// Allow tells whose connections and requests are taken. It is asked after each handshake and again for each request,
	// from any goroutine, and must not block. When it changes its mind for the worse the caller calls Recheck. Nil: everybody.
	Allow func(id.Peer) bool

	// Listen is HOST:PORT: the fast lane on TCP PORT, libp2p on UDP PORT (QUIC) and TCP PORT+1. Empty is ":0".
	Listen string

	// Relay is the server that both devices know, if there is one.
	Relay id.Server

	// Local: private addresses are told and dialled. Without it the endpoint is for the internet alone.
	Local bool

	// Loopback: addresses of this machine are told and dialled, for two devices on one machine.
	Loopback bool

	// Limits bound what others can hold. Zero fields take DefaultEndpointLimits'.
	Limits Limits

	// Logger receives refusals at level debug and panics of the handler at error. Nil is silence.
	Logger *slog.Logger
}

// DefaultEndpointLimits admit a few devices, each with the connections of several transfers, and are otherwise a server's.
func DefaultEndpointLimits() Limits {
	l := DefaultLimits()
	l.Conns, l.PerSubnet, l.PerPeer = 256, 64, 48
	l.Stall = 30 * time.Second // the way may be a bad one, and nobody waits for a turn
	return l
}

// Endpoint is a device's presence on the network while a transfer runs: it can be found and dialled, dials others, and
// notices when the network changes. It is safe for concurrent use.
type Endpoint struct {
	cfg    EndpointConfig
	policy policy
	server *Server // takes connections; its host dials too
	host   *host

	relaying *relaying // nil without a relay

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	changed chan struct{}

	mu      sync.Mutex // guards the rest
	local   []netip.Addr
	dialers map[*PeerDialer]struct{}
	reached map[id.Peer]*reacher
}

// NewEndpoint opens the addresses and serves in the background until Close.
func NewEndpoint(cfg EndpointConfig) (*Endpoint, error) {
	lim, d := cfg.Limits, DefaultEndpointLimits()
	or(&lim.Conns, d.Conns)
	or(&lim.PerSubnet, d.PerSubnet)
	or(&lim.PerPeer, d.PerPeer)
	or(&cfg.Listen, ":0")
	h := cfg.Handler
	if h == nil {
		h = http.NotFoundHandler()
	}
	s, err := newServer(Config{Device: cfg.Device, Handler: h, Listen: cfg.Listen, Limits: lim, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	s.allow = cfg.Allow
	e := &Endpoint{cfg: cfg, policy: policy{local: cfg.Local, loopback: cfg.Loopback}, server: s, changed: make(chan struct{}, 1),
		local: localAddrs(), dialers: map[*PeerDialer]struct{}{}, reached: map[id.Peer]*reacher{}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := s.open(e.newHost); err != nil {
		e.cancel()
		s.cancel()
		return nil, err
	}
	e.host = s.host
	s.wg.Go(func() { s.http.Serve(s.queue) })
	if cfg.Handler != nil {
		s.wg.Go(s.accept)
	} else {
		s.ln.Close() // its port number is the libp2p addresses' still
	}
	e.host.swarm.Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { e.linked(c, true) },
		DisconnectedF: func(_ network.Network, c network.Conn) { e.linked(c, false) },
	})
	if !cfg.Relay.IsZero() {
		if err := e.startRelaying(); err != nil {
			e.Close()
			return nil, err
		}
	}
	e.wg.Go(func() { watchAddrs(e.ctx, e.moved) })
	return e, nil
}

// newHost makes the endpoint's libp2p end, which listens and dials.
func (e *Endpoint) newHost() (*host, error) {
	return newHost(hostConfig{ident: e.server.ident, lim: e.server.lim, resources: endpointLimits(e.server.lim), punch: true,
		gate: gater{allow: e.cfg.Allow, dials: e.mayDial}, keep: e.cares})
}

// endpointLimits are libp2p's resource limits on a device that listens and dials.
func endpointLimits(lim Limits) rcmgr.ConcreteLimitConfig {
	n, per := rcmgr.LimitVal(lim.Conns), rcmgr.LimitVal(lim.PerPeer)
	all := rcmgr.ResourceLimits{
		Conns: 2 * n, ConnsInbound: n, ConnsOutbound: n, Streams: 2 * n, StreamsInbound: n, StreamsOutbound: n,
		FD: 2 * n, Memory: 256 << 20,
	}
	return hostLimits(all, rcmgr.ResourceLimits{
		Conns: 16, ConnsInbound: 8, ConnsOutbound: 8, Streams: 2 * per, StreamsInbound: per, StreamsOutbound: per,
		FD: 16, Memory: 128 << 20,
	})
}

// mayDial reports whether libp2p may dial a to reach p, whoever told it. The relay is the one that was configured, and
// where it is was configured too.
func (e *Endpoint) mayDial(p id.Peer, a ma.Multiaddr) bool {
	if relayed(a) {
		return e.relaying != nil && a.Equal(e.relaying.through)
	}
	return p == e.cfg.Relay.Peer && !p.IsZero() || e.policy.allows(multiIP(a))
}

// cares reports whether connections to p are kept though nothing is open on them.
func (e *Endpoint) cares(p id.Peer) bool {
	if p == e.cfg.Relay.Peer {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reached[p] != nil {
		return true
	}
	for d := range e.dialers {
		if d.peer == p {
			return true
		}
	}
	return false
}

// port is the fast lane's, or the one that it would have.
func (e *Endpoint) port() uint16 { return uint16(e.server.Addr().Port) }

// tellable are this device's own addresses that others may be told, most direct first.
func (e *Endpoint) tellable() []netip.Addr {
	e.mu.Lock()
	local := e.local
	e.mu.Unlock()
	if at := e.server.Addr().AddrPort().Addr().Unmap(); !at.IsUnspecified() {
		local = []netip.Addr{at}
	}
	var out []netip.Addr
	for _, a := range local {
		if e.policy.allows(a) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return nearness(a) - nearness(b) })
	return out
}

// nearness orders addresses: networks that are small first, and IPv4 before IPv6, since routers filter the latter more.
func nearness(a netip.Addr) int {
	n := 0
	switch {
	case a.IsLoopback():
		n = 4 // others can't use it; on one machine any address does
	case !private(a):
		n = 2
	}
	if a.Is6() {
		n++
	}
	return n
}

// Addrs returns where a paired device finds this one, most direct first: at most MaxAddrs addresses of at most MaxAddrLen
// bytes, for PeerDialer.SetAddrs and Reach on the other side. With Local they name this device's private addresses, so
// they travel sealed.
func (e *Endpoint) Addrs() []string {
	own := e.tellable()
	var out []string
	for _, a := range own[:min(len(own), MaxAddrs-2)] {
		out = append(out, netip.AddrPortFrom(a, e.port()).String())
	}
	if e.relaying != nil {
		for _, m := range e.relaying.addrs(own) {
			out = append(out, m.String())
		}
	}
	return out
}

// Changed gets a value when Addrs has changed or the network came back. Values that nobody takes are not kept.
func (e *Endpoint) Changed() <-chan struct{} { return e.changed }

// moved takes note of this device's new addresses, and has everything that was connected from another looked at.
func (e *Endpoint) moved(now []netip.Addr) {
	e.mu.Lock()
	lost := slices.ContainsFunc(e.local, func(a netip.Addr) bool { return !slices.Contains(now, a) })
	e.local = now
	e.mu.Unlock()
	e.server.log.Debug("addresses changed", "lost", lost)
	e.server.abort(func(c *conn) bool { return left(c.LocalAddr(), now) })
	for _, c := range e.host.swarm.Conns() {
		// QUIC does not say which address a connection leaves from, and few outlive the change.
		local := netAddr(c.LocalMultiaddr())
		if left(local, now) || lost && local.IP.IsUnspecified() {
			c.Close()
		}
	}
	if lost && e.relaying != nil {
		e.relaying.setBeside(nil)
	}
	e.each(func(d *PeerDialer) {
		if w := d.way(); w != nil {
			w.leave(now)
		}
		d.Kick()
	})
	e.retry()
	e.askRelay()
	poke(e.changed)
}

// busy reports whether anybody but the relay is connected.
func (e *Endpoint) busy() bool {
	peers := e.host.swarm.Peers()
	return e.server.Conns() > 0 || len(peers) > 1 || len(peers) == 1 && peers[0] != peerID(e.cfg.Relay.Peer)
}

// askRelay makes the connection to the relay be looked at, and a reservation be asked for, at once.
func (e *Endpoint) askRelay() {
	if e.relaying != nil {
		poke(e.relaying.wake)
	}
}

// spawn runs f in the background, and Close waits for it. It is false if the endpoint is closed.
func (e *Endpoint) spawn(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	e.wg.Go(f)
	return true
}

// each calls f for every dialer.
func (e *Endpoint) each(f func(*PeerDialer)) {
	e.mu.Lock()
	all := slices.Collect(maps.Keys(e.dialers))
	e.mu.Unlock()
	for _, d := range all {
		f(d)
	}
}

// retry makes what keeps connections up look at once.
func (e *Endpoint) retry() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.reached {
		poke(r.wake)
	}
}

// lost tells what keeps a connection to peer up that one has ended.
func (e *Endpoint) lost(peer id.Peer) {
	if e.relaying != nil && peer == e.relaying.relay.Peer {
		poke(e.relaying.lost)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.reached[peer]; r != nil {
		poke(r.lost)
	}
}

// linked takes note of a libp2p connection that came or went.
func (e *Endpoint) linked(c network.Conn, came bool) {
	p, err := id.PeerFromBytes([]byte(c.RemotePeer()))
	if err != nil {
		return
	}
	e.each(func(d *PeerDialer) {
		switch {
		case d.peer != p:
		case !came || c.Stat().Direction == network.DirInbound:
			d.Kick() // the peer may have come back from elsewhere
		default:
			d.look()
		}
	})
	if came && e.relaying != nil && p != e.cfg.Relay.Peer {
		poke(e.relaying.met)
	}
	switch {
	case !came:
		e.lost(p)
	case relayed(c.RemoteMultiaddr()) && c.Stat().Direction == network.DirInbound && e.relaying != nil:
		e.spawn(func() { e.relaying.meet(p, c) })
	}
}

// Recheck asks Allow about everybody who is connected, and ends connections of those whom it refuses.
func (e *Endpoint) Recheck() {
	e.server.recheck()
	for _, c := range e.host.swarm.Conns() {
		p, err := id.PeerFromBytes([]byte(c.RemotePeer()))
		if err != nil || !e.server.allow.admits(p) && !e.cares(p) {
			c.Close()
		}
	}
}

// Close ends everything, dialers included, and waits for it. It is idempotent.
func (e *Endpoint) Close() error {
	e.cancel()
	e.each(func(d *PeerDialer) { d.Close() })
	e.wg.Wait()
	return e.server.Close()
}

// reacher keeps a libp2p connection to one peer up.
type reacher struct {
	wake   chan struct{} // dial at once
	lost   chan struct{} // a connection has ended
	cancel context.CancelFunc
}

// Reach keeps a libp2p connection to peer up, in the background, from now on: perhaps this device can dial the peer and not
// the other way round, and then the peer's PeerDialer uses it. The addresses are as for SetAddrs and replace those of an
// earlier call. Nil ends it. While the peer has connections on the fast lane to this endpoint, nothing is dialled.
func (e *Endpoint) Reach(peer id.Peer, addrs []string) {
	if addrs != nil {
		e.host.know(peer, e.policy.hints(addrs))
		e.askRelay()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.reached[peer]
	switch {
	case r == nil && addrs != nil && e.ctx.Err() == nil:
		ctx, cancel := context.WithCancel(e.ctx)
		r = &reacher{wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), cancel: cancel}
		e.reached[peer] = r
		e.wg.Go(func() { e.keepUp(ctx, peer, r) })
	case r != nil && addrs == nil:
		r.cancel()
		delete(e.reached, peer)
	case r != nil:
		poke(r.wake)
	}
}

// keepUp dials peer when no direct connection is there: at once, then ever more seldom until one lasts.
func (e *Endpoint) keepUp(ctx context.Context, peer id.Peer, r *reacher) {
	pause, dialled := waveEvery, time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			pause = waveEvery
		case <-r.lost:
			if wait := time.Until(dialled.Add(pause)); wait > 0 {
				timer.Reset(wait)
				continue
			}
		case <-timer.C:
		}
		if e.server.counter.has(peer) || e.host.connected(peer) {
			pause = waveEvery
		} else {
			dialled = time.Now()
			dctx, cancel := context.WithTimeout(ctx, waveLasts)
			e.host.dialDirect(dctx, peer) // what comes of it shows by the connection
			cancel()
			pause = min(2*pause, betterMost)
		}
		timer.Reset(pause)
	}
}
