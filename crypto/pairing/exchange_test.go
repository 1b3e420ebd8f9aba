package pairing

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
)

var notAfter = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

type party struct {
	d    *key.Device
	e    *key.Exchange
	card []byte
}

func newParty(t testing.TB, role key.Role) party {
	t.Helper()
	e, err := key.NewExchange()
	if err != nil {
		t.Fatal(err)
	}
	p := party{d: key.NewDevice(), e: e}
	p.card = p.sign(t, role)
	return p
}

// sign makes a card of the party's keys in a role.
func (p party) sign(t testing.TB, role key.Role) []byte {
	t.Helper()
	card, err := key.SignCard(p.d, p.e, role, key.Limits{}, notAfter, "")
	if err != nil {
		t.Fatal(err)
	}
	return card
}

// world is everything that two honest devices need to pair.
type world struct {
	old, new party
	params   Params
}

func newWorld(t testing.TB) world {
	server := key.NewDevice().Peer()
	return world{newParty(t, key.Sender), newParty(t, key.Receiver), NewCode(7).Params(server, id.NewScope())}
}

// run plays the exchange with the two sides' parameters and says where it ended.
func (w world) run(po, pn Params, tamper func(n int, message []byte) []byte) (grant, card []byte, err error) {
	o, m1, err := StartOld(po, w.old.card)
	if err != nil {
		return nil, nil, err
	}
	n, m2, err := AnswerNew(pn, w.new.card, tamper(1, m1))
	if err != nil {
		return nil, nil, err
	}
	p, err := o.Finish(tamper(2, m2))
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(p.ReceiverCard, w.new.card) {
		return nil, nil, errors.New("wrong receiver card")
	}
	return n.Confirm(tamper(3, p.Message3([]byte("grant"))))
}

func honest(_ int, message []byte) []byte { return message }

func TestExchange(t *testing.T) {
	w := newWorld(t)
	grant, card, err := w.run(w.params, w.params, honest)
	if err != nil || string(grant) != "grant" || !bytes.Equal(card, w.old.card) {
		t.Fatalf("code: %q, %v", grant, err)
	}
	link := NewLink(id.Server{Peer: w.params.Server, Host: "localhost", Port: 1}, id.NewScope(), key.HashCard(w.new.card))
	po, pn := link.Params(), link.Params()
	po.Remote, pn.Remote = w.new.d.Peer(), w.old.d.Peer()
	if grant, _, err = w.run(po, pn, honest); err != nil || string(grant) != "grant" {
		t.Fatalf("link: %q, %v", grant, err)
	}
}

// A device that dies between two messages goes on from its journal.
func TestExchangeAcrossCrashes(t *testing.T) {
	w := newWorld(t)
	o, m1, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	n, m2, err := AnswerNew(w.params, w.new.card, m1)
	if err != nil {
		t.Fatal(err)
	}
	o, err = ParseOld(o.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	n, err = ParseNew(n.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.Finish(m2)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the same message again, made again
		grant, card, err := n.Confirm(p.Message3([]byte("grant")))
		if err != nil || string(grant) != "grant" || !bytes.Equal(card, w.old.card) {
			t.Fatalf("%q, %v", grant, err)
		}
	}
}
