package grant

import (
	"errors"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// ErrStatement is returned for a pin or an acknowledgement that is not exactly encoded or
// not signed by the device that was asked for.
var ErrStatement = errors.New("invalid signed statement")

// Sizes in bytes of the signed statements.
const (
	PinSize = id.Size + 32 + 32 + id.Size + key.SignatureSize
	AckSize = id.Size + 32 + key.SignatureSize
)

// Pin is the sender's word that this device, with this card, is the session's receiver
// (SPEC 6.5). It beats whatever the server remembers. Incarnation is the server state in
// which the claim was seen.
type Pin struct {
	Session      id.Session
	ReceiverCard id.CardHash
	Receiver     id.Peer
	Incarnation  [id.Size]byte
}

// SignPin returns the sender-signed pin.
func SignPin(d *key.Device, p Pin) []byte {
	b := make([]byte, 0, PinSize)
	b = append(b, p.Session[:]...)
	b = append(b, p.ReceiverCard[:]...)
	b = append(b, p.Receiver[:]...)
	b = append(b, p.Incarnation[:]...)
	return append(b, d.Sign(label.Pin, b)...)
}

// ParsePin verifies a pin signed by sender. Whether it names this session and device is
// the caller's to ask. The error is ErrStatement.
func ParsePin(b []byte, sender id.Peer) (Pin, error) {
	body, ok := verified(b, PinSize, sender, label.Pin)
	if !ok {
		return Pin{}, ErrStatement
	}
	return Pin{
		Session:      id.Session(body),
		ReceiverCard: id.CardHash(body[id.Size:]),
		Receiver:     id.Peer(body[id.Size+32:]),
		Incarnation:  [id.Size]byte(body[id.Size+64:]),
	}, nil
}

// Ack is the sender's word that it holds the receiver's receipt: the receiver need not
// post it again (SPEC 6.5).
type Ack struct {
	Session     id.Session
	ReceiptHash [32]byte // SHA-256 of the signed receipt's bytes
}

// SignAck returns the sender-signed acknowledgement.
func SignAck(d *key.Device, a Ack) []byte {
	b := make([]byte, 0, AckSize)
	b = append(b, a.Session[:]...)
	b = append(b, a.ReceiptHash[:]...)
	return append(b, d.Sign(label.Ack, b)...)
}

// ParseAck verifies an acknowledgement signed by sender. The error is ErrStatement.
func ParseAck(b []byte, sender id.Peer) (Ack, error) {
	body, ok := verified(b, AckSize, sender, label.Ack)
	if !ok {
		return Ack{}, ErrStatement
	}
	return Ack{Session: id.Session(body), ReceiptHash: [32]byte(body[id.Size:])}, nil
}

// verified returns what stands in front of the signature of a statement of fixed size.
func verified(b []byte, size int, signer id.Peer, l label.Label) ([]byte, bool) {
	if len(b) != size {
		return nil, false
	}
	body, sig := b[:size-key.SignatureSize], b[size-key.SignatureSize:]
	return body, key.Verify(signer, l, body, sig) == nil
}
