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
)

// Kept says where a pack is durable.
type Kept byte

const (
	// KeptStored: in a store that the other device can ask at any time, the server or a folder.
	KeptStored Kept = 1
	// KeptDelivered: at the other device itself, opened or in its spool.
	KeptDelivered Kept = 2
	// KeptCached: in a cache, which brings it to the server (SPEC 7.9). Until it is there, what can be relied on is the word of a stranger.
	KeptCached Kept = 3
	// KeptFolder: in a folder that completes what was begun with a server or the other device itself.
	KeptFolder Kept = 4
)

// stored reports whether packs kept so can be fetched by name: some time, if not yet.
func (k Kept) stored() bool { return k == KeptStored || k == KeptCached }

// Route is one way for packs. Its functions are called by several goroutines at once.
type Route struct {
	// Name is what a person is told: "local", "direct", "relayed", "stored", "folder". It may change.
	Name func() string
	// Put keeps a blob; it is durable there when nil is returned. note says to a device which pack it is (AppendNote); a
	// store does not need it. The bytes are not retained.
	Put   func(ctx context.Context, name id.Blob, note, blob []byte) error
	Kept  Kept
	Slots int // packs in flight at once
	// Near says that both devices are in one network, so that whatever else leaves or reaches either of them takes from this
	// route: others are not tried beside it in the first probeAfter. nil: no.
	Near func() bool
	// Via names what the route leads through, if others may too: the server that relays for one keeps what the other puts. Routes
	// that share it share the link to it, so they are one as far as that carries: see Routes. It may change; nil or "": nothing that is known.
	Via func() string
	// Doubted says that packs may not get through now, so that others are used even if they are not to be tried beside it. nil: no.
	Doubted func() bool
	// Final says that an error can't go away by itself, so that the route is given up. nil: statuses that are not retryable.
	Final func(error) bool
}

// Routes puts packs over whatever routes are up, several at once where one alone can't
// take them as fast as they come.
//
// Routes stand in the order of preference: what went to the other device itself need not be
// fetched again. A pack takes the first route that has a free slot. It turns to
// a later one after waiting for spillAfter, which it only does where the network is the
// bottleneck, and unless that one was found to add nothing because it shares the bottleneck (trial). No route takes a pack that all
// others together would be through with sooner, by what was measured of them: near the end of a transfer
// nothing waits for a slow one.
//
// Of routes that lead through the same server the preferred one takes the packs. What another adds to it is found out by
// trial, once the rate of the first is known: on a link that loses packets more connections carry more.
//
// A pack is in flight on one route, but for two cases. One that hangs is put on a second route too if that idles,
// and so is, when no others are left to be put, one that the second route would be through with much sooner. The first to finish
// counts. On two that lead through the same server a pack never is: where one is slow for the link's sake the other is too, and
// one that is dead ends what is on it by itself. A route that fails rests with jittered backoff, and its pack goes to another at once.
//
// Safe for concurrent use; routes may come and go while packs are in flight.
type Routes struct {
	mu     sync.Mutex // guards the rest, every lane, every turn and every attempt
	lanes  []*lane
	queue  []*turn       // Puts without a slot, the oldest first
	wake   chan struct{} // closed and replaced when a slot may have become free
	ticked time.Time     // up to when the lanes' times are counted
	left   int           // packs still to be put, those in flight too, as far as was said
}

// turn is a Put that waits for a slot. Only the first in the queue may take one, so that
// how long it has been first says how long the preferred routes have had none.
type turn struct {
	first time.Time // since when it is the first, zero before
}

const (
	// spillAfter is longer than packs wait for one another on a loopback or a gigabit link that is not full.
	spillAfter = 50 * time.Millisecond
	// hedgeAfter is the shortest time after which a pack may hang.
	hedgeAfter = 500 * time.Millisecond
	// hedgeNew is the same on a route that no pack has come through yet: it may just be slow.
	hedgeNew = 10 * time.Second
	// hedgeGain is the least time that must be won by putting the last packs a second time.
	hedgeGain = 100 * time.Millisecond
	// doubtEvery is how often a route is asked whether it is in doubt while another one waits for that.
	doubtEvery = 250 * time.Millisecond
	restBase   = 250 * time.Millisecond
	restCap    = 15 * time.Second
	// recent is how long a route counts as in use after its last pack, if its packs don't take longer.
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
		l.rest, l.failures, l.trial = time.Time{}, 0, trial{}
		l.alone.reset()
		l.beside.reset()
	}
	r.broadcast()
}

// InUse names the routes that packs took lately, joined by " + "; empty if none.
func (r *Routes) InUse() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, l := range r.lanes {
		if time.Since(l.last) < max(recent, l.need()*time.Duration(l.busy()+1)) && !l.last.IsZero() {
			names = append(names, l.Name())
		}
	}
	return strings.Join(names, " + ")
}

// Stores reports whether any route keeps packs where they can be asked for later.
func (r *Routes) Stores() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.lanes, func(l *lane) bool { return l.Kept.stored() && l.refused == nil })
}

// Expect says how many packs are still to be put, those in flight too. Without it nothing is expected but
// what waits already.
func (r *Routes) Expect(packs int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = packs
}

// broadcast wakes every waiting Put. r.mu is held.
func (r *Routes) broadcast() {
	close(r.wake)
	r.wake = make(chan struct{})
}

// only limits what a pack may take.
type only func(*lane) bool

func anyLane(*lane) bool       { return true }
func storingLane(l *lane) bool { return l.Kept.stored() }

// Put keeps a blob on one route and says where. It waits while no route is up. The
// error is ErrNoRoute with what the routes said, or the context's.
func (r *Routes) Put(ctx context.Context, name id.Blob, note, blob []byte) (Kept, error) {
	return r.put(ctx, anyLane, name, note, blob)
}

// PutStored is Put with routes of KeptStored and KeptCached only.
func (r *Routes) PutStored(ctx context.Context, name id.Blob, blob []byte) (Kept, error) {
	return r.put(ctx, storingLane, name, nil, blob)
}

func (r *Routes) put(ctx context.Context, may only, name id.Blob, note, blob []byte) (Kept, error) {
	for {
		a, err := r.take(ctx, may)
		if err != nil {
			return 0, err
		}
		kept, ok := r.race(ctx, a, may, func(ctx context.Context, l *lane) error { return l.Put(ctx, name, note, blob) })
		if ok {
			return kept, nil
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
}

// take waits for a slot.
func (r *Routes) take(ctx context.Context, may only) (*attempt, error) {
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
			now := r.tick()
			if l, again, err = r.pick(now, may, now.Sub(t.first)); err != nil {
				return nil, err
			}
			if l != nil {
				return l.enter(now), nil
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

// tick counts the time since the last one.
func (r *Routes) tick() time.Time {
	now := time.Now()
	passed, busy := now.Sub(r.ticked), 0
	r.ticked = now
	for _, l := range r.lanes {
		l.look(now)
		busy += min(l.busy(), 1)
	}
	for _, l := range r.lanes {
		if l.busy() == 0 {
			continue
		}
		l.worked += passed / time.Duration(l.busy())
		if busy > 1 {
			l.company += passed
		}
	}
	return now
}

// pick finds the lane for the Put that has been the first in the queue for so long. Without one it says when to look
// again, 0 for when it is woken. r.mu is held.
func (r *Routes) pick(now time.Time, may only, waited time.Duration) (_ *lane, again time.Duration, err error) {
	soon := func(d time.Duration) {
		if d > 0 && (again == 0 || d < again) {
			again = d
		}
	}
	alive := false
	var first *lane // the preferred one of those that are up
	usable := make([]*lane, 0, len(r.lanes))
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
		if r.held(now, l, may) {
			soon(l.trial.shut.Sub(now))
			soon(doubtEvery)
			continue
		}
		if first != nil {
			if r.shut(now, first, l) {
				soon(l.trial.shut.Sub(now))
				soon(first.stalls().Sub(now))
				if first.Doubted != nil {
					soon(doubtEvery)
				}
				continue
			}
		} else if l.up(now) {
			first = l
		}
		usable = append(usable, l)
	}
	if !alive && err != nil {
		return nil, 0, errors.Join(ErrNoRoute, err)
	}
	for _, l := range usable {
		switch {
		case first != nil && l != first && waited < spillAfter:
			soon(spillAfter - waited)
		case l.free(len(usable) > 1) && r.pays(now, l, usable):
			return l, 0, nil
		}
	}
	for _, l := range usable { // one that stalls is not waited for
		if l.busy() > 0 {
			soon(l.stalls().Sub(now))
		}
	}
	return nil, again, nil
}

// shut reports whether a later lane is not to be used beside the first.
func (r *Routes) shut(now time.Time, first, l *lane) bool {
	t := &l.trial
	if t.opened.IsZero() {
		t.opened = now
		if first.Near != nil && first.Near() {
			t.close(now, 0)
		}
	}
	return t.shutAt(now)
}

// held reports whether l is left alone because a lane before it leads through the same server: until it is known what that one
// carries by itself, and while it is not tried whether l adds anything. r.mu is held.
func (r *Routes) held(now time.Time, l *lane, may only) bool {
	i := slices.IndexFunc(r.lanes, func(x *lane) bool { return x == l || x.shares(l) && x.takes(now) })
	shared := i >= 0 && r.lanes[i] != l
	if shared != l.shared {
		l.shared, l.trial = shared, trial{}
		if shared {
			l.trial.opened = now
			l.trial.close(now, 0)
		}
	}
	return shared && may(r.lanes[i]) && (l.trial.shutAt(now) || r.lanes[i].alone.n < trialPacks && l.beside.n == 0)
}

// pays reports whether a lane would be through with one more pack before the others together would be with it and everything
// else that is left.
func (r *Routes) pays(now time.Time, l *lane, usable []*lane) bool {
	var rate, packs float64
	var least, soonest time.Duration
	busy := 0
	for _, x := range usable {
		busy += x.busy()
		need := x.need()
		if need == 0 {
			packs += float64(x.busy())
			continue
		}
		if least == 0 || need < least {
			least = need
		}
		if x == l || !x.up(now) {
			continue
		}
		rate += rateOf(need)
		packs += x.load() / need.Seconds()
		if d := x.finish(0); soonest == 0 || d < soonest {
			soonest = d
		}
	}
	if rate == 0 {
		return true
	}
	packs += float64(max(r.left-busy, len(r.queue)))
	return l.finish(2*least) <= max(soonest, time.Duration(packs/rate*float64(time.Second)))
}

// spare puts a pack on another route as well, if it hangs, or if it is one of the last and would be through there much sooner.
func (r *Routes) spare(a *attempt, may only) *attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.tick()
	hangs := a.hangs(now)
	if !hangs && max(r.left, r.inFlight()+len(r.queue)) > r.inFlight() {
		return nil // there is more to come for those that idle
	}
	var best *lane
	for _, l := range r.lanes {
		if l == a.lane && !a.stale() || !may(l) || !l.up(now) || a.lane.shares(l) {
			continue
		}
		ok := l.needs.n > 0 && l.free(true) && !l.trial.shutAt(now) && a.remaining(now) > 2*l.finish(0)+hedgeGain
		if hangs {
			ok = l.busy() <= l.Slots // one more than there are: it has waited for long
		}
		if ok && (best == nil || l.finish(0) < best.finish(0)) {
			best = l
		}
	}
	if best == nil {
		return nil
	}
	a.lane.suspect = a.lane.suspect || hangs && !a.stale()
	return best.enter(now)
}

func (r *Routes) inFlight() (n int) {
	for _, l := range r.lanes {
		n += l.busy()
	}
	return n
}

type finished struct {
	*attempt
	err error
}

// race puts a pack on the route that take gave, and on a second one if spare finds one. It
// returns when nothing uses the pack's bytes any more.
func (r *Routes) race(ctx context.Context, a *attempt, may only, put func(context.Context, *lane) error) (kept Kept, ok bool) {
	done := make(chan finished, 2)
	var running []*attempt
	start := func(a *attempt) {
		actx, cancel := context.WithCancel(ctx)
		a.cancel = cancel
		running = append(running, a)
		go func() { done <- finished{a, put(actx, a.lane)} }()
	}
	start(a)
	look := time.NewTicker(lookAfter)
	defer look.Stop()
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
		case <-look.C:
			if len(running) == 1 && !ok {
				if other := r.spare(running[0], may); other != nil {
					start(other)
				}
			}
		}
	}
	return kept, ok
}

// lookAfter is how often a pack in flight is looked at.
const lookAfter = 100 * time.Millisecond

// leave gives an attempt's slot back and learns from it. late says that the pack had got
// through elsewhere.
func (r *Routes) leave(ctx context.Context, f finished, late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, l := r.tick(), f.lane
	l.leave(f.attempt)
	switch {
	case f.err == nil:
		l.learn(now, f.attempt)
		if !late {
			r.left = max(r.left-1, 0)
		}
		r.judge(now)
	case late:
		switch had, need := l.worked-f.worked, l.needs.median(); {
		case f.stale():
		case need == 0:
			l.needs.add(had) // it takes at least so long
		case had > need:
			l.needs.add(min(had, 2*need)) // the same, but it may have been stuck
		}
	case ctx.Err() != nil:
	case l.final(f.err):
		l.refused = f.err
	default:
		l.failures++
		l.rest = now.Add(rand.N(min(restCap, restBase<<min(l.failures, 16))))
	}
	r.broadcast()
}

// judge looks at each lane behind the first.
func (r *Routes) judge(now time.Time) {
	var first *lane
	for _, l := range r.lanes {
		switch {
		case first != nil:
			l.judge(now, first, r.left)
		case l.up(now):
			first = l
		}
	}
}
