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

// Both sides must agree on every input; a difference in one is a mismatch, and what the
// sender wraps never opens.
func TestExchangeBindsEveryInput(t *testing.T) {
	w := newWorld(t)
	code := Code{Nameplate: 7, Words: [3]string{"abandon", "ability", "able"}}
	server, scope := w.params.Server, w.params.Scope
	base := code.Params(server, scope)
	link := NewLink(id.Server{Peer: server, Host: "h", Port: 1}, scope, key.HashCard(w.new.card))
	with := func(change func(c *Code)) Params { c := code; change(&c); return c.Params(server, scope) }
	scope2, server2 := scope, key.NewDevice().Peer()
	scope2[15] ^= 1
	link2, link3 := link, link
	link2.Secret[0] ^= 1
	link3.Scope[0] ^= 1
	ownCard := base
	ownCard.Card = key.HashCard(w.new.card)
	for name, c := range map[string]struct {
		old, new Params
		want     error
	}{
		"same":          {base, base, nil},
		"first word":    {with(func(c *Code) { c.Words[0] = "about" }), base, ErrMismatch},
		"second word":   {with(func(c *Code) { c.Words[1] = "about" }), base, ErrMismatch},
		"third word":    {with(func(c *Code) { c.Words[2] = "about" }), base, ErrMismatch},
		"words swapped": {with(func(c *Code) { c.Words[0], c.Words[1] = c.Words[1], c.Words[0] }), base, ErrMismatch},
		"nameplate":     {with(func(c *Code) { c.Nameplate = 8 }), base, ErrMismatch},
		"server":        {code.Params(server2, scope), base, ErrMismatch},
		"scope":         {code.Params(server, scope2), base, ErrMismatch},
		"link and code": {link.Params(), base, ErrMismatch},
		"link":          {link.Params(), link.Params(), nil},
		"link's secret": {link2.Params(), link.Params(), ErrMismatch},
		"link's scope":  {link3.Params(), link.Params(), ErrMismatch},
		"pinned card":   {ownCard, ownCard, nil},
	} {
		if grant, _, err := w.run(c.old, c.new, honest); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err != nil && grant != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// P-1, P-6, E-1: whoever sits in the middle and puts a good card of its own into a message
// does not get through without the code.
func TestP6CardSwap(t *testing.T) {
	w, evil := newWorld(t), newParty(t, key.Sender)
	evilNew := party{evil.d, evil.e, evil.sign(t, key.Receiver)}
	swap := func(n int, card []byte) func(int, []byte) []byte {
		return func(i int, m []byte) []byte {
			if i != n {
				return m
			}
			y, tag := m[1:33], m[33:33]
			if n == 2 {
				tag = m[33 : 33+tagSize]
			}
			return appendMessage(m[0], y, tag, card)
		}
	}
	if _, _, err := w.run(w.params, w.params, swap(1, evil.card)); err != ErrMismatch {
		t.Errorf("sender's card: %v", err)
	}
	if _, _, err := w.run(w.params, w.params, swap(2, evilNew.card)); err != ErrMismatch {
		t.Errorf("receiver's card: %v", err)
	}
	// With a wrong code of its own the stranger gets a mismatch as old device, and so does its victim.
	wrong := NewCode(7).Params(w.params.Server, w.params.Scope)
	stranger := world{evil, w.new, wrong}
	if _, _, err := stranger.run(wrong, w.params, honest); err != ErrMismatch {
		t.Errorf("stranger as old device: %v", err)
	}
	stranger = world{w.old, evilNew, wrong}
	if _, _, err := stranger.run(w.params, wrong, honest); err != ErrMismatch {
		t.Errorf("stranger as new device: %v", err)
	}
	// A new device that answers without the code and lets its tag be right by luck does not exist; one
	// that is answered must show Ta before it is believed.
	n, _, err := answer(w)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte{message3}, make([]byte, tagSize)...)
	if _, _, err := n.Confirm(append(forged, wrapGrant(&n.wrap, []byte("grant"))...)); err != ErrMismatch {
		t.Errorf("message 3 without Ta: %v", err)
	}
}

func answer(w world) (*New, []byte, error) {
	_, m1, err := StartOld(w.params, w.old.card)
	if err != nil {
		return nil, nil, err
	}
	return AnswerNew(w.params, w.new.card, m1)
}

// RT-15: reflection, own device, wrong role, a card that is not its carrier's.
func TestRT15UnacceptableMessages(t *testing.T) {
	w, other := newWorld(t), newParty(t, key.Sender)
	o, m1, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	n, m2, err := AnswerNew(w.params, w.new.card, m1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.Finish(m2)
	if err != nil {
		t.Fatal(err)
	}
	m3 := p.Message3([]byte("grant"))
	ya, yb, tb := m1[1:33], m2[1:33], m2[33:33+tagSize]
	serverDevice := party{key.NewDevice(), w.old.e, nil}

	answer := func(name string, params Params, message []byte) {
		t.Helper()
		if n, m, err := AnswerNew(params, w.new.card, message); err != ErrExchange || n != nil || m != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	remote := w.params
	remote.Remote = other.d.Peer()
	answer("card of another device than the carrier's", remote, m1)
	answer("own device as sender", w.params, appendMessage(message1, ya, nil, w.new.sign(t, key.Sender)))
	answer("receiver's card as sender's", w.params, appendMessage(message1, ya, nil, other.sign(t, key.Receiver)))
	answer("own answer sent back", w.params, m2)
	answer("own answer in the form of message 1", w.params, appendMessage(message1, yb, nil, w.new.card))
	atServer := w.params
	atServer.Server = serverDevice.d.Peer()
	answer("the server as sender", atServer, appendMessage(message1, ya, nil, serverDevice.sign(t, key.Sender)))
	answer("message 3", w.params, m3)
	answer("no card", w.params, appendMessage(message1, ya, nil, nil))
	answer("nothing", w.params, nil)
	answer("byte added", w.params, append(bytes.Clone(m1), 0))
	answer("10 MB", w.params, append(bytes.Clone(m1), make([]byte, 10<<20)...))

	finish := func(name string, message []byte) {
		t.Helper()
		if p, err := o.Finish(message); err != ErrExchange || p != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	finish("own message sent back", m1)
	finish("own share in the form of message 2", appendMessage(message2, ya, tb, w.new.card))
	finish("own device as receiver", appendMessage(message2, yb, tb, w.old.sign(t, key.Receiver)))
	finish("sender's card as receiver's", appendMessage(message2, yb, tb, other.card))
	finish("message 3", m3)
	finish("10 MB", append(bytes.Clone(m2), make([]byte, 10<<20)...))
	pinned := w.params
	pinned.Card = id.CardHash{1}
	o2, _, err := StartOld(pinned, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o2.Finish(m2); err != ErrExchange {
		t.Errorf("another card than the pinned one: %v", err)
	}
	for name, m := range map[string][]byte{"nothing": nil, "message 1": m1, "message 2": m2, "tag only": m3[:1+tagSize]} {
		if _, _, err := n.Confirm(m); err != ErrExchange {
			t.Errorf("Confirm of %s: %v", name, err)
		}
	}
	// None of it spoilt the states.
	if _, err := o.Finish(m2); err != nil {
		t.Error(err)
	}
	if _, _, err := n.Confirm(m3); err != nil {
		t.Error(err)
	}
	// A device does not start with a card that is not its to show.
	if _, _, err := StartOld(w.params, w.new.card); !errors.Is(err, key.ErrCard) {
		t.Errorf("StartOld with a receiver's card: %v", err)
	}
	if _, _, err := AnswerNew(w.params, w.old.card, m1); !errors.Is(err, key.ErrCard) {
		t.Errorf("AnswerNew with a sender's card: %v", err)
	}
	if _, _, err := AnswerNew(pinned, w.new.card, m1); !errors.Is(err, key.ErrCard) {
		t.Errorf("AnswerNew with another card than the link's: %v", err)
	}
}

// No part of any message can be changed, and a replay from another exchange is worth nothing.
func TestExchangeBindsEveryByte(t *testing.T) {
	w := newWorld(t)
	o, m1, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	n, m2, err := AnswerNew(w.params, w.new.card, m1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.Finish(m2)
	if err != nil {
		t.Fatal(err)
	}
	m3 := p.Message3([]byte("grant"))
	flip := func(m []byte, i int) []byte { m = bytes.Clone(m); m[i] ^= 1 << (i % 8); return m }
	// Behind the first bytes is the card, which has its own signature: there a sample will do.
	sample := func(i int) bool { return i < 200 || i%5 == 0 }
	for i := range m1 {
		if !sample(i) {
			continue
		}
		_, answer, err := AnswerNew(w.params, w.new.card, flip(m1, i))
		if err == nil {
			_, err = o.Finish(answer)
		}
		if err != ErrMismatch && err != ErrExchange {
			t.Errorf("message 1, byte %d: %v", i, err)
		}
	}
	for i := range m2 {
		if !sample(i) {
			continue
		}
		if _, err := o.Finish(flip(m2, i)); err != ErrMismatch && err != ErrExchange {
			t.Errorf("message 2, byte %d: %v", i, err)
		}
	}
	for i := range m3 {
		if grant, _, err := n.Confirm(flip(m3, i)); err != ErrMismatch && err != ErrExchange || grant != nil {
			t.Errorf("message 3, byte %d: %v", i, err)
		}
	}
	_, again, err := AnswerNew(w.params, w.new.card, m1)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Finish(m2); err != ErrMismatch {
		t.Errorf("message 2 replayed to another exchange: %v", err)
	}
	if p, err = o.Finish(again); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Confirm(p.Message3([]byte("grant"))); err != ErrMismatch {
		t.Errorf("message 3 of another answer: %v", err)
	}
}

func TestParseStateRefuses(t *testing.T) {
	w := newWorld(t)
	o, _, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := answer(w)
	if err != nil {
		t.Fatal(err)
	}
	old, new := o.Bytes(), n.Bytes()
	for _, b := range [][]byte{nil, old[:oldHead], old[:len(old)-1], append(bytes.Clone(old), 0)} {
		if _, err := ParseOld(b); err == nil {
			t.Errorf("old state of %d bytes accepted", len(b))
		}
	}
	for _, b := range [][]byte{nil, new[:tagSize+keySize+1], new[:len(new)-1], append(bytes.Clone(new), 0)} {
		if _, err := ParseNew(b); err == nil {
			t.Errorf("new state of %d bytes accepted", len(b))
		}
	}
}
