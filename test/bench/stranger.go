//go:build linux

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/wire"
)

// identityExtension is libp2p's: an Ed25519 key and its signature of the certificate's.
var identityExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53594, 1, 1}

// stranger connects as a device does, by hand, so that it can be as slow as it likes at any point.
type stranger struct {
	device *key.Device
	config *tls.Config
}

func newStranger(d *key.Device) (*stranger, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(priv.Public())
	if err != nil {
		return nil, err
	}
	signature, err := d.Ed25519().Sign(rand.Reader, append([]byte("libp2p-tls-handshake:"), spki...), crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	peer := d.Peer()
	value, err := asn1.Marshal(struct{ Key, Signature []byte }{append([]byte{8, 1, 18, 32}, peer[:]...), signature})
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{SerialNumber: "1"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(24 * time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: identityExtension, Value: value}}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv)
	if err != nil {
		return nil, err
	}
	return &stranger{d, &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{wire.ALPN}, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		InsecureSkipVerify: true, // whoever answers is attacked
		Certificates:       []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: priv}}}}, nil
}

// dial opens a connection whose receive buffer is small, so that what isn't read stays with the server.
func dial(ctx context.Context, at string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) }); e != nil {
			return e
		}
		return err
	}}
	return d.DialContext(ctx, "tcp", at)
}

// connect opens a connection and finishes its handshake.
func (s *stranger) connect(ctx context.Context, at string) (net.Conn, error) {
	raw, err := dial(ctx, at)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, s.config)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// untilCut waits until the other end has closed a connection on which nothing is read: the system knows before a reader would.
func untilCut(ctx context.Context, c net.Conn) {
	const established = 1 // TCP_ESTABLISHED
	raw, err := c.(*tls.Conn).NetConn().(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	for state := uint8(established); state == established; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(250 * time.Millisecond):
		}
		if raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				state = info.State
			}
		}) != nil {
			return
		}
	}
}
