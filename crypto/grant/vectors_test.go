package grant

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"flag"
	"slices"
	"testing"
	"testing/cryptotest"

	"golang.org/x/crypto/nacl/box"

	"github.com/decant-dev/decant/crypto/internal/vector"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

var update = flag.Bool("update", false, "write the test vectors again")

const grantDir, ticketDir, pinDir, ackDir = "testdata/grant", "testdata/ticket", "testdata/pin", "testdata/ack"

// fixedParty is a device whose keys are all one byte.
func fixedParty(t testing.TB, n byte, role key.Role) party {
	t.Helper()
	d, err := key.DeviceFromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	e, err := key.ParseExchange(bytes.Repeat([]byte{n}, key.ExchangeSize))
	if err != nil {
		t.Fatal(err)
	}
	card, err := key.SignCard(d, e, role, key.Limits{}, notAfter, "")
	if err != nil {
		t.Fatal(err)
	}
	return party{d, e, card}
}

func fixedGrant(t testing.TB, from, to party) *Grant {
	t.Helper()
	mk, err := seal.MasterKeyFromBytes(bytes.Repeat([]byte{0x4d}, 32))
	if err != nil {
		t.Fatal(err)
	}
	g := newGrant(from, to)
	g.MK, g.Session = mk, id.Session(bytes.Repeat([]byte{0x51}, 16))
	return g
}

func encoded(t testing.TB, g *Grant) []byte {
	t.Helper()
	b, err := g.encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// layers makes a grant step by step, from SPEC 5.1, so that a test can do one step wrong.
type layers struct {
	body        []byte // of the box
	boxTo       *[32]byte
	boxFrom     *[32]byte
	inner       func([]byte) []byte // changes what goes into HPKE
	hpkeTo      []byte              // X-Wing public key
	info        []byte
	outer       func([]byte) []byte // changes what is signed
	signer      *key.Device
	signedLabel label.Label
}

func honestLayers(t testing.TB, g *Grant, from, to party) layers {
	t.Helper()
	body := encoded(t, g)
	card, err := key.ParseCard(to.card)
	if err != nil {
		t.Fatal(err)
	}
	same := func(b []byte) []byte { return b }
	return layers{body: body, boxTo: &card.Box, boxFrom: from.e.Box(), inner: same, hpkeTo: card.XWing,
		info: hpkeInfo(g.Session, g.SenderCard, g.ReceiverCard), outer: same, signer: from.d, signedLabel: label.Grant}
}

func (l layers) seal(t testing.TB) []byte {
	t.Helper()
	pub, err := hpke.MLKEM768X25519().NewPublicKey(l.hpkeTo)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := hpke.Seal(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), l.info, l.inner(sealBox(l.body, l.boxTo, l.boxFrom)))
	if err != nil {
		t.Fatal(err)
	}
	outer = l.outer(outer)
	sum := sha256.Sum256(outer)
	return append(outer, l.signer.Sign(l.signedLabel, sum[:])...)
}

// grantVectors: the ok case opens; each other one has a single thing wrong with it, made
// by the sender itself or by whoever could make it.
func grantVectors(t *testing.T) []vector.File {
	cryptotest.SetGlobalRandom(t, 2)
	from, to, third := fixedParty(t, 1, key.Sender), fixedParty(t, 2, key.Receiver), fixedParty(t, 3, key.Receiver)
	g := fixedGrant(t, from, to)
	var out []vector.File
	add := func(name, expect, comment string, b []byte) {
		out = append(out, vector.File{Name: name, Expect: expect, Comment: comment, Body: b, Fields: []vector.Field{
			vector.Hex("session", g.Session[:]), vector.Hex("sender-card", from.card), vector.Hex("receiver-card", to.card),
			vector.Hex("receiver-exchange", to.e.Bytes()), vector.Hex("master", g.MK.Bytes())}})
	}
	good := honestLayers(t, g, from, to)
	b, err := Seal(g, from.d, from.e, to.card)
	if err != nil {
		t.Fatal(err)
	}
	add("ok", "ok", "a grant of epoch 3", b)
	refuse := func(name, comment string, change func(l *layers)) {
		l := good
		change(&l)
		add(name, "refuse", comment, l.seal(t))
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b = slices.Clone(b); b[at] ^= 1; return b }
	}
	bodyOf := func(change func(g *Grant)) []byte {
		g := *g
		change(&g)
		return encoded(t, &g)
	}
	add("nothing", "refuse", "no bytes at all", nil)
	add("unsigned", "refuse", "the signature is stripped", b[:outerSize])
	add("byte-added", "refuse", "a byte too many", append(slices.Clone(b), 0))
	refuse("signed-by-another", "signed by a third device", func(l *layers) { l.signer = third.d })
	refuse("signed-as-pin", "signed under another label", func(l *layers) { l.signedLabel = label.Pin })
	refuse("kem-ciphertext", "a bit of the ML-KEM ciphertext, signed again by the sender", func(l *layers) { l.outer = flip(7) })
	refuse("kem-x25519", "a bit of the X25519 share, signed again by the sender", func(l *layers) { l.outer = flip(key.XWingEncSize - 2) })
	refuse("kem-low-order", "the X25519 share is a point of low order, signed again by the sender", func(l *layers) {
		l.outer = func(b []byte) []byte { b = slices.Clone(b); clear(b[key.XWingEncSize-32 : key.XWingEncSize]); return b }
	})
	refuse("hpke-ciphertext", "a bit of the HPKE ciphertext, signed again by the sender", func(l *layers) { l.outer = flip(key.XWingEncSize + 3) })
	refuse("hpke-to-another", "HPKE for a third device", func(l *layers) { l.hpkeTo = third.e.XWing().PublicKey().Bytes() })
	refuse("info-session", "HPKE bound to another session", func(l *layers) {
		l.info = hpkeInfo(id.Session{1}, g.SenderCard, g.ReceiverCard)
	})
	refuse("info-sender", "HPKE bound to another sender's card", func(l *layers) {
		l.info = hpkeInfo(g.Session, id.CardHash{1}, g.ReceiverCard)
	})
	refuse("info-receiver", "HPKE bound to another receiver's card", func(l *layers) {
		l.info = hpkeInfo(g.Session, g.SenderCard, id.CardHash{1})
	})
	refuse("info-swapped", "HPKE bound to the cards in the wrong order", func(l *layers) {
		l.info = hpkeInfo(g.Session, g.ReceiverCard, g.SenderCard)
	})
	refuse("box-nonce", "a bit of the box's nonce", func(l *layers) { l.inner = flip(0) })
	refuse("box-ciphertext", "a bit of the box", func(l *layers) { l.inner = flip(50) })
	refuse("box-from-another", "the box is a third device's: a stolen receiver key alone forges no grant", func(l *layers) { l.boxFrom = third.e.Box() })
	refuse("box-to-another", "the box is for a third device", func(l *layers) { l.boxTo = publicBox(t, third) })
	refuse("body-session", "another session inside", func(l *layers) { l.body = bodyOf(func(g *Grant) { g.Session[0]++ }) })
	refuse("body-sender", "another sender's card inside", func(l *layers) { l.body = bodyOf(func(g *Grant) { g.SenderCard[0]++ }) })
	refuse("body-receiver", "another receiver's card inside: re-targeted", func(l *layers) { l.body = bodyOf(func(g *Grant) { g.ReceiverCard[0]++ }) })
	refuse("body-no-receiver", "a ticket's grant inside", func(l *layers) { l.body = bodyOf(func(g *Grant) { g.ReceiverCard = id.CardHash{} }) })
	refuse("body-short", "a byte less inside", func(l *layers) { l.body = l.body[:bodySize-1] })
	refuse("body-long", "a byte more inside", func(l *layers) { l.body = append(slices.Clone(l.body), 0) })
	refuse("body-not-after", "the end of time inside", func(l *layers) {
		l.body = slices.Concat(l.body[:offNotAfter], bytes.Repeat([]byte{0xff}, 8))
	})
	return out
}

func publicBox(t testing.TB, p party) *[32]byte {
	t.Helper()
	card, err := key.ParseCard(p.card)
	if err != nil {
		t.Fatal(err)
	}
	return &card.Box
}

func ticketVectors(t *testing.T) []vector.File {
	cryptotest.SetGlobalRandom(t, 3)
	from, to, third := fixedParty(t, 1, key.Sender), fixedParty(t, 2, key.Receiver), fixedParty(t, 3, key.Sender)
	g := fixedGrant(t, from, to)
	g.ReceiverCard = id.CardHash{}
	k, err := seal.KeyFromBytes(bytes.Repeat([]byte{0x6b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	var out []vector.File
	add := func(name, expect, comment string, b []byte) {
		out = append(out, vector.File{Name: name, Expect: expect, Comment: comment, Body: b, Fields: []vector.Field{
			vector.Hex("session", g.Session[:]), vector.Hex("key", k.Bytes()), vector.Hex("sender-card", from.card), vector.Hex("master", g.MK.Bytes())}})
	}
	good, err := SealTicket(g, from.d, from.card, &k)
	if err != nil {
		t.Fatal(err)
	}
	add("ok", "ok", "a ticket grant of epoch 3", good)
	body := encoded(t, g)
	// sealed takes card and body as they are given, signed by d under l.
	sealed := func(card, padding, body []byte, cardLen int, sid id.Session, d *key.Device, l label.Label) []byte {
		plain := slices.Concat([]byte{byte(cardLen >> 8), byte(cardLen)}, card, padding, body)
		b := seal.Seal(nil, &k, ticketContext(sid), plain)
		return append(b, d.Sign(l, ticketMessage(sid, b))...)
	}
	pad := func(card []byte) []byte { return bytes.Repeat([]byte{0}, key.MaxCardSize-len(card)) }
	n := len(from.card)
	refuse := func(name, comment string, b []byte) { add(name, "refuse", comment, b) }
	refuse("nothing", "no bytes at all", nil)
	refuse("unsigned", "the signature is stripped", good[:ticketSealed])
	refuse("byte-added", "a byte too many", append(slices.Clone(good), 0))
	flipped := slices.Clone(good)
	flipped[100] ^= 1
	refuse("ciphertext-flipped", "a bit of the sealed part", flipped)
	refuse("signed-by-another", "signed by another device than the card inside names", sealed(from.card, pad(from.card), body, n, g.Session, third.d, label.TicketGr))
	refuse("signed-as-grant", "signed under another label", sealed(from.card, pad(from.card), body, n, g.Session, from.d, label.Grant))
	refuse("session", "sealed for another session", sealed(from.card, pad(from.card), body, n, id.Session{1}, from.d, label.TicketGr))
	refuse("card-of-another", "the card of another sender than the grant inside names", sealed(third.card, pad(third.card), body, len(third.card), g.Session, third.d, label.TicketGr))
	refuse("card-of-receiver", "a receiver's card inside", sealed(to.card, pad(to.card), body, len(to.card), g.Session, to.d, label.TicketGr))
	refuse("card-length", "the length of the card is one too small", sealed(from.card, pad(from.card), body, n-1, g.Session, from.d, label.TicketGr))
	refuse("card-length-max", "the length of the card is 65535", sealed(from.card, pad(from.card), body, 65535, g.Session, from.d, label.TicketGr))
	dirty := pad(from.card)
	dirty[0] = 1
	refuse("padding", "padding that is not zero", sealed(from.card, dirty, body, n, g.Session, from.d, label.TicketGr))
	g2 := *g
	g2.Session[0]++
	body2 := encoded(t, &g2)
	refuse("body-session", "another session inside", sealed(from.card, pad(from.card), body2, n, g.Session, from.d, label.TicketGr))
	g2 = *g
	g2.ReceiverCard[0]++
	body2 = encoded(t, &g2)
	refuse("body-receiver", "a receiver inside", sealed(from.card, pad(from.card), body2, n, g.Session, from.d, label.TicketGr))
	return out
}

func statementVectors(t *testing.T) (pins, acks []vector.File) {
	from, third := fixedParty(t, 1, key.Sender), fixedParty(t, 3, key.Sender)
	peer := from.d.Peer()
	pin := Pin{Session: id.Session{1}, ReceiverCard: id.CardHash{2}, Receiver: third.d.Peer(), Incarnation: [16]byte{4}}
	ack := Ack{Session: id.Session{1}, ReceiptHash: [32]byte{5}}
	file := func(name, expect, comment string, b []byte, fields ...vector.Field) vector.File {
		return vector.File{Name: name, Expect: expect, Comment: comment, Body: b, Fields: append([]vector.Field{vector.Hex("sender", peer[:])}, fields...)}
	}
	p, a := SignPin(from.d, pin), SignAck(from.d, ack)
	pins = append(pins, file("ok", "ok", "a pin", p, vector.Hex("session", pin.Session[:]), vector.Hex("receiver-card", pin.ReceiverCard[:]),
		vector.Hex("receiver", pin.Receiver[:]), vector.Hex("incarnation", pin.Incarnation[:])))
	acks = append(acks, file("ok", "ok", "an acknowledgement", a, vector.Hex("session", ack.Session[:]), vector.Hex("receipt-hash", ack.ReceiptHash[:])))
	relabel := func(b []byte, l label.Label) []byte {
		body := b[:len(b)-key.SignatureSize]
		return append(slices.Clone(body), from.d.Sign(l, body)...)
	}
	pins = append(pins, file("signed-by-another", "refuse", "signed by another device", SignPin(third.d, pin)),
		file("signed-as-ack", "refuse", "signed under another label", relabel(p, label.Ack)),
		file("byte-added", "refuse", "a byte too many", append(slices.Clone(p), 0)), file("nothing", "refuse", "no bytes at all", nil))
	acks = append(acks, file("signed-by-another", "refuse", "signed by another device", SignAck(third.d, ack)),
		file("signed-as-pin", "refuse", "signed under another label", relabel(a, label.Pin)),
		file("byte-added", "refuse", "a byte too many", append(slices.Clone(a), 0)), file("nothing", "refuse", "no bytes at all", nil))
	return pins, acks
}

func TestVectorsAreCurrent(t *testing.T) {
	vector.Current(t, grantDir, grantVectors(t), *update)
	vector.Current(t, ticketDir, ticketVectors(t), *update)
	pins, acks := statementVectors(t)
	vector.Current(t, pinDir, pins, *update)
	vector.Current(t, ackDir, acks, *update)
}

func TestVectors(t *testing.T) {
	for _, f := range vector.Read(t, grantDir) {
		e, err := key.ParseExchange(f.Bytes(t, "receiver-exchange"))
		if err != nil {
			t.Fatal(err)
		}
		g, err := Open(f.Body, e, f.Bytes(t, "sender-card"), f.Bytes(t, "receiver-card"), id.Session(f.Bytes(t, "session")))
		checkGrant(t, f, g, err)
	}
	for _, f := range vector.Read(t, ticketDir) {
		k, err := seal.KeyFromBytes(f.Bytes(t, "key"))
		if err != nil {
			t.Fatal(err)
		}
		g, card, err := OpenTicket(f.Body, &k, id.Session(f.Bytes(t, "session")))
		checkGrant(t, f, g, err)
		if err == nil && !bytes.Equal(card, f.Bytes(t, "sender-card")) {
			t.Errorf("ticket/%s: another card", f.Name)
		}
	}
}

// checkGrant also demands that every refusal is the same error (E-10).
func checkGrant(t *testing.T, f vector.File, g *Grant, err error) {
	t.Helper()
	if f.Expect != "ok" {
		if err != ErrGrant || g != nil {
			t.Errorf("%s (%s): %v, %v", f.Name, f.Comment, g, err)
		}
		return
	}
	if err != nil || !bytes.Equal(g.MK.Bytes(), f.Bytes(t, "master")) || g.Epoch != 3 || g.Commit != (id.Commit{1, 2, 3}) || !g.NotAfter.Equal(notAfter) {
		t.Errorf("%s: %+v, %v", f.Name, g, err)
	}
}

func TestStatementVectors(t *testing.T) {
	for _, f := range vector.Read(t, pinDir) {
		p, err := ParsePin(f.Body, id.Peer(f.Bytes(t, "sender")))
		if f.Expect != "ok" {
			if err != ErrStatement || p != (Pin{}) {
				t.Errorf("pin/%s: %v", f.Name, err)
			}
			continue
		}
		want := Pin{id.Session(f.Bytes(t, "session")), id.CardHash(f.Bytes(t, "receiver-card")), id.Peer(f.Bytes(t, "receiver")), [16]byte(f.Bytes(t, "incarnation"))}
		if err != nil || p != want {
			t.Errorf("pin/%s: %+v, %v", f.Name, p, err)
		}
	}
	for _, f := range vector.Read(t, ackDir) {
		a, err := ParseAck(f.Body, id.Peer(f.Bytes(t, "sender")))
		if f.Expect != "ok" {
			if err != ErrStatement || a != (Ack{}) {
				t.Errorf("ack/%s: %v", f.Name, err)
			}
			continue
		}
		if want := (Ack{id.Session(f.Bytes(t, "session")), [32]byte(f.Bytes(t, "receipt-hash"))}); err != nil || a != want {
			t.Errorf("ack/%s: %+v, %v", f.Name, a, err)
		}
	}
}

// TestRT13EveryByteOfAGrant changes each byte as a stranger, who can't sign; some with the
// sender's hand in the outer layer; and every byte inside HPKE, where only the box is left.
func TestRT13EveryByteOfAGrant(t *testing.T) {
	from, to := newParty(t, key.Sender), newParty(t, key.Receiver)
	g := newGrant(from, to)
	good, err := Seal(g, from.d, from.e, to.card)
	if err != nil {
		t.Fatal(err)
	}
	open := func(what string, at int, b []byte) {
		t.Helper()
		if got, err := Open(b, to.e, from.card, to.card, g.Session); err != ErrGrant || got != nil {
			t.Errorf("%s, byte %d: %v", what, at, err)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		open("as it came", i, bad)
		if i < outerSize && i%9 == 0 { // behind the signature an open costs a millisecond
			sum := sha256.Sum256(bad[:outerSize])
			open("signed again", i, append(bad[:outerSize:outerSize], from.d.Sign(label.Grant, sum[:])...))
		}
	}
	for i := range innerSize {
		l := honestLayers(t, g, from, to)
		l.inner = func(b []byte) []byte { b[i] ^= 1 << (i % 8); return b }
		open("inside HPKE", i, l.seal(t))
	}
	for n := range good {
		open("cut", n, good[:n])
	}
}

// A good grant opens for one receiver, sender and session only (RT-13, RT-14).
func TestOpenBindsItsArguments(t *testing.T) {
	from, to, third := newParty(t, key.Sender), newParty(t, key.Receiver), newParty(t, key.Receiver)
	g := newGrant(from, to)
	b, err := Seal(g, from.d, from.e, to.card)
	if err != nil {
		t.Fatal(err)
	}
	recard := func(p party, role key.Role) []byte {
		card, err := key.SignCard(p.d, p.e, role, key.Limits{}, notAfter, "another card of the same device")
		if err != nil {
			t.Fatal(err)
		}
		return card
	}
	for name, c := range map[string]struct {
		e        *key.Exchange
		from, to []byte
		sid      id.Session
	}{
		"another session":               {to.e, from.card, to.card, id.NewSession()},
		"another receiver":              {third.e, from.card, third.card, g.Session},
		"another exchange key":          {third.e, from.card, to.card, g.Session},
		"another sender":                {to.e, recard(third, key.Sender), to.card, g.Session},
		"another card of the sender":    {to.e, recard(from, key.Sender), to.card, g.Session},
		"another card of the receiver":  {to.e, from.card, recard(to, key.Receiver), g.Session},
		"sender's card as a receiver's": {to.e, recard(from, key.Receiver), to.card, g.Session},
		"receiver's card as a sender's": {to.e, from.card, recard(to, key.Sender), g.Session},
		"cards swapped":                 {to.e, to.card, from.card, g.Session},
		"one device twice":              {to.e, recard(to, key.Sender), to.card, g.Session},
		"no card":                       {to.e, nil, to.card, g.Session},
	} {
		if got, err := Open(b, c.e, c.from, c.to, c.sid); err != ErrGrant || got != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTicketBindsItsArguments(t *testing.T) {
	from, third := newParty(t, key.Sender), newParty(t, key.Sender)
	g, k, k2 := newGrant(from, from), seal.NewKey(), seal.NewKey()
	g.ReceiverCard = id.CardHash{}
	b, err := SealTicket(g, from.d, from.card, &k)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenTicket(b, &k2, g.Session); err != ErrGrant {
		t.Errorf("another key: %v", err)
	}
	if _, _, err := OpenTicket(b, &k, id.NewSession()); err != ErrGrant {
		t.Errorf("another session: %v", err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if _, _, err := OpenTicket(bad, &k, g.Session); err != ErrGrant {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for name, f := range map[string]func(g *Grant) (*key.Device, []byte){
		"another's card":      func(g *Grant) (*key.Device, []byte) { return from.d, third.card },
		"another's signature": func(g *Grant) (*key.Device, []byte) { return third.d, from.card },
		"a receiver named":    func(g *Grant) (*key.Device, []byte) { g.ReceiverCard[0] = 1; return from.d, from.card },
		"hash of no card":     func(g *Grant) (*key.Device, []byte) { g.SenderCard[0]++; return from.d, from.card },
	} {
		bad := *g
		d, card := f(&bad)
		if _, err := SealTicket(&bad, d, card, &k); !errors.Is(err, ErrGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatementsBindEveryByte(t *testing.T) {
	d := key.NewDevice()
	pin, ack := SignPin(d, Pin{Session: id.NewSession()}), SignAck(d, Ack{Session: id.NewSession()})
	for i := range pin {
		bad := slices.Clone(pin)
		bad[i] ^= 1 << (i % 8)
		if _, err := ParsePin(bad, d.Peer()); err != ErrStatement {
			t.Errorf("pin, byte %d: %v", i, err)
		}
	}
	for i := range ack {
		bad := slices.Clone(ack)
		bad[i] ^= 1 << (i % 8)
		if _, err := ParseAck(bad, d.Peer()); err != ErrStatement {
			t.Errorf("ack, byte %d: %v", i, err)
		}
	}
}

// FuzzOpen signs what the fuzzer makes, so that it gets behind the signature.
func FuzzOpen(f *testing.F) {
	from, to := fixedParty(f, 1, key.Sender), fixedParty(f, 2, key.Receiver)
	sid := id.Session(bytes.Repeat([]byte{0x51}, 16))
	for _, v := range vector.Read(f, grantDir) {
		f.Add(v.Body)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= outerSize {
			sum := sha256.Sum256(b[:outerSize])
			b = append(slices.Clone(b[:outerSize]), from.d.Sign(label.Grant, sum[:])...)
		}
		g, err := Open(b, to.e, from.card, to.card, sid)
		if err != nil && (err != ErrGrant || g != nil) || err == nil && g.Session != sid {
			t.Errorf("%v, %v", g, err)
		}
	})
}

// FuzzOpenBody puts what the fuzzer makes inside every layer.
func FuzzOpenBody(f *testing.F) {
	from, to := fixedParty(f, 1, key.Sender), fixedParty(f, 2, key.Receiver)
	good := honestLayers(f, fixedGrant(f, from, to), from, to)
	sid := id.Session(bytes.Repeat([]byte{0x51}, 16))
	f.Add(good.body)
	f.Fuzz(func(t *testing.T, body []byte) {
		l := good
		l.body = body
		g, err := Open(l.seal(t), to.e, from.card, to.card, sid)
		if err != nil {
			if err != ErrGrant || g != nil {
				t.Errorf("%v, %v", g, err)
			}
			return
		}
		if again, err := g.encode(); err != nil || !bytes.Equal(again, body) {
			t.Error("two encodings of one grant")
		}
	})
}

func FuzzOpenTicket(f *testing.F) {
	from := fixedParty(f, 1, key.Sender)
	k, err := seal.KeyFromBytes(bytes.Repeat([]byte{0x6b}, 32))
	if err != nil {
		f.Fatal(err)
	}
	sid := id.Session(bytes.Repeat([]byte{0x51}, 16))
	for _, v := range vector.Read(f, ticketDir) {
		if plain, err := seal.Open(nil, &k, ticketContext(sid), v.Body[:min(ticketSealed, len(v.Body))]); err == nil {
			f.Add(plain)
		}
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		b := seal.Seal(nil, &k, ticketContext(sid), plain)
		g, card, err := OpenTicket(append(b, from.d.Sign(label.TicketGr, ticketMessage(sid, b))...), &k, sid)
		if err != nil {
			if err != ErrGrant || g != nil || card != nil {
				t.Errorf("%v, %v", g, err)
			}
			return
		}
		body, err := g.encode()
		if err != nil || !bytes.Equal(plain[2:2+len(card)], card) || !bytes.Equal(plain[2+key.MaxCardSize:], body) {
			t.Error("two encodings of one ticket grant")
		}
	})
}

func FuzzStatements(f *testing.F) {
	d := key.NewDevice()
	f.Add(SignPin(d, Pin{})[:PinSize-key.SignatureSize])
	f.Add(SignAck(d, Ack{})[:AckSize-key.SignatureSize])
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := ParsePin(append(slices.Clone(body), d.Sign(label.Pin, body)...), d.Peer()); err == nil {
			if again := SignPin(d, p); !bytes.Equal(again[:PinSize-key.SignatureSize], body) {
				t.Error("two encodings of one pin")
			}
		}
		if a, err := ParseAck(append(slices.Clone(body), d.Sign(label.Ack, body)...), d.Peer()); err == nil {
			if again := SignAck(d, a); !bytes.Equal(again[:AckSize-key.SignatureSize], body) {
				t.Error("two encodings of one acknowledgement")
			}
		}
	})
}

// box.Overhead is part of the layout.
func TestLayout(t *testing.T) {
	if box.Overhead != 16 || Size != 1400 || TicketSize != 1733 || PinSize != 160 || AckSize != 112 {
		t.Errorf("sizes: box %d, grant %d, ticket %d, pin %d, ack %d", box.Overhead, Size, TicketSize, PinSize, AckSize)
	}
}
