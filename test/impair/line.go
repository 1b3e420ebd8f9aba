package impair

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

// Line is one direction of a link. Its methods may be called from any goroutine.
type Line struct {
	mu      sync.Mutex // guards what follows
	profile Profile
	dice    *rand.Rand
	free    time.Time     // when everything that waits for the rate has left
	last    time.Time     // when the last packet arrives that keeps its place
	open    chan struct{} // closed while the line is not cut
	flying  flight
	flown   int64 // bytes of packets in flying
	sent    uint64
	waiting bool          // a goroutine runs arrive
	sooner  chan struct{} // tells it that another packet is the first
	stats   Stats
}

// Stats counts what became of the packets that a line was given. A packet that arrives
// twice is sent once. Of TCP connections through a proxy, Bytes alone is counted.
type Stats struct {
	Packets    int64
	Bytes      int64 // of all packets sent, lost ones too
	Lost       int64 // by chance
	Dropped    int64 // the queue was full, or the line was cut
	Duplicated int64
	Reordered  int64
	Corrupted  int64
}

// NewLine makes a line whose chances follow from the seed.
func NewLine(seed uint64, p Profile) *Line {
	open := make(chan struct{})
	close(open)
	return &Line{profile: p, dice: rand.New(rand.NewPCG(seed, 0x1195)), open: open, sooner: make(chan struct{}, 1)}
}

// Set changes what happens to packets that are sent from now on.
func (l *Line) Set(p Profile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.profile = p
	if now := time.Now(); l.free.After(now) { // what waits under a slow rate does not hold up a faster one
		l.free = now
	}
}

// Profile returns what Set or NewLine was given.
func (l *Line) Profile() Profile {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.profile
}

// Stats returns the counts so far.
func (l *Line) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Cut makes the line a black hole: what is under way on it and what is sent is lost, and
// TCP connections through a proxy stand still.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut() {
		return
	}
	l.open = make(chan struct{})
	l.stats.Dropped += int64(len(l.flying))
	l.flying, l.flown = nil, 0
	l.free, l.last = time.Time{}, time.Time{}
}

// Restore ends what Cut began. TCP connections go on where they stood.
func (l *Line) Restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut() {
		close(l.open)
	}
}

func (l *Line) isCut() bool {
	select {
	case <-l.open:
		return false
	default:
		return true
	}
}

// passable returns a channel that is closed while the line is not cut.
func (l *Line) passable() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Send takes a copy of the packet and calls deliver when it arrives, perhaps twice or
// never. Calls of deliver come one at a time, in the order of arrival. It must neither
// change the bytes nor keep them.
func (l *Line) Send(packet []byte, deliver func([]byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Packets++
	l.stats.Bytes += int64(len(packet))
	p := l.profile
	switch {
	case l.isCut(), !l.hasRoom(p, len(packet)):
		l.stats.Dropped++
		return
	case l.chance(p.Loss): // on its way: it has taken its share of the rate
		l.leave(p, len(packet))
		l.stats.Lost++
		return
	}
	b := append([]byte(nil), packet...)
	if l.chance(p.Corrupt) && len(b) > 0 {
		l.stats.Corrupted++
		b[l.dice.IntN(len(b))] ^= 1 << l.dice.IntN(8)
	}
	due := l.due(p, l.leave(p, len(b)))
	l.fly(b, due, deliver)
	if l.chance(p.Duplicate) {
		l.stats.Duplicated++
		l.fly(b, due, deliver)
	}
}

func (l *Line) chance(p float64) bool { return p > 0 && l.dice.Float64() < p }

// hasRoom says whether n bytes more may wait.
func (l *Line) hasRoom(p Profile, n int) bool {
	if p.Rate <= 0 {
		return l.flown+int64(n) <= maxFlight
	}
	waiting := time.Until(l.free).Seconds() * float64(p.Rate)
	return waiting <= 0 || int64(waiting)+int64(n) <= p.queue()
}

// leave takes n bytes' share of the rate and returns when the last of them has left.
func (l *Line) leave(p Profile, n int) time.Time {
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(p.span(n))
	return l.free
}

// due is when a packet arrives that has left.
func (l *Line) due(p Profile, left time.Time) time.Time {
	at := left.Add(p.Delay)
	if p.Jitter > 0 {
		at = at.Add(time.Duration(l.dice.Int64N(int64(p.Jitter))))
	}
	if at.Before(l.last) {
		at = l.last
	}
	if l.chance(p.Reorder) {
		l.stats.Reordered++
		return at.Add(reorderLag)
	}
	l.last = at
	return at
}

func (l *Line) fly(b []byte, due time.Time, deliver func([]byte)) {
	l.sent++
	l.flown += int64(len(b))
	heap.Push(&l.flying, flyer{b, due, l.sent, deliver})
	if !l.waiting {
		l.waiting = true
		go l.arrive()
	} else if l.flying[0].sent == l.sent {
		select {
		case l.sooner <- struct{}{}:
		default:
		}
	}
}

// arrive delivers each packet when it is due, until none is under way.
func (l *Line) arrive() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, wait, more := l.first()
		switch {
		case !more:
			return
		case wait <= 0:
			next.deliver(next.bytes)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-l.sooner:
		}
	}
}

// first takes the first packet off the line if it is due, or says how long to wait for it; more is false if there is none.
func (l *Line) first() (next flyer, wait time.Duration, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flying) == 0 {
		l.waiting = false
		return flyer{}, 0, false
	}
	if wait := time.Until(l.flying[0].due); wait > 0 {
		return flyer{}, wait, true
	}
	next = heap.Pop(&l.flying).(flyer)
	l.flown -= int64(len(next.bytes))
	return next, 0, true
}

// flyer is a packet under way.
type flyer struct {
	bytes   []byte
	due     time.Time
	sent    uint64 // number, so that those that are due together keep their order
	deliver func([]byte)
}

// flight implements heap.Interface: the first to arrive comes first.
type flight []flyer

func (f flight) Len() int      { return len(f) }
func (f flight) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f flight) Less(i, j int) bool {
	if f[i].due.Equal(f[j].due) {
		return f[i].sent < f[j].sent
	}
	return f[i].due.Before(f[j].due)
}
func (f *flight) Push(x any) { *f = append(*f, x.(flyer)) }
func (f *flight) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = flyer{}
	*f = old[:len(old)-1]
	return last
}
