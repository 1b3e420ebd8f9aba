package transfer

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/decant-dev/decant/proto/wire"
)

// lane is a route with what is known about it. What it measures is how much of the route's time a
// pack takes when all packs in flight share the route alike: that is the inverse of its rate, with the round trips and
// the writing at the other end in it, however many are in flight.
type lane struct {
	Route
	running  []*attempt // packs in flight
	way      string     // the route's name; another one is another way
	changed  time.Time  // when it became that
	failures int        // in a row
	rest     time.Time
	suspect  bool      // it hung: one pack at a time until one gets through
	refused  error     // why it was given up
	last     time.Time // a pack got through
	since    time.Time // it has been busy without a pause since then

	worked  time.Duration   // of the route's time, what each pack in flight has had: 1/busy of all time
	passed  time.Duration   // worked, when the last pack got through
	company time.Duration   // time in which another lane was busy as well
	needs   gauge           // of the route's time, for one pack
	alone   gauge           // the same, of packs beside which no other lane had any
	beside  gauge           // the same, of packs beside which another lane always had some
	at      [maxSlots]gauge // the same, of packs with so many in flight less one
	trial   trial
	shared  bool // with a lane before it, which takes packs
}

// maxSlots is up to how many packs in flight are told apart.
const maxSlots = 8

// attempt is a pack on one route.
type attempt struct {
	lane    *lane
	way     string
	began   time.Time
	worked  time.Duration // the lane's, at that time
	lent    time.Duration // of its time, what packs that were through before it turned out to have had
	company time.Duration
	cancel  func()
}

// gauge remembers the last few samples.
type gauge struct {
	last [5]time.Duration
	n    int
}

func (g *gauge) add(d time.Duration) {
	g.last[g.n%len(g.last)] = d
	g.n++
}

func (g *gauge) reset() { g.n = 0 }

// median is 0 if there is no sample. It is the lower one of two: of a first pack that waited for a person and the
// next that did not, the next one tells.
func (g *gauge) median() time.Duration {
	n := min(g.n, len(g.last))
	if n == 0 {
		return 0
	}
	s := g.last
	slices.Sort(s[:n])
	return max(s[(n-1)/2], 1)
}

// rate is in packs a second, 0 if it is not known: of the mean, without the extremes where there are enough.
func (g *gauge) rate() float64 {
	n := min(g.n, len(g.last))
	if n == 0 {
		return 0
	}
	s := g.last
	slices.Sort(s[:n])
	middle := s[:n]
	if n > 3 {
		middle = s[1 : n-1]
	}
	var sum time.Duration
	for _, d := range middle {
		sum += d
	}
	return rateOf(sum / time.Duration(len(middle)))
}

func rateOf(d time.Duration) float64 {
	if d == 0 {
		return 0
	}
	return 1 / d.Seconds()
}

const (
	// stallAfter is how long a lane with packs in flight may let none through.
	stallAfter = 3 * time.Second
	// unlike is how much longer than expected anything may take before it counts as hanging.
	unlike = 3
	// fair is the part of its time for which a pack must have been alone, or in company, to tell how that is.
	fair = 10
)

// need is how much of the route's time one pack takes, 0 if nobody knows. Where the packs in flight share the route unequally, the lucky ones
// are through first; that the others have had their time and are not through yet counts as well.
func (l *lane) need() time.Duration {
	n := min(l.needs.n, len(l.needs.last))
	if n == 0 {
		return 0
	}
	var had time.Duration
	for _, d := range l.needs.last[:n] {
		had += d
	}
	for _, a := range l.running {
		if !a.stale() {
			n++
			had += a.had()
		}
	}
	return max(l.needs.median(), had/time.Duration(n))
}

// load is how many seconds of the route the packs in flight still need, as far as that is known.
func (l *lane) load() (d float64) {
	need := l.need()
	for _, a := range l.running {
		if a.stale() {
			continue
		}
		d += max(need-a.had(), need/8).Seconds()
	}
	return d
}

// finish is how long one more pack would take, guess being what a pack needs where that is not known yet.
func (l *lane) finish(guess time.Duration) time.Duration {
	if need := l.need(); need > 0 {
		return need + time.Duration(l.load()*float64(time.Second))
	}
	return guess * time.Duration(l.busy()+1)
}

// had is the part of its route's time that a pack on its way has had.
func (a *attempt) had() time.Duration { return a.lane.worked - a.worked - a.lent }

// settle makes up for a route's time that was not shared alike: what a pack that got through had more than its share, it had from those
// that are still on their way. It returns what the pack had, as far as that shows.
func (l *lane) settle(a *attempt) time.Duration {
	had, usual := a.had(), l.needs.median()
	var others []*attempt
	for _, b := range l.running {
		if !b.stale() && b.had() > 0 {
			others = append(others, b)
		}
	}
	for i, b := range others {
		if part := min((usual-had)/time.Duration(len(others)-i), b.had()); part > 0 {
			b.lent += part
			had += part
		}
	}
	return had
}

// remaining is how long a pack on its way will take from now on. The longer one takes than it should, the longer
// it will take yet; one of which nothing is known takes as long again.
func (a *attempt) remaining(now time.Time) time.Duration {
	l := a.lane
	need, had := l.need(), a.had()
	switch {
	case need == 0:
		return now.Sub(a.began)
	case had < need:
		return (need - had) * time.Duration(l.busy())
	}
	return (need/8 + 2*(had-need)) * time.Duration(l.busy())
}

// stale reports whether the route goes another way since the pack was put: what is under way ends on the old one, which may be a
// relay, or gone.
func (a *attempt) stale() bool { return a.way != a.lane.way }

// hangs reports whether a pack takes so long that it may never get through: nothing gets through where it is, or all but it,
// and again and again.
func (a *attempt) hangs(now time.Time) bool {
	l, need, so := a.lane, a.lane.needs.median(), now.Sub(a.began)
	if a.stale() {
		so = now.Sub(l.changed)
	}
	switch {
	case l.doubted():
		return so >= hedgeAfter
	case need == 0:
		return so >= hedgeNew
	case a.stale():
		return so >= max(hedgeAfter, unlike*need)
	}
	stuck := l.worked - max(a.worked, l.passed)
	return so >= hedgeAfter && (stuck >= unlike*need || l.worked-a.worked >= unlike*unlike*need)
}

// stalls is when the lane, if nothing gets through, will have let nothing through for too long. It is busy.
func (l *lane) stalls() time.Time {
	from := l.since
	if l.last.After(from) {
		from = l.last
	}
	return from.Add(max(stallAfter, unlike*l.needs.median()*time.Duration(l.busy())))
}

func (l *lane) doubted() bool { return l.Doubted != nil && l.Doubted() }

// shares reports whether both lead through the same server.
func (l *lane) shares(o *lane) bool {
	if l == o || l.Via == nil || o.Via == nil {
		return false
	}
	via := l.Via()
	return via != "" && via == o.Via()
}

// takes reports whether the lane is to be given packs, however long those take that it has.
func (l *lane) takes(now time.Time) bool {
	return l.refused == nil && !l.rest.After(now) && !l.doubted()
}

// up reports whether the lane takes packs and lets them through, as far as anybody knows.
func (l *lane) up(now time.Time) bool {
	return l.takes(now) && !l.suspect && (l.busy() == 0 || now.Before(l.stalls()))
}

// free reports whether there is a slot. Where there are other lanes to use, one whose rate is not known or that is tried again
// gets one pack at a time, and others no more than fill them: several would share a slow one unequally, and the
// last would be late.
func (l *lane) free(others bool) bool {
	switch {
	case l.suspect || others && (l.need() == 0 || l.trial.again()):
		return l.busy() == 0
	case others:
		return l.busy() < l.window()
	}
	return l.busy() < l.Slots
}

// window is how many packs in flight fill the lane: the least number of which one more made no pack cheaper, as far as that was tried.
func (l *lane) window() int {
	for n := 2; n < min(l.Slots, maxSlots); n++ {
		few, more := &l.at[n-1], &l.at[n]
		if few.n < trialPacks {
			return n
		}
		if more.n >= trialPacks && more.rate() < 1.1*few.rate() {
			return n
		}
	}
	return l.Slots
}

// enter puts a pack on the lane. r.mu is held, and r.tick was called.
func (l *lane) enter(now time.Time) *attempt {
	if l.busy() == 0 {
		l.since = now
	}
	a := &attempt{lane: l, way: l.way, began: now, worked: l.worked, company: l.company}
	l.running = append(l.running, a)
	return a
}

// busy is the number of packs in flight, without those that are on an old way.
func (l *lane) busy() (n int) {
	for _, a := range l.running {
		if !a.stale() {
			n++
		}
	}
	return n
}

// look notices that the route goes another way. What was measured was of the old one.
func (l *lane) look(now time.Time) {
	if name := l.Name(); name != l.way {
		l.way, l.changed, l.trial, l.suspect = name, now, trial{}, false
		l.needs.reset()
		l.alone.reset()
		l.beside.reset()
		l.at = [maxSlots]gauge{}
	}
}

func (l *lane) leave(a *attempt) {
	l.running = slices.DeleteFunc(l.running, func(x *attempt) bool { return x == a })
}

// learn takes in what a pack that got through says.
func (l *lane) learn(now time.Time, a *attempt) {
	l.failures, l.suspect, l.last, l.passed = 0, false, now, l.worked
	if a.stale() {
		return
	}
	sample := l.worked - a.worked
	l.needs.add(l.settle(a))
	took, company := now.Sub(a.began), l.company-a.company
	if n := int(math.Round(float64(took) / float64(max(sample, 1)))); n >= 1 && n <= maxSlots {
		l.at[n-1].add(sample)
	}
	switch {
	case company <= took/fair:
		l.alone.add(sample)
	case company >= took-took/fair:
		l.beside.add(sample)
	}
}

// final reports whether an error can't go away by itself.
func (l *lane) final(err error) bool {
	if l.Final != nil {
		return l.Final(err)
	}
	var e *wire.Error
	return errors.As(err, &e) && !e.Status.Retryable()
}
