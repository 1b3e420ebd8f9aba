package rendezvous

import (
	"encoding/binary"
	"errors"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// State is where a session stands. The numbers are on the wire and on the disk.
type State uint8

// The states. Claimed and pinned are marks on an open or sealed session, not states: a receiver
// may claim before the sender has finished.
const (
	Open    State = 1
	Sealed  State = 2
	Done    State = 3
	Expired State = 4
	Revoked State = 5
)

// Ended reports whether the session is a tombstone.
func (s State) Ended() bool { return s >= Done }

// Session is a session's record.
type Session struct {
	ID       id.Session
	State    State
	Class    wire.Class
	Sender   id.Peer
	Receiver id.Peer // zero while nobody claimed and nobody is pinned
	Claimed  bool    // the receiver has claimed
	Pinned   bool    // the sender has confirmed the receiver
	Ticket   bool
	Locator  id.Locator // ticket sessions
	ClaimKey [32]byte   // ticket sessions
	Declared uint64     // blobs that the sender asked room for
	Subnet   Subnet     // whose budget pays

	Committed bool // a root is there; the next three belong to it
	Final     bool
	Epoch     uint64
	RootHash  [32]byte

	Created int64  // ms of the server's clock
	Expires int64  // of the tombstone, once ended
	Ack     []byte // of a DONE session
}

const (
	flagClaimed = 1 << iota
	flagPinned
	flagCommitted
	flagFinal
	flagTicket
)

const recordBytes = 4 + 32 + 32 + 16 + 32 + 8 + 8 + 8 + 32 + 8 + 8

var errRecord = errors.New("session record: malformed")

func (s *Session) flags() (f byte) {
	for i, on := range []bool{s.Claimed, s.Pinned, s.Committed, s.Final, s.Ticket} {
		if on {
			f |= 1 << i
		}
	}
	return f
}

// encode returns the record's row: version, state, class, flags, fixed fields, then the ack.
func (s *Session) encode() []byte {
	out := append(make([]byte, 0, recordBytes+len(s.Ack)), 1, byte(s.State), byte(s.Class), s.flags())
	out = append(append(out, s.Sender[:]...), s.Receiver[:]...)
	out = append(append(out, s.Locator[:]...), s.ClaimKey[:]...)
	out = binary.BigEndian.AppendUint64(out, s.Declared)
	out = append(out, s.Subnet[:]...)
	out = binary.BigEndian.AppendUint64(out, s.Epoch)
	out = append(out, s.RootHash[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(s.Created))
	out = binary.BigEndian.AppendUint64(out, uint64(s.Expires))
	return append(out, s.Ack...)
}

// Row returns the record's row, for tests that fill a database.
func (s *Session) Row() []byte { return s.encode() }

// decode reads a row; nothing in s points into b.
func (s *Session) decode(sid id.Session, b []byte) error {
	if len(b) < recordBytes || b[0] != 1 {
		return errRecord
	}
	f := b[3]
	*s = Session{ID: sid, State: State(b[1]), Class: wire.Class(b[2]), Claimed: f&flagClaimed != 0, Pinned: f&flagPinned != 0,
		Committed: f&flagCommitted != 0, Final: f&flagFinal != 0, Ticket: f&flagTicket != 0}
	b = b[4:]
	next := func(n int) []byte { p := b[:n]; b = b[n:]; return p }
	copy(s.Sender[:], next(32))
	copy(s.Receiver[:], next(32))
	copy(s.Locator[:], next(16))
	copy(s.ClaimKey[:], next(32))
	s.Declared = binary.BigEndian.Uint64(next(8))
	copy(s.Subnet[:], next(8))
	s.Epoch = binary.BigEndian.Uint64(next(8))
	copy(s.RootHash[:], next(32))
	s.Created = int64(binary.BigEndian.Uint64(next(8)))
	s.Expires = int64(binary.BigEndian.Uint64(next(8)))
	s.Ack = append([]byte(nil), b...)
	return nil
}

// String returns the state's name as in docs/SPEC.md.
func (s State) String() string {
	return [...]string{"", "OPEN", "SEALED", "DONE", "EXPIRED", "REVOKED"}[min(s, Revoked)]
}
