package transfer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Kept says where a pack is durable.
type Kept byte

const (
	// KeptStored: in a store that the other device can ask at any time, the server or a folder.
	KeptStored Kept = 1
	// KeptDelivered: at the other device itself, opened or in its spool.
	KeptDelivered Kept = 2
)

// Route is one way for packs. Its functions are called by several goroutines at once.
type Route struct {
	// Name is what a person is told: "local", "direct", "relayed", "stored", "folder". It may change.
	Name func() string
	// Put keeps a blob; it is durable there when nil is returned. note says to a device which pack it is (AppendNote); a
	// store does not need it. The bytes are not retained.
	Put   func(ctx context.Context, name id.Blob, note, blob []byte) error
	Kept  Kept
	Slots int // packs in flight at once
	// Final says that an error can't go away by itself, so that the route is given up. nil: statuses that are not retryable.
	Final func(error) bool
}

// Routes puts packs over whatever routes are up, several at once where one alone can't
// take them as fast as they come.
//
// Routes stand in the order of preference: what went to the other device itself need not be
// fetched again. A pack takes the first route that is up and has a free slot; it turns to
// a later one after waiting for spillAfter, which it only does where the network is the
// bottleneck. A pack that hangs on its route while another idles is put there too, and the first
// to finish counts: so the tail of a transfer, or a route that stalls, costs no more than that.
// Otherwise a pack is in flight on one route. A route that fails rests with jittered
// backoff, and its pack goes to another at once.
//
// Safe for concurrent use; routes may come and go while packs are in flight.
type Routes struct {
	mu    sync.Mutex // guards the rest, every lane and every turn
	lanes []*lane
	queue []*turn       // Puts without a slot, the oldest first
	wake  chan struct{} // closed and replaced when a slot may have become free
}

// turn is a Put that waits for a slot. Only the first in the queue may take one, so that
// how long it has been first says how long the preferred routes have had none.
type turn struct {
	first time.Time // since when it is the first, zero before
}

// lane is a route with what is known about it.
type lane struct {
	Route
	busy     int
	failures int // in a row
	rest     time.Time
	suspect  bool          // it hung: one pack at a time until one gets through
	pace     time.Duration // a pack takes so long, smoothed
	refused  error         // why it was given up
	last     time.Time     // a pack got through
}

const (
	// spillAfter is longer than packs wait for one another on a loopback or a gigabit link that is not full.
	spillAfter = 50 * time.Millisecond
	// hedgeAfter is the shortest time after which a pack may be put on a second route.
	hedgeAfter = 500 * time.Millisecond
	// hedgeNew is the same on a route that no pack has come through yet: it may just be slow.
	hedgeNew = 5 * time.Second
	restBase = 250 * time.Millisecond
	restCap  = 15 * time.Second
	// recent is how long a route counts as in use after its last pack.
	recent = 3 * time.Second
)

// ErrNoRoute is returned when every route has refused for good.
var ErrNoRoute = errors.New("no route takes packs any more")

// NewRoutes returns a set of routes, the preferred first.
func NewRoutes(routes ...*Route) *Routes {
	r := &Routes{wake: make(chan struct{})}
	for _, rt := range routes {
		r.lanes = append(r.lanes, &lane{Route: *rt})
	}
	return r
}

// Prefer adds a route in front of all others and returns what removes it. Packs that are in flight on
// it when it is removed fail by themselves.
func (r *Routes) Prefer(rt *Route) (remove func()) {
	l := &lane{Route: *rt}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes = slices.Insert(r.lanes, 0, l)
	r.broadcast()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lanes = slices.DeleteFunc(slices.Clone(r.lanes), func(x *lane) bool { return x == l })
		r.broadcast()
	}
}

// Kick ends the rests of all routes: the network is back, or another one.
func (r *Routes) Kick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		l.rest, l.failures = time.Time{}, 0
	}
	r.broadcast()
}

// InUse names the routes that packs took lately, joined by " + "; empty if none.
func (r *Routes) InUse() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, l := range r.lanes {
		if time.Since(l.last) < recent {
			names = append(names, l.Name())
		}
	}
	return strings.Join(names, " + ")
}

// Stores reports whether any route keeps packs where they can be asked for later.
func (r *Routes) Stores() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.lanes, func(l *lane) bool { return l.Kept == KeptStored && l.refused == nil })
}

// broadcast wakes every waiting Put. r.mu is held.
func (r *Routes) broadcast() {
	close(r.wake)
	r.wake = make(chan struct{})
}

// only limits what a pack may take.
type only func(*lane) bool

func anyLane(*lane) bool       { return true }
func storingLane(l *lane) bool { return l.Kept == KeptStored }

// Put keeps a blob on one route and says where. It waits while no route is up. The
// error is ErrNoRoute with what the routes said, or the context's.
func (r *Routes) Put(ctx context.Context, name id.Blob, note, blob []byte) (Kept, error) {
	return r.put(ctx, anyLane, name, note, blob)
}

// PutStored is Put with routes of KeptStored only.
func (r *Routes) PutStored(ctx context.Context, name id.Blob, blob []byte) error {
	_, err := r.put(ctx, storingLane, name, nil, blob)
	return err
}

func (r *Routes) put(ctx context.Context, may only, name id.Blob, note, blob []byte) (Kept, error) {
	for {
		l, err := r.take(ctx, may)
		if err != nil {
			return 0, err
		}
		kept, ok := r.race(ctx, l, may, func(ctx context.Context, l *lane) error { return l.Put(ctx, name, note, blob) })
		if ok {
			return kept, nil
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
}

// take waits for a slot.
func (r *Routes) take(ctx context.Context, may only) (*lane, error) {
	t := new(turn)
	r.mu.Lock()
	r.queue = append(r.queue, t)
	defer func() {
		r.queue = slices.DeleteFunc(r.queue, func(x *turn) bool { return x == t })
		r.broadcast()
		r.mu.Unlock()
	}()
	for {
		var again time.Duration
		if r.queue[0] == t {
			if t.first.IsZero() {
				t.first = time.Now()
			}
			var l *lane
			var err error
			if l, again, err = r.pick(may, time.Since(t.first)); l != nil || err != nil {
				return l, err
			}
		}
		wake := r.wake
		r.mu.Unlock()
		err := sleep(ctx, again, wake)
		r.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
}

// sleep waits until wake is closed, d is over (if it is not 0) or ctx ends.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-wake:
	case <-over:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// pick takes a slot for the Put that has been the first in the queue for so long. Without one it says when to look
// again, 0 for when it is woken. r.mu is held.
func (r *Routes) pick(may only, waited time.Duration) (_ *lane, again time.Duration, err error) {
	now := time.Now()
	first, alive := true, false
	soon := func(d time.Duration) {
		if again == 0 || d < again {
			again = d
		}
	}
	for _, l := range r.lanes {
		if !may(l) {
			continue
		}
		if l.refused != nil {
			err = errors.Join(err, l.refused)
			continue
		}
		alive = true
		if d := l.rest.Sub(now); d > 0 {
			soon(d)
			continue
		}
		switch {
		case !first && waited < spillAfter:
			soon(spillAfter - waited)
		case l.free():
			l.busy++
			return l, 0, nil
		}
		first = false
	}
	if !alive && err != nil {
		return nil, 0, errors.Join(ErrNoRoute, err)
	}
	return nil, again, nil
}

func (l *lane) free() bool {
	if l.suspect {
		return l.busy == 0
	}
	return l.busy < l.Slots
}

// spare takes a slot on another route for a pack that hangs, if one idles while no pack waits.
func (r *Routes) spare(hangs *lane, may only) *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) > 0 {
		return nil
	}
	for _, l := range r.lanes {
		if l != hangs && may(l) && l.refused == nil && !l.suspect && !l.rest.After(time.Now()) && l.free() {
			l.busy++
			return l
		}
	}
	return nil
}

// attempt is a pack on one route.
type attempt struct {
	lane   *lane
	began  time.Time
	cancel context.CancelFunc
}

type finished struct {
	*attempt
	err error
}

// race puts a pack on the route that take gave, and on a second one if it hangs. It
// returns when nothing uses the pack's bytes any more.
func (r *Routes) race(ctx context.Context, l *lane, may only, put func(context.Context, *lane) error) (kept Kept, ok bool) {
	done := make(chan finished, 2)
	running := []*attempt{}
	start := func(l *lane) {
		actx, cancel := context.WithCancel(ctx)
		a := &attempt{lane: l, began: time.Now(), cancel: cancel}
		running = append(running, a)
		go func() { done <- finished{a, put(actx, l)} }()
	}
	start(l)
	hedge := time.NewTimer(r.patience(l))
	defer hedge.Stop()
	for len(running) > 0 {
		select {
		case f := <-done:
			f.cancel()
			running = slices.DeleteFunc(running, func(a *attempt) bool { return a == f.attempt })
			r.leave(ctx, f, ok)
			if f.err != nil || ok {
				continue
			}
			kept, ok = f.lane.Kept, true
			for _, a := range running {
				a.cancel()
			}
		case <-hedge.C:
			if len(running) == 1 && !ok {
				if other := r.spare(running[0].lane, may); other != nil {
					start(other)
					continue
				}
			}
			hedge.Reset(hedgeAfter)
		}
	}
	return kept, ok
}

// patience is how long a pack may take on a route before it counts as hanging.
func (r *Routes) patience(l *lane) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.pace == 0 {
		return hedgeNew
	}
	return max(hedgeAfter, 3*l.pace)
}

// leave gives an attempt's slot back and learns from it. late says that the pack had got
// through elsewhere.
func (r *Routes) leave(ctx context.Context, f finished, late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, took := f.lane, time.Since(f.began)
	l.busy--
	switch {
	case f.err == nil:
		l.failures, l.suspect, l.last = 0, false, time.Now()
		if l.pace == 0 {
			l.pace = took
		}
		l.pace += (took - l.pace) / 8
	case late:
		l.suspect, l.pace = true, max(l.pace, took)
	case ctx.Err() != nil:
	case l.final(f.err):
		l.refused = f.err
	default:
		l.failures++
		l.rest = time.Now().Add(rand.N(min(restCap, restBase<<min(l.failures, 16))))
	}
	r.broadcast()
}

func (l *lane) final(err error) bool {
	if l.Final != nil {
		return l.Final(err)
	}
	var e *wire.Error
	return errors.As(err, &e) && !e.Status.Retryable()
}
