package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// A PeerDialer has one way to its peer at a time, and one goroutine (run) that looks after it:
//
//	no way    waves of dials, one every 1.5 s: the fast lane at each address, 250 ms apart, then libp2p, then the relay.
//	          The first to finish a handshake with the right identity is the way; what comes later is closed
//	a way     new requests take it. If a better grade exists, waves of better dials, less and less often
//	better    new requests take the better one; requests under way end on the old one, which then closes
//	silence   when requests wait and no byte moves for 1 s (1.5 s on slow ways), or the network has changed, the way is in doubt: it should open
//	          one more connection. After half a second of doubt, waves of all grades begin, and what they find replaces it
//	          for new requests. If it opens none in time and nothing moves for 4 to 8 s, it is given up with all that is on it
//
// Waves overlap, since the first packets of a dial that began while there was no path are lost, and the system repeats
// them ever more slowly.
const (
	stagger     = 250 * time.Millisecond // between dials of one wave
	hostAfter   = 300 * time.Millisecond // libp2p's start behind the fast lane's
	relayAfter  = 500 * time.Millisecond // the relay's behind both
	waveEvery   = 1500 * time.Millisecond
	waveLasts   = 6 * time.Second
	maxWaves    = 4                      // at a time
	hurryEvery  = 200 * time.Millisecond // between waves that are called for
	eager       = 2 * time.Minute        // after that, waves for want of a way come every slowEvery
	slowEvery   = 5 * time.Second        //
	betterFirst = 2 * time.Second        // until the first wave for something better; then twice as long each time
	betterMost  = 30 * time.Second       // but no longer
	listenEvery = 250 * time.Millisecond
	silentFast  = 4               // times listened to, on a way that moved fastBytes in one of the last few of them
	silentAfter = 6               // on any other: what the system takes at once may take a slow link so long
	fastBytes   = 128 << 10       //
	proveSoon   = 8               // more times of silence, until a way that was proved is proved again while it has bodies to carry
	proveAgain  = 40              // and while others only wait for answers
	proveWithin = 4 * time.Second // eight times what the first connection took, but 1.5 s at least; beyond 4 s three times, if that is more
	proveLeast  = 1500 * time.Millisecond
	testWithin  = 2 * time.Second // for a libp2p connection that looks open to open a stream; likewise five times, but 0.75 s at least
	testLeast   = 750 * time.Millisecond
	doubtAfter  = 500 * time.Millisecond
	stuckLeast  = 2500 * time.Millisecond // of doubt before what is under way is given up; eight times what the first connection
	stuckMost   = 30 * time.Second        // took if that is longer, but no longer: far away, lost packets are repeated after many seconds
	patience    = 10 * time.Second
	peerStall   = 15 * time.Second
	peerConns   = 16
	bulk        = 64 << 10 // bytes of a request that is more than a question
)

// ErrNoPath reports that no way to the peer was found while a request waited. It may exist later.
var ErrNoPath = errors.New("no path to the other device")

// PeerDialer is an http.RoundTripper to one peer, whatever way leads there. It follows no redirects, asks no proxy and takes
// no compressed answers. It is safe for concurrent use.
type PeerDialer struct {
	e    *Endpoint
	peer id.Peer

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	wake    chan struct{} // look at once
	prove   chan struct{} // and prove the way
	results chan result
	proved  chan *way
	changed chan struct{}
	took    atomic.Int64 // ns, of the last way found that needs no relay; 0: none yet

	mu    sync.Mutex // guards the rest
	hints []hint
	cur   *way
	ready chan struct{} // closed while there is a way
	last  error         // why the last wave found none
}

// result is what came of a wave.
type result struct {
	w   *way // nil: err says why
	err error
}

// Dial returns a PeerDialer to peer. It begins to look for a way at once: with the addresses of SetAddrs, with connections
// that the peer opens to this endpoint, and through the relay. Close it after use.
func (e *Endpoint) Dial(peer id.Peer) *PeerDialer {
	d := &PeerDialer{e: e, peer: peer, wake: make(chan struct{}, 1), prove: make(chan struct{}, 1), results: make(chan result), proved: make(chan *way),
		changed: make(chan struct{}, 1), ready: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(e.ctx)
	e.mu.Lock()
	e.dialers[d] = struct{}{}
	e.mu.Unlock()
	d.wg.Go(d.run)
	e.askRelay()
	d.look()
	return d
}

// RoundTrip implements http.RoundTripper. The URL must begin with BaseURL. While there is no way to the peer it waits, for
// 10 s at most, and then fails with ErrNoPath. A request's context ends it promptly at any point.
func (d *PeerDialer) RoundTrip(r *http.Request) (*http.Response, error) {
	w, err := d.await(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	w.inflight.Add(1)
	defer w.inflight.Add(-1)
	if r.ContentLength >= bulk {
		w.carrying.Add(1)
		defer w.carrying.Add(-1)
	}
	resp, err := w.http.RoundTrip(r)
	w.mu.Lock()
	retired := w.retired
	w.mu.Unlock()
	if retired { // while this request was on its way there: net/http has forgotten by it that idle connections are to close
		w.http.CloseIdleConnections()
	}
	return resp, err
}

// await waits for a way.
func (d *PeerDialer) await(ctx context.Context) (*way, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		d.mu.Lock()
		w, ready := d.cur, d.ready
		d.mu.Unlock()
		if d.ctx.Err() != nil {
			return nil, ErrClosed
		}
		if w != nil {
			return w, nil
		}
		select {
		case <-ready:
		case <-d.ctx.Done():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-limit.C:
			return nil, d.noPath()
		}
	}
}

// noPath is ErrNoPath with the reason of the last failure, which is none that callers could act on.
func (d *PeerDialer) noPath() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		return ErrNoPath
	}
	return fmt.Errorf("%w: %v", ErrNoPath, d.last)
}

// Peer returns the other end.
func (d *PeerDialer) Peer() id.Peer { return d.peer }

// SetAddrs replaces what is known of where the peer is: at most 16 addresses as Endpoint.Addrs and Browse give them, most
// direct first. Addresses that are malformed or that this endpoint does not dial are left out. A request that waits is
// tried with them at once.
func (d *PeerDialer) SetAddrs(addrs []string) {
	hints := d.e.policy.hints(addrs)
	d.mu.Lock()
	gone := slices.ContainsFunc(d.hints, func(h hint) bool { return !slices.ContainsFunc(hints, h.same) })
	d.hints = hints
	w := d.cur
	d.mu.Unlock()
	d.e.host.know(d.peer, hints)
	switch {
	case w == nil || !gone || len(hints) == 0:
	case w.at.IsValid() && !slices.ContainsFunc(hints, func(h hint) bool { return h.at == w.at }):
		d.lose(w, true) // the peer says that it isn't there any more
	case !w.at.IsValid():
		w.disowned.Store(true) // the peer has moved, and few libp2p connections outlive that
		poke(d.prove)
	}
	d.look()
}

// Path returns the way that new requests take. It is what was last found to work: a way that has just broken is noticed
// when a request tries it, or within seconds while one waits.
func (d *PeerDialer) Path() Path {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cur == nil {
		return PathNone
	}
	return d.cur.path
}

// Via is the identity of the server that new requests are relayed by, as text; empty if they need none. What else goes to that
// server takes from the same link.
func (d *PeerDialer) Via() string {
	if d.Path() != PathRelayed {
		return ""
	}
	return d.e.cfg.Relay.Peer.String()
}

// Doubted reports whether there is no way, or one that has been in doubt for a while: what can go elsewhere had better.
func (d *PeerDialer) Doubted() bool {
	w := d.way()
	if w == nil {
		return true
	}
	after := doubtAfter
	if w.grade == gradeFast { // elsewhere may well be the same cable, and a busy machine is silent for a while
		after = 3 * doubtAfter
	}
	since := w.doubted.Load()
	return since != 0 && time.Since(time.Unix(0, since)) >= after
}

// Changed gets a value when Path has changed. Values that nobody takes are not kept.
func (d *PeerDialer) Changed() <-chan struct{} { return d.changed }

// Kick says that the network has changed: the way is proved again, given up if it is broken, and a better one looked for,
// all at once and in the background.
func (d *PeerDialer) Kick() {
	poke(d.prove)
	d.look()
}

func (d *PeerDialer) look() { poke(d.wake) }

// poke makes one value wait in c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close ends every connection, also those in use, and waits for it. It is idempotent.
func (d *PeerDialer) Close() error {
	d.e.mu.Lock()
	delete(d.e.dialers, d)
	d.e.mu.Unlock()
	d.cancel()
	d.wg.Wait()
	return nil
}

// search is the state of run.
type search struct {
	waves   int           // under way
	hurried time.Time     // when a wave was made due at once
	began   time.Time     // the last one
	lost    time.Time     // when there was a way last
	pause   time.Duration // between waves for something better
	doubt   time.Time     // since when the way may be broken; zero: it works
	moved   uint64        // what had moved when last listened to
	silent  int           // times listened to since it did
	fast    bool          // it moved fast before
}

// run looks after the way until Close.
func (d *PeerDialer) run() {
	defer d.settle(nil, true)
	tick := time.NewTicker(stagger)
	defer tick.Stop()
	listen := time.NewTicker(listenEvery)
	defer listen.Stop()
	s := search{lost: time.Now(), pause: betterFirst}
	for {
		select {
		case <-d.ctx.Done():
			for ; s.waves > 0; s.waves-- {
				if r := <-d.results; r.w != nil {
					r.w.kill()
				}
			}
			return
		case r := <-d.results:
			s.waves--
			d.take(r, &s)
		case <-d.wake:
			s.lost, s.pause = time.Now(), betterFirst
			if time.Since(s.hurried) > hurryEvery {
				s.hurried, s.began = time.Now(), time.Time{}
			} else {
				s.began = s.hurried.Add(hurryEvery - waveEvery)
			}
			d.wave(&s)
		case <-d.prove:
			d.check(&s)
		case w := <-d.proved:
			if w == d.way() {
				s.doubt = time.Time{}
			}
		case <-tick.C:
			d.wave(&s)
		case <-listen.C:
			d.listen(&s)
		}
	}
}

func (d *PeerDialer) way() *way {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cur
}

// take makes what a wave found the way, if it is better than what there is.
func (d *PeerDialer) take(r result, s *search) {
	w := d.way()
	switch {
	case r.w == nil:
		d.mu.Lock()
		d.last = r.err
		d.mu.Unlock()
	case w != nil && w.grade <= r.w.grade && s.doubt.IsZero():
		r.w.kill()
	default:
		d.settle(r.w, false)
		s.pause, s.silent, s.doubt = betterFirst, 0, time.Time{}
	}
}

// settle replaces the way. The old one ends with its requests, or at once.
func (d *PeerDialer) settle(w *way, now bool) {
	d.mu.Lock()
	old := d.cur
	d.cur = w
	switch {
	case old == nil && w != nil:
		close(d.ready)
	case old != nil && w == nil:
		d.ready = make(chan struct{})
	}
	d.mu.Unlock()
	if old != nil && now {
		old.kill()
	} else if old != nil {
		old.retire()
	}
	if old != w {
		d.note("way", w)
		poke(d.changed)
	}
}

// note writes down what became of a way, for whoever looks into why a transfer paused.
func (d *PeerDialer) note(what string, w *way) {
	if w == nil {
		d.e.server.log.Debug(what, "path", PathNone)
		return
	}
	d.e.server.log.Debug(what, "path", w.path, "grade", w.grade, "took", w.took, "inflight", w.inflight.Load())
}

// lose gives w up. It may be called from any goroutine.
func (d *PeerDialer) lose(w *way, now bool) {
	d.mu.Lock()
	mine := d.cur == w
	if mine {
		d.cur, d.ready = nil, make(chan struct{})
	}
	d.mu.Unlock()
	if now {
		w.kill()
	} else {
		w.retire()
	}
	if mine {
		d.note("way lost", w)
		poke(d.changed)
		d.look()
	}
}

// check puts the way in doubt and proves it in the background.
func (d *PeerDialer) check(s *search) {
	w := d.way()
	if w == nil || !s.doubt.IsZero() {
		return
	}
	s.doubt = time.Now()
	d.note("way in doubt", w)
	w.doubted.Store(s.doubt.UnixNano())
	d.e.askRelay()
	d.wg.Go(func() {
		if d.works(w) {
			w.doubted.Store(0)
			select {
			case d.proved <- w:
			case <-d.ctx.Done():
			}
			return
		}
		d.lose(w, true)
		w.bury()
	})
}

// works proves w. Where that takes too long, what is under way decides: on a slow link with long queues a new connection
// may take longer than what moves on the others shows that all is well.
func (d *PeerDialer) works(w *way) bool {
	before, least := w.progress(), proveLeast
	if w.disowned.Load() {
		least = testLeast
	}
	ctx, cancel := context.WithTimeout(d.ctx, min(max(8*w.took, least), max(proveWithin, 3*w.took)))
	defer cancel()
	err := w.prove(ctx)
	if err == nil || !timedOut(err) {
		return err == nil
	}
	tick := time.NewTicker(stagger)
	defer tick.Stop()
	for w.inflight.Load() > 0 && w.progress() == before && !w.stuck() && !w.disowned.Load() {
		select {
		case <-tick.C:
		case <-d.ctx.Done():
			return false
		}
	}
	return w.progress() != before
}

// listen notices silence.
func (d *PeerDialer) listen(s *search) {
	w := d.way()
	if w != nil && w.grade < gradeRelay {
		d.e.host.hangUp(d.peer)
	}
	if w == nil || w.inflight.Load() == 0 {
		s.silent = 0
		return
	}
	if m := w.progress(); m != s.moved {
		s.fast = int64(m-s.moved) >= fastBytes
		s.moved, s.silent = m, 0
		return
	}
	first, again := silentAfter, proveAgain
	if s.fast {
		first = silentFast
	}
	if w.carrying.Load() > 0 {
		again = proveSoon
	}
	if s.silent++; s.silent >= first && (s.silent-first)%again == 0 {
		d.check(s)
	}
}

// wave starts the next wave if it is due.
func (d *PeerDialer) wave(s *search) {
	w, worst, every := d.way(), gradeNone, waveEvery
	if w != nil {
		s.lost = time.Now()
	} else {
		s.doubt = time.Time{}
	}
	switch doubted := !s.doubt.IsZero(); {
	case doubted && time.Since(s.doubt) < doubtAfter:
		return
	case doubted: // as if there were none
	case w != nil && w.grade == gradeFast:
		return
	case w != nil:
		worst, every = w.grade, s.pause
	case time.Since(s.lost) > eager:
		every = slowEvery
	}
	if s.waves >= maxWaves || time.Since(s.began) < every {
		return
	}
	cs := d.candidates(worst)
	if len(cs) == 0 {
		return
	}
	if w != nil && !s.began.IsZero() {
		s.pause = min(2*s.pause, betterMost)
	}
	s.began = time.Now()
	s.waves++
	if w == nil {
		d.e.askRelay()
	}
	d.wg.Go(func() {
		ctx, cancel := context.WithTimeout(d.ctx, waveLasts)
		defer cancel()
		w, err := race(ctx, cs)
		d.results <- result{w, err}
	})
}

// candidate is a way to try, some time after the wave began.
type candidate struct {
	after time.Duration
	find  func(context.Context) (*way, error)
}

// candidates lists the ways to try that are better than worst.
func (d *PeerDialer) candidates(worst grade) (out []candidate) {
	d.mu.Lock()
	hints := d.hints
	d.mu.Unlock()
	for _, h := range hints {
		if h.at.IsValid() && gradeFast < worst {
			out = append(out, candidate{time.Duration(len(out)) * stagger, func(ctx context.Context) (*way, error) { return d.findFast(ctx, h.at) }})
		}
	}
	later := func(after time.Duration) time.Duration {
		if len(out) == 0 {
			return 0
		}
		return after
	}
	until := d.dialUntil()
	dialled := func(find func(context.Context, time.Time) (*way, error)) func(context.Context) (*way, error) {
		return func(ctx context.Context) (*way, error) { return find(ctx, until) }
	}
	direct := len(hints) > 0 || d.e.host.connected(d.peer)
	if direct && gradeHost < worst {
		out = append(out, candidate{later(hostAfter), dialled(d.findHost)})
	}
	if d.e.relaying != nil && gradeRelay < worst {
		out = append(out, candidate{later(relayAfter), dialled(d.findRelay)})
	}
	return out
}

// race runs the candidates and returns the first way that is found; the others' ends with them.
func race(ctx context.Context, cs []candidate) (*way, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	for _, c := range cs {
		go func() {
			var r result
			select {
			case <-time.After(c.after):
				r.w, r.err = c.find(ctx)
			case <-ctx.Done():
				r.err = ctx.Err()
			}
			results <- r
		}()
	}
	var best result
	for range cs {
		switch r := <-results; {
		case r.w == nil && best.w == nil:
			best.err = r.err
		case r.w == nil:
		case best.w == nil:
			best = r
			cancel()
		default:
			r.w.kill()
		}
	}
	return best.w, best.err
}

// find proves a way. at is the fast lane's address.
func (d *PeerDialer) find(ctx context.Context, g grade, p Path, at netip.AddrPort, open func(context.Context) (line, error)) (*way, error) {
	w := newWay(g, p, open, func(w *way) { d.lose(w, false) })
	w.at = at
	began := time.Now()
	if err := w.prove(ctx); err != nil {
		return nil, err
	}
	w.took = time.Since(began)
	if g < gradeRelay {
		d.took.Store(int64(w.took))
	}
	return w, nil
}

// findFast tries the fast lane at one address.
func (d *PeerDialer) findFast(ctx context.Context, at netip.AddrPort) (*way, error) {
	nd := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return d.find(ctx, gradeFast, pathTo(at.Addr()), at, func(ctx context.Context) (line, error) {
		ctx, cancel := context.WithTimeout(ctx, waveLasts)
		defer cancel()
		c, err := d.e.server.ident.dial(ctx, nd, at.String(), d.peer, pace{stall: peerStall, slow: true})
		if err != nil {
			return nil, err // not a line that holds a nil *conn
		}
		return c, nil
	})
}

// findHost tries the libp2p connections that exist, whoever opened them, then a new one.
func (d *PeerDialer) findHost(ctx context.Context, until time.Time) (*way, error) {
	for _, c := range d.e.host.direct(d.peer) {
		w, err := d.findOn(ctx, gradeHost, c)
		if err == nil {
			return w, nil
		}
		if ctx.Err() == nil && timedOut(err) && d.useless(c) {
			c.Close() // it looks open, and is not
		}
	}
	dctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	c, err := d.e.host.dialDirect(dctx, d.peer)
	if err != nil {
		return nil, err
	}
	return d.findOn(ctx, gradeHost, c)
}

// dialUntil is when libp2p's dials of a wave that begins now end: before those of the next wave begin, where dials are known to be
// done by then. libp2p makes one dial of all that overlap, which tries no address twice and repeats what got lost ever more slowly.
func (d *PeerDialer) dialUntil() time.Time {
	within := waveLasts
	if took := time.Duration(d.took.Load()); took > 0 && 6*took < waveEvery-relayAfter {
		within = waveEvery
	}
	return time.Now().Add(within)
}

// findRelay tries circuits that exist, then a new one.
func (d *PeerDialer) findRelay(ctx context.Context, until time.Time) (*way, error) {
	for _, c := range d.e.host.relayed(d.peer) {
		w, err := d.findOn(ctx, gradeRelay, c)
		if err == nil {
			return w, nil
		}
		if ctx.Err() == nil && timedOut(err) && d.useless(c) {
			c.Close()
		}
	}
	dctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	c, err := d.e.host.dialThrough(dctx, d.peer, d.e.cfg.Relay.Peer, d.e.relaying.through)
	if err != nil {
		return nil, err
	}
	if !relayed(c.RemoteMultiaddr()) { // a direct one was faster
		return d.findOn(ctx, gradeHost, c)
	}
	return d.findOn(ctx, gradeRelay, c)
}

// useless reports whether nothing is under way on c that may yet get through.
func (d *PeerDialer) useless(c network.Conn) bool {
	w := d.way()
	return w == nil || w.conn != c || w.inflight.Load() == 0 || w.stuck()
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// findOn tries a libp2p connection.
func (d *PeerDialer) findOn(ctx context.Context, g grade, c network.Conn) (*way, error) {
	path := PathRelayed
	if g == gradeHost {
		path = pathTo(multiIP(c.RemoteMultiaddr()))
	}
	within := testWithin
	if w := d.way(); w != nil {
		within = min(max(5*w.took, testLeast), testWithin)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	w, err := d.find(ctx, g, path, netip.AddrPort{}, func(ctx context.Context) (line, error) {
		ctx, cancel := context.WithTimeout(ctx, proveWithin)
		defer cancel()
		s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "relayed"))
		if err != nil {
			return nil, err
		}
		if err := d.e.host.speak(ctx, s, wire.ProtocolID); err != nil {
			return nil, err
		}
		return newStream(s, d.peer, pace{stall: peerStall, slow: true}), nil
	})
	if err != nil {
		return nil, err
	}
	w.conn = c
	return w, nil
}
