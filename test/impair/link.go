package impair

import (
	"context"
	"math/rand/v2"
	"time"
)

// Link is both directions of a connection between two places: Up leads away from the side
// that dials, or from the first of two namespaces.
type Link struct {
	Up, Down *Line
}

// NewLink makes a link whose chances follow from the seed.
func NewLink(seed uint64, up, down Profile) *Link {
	return &Link{Up: NewLine(2*seed, up), Down: NewLine(2*seed+1, down)}
}

// Both makes a link with the same profile in both directions.
func Both(seed uint64, p Profile) *Link { return NewLink(seed, p, p) }

// Cut cuts both lines.
func (l *Link) Cut() {
	l.Up.Cut()
	l.Down.Cut()
}

// Restore restores both lines.
func (l *Link) Restore() {
	l.Up.Restore()
	l.Down.Restore()
}

// roundTrip is the time there and back, without waiting in queues and with half of the jitter.
func (l *Link) roundTrip() time.Duration {
	up, down := l.Up.Profile(), l.Down.Profile()
	return max(up.Delay+down.Delay+(up.Jitter+down.Jitter)/2, time.Millisecond)
}

// Span is a range of durations.
type Span struct {
	Min, Max time.Duration
}

func (s Span) draw(r *rand.Rand) time.Duration {
	return s.Min + time.Duration(r.Int64N(int64(s.Max-s.Min)+1))
}

// Flap cuts the link again and again until ctx ends: it is up for some time within
// up, down for some time within down. It leaves the link restored and returns how often it
// was cut.
func (l *Link) Flap(ctx context.Context, seed uint64, up, down Span) (outages int) {
	r := rand.New(rand.NewPCG(seed, 0xf1a9))
	defer l.Restore()
	for {
		l.Restore()
		if !pause(ctx, up.draw(r)) {
			return outages
		}
		outages++
		l.Cut()
		if !pause(ctx, down.draw(r)) {
			return outages
		}
	}
}

// pause waits, and reports whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
