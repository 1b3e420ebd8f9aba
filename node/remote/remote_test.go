package remote

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// TestCalls takes every call once through a real connection, on each carrier.
func TestCalls(t *testing.T) {
	for _, carrier := range []link.Carrier{link.Fast, link.Libp2p} {
		t.Run(carrier.String(), func(t *testing.T) {
			m := newMemory()
			s := serve(t, link.Config{Handler: m.handler()})
			old, young := newDevice(), newDevice()
			m.owner = young.Peer()
			a := open(t, Config{Device: old, Server: s.Server(), Carrier: carrier})
			b := open(t, Config{Device: young, Server: s.Server(), Carrier: carrier})
			callAll(t, a, b, old, young)
		})
	}
}

func callAll(t *testing.T, a, b *Remote, old, young device) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hello, err := a.Hello(ctx)
	must(err)
	if hello.Version != 1 || hello.MaxSessionBytes != 1<<40 || hello.MaxExpiry != 720*time.Hour || !hello.Time.Equal(epoch0) || hello.FreeBytes != 1<<30 {
		t.Fatalf("hello: %+v", hello)
	}

	plate, err := b.Allocate(ctx)
	must(err)
	if plate.Number != 7 || plate.Scope == (id.Scope{}) {
		t.Fatalf("nameplate: %+v", plate)
	}
	_, owner, err := a.Resolve(ctx, plate.Number)
	must(err)
	if owner != young.Peer() {
		t.Fatalf("owner %v, want %v", owner, young.Peer())
	}
	if _, _, err := a.Resolve(ctx, 8); !errors.Is(err, wire.NotFound) {
		t.Fatalf("unknown nameplate: %v", err)
	}
	if owner, err = a.ResolveScope(ctx, plate.Scope); err != nil || owner != young.Peer() {
		t.Fatalf("owner of the scope %v, %v", owner, err)
	}
	must(b.Release(ctx, plate.Scope))

	sid := id.NewSession()
	ticket := &Ticket{Locator: id.Locator(random(16)), ClaimKey: [32]byte(random(32)), Share: [32]byte(random(32)), Grant: random(300)}
	expires, err := a.Open(ctx, Offer{Session: sid, Class: wire.ClassL, Blobs: 9, Expiry: time.Hour, Ticket: ticket})
	must(err)
	if !expires.Equal(epoch0.Add(time.Hour)) {
		t.Fatalf("expires %v", expires)
	}
	claimed, err := b.Claim(ctx, Claim{Locator: ticket.Locator, Signature: random(64), Card: []byte("card")})
	must(err)
	if claimed.Session != sid || claimed.Sender != old.Peer() || claimed.Class != wire.ClassL ||
		!bytes.Equal(claimed.Share, ticket.Share[:]) || !bytes.Equal(claimed.Grant, ticket.Grant) {
		t.Fatalf("claimed: %+v", claimed)
	}
	if _, err := a.Claim(ctx, Claim{Session: sid, Card: []byte("other")}); !errors.Is(err, wire.AlreadyClaimed) {
		t.Fatalf("second claim: %v", err)
	}
	must(a.Pin(ctx, sid, young.Peer(), []byte("pin")))

	if root, err := b.GetRoot(ctx, sid, 0, 0); err != nil || root != nil {
		t.Fatalf("root before commit: %v, %v", root, err)
	}
	sealed, sig := random(wire.MaxRoot), random(64)
	must(a.Commit(ctx, sid, &Root{Epoch: 3, Final: true, Sealed: sealed, Signature: sig}))
	root, err := b.GetRoot(ctx, sid, 2, time.Second)
	must(err)
	if root.Epoch != 3 || !root.Final || !bytes.Equal(root.Sealed, sealed) || !bytes.Equal(root.Signature, sig) {
		t.Fatal("root differs")
	}

	storeBlobs(t, a.Session(sid), b.Session(sid))

	st, err := a.Status(ctx, sid)
	must(err)
	if st.State != Sealed || !st.Final || st.Epoch != 3 || st.Sender != old.Peer() || st.Receiver != young.Peer() || !st.Pinned ||
		string(st.ReceiverCard) != "card" || string(st.Pin) != "pin" || st.Blobs != 2 {
		t.Fatalf("status: %+v", st)
	}

	box := a.Mailbox(sid.Scope())
	for _, text := range []string{"one", "two"} {
		must(box.Post(ctx, young.Peer(), []byte(text)))
	}
	if err := box.Post(ctx, young.Peer(), make([]byte, wire.MaxBody+1)); !errors.Is(err, wire.TooLarge) {
		t.Fatalf("long message: %v", err)
	}
	mine := b.Mailbox(sid.Scope())
	msgs, ack, err := mine.Fetch(ctx, 0, time.Second)
	must(err)
	if len(msgs) != 2 || string(msgs[0].Body) != "one" || string(msgs[1].Body) != "two" || msgs[0].From != old.Peer() || ack != nil {
		t.Fatalf("messages: %+v, ack %q", msgs, ack)
	}
	must(mine.Ack(ctx, msgs[0].Sequence))
	must(a.Finish(ctx, sid, []byte("ack")))
	msgs, ack, err = mine.Fetch(ctx, msgs[0].Sequence, 0)
	must(err)
	if len(msgs) != 1 || string(ack) != "ack" {
		t.Fatalf("after ack: %+v, ack %q", msgs, ack)
	}
	must(a.Revoke(ctx, sid))
	if st, err = b.Status(ctx, sid); err != nil || st.State != Revoked {
		t.Fatalf("status after revoke: %+v, %v", st, err)
	}
}

// storeBlobs leaves two blobs behind.
func storeBlobs(t *testing.T, a, b *Session) {
	t.Helper()
	ctx := t.Context()
	small, large := random(wire.BlobSizeS), random(wire.BlobSizeL)
	names := []id.Blob{id.NewBlob(), id.NewBlob(), id.NewBlob()}
	for i, blob := range [][]byte{small, large, small} {
		for range 2 { // the second is the repetition after an unknown outcome
			if err := a.Put(ctx, names[i], blob); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.Put(ctx, names[0], random(wire.BlobSizeS)); !errors.Is(err, wire.Conflict) {
		t.Fatalf("other bytes under the same name: %v", err)
	}
	if err := a.Delete(ctx, names[2], id.NewBlob()); err != nil {
		t.Fatal(err)
	}
	has, err := b.Has(ctx, append(make([]id.Blob, wire.MaxHas), names...))
	if err != nil || len(has) != wire.MaxHas+3 || has[0] || !has[wire.MaxHas] || !has[wire.MaxHas+1] || has[wire.MaxHas+2] {
		t.Fatalf("has: %v, %v", has[max(0, len(has)-3):], err)
	}
	got, err := b.Get(ctx, names[0], []byte("head"))
	if err != nil || !bytes.Equal(got, append([]byte("head"), small...)) {
		t.Fatalf("get small: %d bytes, %v", len(got), err)
	}
	if got, err = b.Get(ctx, names[1], got[:0]); err != nil || !bytes.Equal(got, large) {
		t.Fatalf("get large: %d bytes, %v", len(got), err)
	}
	if _, err := b.Get(ctx, names[2], nil); !errors.Is(err, wire.NotFound) {
		t.Fatalf("get deleted: %v", err)
	}
}
