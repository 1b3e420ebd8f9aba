package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"

	"github.com/decant-dev/decant/proto/id"
)

// Prober tries the ways to one server, each by itself and with a connection of its own, for a person who wants to know
// which of them work. Its methods may be called at the same time; their context bounds them. Errors match ErrWrongServer
// where another identity answers.
type Prober struct {
	ident  *identity
	server id.Server
}

// Sight is what a libp2p connection to a server shows.
type Sight struct {
	Relays   bool           // the server passes on what devices send to each other
	Seen     netip.AddrPort // where a relay sees this device; invalid if the server is none
	Own      bool           // Seen is an address of this device itself: nothing translates it
	PortKept bool           // Seen has the port that this device sent from
}

// NewProber returns a Prober. It does no I/O.
func NewProber(d Device, server id.Server) (*Prober, error) {
	ident, err := newIdentity(d)
	if err != nil {
		return nil, err
	}
	return &Prober{ident: ident, server: server}, nil
}

// Resolve returns the server's IP addresses.
func (p *Prober) Resolve(ctx context.Context) ([]netip.Addr, error) {
	return resolve(ctx, p.server.Host)
}

// Fast tries the fast lane, up to a finished handshake.
func (p *Prober) Fast(ctx context.Context) error {
	c, err := p.ident.dial(ctx, new(net.Dialer), p.server.HostPort(), p.server.Peer, pace{})
	if err != nil {
		return err
	}
	c.abort()
	return nil
}

// QUIC tries libp2p over UDP.
func (p *Prober) QUIC(ctx context.Context) (*Sight, error) { return p.libp2p(ctx, 0) }

// TCP tries libp2p over TCP.
func (p *Prober) TCP(ctx context.Context) (*Sight, error) { return p.libp2p(ctx, 1) }

// libp2p tries one of the two addresses that hostAddrs gives for each IP.
func (p *Prober) libp2p(ctx context.Context, which int) (*Sight, error) {
	ips, err := resolve(ctx, p.server.Host)
	if err != nil {
		return nil, err
	}
	if p.server.Port == 65535 {
		return nil, errHint
	}
	h, err := newHost(hostConfig{ident: p.ident, lim: DefaultLimits(), resources: deviceLimits()})
	if err != nil {
		return nil, err
	}
	defer h.close()
	var at []hint
	for _, ip := range ips {
		at = append(at, hint{host: []ma.Multiaddr{hostAddrs(ip, p.server.Port)[which]}})
	}
	h.know(p.server.Peer, at)
	c, err := h.dialDirect(ctx, p.server.Peer)
	if err != nil {
		return nil, err
	}
	return h.sight(ctx, c)
}

// sight asks on c where this device is seen. A server that does not know the question is no relay.
func (h *host) sight(ctx context.Context, c network.Conn) (*Sight, error) {
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Reset()
	err = h.agree(ctx, s, seenProtocol)
	var unknown multistream.ErrNotSupported[protocol.ID]
	if errors.As(err, &unknown) {
		return &Sight{}, nil
	}
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		s.SetDeadline(deadline)
	}
	b, err := io.ReadAll(io.LimitReader(s, MaxAddrLen+1))
	if err != nil {
		return nil, err
	}
	seen, err := parseHint(string(b))
	if err != nil || seen.at.IsValid() {
		return nil, errors.New("the relay does not say where it sees this device")
	}
	at, local := netAddr(seen.host[0]).AddrPort(), netAddr(c.LocalMultiaddr())
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	return &Sight{Relays: true, Seen: at, Own: slices.Contains(localAddrs(), at.Addr()), PortKept: int(at.Port()) == local.Port}, nil
}

// LocalAddrs returns this device's addresses that another device could use: no loopback, no link-local ones.
func LocalAddrs() (out []netip.Addr) {
	for _, a := range localAddrs() {
		if (policy{local: true}).allows(a) {
			out = append(out, a)
		}
	}
	return out
}

// Multicast is how well multicast DNS works on this device, by interface, the loopback interface left out. An interface
// that works here may still be on a network that keeps devices apart, as guest networks do: a second device would show it.
type Multicast struct {
	Works []string // a device that announces itself is found there
	Lacks []string // interfaces that have an address, and where it is not
}

// ProbeMulticast announces a nameless device on every interface, and looks for it on each until it was found on all or ctx
// ends.
func ProbeMulticast(ctx context.Context, d Device) (*Multicast, error) {
	e, err := NewEndpoint(EndpointConfig{Device: d, Local: true, Loopback: true})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	want, err := interfaceNames()
	if err != nil || len(want) == 0 {
		return &Multicast{}, err
	}
	stop, err := e.Announce(nil)
	if err != nil {
		return &Multicast{Lacks: want}, nil
	}
	defer stop()
	return newFinder(d.Peer(), want).listen(ctx), nil
}

// finder asks on every segment for one device and notes where it answers.
type finder struct {
	self  id.Peer
	want  []string
	mouth multicast
	wake  chan struct{} // something new was heard

	mu    sync.Mutex // guards heard
	heard map[string]bool
}

func newFinder(self id.Peer, want []string) *finder {
	f := &finder{self: self, want: want, wake: make(chan struct{}, 1), heard: map[string]bool{}}
	f.mouth = multicast{open: askSegment, hear: f.hear, conns: map[segment]*net.UDPConn{}}
	return f
}

func (f *finder) hear(_ *net.UDPConn, s segment, msg []byte, _ netip.AddrPort) {
	if a, err := parseAdvert(msg); err != nil || a.peer != f.self {
		return
	}
	f.mu.Lock()
	f.heard[s.name] = true
	f.mu.Unlock()
	poke(f.wake)
}

func (f *finder) listen(ctx context.Context) *Multicast {
	defer f.mouth.close()
	if _, err := f.mouth.refresh(); err != nil {
		return &Multicast{Lacks: f.want}
	}
	query := packQuery()
	ask := time.NewTicker(firstAsk)
	defer ask.Stop()
	f.mouth.send(query)
	for {
		m := f.result()
		if len(m.Lacks) == 0 {
			return m
		}
		select {
		case <-ctx.Done():
			return m
		case <-f.wake:
		case <-ask.C:
			f.mouth.send(query)
		}
	}
}

func (f *finder) result() *Multicast {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &Multicast{}
	for _, name := range f.want {
		if f.heard[name] {
			m.Works = append(m.Works, name)
		} else {
			m.Lacks = append(m.Lacks, name)
		}
	}
	return m
}

// interfaceNames lists the interfaces that are up, have an address and are not the loopback one. Where they are not told
// (Android) it is the system's choice, which has no name.
func interfaceNames() (out []string, err error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return []string{""}, nil
	}
	for _, i := range ifs {
		addrs, err := i.Addrs()
		if err == nil && len(addrs) > 0 && i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			out = append(out, i.Name)
		}
	}
	return out, nil
}
