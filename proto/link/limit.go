package link

import (
	"net/netip"
	"sync"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Limits bound what strangers can hold of a Server. Zero fields take DefaultLimits'.
// No address is exempt: loopback counts like any other.
type Limits struct {
	Conns     int           // connections, per carrier
	PerSubnet int           // connections of one IPv4 address or IPv6 /56, per carrier
	PerPeer   int           // connections (libp2p: streams) of one identity, per carrier
	Setup     time.Duration // from accept to a finished handshake
	Header    time.Duration // for a request's header, whole
	Idle      time.Duration // between requests
	Stall     time.Duration // a body of which less than Progress moves in this time is cut
	Progress  int           // bytes
	HeaderMax int           // bytes of a request's header
}

// DefaultLimits admit an office of 500 devices behind one address, eight connections
// each, and cut whoever dawdles within 30 s, of which a blob's body may wait 5 for its turn.
func DefaultLimits() Limits {
	return Limits{
		Conns:     16384,
		PerSubnet: 4096,
		PerPeer:   64,
		Setup:     10 * time.Second,
		Header:    10 * time.Second,
		Idle:      wire.IdleLimit,
		Stall:     24 * time.Second,
		Progress:  1 << 10,
		HeaderMax: 4 << 10,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	or(&l.Conns, d.Conns)
	or(&l.PerSubnet, d.PerSubnet)
	or(&l.PerPeer, d.PerPeer)
	or(&l.Setup, d.Setup)
	or(&l.Header, d.Header)
	or(&l.Idle, d.Idle)
	or(&l.Stall, d.Stall)
	or(&l.Progress, d.Progress)
	or(&l.HeaderMax, d.HeaderMax)
	return l
}

// guard decides whose connections and requests are taken, and may change its mind. nil admits everybody.
type guard func(id.Peer) bool

func (g guard) admits(p id.Peer) bool { return g == nil || g(p) }

func or[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// counter counts connections by subnet and by peer.
type counter struct {
	lim Limits

	mu      sync.Mutex // guards the rest
	total   int
	subnets map[netip.Prefix]int
	peers   map[id.Peer]int
}

func newCounter(lim Limits) *counter {
	return &counter{lim: lim, subnets: make(map[netip.Prefix]int), peers: make(map[id.Peer]int)}
}

// subnet is what PerSubnet counts: an IPv4 address, or the /56 that one site gets.
func subnet(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 56
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// add counts a connection from a, or refuses it.
func (c *counter) add(a netip.Addr) bool {
	s := subnet(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= c.lim.Conns || c.subnets[s] >= c.lim.PerSubnet {
		return false
	}
	c.total++
	c.subnets[s]++
	return true
}

func (c *counter) remove(a netip.Addr) {
	s := subnet(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	drop(c.subnets, s)
}

// addPeer counts a connection of p, or refuses it.
func (c *counter) addPeer(p id.Peer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peers[p] >= c.lim.PerPeer {
		return false
	}
	c.peers[p]++
	return true
}

// has reports whether p has connections.
func (c *counter) has(p id.Peer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peers[p] > 0
}

func (c *counter) removePeer(p id.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	drop(c.peers, p)
}

func drop[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}
