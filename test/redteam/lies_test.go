package redteam

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// TestE13FalseEndUnderWay ends a live session by a lie while both devices are at work on it: the old device waits for a receipt,
// the new one for content. Both say that the session is over; nothing is applied and nothing may be wiped, then or later.
func TestE13FalseEndUnderWay(t *testing.T) {
	for _, status := range []wire.Status{wire.Done, wire.Expired, wire.Revoked, wire.NotFound} {
		t.Run(status.String(), func(t *testing.T) {
			w := newWorld(t)
			src := w.collection()
			old := w.open("old")
			sent, ticket := w.sendTicket(old, src)
			young := w.open("new")
			if _, err := w.receiveTicket(young, ticket, "to", no); !errors.Is(err, node.ErrDeclined) {
				t.Fatal(err)
			}
			w.layer.tell(func(x *exchange) {
				if x.call != "Hello" {
					x.refuse(status)
				}
			})
			_, err := w.receiveTicket(young, ticket, "to", yes)
			w.wants(err, node.ErrSessionOver)
			r, err := old.Receipt(w.context(), sent.Session)
			w.wants(err, node.ErrSessionOver)
			if r != nil {
				t.Errorf("a receipt: %+v", r)
			}
			w.empty("to")
			w.notSafe(old)
			w.layer.tell(nil)
			if r, err := old.Receipt(w.context(), sent.Session); r != nil {
				t.Errorf("a receipt after all: %+v, %v", r, err)
			}
			w.notSafe(old)
		})
	}
}

// TestE13ForgedAck tells a new device that its receipt has arrived, in words that the old device never signed. It does not
// believe it, goes on posting, and believes the true one.
func TestE13ForgedAck(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	old := w.open("old")
	sent, ticket := w.sendTicket(old, src)
	young, forger := w.open("new"), key.NewDevice()
	for i, ack := range [][]byte{
		{1}, make([]byte, 112),
		grant.SignAck(forger, grant.Ack{Session: sent.Session}),
		grant.SignAck(forger, grant.Ack{Session: id.NewSession()}),
	} {
		w.layer.tell(func(x *exchange) {
			if x.call == "Fetch" {
				x.answer(&serverpb.FetchResponse{Ack: ack})
			}
		})
		opts := node.ReceiveOptions{To: w.path("to"), Confirm: yes, AskTicket: func(context.Context) (string, error) { return ticket, nil }}
		if i > 0 {
			opts = node.ReceiveOptions{Session: sent.Session, Confirm: yes}
		}
		got, err := young.Receive(w.context(), opts)
		w.wants(err, node.ErrInterferedWith, node.ErrServerMisbehave)
		if got != nil && got.Acked {
			t.Errorf("forged ack %d is believed", i)
		}
	}
	w.layer.tell(nil)
	if r, err := old.Receipt(w.context(), sent.Session); err != nil || r == nil || !r.SafeWipe {
		t.Fatalf("the true receipt: %+v, %v", r, err)
	}
	got, err := young.Receive(w.context(), node.ReceiveOptions{Session: sent.Session, Confirm: yes})
	if err != nil || !got.Acked {
		t.Errorf("the true ack: %+v, %v", got, err)
	}
	w.arrived(src, "to")
}

// TestE13FalseDoneWithoutAck says DONE to a new device that hands its receipt over, and shows no ack: that the old device knows
// is not claimed, and the receipt is posted again.
func TestE13FalseDoneWithoutAck(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	old := w.open("old")
	sent, ticket := w.sendTicket(old, src)
	young := w.open("new")
	w.layer.keep(func(x *exchange) <-chan struct{} {
		if x.call == "Post" || x.call == "Fetch" {
			x.refuse(wire.Done)
		}
		return nil
	})
	got, err := w.receiveTicket(young, ticket, "to", yes)
	w.must(err)
	if got.Acked {
		t.Error("the new device says that the old one knows")
	}
	w.layer.keep(nil)
	if r, err := old.Receipt(w.context(), sent.Session); r != nil || err != nil {
		t.Errorf("a receipt that nobody posted: %+v, %v", r, err)
	}
	w.notSafe(old)
	_, err = young.Receive(w.context(), node.ReceiveOptions{Session: sent.Session, Confirm: yes})
	w.must(err)
	if r, err := old.Receipt(w.context(), sent.Session); err != nil || r == nil || !r.SafeWipe {
		t.Errorf("the true receipt: %+v, %v", r, err)
	}
	w.arrived(src, "to")
}

// TestRT16Contradictions gives a new device answers that are well formed and can't be true.
func TestRT16Contradictions(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	roots := map[uint64]*serverpb.CommitRequest{}
	w.layer.tell(func(x *exchange) { rootsSeen(x, roots) })
	old := w.open("old")
	_, ticket := w.sendTicket(old, src)
	catalog := &serverpb.CommitRequest{Epoch: 0, Final: true, Root: roots[0].Root, Signature: roots[0].Signature}
	untrue := []error{node.ErrServerMisbehave, node.ErrIntegrity, node.ErrInterferedWith, node.ErrRollback}
	for _, c := range []struct {
		name string
		call string
		lie  func(*exchange)
	}{
		{"no size class", "Claim", func(x *exchange) { edit(x, func(m *serverpb.ClaimResponse) { m.SizeClass = 0 }) }},
		{"expires in the year 292278994", "Claim", func(x *exchange) { edit(x, func(m *serverpb.ClaimResponse) { m.ExpiresUnixMs = 1<<63 - 1 }) }},
		{"expired before 1970", "Claim", func(x *exchange) { edit(x, func(m *serverpb.ClaimResponse) { m.ExpiresUnixMs = -1 }) }},
		{"an incarnation of one byte", "Hello", func(x *exchange) { edit(x, func(m *serverpb.HelloResponse) { m.Incarnation = []byte{1} }) }},
		{"time before 1970", "Hello", func(x *exchange) { edit(x, func(m *serverpb.HelloResponse) { m.TimeUnixMs = -1 }) }},
		{"an empty answer", "Claim", func(x *exchange) { x.body = nil }},
		{"no protobuf", "Claim", func(x *exchange) { x.body = []byte("{}") }},
		{"nested without end", "Claim", func(x *exchange) { x.body = slices.Repeat([]byte{0x0b}, 100_000) }},
		{"the catalog is final", "GetRoot", serve(catalog)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.layer.tell(func(x *exchange) {
				if x.call == c.call {
					c.lie(x)
				}
			})
			_, err := w.receiveTicket(w.open("new"), ticket, "to", yes)
			w.wants(err, untrue...)
			w.empty("to")
		})
	}
	w.notSafe(old)
	w.layer.tell(nil)
	_, err := w.receiveTicket(w.open("new"), ticket, "to", yes)
	w.must(err)
	w.arrived(src, "to")
}

// TestE16RemoteGivesUp stalls every call of the protocol. Each ends within its limits, before and after the server has answered
// for the first time.
func TestE16RemoteGivesUp(t *testing.T) {
	w := newWorld(t)
	sid, scope, peer := id.NewSession(), id.NewScope(), key.NewDevice().Peer()
	calls := map[string]func(context.Context, *remote.Remote) error{
		"Hello":    func(ctx context.Context, r *remote.Remote) error { _, err := r.Hello(ctx); return err },
		"Allocate": func(ctx context.Context, r *remote.Remote) error { _, err := r.Allocate(ctx); return err },
		"Resolve":  func(ctx context.Context, r *remote.Remote) error { _, _, err := r.Resolve(ctx, 7); return err },
		"Release":  func(ctx context.Context, r *remote.Remote) error { return r.Release(ctx, scope) },
		"Open": func(ctx context.Context, r *remote.Remote) error {
			_, err := r.Open(ctx, remote.Offer{Session: sid, Class: 1, Blobs: 1})
			return err
		},
		"Claim": func(ctx context.Context, r *remote.Remote) error {
			_, err := r.Claim(ctx, remote.Claim{Session: sid})
			return err
		},
		"Pin":     func(ctx context.Context, r *remote.Remote) error { return r.Pin(ctx, sid, peer, nil) },
		"Commit":  func(ctx context.Context, r *remote.Remote) error { return r.Commit(ctx, sid, &remote.Root{}) },
		"GetRoot": func(ctx context.Context, r *remote.Remote) error { _, err := r.GetRoot(ctx, sid, 0, 0); return err },
		"Status":  func(ctx context.Context, r *remote.Remote) error { _, err := r.Status(ctx, sid); return err },
		"Finish":  func(ctx context.Context, r *remote.Remote) error { return r.Finish(ctx, sid, nil) },
		"Revoke":  func(ctx context.Context, r *remote.Remote) error { return r.Revoke(ctx, sid) },
		"Post":    func(ctx context.Context, r *remote.Remote) error { return r.Mailbox(scope).Post(ctx, peer, nil) },
		"Fetch": func(ctx context.Context, r *remote.Remote) error {
			_, _, err := r.Mailbox(scope).Fetch(ctx, 0, 0)
			return err
		},
		"Ack": func(ctx context.Context, r *remote.Remote) error { return r.Mailbox(scope).Ack(ctx, 1) },
		"Has": func(ctx context.Context, r *remote.Remote) error {
			_, err := r.Session(sid).Has(ctx, []id.Blob{{1}})
			return err
		},
		"PUT blob": func(ctx context.Context, r *remote.Remote) error {
			return r.Session(sid).Put(ctx, id.Blob{1}, make([]byte, wire.ClassS.BlobSize()))
		},
		"GET blob": func(ctx context.Context, r *remote.Remote) error {
			_, err := r.Session(sid).Get(ctx, id.Blob{1}, nil)
			return err
		},
		"DELETE blob": func(ctx context.Context, r *remote.Remote) error { return r.Session(sid).Delete(ctx, id.Blob{1}) },
	}
	var mu sync.Mutex
	stalled, greeted := map[string]bool{}, map[id.Peer]bool{}
	never := make(chan struct{})
	w.layer.keep(func(x *exchange) <-chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		if greeted[x.caller] {
			return nil
		}
		stalled[x.call] = true
		return never
	})
	const limit = 2 * time.Second // for a handshake too, of thirty at once
	var wg sync.WaitGroup
	for _, first := range []bool{true, false} {
		for name, call := range calls {
			wg.Go(func() {
				d := key.NewDevice()
				contact := limit
				if !first { // Hello is answered, and thirty handshakes at once may take their time
					contact = patience
				}
				r, err := remote.New(remote.Config{Device: d, Server: w.address, Carrier: link.Fast, Stall: limit, FirstContact: contact, MaxElapsed: limit})
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if !first {
					mu.Lock()
					greeted[d.Peer()] = true
					mu.Unlock()
					if _, err := r.Hello(ctx); err != nil {
						t.Error(err)
					}
					mu.Lock()
					greeted[d.Peer()] = false
					mu.Unlock()
				}
				began := time.Now()
				err = call(ctx, r)
				gaveUp := errors.Is(err, remote.ErrStalled) || errors.Is(err, remote.ErrUnreachable) || !first && errors.Is(err, context.DeadlineExceeded)
				if !gaveUp || ctx.Err() != nil {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); took > patience/3 {
					t.Errorf("%s: gave up after %v", name, took)
				}
			})
		}
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	for name := range calls {
		if !stalled[name] {
			t.Errorf("%s was never stalled", name)
		}
	}
}

// TestE16DevicesStop stalls each call that whole devices make, one after the other. A person who has waited enough can stop the
// device at once; nothing is claimed that is not so, and the next run goes on.
func TestE16DevicesStop(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	old, young := w.open("old"), w.open("new")
	ticket := ""
	var sent *node.SendResult
	send := func(ctx context.Context) (err error) {
		sent, err = old.Send(ctx, node.SendOptions{Paths: []string{src}, Ticket: true, ShowTicket: func(words, _ string) { ticket = words }})
		return err
	}
	receive := func(ctx context.Context) error {
		_, err := young.Receive(ctx, node.ReceiveOptions{To: w.path("to"), Confirm: yes,
			AskTicket: func(context.Context) (string, error) { return ticket, nil }})
		return err
	}
	receipt := func(ctx context.Context) error {
		r, err := old.Receipt(ctx, sent.Session)
		if err == nil && r == nil {
			err = errors.New("no receipt")
		}
		return err
	}
	stall := func(call string, run func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		hit := false
		w.layer.keep(func(x *exchange) <-chan struct{} {
			if x.call != call {
				return nil
			}
			hit = true
			cancel()
			return make(chan struct{})
		})
		began := time.Now()
		err := run(ctx)
		w.layer.keep(nil)
		if !hit || !errors.Is(err, context.Canceled) || time.Since(began) > patience/3 {
			t.Errorf("%s: stalled %v, ended after %v: %v", call, hit, time.Since(began), err)
		}
	}
	for _, call := range []string{"Hello", "Open", "PUT blob", "Commit"} {
		stall(call, send)
	}
	w.must(send(w.context()))
	for _, call := range []string{"Hello", "Claim", "GetRoot", "GET blob"} {
		stall(call, receive)
		w.empty("to")
	}
	stall("Post", receive)
	w.notSafe(old)
	w.must(receipts(w, young, claimed(t, w, young)))
	stall("Fetch", receipt)
	w.notSafe(old)
	stall("Finish", receipt) // by now it has seen the receipt
	w.must(receipt(w.context()))
	w.arrived(src, "to")
}

// receipts lets a new device hand its receipt over again.
func receipts(w *world, e *engine, sid id.Session) error {
	_, err := e.Receive(w.context(), node.ReceiveOptions{Session: sid, Confirm: yes})
	return err
}

// TestE17OtherServer puts a server of another identity at the address. Devices notice before they have sent anything, in every
// role and at every stage, and go on once the true one is back.
func TestE17OtherServer(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	old, young := w.open("old"), w.open("new")
	sent, ticket := w.sendTicket(old, src)
	if _, err := w.receiveTicket(young, ticket, "to", no); !errors.Is(err, node.ErrDeclined) {
		t.Fatal(err)
	}
	w.link.Shutdown(w.context())
	w.link.Close()
	w.listen(key.NewDevice())
	before := w.layer.requests()
	_, err := w.receiveTicket(young, ticket, "to", yes)
	w.wants(err, node.ErrWrongServer)
	_, err = w.receiveTicket(w.open("third"), ticket, "third-to", yes)
	w.wants(err, node.ErrWrongServer)
	_, err = old.Receipt(w.context(), sent.Session)
	w.wants(err, node.ErrWrongServer)
	_, err = w.open("fourth").Send(w.context(), node.SendOptions{Paths: []string{src}, Ticket: true})
	w.wants(err, node.ErrWrongServer)
	_, err = w.open("fifth").Receive(w.context(), node.ReceiveOptions{To: w.path("fifth-to"), Confirm: yes,
		ShowCode: func(string, string, int) { t.Error("a code was shown") }})
	w.wants(err, node.ErrWrongServer)
	if n := w.layer.requests() - before; n != 0 {
		t.Errorf("%d requests reached the other server", n)
	}
	w.empty("to")
	w.link.Shutdown(w.context())
	w.link.Close()
	w.listen(w.device)
	_, err = w.receiveTicket(young, ticket, "to", yes)
	w.must(err)
	w.arrived(src, "to")
}
