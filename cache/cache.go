// Package cache is a server that brings what it is given to another one (docs/SPEC.md section 7.9): a machine on the old
// device's network takes sealed sessions at that network's speed, so that the device may leave, serves them to receivers
// nearby, and puts them into their server over whatever link leads there.
//
// What is durable of a session here are its record with the sender's permit, its blobs and its newest root, all kept
// by package server. How far it was brought is kept nowhere: the server is asked what it has (job.load), after a
// start as after a crash, and its word is all that counts. The order is the one of every sender: a root leaves when
// all blobs that were here before it are durable at the server.
//
// A cache can decrypt nothing, as a server can't; test/layering proves it. It goes only to servers that its operator
// named, whatever a sender says.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// Config configures New. Device, Servers and Caller are needed.
type Config struct {
	// Dir holds the cache's state, as a server's.
	Dir string
	// Device is the cache's identity.
	Device *key.Device
	// Servers are those to which sessions are brought, each at this address, whatever a sender says.
	Servers []id.Server
	Carrier link.Carrier
	// Caller, RemoteIP, Limits, Watermark, Ballast and Fatal are server.Config's.
	Caller    func(context.Context) (id.Peer, bool)
	RemoteIP  func(context.Context) netip.Addr
	Limits    server.Limits
	Watermark uint64
	Ballast   uint64
	Fatal     func(message string)
	// Streams is how many blobs of one session are put at once. 0: 4.
	Streams int
	// Logger gets fingerprints, counts and errors. nil: discarded.
	Logger *slog.Logger
}

// buffers bounds the blobs of all sessions that are in memory on their way out.
const buffers = 16

// Cache is a running cache. All methods are safe for concurrent use.
type Cache struct {
	cfg     Config
	servers map[id.Peer]id.Server
	srv     *server.Server
	buffers chan []byte

	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup // jobs

	mu   sync.Mutex // guards jobs
	jobs map[id.Session]*job
}

// New opens the state and goes on with what is waiting. Close it when no request is left.
func New(cfg Config) (*Cache, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Streams <= 0 {
		cfg.Streams = 4
	}
	if len(cfg.Servers) == 0 {
		return nil, errors.New("cache: no server is named")
	}
	c := &Cache{cfg: cfg, servers: map[id.Peer]id.Server{}, jobs: map[id.Session]*job{}, buffers: make(chan []byte, buffers)}
	for _, s := range cfg.Servers {
		c.servers[s.Peer] = s
	}
	for range buffers {
		c.buffers <- nil
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	var err error
	c.srv, err = server.New(server.Config{Dir: cfg.Dir, Self: cfg.Device.Peer(), Caller: cfg.Caller, RemoteIP: cfg.RemoteIP, Limits: cfg.Limits,
		Watermark: cfg.Watermark, Ballast: cfg.Ballast, Fatal: cfg.Fatal, Logger: cfg.Logger,
		Cache: &server.CacheRole{Brings: c.brings, Kept: c.kept, Ended: c.ended}})
	if err != nil {
		c.stop()
		return nil, err
	}
	if err := c.resume(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cache) brings(peer id.Peer) bool {
	_, ok := c.servers[peer]
	return ok
}

// resume begins a job for each session that is not over.
func (c *Cache) resume() error {
	all, err := c.srv.Bringing()
	if err != nil {
		return err
	}
	for _, b := range all {
		c.job(b.ID)
	}
	return nil
}

// job returns a session's job, which it begins if there is none; nil once the cache closes.
func (c *Cache) job(sid id.Session) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.jobs[sid]
	if j == nil && c.ctx.Err() == nil {
		j = newJob(c, sid)
		c.jobs[sid] = j
		c.work.Go(j.run)
	}
	return j
}

// kept is told of each blob and, with the zero name, root that has become durable here.
func (c *Cache) kept(sid id.Session, name id.Blob) {
	if j := c.job(sid); j != nil {
		j.add(name)
	}
}

// ended is told of sessions that are over here.
func (c *Cache) ended(sid id.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[sid]; j != nil {
		j.end()
	}
}

func (c *Cache) gone(j *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.jobs, j.sid)
}

// Handler serves the sessions. Callers must have been authenticated before it.
func (c *Cache) Handler() http.Handler { return c.srv.Handler() }

// Waiting is what has not been brought to its server yet.
type Waiting struct {
	Sessions int   // with anything of it
	Kept     int   // all that are kept here
	Blobs    int64 // not yet there
	Bytes    int64 // of them
	Trouble  int   // sessions whose server can't be reached, or takes nothing
}

// Waiting tells what is still to be done.
func (c *Cache) Waiting() (w Waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		blobs, size, root, trouble := j.waiting()
		w.Kept++
		w.Blobs += int64(blobs)
		w.Bytes += int64(blobs) * size
		if blobs > 0 || root {
			w.Sessions++
		}
		if trouble {
			w.Trouble++
		}
	}
	return w
}

// Drain refuses new requests and waits until none is under way or ctx is done.
func (c *Cache) Drain(ctx context.Context) error { return c.srv.Drain(ctx) }

// Close ends what is under way, which the next run takes up, and closes the state.
func (c *Cache) Close() error {
	c.stop()
	c.work.Wait()
	if err := c.srv.Close(); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

// over reports whether an answer says that the session has ended at its server.
func over(err error) bool {
	switch wire.StatusOf(err) {
	case wire.Done, wire.Expired, wire.Revoked:
		return true
	}
	return false
}

// pause waits, and is false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
