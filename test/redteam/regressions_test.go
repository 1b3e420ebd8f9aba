// What attacks on whole devices have found. The comment on each test says what went wrong then.

package redteam

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/apply"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
)

// F1: a ticket session that the server has lost is "already sent" for ever, without a question to the server.
func TestR10SendAgainAfterLoss(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	backup := w.backUp()
	old := w.open("old")
	first, _ := w.sendTicket(old, src)
	w.restore(backup)
	_, err := old.Send(w.context(), node.SendOptions{Paths: []string{src}, Ticket: true, ShowTicket: func(string, string) {}})
	if err == nil {
		_, err = w.rogue().remote.Status(w.context(), first.Session)
		t.Errorf("the sender says that everything is stored; the server: %v", err)
	} else if !errors.Is(err, node.ErrSessionOver) {
		t.Error(err)
	}
}

// F2: the server is restored to a time between the catalog and the final commit. The sender knows the session and has the root
// in its journal, and does not commit it again; the receiver waits for ever.
func TestR10RecommitAfterRestore(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	old := w.open("old")
	ctx, cancel := context.WithCancel(w.context())
	w.layer.keep(func(x *exchange) <-chan struct{} {
		if x.call == "Commit" && asked[serverpb.CommitRequest](x).Epoch == 1 {
			cancel()
			return make(chan struct{})
		}
		return nil
	})
	old.Send(ctx, node.SendOptions{Paths: []string{src}, Ticket: true, ShowTicket: func(string, string) {}})
	w.layer.keep(nil)
	backup := w.backUp()
	_, ticket := w.sendTicket(old, src)
	w.restore(backup)
	if _, err := old.Send(w.context(), node.SendOptions{Paths: []string{src}, Ticket: true, ShowTicket: func(string, string) {}}); err != nil {
		t.Fatal(err)
	}
	_, err := w.open("new").Receive(w.context(), node.ReceiveOptions{To: w.path("to"), Confirm: yes, AskTicket: func(context.Context) (string, error) { return ticket, nil }})
	if err != nil {
		t.Errorf("the sender says that everything is stored; the receiver: %v", err)
	}
}

// F3: one lie about the size class spoils the transfer for good: it is kept, and compared with the signed root ever after.
func TestRT16SizeClassLieStays(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	_, ticket := w.sendTicket(w.open("old"), src)
	w.layer.tell(func(x *exchange) {
		if x.call == "Claim" {
			edit(x, func(m *serverpb.ClaimResponse) { m.SizeClass = 2 })
		}
	})
	young := w.open("new")
	if _, err := w.receiveTicket(young, ticket, "to", yes); err == nil {
		w.arrived(src, "to") // what counts is signed
		return
	}
	w.layer.tell(nil)
	_, err := w.receiveTicket(young, ticket, "to", yes)
	w.must(err)
	w.arrived(src, "to")
}

// F4: in a ticket session in which the sender has pinned the device X, a receipt of another holder of the ticket, Y, that the
// server lets through is taken: "safe to wipe" while X has nothing.
func TestC6ReceiptOfAnotherThanThePinned(t *testing.T) {
	w := newWorld(t)
	src := w.path("src")
	big := make([]byte, 6<<20) // more than announceEvery packs, so that the sender looks for a claim while it sends
	rand.Read(big)
	w.write(filepath.Join(src, "big.bin"), string(big))
	old := w.open("old")
	var x *holder
	puts := 0
	w.layer.keep(func(e *exchange) <-chan struct{} {
		if e.call == "PUT blob" {
			puts++
		}
		return nil
	})
	tap := 0
	w.layer.tell(func(e *exchange) {
		if e.call == "Pin" {
			tap++
		}
	})
	var sid = func() *node.SendResult {
		sent, err := old.Send(w.context(), node.SendOptions{Paths: []string{src}, Ticket: true, ShowTicket: func(words, _ string) { x = w.rogue().hold(words); x.w.t.Setenv("TICKET", words) }})
		w.must(err)
		return sent
	}()
	if tap == 0 {
		t.Fatal("nobody was pinned")
	}
	y := w.rogue()
	thief := y.open(os.Getenv("TICKET"), x.claimed) // the server gives it the share and the grant again
	root, err := x.remote.GetRoot(w.context(), sid.Session, 1, 0)
	w.must(err)
	receipt := apply.SignReceipt(y.device, &apply.Receipt{Session: sid.Session, Epoch: root.Epoch, Commit: commitOf(x, root), Level: apply.Synced, At: time.Now().UTC().Truncate(time.Second)})
	body, err := session.SealEnvelope(thief.keys, sid.Session, y.peer(), x.sender, session.Receipt, session.AppendReceipt(nil, y.receiver, receipt))
	w.must(err)
	from := y.peer()
	w.layer.tell(func(e *exchange) {
		if e.call == "Fetch" && e.caller == x.sender {
			edit(e, func(m *serverpb.FetchResponse) {
				m.Messages = append(m.Messages, &serverpb.Envelope{Sequence: 1000, From: bytes.Clone(from[:]), Body: body})
			})
		}
	})
	if r, err := old.Receipt(w.context(), sid.Session); r != nil && r.SafeWipe {
		t.Errorf("safe to wipe by the word of %v, %v was pinned, %v", r.Receiver, x.peer(), err)
	}
}

// F7: a receipt that accounts for nothing at all is "safe to wipe".
func TestC6EmptyReceipt(t *testing.T) {
	w := newWorld(t)
	old := w.open("old")
	sent, ticket := w.sendTicket(old, w.collection())
	h := w.rogue().hold(ticket)
	root, err := h.remote.GetRoot(w.context(), sent.Session, 0, 0)
	w.must(err)
	receipt := apply.SignReceipt(h.device, &apply.Receipt{Session: sent.Session, Epoch: root.Epoch, Commit: commitOf(h, root), Level: apply.Synced, At: time.Now().UTC().Truncate(time.Second)})
	body, err := session.SealEnvelope(h.keys, sent.Session, h.peer(), h.sender, session.Receipt, session.AppendReceipt(nil, h.receiver, receipt))
	w.must(err)
	w.must(h.post(sent.Session.Scope(), h.sender, body))
	r, err := old.Receipt(w.context(), sent.Session)
	if r != nil && r.SafeWipe {
		t.Errorf("safe to wipe: two files were sent, the receipt accounts for %v, %v", r.Kinds, err)
	}
}

// commitOf opens a root with the holder's keys.
func commitOf(h *holder, r *remote.Root) id.Commit {
	h.w.t.Helper()
	_, commit, err := manifest.OpenRoot(h.keys, h.claimed.Session, r.Epoch, r.Sealed)
	h.w.must(err)
	return commit
}
