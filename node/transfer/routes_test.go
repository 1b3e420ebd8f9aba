package transfer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// pipe is a route of a given rate: packs on it share the rate, as they share a link.
type pipe struct {
	Route
	perPack time.Duration // of the link for one pack
	link    chan struct{} // held by the pack on it; a mutex would stop the bubble's clock
	packs   atomic.Int64
	down    atomic.Bool
	hangs   atomic.Bool
	fails   error
}

var errLink = errors.New("the link broke")

func newPipe(name string, kept Kept, perPack time.Duration) *pipe {
	p := &pipe{perPack: perPack, link: make(chan struct{}, 1)}
	p.Route = Route{Name: func() string { return name }, Kept: kept, Slots: 4, Put: p.put}
	return p
}

func (p *pipe) put(ctx context.Context, _ id.Blob, _, _ []byte) error {
	switch {
	case p.fails != nil:
		return p.fails
	case p.hangs.Load():
		<-ctx.Done()
		return context.Cause(ctx)
	case p.down.Load():
		return errLink
	}
	p.link <- struct{}{}
	time.Sleep(p.perPack)
	<-p.link
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if p.down.Load() {
		return errLink
	}
	p.packs.Add(1)
	return nil
}

// pump puts n packs with eight streams and returns how long it took, and how many packs each Kept took.
func pump(t *testing.T, r *Routes, n int) (took time.Duration, kept map[Kept]int) {
	t.Helper()
	began := time.Now()
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var wg sync.WaitGroup
	var mu sync.Mutex
	kept = map[Kept]int{}
	for range 8 {
		wg.Go(func() {
			for range work {
				k, err := r.Put(t.Context(), id.NewBlob(), nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				kept[k]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return time.Since(began), kept
}

// TestRoutesTogether: two routes that are each slower than the sender carry what both can.
func TestRoutesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct := newPipe("local", KeptDelivered, 200*time.Millisecond)
		stored := newPipe("stored", KeptStored, 300*time.Millisecond)
		const packs = 300
		took, kept := pump(t, NewRoutes(&direct.Route, &stored.Route), packs)
		both := 1/direct.perPack.Seconds() + 1/stored.perPack.Seconds()
		if rate := packs / took.Seconds(); rate < 0.9*both {
			t.Errorf("%.2f packs a second over both, %.2f would be all", rate, both)
		}
		if kept[KeptDelivered]+kept[KeptStored] != packs {
			t.Errorf("kept %v of %d", kept, packs)
		}
	})
}

// TestRoutesPreferred: a route that takes packs as fast as they come gets all of them.
func TestRoutesPreferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct, stored := newPipe("local", KeptDelivered, 2*time.Millisecond), newPipe("stored", KeptStored, 2*time.Millisecond)
		r := NewRoutes(&stored.Route)
		remove := r.Prefer(&direct.Route)
		if _, kept := pump(t, r, 500); kept[KeptStored] != 0 {
			t.Errorf("%d packs took the second route", kept[KeptStored])
		}
		if got := r.InUse(); got != "local" {
			t.Errorf("in use: %q", got)
		}
		remove()
		if _, kept := pump(t, r, 5); kept[KeptStored] != 5 {
			t.Errorf("kept %v after the first route has gone", kept)
		}
	})
}

// TestRoutesFail: a route that breaks costs its packs a moment and nobody an error, and
// is used again once it works.
func TestRoutesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct, stored := newPipe("direct", KeptDelivered, 10*time.Millisecond), newPipe("stored", KeptStored, 100*time.Millisecond)
		r := NewRoutes(&direct.Route, &stored.Route)
		direct.down.Store(true)
		took, kept := pump(t, r, 20)
		if kept[KeptStored] != 20 || took > 5*time.Second {
			t.Errorf("kept %v in %v", kept, took)
		}
		direct.down.Store(false)
		time.Sleep(restCap)
		if _, kept := pump(t, r, 20); kept[KeptDelivered] != 20 {
			t.Errorf("kept %v after the route came back", kept)
		}
		direct.down.Store(true)
		stored.down.Store(true)
		go func() {
			time.Sleep(time.Hour)
			direct.down.Store(false)
			r.Kick()
		}()
		if took, _ := pump(t, r, 1); took < time.Hour || took > time.Hour+time.Second {
			t.Errorf("went on after %v", took)
		}
	})
}

// TestRoutesHang: packs on a route that stalls go over another that idles.
func TestRoutesHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct, stored := newPipe("direct", KeptDelivered, 10*time.Millisecond), newPipe("stored", KeptStored, 10*time.Millisecond)
		r := NewRoutes(&direct.Route, &stored.Route)
		pump(t, r, 10)
		direct.hangs.Store(true)
		if took, kept := pump(t, r, 40); kept[KeptStored] != 40 || took > 20*time.Second {
			t.Errorf("kept %v in %v", kept, took)
		}
	})
}

// TestRoutesRefuse: a route that refuses for good is given up, and the last one's refusal is the caller's.
// TestR14Doubted: packs on a route that is in doubt are soon put on another as well, though nothing is known of how long they
// take, and though the other one was found to add nothing; new packs take the other one at once.
func TestR14Doubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct, stored := newPipe("direct", KeptDelivered, 100*time.Millisecond), newPipe("stored", KeptStored, 100*time.Millisecond)
		var doubted atomic.Bool
		direct.Doubted = doubted.Load
		direct.Near = func() bool { return true } // the stored route is shut
		r := NewRoutes(&direct.Route, &stored.Route)
		direct.hangs.Store(true)
		time.AfterFunc(time.Second, func() { doubted.Store(true) })
		took, kept := pump(t, r, 8)
		if kept[KeptStored] != 8 || took > 4*time.Second {
			t.Errorf("%v in %v", kept, took)
		}
	})
}

func TestRoutesRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct, stored := newPipe("direct", KeptDelivered, time.Millisecond), newPipe("stored", KeptStored, time.Millisecond)
		direct.fails = wire.Fail(wire.Forbidden, "put")
		r := NewRoutes(&direct.Route, &stored.Route)
		if _, kept := pump(t, r, 5); kept[KeptStored] != 5 {
			t.Errorf("kept %v", kept)
		}
		if _, err := r.PutStored(t.Context(), id.NewBlob(), nil); err != nil {
			t.Error(err)
		}
		stored.fails = wire.Fail(wire.QuotaCount, "put")
		_, err := r.Put(t.Context(), id.NewBlob(), nil, nil)
		if !errors.Is(err, ErrNoRoute) || wire.StatusOf(err) == wire.OK {
			t.Errorf("error %v", err)
		}
		if r.Stores() {
			t.Error("a route that refuses counts as a store")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := NewRoutes().Put(ctx, id.NewBlob(), nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("no route at all, cancelled: %v", err)
		}
	})
}
