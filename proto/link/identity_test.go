package link

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// TestE17WrongServer: another identity at the pinned address is a final error on every
// carrier, and no request reaches it.
func TestE17WrongServer(t *testing.T) {
	var requests atomic.Int32
	s := listen(t, Config{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })})
	want := newDevice().Peer()
	for _, c := range []Carrier{Auto, Fast, Libp2p} {
		t.Run(c.String(), func(t *testing.T) {
			at := s.Server()
			at.Peer = want
			d := dialer(t, DialConfig{Server: at, Carrier: c})
			_, err := post(t.Context(), d, strings.NewReader("secret"))
			var wrong *WrongServerError
			if !errors.Is(err, ErrWrongServer) || !errors.As(err, &wrong) || wrong.Want != want || wrong.Got != s.Server().Peer {
				t.Fatalf("error %v (%#v)", err, wrong)
			}
			if c == Auto && d.host != nil {
				t.Fatal("a wrong server on the fast lane was tried over libp2p")
			}
		})
	}
	if n := requests.Load(); n != 0 {
		t.Fatalf("%d requests reached the wrong server", n)
	}
}

// otherKeys are the libp2p identities that Decant does not speak to.
func otherKeys(t *testing.T) map[string]ic.PrivKey {
	t.Helper()
	keys := map[string]ic.PrivKey{}
	for name, kind := range map[string]int{"rsa": ic.RSA, "secp256k1": ic.Secp256k1, "ecdsa": ic.ECDSA} {
		k, _, err := ic.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = k
	}
	return keys
}

// clientConfig is a TLS configuration that accepts any server, for the identity of key.
func clientConfig(t *testing.T, key ic.PrivKey, protos ...string) *tls.Config {
	t.Helper()
	ident, err := libp2ptls.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := ident.ConfigForPeer("")
	c.NextProtos = protos
	return c
}

// TestRT17KeyTypes: a device with an identity of another kind is refused by the server
// on all three transports. The Ed25519 one passes, so the test can tell.
func TestRT17KeyTypes(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	keys := otherKeys(t)
	var err error
	if keys["ed25519"], err = ic.UnmarshalEd25519PrivateKey(newDevice().key); err != nil {
		t.Fatal(err)
	}
	for name, key := range keys {
		for carrier, try := range map[string]func(*testing.T, *Server, ic.PrivKey) error{"fast": tryFast, "tcp": tryTCP, "quic": tryQUIC} {
			t.Run(name+"/"+carrier, func(t *testing.T) {
				if err := try(t, s, key); (err == nil) != (name == "ed25519") {
					t.Fatalf("error %v", err)
				}
			})
		}
	}
}

// tryFast makes a request on the fast lane as key.
func tryFast(t *testing.T, s *Server, key ic.PrivKey) error {
	c, err := tls.Dial("tcp", s.Addr().String(), clientConfig(t, key, wire.ALPN))
	if err != nil {
		return err
	}
	return get(c)
}

// tryTCP makes a request on a libp2p stream over TCP as key.
func tryTCP(t *testing.T, s *Server, key ic.PrivKey) error {
	m, err := yamux.DefaultTransport.NewConn(securedTCP(t, s, key), false, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	st, err := m.OpenStream(t.Context())
	if err != nil {
		return err
	}
	return getStream(st)
}

// tryQUIC makes a request on a libp2p stream over QUIC as key.
func tryQUIC(t *testing.T, s *Server, key ic.PrivKey) error {
	c, err := quic.DialAddr(t.Context(), s.Addr().String(), clientConfig(t, key, "libp2p"), nil)
	if err != nil {
		return err
	}
	defer c.CloseWithError(0, "")
	st, err := c.OpenStream()
	if err != nil {
		return err
	}
	return getStream(st)
}

type deadlined interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

func getStream(st deadlined) error {
	st.SetDeadline(time.Now().Add(time.Minute))
	if err := multistream.SelectProtoOrFail(protocol.ID(wire.ProtocolID), io.ReadWriteCloser(st)); err != nil {
		return err
	}
	return get(st)
}

// get asks the echo handler; nil means that it answered.
func get(c deadlined) error {
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: decant\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// securedTCP dials the server's libp2p TCP port and runs the security handshake by hand.
func securedTCP(t *testing.T, s *Server, key ic.PrivKey) *tls.Conn {
	t.Helper()
	at := *s.Addr()
	at.Port++
	raw, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	if err := multistream.SelectProtoOrFail(protocol.ID(libp2ptls.ID), io.ReadWriteCloser(raw)); err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, clientConfig(t, key, yamux.ID, "libp2p"))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRT17ServerKeyTypes: a server of another kind of identity is refused by the device.
func TestRT17ServerKeyTypes(t *testing.T) {
	for name, key := range otherKeys(t) {
		t.Run(name, func(t *testing.T) {
			ln, err := tls.Listen("tcp", "127.0.0.1:0", clientConfig(t, key, wire.ALPN))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go func() { defer c.Close(); c.(*tls.Conn).Handshake() }()
				}
			}()
			a := ln.Addr().(*net.TCPAddr)
			d := dialer(t, DialConfig{Server: id.Server{Peer: newDevice().Peer(), Host: "127.0.0.1", Port: uint16(a.Port)}, Carrier: Fast})
			if _, err := post(t.Context(), d, nil); !errors.Is(err, ErrWrongServer) {
				t.Fatal(err)
			}
		})
	}
	if _, err := peerOfKey(otherKeys(t)["secp256k1"].GetPublic()); !errors.Is(err, ErrKeyType) {
		t.Fatal(err)
	}
}

// TestC4KeyExchange: recorded traffic resists a later quantum computer, because all
// three transports agree on X25519MLKEM768; the fast lane accepts nothing less.
func TestC4KeyExchange(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	dev := newDevice()
	key, err := ic.UnmarshalEd25519PrivateKey(dev.key)
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, st tls.ConnectionState) {
		t.Helper()
		if st.CurveID != tls.X25519MLKEM768 || st.Version != tls.VersionTLS13 {
			t.Fatalf("version %x, group %v", st.Version, st.CurveID)
		}
	}
	t.Run("fast", func(t *testing.T) {
		d := dialer(t, DialConfig{Device: dev, Server: s.Server(), Carrier: Fast})
		c, err := d.dialFast(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		check(t, c.(*conn).ConnectionState())
	})
	t.Run("fast refuses x25519", func(t *testing.T) {
		cfg := clientConfig(t, key, wire.ALPN)
		cfg.CurvePreferences = []tls.CurveID{tls.X25519}
		if c, err := tls.Dial("tcp", s.Addr().String(), cfg); err == nil {
			c.Close()
			t.Fatal("accepted")
		}
	})
	t.Run("tcp", func(t *testing.T) { check(t, securedTCP(t, s, key).ConnectionState()) })
	t.Run("quic", func(t *testing.T) {
		c, err := quic.DialAddr(t.Context(), s.Addr().String(), clientConfig(t, key, "libp2p"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseWithError(0, "")
		check(t, c.ConnectionState().TLS)
	})
}

// TestALPN: a TLS peer that speaks another protocol, or names none, is refused.
func TestALPN(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	key, err := ic.UnmarshalEd25519PrivateKey(newDevice().key)
	if err != nil {
		t.Fatal(err)
	}
	for _, protos := range [][]string{nil, {"h2"}, {"libp2p"}} {
		c, err := tls.Dial("tcp", s.Addr().String(), clientConfig(t, key, protos...))
		if err == nil {
			err = get(c)
		}
		if err == nil {
			t.Fatalf("protocols %q accepted", protos)
		}
	}
}

// TestR19Clock: the certificate is valid whatever a device believes the time to be.
func TestR19Clock(t *testing.T) {
	ident, err := newIdentity(newDevice())
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := ident.config(id.Peer{})
	leaf, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, year := range []int{1971, 2016, 2036, 9998} {
		if now := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			t.Errorf("invalid in %d", year)
		}
	}
}

// TestL1NothingRevealed: the libp2p side knows one protocol. Identify, ping, relay and
// the like, which tell addresses and agent names, are not there.
func TestL1NothingRevealed(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	ident, err := newIdentity(newDevice())
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHost(hostConfig{ident: ident, lim: DefaultLimits(), resources: deviceLimits()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pid := peerID(s.Server().Peer)
	h.swarm.Peerstore().AddAddrs(pid, hostAddrs(s.Addr().AddrPort().Addr(), uint16(s.Addr().Port)), time.Hour)
	for _, p := range []protocol.ID{"/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/libp2p/circuit/relay/0.2.0/hop",
		"/libp2p/circuit/relay/0.2.0/stop", "/libp2p/autonat/1.0.0", "/libp2p/dcutr", "/ipfs/kad/1.0.0"} {
		st, err := h.swarm.NewStream(ctx, pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := multistream.SelectProtoOrFail(p, io.ReadWriteCloser(st)); err == nil {
			t.Errorf("server speaks %s", p)
		}
		st.Reset()
	}
	if addrs := h.swarm.ListenAddresses(); len(addrs) != 0 {
		t.Errorf("the dialling side listens on %v", addrs)
	}
}

// TestRT17DeviceTakesNoStreams: a hostile server can open no stream to a device.
func TestRT17DeviceTakesNoStreams(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	dev := newDevice()
	d := dialer(t, DialConfig{Device: dev, Server: s.Server(), Carrier: Libp2p})
	if _, err := post(t.Context(), d, nil); err != nil {
		t.Fatal(err)
	}
	conns := s.host.swarm.ConnsToPeer(peer.ID(dev.Peer().Bytes()))
	if len(conns) != 1 {
		t.Fatalf("%d connections", len(conns))
	}
	rm := conns[0]
	st, err := rm.NewStream(network.WithNoDial(t.Context(), "test"))
	if err != nil {
		return // our own limits forbid a server to open streams
	}
	st.SetDeadline(time.Now().Add(time.Minute))
	if err := multistream.SelectProtoOrFail(protocol.ID(wire.ProtocolID), io.ReadWriteCloser(st)); err == nil {
		t.Fatal("the device took a stream")
	}
}

// TestRT17Streams: a device that opens streams without end gets its share of them.
func TestRT17Streams(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	key, err := ic.UnmarshalEd25519PrivateKey(newDevice().key)
	if err != nil {
		t.Fatal(err)
	}
	m, err := yamux.DefaultTransport.NewConn(securedTCP(t, s, key), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got := 0
	for range 200 {
		st, err := m.OpenStream(t.Context())
		if err != nil {
			break
		}
		st.SetDeadline(time.Now().Add(time.Minute))
		if multistream.SelectProtoOrFail(protocol.ID(wire.ProtocolID), io.ReadWriteCloser(st)) == nil {
			got++
		}
	}
	if want := DefaultLimits().PerPeer; got == 0 || got > want {
		t.Fatalf("%d streams, want %d at most", got, want)
	}
}

// TestIdleLibp2p: a libp2p connection on which nothing is open goes, keep-alives or not.
func TestIdleLibp2p(t *testing.T) {
	s := listen(t, Config{Handler: echo, Limits: Limits{Idle: 50 * time.Millisecond}})
	dev := newDevice()
	d := dialer(t, DialConfig{Device: dev, Server: s.Server(), Carrier: Libp2p})
	if _, err := post(t.Context(), d, nil); err != nil {
		t.Fatal(err)
	}
	within(t, "the server has closed the connection", func() bool { return len(s.host.swarm.ConnsToPeer(peerID(dev.Peer()))) == 0 })
	d.mu.Lock()
	h := d.host
	d.mu.Unlock()
	within(t, "the device knows", func() bool { return len(h.swarm.Conns()) == 0 }) // a request may fail until it does
	if _, err := post(t.Context(), d, nil); err != nil {
		t.Fatalf("next request: %v", err)
	}
}
