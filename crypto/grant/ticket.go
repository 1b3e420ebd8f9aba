package grant

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

// Layout of the ticket form (SPEC 5.2): everything of a fixed size, so that the length
// says nothing about the sender's card.
const (
	ticketPlain  = 2 + key.MaxCardSize + bodySize
	ticketSealed = seal.HeaderSize + ticketPlain + seal.TagSize
	TicketSize   = ticketSealed + key.SignatureSize
)

// SealTicket seals g and the sender's signed card under a ticket's key, for a receiver
// that is not known yet: g.ReceiverCard must be zero, and g.SenderCard the hash of
// senderCard, which d signed. The result has TicketSize bytes.
func SealTicket(g *Grant, d *key.Device, senderCard []byte, k *seal.Key) ([]byte, error) {
	card, err := parseCard(senderCard, key.Sender)
	if err != nil || card.Peer != d.Peer() || g.SenderCard != key.HashCard(senderCard) || g.ReceiverCard != (id.CardHash{}) {
		return nil, ErrGrant
	}
	body, err := g.encode()
	if err != nil {
		return nil, err
	}
	plain := make([]byte, ticketPlain)
	binary.BigEndian.PutUint16(plain, uint16(len(senderCard)))
	copy(plain[2:], senderCard)
	copy(plain[2+key.MaxCardSize:], body)
	b := seal.Seal(make([]byte, 0, TicketSize), k, ticketContext(g.Session), plain)
	return append(b, d.Sign(label.TicketGr, ticketMessage(g.Session, b))...), nil
}

// OpenTicket opens a ticket grant and returns the sender's signed card with it. The card
// is as trustworthy as the ticket: who made the one vouches for the other. The error is
// ErrGrant.
func OpenTicket(b []byte, k *seal.Key, sid id.Session) (g *Grant, senderCard []byte, err error) {
	if len(b) != TicketSize {
		return nil, nil, ErrGrant
	}
	sealed, sig := b[:ticketSealed], b[ticketSealed:]
	plain, err := seal.Open(nil, k, ticketContext(sid), sealed)
	if err != nil {
		return nil, nil, ErrGrant
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > key.MaxCardSize {
		return nil, nil, ErrGrant
	}
	senderCard, rest := plain[2:2+n], plain[2+n:2+key.MaxCardSize]
	card, err := parseCard(senderCard, key.Sender)
	if err != nil || !zero(rest) || key.Verify(card.Peer, label.TicketGr, ticketMessage(sid, sealed), sig) != nil {
		return nil, nil, ErrGrant
	}
	g, err = decode(plain[2+key.MaxCardSize:])
	if err != nil || g.Session != sid || g.SenderCard != key.HashCard(senderCard) || g.ReceiverCard != (id.CardHash{}) {
		return nil, nil, ErrGrant
	}
	return g, append([]byte(nil), senderCard...), nil
}

func ticketContext(sid id.Session) []byte { return label.LV(label.TicketGr, sid[:]) }

func ticketMessage(sid id.Session, sealed []byte) []byte {
	sum := sha256.Sum256(sealed)
	return label.LV(label.TicketGr, sid[:], sum[:])
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
