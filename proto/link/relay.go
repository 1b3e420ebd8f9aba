package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	circuitpb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/proto/id"
)

// RelayConfig makes a server a relay (libp2p's circuit v2) for devices that it knows to belong together. What it passes on
// is encrypted from device to device. The functions are called from any goroutine and must not block.
type RelayConfig struct {
	// Reserve tells whether p may wait for circuits here. Required.
	Reserve func(p id.Peer) bool
	// Allow tells whether src may have a circuit to dst. It is asked once for each circuit. Required.
	Allow func(src, dst id.Peer) bool
	// Account is told how many more bytes passed between the two, either way: at least every MiB and at the end. Nil: nobody counts.
	Account func(src, dst id.Peer, bytes int64)
	// Gauge is told the numbers of reservations and circuits whenever one changes. Nil: nobody looks.
	Gauge func(reservations, circuits int)

	// MaxCircuitBytes is what one circuit may carry each way. 0: 64 GiB.
	MaxCircuitBytes int64
	// MaxCircuitTime is how long one circuit may last. 0: 12 hours.
	MaxCircuitTime time.Duration
}

// seenProtocol answers with the address that the asker is seen at, as text, and closes: what libp2p's identify would tell,
// without the rest.
const seenProtocol = "/decant/seen/1"

const (
	reservationTTL = time.Hour
	maxCircuits    = 8 // of one device
	relayBuffer    = 32 << 10
	accountEvery   = 1 << 20
)

// relayServer is the relay of a server's host.
type relayServer struct {
	cfg   RelayConfig
	inner *relay.Relay

	mu                     sync.Mutex // guards the rest
	reservations, circuits int
	waiting                map[peer.ID]network.Conn // on which a device asked for its reservation
}

// startRelay adds the relay's protocols to h.
func startRelay(h *host, cfg RelayConfig) (*relayServer, error) {
	if cfg.Reserve == nil || cfg.Allow == nil {
		return nil, errors.New("link: a relay needs to know whom to serve")
	}
	or(&cfg.MaxCircuitBytes, 64<<30)
	or(&cfg.MaxCircuitTime, 12*time.Hour)
	r := &relayServer{cfg: cfg, waiting: map[peer.ID]network.Conn{}}
	var err error
	r.inner, err = relay.New(relayNode{newNode(h), r}, relay.WithACL(r), relay.WithMetricsTracer(r), relay.WithResources(relay.Resources{
		Limit:                &relay.RelayLimit{Duration: cfg.MaxCircuitTime, Data: cfg.MaxCircuitBytes},
		ReservationTTL:       reservationTTL,
		MaxReservations:      h.lim.Conns,
		MaxReservationsPerIP: h.lim.PerSubnet, MaxReservationsPerASN: h.lim.Conns,
		MaxCircuits: maxCircuits, BufferSize: relayBuffer,
	}))
	if err != nil {
		return nil, err
	}
	h.swarm.Notify(&network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) { r.gone(c) }})
	h.handle(seenProtocol, func(s network.Stream) {
		s.SetDeadline(time.Now().Add(h.lim.Setup))
		io.WriteString(s, s.Conn().RemoteMultiaddr().String())
		s.Close()
	})
	return r, nil
}

// waits takes note of the connection over which a device wants its circuits.
func (r *relayServer) waits(c network.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[c.RemotePeer()] = c
}

func (r *relayServer) gone(c network.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[c.RemotePeer()] == c {
		delete(r.waiting, c.RemotePeer())
	}
}

// AllowReserve implements relay.ACLFilter.
func (r *relayServer) AllowReserve(p peer.ID, _ ma.Multiaddr) bool {
	who, err := id.PeerFromBytes([]byte(p))
	return err == nil && r.cfg.Reserve(who)
}

// AllowConnect implements relay.ACLFilter.
func (r *relayServer) AllowConnect(src peer.ID, _ ma.Multiaddr, dst peer.ID) bool {
	from, err1 := id.PeerFromBytes([]byte(src))
	to, err2 := id.PeerFromBytes([]byte(dst))
	return err1 == nil && err2 == nil && from != to && r.cfg.Allow(from, to)
}

func (r *relayServer) gauge(reservations, circuits int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reservations += reservations
	r.circuits += circuits
	if r.cfg.Gauge != nil && (reservations != 0 || circuits != 0) {
		r.cfg.Gauge(r.reservations, r.circuits)
	}
}

// RelayStatus implements relay.MetricsTracer.
func (r *relayServer) RelayStatus(bool) {}

// ConnectionOpened implements relay.MetricsTracer.
func (r *relayServer) ConnectionOpened() { r.gauge(0, 1) }

// ConnectionClosed implements relay.MetricsTracer.
func (r *relayServer) ConnectionClosed(time.Duration) { r.gauge(0, -1) }

// ConnectionRequestHandled implements relay.MetricsTracer.
func (r *relayServer) ConnectionRequestHandled(circuitpb.Status) {}

// ReservationAllowed implements relay.MetricsTracer.
func (r *relayServer) ReservationAllowed(renewal bool) {
	if !renewal {
		r.gauge(1, 0)
	}
}

// ReservationClosed implements relay.MetricsTracer.
func (r *relayServer) ReservationClosed(n int) { r.gauge(-n, 0) }

// ReservationRequestHandled implements relay.MetricsTracer.
func (r *relayServer) ReservationRequestHandled(circuitpb.Status) {}

// BytesTransferred implements relay.MetricsTracer. Bytes are counted by circuit.
func (r *relayServer) BytesTransferred(int) {}

// relayNode is a node whose circuits are counted, and lead where devices wait.
type relayNode struct {
	node
	r *relayServer
}

// SetStreamHandler implements host.Host.
func (n relayNode) SetStreamHandler(p protocol.ID, f network.StreamHandler) {
	if p != circuit.ProtoIDv2Hop {
		n.node.SetStreamHandler(p, f)
		return
	}
	n.node.SetStreamHandler(p, func(s network.Stream) {
		c, err := countCircuit(s, n.lim.Setup, n.r.cfg.Account)
		if err != nil {
			s.Reset()
			return
		}
		if c.dst.IsZero() {
			n.r.waits(s.Conn())
		}
		f(c)
	})
}

// NewStream implements host.Host: on the connection over which the device reserved. Others may be left from before it moved
// or became another process, and only look open.
func (n relayNode) NewStream(ctx context.Context, p peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	n.r.mu.Lock()
	c := n.r.waiting[p]
	n.r.mu.Unlock()
	if c == nil {
		return nil, network.ErrNoConn
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	return &hasty{Stream: s}, n.speak(ctx, s, protocols[0])
}

// countedStream is a circuit's stream from src, as the relay sees it. Its first message, which names dst, was read ahead.
type countedStream struct {
	network.Stream
	ahead    *bytes.Reader
	src, dst id.Peer                             // dst is zero where no circuit was asked for
	account  func(src, dst id.Peer, bytes int64) // nil: nobody counts
	n        atomic.Int64                        // not accounted yet
}

const maxHopMessage = 4096 // as libp2p's relay has it

var errHopMessage = errors.New("malformed message to the relay")

// countCircuit reads the first message on s.
func countCircuit(s network.Stream, within time.Duration, account func(src, dst id.Peer, bytes int64)) (*countedStream, error) {
	s.SetReadDeadline(time.Now().Add(within))
	defer s.SetReadDeadline(time.Time{})
	size, err := binary.ReadUvarint(byteReader{s})
	if err != nil || size > maxHopMessage {
		return nil, errHopMessage
	}
	ahead := binary.AppendUvarint(nil, size)
	n := len(ahead)
	ahead = append(ahead, make([]byte, size)...)
	if _, err := io.ReadFull(s, ahead[n:]); err != nil {
		return nil, errHopMessage
	}
	var msg circuitpb.HopMessage
	if err := proto.Unmarshal(ahead[n:], &msg); err != nil {
		return nil, errHopMessage
	}
	c := &countedStream{Stream: s, ahead: bytes.NewReader(ahead), account: account}
	if c.src, err = id.PeerFromBytes([]byte(s.Conn().RemotePeer())); err != nil {
		return nil, err
	}
	if msg.GetType() == circuitpb.HopMessage_CONNECT {
		c.dst, err = id.PeerFromBytes(msg.GetPeer().GetId())
	}
	return c, err
}

type byteReader struct{ io.Reader }

// ReadByte implements io.ByteReader.
func (r byteReader) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// Read implements io.Reader.
func (c *countedStream) Read(p []byte) (int, error) {
	if c.ahead.Len() > 0 {
		return c.ahead.Read(p)
	}
	n, err := c.Stream.Read(p)
	c.count(n, err != nil)
	return n, err
}

// Write implements io.Writer.
func (c *countedStream) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	c.count(n, err != nil)
	return n, err
}

// Close implements network.MuxedStream.
func (c *countedStream) Close() error {
	c.count(0, true)
	return c.Stream.Close()
}

// Reset implements network.MuxedStream.
func (c *countedStream) Reset() error {
	c.count(0, true)
	return c.Stream.Reset()
}

func (c *countedStream) count(n int, all bool) {
	if c.dst.IsZero() || c.account == nil {
		return
	}
	if sum := c.n.Add(int64(n)); sum >= accountEvery || all {
		if sum = c.n.Swap(0); sum > 0 {
			c.account(c.src, c.dst, sum)
		}
	}
}
