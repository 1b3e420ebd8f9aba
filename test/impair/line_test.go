package impair

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// arrival is a packet as it came out of a line, n the number that stands at its beginning.
type arrival struct {
	n     int
	after time.Duration
	bytes []byte
}

// send sends count packets of size bytes, a gap apart, and returns what has arrived once nothing moves any more.
// It runs inside a bubble, where time is exact.
func send(t *testing.T, l *Line, count, size int, gap time.Duration) (got []arrival) {
	t.Helper()
	began := time.Now()
	for i := range count {
		b := make([]byte, size)
		binary.BigEndian.PutUint32(b, uint32(i))
		l.Send(b, func(b []byte) {
			got = append(got, arrival{int(binary.BigEndian.Uint32(b)), time.Since(began), slices.Clone(b)})
		})
		time.Sleep(gap)
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	return got
}

func TestDelayAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := send(t, NewLine(1, Profile{Delay: 300 * time.Millisecond}), 100, 100, time.Millisecond)
		if len(got) != 100 {
			t.Fatalf("%d packets of 100 arrived", len(got))
		}
		for i, a := range got {
			if want := 300*time.Millisecond + time.Duration(i)*time.Millisecond; a.n != i || a.after != want {
				t.Fatalf("packet %d arrived as number %d after %v, want %v", a.n, i, a.after, want)
			}
		}
	})
}

func TestJitterKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jitter = 40 * time.Millisecond
		got := send(t, NewLine(1, Profile{Delay: 20 * time.Millisecond, Jitter: jitter}), 1000, 100, 50*time.Millisecond)
		var sum time.Duration
		for i, a := range got {
			late := a.after - time.Duration(i)*50*time.Millisecond - 20*time.Millisecond
			if a.n != i || late < 0 || late > jitter {
				t.Fatalf("packet %d arrived as number %d, %v late", a.n, i, late)
			}
			sum += late
		}
		if mean := sum / 1000; mean < 15*time.Millisecond || mean > 25*time.Millisecond {
			t.Errorf("the mean jitter is %v, want about half of %v", mean, jitter)
		}
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := send(t, NewLine(1, Profile{Rate: 100_000, Queue: 1 << 20}), 500, 1000, 0)
		if len(got) != 500 || got[499].after != 5*time.Second {
			t.Errorf("%d of 500 packets arrived, the last after %v: want 5 s for 500 kB at 100 kB/s", len(got), got[len(got)-1].after)
		}
	})
}

func TestFullQueueDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLine(1, Profile{Rate: 100_000, Queue: 20_000})
		got := send(t, l, 100, 1000, 0)
		if n := len(got); n != 20 {
			t.Errorf("%d packets of 1,000 bytes fit into a queue of 20,000", n)
		}
		if s := l.Stats(); s.Dropped != 80 || s.Lost != 0 || s.Packets != 100 || s.Bytes != 100_000 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestChances sends many packets and compares what came out with what was asked for, within five standard deviations.
func TestChances(t *testing.T) {
	const count = 20_000
	for name, c := range map[string]struct {
		profile Profile
		measure func(got []arrival) int
	}{
		"loss":      {Profile{Loss: 0.05}, func(got []arrival) int { return count - len(got) }},
		"duplicate": {Profile{Duplicate: 0.05}, func(got []arrival) int { return len(got) - count }},
		"reorder": {Profile{Reorder: 0.05}, func(got []arrival) (late int) {
			highest := -1
			for _, a := range got {
				if a.n < highest {
					late++
				}
				highest = max(highest, a.n)
			}
			return late
		}},
		"corrupt": {Profile{Corrupt: 0.05}, func(got []arrival) (flipped int) {
			for i, a := range got {
				want := binary.BigEndian.AppendUint32(nil, uint32(i))
				want = append(want, make([]byte, len(a.bytes)-len(want))...)
				if bits := hamming(a.bytes, want); bits == 1 {
					flipped++
				} else if bits > 1 {
					return -1
				}
			}
			return flipped
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const p = 0.05
				n := c.measure(send(t, NewLine(7, c.profile), count, 64, time.Millisecond))
				if off := math.Abs(float64(n) - count*p); off > 5*math.Sqrt(count*p*(1-p)) {
					t.Errorf("%d of %d packets, want about %v", n, count, count*p)
				}
			})
		})
	}
}

func hamming(a, b []byte) (bits int) {
	for i := range a {
		for x := a[i] ^ b[i]; x != 0; x &= x - 1 {
			bits++
		}
	}
	return bits
}

func TestSeedDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Profile{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1}
		numbers := func(seed uint64) (out []int) {
			for _, a := range send(t, NewLine(seed, p), 200, 10, 0) {
				out = append(out, a.n)
			}
			return out
		}
		if first := numbers(3); !slices.Equal(first, numbers(3)) || slices.Equal(first, numbers(4)) {
			t.Error("the same seed must give the same fate, and another one another")
		}
	})
}

func TestCutAndRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLine(1, Profile{Delay: time.Second})
		var got []byte
		deliver := func(b []byte) { got = append(got, b...) }
		l.Send([]byte("a"), deliver)
		time.Sleep(2 * time.Second)
		l.Send([]byte("b"), deliver) // under way when the line is cut
		l.Cut()
		l.Cut()
		l.Send([]byte("c"), deliver)
		time.Sleep(time.Minute)
		l.Restore()
		l.Restore()
		l.Send([]byte("d"), deliver)
		time.Sleep(time.Minute)
		synctest.Wait()
		if string(got) != "ad" || l.Stats().Dropped != 2 {
			t.Errorf("%q arrived, %d dropped", got, l.Stats().Dropped)
		}
	})
}

// TestSetWhileRunning makes a slow line fast: what waits no longer holds up what is sent then.
func TestSetWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLine(1, Profile{Rate: 1000, Queue: 1 << 20, Delay: time.Second})
		began := time.Now()
		var slow, fast time.Duration
		l.Send(make([]byte, 10_000), func([]byte) { slow = time.Since(began) })
		l.Set(Profile{})
		if l.Profile() != (Profile{}) {
			t.Error("Profile does not say what Set was given")
		}
		l.Send(nil, func([]byte) { fast = time.Since(began) })
		time.Sleep(time.Hour)
		synctest.Wait()
		if slow != 11*time.Second || fast != slow {
			t.Errorf("the slow packet arrived after %v, the fast one after %v: want 11 s, and none overtakes", slow, fast)
		}
	})
}

func TestFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Both(1, Profile{})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		arrived := 0
		go func() {
			for range 20 * 60 {
				l.Up.Send(nil, func([]byte) { arrived++ })
				time.Sleep(time.Second)
			}
		}()
		outages := l.Flap(ctx, 5, Span{10 * time.Second, time.Minute}, Span{2 * time.Second, 30 * time.Second})
		time.Sleep(time.Minute)
		synctest.Wait()
		// A cycle takes 51 s in the mean, and the link is up for 35 of them.
		if outages < 15 || outages > 40 {
			t.Errorf("%d outages within 20 minutes", outages)
		}
		if arrived < 500 || arrived > 1100 {
			t.Errorf("%d packets of 1,200 arrived", arrived)
		}
		l.Up.Send(nil, func([]byte) { arrived = -1 })
		time.Sleep(time.Second)
		synctest.Wait()
		if arrived != -1 {
			t.Error("the link was not left restored")
		}
	})
}
