package redteam

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/apply"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
)

// files shows a directory without the sockets that lie in state directories.
type files struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (f files) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(f.FS, name)
	out := all[:0]
	for _, e := range all {
		if e.IsDir() || e.Type().IsRegular() {
			out = append(out, e)
		}
	}
	return out, err
}

// rootsSeen keeps the roots that devices commit, by epoch.
func rootsSeen(x *exchange, by map[uint64]*serverpb.CommitRequest) {
	if x.call == "Commit" {
		m := asked[serverpb.CommitRequest](x)
		by[m.Epoch] = m
	}
}

// serve answers GetRoot with a root whatever epoch was asked for.
func serve(c *serverpb.CommitRequest) func(*exchange) {
	return func(x *exchange) {
		if x.call == "GetRoot" {
			x.answer(&serverpb.GetRootResponse{Found: true, Epoch: c.Epoch, Final: c.Final, Root: c.Root, Signature: c.Signature})
		}
	}
}

// TestRT14OldRoots lets a new device see epoch 2 and then serves it, in turn: the true roots of epochs 1 and 0; those under the
// number of epoch 2; and another epoch 2 and 3 that a copy of the old device made, with all signatures in order. It takes none
// of them, writes nothing, and then fetches the true collection.
func TestRT14OldRoots(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	roots := map[uint64]*serverpb.CommitRequest{}
	w.layer.tell(func(x *exchange) { rootsSeen(x, roots) })
	old := w.open("old")
	sent, ticket := w.sendTicket(old, src)
	w.must(os.CopyFS(w.path("copy"), files{os.DirFS(w.path("old"))}))
	extra := filepath.Join(src, "later.txt")
	w.write(extra, "the true later")
	w.sendTicket(old, src)
	if roots[2] == nil {
		t.Fatal("there was no epoch 2")
	}

	// The copy makes other epochs 2 and 3, and believes that the server has taken them.
	forks := map[uint64]*serverpb.CommitRequest{}
	w.layer.tell(nil)
	w.layer.keep(func(x *exchange) <-chan struct{} {
		if rootsSeen(x, forks); x.call == "Commit" {
			x.answer(&serverpb.CommitResponse{})
		}
		return nil
	})
	clone := w.open("copy")
	for _, content := range []string{"the false later", "the false last"} {
		w.write(extra, content)
		if _, err := clone.Send(w.context(), node.SendOptions{Session: sent.Session}); err != nil {
			t.Fatal(err)
		}
	}
	w.write(extra, "the true later")
	if forks[2] == nil || forks[3] == nil {
		t.Fatalf("the copy made %d epochs", len(forks))
	}

	w.layer.keep(nil)
	young := w.open("new")
	if _, err := w.receiveTicket(young, ticket, "to", no); !errors.Is(err, node.ErrDeclined) {
		t.Fatalf("a person who says no: %v", err)
	}
	renumbered := func(c *serverpb.CommitRequest) *serverpb.CommitRequest {
		return &serverpb.CommitRequest{Epoch: 2, Final: true, Root: c.Root, Signature: c.Signature}
	}
	for _, c := range []struct {
		name string
		root *serverpb.CommitRequest
		want []error
	}{
		// An answer that is older than the question is invalid whatever is in it.
		{"epoch 0", roots[0], []error{node.ErrRollback, node.ErrServerMisbehave}},
		{"epoch 1", roots[1], []error{node.ErrRollback, node.ErrServerMisbehave}},
		{"epoch 1 as 2", renumbered(roots[1]), []error{node.ErrIntegrity}},
		{"another 2", forks[2], []error{node.ErrRollback}},
		{"another 3", forks[3], []error{node.ErrRollback}},
		{"signature of another", &serverpb.CommitRequest{Epoch: 2, Final: true, Root: roots[2].Root, Signature: forks[2].Signature}, []error{node.ErrIntegrity}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.layer.tell(serve(c.root))
			e := w.open("new")
			_, err := w.receiveTicket(e, ticket, "to", yes)
			w.wants(err, c.want...)
			if errors.Is(err, node.ErrRollback) != e.said.has("rollback-alarm") {
				t.Errorf("error %v, and the person was told %v", err, e.said.list)
			}
			w.empty("to")
		})
	}
	w.layer.tell(nil)
	_, err := w.receiveTicket(w.open("new"), ticket, "to", yes)
	w.must(err)
	w.arrived(src, "to")
}

// TestRT14OldGrants gives a new device the grant, or the share, of another session, and one that was cut.
func TestRT14OldGrants(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	_, first := w.sendTicket(w.open("first"), src)
	other := w.rogue().hold(first).claimed
	_, ticket := w.sendTicket(w.open("old"), src)
	for name, lie := range map[string]func(*serverpb.ClaimResponse){
		"grant of another session": func(m *serverpb.ClaimResponse) { m.Grant = other.Grant },
		"share of another session": func(m *serverpb.ClaimResponse) { m.Share = other.Share },
		"all of another session": func(m *serverpb.ClaimResponse) {
			m.Grant, m.Share, m.Session = other.Grant, other.Share, other.Session[:]
		},
		"the ID of another session":      func(m *serverpb.ClaimResponse) { m.Session = other.Session[:] },
		"no grant":                       func(m *serverpb.ClaimResponse) { m.Grant = nil },
		"no share":                       func(m *serverpb.ClaimResponse) { m.Share = nil },
		"signature of the grant is gone": func(m *serverpb.ClaimResponse) { m.Grant = m.Grant[:len(m.Grant)-64] },
		"a bit of the signature":         func(m *serverpb.ClaimResponse) { m.Grant[len(m.Grant)-1] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			w.layer.tell(func(x *exchange) {
				if x.call == "Claim" {
					edit(x, lie)
				}
			})
			_, err := w.receiveTicket(w.open("new"), ticket, "to", yes)
			w.wants(err, node.ErrInterferedWith)
			w.empty("to")
		})
	}
	w.layer.tell(nil)
	_, err := w.receiveTicket(w.open("new"), ticket, "to", yes)
	w.must(err)
	w.arrived(src, "to")
}

// TestRT14Receipts posts every receipt but the right one to an old device, from a device that has the keys: of other sessions,
// epochs and commits, by other devices, on other cards. The old device takes none of them for its own.
func TestRT14Receipts(t *testing.T) {
	w := newWorld(t)
	old := w.open("old")
	sent, ticket := w.sendTicket(old, w.collection())
	h, stranger := w.rogue().hold(ticket), w.rogue()
	root, err := h.remote.GetRoot(w.context(), sent.Session, 0, 0)
	w.must(err)
	opened, commit, err := manifest.OpenRoot(h.keys, sent.Session, root.Epoch, root.Sealed)
	w.must(err)
	good := apply.Receipt{Session: sent.Session, Epoch: root.Epoch, Commit: commit, Level: apply.Synced, At: time.Now().UTC().Truncate(time.Second)}
	for _, total := range opened.Totals {
		k := apply.KindReceipt{Kind: total.Kind}
		k.Counts[item.Moved-1] = item.Tally{Items: int64(total.Items), Bytes: int64(total.Bytes)}
		good.Kinds = append(good.Kinds, k)
	}
	changed := func(f func(*apply.Receipt)) []byte {
		r := good
		r.Kinds = slices.Clone(r.Kinds)
		f(&r)
		return apply.SignReceipt(h.device, &r)
	}
	right := changed(func(*apply.Receipt) {})
	post := func(card, receipt []byte, as id.Peer, p session.Purpose) {
		t.Helper()
		body, err := session.SealEnvelope(h.keys, sent.Session, as, h.sender, p, session.AppendReceipt(nil, card, receipt))
		w.must(err)
		w.must(h.post(sent.Session.Scope(), h.sender, body))
	}
	me := h.peer()
	for _, c := range []struct {
		name          string
		card, receipt []byte
		as            id.Peer
		purpose       session.Purpose
	}{
		{"another session", h.receiver, changed(func(r *apply.Receipt) { r.Session = id.NewSession() }), me, session.Receipt},
		{"the catalog", h.receiver, changed(func(r *apply.Receipt) { r.Epoch = 0 }), me, session.Receipt},
		{"a later epoch", h.receiver, changed(func(r *apply.Receipt) { r.Epoch++ }), me, session.Receipt},
		{"another commit", h.receiver, changed(func(r *apply.Receipt) { r.Commit[0] ^= 1 }), me, session.Receipt},
		{"no commit", h.receiver, changed(func(r *apply.Receipt) { r.Commit = id.Commit{} }), me, session.Receipt},
		{"signed by another", h.receiver, apply.SignReceipt(stranger.device, &good), me, session.Receipt},
		{"another's card", stranger.receiver, apply.SignReceipt(stranger.device, &good), me, session.Receipt},
		{"card of a sender", h.rogue.sender, right, me, session.Receipt},
		{"no card", nil, right, me, session.Receipt},
		{"cut", h.receiver, right[:len(right)-1], me, session.Receipt},
		{"longer", h.receiver, append(bytes.Clone(right), 0), me, session.Receipt},
		{"as an announcement", h.receiver, right, me, session.Announce},
		{"in another's envelope", h.receiver, right, stranger.peer(), session.Receipt},
	} {
		post(c.card, c.receipt, c.as, c.purpose)
		r, err := old.Receipt(w.context(), sent.Session)
		w.must(err)
		if r != nil {
			t.Fatalf("%s: taken for a receipt: %+v", c.name, r)
		}
	}
	w.notSafe(old)

	failed := changed(func(r *apply.Receipt) {
		k := &r.Kinds[0]
		k.Counts[item.Moved-1].Items--
		k.Counts[item.Failed-1].Items++
	})
	post(h.receiver, failed, me, session.Receipt)
	r, err := old.Receipt(w.context(), sent.Session)
	w.must(err)
	if r == nil || r.SafeWipe {
		t.Errorf("a receipt that names a failure: %+v", r)
	}
	w.notSafe(old)
}

// rpc is a client that may say anything.
func (r *rogue) rpc() serverpbconnect.DecantClient {
	r.w.t.Helper()
	d, err := link.NewDialer(link.DialConfig{Device: r.device, Server: r.w.address, Carrier: link.Fast})
	r.w.must(err)
	r.w.t.Cleanup(func() { d.Close() })
	return serverpbconnect.NewDecantClient(&http.Client{Transport: d}, "http://server")
}

// statusOf is what the server says in its one header.
func statusOf(err error) wire.Status {
	var e *connect.Error
	if errors.As(err, &e) {
		for s := wire.Status(100); s < 400; s++ {
			if e.Meta().Get(wire.StatusHeader) == itoa(s) {
				return s
			}
		}
	}
	return 0
}

func itoa(s wire.Status) string {
	return string([]byte{'0' + byte(s/100), '0' + byte(s/10%10), '0' + byte(s%10)})
}

// TestRT14RequestIDs repeats request IDs with the same request, which has no second effect, and with others, which are refused.
func TestRT14RequestIDs(t *testing.T) {
	w := newWorld(t)
	old, young := w.rogue(), w.rogue()
	sid, ticket, o := old.offer()
	_, err := old.remote.Open(w.context(), o)
	w.must(err)
	for name, f := range map[string]func(*remote.Offer){
		"class":  func(o *remote.Offer) { o.Class = wire.ClassL },
		"blobs":  func(o *remote.Offer) { o.Blobs++ },
		"expiry": func(o *remote.Offer) { o.Expiry += time.Minute },
		"share":  func(o *remote.Offer) { k := *o.Ticket; k.Share[0] ^= 1; o.Ticket = &k },
		"ticket": func(o *remote.Offer) { o.Ticket = nil },
		"new ID": func(o *remote.Offer) { o.Request = id.NewRequest() },
	} {
		p := o
		f(&p)
		if _, err := old.remote.Open(w.context(), p); wire.StatusOf(err) != wire.Conflict {
			t.Errorf("open with another %s: %v", name, err)
		}
	}

	locator := ticket.Locator()
	claim := &serverpb.ClaimRequest{RequestId: random(16), Locator: locator[:], Card: young.receiver,
		Signature: pairing.SignClaim(ticket, young.peer(), key.HashCard(young.receiver))}
	c := young.rpc()
	first, err := c.Claim(w.context(), connect.NewRequest(claim))
	w.must(err)
	again, err := c.Claim(w.context(), connect.NewRequest(claim))
	w.must(err)
	if !bytes.Equal(first.Msg.Share, again.Msg.Share) {
		t.Error("a repeated claim has another answer")
	}
	card, err := key.SignCard(young.device, young.exchange, key.Receiver, key.Limits{MaxItems: 1}, time.Now().Add(time.Hour), "")
	w.must(err)
	other := &serverpb.ClaimRequest{RequestId: claim.RequestId, Locator: locator[:], Card: card,
		Signature: pairing.SignClaim(ticket, young.peer(), key.HashCard(card))}
	if _, err := c.Claim(w.context(), connect.NewRequest(other)); statusOf(err) != wire.Conflict {
		t.Errorf("claim with another card: %v", err)
	}

	to := old.peer()
	post := &serverpb.PostRequest{RequestId: random(16), Scope: sid[:], To: to[:], Body: []byte("one")}
	for range 3 {
		_, err = c.Post(w.context(), connect.NewRequest(post))
		w.must(err)
	}
	post.Body = []byte("two")
	if _, err := c.Post(w.context(), connect.NewRequest(post)); statusOf(err) != wire.Conflict {
		t.Errorf("post with another body: %v", err)
	}
	if mail := old.mail(sid.Scope()); len(mail) != 1 || string(mail[0].Body) != "one" {
		t.Errorf("the mailbox holds %v", mail)
	}
}

// TestRT14SecondReceiver: who comes second with the ticket gets nothing but "already claimed"; and so does who repeats, from
// another device, the claim that the first one made.
func TestRT14SecondReceiver(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	_, ticket := w.sendTicket(w.open("old"), src)
	var seen *serverpb.ClaimRequest
	var second *exchange
	w.layer.tell(func(x *exchange) {
		if x.call == "Claim" {
			if seen == nil {
				seen = asked[serverpb.ClaimRequest](x)
			} else {
				second = x
			}
		}
	})
	first := w.open("new")
	if _, err := w.receiveTicket(first, ticket, "to", no); !errors.Is(err, node.ErrDeclined) {
		t.Fatal(err)
	}
	_, err := w.receiveTicket(w.open("thief"), ticket, "thief-to", yes)
	w.wants(err, node.ErrAlreadyClaimed)
	if second == nil || len(second.body) > 2 {
		t.Errorf("the second was given %v", second)
	}
	w.empty("thief-to")
	r := w.rogue()
	if _, err := r.rpc().Claim(w.context(), connect.NewRequest(seen)); err == nil || statusOf(err) == 0 {
		t.Errorf("a claim repeated by another device: %v", err)
	}
	if _, err := r.remote.Claim(w.context(), remote.Claim{Session: id.Session(claimed(t, w, first)), Card: r.receiver}); wire.StatusOf(err) != wire.AlreadyClaimed {
		t.Errorf("a claim by session: %v", err)
	}
	w.layer.tell(nil)
	_, err = w.receiveTicket(w.open("new"), ticket, "to", yes)
	w.must(err)
	w.arrived(src, "to")
}

func claimed(t *testing.T, w *world, e *engine) id.Session {
	t.Helper()
	list, err := e.List(w.context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return list[0].Session
}

// TestRT14DeadTickets: a ticket that is unknown, expired, revoked or used to the end opens nothing, with a typed error; a session
// that ends after the claim is over.
func TestRT14DeadTickets(t *testing.T) {
	w := prepare(t)
	var ahead atomic.Int64 // a time.Duration
	w.config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w.start()
	dead := func(name, ticket string, want error) {
		t.Helper()
		to := "to-" + name
		_, err := w.receiveTicket(w.open("new-"+name), ticket, to, yes)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		w.empty(to)
	}
	dead("unknown", pairing.NewTicket().Words(), node.ErrWrongTicket)
	dead("malformed", "abandon abandon", node.ErrMalformed)

	r := w.rogue()
	sid, ticket, _ := r.offer()
	w.must(r.remote.Revoke(w.context(), sid))
	dead("revoked", ticket.Words(), node.ErrWrongTicket)

	sid, ticket, _ = r.offer()
	w.rogue().hold(ticket.Words())
	w.must(r.remote.Finish(w.context(), sid, grant.SignAck(r.device, grant.Ack{Session: sid})))
	dead("finished", ticket.Words(), node.ErrWrongTicket)

	src := w.collection()
	old := w.open("old")
	sent, words := w.sendTicket(old, src)
	young := w.open("claimed")
	if _, err := w.receiveTicket(young, words, "to", no); !errors.Is(err, node.ErrDeclined) {
		t.Fatal(err)
	}
	w.stop()
	ahead.Store(int64(15 * 24 * time.Hour))
	w.start() // a restart counts for a day at most
	w.stop()
	w.start()
	ahead.Add(int64(15 * 24 * time.Hour))
	_, err := young.Receive(w.context(), node.ReceiveOptions{Session: claimed(t, w, young), Confirm: yes})
	w.wants(err, node.ErrSessionOver)
	dead("expired", words, node.ErrWrongTicket)
	_, err = old.Receipt(w.context(), sent.Session)
	w.wants(err, node.ErrSessionOver)
	w.notSafe(old)
	w.empty("to")
}

// TestRT14ReceiptOfAnOlderEpoch posts a receipt, right in all else, for what was sent before the last change.
func TestRT14ReceiptOfAnOlderEpoch(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	old := w.open("old")
	sent, ticket := w.sendTicket(old, src)
	h := w.rogue().hold(ticket)
	root, err := h.remote.GetRoot(w.context(), sent.Session, 1, 0)
	w.must(err)
	opened, commit, err := manifest.OpenRoot(h.keys, sent.Session, root.Epoch, root.Sealed)
	w.must(err)
	receipt := &apply.Receipt{Session: sent.Session, Epoch: root.Epoch, Commit: commit, Level: apply.Synced, At: time.Now().UTC().Truncate(time.Second)}
	for _, total := range opened.Totals {
		k := apply.KindReceipt{Kind: total.Kind}
		k.Counts[item.Moved-1] = item.Tally{Items: int64(total.Items), Bytes: int64(total.Bytes)}
		receipt.Kinds = append(receipt.Kinds, k)
	}
	w.write(filepath.Join(src, "later.txt"), "not on the new device")
	w.sendTicket(old, src)
	body, err := session.SealEnvelope(h.keys, sent.Session, h.peer(), h.sender, session.Receipt, session.AppendReceipt(nil, h.receiver, apply.SignReceipt(h.device, receipt)))
	w.must(err)
	w.must(h.post(sent.Session.Scope(), h.sender, body))
	if r, err := old.Receipt(w.context(), sent.Session); r != nil && r.SafeWipe {
		t.Errorf("safe to wipe by a receipt of epoch %d, %v", r.Epoch, err)
	}
	w.notSafe(old)
}
