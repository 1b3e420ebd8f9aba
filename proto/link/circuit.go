package link

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/decant-dev/decant/proto/id"
)

// A relayed endpoint keeps a libp2p connection to the relay, over TCP if it can, since circuits cost a third of what they do
// over QUIC at every hop; over it, the endpoint waits for circuits if it serves others. A QUIC connection beside it keeps a
// NAT's UDP mapping open. On both the endpoint learns the address that it is seen at. A device that came through a circuit is met halfway (DCUtR): both send to each
// other's seen address at the same moment, from the ports that they listen on, so that both NATs see an answer. Addresses
// for that come from the relay's and the peer's mouth and pass the endpoint's policy like any.

const (
	visitWithin = 5 * time.Second
	relayCheck  = 2500 * time.Millisecond // between questions to the relay, which show that it is there, while others are connected
	relayIdle   = 15 * time.Second        // and while none is
	besideCheck = 30 * time.Second        // the same over QUIC, where the connection keeps itself alive
	relayFirst  = time.Second             // until the next try after the relay refused or was not there; then twice as long
	relayMost   = 30 * time.Second        // but no longer
	reserveLeft = 10 * time.Minute        // a reservation is renewed this long before it ends
	punchWithin = 5 * time.Second
	punchFirst  = 10 * time.Second // until hole punching is tried again; then twice as long
	punchMost   = 2 * time.Minute  // but no longer
)

// relaying is what an endpoint does with its relay.
type relaying struct {
	e       *Endpoint
	relay   id.Server
	through ma.Multiaddr // the address of any device behind the relay
	node    node
	wake    chan struct{} // look at once
	lost    chan struct{} // a connection to the relay has ended
	met     chan struct{} // somebody else has connected

	// The next two are run's alone.
	reserved time.Time     // until then; zero: not
	took     time.Duration // to ask the relay, last time; 0: it is not known

	mu     sync.Mutex // guards the rest
	seen   []ma.Multiaddr
	beside transport.CapableConn
	looked time.Time // over beside
	punch  *holepunch.Service
}

// startRelaying adds circuits to the endpoint's host and begins to keep the connection up.
func (e *Endpoint) startRelaying() error {
	through, err := ma.NewMultiaddr("/p2p/" + e.cfg.Relay.Peer.String() + "/p2p-circuit")
	if err != nil {
		return err
	}
	up, err := e.host.upgrader()
	if err != nil {
		return err
	}
	r := &relaying{e: e, relay: e.cfg.Relay, through: through, node: newNode(e.host), wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), met: make(chan struct{}, 1)}
	if err := client.AddTransport(r.node, up); err != nil {
		return err
	}
	e.relaying = r
	e.wg.Go(r.run)
	return nil
}

// run keeps the connection to the relay up until the endpoint closes.
func (r *relaying) run() {
	defer r.setBeside(nil)
	defer r.stopPunching()
	pause, visited := relayFirst, time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.e.ctx.Done():
			return
		case <-r.wake:
			pause = relayFirst
		case <-r.met:
			timer.Reset(min(pause, relayCheck))
			continue
		case <-r.lost:
			if wait := time.Until(visited.Add(pause)); wait > 0 {
				timer.Reset(wait)
				continue
			}
		case <-timer.C:
		}
		visited = time.Now()
		if err := r.visit(); err != nil {
			r.e.server.log.Debug("relay", "err", err)
			timer.Reset(pause/2 + rand.N(pause))
			pause = min(2*pause, relayMost)
			continue
		}
		pause = relayFirst
		if r.e.busy() {
			timer.Reset(relayCheck)
		} else {
			timer.Reset(relayIdle)
		}
	}
}

// visit asks the relay where this device is seen, and for a reservation if this device serves others. A connection that only
// looks open is replaced at once.
func (r *relaying) visit() error {
	ctx, cancel := context.WithTimeout(r.e.ctx, visitWithin)
	defer cancel()
	had := r.e.host.connected(r.relay.Peer)
	c, err := r.connect(ctx)
	if err == nil {
		err = r.lookOn(ctx, c)
	}
	if err != nil && had && ctx.Err() == nil {
		if c != nil {
			c.Close()
		}
		r.setBeside(nil)
		if c, err = r.connect(ctx); err == nil {
			err = r.lookOn(ctx, c)
		}
	}
	if err != nil {
		return err
	}
	if err := r.reserve(ctx); err != nil {
		return err
	}
	if err := r.lookBeside(ctx, c); err != nil {
		r.e.server.log.Debug("relay over quic", "err", err) // UDP may be blocked
	}
	return nil
}

// lookOn asks on the connection to the relay, and learns how long that takes.
func (r *relaying) lookOn(ctx context.Context, c network.Conn) error {
	began := time.Now()
	within := testWithin
	if r.took > 0 {
		within = min(max(5*r.took, testLeast), testWithin)
	}
	err := r.look(ctx, within, func(ctx context.Context) (network.MuxedStream, error) { return c.NewStream(ctx) })
	if err == nil {
		r.took = time.Since(began)
	} else {
		r.took = 0 // the next connection has all the time
	}
	return err
}

// reserve renews the reservation of a device that serves others.
func (r *relaying) reserve(ctx context.Context) error {
	if r.e.cfg.Handler == nil || time.Until(r.reserved) > reserveLeft {
		return nil
	}
	res, err := client.Reserve(ctx, r.node, peer.AddrInfo{ID: peerID(r.relay.Peer)})
	if err == nil {
		r.reserved = res.Expiration
	}
	return err
}

// connect returns the connection to the relay, a new one if need be.
func (r *relaying) connect(ctx context.Context) (network.Conn, error) {
	if all := r.e.host.direct(r.relay.Peer); len(all) > 0 {
		return all[0], nil
	}
	r.reserved = time.Time{}
	ips, err := resolve(ctx, r.relay.Host)
	if err != nil {
		return nil, err
	}
	var tcp, any []hint
	for _, ip := range ips {
		addrs := hostAddrs(ip, r.relay.Port)
		tcp, any = append(tcp, hint{host: addrs[1:]}), append(any, hint{host: addrs})
	}
	r.e.host.know(r.relay.Peer, tcp)
	tctx, cancel := context.WithTimeout(ctx, visitWithin*3/10)
	defer cancel()
	if c, err := r.e.host.dialDirect(tctx, r.relay.Peer); err == nil {
		return c, nil
	}
	r.e.host.know(r.relay.Peer, any)
	return r.e.host.dialDirect(ctx, r.relay.Peer)
}

// lookBeside keeps the QUIC connection to the relay beside main, which is over TCP. The swarm has one connection to dial a
// peer with, so this one is not in it: the relay opens no stream on it.
func (r *relaying) lookBeside(ctx context.Context, main network.Conn) error {
	if len(main.RemoteMultiaddr()) != len(hostAddrs(netip.IPv4Unspecified(), 1)[1]) {
		return nil // over QUIC already
	}
	r.mu.Lock()
	c, looked := r.beside, r.looked
	r.mu.Unlock()
	switch {
	case c == nil || c.IsClosed():
		at := hostAddrs(multiIP(main.RemoteMultiaddr()), r.relay.Port)[0]
		var err error
		if c, err = r.e.host.swarm.TransportForDialing(at).Dial(ctx, at, peerID(r.relay.Peer)); err != nil {
			return err
		}
		r.setBeside(c)
	case time.Since(looked) < besideCheck:
		return nil
	}
	err := r.look(ctx, testWithin, func(ctx context.Context) (network.MuxedStream, error) { return c.OpenStream(ctx) })
	if err != nil {
		r.setBeside(nil)
		return err
	}
	r.mu.Lock()
	r.looked = time.Now()
	r.mu.Unlock()
	return nil
}

// setBeside replaces the connection beside the main one, which closes.
func (r *relaying) setBeside(c transport.CapableConn) {
	r.mu.Lock()
	old := r.beside
	r.beside, r.looked = c, time.Now()
	r.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// look asks on a stream that open opens for the address that this device is seen at.
func (r *relaying) look(ctx context.Context, within time.Duration, open func(context.Context) (network.MuxedStream, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	s, err := open(ctx)
	if err != nil {
		return err
	}
	if err := r.e.host.agree(ctx, s, seenProtocol); err != nil {
		return err
	}
	defer s.Reset()
	deadline, _ := ctx.Deadline()
	s.SetDeadline(deadline)
	b, err := io.ReadAll(io.LimitReader(s, MaxAddrLen+1))
	if err != nil {
		return err
	}
	h, err := parseHint(string(b))
	if err != nil || h.at.IsValid() {
		return errors.New("the relay does not say where it sees this device")
	}
	if r.e.policy.allows(h.addr()) {
		r.learn(h.host[0])
	}
	return nil
}

// learn takes the address that this device is seen at over one transport. The relay sees only the one that it is spoken to
// over; what it saw over the other before stays, until the address itself is another.
func (r *relaying) learn(m ma.Multiaddr) {
	same := func(o ma.Multiaddr) bool { return len(o) == len(m) || multiIP(o) != multiIP(m) }
	r.mu.Lock()
	known := slices.ContainsFunc(r.seen, m.Equal)
	if !known {
		r.seen = append(slices.DeleteFunc(r.seen, same), m)
	}
	first := r.punch == nil
	r.mu.Unlock()
	if first {
		r.startPunching()
	}
	if !known {
		poke(r.e.changed)
	}
}

// addrs are the addresses that this device is seen at and that are not its own.
func (r *relaying) addrs(own []netip.Addr) (out []ma.Multiaddr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.seen {
		if !slices.Contains(own, multiIP(m)) {
			out = append(out, m)
		}
	}
	return out
}

// punchAddrs are the addresses that a peer is told for hole punching.
func (r *relaying) punchAddrs() []ma.Multiaddr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// startPunching answers to hole punching, and begins it with whoever comes through a circuit.
func (r *relaying) startPunching() {
	s, err := holepunch.NewService(r.node, noIdentify{}, r.punchAddrs, holepunch.DirectDialTimeout(punchWithin), holepunch.WithAddrFilter(r))
	if err != nil {
		r.e.server.log.Debug("hole punching", "err", err)
		return
	}
	r.mu.Lock()
	r.punch = s
	r.mu.Unlock()
}

func (r *relaying) stopPunching() {
	r.mu.Lock()
	s := r.punch
	r.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

// FilterLocal implements holepunch.AddrFilter.
func (r *relaying) FilterLocal(_ peer.ID, addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }

// FilterRemote implements holepunch.AddrFilter: the peer names addresses, and this device's policy holds.
func (r *relaying) FilterRemote(_ peer.ID, addrs []ma.Multiaddr) (out []ma.Multiaddr) {
	for _, m := range addrs[:min(len(addrs), MaxAddrs)] {
		if plain(m) && r.e.policy.allows(multiIP(m)) {
			out = append(out, m)
		}
	}
	return out
}

// meet tries again to punch a hole to a peer that came through the circuit c, ever more seldom, while c is open and there is
// nothing better. libp2p itself tries thrice, when c comes.
func (r *relaying) meet(p id.Peer, c network.Conn) {
	pause := punchFirst
	for {
		select {
		case <-r.e.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, punchMost)
		if c.IsClosed() {
			return
		}
		r.mu.Lock()
		s := r.punch
		r.mu.Unlock()
		if s != nil && !r.e.host.connected(p) {
			s.DirectConnect(peerID(p)) // which tells by the connection that there is then
		}
	}
}

// noIdentify stands for libp2p's identify, which hole punching wants to wait for: addresses come with its own messages.
type noIdentify struct{}

var nothingToAwait = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// IdentifyConn implements identify.IDService.
func (noIdentify) IdentifyConn(network.Conn) {}

// IdentifyWait implements identify.IDService.
func (noIdentify) IdentifyWait(network.Conn) <-chan struct{} { return nothingToAwait }

// Start implements identify.IDService.
func (noIdentify) Start() {}

// Close implements io.Closer.
func (noIdentify) Close() error { return nil }
