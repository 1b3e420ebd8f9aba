package pairing

import (
	"bytes"
	"crypto/ecdh"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/crypto/nacl/secretbox"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
)

// New is the new device's side between messages 2 and 3. Not safe for concurrent use.
type New struct {
	_    [0]func() // not comparable
	card []byte    // the sender's, not authentic before Confirm
	tag  [tagSize]byte
	wrap [keySize]byte
}

// AnswerNew takes message 1 and returns message 2 with the receiver's signed card. In p,
// Remote is the device that the mailbox names as the sender of message 1, or zero. Before
// it sends message 2 the caller counts the attempt, durably: message 2 lets the other
// side test one guess.
func AnswerNew(p Params, receiverCard, message []byte) (*New, []byte, error) {
	return answerNew(p, receiverCard, message, sampleScalar())
}

func answerNew(p Params, receiverCard, message []byte, y *ecdh.PrivateKey) (*New, []byte, error) {
	own, err := key.ParseCard(receiverCard)
	if err != nil || own.Role != key.Receiver || p.Card != (id.CardHash{}) && key.HashCard(receiverCard) != p.Card {
		return nil, nil, fmt.Errorf("pairing: own card: %w", key.ErrCard)
	}
	ya, _, card, err := cutMessage(message, message1, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := p.checkCard(card, key.Sender, own.Peer); err != nil {
		return nil, nil, err
	}
	yb, err := scalarMultVfy(y, p.generator())
	if err != nil {
		return nil, nil, err
	}
	k, err := scalarMultVfy(y, ya)
	if err != nil || bytes.Equal(ya, yb) {
		return nil, nil, ErrExchange
	}
	s := newSecrets(isk(p.Scope[:], k, transcript(ya, card, yb, receiverCard)), ya, card, yb, receiverCard)
	n := &New{card: append([]byte(nil), card...), tag: s.tagOld, wrap: s.wrap}
	return n, appendMessage(message2, yb, s.tagNew[:], receiverCard), nil
}

// Confirm takes message 3 and, if the other device knew the code, returns the sealed
// grant and the sender's signed card, which is authentic now. ErrExchange says that this
// was no message 3 and the true one may still arrive; ErrMismatch, that the guess was wrong.
func (n *New) Confirm(message []byte) (grant, senderCard []byte, err error) {
	if len(message) < 1+tagSize+boxNonceSize+secretbox.Overhead || message[0] != message3 {
		return nil, nil, ErrExchange
	}
	// A wrong tag spoils the key, so that there is one way to fail: whoever changed a message in between must not learn from
	// the time that the other part was good (adversity E-10).
	k := n.wrap
	k[0] ^= byte(1 - subtle.ConstantTimeCompare(n.tag[:], message[1:1+tagSize]))
	grant, ok := unwrapGrant(&k, message[1+tagSize:])
	if !ok {
		return nil, nil, ErrMismatch
	}
	return grant, append([]byte(nil), n.card...), nil
}

// Bytes returns the state for the device's own journal: expected tag (64) ‖ wrapping key
// (32) ‖ length of card (2) ‖ sender's card.
func (n *New) Bytes() []byte {
	b := append(append([]byte(nil), n.tag[:]...), n.wrap[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(n.card)))
	return append(b, n.card...)
}

// ParseNew restores the state that Bytes returned.
func ParseNew(b []byte) (*New, error) {
	const head = tagSize + keySize
	if len(b) < head+2 || len(b) != head+2+int(binary.BigEndian.Uint16(b[head:])) {
		return nil, fmt.Errorf("pairing: state: %w", key.ErrKey)
	}
	return &New{tag: [tagSize]byte(b), wrap: [keySize]byte(b[tagSize:]), card: append([]byte(nil), b[head+2:]...)}, nil
}

// Format, String and LogValue keep the state out of logs.
func (*New) Format(s fmt.State, _ rune) { io.WriteString(s, "pairing state (redacted)") }
func (*New) String() string             { return "pairing state (redacted)" }
func (*New) LogValue() slog.Value       { return slog.StringValue("pairing state (redacted)") }
