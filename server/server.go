// Package server is Decant's server: rendezvous and blob store in one process (docs/SPEC.md section 7,
// docs/OPERATIONS.md). It sees identities, sizes and times, and holds no key that opens anything: it may import
// key and label from crypto and nothing else, and test/layering proves it.
//
//	api         parses requests, checks who is asking, maps status
//	rendezvous  sessions, nameplates, tickets, claims, mailboxes
//	blobstore   opaque immutable blobs in segment files
//	db          the Pebble keyspace, the server's clock and its incarnation
//	sweep       expiry
//
// The carriers are not its business: Handler is given to whatever authenticates callers.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/server/api"
	"github.com/decant-dev/decant/server/blobstore"
	"github.com/decant-dev/decant/server/db"
	"github.com/decant-dev/decant/server/rendezvous"
	"github.com/decant-dev/decant/server/sweep"
)

// Limits bound what devices may take; see rendezvous.Limits.
type Limits = rendezvous.Limits

// Config configures New. The zero value works but for Caller, without which every request is refused.
type Config struct {
	// Dir holds the server's state: db/ (the database), blobs/, ballast, witness. Empty: "decant-server" in the
	// working directory. It is created with mode 0700.
	Dir string
	// Caller returns the identity that the carrier authenticated: link.PeerFrom.
	Caller func(context.Context) (id.Peer, bool)
	// Self is the server's own identity. Zero: no cache is accepted (docs/SPEC.md section 7.9).
	Self id.Peer
	// Cache makes it a cache. nil: it is a server.
	Cache *CacheRole
	// RemoteIP returns the address that budgets count a request for. nil: http.Request.RemoteAddr.
	RemoteIP func(context.Context) netip.Addr
	// Limits are quotas and expiries; zero fields take rendezvous.DefaultLimits.
	Limits Limits
	// Watermark is the free space in bytes below which new sessions and blobs are refused. 0: a tenth of the volume.
	Watermark uint64
	// Ballast is the size of a file that is given up when the volume is full nevertheless, so that deletions still
	// work. 0: none. cmd/decant sets 256 MiB.
	Ballast uint64
	// Witness is a file outside the database's directory, best on another volume, from which the server recognises that its
	// state went back in time. Empty: Dir/witness.
	Witness string
	// SweepInterval is the time between sweeps. 0: a minute.
	SweepInterval time.Duration
	// Transfers bounds the blob bodies on their way at once, each with a buffer of 64 KiB. 0: 256.
	Transfers int
	// OpenFiles bounds the segment files held open. 0: 256.
	OpenFiles int
	// Logger gets short fingerprints, counts and errors; never names, addresses, or content. nil: discarded.
	Logger *slog.Logger
	// Now is the clock, with its monotonic reading. nil: time.Now.
	Now func() time.Time
	// FS is the file system of the database and of the blobs. nil: the operating system's.
	FS db.FS
	// Fatal is called when the database can't go on; it must not return. nil: log, and exit with status 3.
	Fatal func(message string)
}

// CacheRole is what makes a server a cache: it takes sessions for other servers, with their senders' permits, and has no mailboxes
// and no nameplates. Bringing them there is the business of package cache. The functions must not block.
type CacheRole struct {
	// Brings says to which servers sessions are brought; others are refused.
	Brings func(server id.Peer) bool
	// Kept is called when a blob or, with the zero name, a root has become durable.
	Kept func(id.Session, id.Blob)
	// Ended is called when a session has ended here.
	Ended func(id.Session)
}

// Server is a running server. All methods are safe for concurrent use.
type Server struct {
	db       *db.DB
	sessions *rendezvous.Service
	blobs    *blobstore.Store
	space    *blobstore.Space
	sweeper  *sweep.Sweeper
	api      *api.Handler
	metrics  *metrics
	relay    relayed
	in       db.Incarnation
}

func (c Config) withDefaults() Config {
	if c.Dir == "" {
		c.Dir = "decant-server"
	}
	if c.Caller == nil {
		c.Caller = func(context.Context) (id.Peer, bool) { return id.Peer{}, false }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FS == nil {
		c.FS = db.Disk
	}
	if c.Witness == "" {
		c.Witness = c.FS.PathJoin(c.Dir, "witness")
	}
	return c
}

// New opens the state in c.Dir and starts the sweeper. Recovery from a crash is no different from any start. Close the server
// when no request is left.
func New(c Config) (s *Server, err error) {
	c = c.withDefaults()
	if err := db.MakeDir(c.FS, c.Dir); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	s = &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	dir := c.FS.PathJoin(c.Dir, "db")
	if s.db, err = db.Open(dir, db.Options{FS: c.FS, Logger: c.Logger, Fatal: c.Fatal}); err != nil {
		return s, err
	}
	clock, err := db.NewClock(s.db, c.Now)
	if err != nil {
		return s, err
	}
	if s.in, _, err = db.Incarnate(s.db, c.FS, dir, c.Witness, clock, c.Logger); err != nil {
		return s, err
	}
	return s, s.start(c, clock)
}

// start opens what stands on the database.
func (s *Server) start(c Config, clock *db.Clock) (err error) {
	s.space, err = blobstore.NewSpace(blobstore.SpaceConfig{FS: c.FS, Dir: c.Dir, Watermark: c.Watermark, Ballast: c.Ballast, Now: c.Now})
	if err != nil {
		return err
	}
	s.blobs, err = blobstore.Open(s.db, blobstore.Config{FS: c.FS, Dir: c.FS.PathJoin(c.Dir, "blobs"), OpenFiles: c.OpenFiles, Logger: c.Logger})
	if err != nil {
		return err
	}
	role := CacheRole{Ended: func(id.Session) {}}
	if c.Cache != nil {
		role = *c.Cache
	}
	s.sessions, err = rendezvous.New(rendezvous.Config{DB: s.db, Clock: clock, Limits: c.Limits, Logger: c.Logger,
		Self: c.Self, Brings: role.Brings, Space: volume{s.space, s.blobs}, Ended: func(sid id.Session) { s.sweeper.Poke(); role.Ended(sid) }})
	if err != nil {
		return err
	}
	s.sweeper = sweep.New(sweep.Config{DB: s.db, Clock: clock, Sessions: s.sessions, Blobs: s.blobs, Space: s.space, FS: c.FS,
		Witness: c.Witness, Interval: c.SweepInterval, Logger: c.Logger})
	s.metrics = newMetrics(s)
	s.api = api.New(api.Config{Sessions: s.sessions, Blobs: s.blobs, Incarnation: s.in, Caller: c.Caller, RemoteIP: c.RemoteIP,
		Cache: c.Cache != nil, Kept: role.Kept,
		Now: c.Now, Logger: c.Logger, Transfers: c.Transfers, Observe: s.metrics.observe})
	return nil
}

// volume is what the rendezvous wants to know about the disk.
type volume struct {
	*blobstore.Space
	blobs *blobstore.Store
}

func (v volume) Stored() uint64 { return uint64(v.blobs.Bytes()) }

// Handler serves the protocol. Callers must have been authenticated before it.
func (s *Server) Handler() http.Handler { return s.api }

// Incarnation is what Hello tells devices.
func (s *Server) Incarnation() [16]byte { return s.in }

// Sweep does at once what the sweeper does at intervals.
func (s *Server) Sweep(ctx context.Context) error { return s.sweeper.Sweep(ctx) }

// Scrub reads every blob once and takes damaged ones out, so that their senders can put them again. pace is called after
// each blob with the bytes read so far and may wait, or end the scrub with an error.
func (s *Server) Scrub(ctx context.Context, pace func(bytes int64) error) (checked, damaged int64, err error) {
	return s.blobs.Scrub(ctx, s.sessions.Alive, pace)
}

// Backup writes a consistent copy of the database into dir, which must not exist. Blobs are not in it.
func (s *Server) Backup(dir string) error { return s.db.Checkpoint(dir) }

// Drain refuses new requests (Draining), ends long polls, and waits until no request is under way or ctx is done.
func (s *Server) Drain(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.api.Drain(ctx) }()
	s.sessions.Close()
	return <-done
}

// Close drains what is under way, at most ten seconds, and closes the state.
func (s *Server) Close() error {
	if s.api != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			return fmt.Errorf("requests are still under way: %w", err)
		}
	}
	if s.sweeper != nil {
		s.sweeper.Close()
	}
	var err error
	if s.blobs != nil {
		err = s.blobs.Close()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return err
}
