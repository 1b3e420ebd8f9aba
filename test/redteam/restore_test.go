package redteam

import (
	"bytes"
	"errors"
	"testing"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// incarnation is what the server says of itself.
func (r *rogue) incarnation() [16]byte {
	r.w.t.Helper()
	h, err := r.remote.Hello(r.w.context())
	r.w.must(err)
	return h.Incarnation
}

// TestR10ReceiptAfterRestore restores the server to a time before the receipt was posted, and again to before the session was
// finished. The old device does not say that it may be wiped before it has the receipt; the new one posts it again (rule R2);
// what both know stays known; and the session that is alive again is open to nobody else.
func TestR10ReceiptAfterRestore(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	old, young := w.open("old"), w.open("new")
	sent, ticket := w.sendTicket(old, src)
	if _, err := w.receiveTicket(young, ticket, "to", no); !errors.Is(err, node.ErrDeclined) {
		t.Fatal(err)
	}
	backup := w.backUp()
	before := w.rogue().incarnation()
	_, err := w.receiveTicket(young, ticket, "to", yes)
	w.must(err)

	w.restore(backup)
	if w.rogue().incarnation() == before {
		t.Error("devices can't see that the server was restored")
	}
	if r, err := old.Receipt(w.context(), sent.Session); r != nil || err != nil {
		t.Errorf("a receipt that the server has forgotten: %+v, %v", r, err)
	}
	w.notSafe(old)
	got, err := young.Receive(w.context(), node.ReceiveOptions{Session: sent.Session, Confirm: yes})
	w.must(err)
	if got.Acked {
		t.Error("acked by nobody")
	}
	r, err := old.Receipt(w.context(), sent.Session)
	if err != nil || r == nil || !r.SafeWipe {
		t.Fatalf("the receipt posted again: %+v, %v", r, err)
	}

	w.restore(backup) // which knows nothing of the end
	if r, err := old.Receipt(w.context(), sent.Session); err != nil || r == nil || !r.SafeWipe {
		t.Errorf("the receipt that was verified is gone: %+v, %v", r, err)
	}
	if _, err := young.Receive(w.context(), node.ReceiveOptions{Session: sent.Session, Confirm: yes}); err != nil {
		t.Errorf("the new device: %v", err)
	}
	if _, err := w.rogue().claim(ticket); wire.StatusOf(err) != wire.AlreadyClaimed {
		t.Errorf("a second claim: %v", err)
	}
	w.arrived(src, "to")
}

// TestR10SecondClaimAfterRestore restores the server to a time before the claim, and lets a thief with the ticket claim first.
// The sender's pin, made for the new incarnation, beats it (rule R1): the thief gets nothing any more, the true receiver, who was
// told "already claimed", tries again and is served (rule R3), and can read for whom the pin is.
func TestR10SecondClaimAfterRestore(t *testing.T) {
	w := newWorld(t)
	s, x, thief := w.rogue(), w.rogue(), w.rogue()
	sid, ticket, _ := s.offer()
	backup := w.backUp()
	pin := func() {
		t.Helper()
		p := grant.SignPin(s.device, grant.Pin{Session: sid, Receiver: x.peer(), ReceiverCard: key.HashCard(x.receiver), Incarnation: s.incarnation()})
		w.must(s.remote.Pin(w.context(), sid, x.peer(), p))
	}
	first, err := x.claim(ticket.Words())
	w.must(err)
	pin()
	was := s.incarnation()

	w.restore(backup)
	_, err = thief.claim(ticket.Words())
	w.must(err) // the server can't know
	if _, err := x.claim(ticket.Words()); wire.StatusOf(err) != wire.AlreadyClaimed {
		t.Errorf("the true receiver, before the pin: %v", err)
	}
	pin()
	for name, err := range map[string]error{
		"claim": second(thief.claim(ticket.Words())), "status": second(thief.remote.Status(w.context(), sid)),
		"root": second(thief.remote.GetRoot(w.context(), sid, 0, 0)),
		"post": thief.remote.Mailbox(sid.Scope()).Post(w.context(), s.peer(), []byte("mine")),
		"mail": third(thief.remote.Mailbox(sid.Scope()).Fetch(w.context(), 0, 0)),
		"blob": second(thief.remote.Session(sid).Get(w.context(), id.Blob{1}, nil)),
	} {
		if s := wire.StatusOf(err); s != wire.AlreadyClaimed && s != wire.Forbidden {
			t.Errorf("the thief's %s: %v", name, err)
		}
	}
	again, err := x.claim(ticket.Words())
	w.must(err)
	if !bytes.Equal(again.Share, first.Share) || !bytes.Equal(again.Grant, first.Grant) {
		t.Error("the true receiver was given something else")
	}
	st, err := x.remote.Status(w.context(), sid)
	w.must(err)
	p, err := grant.ParsePin(st.Pin, s.peer())
	if err != nil || p.Receiver != x.peer() || p.ReceiverCard != key.HashCard(x.receiver) || p.Session != sid || p.Incarnation == was {
		t.Errorf("the pin: %+v, %v", p, err)
	}
}

func second[T any](_ T, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

// TestR10SessionLost restores the server to a time before the session. The devices are told that it is over: nothing is applied,
// nothing may be wiped, and the same collection can be sent anew.
func TestR10SessionLost(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	backup := w.backUp()
	old, young := w.open("old"), w.open("new")
	sent, ticket := w.sendTicket(old, src)
	if _, err := w.receiveTicket(young, ticket, "to", no); !errors.Is(err, node.ErrDeclined) {
		t.Fatal(err)
	}
	w.restore(backup)
	_, err := old.Receipt(w.context(), sent.Session)
	w.wants(err, node.ErrSessionOver)
	_, err = w.receiveTicket(young, ticket, "to", yes)
	w.wants(err, node.ErrSessionOver)
	w.notSafe(old)
	w.empty("to")
	_, err = old.Send(w.context(), node.SendOptions{Paths: []string{src}, Ticket: true, New: true, ShowTicket: func(words, _ string) { ticket = words }})
	w.must(err)
	_, err = w.receiveTicket(young, ticket, "to", yes)
	w.must(err)
	w.arrived(src, "to")
}
