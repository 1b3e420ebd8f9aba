package fault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/test/env/corpus"
)

// pulled is a stick that is pulled out while a device is at it.
type pulled struct {
	t    *testing.T
	dir  string
	done bool
}

// out pulls the stick out, once: its directory stays, empty, as that of a medium does that is not mounted.
func (p *pulled) out() {
	if p.done {
		return
	}
	p.done = true
	if err := errors.Join(os.Rename(p.dir, p.dir+" in a pocket"), os.Mkdir(p.dir, 0o755)); err != nil {
		p.t.Error(err)
	}
}

func (p *pulled) in() {
	p.t.Helper()
	if err := errors.Join(os.Remove(p.dir), os.Rename(p.dir+" in a pocket", p.dir)); err != nil {
		p.t.Fatal(err)
	}
}

// TestR21PulledOut pulls the stick out while the old device writes to it, and again while the new device reads from it, with a server
// beside it that has a part: each run says what has happened, the next one goes on, and nothing is fetched twice.
func TestR21PulledOut(t *testing.T) {
	d := newDays(t, node.RouteStored)
	stick := filepath.Join(d.dir, "stick")
	if err := os.Mkdir(stick, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()

	begun, cut := context.WithCancel(ctx)
	words := ""
	old := func(ctx context.Context, at int64, then func(), opts node.SendOptions) (*node.SendResult, error) {
		n := d.device(t, "old", func(e item.Event) {
			if e.Progress != nil && then != nil && e.Progress.WireBytes >= at {
				then()
			}
		})
		defer n.Close()
		opts.Paths, opts.ShowTicket = []string{d.src}, func(w, _ string) { words = w }
		return n.Send(ctx, opts)
	}
	if _, err := old(begun, pausedBytes, cut, node.SendOptions{Ticket: true}); err == nil {
		t.Fatal("everything was sent before anything happened")
	}

	var got int64
	young := func(ctx context.Context, then func(item.Event), folder string) (*node.ReceiveResult, error) {
		n := d.device(t, "new", then)
		defer n.Close()
		res, err := n.Receive(ctx, node.ReceiveOptions{To: filepath.Join(d.dir, "to"), Folder: folder,
			AskTicket: func(context.Context) (string, error) { return words, nil },
			Confirm:   func(context.Context, *node.Preview) (node.Choice, error) { return node.Choice{Apply: true}, nil }})
		if res != nil {
			got += res.WireBytes
		}
		return res, err
	}
	adopted, stop := context.WithCancel(ctx)
	_, err := young(adopted, func(e item.Event) {
		if e.Stage == item.StageReceiving {
			stop()
		}
	}, "")
	if err == nil || ctx.Err() != nil {
		t.Fatalf("the receiver is through before anything happened: %v", err)
	}

	p := &pulled{t: t, dir: stick}
	if _, err := old(ctx, pausedBytes, p.out, node.SendOptions{Folder: stick}); !errors.Is(err, node.ErrFolder) {
		t.Fatalf("the stick is pulled out: %v", err)
	}
	p.in()
	sent, err := old(ctx, 0, nil, node.SendOptions{Folder: stick})
	if err != nil || sent.Elsewhere == 0 {
		t.Fatalf("the stick is back: %+v, %v", sent, err)
	}

	p = &pulled{t: t, dir: stick}
	_, err = young(ctx, func(e item.Event) {
		if e.Progress != nil && e.Stage == item.StageReceiving && e.Progress.WireBytes >= pausedBytes {
			p.out()
		}
	}, stick)
	if !errors.Is(err, node.ErrFolder) {
		t.Fatalf("the stick is pulled out: %v", err)
	}
	p.in()
	res, err := young(ctx, nil, stick)
	if err != nil || res.Receipt == nil {
		t.Fatalf("the stick is back: %v", err)
	}
	if err := corpus.Compare(d.src, filepath.Join(d.dir, "to", "src")); err != nil {
		t.Error(err)
	}
	t.Logf("%d bytes fetched of %d", got, int64(pausedTotal))
	if most := int64(pausedTotal*17/16 + 12*blobSize); got > most {
		t.Errorf("%d bytes were fetched of %d", got, int64(pausedTotal))
	}
	n := d.device(t, "old", nil)
	defer n.Close()
	r, err := n.Receipt(ctx, sent.Session)
	if err != nil || r == nil || !r.SafeWipe {
		t.Errorf("receipt: %+v, %v", r, err)
	}
}
