// Package grant carries a session's master key to the receiver (docs/SPEC.md section 5)
// and holds the small signed statements that go with it (section 6.5).
//
//	inner = nonce24 ‖ nacl/box(grant, receiver's box key, sender's box key)
//	outer = HPKE(X-Wing, receiver's key, info = LV(label.Grant, session, sender's card, receiver's card), inner)
//	grant = outer ‖ Ed25519ctx(label.Grant, SHA-256(outer))
//
// The master key stays secret if X-Wing or the box holds. The box alone has no forward
// secrecy, names no session, and whoever steals the receiver's key can forge to it: the
// signature and the two card hashes close that. For a receiver that does not exist yet
// there is the ticket form, sealed under a key derived from a ticket.
//
// Nothing here looks at a clock. Everything that can be wrong with a grant gives the one
// error ErrGrant. All functions are safe for concurrent use and keep no slice.
package grant

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/nonce"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

// Sizes in bytes. Neither depends on what is inside.
const (
	Size      = outerSize + key.SignatureSize
	innerSize = boxNonceSize + bodySize + box.Overhead
	outerSize = key.XWingEncSize + innerSize + 16 // the tag of ChaCha20-Poly1305

	boxNonceSize = 24
)

// ErrGrant is the one error for a grant that is not for this session, sender and
// receiver, or was changed on the way.
var ErrGrant = errors.New("grant does not open")

// Grant is what the sender gives to the receiver.
type Grant struct {
	MK           *seal.MasterKey
	Session      id.Session // not zero
	Epoch        uint64     // the newest epoch when the grant was made
	Commit       id.Commit  // and its commit; the receiver takes nothing older
	SenderCard   id.CardHash
	ReceiverCard id.CardHash // zero in the ticket form
	NotAfter     time.Time   // whole seconds, UTC
}

// Expired reports whether the grant's time is over, with key.ClockSkew of tolerance.
func (g *Grant) Expired(now time.Time) bool { return now.After(g.NotAfter.Add(key.ClockSkew)) }

// Seal seals g to the receiver whose signed card this is. g.ReceiverCard must be its
// hash and g.SenderCard that of a card signed by d for senderEx. The result has Size
// bytes and is different each time.
func Seal(g *Grant, d *key.Device, senderEx *key.Exchange, receiverCard []byte) ([]byte, error) {
	to, err := key.ParseCard(receiverCard)
	if err != nil || to.Role != key.Receiver || to.Peer == d.Peer() || g.ReceiverCard != key.HashCard(receiverCard) {
		return nil, ErrGrant
	}
	body, err := g.encode()
	if err != nil {
		return nil, err
	}
	pub, err := hpke.MLKEM768X25519().NewPublicKey(to.XWing)
	if err != nil {
		return nil, ErrGrant
	}
	outer, err := hpke.Seal(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), hpkeInfo(g.Session, g.SenderCard, g.ReceiverCard),
		sealBox(body, &to.Box, senderEx.Box()))
	if err != nil {
		return nil, ErrGrant
	}
	sum := sha256.Sum256(outer)
	return append(outer, d.Sign(label.Grant, sum[:])...), nil
}

// Open opens a grant with the receiver's private keys. Both signed cards and the session
// come from what the receiver already trusts, never from beside the grant. The error is
// ErrGrant.
func Open(b []byte, receiverEx *key.Exchange, senderCard, receiverCard []byte, sid id.Session) (*Grant, error) {
	if len(b) != Size {
		return nil, ErrGrant
	}
	from, err := parseCard(senderCard, key.Sender)
	if err != nil {
		return nil, ErrGrant
	}
	outer, sig := b[:outerSize], b[outerSize:]
	sum := sha256.Sum256(outer)
	if key.Verify(from.Peer, label.Grant, sum[:], sig) != nil {
		return nil, ErrGrant
	}
	to, err := parseCard(receiverCard, key.Receiver)
	if err != nil || to.Peer == from.Peer || !bytes.Equal(to.XWing, receiverEx.XWing().PublicKey().Bytes()) {
		return nil, ErrGrant
	}
	fromHash, toHash := key.HashCard(senderCard), key.HashCard(receiverCard)
	inner, err := hpke.Open(receiverEx.XWing(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), hpkeInfo(sid, fromHash, toHash), outer)
	if err != nil || len(inner) != innerSize {
		return nil, ErrGrant
	}
	body, ok := box.Open(nil, inner[boxNonceSize:], (*[boxNonceSize]byte)(inner), &from.Box, receiverEx.Box())
	if !ok {
		return nil, ErrGrant
	}
	g, err := decode(body)
	if err != nil || g.Session != sid || g.SenderCard != fromHash || g.ReceiverCard != toHash {
		return nil, ErrGrant
	}
	return g, nil
}

func parseCard(b []byte, role key.Role) (*key.Card, error) {
	c, err := key.ParseCard(b)
	if err != nil || c.Role != role {
		return nil, ErrGrant
	}
	return c, nil
}

func hpkeInfo(sid id.Session, sender, receiver id.CardHash) []byte {
	return label.LV(label.Grant, sid[:], sender[:], receiver[:])
}

// sealBox draws a fresh 24-byte nonce for every call: with a pair of static keys, that is
// what keeps nonces apart.
func sealBox(body []byte, to, from *[32]byte) []byte {
	var n [boxNonceSize]byte
	rand.Read(n[:])
	if nonce.Enabled {
		var shared [32]byte
		box.Precompute(&shared, to, from)
		nonce.Record(shared[:], func(yield func([]byte) bool) { yield(n[:]) })
	}
	return box.Seal(n[:], body, &n, to, from)
}
