package redteam

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
)

// headSize is what stands before a pairing message in the mailbox.
const headSize = 9

// disguise makes the server say that messages come from somebody else.
type disguise struct {
	mu sync.Mutex
	as map[id.Peer]id.Peer
}

func (w *world) disguise() *disguise {
	d := &disguise{as: map[id.Peer]id.Peer{}}
	w.layer.tell(d.lie)
	return d
}

func (d *disguise) put(r *rogue, as id.Peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.as[r.peer()] = as
}

func (d *disguise) lie(x *exchange) {
	if x.call != "Fetch" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	edit(x, func(m *serverpb.FetchResponse) {
		for _, e := range m.Messages {
			if as, ok := d.as[id.Peer(e.From)]; ok {
				e.From = as[:]
			}
		}
	})
}

// message builds a message 1, or with a tag a message 2.
func message(kind byte, y, tag, card []byte) []byte {
	b := append(append([]byte{kind}, y...), tag...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(card))), card...)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// TestP6ReflectedToTheOldDevice sends an old device its own message 1 back, as it is and dressed up as message 2, with its own
// card and with another device's, from the true receiver as the server says. It drops them all and pairs with the true one.
func TestP6ReflectedToTheOldDevice(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	j, r := w.journey(), w.rogue()
	at := r.find(j.code().code)
	release := make(chan struct{})
	tap := w.tap(func(x *exchange) <-chan struct{} {
		if x.call == "Fetch" && x.caller == at.owner { // the true answer comes last
			return release
		}
		return nil
	})
	d := w.disguise()
	d.put(r, at.owner)
	// A long poll of the receiver that began earlier is ended, so that its next one is held.
	w.must(r.post(at.scope, at.owner, []byte{0}))

	j.send(src)
	j.typed <- at.code.String()
	first := tap.post(t, "message 1", func(p posted) bool { return p.to == at.owner && p.from != r.peer() })
	head, m1 := first.body[:headSize], first.body[headSize:]
	ya, own := m1[1:33], m1[35:]
	low := make([]byte, 32)
	forged := [][]byte{
		m1,
		message(2, ya, random(64), own),
		message(2, ya, random(64), r.receiver),
		message(2, random(32), random(64), r.receiver),
		message(2, low, random(64), r.receiver),
		message(3, ya, random(200), nil),
		nil,
		{2},
	}
	for _, m := range forged {
		w.must(r.post(at.scope, first.from, slices.Concat(head, m)))
	}
	last := uint64(len(forged)) + 2 // after the poke and message 1
	tap.until(t, "that the old device has read them", func() bool { return tap.after[first.from] >= last })
	close(release)
	j.arrives(src)
	if len(j.old.said.list) != 0 {
		t.Errorf("the person was told %v", j.old.said.list)
	}
}

// TestP6ReflectedToTheNewDevice sends a new device message 2 and 3 of exchanges as message 1, weak points, its own identity and
// card, and cards of another device than the message comes from. None is answered and none costs an attempt.
func TestP6ReflectedToTheNewDevice(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	j, r, other, self := w.journey(), w.rogue(), w.rogue(), w.rogue()
	at := r.find(j.code().code)
	tap := w.tap(nil)
	d := w.disguise()
	d.put(self, at.owner) // "this message is from yourself"

	p := at.wrong().Params(w.address.Peer, at.scope)
	_, m1, err := pairing.StartOld(p, r.sender)
	w.must(err)
	_, foreign, err := pairing.StartOld(p, other.sender)
	w.must(err)
	_, m2, err := pairing.AnswerNew(p, other.receiver, m1)
	w.must(err)
	one := make([]byte, 32)
	one[0] = 1
	for _, m := range [][]byte{
		m2, foreign,
		message(1, make([]byte, 32), nil, r.sender), message(1, one, nil, r.sender), message(1, bytes.Repeat([]byte{0xff}, 32), nil, r.sender),
		message(1, m1[1:33], nil, r.receiver), message(1, m1[1:33], nil, nil), append(slices.Clone(m1), 0), m1[:len(m1)-1],
		message(3, random(32), random(64), nil),
	} {
		w.must(r.post(at.scope, at.owner, append(newHead(), m...)))
	}
	for _, m := range [][]byte{m1, foreign, message(1, m1[1:33], nil, self.sender)} {
		w.must(self.post(at.scope, at.owner, append(newHead(), m...)))
	}
	tap.until(t, "that the new device has read them", func() bool { return tap.after[at.owner] >= 13 })
	if n := tap.count(func(p posted) bool { return p.from == at.owner }); n != 0 {
		t.Errorf("%d of them were answered", n)
	}
	j.send(src)
	j.typed <- at.code.String()
	j.arrives(src)
}

// TestA16RelayUnderAnotherIdentity lets a malicious server and its accomplice sit between two honest devices that know the
// right code. The accomplice passes every message on under its own identity. Both refuse, so that neither ends up paired with
// somebody whom the other one does not mean.
func TestA16RelayUnderAnotherIdentity(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	j, r := w.journey(), w.rogue()
	at := r.find(j.code().code)
	as := map[id.Peer]id.Peer{}
	tap := w.tap(nil)
	d := &disguise{as: as}
	w.layer.tell(func(x *exchange) {
		if x.call == "Resolve" {
			own := r.peer()
			edit(x, func(m *serverpb.ResolveResponse) { m.Owner = own[:] })
		}
		d.lie(x)
	})
	j.send(src)
	j.typed <- at.code.String()
	first := tap.post(t, "message 1", func(p posted) bool { return p.to == r.peer() })

	// To the new device, from the accomplice: refused.
	w.must(r.post(at.scope, at.owner, first.body))
	tap.until(t, "that the new device has read it", func() bool { return tap.after[at.owner] >= 2 })
	if n := tap.count(func(p posted) bool { return p.from == at.owner }); n != 0 {
		t.Fatal("the new device answered a message that another device's card is in")
	}
	// The server says that it is from the old device, and so it gets an answer, which the accomplice passes on: refused.
	d.put(r, first.from)
	w.must(r.post(at.scope, at.owner, first.body))
	second := tap.post(t, "message 2", func(p posted) bool { return p.from == at.owner })
	d.put(r, r.peer())
	w.must(r.post(at.scope, first.from, second.body))
	tap.until(t, "that the old device has read it", func() bool { return tap.after[first.from] >= 4 })
	j.stop()
	<-j.sending
	<-j.receiving
	if tap.pinned() != 0 || tap.count(func(p posted) bool { return p.from == first.from }) != 1 {
		t.Error("the old device went on")
	}
	w.empty("to")
}

// TestE1SubstitutedCard is a server that answers in the new device's place, with its own card and words of its own choice. The
// person is told that the code was wrong; nothing is handed over, and that code is not tried again.
func TestE1SubstitutedCard(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	j, r := w.journey(), w.rogue()
	at := r.find(j.code().code)
	tap := w.tap(nil)
	lying := true
	w.layer.tell(func(x *exchange) {
		if x.call == "Resolve" && lying {
			own := r.peer()
			edit(x, func(m *serverpb.ResolveResponse) { m.Owner = own[:] })
			lying = false
		}
	})
	j.send(src)
	j.typed <- at.code.String()
	first := tap.post(t, "message 1", func(p posted) bool { return p.to == r.peer() })
	p := at.wrong().Params(w.address.Peer, at.scope)
	p.Remote = first.from
	_, m2, err := pairing.AnswerNew(p, r.receiver, first.body[headSize:])
	w.must(err)
	w.must(r.post(at.scope, first.from, slices.Concat(first.body[:headSize], m2)))
	// The person types the code that is still shown, and the server is honest now.
	j.typed <- at.code.String()
	j.arrives(src)
	if !j.old.said.has("attempt-failed wrong") || tap.pinned() != 1 {
		t.Errorf("the person was told %v, %d devices were pinned", j.old.said.list, tap.pinned())
	}
}

// TestE2SwappedCards changes the card in each message on its way, without touching anything else.
func TestE2SwappedCards(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	j, r := w.journey(), w.rogue()
	at := r.find(j.code().code)
	swaps := 0
	w.layer.tell(func(x *exchange) {
		if x.call != "Fetch" {
			return
		}
		edit(x, func(m *serverpb.FetchResponse) {
			for _, e := range m.Messages {
				if len(e.Body) < headSize+100 {
					continue
				}
				switch card := r.sender; e.Body[headSize] {
				case 1: // and the sender with it
					own := r.peer()
					e.From, swaps = own[:], swaps+1
					e.Body = slices.Concat(e.Body[:headSize], message(1, e.Body[headSize+1:headSize+33], nil, card))
				case 2: // the new device's answer to the accomplice, as if it were to the old one
					own := id.Peer(e.From)
					e.From = own[:]
				}
			}
		})
	})
	// What the new device answers goes to the accomplice, who passes it on to the old device under the new device's name.
	tap := w.tap(nil)
	j.send(src)
	j.typed <- at.code.String()
	first := tap.post(t, "message 1", func(p posted) bool { return p.to == at.owner })
	second := tap.post(t, "message 2", func(p posted) bool { return p.from == at.owner && p.to == r.peer() })
	tell := &disguise{as: map[id.Peer]id.Peer{r.peer(): at.owner}}
	w.layer.tell(tell.lie)
	w.must(r.post(at.scope, first.from, second.body))
	j.old.said.wait(t, "attempt-failed wrong")
	j.stop()
	<-j.sending
	<-j.receiving
	if swaps == 0 || tap.pinned() != 0 {
		t.Errorf("%d swaps, %d devices pinned", swaps, tap.pinned())
	}
	w.empty("to")
}

// TestE3SubstitutedCardByLink answers in the new device's place, with the link's own secret: even who has photographed the QR
// code, with the server's help, can't receive what was meant for the device that showed it.
func TestE3SubstitutedCardByLink(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	j, r := w.journey(), w.rogue()
	text := j.code().link
	l, err := pairing.ParseLink(text)
	w.must(err)
	tap := w.tap(nil)
	w.layer.tell(func(x *exchange) {
		if x.call == "Resolve" {
			own := r.peer()
			edit(x, func(m *serverpb.ResolveResponse) { m.Owner = own[:] })
		}
	})
	j.send(src)
	j.typed <- text
	first := tap.post(t, "message 1", func(p posted) bool { return p.to == r.peer() })
	p := l.Params()
	p.Card, p.Remote = key.HashCard(r.receiver), first.from
	_, m2, err := pairing.AnswerNew(p, r.receiver, first.body[headSize:])
	w.must(err)
	w.must(r.post(l.Scope, first.from, slices.Concat(first.body[:headSize], m2)))
	p = l.Params() // and once as if the card were the one pinned
	p.Card, p.Remote = id.CardHash{}, first.from
	_, m2, err = pairing.AnswerNew(p, r.receiver, first.body[headSize:])
	w.must(err)
	w.must(r.post(l.Scope, first.from, slices.Concat(first.body[:headSize], m2)))
	tap.until(t, "that the old device has read them", func() bool { return tap.after[first.from] >= 3 })
	j.stop()
	<-j.sending
	<-j.receiving
	if tap.pinned() != 0 || tap.count(func(p posted) bool { return p.from == first.from }) != 1 {
		t.Error("the old device went on")
	}
	w.notSafe(j.old)
	w.empty("to")
}

// TestE3LinkWorks is the honest case beside the one above, and the link of another server is refused before anything is asked.
func TestE3LinkWorks(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	j := w.journey()
	text := j.code().link
	l, err := pairing.ParseLink(text)
	w.must(err)
	elsewhere := l
	elsewhere.Server.Peer = key.NewDevice().Peer()
	tap := w.tap(nil)
	j.send(src)
	j.typed <- elsewhere.String()
	<-j.sending
	w.wants(j.sendErr, node.ErrWrongServer)
	if n := tap.count(func(posted) bool { return true }); n != 0 {
		t.Errorf("%d messages were posted", n)
	}
	j.sending = make(chan struct{})
	j.send(src)
	j.typed <- text
	j.arrives(src)
}
