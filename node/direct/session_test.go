package direct

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// TestCommits checks the order of epochs, which is the server's.
func TestCommits(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	catalog, second, final, last := root(0, false), root(1, false), root(2, true), root(4, true)
	commit := func(r *remote.Root, status wire.Status) {
		t.Helper()
		want(t, v.Commit(t.Context(), sid, r), status)
	}
	commit(catalog, wire.OK)
	commit(catalog, wire.OK)
	commit(root(0, false), wire.Conflict)
	commit(second, wire.OK)
	commit(catalog, wire.StaleEpoch)
	commit(&remote.Root{Epoch: 1, Final: true, Sealed: second.Sealed, Signature: second.Signature}, wire.Conflict)
	commit(final, wire.OK)
	commit(root(3, false), wire.WrongState)
	commit(last, wire.OK)
	w.reopen()
	commit(last, wire.OK)
	commit(final, wire.StaleEpoch)
	if r, err := w.GetRoot(t.Context(), sid, 0, 0); err != nil || r.Epoch != 4 || !r.Final {
		t.Fatalf("root: %+v, %v", r, err)
	}
	want(t, v.Commit(t.Context(), id.NewSession(), root(9, true)), wire.NotFound)
}

// TestCheckpointBeforeFinalRoot demands that no final root is stored, let alone acknowledged,
// before what was delivered is durable.
func TestCheckpointBeforeFinalRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var fails atomic.Bool
		var runs atomic.Int32
		w.config.Checkpoint = func(context.Context) error {
			runs.Add(1)
			time.Sleep(3 * patience) // a slow disk
			if fails.Load() {
				return errDisk
			}
			return nil
		}
		w.reopen()
		v, sid := w.admitted()
		ctx := t.Context()
		must(t, v.Commit(ctx, sid, root(0, false))) // a catalog says nothing about content
		if n := runs.Load(); n != 0 {
			t.Fatalf("%d checkpoints for a catalog", n)
		}
		must(t, v.Session(sid).Deliver(ctx, id.NewBlob(), nil, blob()))

		fails.Store(true)
		failed, cancel := context.WithTimeout(ctx, 4*patience)
		if err := v.Commit(failed, sid, root(1, true)); err == nil {
			t.Fatal("committed though nothing was synced")
		}
		cancel()
		if r, err := w.GetRoot(ctx, sid, 0, 0); err != nil || r.Epoch != 0 {
			t.Fatalf("root: %+v, %v", r, err)
		}

		time.Sleep(4 * patience) // until the last attempt's checkpoint is over
		fails.Store(false)
		runs.Store(0)
		began := time.Now()
		final := root(1, true)
		must(t, v.Commit(ctx, sid, final))
		if n, took := runs.Load(), time.Since(began); n != 1 || took < 3*patience {
			t.Fatalf("%d checkpoints in %v", n, took)
		}
		must(t, v.Commit(ctx, sid, final))
		must(t, v.Commit(ctx, sid, root(2, true))) // nothing was delivered since
		if n := runs.Load(); n != 1 {
			t.Fatalf("%d checkpoints for one delivery", n)
		}
		must(t, v.Session(sid).Deliver(ctx, id.NewBlob(), nil, blob()))
		must(t, v.Commit(ctx, sid, root(3, true)))
		if n := runs.Load(); n != 2 {
			t.Fatalf("%d checkpoints for two deliveries", n)
		}
		w.reopen()
		must(t, v.Commit(ctx, sid, root(4, true))) // an earlier process may have delivered
		if n := runs.Load(); n != 3 {
			t.Fatalf("%d checkpoints after a restart", n)
		}
	})
}

// TestDeliveryDuringCheckpoint is covered by the next one only.
func TestDeliveryDuringCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var runs atomic.Int32
		w.config.Checkpoint = func(context.Context) error {
			runs.Add(1)
			time.Sleep(time.Second)
			return nil
		}
		w.reopen()
		v, sid := w.admitted()
		must(t, v.Session(sid).Deliver(t.Context(), id.NewBlob(), nil, blob()))
		done := make(chan error)
		go func() { done <- v.Commit(t.Context(), sid, root(1, true)) }()
		synctest.Wait() // in the checkpoint
		must(t, v.Session(sid).Deliver(t.Context(), id.NewBlob(), nil, blob()))
		must(t, <-done)
		must(t, v.Commit(t.Context(), sid, root(2, true)))
		if n := runs.Load(); n != 2 {
			t.Fatalf("%d checkpoints, want 2", n)
		}
	})
}

// TestDoneAfterACrash empties the spool of a session that was finished when the process died.
func TestDoneAfterACrash(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	must(t, v.Finish(t.Context(), sid, []byte("ack")))
	w.Close()
	left := filepath.Join(w.config.Spool, id.NewBlob().String())
	must(t, os.WriteFile(left, blob(), 0o600))
	w.open()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("a blob is still in the spool: %v", err)
	}
	if _, ack, err := w.Mailbox(sid.Scope()).Fetch(t.Context(), 0, 0); err != nil || string(ack) != "ack" {
		t.Errorf("ack %q, %v", ack, err)
	}
}

// TestOffers bounds what strangers leave, and forgets it in time.
func TestOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.plate()
		first := w.visit()
		first.offer(t)
		sid := first.offer(t) // one each: the second replaces the first
		for range maxOffers - 1 {
			w.visit().offer(t)
		}
		full := w.visit()
		_, err := full.Open(t.Context(), remote.Offer{Session: id.NewSession(), Class: wire.ClassS, Blobs: 1})
		want(t, err, wire.QuotaCount)
		_, err = first.Status(t.Context(), sid)
		must(t, err)
		w.reopen()
		if len(w.offers) != maxOffers {
			t.Fatalf("%d offers after a restart", len(w.offers))
		}
		time.Sleep(plateLife + time.Second)
		w.plate()
		mine := full.offer(t)
		if len(w.offers) != 1 {
			t.Fatalf("%d offers, want one", len(w.offers))
		}
		must(t, w.Admit(full.peer, mine))
		w.reopen()
		if _, err := full.Status(t.Context(), mine); err != nil || len(w.offers) != 0 {
			t.Fatalf("%d offers after one was admitted; its status: %v", len(w.offers), err)
		}
	})
}

func TestBadOffers(t *testing.T) {
	w := newWorld(t)
	w.plate()
	v := w.visit()
	good := remote.Offer{Session: id.NewSession(), Class: wire.ClassL, Blobs: 1, Ticket: &remote.Ticket{Grant: []byte("ignored")}}
	for name, edit := range map[string]func(*remote.Offer){
		"no session": func(o *remote.Offer) { o.Session = id.Session{} },
		"no blobs":   func(o *remote.Offer) { o.Blobs = 0 },
		"no class":   func(o *remote.Offer) { o.Class = 0 },
		"class 9":    func(o *remote.Offer) { o.Class = 9 },
		"expired":    func(o *remote.Offer) { o.Expiry = -time.Second },
	} {
		o := good
		edit(&o)
		if _, err := v.Open(t.Context(), o); wire.StatusOf(err) != wire.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := v.Open(t.Context(), good)
	must(t, err)
	for _, c := range []struct {
		peer id.Peer
		sid  id.Session
	}{{id.Peer{}, good.Session}, {w.young.Peer(), good.Session}, {v.peer, id.Session{}}} {
		want(t, w.Admit(c.peer, c.sid), wire.Malformed)
	}
}

// TestR5BrokenDisk lets every write fail once, one after the other, with its effect or
// without. Nothing is acknowledged any more until another process has read the store;
// that one goes on, and in the end everything has happened once.
func TestR5BrokenDisk(t *testing.T) {
	for _, stored := range []bool{false, true} {
		writes := 0
		for n, broke := 1, true; broke; n++ {
			w := newWorld(t)
			w.store.breakAt(n, stored)
			if broke = w.story(t); broke {
				writes++
			}
			if t.Failed() {
				t.Fatalf("write %d failed, stored: %v", n, stored)
			}
		}
		if writes < 12 {
			t.Fatalf("the story has only %d writes", writes)
		}
	}
}

// story is a session's life. A step that fails is tried once more, by another process, after
// a look whether the first goes on as if nothing had happened.
func (w *world) story(t *testing.T) (broke bool) {
	t.Helper()
	ctx := t.Context()
	v, sid := w.visit(), id.NewSession()
	step := func(do func() error) {
		t.Helper()
		err := do()
		if err == nil {
			return
		}
		if broke {
			t.Fatal(err)
		}
		broke = true
		if again := do(); again == nil {
			t.Errorf("%v, and the next time nothing was wrong", err)
		}
		w.reopen()
		must(t, do())
	}
	ask := func(name string, m proto.Message) {
		t.Helper()
		step(func() error { return w.once(v.peer, name, m) })
	}
	var plate *remote.Nameplate
	step(func() (err error) { plate, err = w.Allocate(ctx); return err })
	ask("Open", openRequest(sid))
	ask("Pin", pinRequest(sid, w.young.Peer()))
	ask("Post", postRequest(plate.Scope, w.young.Peer()))
	step(func() error { return w.Mailbox(plate.Scope).Post(ctx, v.peer, []byte("2")) })
	step(func() error { return w.Admit(v.peer, sid) })
	step(func() error { return w.Release(ctx, plate.Scope) })
	step(func() error { _, err := w.Claim(ctx, remote.Claim{Session: sid, Card: []byte("card")}); return err })
	ask("Commit", commitRequest(sid, 0, false))
	ask("Commit", commitRequest(sid, 1, true))
	ask("Post", postRequest(sid.Scope(), w.young.Peer()))
	ask("Post", postRequest(sid.Scope(), w.young.Peer()))
	step(func() error { return w.Mailbox(sid.Scope()).Ack(ctx, 1) })
	w.checkStory(t, v, sid)
	ask("Finish", finishRequest(sid))
	w.reopen()
	if _, ack, err := w.Mailbox(sid.Scope()).Fetch(ctx, 0, 0); err != nil || string(ack) != "ack" {
		t.Errorf("ack %q, %v", ack, err)
	}
	return broke
}

// checkStory looks at the session before its end, as the desk knows it and as the next would.
func (w *world) checkStory(t *testing.T, v *visitor, sid id.Session) {
	t.Helper()
	before := w.describe()
	w.reopen()
	if after := w.describe(); after != before {
		t.Errorf("the desk knew\n%s\nand its successor\n%s", before, after)
	}
	ms, _, err := w.Mailbox(sid.Scope()).Fetch(t.Context(), 0, 0)
	if err != nil || len(ms) != 1 || ms[0].Sequence != 2 {
		t.Errorf("messages %v, %v", ms, err)
	}
	st, err := v.Status(t.Context(), sid)
	if err != nil || st.State != remote.Sealed || st.Epoch != 1 || !st.Pinned || string(st.ReceiverCard) != "card" {
		t.Errorf("status %+v, %v", st, err)
	}
	if len(w.plates) > 1 || len(w.offers) != 0 { // a nameplate that was drawn and not shown may be left
		t.Errorf("%d nameplates, %d offers", len(w.plates), len(w.offers))
	}
}
