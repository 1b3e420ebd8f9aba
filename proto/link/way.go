package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/decant-dev/decant/proto/wire"
)

// grade orders the ways to a peer, best first.
type grade uint8

const (
	gradeFast  grade = iota // the fast lane
	gradeHost               // libp2p, from device to device
	gradeRelay              // libp2p through the relay
	gradeNone               // worse than any
)

// maxSpare is how long a connection that was opened ahead of need is still given out.
const maxSpare = time.Minute

var errDead = errors.New("this way was given up")

// way is one way to a peer that was found to work, with the connections of requests that take it.
type way struct {
	grade grade
	path  Path
	at    netip.AddrPort                      // of the fast lane
	took  time.Duration                       // to open the first connection
	conn  network.Conn                        // of libp2p, below the connections; nil on the fast lane
	open  func(context.Context) (line, error) // opens one more connection
	http  *http.Transport

	moved    atomic.Uint64 // bytes of requests, either way, on all connections; see progress
	inflight atomic.Int32  // requests that wait for an answer
	carrying atomic.Int32  // of them those with a body
	doubted  atomic.Int64  // since when it may be broken, Unix ns; 0: it works
	disowned atomic.Bool   // the peer has lost an address since

	mu      sync.Mutex // guards the rest
	lines   map[*tracked]struct{}
	spare   *tracked // opened ahead of need; in lines
	since   time.Time
	retired bool // opens nothing ahead of need
	dead    bool // opens nothing
}

// line is a connection of either carrier.
type line interface {
	net.Conn
	io.ReaderFrom
	abort()
	count(moved *atomic.Uint64) // from now on; not while it is in use
}

// newWay makes a way of which nothing is proved yet. failed is called when a connection that a request needs can't be
// opened.
func newWay(g grade, p Path, open func(context.Context) (line, error), failed func(*way)) *way {
	w := &way{grade: g, path: p, open: open, lines: map[*tracked]struct{}{}}
	w.http = newTransport(peerConns, func(ctx context.Context) (net.Conn, error) {
		c, err := w.take(ctx)
		if err != nil {
			failed(w)
			return nil, err
		}
		return c, nil
	})
	return w
}

// newTransport is net/http's client side over connections that dial opens.
func newTransport(conns int, dial func(context.Context) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxConnsPerHost:        conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        wire.IdleLimit * 3 / 4, // before the other side does
		ExpectContinueTimeout:  wire.MaxWait,           // of a request that asks before it sends its body; it does not send unasked
		DisableCompression:     true,
		MaxResponseHeaderBytes: 8 << 10,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
	}
}

// take gives a connection for requests.
func (w *way) take(ctx context.Context) (net.Conn, error) {
	w.mu.Lock()
	c := w.spare
	w.spare = nil
	fresh := time.Since(w.since) < maxSpare
	w.mu.Unlock()
	if c != nil && !fresh {
		c.abort()
		c = nil
	}
	if c == nil {
		var err error
		if c, err = w.connect(ctx); err != nil {
			return nil, err
		}
	}
	c.count(&w.moved) // a handshake is no progress of requests
	return c, nil
}

// connect opens one more connection.
func (w *way) connect(ctx context.Context) (*tracked, error) {
	l, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	c := &tracked{line: l, w: w}
	w.mu.Lock()
	dead := w.dead
	if !dead {
		w.lines[c] = struct{}{}
	}
	w.mu.Unlock()
	if dead {
		l.abort()
		return nil, errDead
	}
	return c, nil
}

// prove opens a connection, to see whether the way works, and keeps it for the next request.
func (w *way) prove(ctx context.Context) error {
	c, err := w.connect(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	if w.spare == nil && !w.retired {
		w.spare, w.since, c = c, time.Now(), nil
	}
	w.mu.Unlock()
	if c != nil {
		c.abort()
	}
	return nil
}

// retire lets requests that are under way end and keeps nothing else: net/http closes connections that become idle after
// CloseIdleConnections, while no new request comes.
func (w *way) retire() {
	w.mu.Lock()
	c := w.spare
	w.spare, w.retired = nil, true
	w.mu.Unlock()
	if c != nil {
		c.abort()
	}
	w.http.CloseIdleConnections()
}

// stuck reports whether the way has been in doubt for so long that no slow or lossy link explains it.
func (w *way) stuck() bool {
	since := w.doubted.Load()
	return since != 0 && time.Since(time.Unix(0, since)) >= min(max(8*w.took, stuckLeast), stuckMost)
}

// bury ends a way that does not work any more, and what it leads over.
func (w *way) bury() {
	w.kill()
	if w.conn != nil {
		w.conn.Close()
	}
}

// kill ends everything at once.
func (w *way) kill() {
	w.retire()
	w.mu.Lock()
	lines := w.lines
	w.lines, w.dead = map[*tracked]struct{}{}, true
	w.mu.Unlock()
	for c := range lines {
		c.line.abort()
	}
}

// leave ends the connections that this device opened from an address that it no longer has.
func (w *way) leave(now []netip.Addr) {
	w.mu.Lock()
	var gone []*tracked
	for c := range w.lines {
		if left(c.LocalAddr(), now) {
			gone = append(gone, c)
		}
	}
	w.mu.Unlock()
	for _, c := range gone {
		c.line.abort() // whoever uses it closes it
	}
}

// progress counts the bytes of requests that moved: those written count once the other end has them, as far as the system
// tells, because a slow link takes many seconds for what it takes an instant to write. It need not grow evenly.
func (w *way) progress() uint64 {
	n := w.moved.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.lines {
		queued, _ := c.Queued()
		n -= uint64(queued)
	}
	return n
}

// left reports whether a is none of the addresses now.
func left(a net.Addr, now []netip.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	return ip.IsValid() && !ip.IsUnspecified() && !slices.ContainsFunc(now, func(n netip.Addr) bool { return n.WithZone("") == ip })
}

// tracked is a connection that its way knows of.
type tracked struct {
	line
	w *way
}

// Queued is that of the line below, if it knows.
func (c *tracked) Queued() (n int, ok bool) {
	if q, is := c.line.(interface{ Queued() (int, bool) }); is {
		return q.Queued()
	}
	return 0, false
}

// Close implements net.Conn.
func (c *tracked) Close() error {
	c.forget()
	return c.line.Close()
}

func (c *tracked) abort() {
	c.forget()
	c.line.abort()
}

func (c *tracked) forget() {
	c.w.mu.Lock()
	delete(c.w.lines, c)
	c.w.mu.Unlock()
}
