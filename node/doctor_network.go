package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// clockTolerance is how far the clocks of a device and its server may be apart without a word.
const clockTolerance = 2 * time.Minute

// examineAddrs lists where this device is on the networks around it.
func (n *Node) examineAddrs(context.Context) []Check {
	c := Check{Name: "addresses", Level: LevelOK, Finding: Addresses}
	for _, a := range link.LocalAddrs() {
		c.List = append(c.List, a.String())
	}
	if len(c.List) > 0 {
		return []Check{c}
	}
	c.Level, c.Finding = LevelBad, NoAddress
	if n.cfg.Loopback {
		c.Level = LevelNote // two devices on this machine need none
	}
	return []Check{c}
}

// nearbyTime is how long a device may take to find itself.
const nearbyTime = 5 * time.Second

// examineNearby finds out whether devices on one network can find each other without a server.
func (n *Node) examineNearby(ctx context.Context) []Check {
	if n.cfg.Route == RouteStored {
		return []Check{{Name: "nearby", Level: LevelNote, Finding: NearbyOff}}
	}
	ctx, cancel := context.WithTimeout(ctx, nearbyTime)
	defer cancel()
	m, err := link.ProbeMulticast(ctx, key.NewDevice())
	if err != nil {
		n.cfg.Log.Info("multicast probe", "err", err)
		return []Check{nearbyCheck(&link.Multicast{Lacks: []string{""}}, false)}
	}
	if len(m.Works)+len(m.Lacks) == 0 {
		return nil // no network at all, which the addresses tell
	}
	return []Check{nearbyCheck(m, n.cfg.Server.IsZero() || n.cfg.Route == RouteDirect)}
}

// nearbyCheck judges what was found. needed: without multicast DNS there is no way to the other device but a link or a folder.
func nearbyCheck(m *link.Multicast, needed bool) Check {
	c := Check{Name: "nearby", Level: LevelOK, Finding: NearbyWorks, List: m.Works}
	switch {
	case len(m.Works) > 0 && len(m.Lacks) > 0:
		c.Level, c.Finding, c.List = LevelNote, NearbyPartly, m.Lacks
	case len(m.Works) == 0 && needed:
		c.Level, c.Finding, c.List = LevelBad, NearbyMissing, m.Lacks
	case len(m.Works) == 0:
		c.Level, c.Finding, c.List = LevelNote, NearbyFails, m.Lacks
	}
	return c
}

// attempt is what became of one carrier.
type attempt struct {
	sight *link.Sight // libp2p alone
	took  time.Duration
	err   error
}

// attempts are the ways to a server.
type attempts struct{ fast, quic, tcp attempt }

// examineServer looks at the server: name, carriers, identity, and what it says of itself.
func (n *Node) examineServer(ctx context.Context) []Check {
	server := n.cfg.Server
	if server.IsZero() {
		if n.cfg.Route == RouteStored {
			return []Check{{Name: "server", Level: LevelBad, Finding: ServerNeeded}}
		}
		return []Check{{Name: "server", Level: LevelNote, Finding: ServerUnset}}
	}
	out := []Check{{Name: "server", Level: LevelOK, Finding: ServerSet, Detail: server.HostPort(), List: []string{server.Peer.Short()}}}
	device := key.NewDevice() // of nobody: the server learns no transfer by it
	p, err := link.NewProber(device, server)
	if err != nil {
		return append(out, Check{Name: "server-reached", Level: LevelBad, Finding: ServerUnreachable, Detail: server.HostPort()})
	}
	if _, err := netip.ParseAddr(server.Host); err != nil {
		name := resolves(ctx, p, server)
		if out = append(out, name); name.Level == LevelBad {
			return out
		}
	}
	ways := tryWays(ctx, p)
	out = append(out, ways.checks()...)
	if other := ways.other(); other != nil {
		return append(out, Check{Name: "server-identity", Level: LevelBad, Finding: ServerOther, Detail: other.Got.Short()})
	}
	carrier, ok := ways.usable(n.cfg.Carrier)
	if !ok {
		return append(out, Check{Name: "server-reached", Level: LevelBad, Finding: ServerUnreachable, Detail: server.HostPort()})
	}
	out = append(out, n.askServer(ctx, device, carrier)...)
	return append(out, ways.relay(server)...)
}

func resolves(ctx context.Context, p *link.Prober, server id.Server) Check {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c := Check{Name: "server-name", Level: LevelOK, Finding: ServerResolves}
	ips, err := p.Resolve(ctx)
	if err != nil || len(ips) == 0 {
		c.Level, c.Finding, c.Detail = LevelBad, ServerUnknown, server.Host
		return c
	}
	for _, ip := range ips {
		c.List = append(c.List, ip.Unmap().String())
	}
	return c
}

// udpExtra is how much longer than TCP an answer over UDP may take: it needs fewer round trips, and a port that nobody
// listens on is silent.
const udpExtra = 2 * time.Second

// tryWays tries every carrier at once.
func tryWays(ctx context.Context, p *link.Prober) *attempts {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	udp, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var a attempts
	var overTCP, overUDP sync.WaitGroup
	overTCP.Go(func() { a.fast.run(ctx, func(ctx context.Context) (*link.Sight, error) { return nil, p.Fast(ctx) }) })
	overTCP.Go(func() { a.tcp.run(ctx, p.TCP) })
	overUDP.Go(func() { a.quic.run(udp, p.QUIC) })
	overTCP.Wait()
	defer time.AfterFunc(udpExtra, giveUp).Stop()
	overUDP.Wait()
	return &a
}

func (a *attempt) run(ctx context.Context, try func(context.Context) (*link.Sight, error)) {
	began := time.Now()
	a.sight, a.err = try(ctx)
	a.took = time.Since(began)
}

// checks says of each carrier whether it works. That one does not is worth a note; that none does is said by the caller.
func (a *attempts) checks() []Check {
	failed := QUICFails
	if a.tcp.err == nil {
		failed = UDPBlocked // the same server, the same protocol: what differs is UDP
	}
	return []Check{a.fast.check("fast-lane", FastReached, FastFails), a.quic.check("libp2p-quic", QUICReached, failed),
		a.tcp.check("libp2p-tcp", TCPReached, TCPFails)}
}

func (a *attempt) check(name string, reached, fails Finding) Check {
	if a.err != nil {
		return Check{Name: name, Level: LevelNote, Finding: fails, Detail: reasonOf(a.err)}
	}
	return Check{Name: name, Level: LevelOK, Finding: reached, Span: a.took}
}

// other returns who answers in the server's place; nil if nobody does.
func (a *attempts) other() (w *link.WrongServerError) {
	for _, t := range []*attempt{&a.fast, &a.quic, &a.tcp} {
		if errors.As(t.err, &w) {
			return w
		}
	}
	return nil
}

// usable returns a carrier that works and that the configuration wants.
func (a *attempts) usable(want Carrier) (link.Carrier, bool) {
	switch {
	case a.fast.err == nil && want != CarrierLibp2p:
		return link.Fast, true
	case (a.quic.err == nil || a.tcp.err == nil) && want != CarrierFast:
		return link.Libp2p, true
	}
	return link.Auto, false
}

// relay says whether the server is a relay, and what it sees of this device.
func (a *attempts) relay(server id.Server) []Check {
	s := a.quic.sight // hole punching is a matter of UDP first
	if a.quic.err != nil {
		s = a.tcp.sight
	}
	switch {
	case a.quic.err != nil && a.tcp.err != nil:
		return []Check{{Name: "relay", Level: LevelNote, Finding: RelayUnknown}}
	case !s.Relays:
		return []Check{{Name: "relay", Level: LevelNote, Finding: RelaysNot}}
	}
	seen := Check{Name: "nat", Level: LevelOK, Finding: SeenAs, Detail: s.Seen.Addr().String()}
	switch {
	case s.Own:
	case s.PortKept:
		seen.Finding = SeenByNAT
	default:
		seen.Level, seen.Finding = LevelNote, SeenByRewritingNAT
	}
	return []Check{{Name: "relay", Level: LevelOK, Finding: Relays, Detail: server.HostPort()}, seen}
}

// askServer asks for version, limits and time.
func (n *Node) askServer(ctx context.Context, device *key.Device, carrier link.Carrier) []Check {
	r, err := remote.New(remote.Config{Device: device, Server: n.cfg.Server, Carrier: carrier, FirstContact: helloTime, MaxElapsed: helloTime, Stall: helloTime})
	if err != nil {
		return []Check{{Name: "server-version", Level: LevelBad, Finding: ServerRefuses, Detail: err.Error()}}
	}
	defer r.Close()
	asked := n.cfg.Now()
	h, err := r.Hello(ctx)
	took := n.cfg.Now().Sub(asked)
	if errors.Is(err, wire.Version1) {
		return []Check{{Name: "server-version", Level: LevelBad, Finding: VersionDiffers}}
	}
	if err != nil {
		return []Check{{Name: "server-version", Level: LevelBad, Finding: ServerRefuses, Detail: reasonOf(err)}}
	}
	room := Check{Name: "server-room", Level: LevelOK, Finding: ServerRoom, Bytes: int64(min(h.FreeBytes, 1<<62))}
	if h.FreeBytes == 0 {
		room.Level, room.Finding = LevelBad, ServerHasNoRoom
	}
	return []Check{{Name: "server-version", Level: LevelOK, Finding: ServerVersion},
		{Name: "server-limits", Level: LevelOK, Finding: ServerLimits, Bytes: int64(min(h.MaxSessionBytes, 1<<62)), Span: h.MaxExpiry},
		room, clockCheck(asked.Add(took / 2).Sub(h.Time))}
}

// clockCheck judges how far this device's clock is ahead of the server's.
func clockCheck(ahead time.Duration) Check {
	c := Check{Name: "clock", Level: LevelOK, Finding: ClockAgrees, Span: ahead.Abs()}
	switch {
	case ahead > clockTolerance:
		c.Level, c.Finding = LevelNote, ClockAhead
	case ahead < -clockTolerance:
		c.Level, c.Finding = LevelNote, ClockBehind
	}
	return c
}

// reasonOf gives the few reasons that a person can do something about; libp2p's own words fill a page.
func reasonOf(err error) string {
	var refusal *wire.Error
	text := err.Error()
	switch {
	case errors.Is(err, link.ErrWrongServer):
		return "another identity answers"
	case errors.As(err, &refusal):
		return refusal.Status.String()
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(text, "connection refused"):
		return "refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), strings.Contains(text, "unreachable"):
		return "no way to that network"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, os.ErrDeadlineExceeded), timeout(err),
		strings.Contains(text, "no recent network activity"), strings.Contains(text, "deadline"), strings.Contains(text, "context canceled"):
		return "no answer"
	}
	return "the connection broke"
}

func timeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
