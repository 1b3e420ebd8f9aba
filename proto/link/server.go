package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/x/rate"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Config configures a Server. Device and Handler are required.
type Config struct {
	Device  Device
	Handler http.Handler

	// Listen is HOST:PORT. The fast lane listens on TCP PORT, libp2p on UDP PORT (QUIC)
	// and TCP PORT+1. Port 0 draws a free one. Empty is ":4410". A host name is resolved once.
	Listen string

	// FastOnly leaves libp2p out.
	FastOnly bool

	Limits Limits

	// Relay makes the server a relay between devices. Nil, or FastOnly: it is none.
	Relay *RelayConfig

	// Logger receives refusals at level debug and panics of the handler at error. Nil is silence.
	Logger *slog.Logger
}

// Server accepts devices on both carriers.
type Server struct {
	cfg     Config
	lim     Limits
	log     *slog.Logger
	ident   *identity
	allow   guard // whom to serve
	ln      net.Listener
	host    *host // nil when FastOnly
	queue   *queue
	http    *http.Server
	counter *counter
	rate    *rate.Limiter // of the fast lane; libp2p has its own

	mu   sync.Mutex // guards live
	live map[*conn]struct{}

	ctx    context.Context // of handshakes and requests; cancelled by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // acceptors, handshakes, the HTTP server
	closed sync.Once
}

// Serve serves until ctx ends, then gives running requests up to 10 s and closes. It
// returns nil after an orderly end.
func Serve(ctx context.Context, cfg Config) error {
	s, err := Listen(cfg)
	if err != nil {
		return err
	}
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return s.Shutdown(drain)
}

// Listen opens the addresses and serves in the background until Shutdown or Close.
func Listen(cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.open(s.newHost); err != nil {
		s.cancel()
		return nil, err
	}
	s.wg.Go(func() { s.http.Serve(s.queue) })
	s.wg.Go(s.accept)
	return s, nil
}

// newHost makes the server's end of libp2p; nil if it has none.
func (s *Server) newHost() (*host, error) {
	if s.cfg.FastOnly {
		return nil, nil
	}
	cfg := hostConfig{ident: s.ident, lim: s.lim, resources: serverLimits(s.lim, s.cfg.Relay != nil)}
	if s.cfg.Relay == nil {
		return newHost(cfg)
	}
	cfg.keep = s.cfg.Relay.Reserve
	h, err := newHost(cfg)
	if err != nil {
		return nil, err
	}
	if h.relay, err = startRelay(h, *s.cfg.Relay); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// newServer makes a Server without an address.
func newServer(cfg Config) (*Server, error) {
	if cfg.Handler == nil {
		return nil, errors.New("link: no handler")
	}
	ident, err := newIdentity(cfg.Device)
	if err != nil {
		return nil, err
	}
	lim := cfg.Limits.withDefaults()
	s := &Server{cfg: cfg, lim: lim, log: cfg.Logger, ident: ident, counter: newCounter(lim), rate: connRate(lim), queue: newQueue(),
		live: make(map[*conn]struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: lim.Header,
		IdleTimeout:       lim.Idle,
		MaxHeaderBytes:    lim.HeaderMax,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelError),
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c.(identified).Peer())
		},
	}
	return s, nil
}

// open takes the ports, which with port 0 belong together, so it tries anew when one of the other two is taken. newHost
// makes the libp2p end, or none.
func (s *Server) open(newHost func() (*host, error)) error {
	addr := s.cfg.Listen
	if addr == "" {
		addr = fmt.Sprintf(":%d", id.DefaultPort)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen address: %w", err)
	}
	for try := 0; ; try++ {
		if s.ln, err = net.Listen("tcp", addr); err != nil {
			return err
		}
		if s.host, err = newHost(); err != nil {
			s.ln.Close()
			return err
		}
		if s.host == nil {
			return nil
		}
		s.host.serveHTTP(s.queue, s.allow)
		if err = s.host.listen(s.ln.Addr().(*net.TCPAddr)); err == nil {
			return nil
		}
		s.host.close()
		s.ln.Close()
		if port != "0" || try == 20 {
			return err
		}
	}
}

// Addr returns the fast lane's address.
func (s *Server) Addr() *net.TCPAddr { return s.ln.Addr().(*net.TCPAddr) }

// Server returns the identity and address that a Dialer needs. When listening on all
// addresses the host is the loopback address: a name that others can reach is the
// operator's to know.
func (s *Server) Server() id.Server {
	a := s.Addr()
	h := a.IP.String()
	if a.IP.IsUnspecified() {
		h = "127.0.0.1"
	}
	return id.Server{Peer: s.ident.self, Host: h, Port: uint16(a.Port)}
}

// Conns returns the number of fast-lane connections, handshakes included.
func (s *Server) Conns() int { return s.counter.count() }

// Shutdown stops accepting, waits for running requests until ctx ends, then closes.
func (s *Server) Shutdown(ctx context.Context) error {
	s.ln.Close()
	err := s.http.Shutdown(ctx)
	return errors.Join(err, s.Close())
}

// Close ends everything at once and waits for it; requests being handled lose their
// connection and their context. It is idempotent.
func (s *Server) Close() error {
	s.closed.Do(func() {
		s.cancel()
		s.ln.Close()
		s.http.Close()
		if s.host != nil {
			s.host.close()
		}
	})
	s.wg.Wait()
	return nil
}

// accept takes the fast lane's connections until the listener closes.
func (s *Server) accept() {
	const pause = 10 * time.Millisecond
	for {
		c, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, aborted connection: others go on
			s.log.Debug("accept", "err", err)
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(pause):
			}
			continue
		}
		a := addrOf(c)
		if !s.rate.Allow(a.Unmap().WithZone("")) || !s.counter.add(a) {
			s.log.Debug("connection refused: limit")
			c.Close()
			continue
		}
		s.wg.Go(func() { s.welcome(c, a) })
	}
}

func addrOf(c net.Conn) netip.Addr {
	if t, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return t.AddrPort().Addr()
	}
	return netip.Addr{}
}

// welcome runs one handshake and hands the connection to the HTTP server.
func (s *Server) welcome(raw net.Conn, a netip.Addr) {
	ctx, cancel := context.WithTimeout(s.ctx, s.lim.Setup)
	defer cancel()
	b := &batch{Conn: raw, pace: pace{stall: s.lim.Stall}}
	t, peer, err := s.ident.handshake(ctx, b, id.Peer{})
	switch {
	case err != nil:
	case !s.allow.admits(peer):
		err = errors.New("not a peer to serve")
	case !s.counter.addPeer(peer):
		err = errors.New("too many connections of one peer")
	}
	if err != nil {
		s.log.Debug("connection refused", "err", err)
		raw.Close()
		s.counter.remove(a)
		return
	}
	c := &conn{Conn: t, raw: b, peer: peer}
	c.onClose = func() {
		s.counter.remove(a)
		s.counter.removePeer(peer)
		s.mu.Lock()
		delete(s.live, c)
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.live[c] = struct{}{}
	s.mu.Unlock()
	if !s.queue.put(c) {
		c.Close()
	}
}

// recheck ends connections of peers that are no longer to be served.
func (s *Server) recheck() {
	s.abort(func(c *conn) bool { return !s.allow.admits(c.peer) })
}

// abort ends the fast lane's connections that which picks.
func (s *Server) abort(which func(*conn) bool) {
	s.mu.Lock()
	var gone []*conn
	for c := range s.live {
		if which(c) {
			gone = append(gone, c)
		}
	}
	s.mu.Unlock()
	for _, c := range gone {
		c.abort()
	}
}

// serve watches a request's body and leaves the rest to the handler. The handler may
// read the body from one goroutine at a time and not after it has returned.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if p, ok := PeerFrom(r.Context()); !ok || !s.allow.admits(p) {
		w.Header().Set(wire.StatusHeader, strconv.Itoa(int(wire.Forbidden)))
		w.WriteHeader(wire.Forbidden.HTTP())
		return
	}
	if r.Body == nil || r.Body == http.NoBody {
		s.cfg.Handler.ServeHTTP(w, r)
		return
	}
	b := &watched{ReadCloser: r.Body, rc: http.NewResponseController(w), stall: s.lim.Stall, progress: s.lim.Progress}
	r.Body = b
	b.bound() // holds for what net/http itself reads of a body that the handler left unread
	s.cfg.Handler.ServeHTTP(w, r)
}

// watched is a request body that must make progress: stall/2 after the deadline was
// last set it is set anew if at least progress bytes have come since. So a slow but
// honest body may take as long as it needs, and one of 1 B/s ends within stall.
type watched struct {
	io.ReadCloser
	rc       *http.ResponseController
	stall    time.Duration
	progress int

	since       time.Time // when Read last set the deadline; zero: never
	n           int       // bytes since
	eof, failed bool
}

func (w *watched) bound() { w.rc.SetReadDeadline(time.Now().Add(w.stall)) }

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	if w.failed {
		return 0, http.ErrBodyReadAfterClose
	}
	if now := time.Now(); w.since.IsZero() || w.n >= w.progress && now.Sub(w.since) >= w.stall/2 {
		w.since, w.n = now, 0
		w.bound()
	}
	n, err := w.ReadCloser.Read(p)
	w.n += n
	switch {
	case err == io.EOF && !w.eof:
		w.eof = true
		w.rc.SetReadDeadline(time.Time{}) // the handler may take its time now
	case err != nil && err != io.EOF:
		w.failed = true
		w.rc.SetReadDeadline(time.Unix(1, 0)) // a timeout is not final to net/http, which would read on
	}
	return n, err
}

// queue is the net.Listener through which both carriers feed one http.Server.
type queue struct {
	conns chan identified
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue {
	return &queue{conns: make(chan identified), done: make(chan struct{})}
}

// put hands a connection over. It is false once the queue is closed; the caller closes c then.
func (q *queue) put(c identified) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener. The carriers have addresses, the queue has none.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
