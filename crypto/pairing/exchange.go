// Package pairing brings two devices together that share nothing yet: by a short code, by
// a link or QR code, or by a ticket (docs/SPEC.md section 6).
//
// Code and link run the same exchange, CPace with key confirmation, over a mailbox that
// the server can read and change:
//
//	1 OLD → NEW   Ya, sender's card
//	2 NEW → OLD   Yb, receiver's card, Tb
//	3 OLD → NEW   Ta, grant under secretbox
//
// Each wrong code costs its guesser one attempt, because nobody can test a guess offline.
// Counting attempts is the caller's: NEW counts durably before it sends message 2, and
// stops after three; OLD starts one exchange per typed code. To survive a crash both keep
// their state in the journal (Old.Bytes, New.Bytes), NEW together with its counter and
// message 2, which it sends again for the same message 1.
//
// A ticket needs no exchange: the keys are derived from it.
package pairing

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/crypto/nacl/secretbox"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/nonce"
	"github.com/decant-dev/decant/proto/id"
)

// ErrMismatch is returned where the other side does not know the code, or someone changed
// the messages or the cards: both look the same.
var ErrMismatch = errors.New("pairing: codes do not match")

// ErrExchange is returned for a message that no honest device sends: malformed, a weak
// point, a card of the wrong role or device, or this device's own message sent back. No
// attempt was used up, because no answer was made.
var ErrExchange = errors.New("pairing: unacceptable message")

// Params are the inputs that both devices must agree on. Make them with Code.Params or
// Link.Params; a difference in any makes the exchange fail with ErrMismatch.
type Params struct {
	PRS     []byte      // the secret
	Server  id.Peer     // at which the devices meet
	Scope   id.Scope    // in which they meet
	Channel []byte      // how: code and nameplate, or link
	Card    id.CardHash // the receiver's card, if known beforehand
	Remote  id.Peer     // if not zero: the other card must be this device's, as the carrier of the message says. Not part of the agreement.

	// AtReceiver: the old device has come to the new one itself, without a server; Server is then the new device, and on the
	// old one Remote too. Otherwise a new device that says it is the server is refused.
	AtReceiver bool
}

// String and LogValue keep the secret out of logs; Format does under every verb.
func (Params) Format(s fmt.State, _ rune) { io.WriteString(s, "pairing parameters (redacted)") }
func (Params) String() string             { return "pairing parameters (redacted)" }
func (Params) LogValue() slog.Value       { return slog.StringValue("pairing parameters (redacted)") }

// ci is the channel identifier: the roles in order, the server, the channel.
func (p *Params) ci() []byte {
	return label.LV(label.CI, []byte("old"), []byte("new"), p.Server[:], p.Channel)
}

func (p *Params) generator() []byte { return generator(p.PRS, p.ci(), p.Scope[:]) }

// checkCard parses the other device's card and refuses one that can't be right.
func (p *Params) checkCard(b []byte, role key.Role, own id.Peer) error {
	c, err := key.ParseCard(b)
	if err != nil {
		return ErrExchange
	}
	atServer := c.Peer == p.Server && (role == key.Sender || p.Remote != p.Server) // StartOld has looked at the exception
	if c.Role != role || c.Peer == own || atServer || p.Remote != (id.Peer{}) && c.Peer != p.Remote {
		return ErrExchange
	}
	return nil
}

const (
	tagSize      = sha512.Size
	boxNonceSize = 24
	keySize      = 32
)

// Tags of the messages: the first byte of each.
const (
	message1 = 1
	message2 = 2
	message3 = 3
)

// appendMessage writes the layout that messages 1 and 2 share:
// tag ‖ Y (32) ‖ confirmation (0 or 64) ‖ length of card (2) ‖ card.
func appendMessage(kind byte, y, confirmation, card []byte) []byte {
	b := append([]byte{kind}, y...)
	b = append(b, confirmation...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(card)))
	return append(b, card...)
}

// cutMessage reads what appendMessage wrote, and refuses weak points.
func cutMessage(b []byte, kind byte, confirmationSize int) (y, confirmation, card []byte, err error) {
	head := 1 + 32 + confirmationSize
	if len(b) < head+2 || b[0] != kind || len(b) != head+2+int(binary.BigEndian.Uint16(b[head:])) || len(b)-head-2 > key.MaxCardSize {
		return nil, nil, nil, ErrExchange
	}
	y = b[1:33]
	if key.CheckX25519(y) != nil {
		return nil, nil, nil, ErrExchange
	}
	return y, b[33:head], b[head+2:], nil
}

// secrets are what both sides derive from the exchange.
type secrets struct {
	tagOld, tagNew [tagSize]byte
	wrap           [keySize]byte
}

// newSecrets derives the confirmation tags and the wrapping key from ISK.
func newSecrets(isk, ya, senderCard, yb, receiverCard []byte) (s secrets) {
	prk, err := hkdf.Extract(sha512.New, isk, nil)
	if err != nil {
		panic("pairing: HKDF refused its arguments")
	}
	mac := expand(prk, label.PakeTag, tagSize)
	s.tagOld = confirmation(mac, "old", ya, senderCard)
	s.tagNew = confirmation(mac, "new", yb, receiverCard)
	s.wrap = [keySize]byte(expand(prk, label.PakeWrap, keySize))
	return s
}

func expand(prk []byte, l label.Label, n int) []byte {
	b, err := hkdf.Expand(sha512.New, prk, string(l), n)
	if err != nil {
		panic("pairing: HKDF refused its arguments")
	}
	return b
}

// confirmation is the tag over what one side sent. The role is in it, so that a tag can't
// be sent back.
func confirmation(mac []byte, role string, y, card []byte) [tagSize]byte {
	h := hmac.New(sha512.New, mac)
	h.Write(label.LV(label.PakeTag, []byte(role), y, card))
	return [tagSize]byte(h.Sum(nil))
}

// wrapGrant seals the grant for message 3. The nonce is random: a device that has to make
// message 3 again does it for another ciphertext under the same key.
func wrapGrant(k *[keySize]byte, grant []byte) []byte {
	var n [boxNonceSize]byte
	rand.Read(n[:])
	if nonce.Enabled {
		nonce.Record(k[:], func(yield func([]byte) bool) { yield(n[:]) })
	}
	return secretbox.Seal(n[:], grant, &n, k)
}

func unwrapGrant(k *[keySize]byte, b []byte) ([]byte, bool) {
	if len(b) < boxNonceSize {
		return nil, false
	}
	return secretbox.Open(nil, b[boxNonceSize:], (*[boxNonceSize]byte)(b), k)
}
