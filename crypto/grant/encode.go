package grant

import (
	"encoding/binary"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

// Layout of the plaintext of a grant (SPEC 5.1).
const (
	offSession  = seal.KeySize
	offEpoch    = offSession + id.Size
	offCommit   = offEpoch + 8
	offSender   = offCommit + 32
	offReceiver = offSender + 32
	offNotAfter = offReceiver + 32
	bodySize    = offNotAfter + 8
)

// encode returns the one encoding of g, or ErrGrant if g has none.
func (g *Grant) encode() ([]byte, error) {
	notAfter := g.NotAfter.Unix()
	if g.MK == nil || g.Session.IsZero() || notAfter <= 0 || notAfter > key.MaxNotAfter.Unix() {
		return nil, ErrGrant
	}
	b := make([]byte, 0, bodySize)
	b = append(b, g.MK.Bytes()...)
	b = append(b, g.Session[:]...)
	b = binary.BigEndian.AppendUint64(b, g.Epoch)
	b = append(b, g.Commit[:]...)
	b = append(b, g.SenderCard[:]...)
	b = append(b, g.ReceiverCard[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(notAfter)), nil
}

// decode reads what encode wrote, and nothing else.
func decode(b []byte) (*Grant, error) {
	if len(b) != bodySize {
		return nil, ErrGrant
	}
	mk, err := seal.MasterKeyFromBytes(b[:offSession])
	notAfter := int64(binary.BigEndian.Uint64(b[offNotAfter:]))
	g := &Grant{
		MK:           mk,
		Session:      id.Session(b[offSession:]),
		Epoch:        binary.BigEndian.Uint64(b[offEpoch:]),
		Commit:       id.Commit(b[offCommit:]),
		SenderCard:   id.CardHash(b[offSender:]),
		ReceiverCard: id.CardHash(b[offReceiver:]),
		NotAfter:     time.Unix(notAfter, 0).UTC(),
	}
	if err != nil || g.Session.IsZero() || notAfter <= 0 || notAfter > key.MaxNotAfter.Unix() {
		return nil, ErrGrant
	}
	return g, nil
}
