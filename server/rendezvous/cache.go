package rendezvous

import (
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// A cache takes a session from its sender and brings it to the session's server (docs/SPEC.md section 7.9). What is here
// has two sides: what a server lets a cache do that shows a permit, and what a cache knows of the sessions that it brings.

// permitted checks that the session's sender lets this cache work at this server.
func (s *Service) permitted(rec *Session, cache id.Peer, permit []byte) error {
	p, err := key.ParsePermit(permit, rec.Sender)
	if err != nil || p.Session != rec.ID || p.Cache != cache || p.Server != s.self || s.self.IsZero() || s.brings != nil {
		return wire.Forbidden
	}
	if s.clock.Wall(s.clock.Now()) > p.NotAfter.UnixMilli() {
		return wire.Forbidden
	}
	return nil
}

// AuthorizeCache is Authorize for a cache, which may look and write.
func (s *Service) AuthorizeCache(sid id.Session, cache id.Peer, permit []byte, a Access) (Session, error) {
	rec, err := s.load(sid)
	if err != nil {
		return rec, err
	}
	if err := s.permitted(&rec, cache, permit); err != nil {
		return rec, err
	}
	if a != Look && a != Write {
		return rec, wire.Forbidden
	}
	return rec, s.possible(&rec, a)
}

// CommitFromCache is Commit by a cache: only of what the sender has signed.
func (s *Service) CommitFromCache(cache id.Peer, permit []byte, sid id.Session, r Root) error {
	rec, err := s.load(sid)
	if err != nil {
		return err
	}
	if err := s.permitted(&rec, cache, permit); err != nil {
		return err
	}
	if key.VerifyCommit(rec.Sender, key.CommitOf(sid, r.Epoch, r.Before, r.Root), r.Signature) != nil {
		return wire.Forbidden
	}
	return s.Commit(rec.Sender, sid, r)
}

// StatusForCache is Status for a cache, which is told no more of the receiver than that there is one.
func (s *Service) StatusForCache(cache id.Peer, permit []byte, sid id.Session) (out Status, err error) {
	rec, err := s.load(sid)
	if err == nil {
		err = s.permitted(&rec, cache, permit)
	}
	if err != nil {
		return out, err
	}
	rec.Receiver, rec.Pinned = id.Peer{}, false
	return Status{Session: rec, Expires: s.clock.Wall(rec.Expires)}, nil
}

// checkBringing checks what Open says of a permit: a cache takes nothing without a good one, a server none at all.
func (s *Service) checkBringing(caller id.Peer, r *OpenRequest) error {
	if s.brings == nil {
		if r.Permit != nil {
			return wire.Malformed
		}
		return nil
	}
	if o := r.Offer; o != nil && (o.Share != [32]byte{} || len(o.Grant) > 0) {
		return wire.Malformed // not to be had here, and better said than kept
	}
	p, err := key.ParsePermit(r.Permit, caller)
	if err != nil || p.Session != r.Session || p.Cache != s.self || !s.brings(p.Server) ||
		s.clock.Wall(s.clock.Now()) > p.NotAfter.UnixMilli() {
		return wire.Forbidden
	}
	return nil
}

// Brought is a session that this cache brings to its server.
type Brought struct {
	Session
	Permit []byte
	Server id.Peer
}

// Bringing returns the live sessions that this cache brings to their servers.
func (s *Service) Bringing() (out []Brought, err error) {
	err = s.db.EachPrefix(db.AllPermits(), false, func(k, permit []byte) (bool, error) {
		rec, err := s.load(db.SessionOf(k))
		if err != nil || rec.State.Ended() {
			return err == nil, err
		}
		permit = append([]byte(nil), permit...)
		p, err := key.ParsePermit(permit, rec.Sender)
		if err == nil {
			out = append(out, Brought{rec, permit, p.Server})
		}
		return true, err
	})
	return out, err
}

// Newest returns the newest root of a session, with the commit before it.
func (s *Service) Newest(sid id.Session) (r Root, found bool, err error) {
	defer s.locks.lock(sid.Scope())()
	v, err := s.db.Get(db.RootKey(sid))
	if err != nil || v == nil {
		return r, false, err
	}
	if r, err = decodeRoot(v); err != nil {
		return r, false, err
	}
	before, err := s.db.Get(db.BeforeKey(sid))
	copy(r.Before[:], before)
	return r, err == nil, err
}

// Drop ends a session that is over at its server.
func (s *Service) Drop(sid id.Session) error {
	rec, err := s.load(sid)
	if err != nil || rec.State.Ended() {
		return err
	}
	return s.Revoke(rec.Sender, sid)
}
