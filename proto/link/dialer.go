package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/proto/id"
)

// BaseURL begins the URL of every request to a Dialer. The host in it is a constant:
// where the connection goes, and to whom, is the Dialer's pinned server.
const BaseURL = "http://decant"

// Carrier says how to reach the server.
type Carrier uint8

// The carriers.
const (
	Auto   Carrier = iota // the fast lane; where it can't be had, libp2p over QUIC, then over TCP
	Fast                  // the fast lane only
	Libp2p                // libp2p only
)

// String returns the carrier's name.
func (c Carrier) String() string {
	switch c {
	case Auto:
		return "auto"
	case Fast:
		return "fast"
	case Libp2p:
		return "libp2p"
	}
	return "unknown"
}

// ErrClosed reports the use of a closed Dialer.
var ErrClosed = errors.New("link: dialer is closed")

// DialConfig configures a Dialer. Device and Server are required.
type DialConfig struct {
	Device  Device
	Server  id.Server // the pinned identity, and where to look for it
	Carrier Carrier

	// Conns is the number of connections that may be open at a time; a request beyond
	// waits for one. A long poll holds one while it waits. 0 means 16.
	Conns int

	// Timeout bounds setting up a connection on one carrier. 0 means 10 s.
	Timeout time.Duration

	// Stall ends a connection that takes no byte of what is written for so long. 0 means 30 s.
	Stall time.Duration

	// Moved is called when this device's addresses have changed. It must not block. nil: nobody asks.
	Moved func()
}

// Dialer is an http.RoundTripper over long-lived HTTP/1.1 connections to one server.
// It follows no redirects, asks no proxy and takes no compressed answers. It is safe
// for concurrent use. NewDialer does no I/O: connections come with the first requests,
// and libp2p is started only when a request needs it.
type Dialer struct {
	cfg  DialConfig
	http *http.Transport

	ident    func() (*identity, error)
	last     atomic.Uint32 // Carrier of the newest connection
	fallback atomic.Int64  // until then (unix nano) Auto tries libp2p first
	inflight atomic.Int32  // requests without an answer
	moved    atomic.Uint64 // bytes of fast connections, either way

	background sync.WaitGroup // of stop

	mu     sync.Mutex // guards the rest
	closed bool
	conns  map[*conn]struct{}
	spare  *conn // opened ahead of need; in conns
	since  time.Time
	host   *host
	stop   func() // ends the watch of this device's addresses and of silence; nil before the first connection
}

// retryFast is how long Auto stays on libp2p before it tries the fast lane first again.
const retryFast = time.Minute

// NewDialer returns a Dialer. Close it after use.
func NewDialer(cfg DialConfig) (*Dialer, error) {
	if cfg.Device == nil || cfg.Server.IsZero() || cfg.Server.Peer.IsZero() || cfg.Carrier > Libp2p {
		return nil, errors.New("link: incomplete dial configuration")
	}
	or(&cfg.Conns, 16)
	or(&cfg.Timeout, 10*time.Second)
	or(&cfg.Stall, 30*time.Second)
	d := &Dialer{cfg: cfg, conns: make(map[*conn]struct{})}
	d.ident = sync.OnceValues(func() (*identity, error) { return newIdentity(cfg.Device) })
	d.http = newTransport(cfg.Conns, d.dial)
	return d, nil
}

// RoundTrip implements http.RoundTripper. The URL must begin with BaseURL. A request's
// context ends it promptly at any point.
func (d *Dialer) RoundTrip(r *http.Request) (*http.Response, error) {
	d.inflight.Add(1)
	defer d.inflight.Add(-1)
	return d.http.RoundTrip(r)
}

// Server returns the pinned server.
func (d *Dialer) Server() id.Server { return d.cfg.Server }

// Carrier returns the carrier of the newest connection; Auto if there was none yet.
func (d *Dialer) Carrier() Carrier { return Carrier(d.last.Load()) }

// Close ends every connection, also those in use. It is idempotent.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	conns, h, stop := d.conns, d.host, d.stop
	d.conns, d.host, d.stop = map[*conn]struct{}{}, nil, nil
	d.mu.Unlock()
	if stop != nil {
		stop()
	}
	for c := range conns {
		c.raw.Close()
	}
	if h != nil {
		h.close()
	}
	d.http.CloseIdleConnections()
	return nil
}

// dial opens one connection on the carrier that the configuration asks for.
func (d *Dialer) dial(ctx context.Context) (net.Conn, error) {
	switch d.cfg.Carrier {
	case Fast:
		return d.dialFast(ctx)
	case Libp2p:
		return d.dialHost(ctx)
	}
	if time.Now().UnixNano() < d.fallback.Load() {
		if c, err := d.dialHost(ctx); err == nil || final(ctx, err) {
			return c, err
		}
		d.fallback.Store(0)
	}
	c, err := d.dialFast(ctx)
	if err == nil || final(ctx, err) {
		return c, err
	}
	c, herr := d.dialHost(ctx)
	if herr != nil {
		if final(ctx, herr) {
			return nil, herr
		}
		return nil, fmt.Errorf("%w; over libp2p: %w", err, herr)
	}
	d.fallback.Store(time.Now().Add(retryFast).UnixNano())
	return c, nil
}

// watch begins to look at this device's addresses. The caller holds mu.
func (d *Dialer) watch() {
	if d.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.background.Go(func() { watchAddrs(ctx, d.leave) })
	d.background.Go(func() { d.revive(ctx) })
	d.stop = func() { cancel(); d.background.Wait() }
}

// leave ends connections from addresses that this device no longer has: nothing would tell that they are dead, and requests
// would wait on them.
func (d *Dialer) leave(now []netip.Addr) {
	if d.cfg.Moved != nil {
		d.cfg.Moved()
	}
	d.mu.Lock()
	h := d.host
	var gone []*conn
	for c := range d.conns {
		if left(c.LocalAddr(), now) {
			gone = append(gone, c)
		}
	}
	d.mu.Unlock()
	for _, c := range gone {
		c.abort()
	}
	if h != nil {
		for _, c := range h.swarm.Conns() {
			if left(netAddr(c.LocalMultiaddr()), now) {
				c.Close()
			}
		}
	}
}

// final reports whether another carrier can't help.
func final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrWrongServer) || errors.Is(err, ErrClosed)
}

func (d *Dialer) dialFast(ctx context.Context) (net.Conn, error) {
	if c := d.takeSpare(); c != nil {
		return c, nil
	}
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err // not a net.Conn that holds a nil *conn
	}
	return c, nil
}

// connect opens one more connection of the fast lane.
func (d *Dialer) connect(ctx context.Context) (*conn, error) {
	ident, err := d.ident()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	c, err := ident.dial(ctx, new(redialer), d.cfg.Server.HostPort(), d.cfg.Server.Peer, pace{stall: d.cfg.Stall, slow: true, moved: &d.moved})
	if err != nil {
		return nil, err
	}
	c.onClose = func() {
		d.mu.Lock()
		delete(d.conns, c)
		if d.spare == c {
			d.spare = nil
		}
		d.mu.Unlock()
	}
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.conns[c] = struct{}{}
		d.watch()
	}
	d.mu.Unlock()
	if closed {
		c.raw.Close()
		return nil, ErrClosed
	}
	d.last.Store(uint32(Fast))
	return c, nil
}

func (d *Dialer) dialHost(ctx context.Context) (net.Conn, error) {
	h, err := d.startHost()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	ips, err := resolve(ctx, d.cfg.Server.Host)
	if err != nil {
		return nil, err
	}
	c, err := h.dial(ctx, d.cfg.Server.Peer, ips, d.cfg.Server.Port)
	if err != nil {
		return nil, err
	}
	d.last.Store(uint32(Libp2p))
	return c, nil
}

// startHost returns the libp2p host, made at its first use.
func (d *Dialer) startHost() (*host, error) {
	ident, err := d.ident()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	d.watch()
	if d.host == nil {
		lim := DefaultLimits()
		lim.Stall, lim.Setup = d.cfg.Stall, d.cfg.Timeout
		if d.host, err = newHost(hostConfig{ident: ident, lim: lim, resources: deviceLimits()}); err != nil {
			return nil, err
		}
	}
	return d.host, nil
}

// resolve gives a server's addresses. On a system without resolv.conf, as Android, Go
// asks the local resolver at [::1]:53 and 127.0.0.1:53; an app there passes an IP or
// is built with cgo.
func resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}
