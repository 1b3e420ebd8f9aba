package transfer

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/proto/id"
)

// cable is what packs pass over in a simulation: those on it share its rate.
type cable struct {
	turn   chan struct{} // held while a slice of a pack passes; a mutex would stop the bubble's clock
	slices int           // of a pack; 1: one pack after the other
}

func newCable(slices int) *cable { return &cable{make(chan struct{}, 1), slices} }

// carry takes so long for a pack if no other is on the cable.
func (c *cable) carry(ctx context.Context, pack time.Duration) error {
	for range c.slices {
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		over := time.NewTimer(pack / time.Duration(c.slices))
		select {
		case <-over.C:
		case <-ctx.Done():
		}
		<-c.turn
	}
	return nil
}

// way is a simulated route: a cable, which other ways may use too, and a round trip.
type way struct {
	Route
	cable *cable
	pack  atomic.Int64 // of the cable, in nanoseconds
	trip  time.Duration
	state atomic.Int32 // working, broken or stalled
	taken atomic.Int64
	begun atomic.Int64
}

const (
	working = iota
	broken
	stalled
)

func newWay(name string, kept Kept, c *cable, pack, trip time.Duration) *way {
	w := &way{cable: c, trip: trip}
	w.pack.Store(int64(pack))
	w.Route = Route{Name: func() string { return name }, Kept: kept, Slots: 4, Put: w.put}
	return w
}

func (w *way) put(ctx context.Context, _ id.Blob, _, _ []byte) error {
	w.begun.Add(1)
	if w.state.Load() == broken {
		return errLink
	}
	if err := w.cable.carry(ctx, time.Duration(w.pack.Load())); err != nil {
		return err
	}
	time.Sleep(w.trip)
	switch w.state.Load() {
	case broken:
		return errLink
	case stalled:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.taken.Add(1)
	return nil
}

// send puts n packs as an Uploader does: with ten streams, and saying how many are left. It returns how long it took.
func send(t *testing.T, r *Routes, n int) time.Duration {
	t.Helper()
	began := time.Now()
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var left atomic.Int64
	left.Store(int64(n))
	r.Expect(n)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range work {
				if _, err := r.Put(t.Context(), id.NewBlob(), nil, nil); err != nil {
					t.Error(err)
					return
				}
				r.Expect(int(left.Add(-1)))
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// blobAt is how long a pack of class L takes at so many Mbit/s.
func blobAt(mbit float64) time.Duration {
	return time.Duration(4.21e6 * 8 / (mbit * 1e6) * float64(time.Second))
}

// TestRoutesRates demands 0.95 of what two routes of their own carry together, whatever their rates and
// however few packs there are, as far as whole packs allow.
func TestRoutesRates(t *testing.T) {
	for _, x := range []struct {
		name           string
		direct, stored float64 // Mbit/s
		packs          int
		trip           time.Duration
	}{
		{"20 and 20", 20, 20, 200, 20 * time.Millisecond},
		{"40 and 10", 40, 10, 200, 20 * time.Millisecond},
		{"10 and 40", 10, 40, 200, 20 * time.Millisecond},
		{"100 and 1", 100, 1, 200, 20 * time.Millisecond},
		{"1 and 100", 1, 100, 200, 20 * time.Millisecond},
		{"100 and 30, far", 100, 30, 400, 300 * time.Millisecond},
		{"20 and 20, a long way", 20, 20, 600, 2500 * time.Millisecond},
		{"20 and 20, few", 20, 20, 18, 20 * time.Millisecond},
		{"40 and 10, few", 40, 10, 18, 20 * time.Millisecond},
		{"10 and 40, few", 10, 40, 18, 20 * time.Millisecond},
		{"100 and 1, few", 100, 1, 18, 20 * time.Millisecond},
		{"1 and 100, few", 1, 100, 18, 20 * time.Millisecond},
	} {
		for _, slices := range []int{4, 16} {
			t.Run(x.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					direct := newWay("direct", KeptDelivered, newCable(slices), blobAt(x.direct), x.trip)
					stored := newWay("stored", KeptStored, newCable(slices), blobAt(x.stored), x.trip)
					took := send(t, NewRoutes(&direct.Route, &stored.Route), x.packs)
					best := soonest(x.packs, blobAt(x.direct), blobAt(x.stored)) + x.trip
					part := best.Seconds() / took.Seconds()
					twice := direct.begun.Load() + stored.begun.Load() - int64(x.packs)
					t.Logf("%.3f of the ideal, %d direct, %d stored, %d begun twice", part, direct.taken.Load(), stored.taken.Load(), twice)
					if part < 0.95 {
						t.Errorf("took %v; %v is ideal", took, best)
					}
					if twice > max(1, int64(x.packs/50)) {
						t.Errorf("%d packs were put twice", twice)
					}
				})
			})
		}
	}
}

// soonest is the least time in which two routes carry n whole packs.
func soonest(n int, a, b time.Duration) time.Duration {
	best := time.Duration(n) * a
	for k := range n + 1 {
		best = min(best, max(time.Duration(n-k)*a, time.Duration(k)*b))
	}
	return best
}

// TestRoutesShare: where both routes share a cable, the second one gets no packs after it was found out, but for a few
// from time to time; and it costs nothing.
func TestRoutesShare(t *testing.T) {
	for _, slices := range []int{4, 16} {
		synctest.Test(t, func(t *testing.T) {
			c := newCable(slices)
			direct := newWay("direct", KeptDelivered, c, blobAt(100), 20*time.Millisecond)
			stored := newWay("stored", KeptStored, c, blobAt(100), 20*time.Millisecond)
			const packs = 2000
			took := send(t, NewRoutes(&direct.Route, &stored.Route), packs)
			part := (packs * blobAt(100)).Seconds() / took.Seconds()
			t.Logf("%.3f of the ideal, %d stored", part, stored.taken.Load())
			if part < 0.95 || stored.taken.Load() > packs/10 {
				t.Errorf("%.3f of the ideal, %d of %d packs over the second route", part, stored.taken.Load(), packs)
			}
		})
	}
}

// TestRoutesShareLate: the same where the second route was there first.
func TestRoutesShareLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCable(16)
		direct := newWay("direct", KeptDelivered, c, blobAt(20), 20*time.Millisecond)
		stored := newWay("stored", KeptStored, c, blobAt(20), 20*time.Millisecond)
		r := NewRoutes(&stored.Route)
		go func() {
			time.Sleep(30 * time.Second)
			r.Prefer(&direct.Route)
		}()
		const packs = 400
		took := send(t, r, packs)
		before := int64(30*time.Second/blobAt(20)) + 4
		t.Logf("%d stored, %d of them before, %v", stored.taken.Load(), before, took)
		if more := stored.taken.Load() - before; more > packs/8 {
			t.Errorf("%d of %d packs over the second route", more, packs)
		}
	})
}

// TestRoutesFastStore: a preferred route that is slow by itself beside one that was there first: both stay in use.
func TestRoutesFastStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct := newWay("relayed", KeptDelivered, newCable(16), blobAt(10), 20*time.Millisecond)
		stored := newWay("stored", KeptStored, newCable(16), blobAt(40), 20*time.Millisecond)
		r := NewRoutes(&stored.Route)
		go func() {
			time.Sleep(10 * time.Second)
			r.Prefer(&direct.Route)
		}()
		const packs = 400
		took := send(t, r, packs)
		ideal := 10*time.Second + time.Duration((packs-10/blobAt(40).Seconds())/(1/blobAt(40).Seconds()+1/blobAt(10).Seconds())*float64(time.Second))
		t.Logf("%.3f of the ideal", ideal.Seconds()/took.Seconds())
		if took > ideal*100/95 {
			t.Errorf("took %v; %v is ideal", took, ideal)
		}
	})
}

// TestRoutesNear: in one network the server's route is left alone unless the direct one stalls.
func TestRoutesNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCable(16)
		direct := newWay("local", KeptDelivered, c, blobAt(100), time.Millisecond)
		direct.Near = func() bool { return true }
		stored := newWay("stored", KeptStored, c, blobAt(100), 20*time.Millisecond)
		r := NewRoutes(&direct.Route, &stored.Route)
		send(t, r, 60)
		if n := stored.begun.Load(); n != 0 {
			t.Errorf("%d packs over the server", n)
		}
		direct.state.Store(stalled)
		if took := send(t, r, 60); took > 60*blobAt(100)+20*time.Second {
			t.Errorf("took %v with a route that stalls", took)
		}
	})
}

// TestRoutesDie: what was on a route that dies goes over the other, and the route is used again when it is back.
func TestRoutesDie(t *testing.T) {
	for _, how := range []int32{broken, stalled} {
		synctest.Test(t, func(t *testing.T) {
			direct := newWay("direct", KeptDelivered, newCable(16), blobAt(40), 20*time.Millisecond)
			stored := newWay("stored", KeptStored, newCable(16), blobAt(20), 20*time.Millisecond)
			r := NewRoutes(&direct.Route, &stored.Route)
			const away = 60 * time.Second
			go func() {
				time.Sleep(20 * time.Second)
				direct.state.Store(how)
				time.Sleep(away)
				direct.state.Store(working)
			}()
			const packs = 400
			took := send(t, r, packs)
			rate := func(mbit float64) float64 { return 1 / blobAt(mbit).Seconds() }
			ideal := (packs + away.Seconds()*rate(40)) / (rate(40) + rate(20))
			t.Logf("%.3f of the ideal", ideal/took.Seconds())
			if ideal < 0.9*took.Seconds() {
				t.Errorf("took %v; %.0f s would be ideal", took, ideal)
			}
		})
	}
}

// TestRoutesLie: a route that takes packs much faster than it can for a while, as a buffer on its way would, loses its share
// when that shows.
func TestRoutesLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct := newWay("direct", KeptDelivered, newCable(16), blobAt(1000), time.Millisecond)
		stored := newWay("stored", KeptStored, newCable(16), blobAt(20), 20*time.Millisecond)
		r := NewRoutes(&direct.Route, &stored.Route)
		send(t, r, 20)
		direct.pack.Store(int64(blobAt(0.5)))
		const packs = 60
		took := send(t, r, packs)
		ideal := soonest(packs, blobAt(0.5), blobAt(20))
		t.Logf("%.3f of the ideal, %v", ideal.Seconds()/took.Seconds(), took)
		if took > ideal*10/8 {
			t.Errorf("took %v; %v is ideal", took, ideal)
		}
	})
}

// TestRoutesOtherWay: a pack that is stuck on the relay does not hold up those that go directly once that works, nor the end.
func TestRoutesOtherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct := newWay("", KeptDelivered, newCable(16), blobAt(40), 20*time.Millisecond)
		var name atomic.Value
		name.Store("relayed")
		direct.Name = func() string { return name.Load().(string) }
		direct.state.Store(stalled)
		stored := newWay("stored", KeptStored, newCable(16), blobAt(20), 20*time.Millisecond)
		r := NewRoutes(&direct.Route, &stored.Route)
		const relayed = 2 * time.Second
		go func() {
			time.Sleep(relayed)
			direct.state.Store(working)
			name.Store("direct")
		}()
		const packs = 40
		took := send(t, r, packs)
		ideal := relayed + soonest(packs-int(relayed/blobAt(20)), blobAt(40), blobAt(20))
		t.Logf("%.3f of the ideal", ideal.Seconds()/took.Seconds())
		if took > ideal*10/9 {
			t.Errorf("took %v; %v is ideal", took, ideal)
		}
	})
}
