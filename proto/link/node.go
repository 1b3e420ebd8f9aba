package link

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/event"
	corehost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// node shows a host to libp2p's services (relay, circuits, hole punching) as they want it: streams by protocol and
// connections by peer. It is not libp2p's own host: that one identifies, and tells addresses to whoever connects.
type node struct {
	*host
	bus event.Bus
}

var _ corehost.Host = node{}

func newNode(h *host) node { return node{h, eventbus.NewBus()} }

// ID implements host.Host.
func (n node) ID() peer.ID { return n.swarm.LocalPeer() }

// Peerstore implements host.Host.
func (n node) Peerstore() peerstore.Peerstore { return n.swarm.Peerstore() }

// Addrs implements host.Host: this one tells none.
func (n node) Addrs() []ma.Multiaddr { return nil }

// Network implements host.Host.
func (n node) Network() network.Network { return n.swarm }

// Mux implements host.Host.
func (n node) Mux() protocol.Switch { return n.mux }

// ConnManager implements host.Host: connections are bounded by the resource manager and closed by the sweeper.
func (n node) ConnManager() connmgr.ConnManager { return &connmgr.NullConnMgr{} }

// EventBus implements host.Host.
func (n node) EventBus() event.Bus { return n.bus }

// Close implements host.Host. The host is closed by its owner.
func (n node) Close() error { return nil }

// Connect implements host.Host.
func (n node) Connect(ctx context.Context, to peer.AddrInfo) error {
	n.Peerstore().AddAddrs(to.ID, to.Addrs, peerstore.TempAddrTTL)
	_, err := n.swarm.DialPeer(ctx, to.ID)
	return err
}

// NewStream implements host.Host.
func (n node) NewStream(ctx context.Context, p peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, n.lim.Setup)
	defer cancel()
	s, err := n.swarm.NewStream(ctx, p)
	if err != nil {
		return nil, err
	}
	return &hasty{Stream: s}, n.speak(ctx, s, protocols[0])
}

// hasty is a stream whose first deadline is soon. libp2p's relay and its clients give the other side a minute to answer, in
// which they heed no context and hold up other attempts; on a connection that only looks open nothing ever answers.
type hasty struct {
	network.Stream
	set atomic.Bool
}

const answerWithin = 3 * time.Second

// SetDeadline implements network.MuxedStream.
func (s *hasty) SetDeadline(t time.Time) error {
	if soon := time.Now().Add(answerWithin); s.set.CompareAndSwap(false, true) && t.After(soon) {
		t = soon
	}
	return s.Stream.SetDeadline(t)
}

// SetStreamHandler implements host.Host.
func (n node) SetStreamHandler(p protocol.ID, f network.StreamHandler) { n.handle(p, f) }

// SetStreamHandlerMatch implements host.Host. No service uses it.
func (n node) SetStreamHandlerMatch(protocol.ID, func(protocol.ID) bool, network.StreamHandler) {
	panic("link: protocols have one name")
}

// RemoveStreamHandler implements host.Host.
func (n node) RemoveStreamHandler(p protocol.ID) { n.mux.RemoveHandler(p) }

var _ protocol.Switch = (*multistream.MultistreamMuxer[protocol.ID])(nil)
