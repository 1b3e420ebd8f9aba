package impair

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	window  = 4 << 20  // bytes of a connection that may be under way in one direction
	largest = 64 << 10 // bytes read at once
	minRTO  = 200 * time.Millisecond
	maxHold = time.Minute // that a loss may hold up what is behind it
)

// stream is one direction of a TCP connection over a line.
type stream struct {
	line      *Line
	roundTrip func() time.Duration
	pieces    chan piece // in order, closed at the end

	// Of take alone.
	free    time.Time // when loss lets the next piece leave
	last    time.Time // when the last piece arrives
	unacked []unacked // what fills the window
	flown   int       // bytes in unacked
}

type piece struct {
	bytes []byte
	due   time.Time
}

// unacked is a piece of which its sender does not know yet that it has arrived.
type unacked struct {
	bytes int
	until time.Time
}

func newStream(line *Line, roundTrip func() time.Duration) *stream {
	return &stream{line: line, roundTrip: roundTrip, pieces: make(chan piece, 256)}
}

// carry copies src to dst until its end. It calls fail at the first error; fail ends ctx, and with it reads and writes.
func (s *stream) carry(ctx context.Context, fail func(), dst io.Writer, src io.Reader) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if s.take(ctx, src) != nil {
			fail()
		}
	})
	wg.Go(func() {
		if s.give(ctx, dst) != nil {
			fail()
		}
	})
	wg.Wait()
}

// take reads src to its end, as fast as the line carries it away.
func (s *stream) take(ctx context.Context, src io.Reader) error {
	defer close(s.pieces)
	buf := make([]byte, largest)
	for {
		if !s.wait(ctx) || !s.room(ctx) {
			return ctx.Err()
		}
		n, err := src.Read(buf[:s.size()])
		if n > 0 {
			p := piece{bytes: append([]byte(nil), buf[:n]...)}
			var left time.Time
			p.due, left = s.schedule(p.bytes)
			select {
			case s.pieces <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
			pause(ctx, time.Until(left))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// give writes each piece when it is due.
func (s *stream) give(ctx context.Context, dst io.Writer) error {
	for p := range s.pieces {
		if !pause(ctx, time.Until(p.due)) || !s.wait(ctx) {
			return ctx.Err()
		}
		if _, err := dst.Write(p.bytes); err != nil {
			return err
		}
	}
	return nil
}

// wait returns when the line is not cut, or false when ctx ends.
func (s *stream) wait(ctx context.Context) bool {
	select {
	case <-s.line.passable():
		return true
	case <-ctx.Done():
		return false
	}
}

// room waits until the window has room for another piece, or reports false when ctx ends.
func (s *stream) room(ctx context.Context) bool {
	for len(s.unacked) > 0 {
		first := s.unacked[0]
		if s.flown+largest <= window && time.Now().Before(first.until) {
			return true
		}
		if !pause(ctx, time.Until(first.until)) {
			return false
		}
		s.unacked = s.unacked[1:]
		s.flown -= first.bytes
	}
	return true
}

// size is how much to read at once: 20 ms' worth of what the line carries.
func (s *stream) size() int {
	p := s.line.Profile()
	n := float64(largest)
	if p.Rate > 0 {
		n = min(n, float64(p.Rate)/50)
	}
	if p.Loss > 0 {
		n = min(n, Mathis(s.roundTrip(), p.Loss)/50)
	}
	return int(max(n, segment))
}

// schedule says when bytes arrive that are sent now, and when they have left. It flips bits in them.
func (s *stream) schedule(b []byte) (due, left time.Time) {
	rtt := s.roundTrip()
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.profile
	l.stats.Bytes += int64(len(b))
	left = l.leave(p, len(b))
	if p.Loss > 0 {
		if now := time.Now(); s.free.Before(now) {
			s.free = now
		}
		s.free = s.free.Add(time.Duration(float64(len(b)) / Mathis(rtt, p.Loss) * float64(time.Second)))
		if s.free.After(left) {
			left = s.free
		}
	}
	due = left.Add(p.Delay + l.hold(p, len(b), rtt))
	if p.Jitter > 0 {
		due = due.Add(time.Duration(l.dice.Int64N(int64(p.Jitter))))
	}
	if due.Before(s.last) {
		due = s.last
	}
	s.last = due
	s.flown += len(b)
	s.unacked = append(s.unacked, unacked{len(b), due.Add(rtt - p.Delay)})
	for i := 0; i < len(b); i += segment {
		if l.chance(p.Corrupt) {
			b[i+l.dice.IntN(min(segment, len(b)-i))] ^= 1 << l.dice.IntN(8)
		}
	}
	return due, left
}

// hold is how long lost segments among n bytes hold them up: a round trip where enough
// follows to notice the gap, a retransmission timeout where not and for each time that a
// retransmission is lost too.
func (l *Line) hold(p Profile, n int, rtt time.Duration) (longest time.Duration) {
	timeout := max(minRTO, 2*rtt)
	for i := 0; i < n; i += segment {
		if !l.chance(p.Loss) {
			continue
		}
		hold := rtt
		if n <= 3*segment {
			hold = timeout
		}
		for again := 2 * timeout; hold < maxHold && l.chance(p.Loss); again *= 2 {
			hold += again
		}
		longest = max(longest, hold)
	}
	return min(longest, maxHold)
}

// connect is how long a connection takes to be set up: a round trip, and a second, two,
// four … for each lost opening.
func (l *Link) connect() time.Duration {
	d := l.roundTrip()
	l.Up.mu.Lock()
	defer l.Up.mu.Unlock()
	for again := time.Second; d < maxHold && l.Up.chance(l.Up.profile.Loss); again *= 2 {
		d += again
	}
	return d
}
