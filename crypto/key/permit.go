package key

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// ErrPermit is returned for a permit that is not exactly encoded, or not signed by the device that was asked for.
var ErrPermit = errors.New("invalid permit")

// PermitSize is the length in bytes of a signed permit.
const PermitSize = id.Size + 32 + 32 + 8 + SignatureSize

// Permit is a sender's word that a cache may bring blobs, and roots that the sender has signed, of one session to one
// server (SPEC 7.9). It allows nothing else there. It lives here because the server needs it.
type Permit struct {
	Session  id.Session
	Cache    id.Peer
	Server   id.Peer
	NotAfter time.Time // in whole seconds
}

// SignPermit returns the sender-signed permit. The same permit always gives the same bytes.
func SignPermit(sender *Device, p Permit) []byte {
	b := make([]byte, 0, PermitSize)
	b = append(b, p.Session[:]...)
	b = append(b, p.Cache[:]...)
	b = append(b, p.Server[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.NotAfter.Unix()))
	return append(b, sender.Sign(label.Permit, b)...)
}

// ParsePermit verifies a permit signed by sender. Whether it names this session, cache and server, and whether its time is
// over, is the caller's to ask. The error is ErrPermit.
func ParsePermit(b []byte, sender id.Peer) (Permit, error) {
	if len(b) != PermitSize {
		return Permit{}, ErrPermit
	}
	body, sig := b[:PermitSize-SignatureSize], b[PermitSize-SignatureSize:]
	end := binary.BigEndian.Uint64(body[id.Size+64:])
	if end > maxPermit || Verify(sender, label.Permit, body, sig) != nil {
		return Permit{}, ErrPermit
	}
	return Permit{Session: id.Session(body), Cache: id.Peer(body[id.Size:]), Server: id.Peer(body[id.Size+32:]),
		NotAfter: time.Unix(int64(end), 0)}, nil
}

// maxPermit is the end of the year 9999 in Unix seconds.
const maxPermit = 253_402_300_799

// CommitOf names what a sender commits as an epoch (SPEC 4.4). It lives here because the server checks what a cache
// brings, and may not know what a root is.
func CommitOf(sid id.Session, epoch uint64, before id.Commit, sealedRoot []byte) id.Commit {
	return sha256.Sum256(label.LV(label.Commit, sid[:], label.U64(epoch), before[:], sealedRoot))
}

// VerifyCommit checks the sender's signature of a commit. The error is ErrSignature.
func VerifyCommit(sender id.Peer, c id.Commit, sig []byte) error {
	return Verify(sender, label.Manifest, label.LV(label.Manifest, c[:]), sig)
}
