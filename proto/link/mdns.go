package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/decant-dev/decant/proto/id"
)

// Multicast DNS: how two devices on one network find each other when no server tells them.
//
// A segment is one network interface for one IP version; each has sockets of its own, opened as interfaces come and closed
// as they go. An announcing device listens on port 5353 of each, answers questions, and says twice what it has when it
// begins and when a network comes. A browsing device asks from a port of its own, which is answered directly, and listens
// on port 5353 for what is announced without having been asked.

// Found is a device that announces itself. Nothing in it is proved: who answers at the addresses shows in the handshake.
type Found struct {
	Peer  id.Peer
	Addrs []string          // for PeerDialer.SetAddrs; only addresses of networks that this device is in
	Note  map[string]string // as the other device gave it to Announce
}

const (
	mdnsPort     = 5353
	mdnsPacket   = 9000 // bytes of the largest message
	firstAsk     = time.Second
	lastAsk      = 30 * time.Second
	maxFound     = 64 // devices of one Browse
	maxFoundSays = 16 // reports of one device
	maxAnswers   = 64 // answers in a second, over all segments
)

var (
	mdnsGroup4 = net.IPv4(224, 0, 0, 251)
	mdnsGroup6 = net.ParseIP("ff02::fb")
)

// segment is comparable: an interface that went and came again is a new one if its index changed.
type segment struct {
	index int // 0: where the system sends multicasts by default
	name  string
	v6    bool
}

func (s segment) network() string {
	if s.v6 {
		return "udp6"
	}
	return "udp4"
}

// group is where questions and announcements go.
func (s segment) group() *net.UDPAddr {
	if s.v6 {
		return &net.UDPAddr{IP: mdnsGroup6, Port: mdnsPort, Zone: s.name}
	}
	return &net.UDPAddr{IP: mdnsGroup4, Port: mdnsPort}
}

func (s segment) ifi() *net.Interface {
	if s.index == 0 {
		return nil
	}
	return &net.Interface{Index: s.index, Name: s.name}
}

// segments lists what multicasts can use now. Where the interfaces are not told (Android), it is the system's choice.
func segments() []segment {
	ifs, err := net.Interfaces()
	if err != nil {
		return []segment{{}}
	}
	var out []segment
	for _, i := range ifs {
		if i.Flags&net.FlagUp == 0 || i.Flags&(net.FlagMulticast|net.FlagLoopback) == 0 || i.Flags&net.FlagPointToPoint != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		var has4, has6 bool
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				has4, has6 = has4 || n.IP.To4() != nil, has6 || n.IP.To4() == nil
			}
		}
		if has4 {
			out = append(out, segment{index: i.Index, name: i.Name})
		}
		if has6 {
			out = append(out, segment{index: i.Index, name: i.Name, v6: true})
		}
	}
	return out
}

// listenSegment opens port 5353 beside whatever else on this device speaks multicast DNS.
func listenSegment(s segment) (*net.UDPConn, error) {
	c, err := net.ListenMulticastUDP(s.network(), s.ifi(), s.group())
	if err != nil {
		return nil, err
	}
	return c, outgoing(c, s)
}

// askSegment opens a port to ask from.
func askSegment(s segment) (*net.UDPConn, error) {
	c, err := net.ListenUDP(s.network(), nil)
	if err != nil {
		return nil, err
	}
	if err := outgoing(c, s); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// outgoing makes multicasts on c leave through s, reach no router, and be heard by others on this device.
func outgoing(c *net.UDPConn, s segment) error {
	if s.v6 {
		p := ipv6.NewPacketConn(c)
		return errors.Join(setInterface(p, s), p.SetMulticastHopLimit(255), p.SetMulticastLoopback(true))
	}
	p := ipv4.NewPacketConn(c)
	return errors.Join(setInterface(p, s), p.SetMulticastTTL(255), p.SetMulticastLoopback(true))
}

func setInterface(p interface {
	SetMulticastInterface(*net.Interface) error
}, s segment) error {
	if s.index == 0 {
		return nil
	}
	return p.SetMulticastInterface(s.ifi())
}

// multicast holds one socket per segment and a reader on each.
type multicast struct {
	open func(segment) (*net.UDPConn, error)
	hear func(c *net.UDPConn, s segment, msg []byte, from netip.AddrPort) // one call at a time per segment

	mu    sync.Mutex // guards conns, nets
	conns map[segment]*net.UDPConn
	nets  []netip.Prefix // that this device is in; nil where that is not told
	wg    sync.WaitGroup
}

// refresh opens what came, closes what went, and tells whether anything came. It fails if there are segments and none
// can be opened.
func (m *multicast) refresh() (came bool, err error) {
	now, nets := segments(), localNets()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nets = nets
	for s, c := range m.conns {
		if !slices.Contains(now, s) {
			c.Close()
			delete(m.conns, s)
		}
	}
	for _, s := range now {
		if m.conns[s] != nil {
			continue
		}
		c, oerr := m.open(s)
		if oerr != nil {
			err = errors.Join(err, fmt.Errorf("multicast on %s: %w", s.name, oerr))
			continue
		}
		m.conns[s], came = c, true
		m.wg.Go(func() { m.read(c, s) })
	}
	if len(m.conns) > 0 {
		err = nil
	}
	return came, err
}

func (m *multicast) read(c *net.UDPConn, s segment) {
	buf := make([]byte, mdnsPacket)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			m.hear(c, s, buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}
}

// send multicasts msg on every segment. A network that refuses is as one that does not answer.
func (m *multicast) send(msg []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s, c := range m.conns {
		c.WriteToUDP(msg, s.group())
	}
}

func (m *multicast) close() {
	m.mu.Lock()
	for _, c := range m.conns {
		c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

// announcer answers for one advert.
type announcer struct {
	addrs func() []netip.Addr // of this device, as it may tell them here
	ears  multicast

	mu     sync.Mutex // guards the rest
	ad     *advert
	second time.Time // the one that answers are counted in
	spent  int
}

// newAnnouncer opens the sockets.
func newAnnouncer(ad *advert, addrs func() []netip.Addr) (*announcer, error) {
	a := &announcer{addrs: addrs, ad: ad}
	a.ears = multicast{open: listenSegment, hear: a.hear, conns: map[segment]*net.UDPConn{}}
	if _, err := a.ears.refresh(); err != nil {
		a.ears.close()
		return nil, err
	}
	return a, nil
}

// run answers until ctx ends, then takes the advert back.
func (a *announcer) run(ctx context.Context) {
	defer a.ears.close()
	const again = time.Second // an announcement may get lost, so it is made twice
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	repeat := time.NewTimer(again)
	defer repeat.Stop()
	a.say(adTTL)
	for {
		select {
		case <-ctx.Done():
			a.say(0)
			return
		case <-repeat.C:
			a.say(adTTL)
		case <-tick.C:
			if came, _ := a.ears.refresh(); came {
				a.say(adTTL)
				repeat.Reset(again)
			}
		}
	}
}

// say multicasts the advert.
func (a *announcer) say(ttl uint32) {
	if msg, err := a.pack(nil, ttl); err == nil {
		a.ears.send(msg)
	}
}

func (a *announcer) pack(asked *question, ttl uint32) ([]byte, error) {
	addrs := a.addrs()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ad.addrs = addrs[:min(len(addrs), MaxAddrs)]
	return a.ad.pack(asked, ttl)
}

// hear answers a question: to the asker alone if it asks so or is no speaker of multicast DNS, else to all.
func (a *announcer) hear(c *net.UDPConn, s segment, msg []byte, from netip.AddrPort) {
	asked, ok := a.ad.asks(msg)
	if !ok || !a.ears.near(from.Addr()) || !a.spend() {
		return
	}
	to, ttl, quote := s.group(), uint32(adTTL), (*question)(nil)
	if legacy := from.Port() != mdnsPort; legacy || asked.direct {
		to = net.UDPAddrFromAddrPort(from)
		if legacy {
			ttl, quote = adTTLLegacy, &asked
		}
	}
	if answer, err := a.pack(quote, ttl); err == nil {
		c.WriteToUDP(answer, to)
	}
}

// spend counts an answer, or refuses it: a forged question must not make this device flood somebody.
func (a *announcer) spend() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.second) >= time.Second {
		a.second, a.spent = now, 0
	}
	a.spent++
	return a.spent <= maxAnswers
}

// near reports whether a is in a network that this device is in. Questions and answers from elsewhere are not of this link.
func (m *multicast) near(a netip.Addr) bool {
	if a = a.WithZone(""); a.IsLinkLocalUnicast() {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nets == nil {
		return private(a)
	}
	return slices.ContainsFunc(m.nets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// localNets are the networks that this device is in; nil where it isn't told (Android).
func localNets() (out []netip.Prefix) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, n := range nets {
		if ipn, ok := n.(*net.IPNet); ok {
			bits, _ := ipn.Mask.Size()
			if a, ok := netip.AddrFromSlice(ipn.IP); ok {
				a = a.Unmap()
				out = append(out, netip.PrefixFrom(a, min(bits, a.BitLen())))
			}
		}
	}
	return out
}

// Announce tells the network about this device until stop is called or the endpoint closes: its identity, the port of its
// fast lane and the note, under names drawn at random for this call. Call it only while a person expects to be found.
// It is an error if the note is not of Announce's form (at most 8 entries; keys of at most 16 bytes of a-z, 0-9, -; values
// of at most 128 bytes of printable ASCII), or if there is a network and no multicast can be had on any.
func (e *Endpoint) Announce(note map[string]string) (stop func(), err error) {
	ad, err := newAdvert(e.server.ident.self, e.port(), maps.Clone(note))
	if err != nil {
		return nil, err
	}
	a, err := newAnnouncer(ad, e.tellable)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	ended := make(chan struct{})
	if !e.spawn(func() { defer close(ended); a.run(ctx) }) {
		cancel()
		a.ears.close()
		return nil, ErrClosed
	}
	return func() { cancel(); <-ended }, nil
}

// Browse asks the network for devices that announce themselves, after 0, 1, 3, 7 … seconds and from then on every 30 s,
// until ctx ends, and calls found, one call at a time, for each device and again when what it announces has changed. Of a
// flood of devices the first 64 are reported. It returns nil when ctx has ended, and an error if there is a network and
// none can be asked.
func Browse(ctx context.Context, found func(Found)) error {
	b := &browser{found: found, seen: map[id.Peer]*sighting{}}
	b.mouth = multicast{open: askSegment, hear: b.hear, conns: map[segment]*net.UDPConn{}}
	b.ears = multicast{open: listenSegment, hear: b.hear, conns: map[segment]*net.UDPConn{}}
	defer b.mouth.close()
	defer b.ears.close()
	return b.run(ctx)
}

type browser struct {
	found       func(Found)
	mouth, ears multicast

	mu   sync.Mutex // guards seen; held while found is called
	seen map[id.Peer]*sighting
}

// sighting is what was reported of a device last, and how often it was.
type sighting struct {
	Found
	said int
}

// news reports whether f says what the last report did not. One advert comes over several segments, each of which shows
// some of its addresses.
func (s *sighting) news(f Found) bool {
	known := func(a string) bool { return slices.Contains(s.Addrs, a) }
	return !maps.Equal(s.Note, f.Note) || slices.ContainsFunc(f.Addrs, func(a string) bool { return !known(a) })
}

func (b *browser) run(ctx context.Context) error {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	wait := firstAsk
	ask := time.NewTimer(0)
	defer ask.Stop()
	if err := b.refresh(); err != nil {
		return err
	}
	query := packQuery()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ask.C:
			b.mouth.send(query)
			ask.Reset(wait)
			wait = min(2*wait, lastAsk)
		case <-look.C:
			b.ears.refresh() // without them, what is announced is learnt by asking
			if came, _ := b.mouth.refresh(); came {
				wait = firstAsk
				ask.Reset(0)
			}
		}
	}
}

func (b *browser) refresh() error {
	b.ears.refresh()
	_, err := b.mouth.refresh()
	return err
}

// hear reports an advert that is new or says something new.
func (b *browser) hear(_ *net.UDPConn, _ segment, msg []byte, from netip.AddrPort) {
	a, err := parseAdvert(msg)
	if err != nil || !b.mouth.near(from.Addr()) {
		return
	}
	f := Found{Peer: a.peer, Addrs: b.places(a, from.Addr()), Note: a.note}
	if len(f.Addrs) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.seen[f.Peer]
	switch {
	case s == nil && len(b.seen) < maxFound:
		s = new(sighting)
		b.seen[f.Peer] = s
	case s == nil || s.said >= maxFoundSays || !s.news(f):
		return
	}
	s.Found, s.said = f, s.said+1
	b.found(f)
}

// places are the advert's addresses that lie in networks of this device, the one that it came from first. So a poisoned
// advert makes nobody knock anywhere but at neighbours.
func (b *browser) places(a *advert, from netip.Addr) (out []string) {
	for _, ip := range append([]netip.Addr{from.WithZone("")}, a.addrs...) {
		ip = ip.Unmap()
		if ip.IsLoopback() && !from.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || !b.mouth.near(ip) {
			continue
		}
		s := netip.AddrPortFrom(ip, a.port).String()
		if !slices.Contains(out, s) && len(out) < MaxAddrs {
			out = append(out, s)
		}
	}
	return out
}
