package link

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Device is the identity of this end; *key.Device of crypto/key is one.
type Device interface {
	Ed25519() ed25519.PrivateKey
	Peer() id.Peer
}

// ErrWrongServer reports that the address is answered by another identity than the
// pinned one. Trying again does not help.
var ErrWrongServer = errors.New("the server is not the expected one")

// ErrKeyType reports a peer whose identity is not an Ed25519 key.
var ErrKeyType = errors.New("peer identity is not an ed25519 key")

// WrongServerError is the error behind ErrWrongServer. Got is zero when the other
// side's identity is not an Ed25519 key.
type WrongServerError struct{ Want, Got id.Peer }

// Error implements error.
func (e *WrongServerError) Error() string {
	got := "an identity of another kind"
	if !e.Got.IsZero() {
		got = e.Got.String()
	}
	return fmt.Sprintf("%v: want %v, got %s", ErrWrongServer, e.Want, got)
}

// Is makes errors.Is(err, ErrWrongServer) work.
func (e *WrongServerError) Is(target error) bool { return target == ErrWrongServer }

// identity is a device's TLS identity: a throw-away P-256 certificate that carries the
// Ed25519 key and its signature, after libp2p's TLS specification. Safe for concurrent use.
type identity struct {
	priv ic.PrivKey
	self id.Peer
	tls  *libp2ptls.Identity
}

func newIdentity(d Device) (*identity, error) {
	if d == nil {
		return nil, errors.New("link: no device")
	}
	priv, err := ic.UnmarshalEd25519PrivateKey(d.Ed25519())
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	t, err := libp2ptls.NewIdentity(priv, libp2ptls.WithCertTemplate(certTemplate()))
	if err != nil {
		return nil, fmt.Errorf("device certificate: %w", err)
	}
	return &identity{priv: priv, self: d.Peer(), tls: t}, nil
}

// certTemplate gives a certificate that is valid at any time that a device's clock may
// show, right or wrong, and tells nothing about this device's clock. The certificate is
// no evidence by itself, the key's signature in it is.
func certTemplate() *x509.Certificate {
	var serial [8]byte
	rand.Read(serial[:])
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]),
		NotBefore:    time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		Subject:      pkix.Name{SerialNumber: new(big.Int).SetBytes(serial[:]).String()},
	}
}

// config returns a TLS configuration for one connection, and where the peer's key will
// be once the handshake is over. A zero want accepts any Ed25519 peer.
func (i *identity) config(want id.Peer) (*tls.Config, <-chan ic.PubKey) {
	var pid peer.ID
	if !want.IsZero() {
		pid = peerID(want)
	}
	c, keys := i.tls.ConfigForPeer(pid)
	c.NextProtos = []string{wire.ALPN}
	c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768} // the version's one group, nothing to negotiate
	c.DynamicRecordSizingDisabled = true                   // bulk: full records from the first byte
	return c, keys
}

// handshake runs the TLS handshake of one fast-lane connection, as the dialling end if
// want is set. On error the caller closes raw.
func (i *identity) handshake(ctx context.Context, raw *batch, want id.Peer) (*tls.Conn, id.Peer, error) {
	cfg, keys := i.config(want)
	var c *tls.Conn
	if want.IsZero() {
		c = tls.Server(raw, cfg)
	} else {
		c = tls.Client(raw, cfg)
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, id.Peer{}, wrongServer(err, want)
	}
	if c.ConnectionState().NegotiatedProtocol != wire.ALPN {
		return nil, id.Peer{}, errors.New("peer does not speak " + wire.ALPN)
	}
	key := <-keys // filled or closed by the handshake
	if key == nil {
		return nil, id.Peer{}, ErrKeyType
	}
	got, err := peerOfKey(key)
	return c, got, err
}

// dialing is net.Dialer, or what does the same.
type dialing interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// dial opens a fast-lane connection to want at addr.
func (i *identity) dial(ctx context.Context, nd dialing, addr string, want id.Peer, w pace) (*conn, error) {
	raw, err := nd.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	b := &batch{Conn: raw, pace: w}
	t, peer, err := i.handshake(ctx, b, want)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &conn{Conn: t, raw: b, peer: peer}, nil
}

// wrongServer turns libp2p's mismatch into ours and leaves any other error alone.
func wrongServer(err error, want id.Peer) error {
	var m sec.ErrPeerIDMismatch
	if !errors.As(err, &m) {
		return err
	}
	got, _ := id.PeerFromBytes([]byte(m.Actual))
	return &WrongServerError{Want: want, Got: got}
}

func peerOfKey(k ic.PubKey) (id.Peer, error) {
	if k.Type() != ic.Ed25519 {
		return id.Peer{}, ErrKeyType
	}
	raw, err := k.Raw()
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return id.Peer{}, ErrKeyType
	}
	return id.Peer(raw), nil
}

func peerID(p id.Peer) peer.ID { return peer.ID(p.Bytes()) }

type peerKey struct{}

// PeerFrom returns the authenticated caller of a request that came through a Server,
// on either carrier. It is false for any other context.
func PeerFrom(ctx context.Context) (id.Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(id.Peer)
	return p, ok
}

// identified is a connection whose other end is known.
type identified interface {
	net.Conn
	Peer() id.Peer
}
