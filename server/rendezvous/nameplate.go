package rendezvous

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// Nameplate is the public number under which a new device can be found while it pairs.
type Nameplate struct {
	Number  uint32
	Scope   id.Scope
	Owner   id.Peer
	Subnet  Subnet
	Expires int64 // ms of the server's clock
}

const plateBytes = 1 + 16 + 32 + 8 + 8

func (n *Nameplate) encode() []byte {
	out := append(make([]byte, 0, plateBytes), 1)
	out = append(append(append(out, n.Scope[:]...), n.Owner[:]...), n.Subnet[:]...)
	return binary.BigEndian.AppendUint64(out, uint64(n.Expires))
}

func decodeNameplate(number uint32, v []byte) (n Nameplate, err error) {
	if len(v) != plateBytes || v[0] != 1 {
		return n, errRecord
	}
	return Nameplate{number, id.Scope(v[1:17]), id.Peer(v[17:49]), Subnet(v[49:57]), int64(binary.BigEndian.Uint64(v[57:]))}, nil
}

// plates hands out numbers: short while few are taken.
type plates struct {
	mu    sync.Mutex // guards taken
	taken map[uint32]bool
}

// take reserves a random free number. Among numbers of so many digits at most half are in use, so it finds one soon.
func (p *plates) take() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := uint32(100)
	for uint32(len(p.taken)) > limit/2 {
		limit *= 10
	}
	for {
		n := 1 + rand.Uint32N(limit-1)
		if !p.taken[n] {
			p.taken[n] = true
			return n
		}
	}
}

func (p *plates) give(n uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, n)
}

func (p *plates) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taken)
}

func (s *Service) countNameplates() error {
	return s.db.EachPrefix(db.AllNameplates(), false, func(k, v []byte) (bool, error) {
		n, err := decodeNameplate(db.ParseNameplateKey(k), v)
		if err != nil {
			return false, err
		}
		s.plates.taken[n.Number] = true
		return true, s.ledger.addNameplate(n.Subnet, true)
	})
}

// Nameplates returns how many there are.
func (s *Service) Nameplates() int { return s.plates.count() }

// Subnet returns the budget that an address belongs to.
func (s *Service) Subnet(a netip.Addr) Subnet { return s.subnets.of(a) }

// Allocate gives the caller a nameplate. A request ID counts for the caller, as there is no scope yet.
func (s *Service) Allocate(caller id.Peer, rid id.Request, subnet Subnet) (n Nameplate, expires int64, err error) {
	own := id.Scope(caller[:16])
	defer s.locks.lock(own)()
	req := newRequest(own, caller, rid, "allocate")
	answer, found, err := s.seen(req)
	if err != nil {
		return n, 0, err
	}
	if found {
		number := binary.BigEndian.Uint32(answer)
		n, err = s.plate(number)
		if err == nil && n.Scope != id.Scope(answer[4:20]) {
			err = wire.NotFound
		}
		return n, answered(answer[20:]), err
	}
	if s.space.Low() {
		return n, 0, wire.NoSpace
	}
	if err := s.ledger.addNameplate(subnet, false); err != nil {
		return n, 0, err
	}
	n = Nameplate{Number: s.plates.take(), Scope: id.NewScope(), Owner: caller, Subnet: subnet,
		Expires: s.clock.Now() + s.limits.Nameplate.Milliseconds()}
	expires = s.clock.Wall(n.Expires)
	b := s.db.Batch()
	b.Set(db.NameplateKey(n.Number), n.encode())
	b.Set(db.ScopeKey(n.Scope), append(binary.BigEndian.AppendUint32(nil, n.Number), req.key...))
	b.Set(db.ExpiryKey(n.Expires, db.ExpireNameplate, n.Scope), nil)
	req.note(b, append(append(binary.BigEndian.AppendUint32(nil, n.Number), n.Scope[:]...), u64(uint64(expires))...))
	if err := b.Commit(); err != nil {
		s.plates.give(n.Number)
		s.ledger.removeNameplate(subnet)
		return n, 0, err
	}
	kill.Point(kill.ServerNameplate)
	return n, expires, nil
}

// plate reads a live nameplate.
func (s *Service) plate(number uint32) (n Nameplate, err error) {
	found, err := s.db.View(db.NameplateKey(number), func(v []byte) (err error) {
		n, err = decodeNameplate(number, v)
		return err
	})
	if err == nil && (!found || s.clock.Now() >= n.Expires) {
		err = wire.NotFound
	}
	return n, err
}

// plateOf reads the live nameplate of a scope, and the key of the request that allocated it.
func (s *Service) plateOf(scope id.Scope) (n Nameplate, request []byte, err error) {
	v, err := s.db.Get(db.ScopeKey(scope))
	if err != nil {
		return n, nil, err
	}
	if len(v) < 4 {
		return n, nil, wire.NotFound
	}
	n, err = s.plate(binary.BigEndian.Uint32(v))
	if err == nil && n.Scope != scope {
		err = wire.NotFound
	}
	return n, v[4:], err
}

// Resolve finds a nameplate.
func (s *Service) Resolve(number uint32) (Nameplate, error) { return s.plate(number) }

// ResolveScope finds the nameplate of a scope: a link names that instead of the number.
func (s *Service) ResolveScope(scope id.Scope) (Nameplate, error) {
	n, _, err := s.plateOf(scope)
	return n, err
}

// Release gives the caller's nameplate back. One that is gone already is no error.
func (s *Service) Release(caller id.Peer, scope id.Scope) error {
	defer s.locks.lock(scope)()
	n, _, err := s.plateOf(scope)
	if errors.Is(err, wire.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if n.Owner != caller {
		return wire.Forbidden
	}
	return s.removePlate(n.Scope)
}

// removePlate removes a nameplate, expired or not, with its mailboxes. The scope is locked.
func (s *Service) removePlate(scope id.Scope) error {
	v, err := s.db.Get(db.ScopeKey(scope))
	if err != nil || len(v) < 4 {
		return err
	}
	number := binary.BigEndian.Uint32(v)
	row, err := s.db.Get(db.NameplateKey(number))
	if err != nil {
		return err
	}
	n, err := decodeNameplate(number, row)
	if err != nil {
		return err
	}
	b := s.db.Batch()
	b.Delete(db.NameplateKey(number))
	b.Delete(db.ScopeKey(scope))
	b.Delete(db.ExpiryKey(n.Expires, db.ExpireNameplate, scope))
	b.Delete(db.MailboxKey(scope))
	b.Delete(v[4:])
	if err := errors.Join(b.DeletePrefix(db.MessagePrefix(scope)), b.DeletePrefix(db.RequestPrefix(scope))); err != nil {
		b.Discard()
		return err
	}
	if err := b.Commit(); err != nil {
		return err
	}
	s.plates.give(number)
	s.ledger.removeNameplate(n.Subnet)
	s.hub.notify(scope)
	return nil
}
