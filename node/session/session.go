// Package session holds what the two devices of a session say to each other and
// where a session stands on a device. It implements docs/SPEC.md section 8 (envelopes)
// and the one transition function of a transfer's life.
package session

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Purpose says what an envelope carries. The numbers are on the wire and bound into the key.
type Purpose uint8

// The purposes.
const (
	Announce Purpose = 1 // sender → receiver: packs that are durable, as a pack list
	Receipt  Purpose = 2 // receiver → sender: the receiver's card and its signed receipt
	Addrs    Purpose = 3 // either way: where the device that says so can be dialled
	Again    Purpose = 4 // receiver → sender: packs of the last final epoch that it has lost, as a pack list
	Cache    Purpose = 5 // sender → receiver: the address of a cache that has packs, PEERID@HOST:PORT
)

// ErrEnvelope is returned for every envelope that can't be opened.
var ErrEnvelope = errors.New("envelope does not open")

// Envelope sizes: a payload is padded with zeros behind its own length to the next of these, so that the server sees two sizes only.
var paddedSizes = [...]int{1 << 10, 60 << 10}

// MaxPayload is the largest payload of an envelope in bytes.
const MaxPayload = 60<<10 - 4

// SealEnvelope seals payload from one device to the other under the session's mailbox key.
func SealEnvelope(keys *seal.Keys, sid id.Session, from, to id.Peer, p Purpose, payload []byte) ([]byte, error) {
	size := paddedSize(len(payload))
	if size == 0 {
		return nil, fmt.Errorf("envelope of %d bytes: %w", len(payload), wire.TooLarge)
	}
	plain := make([]byte, size)
	binary.BigEndian.PutUint32(plain, uint32(len(payload)))
	copy(plain[4:], payload)
	return seal.Seal([]byte{byte(p)}, &keys.Mailbox, envelopeContext(sid, from, to, p), plain), nil
}

// paddedSize is the size that a payload of n bytes is padded to, 0 if it is too large.
func paddedSize(n int) int {
	for _, size := range paddedSizes {
		if n+4 <= size {
			return size
		}
	}
	return 0
}

// OpenEnvelope opens what SealEnvelope made. Its error never says why.
func OpenEnvelope(keys *seal.Keys, sid id.Session, from, to id.Peer, body []byte) (Purpose, []byte, error) {
	if len(body) < 1 || len(body) > wire.MaxBody {
		return 0, nil, ErrEnvelope
	}
	p := Purpose(body[0])
	plain, err := seal.Open(nil, &keys.Mailbox, envelopeContext(sid, from, to, p), body[1:])
	if err != nil || len(plain) < 4 {
		return 0, nil, ErrEnvelope
	}
	n := binary.BigEndian.Uint32(plain)
	if uint64(n) > uint64(len(plain)-4) || len(plain) != paddedSize(int(n)) {
		return 0, nil, ErrEnvelope
	}
	for _, b := range plain[4+n:] {
		if b != 0 {
			return 0, nil, ErrEnvelope
		}
	}
	return p, plain[4 : 4+n], nil
}

func envelopeContext(sid id.Session, from, to id.Peer, p Purpose) []byte {
	return label.LV(label.Mailbox, sid[:], from[:], to[:], []byte{byte(p)})
}

// AppendReceipt encodes the payload of a Receipt envelope: the receiver's card behind its 16-bit length, then the receipt.
func AppendReceipt(dst, card, receipt []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(card)))
	return append(append(dst, card...), receipt...)
}

// ParseReceipt splits what AppendReceipt made. The slices alias b.
func ParseReceipt(b []byte) (card, receipt []byte, err error) {
	if len(b) < 2 {
		return nil, nil, ErrEnvelope
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > wire.MaxCard || len(b) < 2+n {
		return nil, nil, ErrEnvelope
	}
	return b[2 : 2+n], b[2+n:], nil
}
