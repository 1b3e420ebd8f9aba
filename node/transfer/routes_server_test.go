package transfer

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// through makes two simulated ways lead through one server, the first as long as relayed says so.
func through(first, second *way, relayed *atomic.Bool) {
	first.Via = func() string {
		if relayed.Load() {
			return "server"
		}
		return ""
	}
	first.Name = func() string {
		if relayed.Load() {
			return "relayed"
		}
		return "direct"
	}
	second.Via = func() string { return "server" }
}

// TestRoutesOneServer: a relay and a store at the same server are one route, however slow the link to it: no pack is put twice, and
// what the store gets is little, whether the relay was there first or came later.
func TestRoutesOneServer(t *testing.T) {
	for _, x := range []struct {
		name  string
		mbit  float64
		packs int
		late  time.Duration // until there is a relay
	}{
		{"slow", 0.25, 8, 0},
		{"slow, relay late", 0.25, 8, 2 * time.Second},
		{"medium, few", 5, 12, 0},
		{"medium", 5, 300, 0},
		{"medium, relay late", 5, 300, 10 * time.Second},
		{"fast", 100, 2000, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCable(16)
				relay := newWay("relayed", KeptDelivered, c, blobAt(x.mbit), 100*time.Millisecond)
				stored := newWay("stored", KeptStored, c, blobAt(x.mbit), 100*time.Millisecond)
				var relayed atomic.Bool
				relayed.Store(true)
				through(relay, stored, &relayed)
				r := NewRoutes(&stored.Route)
				if x.late == 0 {
					r = NewRoutes(&relay.Route, &stored.Route)
				} else {
					go func() {
						time.Sleep(x.late)
						r.Prefer(&relay.Route)
					}()
				}
				took := send(t, r, x.packs)
				synctest.Wait()
				part := (time.Duration(x.packs) * blobAt(x.mbit)).Seconds() / took.Seconds()
				before := int64(x.late/blobAt(x.mbit)) + 4 // in flight when the relay came
				t.Logf("%.3f of the ideal, %d stored", part, stored.begun.Load())
				if n := relay.begun.Load() + stored.begun.Load(); n != int64(x.packs) {
					t.Errorf("%d packs were put %d times", x.packs, n)
				}
				if n := stored.begun.Load() - before; n > int64(x.packs/10) {
					t.Errorf("%d of %d packs over the store", n, x.packs)
				}
				if part < 0.95 {
					t.Errorf("took %v, %.3f of the ideal", took, part)
				}
			})
		})
	}
}

// TestRoutesOneServerHelps: where the relay carries less than the link, as over one connection on a link that loses packets, that
// the store adds something is found out.
func TestRoutesOneServerHelps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newWay("relayed", KeptDelivered, newCable(16), blobAt(5), 100*time.Millisecond)
		stored := newWay("stored", KeptStored, newCable(16), blobAt(20), 100*time.Millisecond)
		var relayed atomic.Bool
		relayed.Store(true)
		through(relay, stored, &relayed)
		const packs = 400
		took := send(t, NewRoutes(&relay.Route, &stored.Route), packs)
		both := time.Duration(float64(packs) / (1/blobAt(5).Seconds() + 1/blobAt(20).Seconds()) * float64(time.Second))
		t.Logf("%v, both together %v, %d stored", took, both, stored.taken.Load())
		if most := 3*probeAfter + both*11/10; took > most {
			t.Errorf("took %v, want at most %v", took, most)
		}
	})
}

// TestRoutesOneServerDirect: once the other device is reached directly, the store is a route of its own at once; and when the relay
// is in doubt, packs go to the store.
func TestRoutesOneServerDirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newWay("", KeptDelivered, newCable(16), blobAt(20), 20*time.Millisecond)
		stored := newWay("stored", KeptStored, newCable(16), blobAt(20), 20*time.Millisecond)
		var relayed, doubted atomic.Bool
		relayed.Store(true)
		through(first, stored, &relayed)
		first.Doubted = doubted.Load
		r := NewRoutes(&first.Route, &stored.Route)
		send(t, r, 20)
		if n := stored.begun.Load(); n != 0 {
			t.Errorf("%d packs over the store while there was a relay", n)
		}
		doubted.Store(true)
		send(t, r, 20)
		if n := stored.taken.Load(); n < 10 {
			t.Errorf("%d packs over the store while the relay was in doubt", n)
		}
		doubted.Store(false)
		relayed.Store(false)
		before := stored.taken.Load()
		const packs = 100
		took := send(t, r, packs)
		if ideal := packs / 2 * blobAt(20); took > ideal*100/90 || stored.taken.Load()-before < packs/4 {
			t.Errorf("took %v, %v is ideal; %d packs over the store", took, ideal, stored.taken.Load()-before)
		}
	})
}
