package fault

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/server"
	"github.com/decant-dev/decant/test/env/corpus"
)

// clock is the time of everybody in a world; a test may move it on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) skip(d time.Duration) { c.ahead.Add(int64(d)) }

// days is a world whose clock can be moved: a server and two engines in this process.
type days struct {
	clock
	dir    string
	src    string
	server *server.Server
	at     id.Server
	route  node.Route
	onSent func(wire int64) // called for each progress of the sender

	code chan string
}

// pausedBytes is how much is sent before the day passes, of pausedTotal.
const (
	pausedBytes = 2 << 20
	pausedTotal = 12 << 20 // in packs of class S
)

func newDays(t *testing.T, route node.Route) *days {
	t.Helper()
	d := &days{dir: t.TempDir(), route: route, code: make(chan string, 10)}
	d.src = filepath.Join(d.dir, "src")
	spec := corpus.Spec{Parts: []corpus.Part{{Dir: "d", Ext: ".bin", Count: 60, PerDir: 20, Min: pausedTotal / 60, Max: pausedTotal / 60, Fill: corpus.Random}}}
	if _, err := corpus.Generate(d.src, spec, 6); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.server, err = server.New(server.Config{Dir: filepath.Join(d.dir, "server"), Caller: link.PeerFrom, Watermark: 1 << 20, Now: d.now}); err != nil {
		t.Fatal(err)
	}
	l, err := link.Listen(link.Config{Device: key.NewDevice(), Handler: d.server.Handler(), Listen: "127.0.0.1:0", FastOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	d.at = l.Server()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		l.Shutdown(ctx)
		if err := d.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// night lets a day pass.
func (d *days) night(t *testing.T) {
	t.Helper()
	d.skip(24 * time.Hour)
	if err := d.server.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func (d *days) device(t *testing.T, name string, events func(item.Event)) *node.Node {
	t.Helper()
	n, err := node.Open(node.Config{StateDir: filepath.Join(d.dir, name), Server: d.at, Carrier: node.CarrierFast, Route: d.route, Loopback: true,
		Streams: 2, Now: d.now, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run has both devices at work until both are through or ctx ends, and then closes them.
func (d *days) run(ctx context.Context, t *testing.T) (sent *node.SendResult, sendErr, receiveErr error) {
	old := d.device(t, "old", func(e item.Event) {
		if e.Progress != nil && d.onSent != nil {
			d.onSent(e.Progress.WireBytes)
		}
	})
	young := d.device(t, "new", nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { sendErr = errors.Join(sendErr, old.Close()) }()
		sent, sendErr = old.Send(ctx, node.SendOptions{Paths: []string{d.src}, AskCode: func(ctx context.Context, attempt int) (string, error) {
			if attempt > 0 {
				return "", errors.New("the code is said to be wrong")
			}
			select {
			case c := <-d.code:
				return c, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}})
	})
	wg.Go(func() {
		defer func() { receiveErr = errors.Join(receiveErr, young.Close()) }()
		shown := ""
		_, receiveErr = young.Receive(ctx, node.ReceiveOptions{To: filepath.Join(d.dir, "to"),
			ShowCode: func(c, _ string, _ int) {
				if c != shown {
					shown = c
					d.code <- c
				}
			},
			Confirm: func(context.Context, *node.Preview) (node.Choice, error) { return node.Choice{Apply: true}, nil }})
	})
	wg.Wait()
	return sent, sendErr, receiveErr
}

// whole demands that both are through, and that no more was read or sent than there is, but for what was under way in the pause.
func (d *days) whole(t *testing.T, sent []*node.SendResult, sendErr, receiveErr error) {
	t.Helper()
	if sendErr != nil || receiveErr != nil {
		t.Fatalf("send: %v; receive: %v", sendErr, receiveErr)
	}
	last := sent[len(sent)-1]
	if last.Receipt == nil || !last.Receipt.SafeWipe {
		t.Errorf("the sender has no receipt: %+v", last)
	}
	if err := corpus.Compare(d.src, filepath.Join(d.dir, "to", "src")); err != nil {
		t.Error(err)
	}
	var wire, read int64
	for _, r := range sent {
		wire, read = wire+r.WireBytes, read+r.Read
	}
	t.Logf("%d bytes read, %d sent in %d runs", read, wire, len(sent))
	const underWay = 12 * blobSize // streams of two routes, and readers
	if read > pausedTotal+underWay {
		t.Errorf("%d bytes were read of %d", read, int64(pausedTotal))
	}
	if most := int64(pausedTotal*17/16 + underWay); wire > most {
		t.Errorf("%d bytes were sent of %d", wire, int64(pausedTotal))
	}
}

// TestR13DayAway ends both devices in the middle of a transfer and lets them go on a day later.
func TestR13DayAway(t *testing.T) {
	for name, route := range map[string]node.Route{"stored": node.RouteStored, "several routes": node.RouteAuto, "direct": node.RouteDirect} {
		t.Run(name, func(t *testing.T) {
			d := newDays(t, route)
			ctx, away := context.WithTimeout(t.Context(), patience)
			defer away()
			d.onSent = func(wire int64) {
				if wire >= pausedBytes {
					away()
				}
			}
			first, sendErr, _ := d.run(ctx, t)
			if sendErr == nil {
				t.Fatal("everything was sent before anything happened")
			}
			if first == nil {
				first = &node.SendResult{}
			}
			for range 3 {
				d.night(t)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			d.onSent = nil
			second, sendErr, receiveErr := d.run(ctx, t)
			d.whole(t, []*node.SendResult{first, second}, sendErr, receiveErr)
		})
	}
}

// TestR13DayAsleep lets a day pass in the middle of a transfer, as a machine finds when it wakes: its processes and connections are
// still there.
func TestR13DayAsleep(t *testing.T) {
	for name, route := range map[string]node.Route{"stored": node.RouteStored, "several routes": node.RouteAuto, "direct": node.RouteDirect} {
		t.Run(name, func(t *testing.T) {
			d := newDays(t, route)
			var once sync.Once
			d.onSent = func(wire int64) {
				if wire >= pausedBytes {
					once.Do(func() { d.night(t) })
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			sent, sendErr, receiveErr := d.run(ctx, t)
			d.whole(t, []*node.SendResult{sent}, sendErr, receiveErr)
		})
	}
}
