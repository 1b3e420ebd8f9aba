package transfer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/proto/id"
)

// TestRoutesUnlike: where the packs in flight do not share a route alike, but one gets through after the other, and a faster route comes
// later or at once, whole packs still end nearly as soon as they can.
func TestRoutesUnlike(t *testing.T) {
	var sum float64
	n := 0
	for _, slices := range [][2]int{{16, 1}, {1, 1}, {4, 1}} {
		for _, late := range []time.Duration{0, 500 * time.Millisecond, 1400 * time.Millisecond, 2200 * time.Millisecond} {
			for packs := 16; packs <= 24; packs++ {
				synctest.Test(t, func(t *testing.T) {
					direct := newWay("direct", KeptDelivered, newCable(slices[0]), blobAt(40), time.Millisecond)
					stored := newWay("stored", KeptStored, newCable(slices[1]), blobAt(10), time.Millisecond)
					r := NewRoutes(&stored.Route)
					if late > 0 {
						if _, err := r.Put(t.Context(), id.NewBlob(), nil, nil); err != nil { // the catalog
							t.Fatal(err)
						}
					}
					if late == 0 {
						r.Prefer(&direct.Route)
					} else {
						go func() {
							time.Sleep(late)
							r.Prefer(&direct.Route)
						}()
					}
					took := send(t, r, packs)
					synctest.Wait()
					best := soonest(packs, blobAt(40), blobAt(10)) + late*4/5
					part := best.Seconds() / took.Seconds()
					sum += part
					n++
					if part < 0.8 {
						t.Errorf("late by %v, %d packs: %.3f of the ideal", late, packs, part)
					}
				})
			}
		}
	}
	t.Logf("%.3f of the ideal in the mean of %d", sum/float64(n), n)
	if sum < 0.98*float64(n) {
		t.Errorf("%.3f of the ideal in the mean of %d", sum/float64(n), n)
	}
}
