// Package rendezvous keeps the server's small state: sessions, their receivers, roots and mailboxes, and the
// nameplates under which two devices meet (docs/SPEC.md sections 7.3, 7.4 and 7.6).
//
// Every change goes the same way: lock the scope, read the record, ask the transition function
// (transition.go), commit one synced batch, wake who waits, answer. So an answer is a promise that
// survives a power cut, and a request that comes twice has one effect.
//
// The package checks who may do what; it trusts the caller's identity that it is given. It keeps no
// address and no plaintext, and can decrypt nothing that passes through.
//
// Errors are wire.Status values, wrapped or bare, or internal failures without one.
package rendezvous

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// Space is what the service asks about the disk.
type Space interface {
	// Free returns the bytes that new blobs may take, above the watermark, and the size of the disk.
	Free() (free, total uint64)
	// Low reports that the disk is so full that messages and roots are refused too.
	Low() bool
	// Stored returns the bytes of all blobs.
	Stored() uint64
}

// Config configures New.
type Config struct {
	DB     *db.DB
	Clock  *db.Clock
	Limits Limits
	Space  Space
	Logger *slog.Logger
	// Self is the server's own identity, which permits name. Zero: none is accepted.
	Self id.Peer
	// Brings makes this service a cache's (SPEC 7.9): it says to which servers sessions are brought. nil: it is a server's.
	Brings func(server id.Peer) bool
	// Ended is called after a session became a tombstone whose blobs must go. It must not block.
	Ended func(id.Session)
}

// Service is the rendezvous. All methods are safe for concurrent use.
type Service struct {
	db      *db.DB
	clock   *db.Clock
	limits  Limits
	space   Space
	log     *slog.Logger
	self    id.Peer
	brings  func(id.Peer) bool
	ended   func(id.Session)
	locks   keyed // by scope
	offers  keyed // by locator; taken inside a scope's lock, never the other way round
	hub     hub
	ledger  ledger
	subnets subnets
	plates  plates
	pairs   pairs
}

// New opens the service over the database and counts what its budgets hold.
func New(c Config) (*Service, error) {
	l := c.Limits.withDefaults()
	s := &Service{db: c.DB, clock: c.Clock, limits: l, space: c.Space, log: c.Logger, self: c.Self, brings: c.Brings, ended: c.Ended,
		locks:  keyed{held: map[id.Scope]*lock{}},
		offers: keyed{held: map[id.Scope]*lock{}},
		hub:    hub{max: l.Waiters, maxScope: l.ScopeWaiters, scopes: map[id.Scope]*bell{}},
		ledger: ledger{limits: l, subnets: map[Subnet]*usage{}},
		plates: plates{taken: map[uint32]bool{}},
		pairs:  pairs{parties: map[id.Peer]int{}, shared: map[pair]*relayed{}},
	}
	var err error
	if s.subnets, err = newSubnets(c.DB); err != nil {
		return nil, err
	}
	return s, errors.Join(s.countSessions(), s.countNameplates())
}

func (s *Service) countSessions() error {
	var rec Session
	return s.db.EachPrefix(db.AllSessions(), false, func(k, v []byte) (bool, error) {
		if err := rec.decode(db.SessionOf(k), v); err != nil {
			return false, err
		}
		if !rec.State.Ended() {
			s.pairs.replace(nil, &rec)
			return true, s.ledger.addSession(&rec, 0, true)
		}
		return true, nil
	})
}

// Close wakes everyone who waits and lets nobody wait any more.
func (s *Service) Close() { s.hub.close() }

// Waiting returns the number of long polls under way.
func (s *Service) Waiting() int { return s.hub.count() }

// Live returns the number of live sessions and the bytes that they declared.
func (s *Service) Live() (sessions int, declared uint64) { return s.ledger.totals() }

// Limits returns the limits in force.
func (s *Service) Limits() Limits { return s.limits }

// load reads a session. A session whose time is over is EXPIRED from that moment on, swept or not.
func (s *Service) load(sid id.Session) (rec Session, err error) {
	found, err := s.db.View(db.SessionKey(sid), func(v []byte) error { return rec.decode(sid, v) })
	if err == nil && !found {
		err = wire.NotFound
	}
	if err == nil && !rec.State.Ended() && s.clock.Now() >= rec.Expires {
		rec.State = Expired
	}
	return rec, err
}

// Access says what a caller wants with a session's blobs.
type Access uint8

// The kinds of access.
const (
	Read   Access = iota // both parties
	Look                 // both parties, and a cache with a permit: which blobs there are
	Write                // the sender and a cache with a permit, while the disk has room
	Delete               // the sender
)

// Authorize checks that the caller may read or write the session's blobs now and returns the session.
func (s *Service) Authorize(sid id.Session, caller id.Peer, a Access) (Session, error) {
	rec, err := s.load(sid)
	if err != nil {
		return rec, err
	}
	if caller != rec.Sender && (a > Look || caller != rec.Receiver) {
		return rec, wire.Forbidden
	}
	return rec, s.possible(&rec, a)
}

// possible says whether anybody may do it now.
func (s *Service) possible(rec *Session, a Access) error {
	if err := rec.State.refusal(); err != nil {
		return err
	}
	if free, _ := s.space.Free(); a == Write && free == 0 {
		return wire.NoSpace
	}
	return nil
}

// Party is Authorize without asking for space or for a live session.
func (s *Service) Party(sid id.Session, caller id.Peer) (Session, error) {
	rec, err := s.load(sid)
	if err == nil && caller != rec.Sender && caller != rec.Receiver {
		err = wire.Forbidden
	}
	return rec, err
}

// A request is remembered by its ID with a digest of what it asked and with its answer.
type request struct {
	key    []byte
	digest [32]byte
}

// newRequest digests the parts of a request, which are length-prefixed.
func newRequest(scope id.Scope, caller id.Peer, rid id.Request, what string, parts ...[]byte) request {
	h := sha256.New()
	for _, p := range append([][]byte{[]byte(what)}, parts...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return request{db.RequestKey(scope, caller, rid), [32]byte(h.Sum(nil))}
}

// seen returns the answer if the request was granted before; Conflict if its ID was used for something else.
func (s *Service) seen(r request) (answer []byte, found bool, err error) {
	row, err := s.db.Get(r.key)
	if err != nil || row == nil {
		return nil, false, err
	}
	if !bytes.Equal(row[:32], r.digest[:]) {
		return nil, false, wire.Conflict
	}
	return row[32:], true, nil
}

// note puts the request and its answer into the batch. Only what was granted is remembered.
func (r request) note(b *db.Batch, answer []byte) { b.Set(r.key, append(r.digest[:], answer...)) }

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Offer is what a sender deposits for a receiver that only a ticket will name.
type Offer struct {
	Locator  id.Locator
	ClaimKey [32]byte
	Share    [32]byte
	Grant    []byte
}

// Request to open a session.
type OpenRequest struct {
	ID       id.Request
	Session  id.Session
	Class    wire.Class
	Declared uint64
	Expiry   time.Duration // 0: the server's default
	Offer    *Offer
	Permit   []byte // to a cache
	Subnet   Subnet
}

func (r *OpenRequest) request(caller id.Peer) request {
	parts := [][]byte{{byte(r.Class)}, u64(r.Declared), u64(uint64(r.Expiry))}
	if o := r.Offer; o != nil {
		parts = append(parts, o.Locator[:], o.ClaimKey[:], o.Share[:], o.Grant)
	}
	if r.Permit != nil {
		parts = append(parts, r.Permit)
	}
	return newRequest(r.Session.Scope(), caller, r.ID, "open", parts...)
}

// Open creates a session and returns when it expires, in Unix milliseconds.
func (s *Service) Open(caller id.Peer, r *OpenRequest) (expires int64, err error) {
	if err := s.checkBringing(caller, r); err != nil {
		return 0, err
	}
	defer s.locks.lock(r.Session.Scope())()
	req := r.request(caller)
	if answer, found, err := s.seen(req); found || err != nil {
		return answered(answer), err
	}
	if taken, err := s.db.View(db.SessionKey(r.Session), func([]byte) error { return nil }); err != nil {
		return 0, err
	} else if taken {
		return 0, wire.Conflict
	}
	rec, err := s.newSession(caller, r)
	if err != nil {
		return 0, err
	}
	if r.Offer != nil { // two sessions with one locator must not pass each other
		defer s.offers.lock(id.Scope(r.Offer.Locator))()
		if taken, err := s.db.View(db.LocatorKey(r.Offer.Locator), func([]byte) error { return nil }); err != nil {
			return 0, err
		} else if taken {
			return 0, wire.Conflict
		}
	}
	free, total := s.space.Free()
	if err := s.room(&rec, free); err != nil {
		return 0, err
	}
	if err := s.ledger.addSession(&rec, s.limits.subnetBytes(total), false); err != nil {
		return 0, err
	}
	expires = s.clock.Wall(rec.Expires)
	if err := s.commitOpen(&rec, r, req, expires); err != nil {
		s.ledger.removeSession(&rec)
		return 0, err
	}
	kill.Point(kill.ServerOpened)
	s.pairs.replace(nil, &rec)
	return expires, nil
}

// answered reads an answer that is one number.
func answered(a []byte) int64 {
	if len(a) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(a))
}

// subnetBytes is the budget of a subnet on a disk of the given size.
func (l Limits) subnetBytes(total uint64) uint64 {
	if l.SubnetBytes != 0 {
		return l.SubnetBytes
	}
	return total / 2
}

// room checks the session's declared size against its quota and what the disk has left for sessions that declared theirs before.
func (s *Service) room(rec *Session, free uint64) error {
	if declaredBytes(rec) > s.limits.SessionBytes {
		return wire.QuotaSpace
	}
	if declaredBytes(rec) > s.unpromised(free) {
		return wire.NoSpace
	}
	return nil
}

// unpromised is the part of the free bytes that no session has declared yet.
func (s *Service) unpromised(free uint64) uint64 {
	_, reserved := s.ledger.totals()
	outstanding := reserved - min(reserved, s.space.Stored())
	return free - min(free, outstanding)
}

// Room returns the bytes that a new session can have now.
func (s *Service) Room() uint64 {
	free, _ := s.space.Free()
	return min(s.unpromised(free), s.limits.SessionBytes)
}

func (s *Service) newSession(caller id.Peer, r *OpenRequest) (Session, error) {
	size := uint64(r.Class.BlobSize())
	if size == 0 || r.Declared == 0 || r.Expiry < 0 {
		return Session{}, wire.Malformed
	}
	if r.Declared > s.limits.SessionBytes/size {
		return Session{}, wire.QuotaSpace
	}
	expiry := r.Expiry
	orElse(&expiry, s.limits.Expiry)
	now := s.clock.Now()
	rec := Session{ID: r.Session, State: Open, Class: r.Class, Sender: caller, Declared: r.Declared, Subnet: r.Subnet,
		Created: now, Expires: now + min(expiry, s.limits.MaxExpiry).Milliseconds()}
	if o := r.Offer; o != nil {
		if len(o.Grant) > wire.MaxGrant {
			return Session{}, wire.TooLarge
		}
		rec.Ticket, rec.Locator, rec.ClaimKey = true, o.Locator, o.ClaimKey
	}
	return rec, nil
}

func (s *Service) commitOpen(rec *Session, r *OpenRequest, req request, expires int64) error {
	b := s.db.Batch()
	b.Set(db.SessionKey(rec.ID), rec.encode())
	b.Set(db.ExpiryKey(rec.Expires, db.ExpireSession, rec.ID.Scope()), nil)
	if o := r.Offer; o != nil {
		b.Set(db.LocatorKey(o.Locator), rec.ID[:])
		b.Set(db.TicketKey(rec.ID), append(o.Share[:], o.Grant...))
	}
	if r.Permit != nil {
		b.Set(db.PermitKey(rec.ID), r.Permit)
	}
	req.note(b, u64(uint64(expires)))
	return b.Commit()
}

// ClaimRequest is a device's wish to become the receiver: by locator and signature, or by session alone.
type ClaimRequest struct {
	ID        id.Request
	Session   id.Session // used if Locator is nil
	Locator   *id.Locator
	Signature []byte
	Card      []byte
}

// Claimed is the answer to a claim.
type Claimed struct {
	Session Session
	Expires int64 // Unix ms
	Share   []byte
	Grant   []byte
}

// Claim makes the caller the receiver and releases the ticket's share, again and again to the same device.
func (s *Service) Claim(caller id.Peer, r *ClaimRequest) (out Claimed, err error) {
	sid := r.Session
	if r.Locator != nil {
		row, err := s.db.Get(db.LocatorKey(*r.Locator))
		if err != nil {
			return out, err
		}
		if row == nil {
			return out, wire.NotFound
		}
		sid = id.Session(row)
	}
	defer s.locks.lock(sid.Scope())()
	rec, err := s.load(sid)
	if err != nil {
		return out, err
	}
	var locator []byte
	proved := false
	if r.Locator != nil {
		locator = r.Locator[:]
		if rec.State.Ended() {
			return out, rec.State.refusal()
		}
		if key.VerifyClaim(rec.ClaimKey, *r.Locator, caller, key.HashCard(r.Card), r.Signature) != nil {
			return out, wire.NotFound // as if the locator were unknown
		}
		proved = true
	}
	req := newRequest(sid.Scope(), caller, r.ID, "claim", locator, r.Card)
	_, again, err := s.seen(req)
	if err != nil {
		return out, err
	}
	after, changed, err := transition(rec, event{kind: eventClaim, caller: caller, proved: proved})
	if err != nil {
		return out, err
	}
	if changed || !again {
		b := s.db.Batch()
		b.Set(db.SessionKey(sid), after.encode())
		if len(r.Card) > 0 {
			b.Set(db.CardKey(sid), r.Card)
		}
		req.note(b, nil)
		if err := b.Commit(); err != nil {
			return out, err
		}
		kill.Point(kill.ServerClaimed)
		s.pairs.replace(&rec, &after)
		s.hub.notify(sid.Scope())
		s.log.Info("claimed", "session", sid.Short(), "receiver", caller.Short())
	}
	return s.claimed(after)
}

// claimed reads what the receiver gets.
func (s *Service) claimed(rec Session) (out Claimed, err error) {
	out = Claimed{Session: rec, Expires: s.clock.Wall(rec.Expires)}
	if !rec.Ticket || s.brings != nil { // a cache has neither share nor grant
		return out, nil
	}
	v, err := s.db.Get(db.TicketKey(rec.ID))
	if err != nil || len(v) < 32 {
		return out, errors.Join(err, wire.NotFound)
	}
	out.Share, out.Grant = v[:32], v[32:]
	return out, nil
}

// change applies a sender's event and commits it together with what also puts into the batch.
func (s *Service) change(sid id.Session, e event, also func(b *db.Batch, before, after *Session) error, point kill.Name) error {
	defer s.locks.lock(sid.Scope())()
	rec, err := s.load(sid)
	if err != nil {
		return err
	}
	after, changed, err := transition(rec, e)
	if err != nil || !changed {
		return err
	}
	b := s.db.Batch()
	b.Set(db.SessionKey(sid), after.encode())
	if err := also(b, &rec, &after); err != nil {
		b.Discard()
		return err
	}
	if err := b.Commit(); err != nil {
		return err
	}
	kill.Point(point)
	s.pairs.replace(&rec, &after)
	s.hub.notify(sid.Scope())
	if after.State.Ended() {
		s.ledger.removeSession(&rec)
		s.ended(sid)
		s.log.Info("ended", "session", sid.Short(), "state", after.State)
	}
	return nil
}

// Pin confirms the receiver, whoever had claimed.
func (s *Service) Pin(caller id.Peer, sid id.Session, receiver id.Peer, pin []byte) error {
	return s.change(sid, event{kind: eventPin, caller: caller, receiver: receiver}, func(b *db.Batch, before, after *Session) error {
		b.Set(db.PinKey(sid), pin)
		if before.Receiver != after.Receiver {
			b.Delete(db.CardKey(sid)) // it was the displaced device's
		}
		return nil
	}, kill.ServerPinned)
}

// Root is an epoch's sealed root as the sender committed it.
type Root struct {
	Epoch     uint64
	Final     bool
	Root      []byte
	Signature []byte    // 64
	Before    id.Commit // of the epoch before: in a cache, and from one
}

func (r *Root) encode() []byte {
	final := byte(0)
	if r.Final {
		final = 1
	}
	out := append(u64(r.Epoch), final)
	return append(append(out, r.Signature...), r.Root...)
}

func decodeRoot(v []byte) (Root, error) {
	if len(v) < 73 {
		return Root{}, errRecord
	}
	return Root{Epoch: binary.BigEndian.Uint64(v), Final: v[8] == 1, Root: v[73:], Signature: v[9:73]}, nil
}

// Commit stores the next epoch's root; only the newest is kept.
func (s *Service) Commit(caller id.Peer, sid id.Session, r Root) error {
	if s.space.Low() {
		return wire.NoSpace
	}
	value := r.encode()
	e := event{kind: eventCommit, caller: caller, epoch: r.Epoch, final: r.Final, root: sha256.Sum256(value)}
	return s.change(sid, e, func(b *db.Batch, _, _ *Session) error {
		b.Set(db.RootKey(sid), value)
		if s.brings != nil {
			b.Set(db.BeforeKey(sid), r.Before[:])
		}
		return nil
	}, kill.ServerCommitted)
}

// GetRoot returns the newest root if its epoch is at least least, waiting for it for up to wait.
func (s *Service) GetRoot(ctx context.Context, caller id.Peer, sid id.Session, least uint64, wait time.Duration) (r Root, found bool, err error) {
	err = s.hub.poll(ctx, sid.Scope(), s.waitable(sid, wait), func() (bool, error) {
		rec, err := s.Party(sid, caller)
		if err == nil {
			err = rec.State.refusal()
		}
		if err != nil || !rec.Committed || rec.Epoch < least {
			return false, err
		}
		v, err := s.db.Get(db.RootKey(sid))
		if err != nil || v == nil { // nil: the session has just ended, and the bell rings
			return false, err
		}
		r, err = decodeRoot(v)
		found = err == nil && r.Epoch >= least
		return found, err
	})
	return r, found, err
}

// waitable cuts a wait so that it ends when the session expires.
func (s *Service) waitable(sid id.Session, wait time.Duration) time.Duration {
	rec, err := s.load(sid)
	if err != nil || rec.State.Ended() {
		return 0
	}
	return min(wait, time.Duration(rec.Expires-s.clock.Now())*time.Millisecond)
}

// Status is what a party may know about its session.
type Status struct {
	Session Session
	Expires int64  // Unix ms
	Card    []byte // to the sender
	Pin     []byte // to the receiver
}

// Status returns where the session stands.
func (s *Service) Status(caller id.Peer, sid id.Session) (out Status, err error) {
	rec, err := s.Party(sid, caller)
	if err != nil {
		return out, err
	}
	out = Status{Session: rec, Expires: s.clock.Wall(rec.Expires)}
	if caller == rec.Sender {
		out.Card, err = s.db.Get(db.CardKey(sid))
		return out, err
	}
	out.Pin, err = s.db.Get(db.PinKey(sid))
	return out, err
}

// Finish completes the session; the ack stays in the tombstone for the receiver (rule R2).
func (s *Service) Finish(caller id.Peer, sid id.Session, ack []byte) error {
	return s.end(sid, event{kind: eventFinish, caller: caller, ack: ack})
}

// Revoke ends the session without a receipt.
func (s *Service) Revoke(caller id.Peer, sid id.Session) error {
	return s.end(sid, event{kind: eventRevoke, caller: caller})
}

// end makes the session a tombstone: in the same batch its ticket share, root, messages and requests go, and its blobs are due to go.
func (s *Service) end(sid id.Session, e event) error {
	e.now, e.keep = s.clock.Now(), s.limits.Tombstone.Milliseconds()
	return s.change(sid, e, s.bury, kill.ServerFinished)
}

// bury puts the removal of everything but the tombstone into the batch.
func (s *Service) bury(b *db.Batch, before, after *Session) error {
	sid := before.ID
	b.Delete(db.ExpiryKey(before.Expires, db.ExpireSession, sid.Scope()))
	b.Set(db.ExpiryKey(after.Expires, db.ExpireSession, sid.Scope()), nil)
	b.Set(db.CleanupKey(sid), nil)
	b.Delete(db.TicketKey(sid))
	b.Delete(db.RootKey(sid))
	b.Delete(db.CardKey(sid))
	b.Delete(db.PinKey(sid))
	b.Delete(db.PermitKey(sid))
	b.Delete(db.BeforeKey(sid))
	b.Delete(db.MailboxKey(sid.Scope()))
	return errors.Join(b.DeletePrefix(db.MessagePrefix(sid.Scope())), b.DeletePrefix(db.RequestPrefix(sid.Scope())))
}
