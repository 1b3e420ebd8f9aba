package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/quic-go/quic-go"
)

// alpnLibp2p is what libp2p's TLS offers beside the multiplexers.
const alpnLibp2p = "libp2p"

// security is libp2p's /tls/1.0.0 with this version's one key exchange and a certificate that tells no clock. It secures
// connections over TCP and, end to end, over a relay.
type security struct{ ident *identity }

var _ sec.SecureTransport = security{}

// ID implements sec.SecureTransport.
func (security) ID() protocol.ID { return libp2ptls.ID }

// SecureInbound implements sec.SecureTransport.
func (s security) SecureInbound(ctx context.Context, raw net.Conn, p peer.ID) (sec.SecureConn, error) {
	return s.secure(ctx, raw, p, tls.Server)
}

// SecureOutbound implements sec.SecureTransport.
func (s security) SecureOutbound(ctx context.Context, raw net.Conn, p peer.ID) (sec.SecureConn, error) {
	return s.secure(ctx, raw, p, tls.Client)
}

func (s security) secure(ctx context.Context, raw net.Conn, p peer.ID, end func(net.Conn, *tls.Config) *tls.Conn) (sec.SecureConn, error) {
	cfg, keys := s.ident.tls.ConfigForPeer(p)
	cfg.NextProtos = []string{yamux.ID, alpnLibp2p}
	cfg.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	c := end(raw, cfg)
	key, err := ic.PubKey(nil), c.HandshakeContext(ctx)
	if err == nil {
		if key = <-keys; key == nil {
			err = ErrKeyType
		}
	}
	if err == nil {
		_, err = peerOfKey(key)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	remote, err := peer.IDFromPublicKey(key)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return &secured{Conn: c, local: peerID(s.ident.self), remote: remote, key: key}, nil
}

// secured is an authenticated connection below libp2p's multiplexer.
type secured struct {
	*tls.Conn
	local, remote peer.ID
	key           ic.PubKey
}

// LocalPeer implements sec.SecureConn.
func (c *secured) LocalPeer() peer.ID { return c.local }

// RemotePeer implements sec.SecureConn.
func (c *secured) RemotePeer() peer.ID { return c.remote }

// RemotePublicKey implements sec.SecureConn.
func (c *secured) RemotePublicKey() ic.PubKey { return c.key }

// ConnState implements sec.SecureConn: both ends know the multiplexer from the handshake, unless the other only speaks
// of libp2p.
func (c *secured) ConnState() network.ConnectionState {
	state := network.ConnectionState{Security: libp2ptls.ID}
	if c.ConnectionState().NegotiatedProtocol == yamux.ID {
		state.StreamMultiplexer, state.UsedEarlyMuxerNegotiation = yamux.ID, true
	}
	return state
}

var errGroup = errors.New("the other side negotiated another key exchange than X25519MLKEM768")

// groupOK checks the key exchange of a connection over QUIC, whose TLS configuration libp2p keeps to itself. The other
// transports have only one to offer.
func groupOK(c network.Conn) error {
	var q *quic.Conn
	if c.As(&q) && q.ConnectionState().TLS.CurveID != tls.X25519MLKEM768 {
		return errGroup
	}
	return nil
}
