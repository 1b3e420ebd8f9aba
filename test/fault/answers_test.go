package fault

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// disturbed moves a collection in code mode between two engines over a server that treats requests and answers as before and
// after say, and compares what arrives.
func disturbed(t *testing.T, before func(*exchange) int, after func(*exchange)) *layer {
	t.Helper()
	s := &stored{layer: &layer{before: before, after: after}, dir: t.TempDir()}
	s.in = env.NewInside(t, filepath.Join(s.dir, "server"), s.layer.wrap, nil)
	s.src = source(t, s.dir)
	code := make(chan string, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var wg sync.WaitGroup
	var sendErr, receiveErr error
	var sent *node.SendResult
	wg.Go(func() {
		sent, sendErr = s.device(t, "old").Send(ctx, node.SendOptions{Paths: []string{s.src}, AskCode: func(ctx context.Context, attempt int) (string, error) {
			if attempt > 0 {
				return "", fmt.Errorf("the code is said to be wrong")
			}
			select {
			case c := <-code:
				return c, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}})
	})
	wg.Go(func() {
		shown := ""
		_, receiveErr = s.device(t, "new").Receive(ctx, node.ReceiveOptions{To: s.to(),
			ShowCode: func(c, _ string, _ int) {
				if c != shown {
					shown = c
					code <- c
				}
			},
			Confirm: func(context.Context, *node.Preview) (node.Choice, error) { return node.Choice{Apply: true}, nil }})
	})
	wg.Wait()
	if sendErr != nil || receiveErr != nil {
		t.Fatalf("send: %v; receive: %v", sendErr, receiveErr)
	}
	if sent.Receipt == nil || !sent.Receipt.SafeWipe {
		t.Errorf("the sender has no receipt: %+v", sent)
	}
	if err := corpus.Compare(s.src, filepath.Join(s.to(), "src")); err != nil {
		t.Error(err)
	}
	return s.layer
}

// TestR20LostAnswers executes every call and then loses its answer, the first two times that it is made.
func TestR20LostAnswers(t *testing.T) {
	lost := map[string]int{}
	l := disturbed(t, nil, func(x *exchange) {
		if lost[x.call] < 2 {
			lost[x.call]++
			x.lose = true
		}
	})
	t.Logf("lost %v of %v", lost, l.calls)
	for _, call := range []string{"Hello", "Allocate", "Open", "Commit", "Post", "Fetch", "PUT blob", "GET blob", "Finish"} {
		if lost[call] == 0 {
			t.Errorf("%s was never called: %v", call, slices.Sorted(maps.Keys(l.calls)))
		}
	}
}

// TestR20Repeated executes every request twice, or three times, as a network that repeats would.
func TestR20Repeated(t *testing.T) {
	n := 0
	disturbed(t, func(*exchange) int { n++; return 2 + n%2 }, nil)
}

// TestR20LostOnTheWire cuts connections in the middle of answers, at random, under whole processes.
func TestR20LostOnTheWire(t *testing.T) {
	const seed = 5 // replay with the same
	w := env.NewWorld(t, env.WorldOptions{Server: env.ServerOptions{Args: []string{"--fast-only"}}})
	src := source(t, w.Dir)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	lose := func(int64) bool {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(12) == 0
	}
	w.Proxy.Lose.Store(&lose)
	sent, received := w.ByCode(w.Path("to"), src)
	if err := corpus.Compare(src, w.Path("to", "src")); err != nil {
		t.Error(err)
	}
	if w.Proxy.Lost() == 0 || sent.Outcome().Receipt == nil || received.Outcome().Receipt == nil {
		t.Errorf("%d of %d answers were lost; receipts %v, %v", w.Proxy.Lost(), w.Proxy.Turns(), sent.Outcome().Receipt, received.Outcome().Receipt)
	}
}
