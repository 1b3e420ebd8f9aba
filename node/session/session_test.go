package session

import (
	"bytes"
	"testing"

	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

func keysFor(t testing.TB, sid id.Session) *seal.Keys {
	t.Helper()
	k, err := seal.Schedule(seal.NewMasterKey(), sid, id.CardHash{1})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEnvelope(t *testing.T) {
	sid, a, b := id.NewSession(), id.Peer{1}, id.Peer{2}
	keys := keysFor(t, sid)
	sizes := map[int]bool{}
	for _, n := range []int{0, 1, 500, 1020, 1021, 5000, MaxPayload} {
		payload := bytes.Repeat([]byte{7}, n)
		body, err := SealEnvelope(keys, sid, a, b, Announce, payload)
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(body)] = true
		p, got, err := OpenEnvelope(keys, sid, a, b, body)
		if err != nil || p != Announce || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: %v %d %v", n, p, len(got), err)
		}
	}
	if len(sizes) != 2 {
		t.Errorf("envelopes have %d sizes, the server may see two", len(sizes))
	}
	if _, err := SealEnvelope(keys, sid, a, b, Announce, make([]byte, MaxPayload+1)); err == nil {
		t.Error("a payload beyond the limit was sealed")
	}
}

// TestEnvelopeIsBound changes everything that an envelope is bound to.
func TestEnvelopeIsBound(t *testing.T) {
	sid, a, b := id.NewSession(), id.Peer{1}, id.Peer{2}
	keys := keysFor(t, sid)
	body, err := SealEnvelope(keys, sid, a, b, Receipt, []byte("receipt"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name string, k *seal.Keys, s id.Session, from, to id.Peer, body []byte) {
		t.Helper()
		if _, _, err := OpenEnvelope(k, s, from, to, body); err != ErrEnvelope {
			t.Errorf("%s: %v, want ErrEnvelope", name, err)
		}
	}
	refused("other session", keys, id.NewSession(), a, b, body)
	refused("other sender", keys, sid, id.Peer{3}, b, body)
	refused("other receiver", keys, sid, a, id.Peer{3}, body)
	refused("sent back", keys, sid, b, a, body)
	refused("other keys", keysFor(t, sid), sid, a, b, body)
	refused("empty", keys, sid, a, b, nil)
	other := bytes.Clone(body)
	other[0] = byte(Announce)
	refused("other purpose", keys, sid, a, b, other)
	for i := range body {
		bad := bytes.Clone(body)
		bad[i] ^= 0x40
		refused("changed byte", keys, sid, a, b, bad)
	}
	refused("cut off", keys, sid, a, b, body[:len(body)-1])
	refused("longer", keys, sid, a, b, append(bytes.Clone(body), 0))
	for _, size := range []int{4, 100, 1023, 1025, 2048, 60 << 10} { // the payload's own size is 1024
		plain := make([]byte, size)
		sealed := seal.Seal([]byte{byte(Receipt)}, &keys.Mailbox, envelopeContext(sid, a, b, Receipt), plain)
		refused("padded to another size", keys, sid, a, b, sealed)
	}
}

func FuzzOpenEnvelope(f *testing.F) {
	sid, a, b := id.Session{1}, id.Peer{1}, id.Peer{2}
	keys := keysFor(f, sid)
	body, _ := SealEnvelope(keys, sid, a, b, Receipt, []byte("receipt"))
	f.Add(body)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, _, err := OpenEnvelope(keys, sid, a, b, in); err == nil && !bytes.Equal(in, body) {
			t.Error("opened an envelope that nobody sealed")
		}
	})
}

func FuzzParseReceipt(f *testing.F) {
	f.Add(AppendReceipt(nil, []byte("card"), []byte("receipt")))
	f.Fuzz(func(t *testing.T, in []byte) {
		card, receipt, err := ParseReceipt(in)
		if err == nil && !bytes.Equal(AppendReceipt(nil, card, receipt), in) {
			t.Error("does not encode to the same bytes")
		}
	})
}

func TestTransitions(t *testing.T) {
	happy := func(s State, events ...Event) State {
		t.Helper()
		for _, e := range events {
			n, err := Next(s, e)
			if err != nil {
				t.Fatal(err)
			}
			s = n
		}
		return s
	}
	if s := happy(New, Opened, Granted, Cataloged, Committed, AllDone, Confirmed); s != Done {
		t.Errorf("sender by code ends in %s", s)
	}
	if s := happy(New, Opened, Cataloged, Committed, Changed, Committed, AllDone, Confirmed); s != Done {
		t.Errorf("sender by ticket, twice, ends in %s", s)
	}
	if s := happy(New, Granted, Accepted, Complete, AllDone, Confirmed, TakenBack); s != Undone {
		t.Errorf("receiver ends in %s", s)
	}
	for _, c := range []struct {
		s State
		e Event
	}{
		{New, AllDone}, {Open, Committed}, {Sending, AllDone}, {Planned, AllDone}, {Paired, Complete}, {Over, Opened}, {Undone, Confirmed}, {Done, Changed},
		{Staged, Ended}, // what is staged is applied or stays; it can't be over
	} {
		if n, err := Next(c.s, c.e); err == nil || n != c.s {
			t.Errorf("%s after %s gives %s, want a refusal", c.e, c.s, n)
		}
	}
	for s, m := range transitions {
		for e, n := range m {
			if _, ok := transitions[n]; !ok {
				t.Errorf("%s on %s leads to %s, which is no state", s, e, n)
			}
		}
	}
}
