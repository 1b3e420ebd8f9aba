package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/rendezvous"
)

const (
	// lookEvery is between two looks whether the server still has, and wants, the session.
	lookEvery = time.Minute
	// restFirst and restMost bound the pause after a refusal that repeating at once does not help: no room, an unknown session.
	restFirst = 5 * time.Second
	restMost  = 10 * time.Minute
)

var (
	errOver   = errors.New("the session is over at its server")
	errBehind = errors.New("the server has lost what it had")
)

// job brings one session to its server, until that says that the session is over.
type job struct {
	c   *Cache
	sid id.Session
	b   rendezvous.Brought // set by run before anything else
	ctx context.Context
	end context.CancelFunc

	mu      sync.Mutex // guards the rest
	wake    chan struct{}
	known   map[id.Blob]bool // queued, under way or brought
	queue   []id.Blob
	flying  map[id.Blob]bool
	root    *rendezvous.Root // to be brought, or nil
	newest  uint64           // epoch of the newest root that was queued
	before  map[id.Blob]bool // blobs that must be there before root
	missing map[id.Blob]bool // were here, and must be put again before any root leaves
	trouble bool
	size    int64 // of a blob
}

func newJob(c *Cache, sid id.Session) *job {
	j := &job{c: c, sid: sid, missing: map[id.Blob]bool{}}
	j.ctx, j.end = context.WithCancel(c.ctx)
	j.reset()
	return j
}

// reset forgets what is queued. j.mu is held, or nobody else knows j.
func (j *job) reset() {
	j.known, j.flying, j.before = map[id.Blob]bool{}, map[id.Blob]bool{}, map[id.Blob]bool{}
	j.queue, j.root, j.newest, j.wake = nil, nil, 0, make(chan struct{})
}

// add queues a blob or, with the zero name, the newest root behind all blobs that are waiting. A blob is added before its
// sender hears that it is here, so before any root that needs it.
func (j *job) add(name id.Blob) {
	if name != (id.Blob{}) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.addBlob(name)
		return
	}
	root, found, err := j.c.srv.Newest(j.sid)
	if err != nil || !found {
		return // watch finds out
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.addRoot(root)
}

// addBlob is called with j.mu held, as addRoot is.
func (j *job) addBlob(name id.Blob) {
	if !j.known[name] {
		j.known[name] = true
		delete(j.missing, name)
		j.queue = append(j.queue, name)
		j.ring()
	}
}

// addRoot queues a root that was read before j.mu was taken.
func (j *job) addRoot(root rendezvous.Root) {
	if root.Epoch < j.newest {
		return
	}
	j.root, j.newest = &root, root.Epoch
	j.before = maps.Clone(j.flying)
	for _, name := range j.queue {
		j.before[name] = true
	}
	j.ring()
}

// ring wakes whoever waits in next. j.mu is held.
func (j *job) ring() {
	close(j.wake)
	j.wake = make(chan struct{})
}

func (j *job) waiting() (blobs int, size int64, root, trouble bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue) + len(j.flying), j.size, j.root != nil, j.trouble || len(j.missing) > 0
}

// run works until the session is over or the cache closes.
func (j *job) run() {
	defer j.c.gone(j)
	defer j.end()
	found, err := j.find()
	if err != nil || !found {
		j.c.cfg.Logger.Error("session can't be brought", "session", j.sid.Short(), "error", err)
		return
	}
	log := j.c.cfg.Logger.With("session", j.sid.Short(), "server", j.b.Server.Short())
	for rest := restFirst; ; rest = min(2*rest, restMost) {
		began := time.Now()
		err := j.bring(j.ctx)
		if j.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errOver) {
			log.Info("over at its server")
			if err := j.c.srv.Drop(j.sid); err != nil {
				log.Error("session can't be dropped", "error", err)
			}
			return
		}
		j.troubled(true)
		log.Warn("not brought", "error", err)
		if time.Since(began) > restMost {
			rest = restFirst
		}
		if !pause(j.ctx, rest) {
			return
		}
	}
}

func (j *job) find() (bool, error) {
	all, err := j.c.srv.Bringing()
	i := slices.IndexFunc(all, func(b rendezvous.Brought) bool { return b.ID == j.sid })
	if err != nil || i < 0 {
		return false, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.b, j.size = all[i], int64(all[i].Class.BlobSize())
	return true, nil
}

func (j *job) troubled(yes bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trouble = yes
}

// bring finds out what the server lacks, brings it, and whatever comes meanwhile. It returns errOver, or what
// repeating at once would not help.
func (j *job) bring(ctx context.Context) error {
	r, err := remote.New(remote.Config{Device: j.c.cfg.Device, Server: j.c.servers[j.b.Server], Carrier: j.c.cfg.Carrier, Permit: j.b.Permit,
		FirstContact: -1, Notice: func(n remote.Notice) { j.troubled(n.Retrying) }})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := j.load(ctx, r); err != nil {
		return err
	}
	j.troubled(false)
	g, ctx := errgroup.WithContext(ctx)
	for range j.c.cfg.Streams {
		g.Go(func() error { return j.stream(ctx, r) })
	}
	g.Go(func() error { return j.watch(ctx, r) })
	return g.Wait()
}

// load queues what is here and not at the server.
func (j *job) load(ctx context.Context, r *remote.Remote) error {
	st, err := j.status(ctx, r)
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.reset()
	j.mu.Unlock()
	names, err := j.c.srv.Names(j.sid) // what comes from now on is added by the handler
	if err != nil {
		return err
	}
	root, found, err := j.c.srv.Newest(j.sid)
	if err != nil {
		return err
	}
	has, err := r.Session(j.sid).Has(ctx, names)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, name := range names {
		if !has[i] {
			j.addBlob(name)
		}
	}
	if found && !reached(st, root.Epoch) {
		j.addRoot(root)
	}
	return nil
}

// reached reports whether the server has an epoch's root, or a later one.
func reached(st *remote.Status, epoch uint64) bool { return st.Committed && st.Epoch >= epoch }

func (j *job) status(ctx context.Context, r *remote.Remote) (*remote.Status, error) {
	st, err := r.Status(ctx, j.sid)
	if over(err) || err == nil && st.State >= remote.Done {
		return nil, errOver
	}
	return st, err
}

// watch looks from time to time whether the session is over, or the server has gone back in time.
func (j *job) watch(ctx context.Context, r *remote.Remote) error {
	for pause(ctx, lookEvery) {
		st, err := j.status(ctx, r)
		if err != nil {
			return err
		}
		root, found, err := j.c.srv.Newest(j.sid)
		if err != nil {
			return err
		}
		j.mu.Lock()
		behind := found && j.root == nil && root.Epoch <= j.newest && !reached(st, root.Epoch)
		j.mu.Unlock()
		if behind {
			return errBehind
		}
	}
	return context.Cause(ctx)
}

// task is a blob or, if root is set, a root.
type task struct {
	blob id.Blob
	root *rendezvous.Root
}

// next waits for something to do.
func (j *job) next(ctx context.Context) (task, error) {
	for {
		t, wake := j.take()
		if wake == nil {
			return t, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return task{}, context.Cause(ctx)
		}
	}
}

// take returns what is to be done now, or else what is closed when to look again.
func (j *job) take() (t task, wake <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.root != nil && len(j.before) == 0 && len(j.missing) == 0:
		t.root, j.root = j.root, nil
	case len(j.queue) > 0:
		t.blob, j.queue = j.queue[0], j.queue[1:]
		j.flying[t.blob] = true
	default:
		return t, j.wake
	}
	return t, nil
}

// stream brings one thing after the other.
func (j *job) stream(ctx context.Context, r *remote.Remote) error {
	for {
		t, err := j.next(ctx)
		switch {
		case err != nil:
			return err
		case t.root != nil:
			err = j.bringRoot(ctx, r, t.root)
		default:
			err = j.bringBlob(ctx, r, t.blob)
		}
		if over(err) {
			return errOver
		}
		if err != nil {
			return err
		}
	}
}

func (j *job) bringBlob(ctx context.Context, r *remote.Remote, name id.Blob) (err error) {
	var buf []byte
	select {
	case buf = <-j.c.buffers:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { j.c.buffers <- buf }()
	buf, err = j.c.srv.Read(j.sid, name, buf[:0])
	if wire.StatusOf(err) == wire.NotFound {
		return j.lost(name)
	}
	if err != nil {
		return fmt.Errorf("read blob: %w", err)
	}
	err = r.Session(j.sid).Put(ctx, name, buf)
	if wire.StatusOf(err) == wire.Conflict {
		j.c.cfg.Logger.Error("another blob has this name at the server", "session", j.sid.Short())
		err = nil
	}
	if err != nil {
		return err
	}
	kill.Point(kill.CacheBrought)
	j.brought(name)
	return nil
}

func (j *job) brought(name id.Blob) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.flying, name)
	delete(j.before, name)
	j.ring()
}

// lost forgets a blob that is damaged here. No root leaves while one is missing: it would say that everything is there.
func (j *job) lost(name id.Blob) error {
	j.c.cfg.Logger.Error("a blob can't be read any more", "session", j.sid.Short())
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.flying, name)
	delete(j.before, name)
	delete(j.known, name)
	j.missing[name] = true
	return nil
}

// bringRoot commits a root at the server.
func (j *job) bringRoot(ctx context.Context, r *remote.Remote, root *rendezvous.Root) error {
	log := j.c.cfg.Logger.With("session", j.sid.Short(), "epoch", root.Epoch, "final", root.Final)
	err := r.Commit(ctx, j.sid, &remote.Root{Epoch: root.Epoch, Final: root.Final, Sealed: root.Root, Signature: root.Signature, Before: root.Before})
	switch wire.StatusOf(err) {
	case wire.StaleEpoch, wire.Conflict, wire.WrongState: // the server has something else by now, from the sender itself
		log.Warn("root refused", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	kill.Point(kill.CacheCommitted)
	log.Info("root brought")
	return nil
}
