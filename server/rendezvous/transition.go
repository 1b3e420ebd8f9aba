package rendezvous

import (
	"bytes"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// An event is something that a device, or the clock, wants to happen to a session.
type event struct {
	kind   eventKind
	caller id.Peer // not for expire

	proved   bool    // claim: signed with the ticket's claim key
	receiver id.Peer // pin
	epoch    uint64  // commit
	final    bool    // commit
	root     [32]byte
	ack      []byte // finish
	now      int64  // finish, revoke, expire: ms
	keep     int64  // finish, revoke, expire: ms for which the tombstone stays
}

type eventKind uint8

const (
	eventClaim eventKind = iota
	eventPin
	eventCommit
	eventFinish
	eventRevoke
	eventExpire
)

// transition is the whole state machine (docs/SPEC.md section 7.3). It returns the session after the event and whether anything
// changed; an error is a refusal, and then nothing has changed. Each change is committed in one synced batch before
// anyone is told.
//
//	OPEN ──commit(final)──▶ SEALED          claim and pin leave the state as it is
//	OPEN, SEALED ──finish──▶ DONE   ──revoke──▶ REVOKED   ──expire──▶ EXPIRED
//
// An event that has already happened is no error: every request may arrive twice.
func transition(s Session, e event) (after Session, changed bool, err error) {
	byAnyone := e.kind == eventClaim || e.kind == eventExpire
	if !byAnyone && e.caller != s.Sender {
		return s, false, wire.Forbidden
	}
	if s.State.Ended() {
		return s, false, onTombstone(&s, e)
	}
	switch e.kind {
	case eventClaim:
		return claim(s, e)
	case eventExpire:
		return end(s, Expired, e), true, nil
	case eventPin:
		return pin(s, e)
	case eventCommit:
		return commit(s, e)
	case eventFinish:
		// Not only from SEALED: a server restored from a backup may have forgotten the last commit, and the sender, who has
		// the receipt, decides (adversity R-10).
		s.Ack = e.ack
		return end(s, Done, e), true, nil
	case eventRevoke:
		return end(s, Revoked, e), true, nil
	}
	panic("rendezvous: unknown event")
}

// onTombstone answers what comes after the end: a repetition of what ended it is no error.
func onTombstone(s *Session, e event) error {
	switch {
	case e.kind == eventExpire:
		return nil
	case s.State == Done && e.kind == eventFinish:
		if !bytes.Equal(e.ack, s.Ack) {
			return wire.Conflict
		}
		return nil
	case s.State == Revoked && e.kind == eventRevoke:
		return nil
	}
	return s.State.refusal()
}

// refusal is the status with which a tombstone answers.
func (s State) refusal() error {
	switch s {
	case Done:
		return wire.Done
	case Expired:
		return wire.Expired
	case Revoked:
		return wire.Revoked
	}
	return nil
}

// claim gives the session to the first device that may have it, and again to the same one (rule R3).
func claim(s Session, e event) (Session, bool, error) {
	switch {
	case e.caller == s.Sender:
		return s, false, wire.Forbidden // a device doesn't send to itself
	case s.Receiver == e.caller && s.Claimed:
		return s, false, nil
	case s.Receiver == e.caller: // pinned before it claimed
		s.Claimed = true
		return s, true, nil
	case !s.Receiver.IsZero():
		return s, false, wire.AlreadyClaimed
	case !e.proved:
		return s, false, wire.NotPinned
	}
	s.Receiver, s.Claimed = e.caller, true
	return s, true, nil
}

// pin makes the sender's choice the receiver, whoever had claimed (rule R1).
func pin(s Session, e event) (Session, bool, error) {
	if e.receiver == s.Sender || e.receiver.IsZero() {
		return s, false, wire.Malformed
	}
	if s.Receiver != e.receiver {
		s.Receiver, s.Claimed = e.receiver, false
	}
	s.Pinned = true
	return s, true, nil // the pin's bytes may be new
}

// commit takes the next epoch's root.
func commit(s Session, e event) (Session, bool, error) {
	same := s.Committed && e.epoch == s.Epoch && e.root == s.RootHash && e.final == s.Final
	switch {
	case same:
		return s, false, nil
	case s.Committed && e.epoch < s.Epoch:
		return s, false, wire.StaleEpoch
	case s.Committed && e.epoch == s.Epoch:
		return s, false, wire.Conflict
	case s.State == Sealed && !e.final: // a complete collection is only ever replaced by a complete one
		return s, false, wire.WrongState
	}
	s.Committed, s.Epoch, s.Final, s.RootHash = true, e.epoch, e.final, e.root
	if e.final {
		s.State = Sealed
	}
	return s, true, nil
}

// end makes a tombstone.
func end(s Session, to State, e event) Session {
	s.State, s.Expires, s.ClaimKey = to, e.now+e.keep, [32]byte{}
	return s
}
