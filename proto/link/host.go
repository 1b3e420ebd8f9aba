package link

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// host is one end of the libp2p carrier.
type host struct {
	hostConfig
	swarm *swarm.Swarm
	quic  *quicreuse.ConnManager
	rm    network.ResourceManager
	mux   *multistream.MultistreamMuxer[protocol.ID]
	relay *relayServer // nil: the host is no relay

	stop  chan struct{} // ends the sweeper; nil without one
	swept chan struct{} // closed when it has ended
}

// hostConfig says what a host may do.
type hostConfig struct {
	ident     *identity
	lim       Limits
	resources rcmgr.ConcreteLimitConfig
	gate      gater
	punch     bool               // dial from the listening ports, as hole punching needs
	keep      func(id.Peer) bool // whose connections outlive idleness; nil: nobody's
}

// newHost assembles a swarm that neither listens nor dials yet and knows no protocol.
func newHost(cfg hostConfig) (_ *host, err error) {
	h := &host{hostConfig: cfg, mux: multistream.NewMultistreamMuxer[protocol.ID]()}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.rm, err = resources(h.lim, h.resources); err != nil {
		return nil, err
	}
	self := peerID(h.ident.self)
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(store.AddPrivKey(self, h.ident.priv), store.AddPubKey(self, h.ident.priv.GetPublic())); err != nil {
		return nil, err
	}
	// Few and known peers are dialled, with our own back-off: no black hole statistics.
	h.swarm, err = swarm.NewSwarm(self, store, eventbus.NewBus(), swarm.WithResourceManager(h.rm), swarm.WithConnectionGater(h.gate),
		swarm.WithDialTimeout(h.lim.Setup), swarm.WithDialRanker(rank), swarm.WithUDPBlackHoleSuccessCounter(nil), swarm.WithIPv6BlackHoleSuccessCounter(nil))
	if err != nil {
		return nil, err
	}
	h.swarm.SetStreamHandler(h.welcome)
	h.swarm.Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) { h.thin(c) }})
	return h, errors.Join(h.addTCP(), h.addQUIC())
}

// rank is libp2p's order of dials, but for relays: they come when the caller wants them.
func rank(addrs []ma.Multiaddr) []network.AddrDelay {
	out := swarm.DefaultDialRanker(addrs)
	for i := range out {
		if relayed(out[i].Addr) {
			out[i].Delay = 0
		}
	}
	return out
}

// handle makes f take the streams of protocol p that others open. f runs in a goroutine of the stream's.
func (h *host) handle(p protocol.ID, f func(network.Stream)) {
	h.mux.AddHandler(p, func(_ protocol.ID, s io.ReadWriteCloser) error {
		f(s.(network.Stream))
		return nil
	})
}

// upgrader secures and multiplexes what is a plain byte stream: TCP, and circuits.
func (h *host) upgrader() (transport.Upgrader, error) {
	mux := *yamux.DefaultTransport
	mux.MaxStreamWindowSize = 4 << 20 // bytes that a stream may have in flight
	mux.MaxIncomingStreams = uint32(h.lim.PerPeer)
	return upgrader.New([]sec.SecureTransport{security{h.ident}}, []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: &mux}},
		nil, h.rm, h.gate, upgrader.WithAcceptTimeout(h.lim.Setup))
}

func (h *host) addTCP() error {
	up, err := h.upgrader()
	if err != nil {
		return err
	}
	opts := []tcp.Option{tcp.WithConnectionTimeout(h.lim.Setup)}
	if !h.punch {
		opts = append(opts, tcp.DisableReuseport())
	}
	t, err := tcp.NewTCPTransport(up, h.rm, nil, opts...)
	if err != nil {
		return err
	}
	return h.swarm.AddTransport(t)
}

func (h *host) addQUIC() error {
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	rand.Read(reset[:])
	rand.Read(token[:])
	var err error
	h.quic, err = quicreuse.NewConnManager(reset, token, quicreuse.VerifySourceAddress(h.rm.VerifySourceAddress))
	if err != nil {
		return err
	}
	t, err := libp2pquic.NewTransport(h.ident.priv, h.quic, nil, h.gate, h.rm,
		libp2pquic.WithTLSIdentityOption(libp2ptls.WithCertTemplate(certTemplate())))
	if err != nil {
		return err
	}
	return h.swarm.AddTransport(t)
}

// resources is the resource manager: lim's counts per subnet instead of libp2p's eight,
// and no address exempt from them, loopback neither.
func resources(lim Limits, limits rcmgr.ConcreteLimitConfig) (network.ResourceManager, error) {
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit([]rcmgr.NetworkPrefixLimit{}, []rcmgr.NetworkPrefixLimit{}),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: lim.PerSubnet}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: lim.PerSubnet}}),
		rcmgr.WithConnRateLimiters(connRate(lim)))
}

// connRate bounds how fast one subnet opens connections: all that it may have at once in a burst, then a tenth of them a second.
func connRate(lim Limits) *rate.Limiter {
	per := rate.Limit{RPS: float64(lim.PerSubnet) / 10, Burst: lim.PerSubnet}
	return &rate.Limiter{SubnetRateLimiter: rate.SubnetLimiter{
		IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: per}},
		IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: per}},
		GracePeriod:      time.Minute,
	}}
}

// serverLimits are libp2p's resource limits on a server, listenerMemory bytes in all. Only a relay opens streams itself.
func serverLimits(lim Limits, relay bool) rcmgr.ConcreteLimitConfig {
	const listenerMemory = 512 << 20
	out, outPeer := rcmgr.BlockAllLimit, rcmgr.BlockAllLimit
	if relay {
		out, outPeer = rcmgr.LimitVal(lim.Conns), maxCircuits
	}
	all := rcmgr.ResourceLimits{
		Conns: rcmgr.LimitVal(lim.Conns), ConnsInbound: rcmgr.LimitVal(lim.Conns), ConnsOutbound: rcmgr.BlockAllLimit,
		Streams: rcmgr.LimitVal(2 * lim.Conns), StreamsInbound: rcmgr.LimitVal(lim.Conns), StreamsOutbound: out,
		FD: rcmgr.LimitVal(lim.Conns), Memory: listenerMemory,
	}
	return hostLimits(all, rcmgr.ResourceLimits{
		Conns: 8, ConnsInbound: 8, ConnsOutbound: rcmgr.BlockAllLimit,
		Streams: rcmgr.LimitVal(lim.PerPeer + maxCircuits), StreamsInbound: rcmgr.LimitVal(lim.PerPeer), StreamsOutbound: outPeer,
		FD: 8, Memory: 64 << 20,
	})
}

// deviceLimits let a device dial and let nobody reach it: a hostile server gets no stream.
func deviceLimits() rcmgr.ConcreteLimitConfig {
	all := rcmgr.ResourceLimits{
		Conns: 16, ConnsInbound: rcmgr.BlockAllLimit, ConnsOutbound: 16,
		Streams: 64, StreamsInbound: rcmgr.BlockAllLimit, StreamsOutbound: 64,
		FD: 16, Memory: 64 << 20,
	}
	return hostLimits(all, all)
}

func hostLimits(all, perPeer rcmgr.ResourceLimits) rcmgr.ConcreteLimitConfig {
	none := rcmgr.ResourceLimits{
		Conns: rcmgr.BlockAllLimit, ConnsInbound: rcmgr.BlockAllLimit, ConnsOutbound: rcmgr.BlockAllLimit,
		Streams: rcmgr.BlockAllLimit, StreamsInbound: rcmgr.BlockAllLimit, StreamsOutbound: rcmgr.BlockAllLimit,
		FD: rcmgr.BlockAllLimit, Memory: rcmgr.BlockAllLimit64,
	}
	// Protocols, services, single connections and streams are bounded by these three.
	return rcmgr.PartialLimitConfig{
		System: all, Transient: all, PeerDefault: perPeer,
		AllowlistedSystem: none, AllowlistedTransient: none,
	}.Build(rcmgr.InfiniteLimits)
}

// listen opens the libp2p addresses beside the fast lane's.
func (h *host) listen(fast *net.TCPAddr) error {
	if fast.Port == 65535 {
		return errors.New("listen port 65535 leaves no port for libp2p")
	}
	ip := fast.AddrPort().Addr().Unmap()
	ips := []netip.Addr{ip}
	if ip == netip.IPv6Unspecified() {
		ips = append(ips, netip.IPv4Unspecified())
	}
	for i, a := range ips {
		for _, m := range hostAddrs(a, uint16(fast.Port)) { // one at a time: the swarm is content with any of several
			if err := h.swarm.Listen(m); err != nil && i == 0 { // one family is enough
				return fmt.Errorf("libp2p: %w", err)
			}
		}
	}
	h.stop, h.swept = make(chan struct{}), make(chan struct{})
	go h.sweep()
	return nil
}

// sweep closes connections on which no stream was open at two looks in a row, Idle/2
// apart: keep-alives hold them open otherwise, and a stranger could collect them.
func (h *host) sweep() {
	defer close(h.swept)
	tick := time.NewTicker(h.lim.Idle / 2)
	defer tick.Stop()
	idle := map[network.Conn]bool{}
	for {
		select {
		case <-h.stop:
			return
		case <-tick.C:
		}
		now := map[network.Conn]bool{}
		for _, c := range h.swarm.Conns() {
			switch {
			case len(c.GetStreams()) > 0 || h.kept(c):
			case idle[c]:
				c.Close()
			default:
				now[c] = true
			}
		}
		idle = now
	}
}

// maxLinks is how many connections one peer has. A device that comes and goes leaves some behind that only look open.
const maxLinks = 6

// thin closes connections of c's peer so that there is room for the next: those on which nothing is open, then the oldest.
func (h *host) thin(c network.Conn) {
	all := slices.DeleteFunc(h.swarm.ConnsToPeer(c.RemotePeer()), func(o network.Conn) bool { return o == c })
	slices.SortStableFunc(all, func(a, b network.Conn) int { return min(len(a.GetStreams()), 1) - min(len(b.GetStreams()), 1) })
	for _, o := range all[:max(0, len(all)+1-maxLinks)] {
		o.Close()
	}
}

// kept reports whether c outlives idleness.
func (h *host) kept(c network.Conn) bool {
	p, err := id.PeerFromBytes([]byte(c.RemotePeer()))
	return err == nil && h.keep != nil && h.keep(p)
}

// welcome negotiates the protocol of an incoming stream and hands it to the protocol's handler.
func (h *host) welcome(s network.Stream) {
	s.SetDeadline(time.Now().Add(h.lim.Setup))
	proto, handle, err := h.mux.Negotiate(s)
	if err == nil {
		err = s.SetProtocol(proto)
	}
	s.SetDeadline(time.Time{})
	if err != nil {
		s.Reset()
		return
	}
	handle(proto, s)
}

// serveHTTP takes streams as HTTP connections of peers that allow accepts.
func (h *host) serveHTTP(q *queue, allow guard) {
	h.handle(wire.ProtocolID, func(s network.Stream) {
		p, err := id.PeerFromBytes([]byte(s.Conn().RemotePeer()))
		if err != nil || !allow.admits(p) || !q.put(newStream(s, p, pace{stall: h.lim.Stall})) {
			s.Reset()
		}
	})
}

// dial opens a stream to the server at one of ips, QUIC first.
func (h *host) dial(ctx context.Context, server id.Peer, ips []netip.Addr, port uint16) (net.Conn, error) {
	pid := peerID(server)
	store := h.swarm.Peerstore()
	store.ClearAddrs(pid) // the name may resolve to something else by now
	for _, ip := range ips {
		store.AddAddrs(pid, hostAddrs(ip, port), time.Hour)
	}
	h.swarm.Backoff().Clear(pid)
	c, err := h.open(ctx, server)
	if err != nil && !final(ctx, err) {
		// The connection may have gone while nobody looked: the second try finds it gone.
		c, err = h.open(ctx, server)
	}
	return c, err
}

// know replaces what is known of where peer is.
func (h *host) know(peer id.Peer, hints []hint) {
	pid, store := peerID(peer), h.swarm.Peerstore()
	store.ClearAddrs(pid)
	for _, t := range hints {
		store.AddAddrs(pid, t.host, peerstore.PermanentAddrTTL)
	}
}

// direct returns the connections to peer that go through no relay, newest first.
func (h *host) direct(peer id.Peer) []network.Conn { return h.conns(peer, false) }

// relayed returns the circuits to peer, newest first.
func (h *host) relayed(peer id.Peer) []network.Conn { return h.conns(peer, true) }

func (h *host) conns(peer id.Peer, circuits bool) (out []network.Conn) {
	for _, c := range slices.Backward(h.swarm.ConnsToPeer(peerID(peer))) {
		if !c.IsClosed() && relayed(c.RemoteMultiaddr()) == circuits {
			out = append(out, c)
		}
	}
	return out
}

// hangUp closes circuits to peer on which nothing is open.
func (h *host) hangUp(peer id.Peer) {
	for _, c := range h.relayed(peer) {
		if len(c.GetStreams()) == 0 {
			c.Close()
		}
	}
}

// dialThrough returns a connection to peer, through the relay at addr unless a direct one comes about sooner.
func (h *host) dialThrough(ctx context.Context, peer, relay id.Peer, addr ma.Multiaddr) (network.Conn, error) {
	pid := peerID(peer)
	h.swarm.Peerstore().AddAddr(pid, addr, peerstore.TempAddrTTL)
	h.swarm.Backoff().Clear(pid)
	h.swarm.Backoff().Clear(peerID(relay))
	c, err := h.swarm.DialPeer(ctx, pid)
	if err != nil {
		return nil, wrongServer(swarmError(err), peer)
	}
	return c, nil
}

// connected reports whether there is a connection to peer that goes through no relay.
func (h *host) connected(peer id.Peer) bool { return len(h.direct(peer)) > 0 }

// dialDirect returns a connection to peer that goes through no relay: one that is there, or a new one.
func (h *host) dialDirect(ctx context.Context, peer id.Peer) (network.Conn, error) {
	c, err := h.swarm.DialPeer(network.WithForceDirectDial(ctx, "direct"), peerID(peer))
	if err != nil {
		return nil, wrongServer(swarmError(err), peer)
	}
	return c, nil
}

// open opens an HTTP stream on the connection to the server, dialling if there is none.
func (h *host) open(ctx context.Context, server id.Peer) (net.Conn, error) {
	s, err := h.swarm.NewStream(ctx, peerID(server))
	if err != nil {
		return nil, wrongServer(swarmError(err), server)
	}
	if err := h.speak(ctx, s, wire.ProtocolID); err != nil {
		return nil, err
	}
	return newStream(s, server, pace{stall: h.lim.Stall}), nil
}

// speak negotiates the protocol of an outgoing stream, and resets the stream if it can't.
func (h *host) speak(ctx context.Context, s network.Stream, p protocol.ID) error {
	err := h.agree(ctx, s, p)
	if err == nil {
		if err = s.SetProtocol(p); err != nil {
			s.Reset()
		}
	}
	return err
}

// agree is speak for a stream of a connection that the swarm does not know of.
func (h *host) agree(ctx context.Context, s network.MuxedStream, p protocol.ID) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(h.lim.Setup)
	}
	s.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	err := multistream.SelectProtoOrFail(p, io.ReadWriteCloser(s))
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		s.Reset()
		return fmt.Errorf("libp2p stream: %w", err)
	}
	s.SetDeadline(time.Time{})
	return nil
}

// swarmError opens libp2p's dial error, which hides the reasons per address from errors.As.
func swarmError(err error) error {
	var d *swarm.DialError
	if !errors.As(err, &d) {
		return err
	}
	for _, e := range d.DialErrors {
		var m sec.ErrPeerIDMismatch
		if errors.As(e.Cause, &m) {
			return m
		}
	}
	return err
}

func (h *host) close() {
	if h.stop != nil {
		close(h.stop)
		<-h.swept
	}
	if h.relay != nil {
		h.relay.inner.Close()
	}
	if h.swarm != nil {
		h.swarm.Close()
		h.swarm.Peerstore().Close()
	}
	if h.quic != nil {
		h.quic.Close()
	}
	if h.rm != nil {
		h.rm.Close()
	}
}

// stream is a libp2p stream as a net.Conn.
type stream struct {
	network.Stream
	peer          id.Peer
	pace          pace
	local, remote net.Addr
}

func newStream(s network.Stream, p id.Peer, w pace) *stream {
	return &stream{Stream: s, peer: p, pace: w,
		local: netAddr(s.Conn().LocalMultiaddr()), remote: netAddr(s.Conn().RemoteMultiaddr())}
}

// netAddr gives IP and port as a TCP address, over QUIC too: what a quota asks is the IP.
func netAddr(m ma.Multiaddr) *net.TCPAddr {
	a := new(net.TCPAddr)
	if ip, err := manet.ToIP(m); err == nil {
		a.IP = ip
	}
	for _, p := range []int{ma.P_TCP, ma.P_UDP} {
		if v, err := m.ValueForProtocol(p); err == nil {
			a.Port, _ = strconv.Atoi(v)
			break
		}
	}
	return a
}

// Peer returns the other end.
func (s *stream) Peer() id.Peer { return s.peer }

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.remote }

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.pace.count(n)
	return n, err
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) { return s.pace.write(writer{s}, p) }

// ReadFrom implements io.ReaderFrom.
func (s *stream) ReadFrom(r io.Reader) (int64, error) { return sendFrom(s, r) }

func (s *stream) count(moved *atomic.Uint64) { s.pace.moved = moved }

// abort ends the stream without a word.
func (s *stream) abort() { s.Reset() }

// writer is a stream without its pace.
type writer struct{ *stream }

func (w writer) Write(p []byte) (int, error) { return w.Stream.Write(p) }

// gater refuses every identity that is not an Ed25519 key, every address that the host may not dial, and every peer that
// it may not be dialled by. The other checks are the resource manager's.
type gater struct {
	allow guard                                // whose connections are taken
	dials func(p id.Peer, a ma.Multiaddr) bool // nil: any address
}

var _ connmgr.ConnectionGater = gater{}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (gater) InterceptPeerDial(p peer.ID) bool {
	_, err := id.PeerFromBytes([]byte(p))
	return err == nil
}

// InterceptAddrDial implements connmgr.ConnectionGater.
func (g gater) InterceptAddrDial(p peer.ID, a ma.Multiaddr) bool {
	to, err := id.PeerFromBytes([]byte(p))
	return err == nil && (g.dials == nil || g.dials(to, a))
}

// InterceptAccept implements connmgr.ConnectionGater.
func (gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater.
func (g gater) InterceptSecured(d network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	from, err := id.PeerFromBytes([]byte(p))
	return err == nil && (d == network.DirOutbound || g.allow.admits(from))
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (gater) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	return groupOK(c) == nil, 0
}
