package transfer

import "time"

// trial is what is known of whether a lane adds anything to the one before it.
type trial struct {
	shut   time.Time     // it gets no pack before then while the one before it takes them
	pause  time.Duration // the last one
	both   float64       // packs a second of the two together before that; 0 if not measured
	judged time.Time     // until when it is believed to help, which was found out
	opened time.Time     // since when it may be tried
	closed time.Time     // when it was last shut
}

const (
	// probeAfter is the first pause of a lane that adds nothing, if finding that out did not take long; each next one is twice as
	// long, up to probeCap.
	probeAfter = 30 * time.Second
	probeCap   = 10 * time.Minute
	// trialPacks is how many packs tell a rate, with what another lane does to it.
	trialPacks = 3
	// judgeAfter is how long two lanes are used together before one pauses to see what the other does alone.
	judgeAfter = 20 * time.Second
	// judgeAgain is the same for a lane that was found to help, or pausePart times what finding that out took, if that is longer.
	judgeAgain = 2 * time.Minute
	// pausePart is the part of the time, and of what is left, that such a pause may cost.
	pausePart = 50
)

// again reports whether the lane had added nothing the last time, and is not known to help now.
func (t *trial) again() bool { return t.pause > 0 && t.judged.IsZero() }

func (t *trial) shutAt(now time.Time) bool { return t.shut.After(now) }

// close ends the use of a lane for a while, because it adds nothing or to find out whether it does.
func (t *trial) close(now time.Time, both float64) {
	pause := max(2*t.pause, probeAfter)
	if t.judged.IsZero() {
		pause = max(pause, 5*now.Sub(t.opened))
	}
	t.pause, t.judged = min(pause, probeCap), time.Time{}
	t.shut, t.both, t.opened, t.closed = now.Add(t.pause), both, now.Add(t.pause), now
}

// helps notes that the lane adds something, which it took a pause to find out.
func (t *trial) helps(now time.Time, pause time.Duration) {
	*t = trial{judged: now.Add(max(judgeAgain, pausePart*pause)), opened: now}
}

// judge finds out whether l adds anything to first, the lane before it: over a link that
// they share, what one gains the other loses. It then gets no packs for a while. left is how many packs are still to be put.
func (l *lane) judge(now time.Time, first *lane, left int) {
	t := &l.trial
	alone, a, b := first.alone.rate(), first.beside.rate(), l.beside.rate()
	switch {
	case t.shutAt(now):
		if t.both > 0 && first.alone.n >= trialPacks && alone < 0.9*t.both {
			t.helps(now, now.Sub(t.closed))
		}
		return
	case first.beside.n < trialPacks || l.beside.n < trialPacks:
		return
	case t.judged.After(now):
		return
	case t.judged.IsZero() && first.alone.n >= trialPacks:
		if gain, loss := b, alone-a; loss < gain*2/3 && gain > alone/50 {
			t.helps(now, 0)
			return
		}
	case t.judged.IsZero() && l.alone.n >= trialPacks:
		if a+b > 1.1*l.alone.rate() {
			t.helps(now, 0)
			return
		}
	case now.Sub(t.opened) < judgeAfter || float64(left) < pausePart*2*trialPacks*b/a:
		return
	}
	t.close(now, a+b)
	first.alone.reset()
	first.beside.reset()
	l.beside.reset()
}
