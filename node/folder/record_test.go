package folder

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash/crc32"
	"strconv"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/node/internal/vector"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

var update = flag.Bool("update", false, "write the test vectors again")

// Of every vector: the session, the newest epoch and a claimer.
var (
	vectorSession = id.Session{0x5e, 15: 1}
	vectorPeer    = id.Peer{0xee, 31: 2}
	vectorSender  = id.Peer{0x0d, 31: 3}
)

const vectorEpoch = 258

// describe reads a record and says what is in it, "" if it is none.
func describe(k kind, record []byte) string {
	body := unframe(k, record)
	if body == nil || len(body) > bodyLimits[k] {
		return ""
	}
	switch k {
	case kindMark, kindLocator:
		if len(body) == id.Size {
			return fmt.Sprintf("%x", body)
		}
	case kindOffer:
		if o := parseOffer(vectorSession, body); o != nil {
			return fmt.Sprintf("sender %x, class %d, %d blobs, expires %d, ticket %v, locator %v, claim key %x", o.sender, o.class, o.blobs, o.expires, o.ticket, o.locator, o.claimKey)
		}
	case kindTicket:
		if share, grant := parseTicket(body); share != nil {
			return fmt.Sprintf("share %x, grant %x", share, grant)
		}
	case kindPin:
		if p := parsePin(body); p != nil {
			return fmt.Sprintf("receiver %x, statement %x", p.receiver, p.statement)
		}
	case kindRoot:
		if r := parseRoot(vectorEpoch, body); r != nil {
			return fmt.Sprintf("epoch %d, final %v, signature %x, root %x", r.Epoch, r.Final, r.Signature, r.Sealed)
		}
	case kindClaim:
		if c := parseClaim(vectorPeer, body); c != nil {
			return fmt.Sprintf("signature %x, card %x", c.signature, c.card)
		}
	case kindEnd:
		return fmt.Sprintf("ack %x", body)
	case kindMessage:
		if m := parseMessage(body); m != nil {
			return fmt.Sprintf("from %x, to %x, body %x", m.from, m.to, m.body)
		}
	}
	return ""
}

// encode makes the record again that describe took apart.
func encode(k kind, body []byte) []byte {
	switch k {
	case kindOffer:
		return frame(k, parseOffer(vectorSession, body).parts(vectorSession)...)
	case kindRoot:
		return frame(k, rootParts(parseRoot(vectorEpoch, body))...)
	case kindClaim:
		return frame(k, parseClaim(vectorPeer, body).parts()...)
	case kindMessage:
		return frame(k, parseMessage(body).parts()...)
	case kindTicket:
		share, grant := parseTicket(body)
		return frame(k, share, grant)
	case kindPin:
		p := parsePin(body)
		return frame(k, p.receiver[:], p.statement)
	}
	return frame(k, body)
}

func vectors() (files []vector.File) {
	add := func(name, comment string, k kind, record []byte) {
		f := vector.File{Name: name, Comment: comment, Expect: "ok", Fields: []vector.Field{{Name: "kind-size", Value: strconv.Itoa(int(k))}}, Body: record}
		if said := describe(k, record); said != "" {
			f.Fields = append(f.Fields, vector.Field{Name: "content-text", Value: said})
		} else {
			f.Expect = "absent"
		}
		files = append(files, f)
	}
	claimKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	plain := offer{sender: vectorSender, class: wire.ClassL, blobs: 4096, expires: 1_795_000_000_000}
	withTicket := plain
	withTicket.ticket, withTicket.locator = true, id.Locator{7, 15: 7}
	copy(withTicket.claimKey[:], claimKey.Public().(ed25519.PublicKey))
	card := []byte("a card")
	proof := key.SignWith(claimKey, label.Claim, key.ClaimMessage(withTicket.locator, vectorPeer, key.HashCard(card)))
	signature := bytes.Repeat([]byte{6}, 64)
	message := message{from: vectorSender, to: vectorPeer, body: []byte("an envelope")}
	newest := &remote.Root{Epoch: vectorEpoch, Final: true, Sealed: []byte("a sealed root"), Signature: signature}

	add("ok-mark", "the mark of a folder", kindMark, frame(kindMark, bytes.Repeat([]byte{4}, 16)))
	add("ok-locator", "the session of a ticket's locator", kindLocator, frame(kindLocator, vectorSession[:]))
	add("ok-offer", "the offer of a session that was paired elsewhere", kindOffer, frame(kindOffer, plain.parts(vectorSession)...))
	add("ok-offer-ticket", "the offer of a session for a ticket's holder", kindOffer, frame(kindOffer, withTicket.parts(vectorSession)...))
	add("ok-ticket", "share and grant", kindTicket, frame(kindTicket, bytes.Repeat([]byte{5}, 32), []byte("a sealed grant")))
	add("ok-pin", "a pin", kindPin, frame(kindPin, vectorPeer[:], []byte("a pin")))
	add("ok-root", "a root of epoch 258", kindRoot, frame(kindRoot, rootParts(newest)...))
	add("ok-claim", "a claim by session", kindClaim, frame(kindClaim, (&claim{peer: vectorPeer, card: card}).parts()...))
	add("ok-claim-proved", "a claim by locator, under the claim key of ok-offer-ticket", kindClaim, frame(kindClaim, (&claim{peer: vectorPeer, signature: proof, card: card}).parts()...))
	add("ok-end", "an ack", kindEnd, frame(kindEnd, []byte("an ack")))
	add("ok-message", "a message", kindMessage, frame(kindMessage, message.parts()...))

	whole := frame(kindRoot, rootParts(newest)...)
	add("checksum", "the last bit of the checksum is another", kindRoot, append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1))
	add("cut", "the last byte is missing", kindRoot, whole[:len(whole)-1])
	add("zeros", "what was not copied yet is zeros", kindRoot, append(bytes.Clone(whole[:40]), make([]byte, len(whole)-40)...))
	add("empty", "no byte", kindRoot, nil)
	add("kind", "a message where a root belongs", kindRoot, frame(kindMessage, rootParts(newest)...))
	other := bytes.Clone(whole[:len(whole)-recordTail])
	other[0] = 2
	add("version", "a record of another version, with its checksum", kindRoot, summed(other))
	older := *newest
	older.Epoch--
	add("root-epoch", "a root of another epoch than its name says", kindRoot, frame(kindRoot, rootParts(&older)...))
	add("root-flag", "final is neither 0 nor 1", kindRoot, frame(kindRoot, u64(vectorEpoch), []byte{2}, signature, []byte("x")))
	add("root-empty", "no root behind the signature", kindRoot, frame(kindRoot, u64(vectorEpoch), []byte{1}, signature))
	add("offer-session", "an offer of another session", kindOffer, frame(kindOffer, plain.parts(id.Session{1})...))
	add("offer-class", "no such class", kindOffer, frame(kindOffer, (&offer{sender: vectorSender, class: 3, blobs: 1}).parts(vectorSession)...))
	add("offer-blobs", "more blobs than a folder takes", kindOffer, frame(kindOffer, (&offer{sender: vectorSender, class: wire.ClassL, blobs: maxBlobs + 1}).parts(vectorSession)...))
	add("offer-trailing", "a byte behind the last field", kindOffer, frame(kindOffer, append(plain.parts(vectorSession), []byte{0})...))
	add("claim-peer", "a claim of another device than its name says", kindClaim, frame(kindClaim, (&claim{peer: vectorSender, card: card}).parts()...))
	add("pin-nobody", "a pin for no device", kindPin, frame(kindPin, make([]byte, 32)))
	return files
}

// summed puts the checksum behind bytes.
func summed(b []byte) []byte { return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)) }

func TestVectors(t *testing.T) {
	const dir = "testdata/record"
	vector.Current(t, dir, vectors(), *update)
	for _, f := range vector.Read(t, dir) {
		n, err := strconv.Atoi(f.Get(t, "kind-size"))
		if err != nil {
			t.Fatal(err)
		}
		said := describe(kind(n), f.Body)
		if f.Expect == "ok" && said != f.Get(t, "content-text") || f.Expect != "ok" && said != "" {
			t.Errorf("%s: %q", f.Name, said)
		}
	}
}

func TestClaimVector(t *testing.T) {
	read := map[string][]byte{}
	for _, f := range vector.Read(t, "testdata/record") {
		read[f.Name] = f.Body
	}
	o := parseOffer(vectorSession, unframe(kindOffer, read["ok-offer-ticket"]))
	if !parseClaim(vectorPeer, unframe(kindClaim, read["ok-claim-proved"])).proved(o) {
		t.Error("the claim is not proved")
	}
	if parseClaim(vectorPeer, unframe(kindClaim, read["ok-claim"])).proved(o) {
		t.Error("a claim without a signature is proved")
	}
}

// FuzzRecord: no bytes harm, and what is read is written again as the same bytes.
func FuzzRecord(f *testing.F) {
	for _, v := range vectors() {
		k, err := strconv.Atoi(v.Get(f, "kind-size"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(k), v.Body)
	}
	f.Fuzz(func(t *testing.T, k byte, record []byte) {
		if k < byte(kindMark) || k > byte(kindMessage) {
			return
		}
		for _, b := range [][]byte{record, frame(kind(k), record)} { // the second one has a checksum that is right
			if describe(kind(k), b) != "" && !bytes.Equal(encode(kind(k), unframe(kind(k), b)), b) {
				t.Errorf("%s is not written as it was read", hex.EncodeToString(b))
			}
		}
	})
}
