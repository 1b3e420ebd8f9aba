package rendezvous

import (
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// due is one thing whose time is over.
type due struct {
	ms   int64
	what byte
	of   id.Scope
}

// parallelExpiries is how many expiries are committed at once; the database syncs those together.
const parallelExpiries = 32

// Expire ends or forgets up to limit things whose time is over and returns how many there were. Each is one batch, so a
// crash between two loses nothing; what is left is found again.
func (s *Service) Expire(limit int) (found int, err error) {
	var list []due
	err = s.db.Each(db.AllExpiries(), db.ExpiredBefore(s.clock.Now()), true, func(k, _ []byte) (bool, error) {
		ms, what, of := db.ParseExpiryKey(k)
		list = append(list, due{ms, what, of})
		return len(list) < limit, nil
	})
	if err != nil {
		return 0, err
	}
	var g errgroup.Group
	g.SetLimit(parallelExpiries)
	for _, d := range list {
		g.Go(func() error { return s.expireOne(d) })
	}
	return len(list), g.Wait()
}

func (s *Service) expireOne(d due) error {
	if d.what == db.ExpireNameplate {
		return s.expirePlate(d)
	}
	var rec Session
	sid := id.Session(d.of)
	found, err := s.db.View(db.SessionKey(sid), func(v []byte) error { return rec.decode(sid, v) })
	if err != nil {
		return err
	}
	if found && !rec.State.Ended() {
		return s.expireSession(sid)
	}
	return s.forget(d, found)
}

func (s *Service) expirePlate(d due) error {
	unlock := s.locks.lock(d.of)
	found, err := s.db.View(db.ScopeKey(d.of), func([]byte) error { return nil })
	if err == nil && found {
		err = s.removePlate(d.of)
	}
	unlock()
	if err != nil || found {
		return err
	}
	return s.forget(d, false)
}

// expireSession makes a tombstone of a live session whose time is over.
func (s *Service) expireSession(sid id.Session) error {
	defer s.locks.lock(sid.Scope())()
	var rec Session
	found, err := s.db.View(db.SessionKey(sid), func(v []byte) error { return rec.decode(sid, v) })
	if err != nil || !found || rec.State.Ended() || s.clock.Now() < rec.Expires {
		return err // finished or swept meanwhile
	}
	after, _, err := transition(rec, event{kind: eventExpire, now: s.clock.Now(), keep: s.limits.Tombstone.Milliseconds()})
	if err != nil {
		return err
	}
	b := s.db.Batch()
	b.Set(db.SessionKey(sid), after.encode())
	if err := s.bury(b, &rec, &after); err != nil {
		b.Discard()
		return err
	}
	if err := b.Commit(); err != nil {
		return err
	}
	s.ledger.removeSession(&rec)
	s.pairs.replace(&rec, &after)
	s.hub.notify(sid.Scope())
	s.ended(sid)
	s.log.Info("ended", "session", sid.Short(), "state", after.State)
	return nil
}

// forget removes a tombstone whose own time is over, or an expiry row that nothing belongs to.
func (s *Service) forget(d due, found bool) error {
	sid := id.Session(d.of)
	defer s.locks.lock(d.of)()
	b := s.db.Batch()
	b.Delete(db.ExpiryKey(d.ms, d.what, d.of))
	if found {
		var rec Session
		found, err := s.db.View(db.SessionKey(sid), func(v []byte) error { return rec.decode(sid, v) })
		if err != nil {
			b.Discard()
			return err
		}
		if found && rec.State.Ended() && rec.Expires <= s.clock.Now() {
			b.Delete(db.SessionKey(sid))
			if rec.Ticket {
				b.Delete(db.LocatorKey(rec.Locator))
			}
		}
	}
	return b.Commit()
}

// Alive reports whether there is a session that has not ended.
func (s *Service) Alive(sid id.Session) (bool, error) {
	rec, err := s.load(sid)
	if errors.Is(err, wire.NotFound) {
		return false, nil
	}
	return err == nil && !rec.State.Ended(), err
}

// Known reports whether there is a live session or one whose blobs are still to be removed: whether files of it may lie on the disk.
func (s *Service) Known(sid id.Session) (bool, error) {
	if alive, err := s.Alive(sid); alive || err != nil {
		return alive, err
	}
	return s.db.View(db.CleanupKey(sid), func([]byte) error { return nil })
}
