// Package sweep removes what is over: expired sessions and nameplates, the blobs of sessions that ended,
// tombstones, and files that a crash left behind (docs/SPEC.md section 7.6).
//
// It works in small synced steps, each of which finds what is left to do in the database; so a crash at
// any point costs nothing but the step. One goroutine runs, started by New and ended by Close.
package sweep

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/server/blobstore"
	"github.com/decant-dev/decant/server/db"
	"github.com/decant-dev/decant/server/rendezvous"
)

// Config configures New. All but Interval and Logger are needed.
type Config struct {
	DB       *db.DB
	Clock    *db.Clock
	Sessions *rendezvous.Service
	Blobs    *blobstore.Store
	Space    *blobstore.Space
	FS       db.FS
	Witness  string        // file outside the database's directory, see db.Incarnation
	Interval time.Duration // between sweeps; 0: a minute
	Logger   *slog.Logger  // nil: discarded
}

// Sweeper runs the sweeps.
type Sweeper struct {
	Config
	poke   chan struct{}
	cancel context.CancelFunc
	work   sync.WaitGroup

	expired, dropped, orphans, failures atomic.Int64
	forgetful                           atomic.Bool // ticket shares were deleted and still lie in the database's files

	mu sync.Mutex // one sweep at a time
}

// batch is how many expired things are taken at a time, so that memory stays small and Close doesn't wait long.
const batch = 1024

// New starts the sweeper. It looks for orphans once, then sweeps at each interval and shortly after each Poke.
func New(c Config) *Sweeper {
	if c.Interval == 0 {
		c.Interval = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sweeper{Config: c, poke: make(chan struct{}, 1), cancel: cancel}
	s.work.Go(func() { s.run(ctx) })
	return s
}

// Close ends the sweeper after the step under way.
func (s *Sweeper) Close() {
	s.cancel()
	s.work.Wait()
}

// Poke makes the sweeper look at ended sessions now. It doesn't block.
func (s *Sweeper) Poke() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Counters since the start: things expired, sessions whose blobs were removed, orphaned files removed, failed sweeps.
func (s *Sweeper) Expired() int64  { return s.expired.Load() }
func (s *Sweeper) Dropped() int64  { return s.dropped.Load() }
func (s *Sweeper) Orphans() int64  { return s.orphans.Load() }
func (s *Sweeper) Failures() int64 { return s.failures.Load() }

func (s *Sweeper) run(ctx context.Context) {
	ticker := time.NewTicker(s.Interval)
	defer ticker.Stop()
	s.note(s.findOrphans(ctx))
	for {
		s.note(s.cleanups(ctx))
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		case <-ticker.C:
			s.note(s.Sweep(ctx))
		}
	}
}

// note logs a failed step; the next sweep tries again.
func (s *Sweeper) note(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.failures.Add(1)
		s.Logger.Error("sweep failed", "error", err)
	}
}

// Sweep does everything that is due now and returns when it is done.
func (s *Sweeper) Sweep(ctx context.Context) error {
	if err := s.keepTime(); err != nil {
		return err
	}
	if err := s.Space.Balance(); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.Sessions.Expire(batch)
		s.expired.Add(int64(n))
		if err != nil {
			return err
		}
		if n < batch {
			break
		}
	}
	if err := s.cleanups(ctx); err != nil {
		return err
	}
	if s.forgetful.CompareAndSwap(true, false) {
		return s.DB.Compact(ctx, db.AllTickets())
	}
	return nil
}

// keepTime stores the clock in the database, then in the witness.
func (s *Sweeper) keepTime() error {
	if err := s.Clock.Keep(s.DB); err != nil {
		return err
	}
	return db.WriteWitness(s.FS, s.Witness, s.Clock.Kept())
}

// parallelDrops is how many sessions' files are removed at once.
const parallelDrops = 8

// cleanups removes the blobs of ended sessions.
func (s *Sweeper) cleanups(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var list []id.Session
		err := s.DB.EachPrefix(db.AllCleanups(), true, func(k, _ []byte) (bool, error) {
			list = append(list, db.SessionOf(k))
			return len(list) < batch, nil
		})
		if err != nil || len(list) == 0 {
			return err
		}
		s.forgetful.Store(true)
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelDrops)
		for _, sid := range list {
			g.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := s.Blobs.Drop(sid); err != nil {
					return err
				}
				s.dropped.Add(1)
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
}

func (s *Sweeper) findOrphans(ctx context.Context) error {
	n, err := s.Blobs.Orphans(ctx, s.Sessions.Known)
	s.orphans.Add(int64(n))
	return err
}
