package key

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// CardVersion is the version of the card's layout, the protocol version.
const CardVersion = 1

// MaxLabel is the length in bytes of the longest device label.
const MaxLabel = 64

// ClockSkew is how far a device's clock may be off when a notAfter is judged.
const ClockSkew = 24 * time.Hour

// MaxNotAfter is the last second of the year 9999; no card or grant is valid longer.
var MaxNotAfter = time.Unix(253402300799, 0).UTC()

// ErrCard is returned for every card that ParseCard refuses: not exactly encoded, weak
// keys, or a signature that does not verify.
var ErrCard = errors.New("invalid device card")

// Role is the part a device plays in a session. A card is good for one role, so that it
// can't be reflected to its owner.
type Role uint8

// The roles.
const (
	Sender   Role = 1
	Receiver Role = 2
)

// String returns "sender" or "receiver".
func (r Role) String() string {
	switch r {
	case Sender:
		return "sender"
	case Receiver:
		return "receiver"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// Limits are what a receiver is ready to take in one session; 0 means none is stated.
type Limits struct {
	MaxItems uint64
	MaxBytes uint64
}

// Card is the public description of a device for one role (SPEC 2.3). Whoever carries a
// card reads it, the label too: on a card that goes through a server in the clear, the
// label is left empty.
type Card struct {
	Version  uint8
	Role     Role
	Peer     id.Peer
	XWing    []byte // 1216 bytes
	Box      [BoxSize]byte
	Limits   Limits
	NotAfter time.Time // whole seconds, UTC; see Expired
	Label    string    // at most 64 bytes of UTF-8 without control characters; chosen by the other side, sanitise before showing
}

// Offsets of the fields (SPEC 2.3). The label and the signature follow.
const (
	offPeer     = 2
	offXWing    = offPeer + 32
	offBox      = offXWing + XWingSize
	offItems    = offBox + BoxSize
	offBytes    = offItems + 8
	offNotAfter = offBytes + 8
	offLabelLen = offNotAfter + 8
	offLabel    = offLabelLen + 1
)

// MaxCardSize is the length in bytes of the longest signed card.
const MaxCardSize = offLabel + MaxLabel + SignatureSize

// SignCard makes the signed card of a device. notAfter is cut to whole seconds; the label
// is at most 64 bytes of UTF-8 without control characters.
func SignCard(d *Device, e *Exchange, role Role, limits Limits, notAfter time.Time, lab string) ([]byte, error) {
	if role != Sender && role != Receiver || !validLabel(lab) || !validTime(notAfter.Unix()) {
		return nil, ErrCard
	}
	b := make([]byte, 0, offLabel+len(lab)+SignatureSize)
	b = append(b, CardVersion, byte(role))
	b = append(b, d.peer[:]...)
	b = append(b, e.xwing.PublicKey().Bytes()...)
	b = append(b, e.box.PublicKey().Bytes()...)
	b = binary.BigEndian.AppendUint64(b, limits.MaxItems)
	b = binary.BigEndian.AppendUint64(b, limits.MaxBytes)
	b = binary.BigEndian.AppendUint64(b, uint64(notAfter.Unix()))
	b = append(b, byte(len(lab)))
	b = append(b, lab...)
	return append(b, d.Sign(label.Card, b)...), nil
}

// ParseCard reads a signed card and verifies it: exact encoding, sound keys, signature by
// the very peer it names. Whether that peer is the one expected, in which role, and
// whether the card is still valid now, is the caller's to ask. The result shares nothing
// with b. The error is ErrCard.
func ParseCard(b []byte) (*Card, error) {
	if len(b) < offLabel+SignatureSize || len(b) != offLabel+int(b[offLabelLen])+SignatureSize {
		return nil, ErrCard
	}
	body, sig := b[:len(b)-SignatureSize], b[len(b)-SignatureSize:]
	c := &Card{
		Version: b[0],
		Role:    Role(b[1]),
		Peer:    id.Peer(b[offPeer:offXWing]),
		XWing:   append([]byte(nil), b[offXWing:offBox]...),
		Box:     [BoxSize]byte(b[offBox:offItems]),
		Limits:  Limits{binary.BigEndian.Uint64(b[offItems:]), binary.BigEndian.Uint64(b[offBytes:])},
		Label:   string(body[offLabel:]),
	}
	notAfter := int64(binary.BigEndian.Uint64(b[offNotAfter:]))
	c.NotAfter = time.Unix(notAfter, 0).UTC()
	if c.Version != CardVersion || c.Role != Sender && c.Role != Receiver || !validTime(notAfter) || !validLabel(c.Label) {
		return nil, ErrCard
	}
	if Verify(c.Peer, label.Card, body, sig) != nil || CheckXWing(c.XWing) != nil || CheckX25519(c.Box[:]) != nil {
		return nil, ErrCard
	}
	return c, nil
}

// Expired reports whether the card's time is over, with ClockSkew of tolerance.
func (c *Card) Expired(now time.Time) bool { return now.After(c.NotAfter.Add(ClockSkew)) }

// HashCard identifies a signed card: SHA-256(LV("decant/1/card", card)).
func HashCard(b []byte) id.CardHash { return sha256.Sum256(label.LV(label.Card, b)) }

func validTime(unix int64) bool { return unix > 0 && unix <= MaxNotAfter.Unix() }

func validLabel(s string) bool {
	if len(s) > MaxLabel || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
