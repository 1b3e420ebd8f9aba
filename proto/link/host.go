package link

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
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
	swarm *swarm.Swarm
	quic  *quicreuse.ConnManager
	rm    network.ResourceManager
	mux   *multistream.MultistreamMuxer[protocol.ID]
	lim   Limits

	stop  chan struct{} // ends the sweeper; nil without one
	swept chan struct{} // closed when it has ended
}

// newHost assembles a swarm that neither listens nor dials yet.
func newHost(ident *identity, lim Limits, limits rcmgr.ConcreteLimitConfig) (_ *host, err error) {
	h := &host{lim: lim, mux: multistream.NewMultistreamMuxer[protocol.ID]()}
	h.mux.AddHandler(wire.ProtocolID, nil)
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.rm, err = resources(lim, limits); err != nil {
		return nil, err
	}
	self := peerID(ident.self)
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(store.AddPrivKey(self, ident.priv), store.AddPubKey(self, ident.priv.GetPublic())); err != nil {
		return nil, err
	}
	// One known server is dialled, with our own back-off: no black hole statistics.
	h.swarm, err = swarm.NewSwarm(self, store, eventbus.NewBus(), swarm.WithResourceManager(h.rm), swarm.WithConnectionGater(gater{}),
		swarm.WithUDPBlackHoleSuccessCounter(nil), swarm.WithIPv6BlackHoleSuccessCounter(nil))
	if err != nil {
		return nil, err
	}
	return h, errors.Join(h.addTCP(ident), h.addQUIC(ident))
}

func (h *host) addTCP(ident *identity) error {
	mux := *yamux.DefaultTransport
	mux.MaxStreamWindowSize = 4 << 20 // bytes that a stream may have in flight
	mux.MaxIncomingStreams = uint32(h.lim.PerPeer)
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: &mux}}
	security, err := libp2ptls.New(libp2ptls.ID, ident.priv, muxers)
	if err != nil {
		return err
	}
	up, err := upgrader.New([]sec.SecureTransport{security}, muxers, nil, h.rm, gater{}, upgrader.WithAcceptTimeout(h.lim.Setup))
	if err != nil {
		return err
	}
	t, err := tcp.NewTCPTransport(up, h.rm, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(h.lim.Setup))
	if err != nil {
		return err
	}
	return h.swarm.AddTransport(t)
}

func (h *host) addQUIC(ident *identity) error {
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	rand.Read(reset[:])
	rand.Read(token[:])
	var err error
	h.quic, err = quicreuse.NewConnManager(reset, token, quicreuse.VerifySourceAddress(h.rm.VerifySourceAddress))
	if err != nil {
		return err
	}
	t, err := libp2pquic.NewTransport(ident.priv, h.quic, nil, gater{}, h.rm,
		libp2pquic.WithTLSIdentityOption(libp2ptls.WithCertTemplate(certTemplate())))
	if err != nil {
		return err
	}
	return h.swarm.AddTransport(t)
}

// resources is the resource manager: lim's counts per subnet instead of libp2p's eight,
// and no address exempt from them, loopback neither.
func resources(lim Limits, limits rcmgr.ConcreteLimitConfig) (network.ResourceManager, error) {
	perSecond := rate.Limit{RPS: float64(lim.PerSubnet) / 10, Burst: lim.PerSubnet}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit([]rcmgr.NetworkPrefixLimit{}, []rcmgr.NetworkPrefixLimit{}),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: lim.PerSubnet}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: lim.PerSubnet}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: perSecond}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: perSecond}},
			GracePeriod:      time.Minute,
		}}))
}

// serverLimits are libp2p's resource limits on a server, listenerMemory bytes in all.
func serverLimits(lim Limits) rcmgr.ConcreteLimitConfig {
	const listenerMemory = 512 << 20
	all := rcmgr.ResourceLimits{
		Conns: rcmgr.LimitVal(lim.Conns), ConnsInbound: rcmgr.LimitVal(lim.Conns), ConnsOutbound: rcmgr.BlockAllLimit,
		Streams: rcmgr.LimitVal(lim.Conns), StreamsInbound: rcmgr.LimitVal(lim.Conns), StreamsOutbound: rcmgr.BlockAllLimit,
		FD: rcmgr.LimitVal(lim.Conns), Memory: listenerMemory,
	}
	return hostLimits(all, rcmgr.ResourceLimits{
		Conns: 8, ConnsInbound: 8, ConnsOutbound: rcmgr.BlockAllLimit,
		Streams: rcmgr.LimitVal(lim.PerPeer), StreamsInbound: rcmgr.LimitVal(lim.PerPeer), StreamsOutbound: rcmgr.BlockAllLimit,
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

// listenHost starts the server's end beside the fast lane's address.
func listenHost(ident *identity, lim Limits, fast *net.TCPAddr, q *queue) (*host, error) {
	if fast.Port == 65535 {
		return nil, errors.New("listen port 65535 leaves no port for libp2p")
	}
	h, err := newHost(ident, lim, serverLimits(lim))
	if err != nil {
		return nil, err
	}
	h.swarm.SetStreamHandler(func(s network.Stream) { h.welcome(s, q) })
	ip := fast.AddrPort().Addr().Unmap()
	ips := []netip.Addr{ip}
	if ip == netip.IPv6Unspecified() {
		ips = append(ips, netip.IPv4Unspecified())
	}
	for i, a := range ips {
		err := h.swarm.Listen(hostAddrs(a, uint16(fast.Port))...)
		if err != nil && i == 0 { // one family is enough
			h.close()
			return nil, fmt.Errorf("libp2p: %w", err)
		}
	}
	h.stop, h.swept = make(chan struct{}), make(chan struct{})
	go h.sweep()
	return h, nil
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
			case len(c.GetStreams()) > 0:
			case idle[c]:
				c.Close()
			default:
				now[c] = true
			}
		}
		idle = now
	}
}

// hostAddrs are the libp2p addresses of a server whose fast lane is at ip, port.
func hostAddrs(ip netip.Addr, port uint16) []ma.Multiaddr {
	family := "/ip4/"
	if ip = ip.Unmap(); ip.Is6() {
		family = "/ip6/"
	}
	base := family + ip.WithZone("").String()
	udp, err1 := ma.NewMultiaddr(base + "/udp/" + strconv.Itoa(int(port)) + "/quic-v1")
	tcp, err2 := ma.NewMultiaddr(base + "/tcp/" + strconv.Itoa(int(port)+1))
	if err1 != nil || err2 != nil {
		panic("link: address of an IP and a port does not parse")
	}
	return []ma.Multiaddr{udp, tcp}
}

// welcome negotiates the protocol of an incoming stream and hands it to the HTTP server.
func (h *host) welcome(s network.Stream, q *queue) {
	s.SetDeadline(time.Now().Add(h.lim.Setup))
	p, err := id.PeerFromBytes([]byte(s.Conn().RemotePeer()))
	if err == nil {
		var proto protocol.ID
		if proto, _, err = h.mux.Negotiate(s); err == nil {
			err = s.SetProtocol(proto)
		}
	}
	s.SetDeadline(time.Time{})
	if err != nil || !q.put(newStream(s, p, h.lim.Stall)) {
		s.Reset()
	}
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

// open opens a stream on the connection to the server, dialling if there is none.
func (h *host) open(ctx context.Context, server id.Peer) (net.Conn, error) {
	s, err := h.swarm.NewStream(ctx, peerID(server))
	if err != nil {
		return nil, wrongServer(swarmError(err), server)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(h.lim.Setup)
	}
	s.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	err = multistream.SelectProtoOrFail(protocol.ID(wire.ProtocolID), io.ReadWriteCloser(s))
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		s.Reset()
		return nil, fmt.Errorf("libp2p stream: %w", err)
	}
	s.SetDeadline(time.Time{})
	return newStream(s, server, h.lim.Stall), nil
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

func newStream(s network.Stream, p id.Peer, stall time.Duration) *stream {
	return &stream{Stream: s, peer: p, pace: pace{stall: stall},
		local: netAddr(s.Conn().LocalMultiaddr()), remote: netAddr(s.Conn().RemoteMultiaddr())}
}

// netAddr gives IP and port as a TCP address, over QUIC too: what a quota asks is the IP.
func netAddr(m ma.Multiaddr) net.Addr {
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

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) { return s.pace.write(writer{s}, p) }

// ReadFrom implements io.ReaderFrom.
func (s *stream) ReadFrom(r io.Reader) (int64, error) { return sendFrom(s, r) }

// writer is a stream without its pace.
type writer struct{ *stream }

func (w writer) Write(p []byte) (int, error) { return w.Stream.Write(p) }

// gater refuses every identity that is not an Ed25519 key. The other checks are the
// resource manager's.
type gater struct{}

var _ connmgr.ConnectionGater = gater{}

func ed25519Peer(p peer.ID) bool {
	_, err := id.PeerFromBytes([]byte(p))
	return err == nil
}

func (gater) InterceptPeerDial(p peer.ID) bool             { return ed25519Peer(p) }
func (gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }
func (gater) InterceptAccept(network.ConnMultiaddrs) bool  { return true }
func (gater) InterceptSecured(_ network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return ed25519Peer(p)
}
func (gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
