package blobstore

import (
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// put is a blob whose bytes are written and not yet synced.
type put struct {
	e    *session
	name id.Blob
	row  row
	file *segment
	done chan error // one answer, buffered
}

// committer makes puts durable in groups. One goroutine takes all puts that wait, syncs each
// file among them once, several files at a time, and commits their rows in one synced batch;
// meanwhile the next group gathers. So under load a sync pays for many puts, and a lone put waits
// for nobody.
type committer struct {
	s    *Store
	work sync.WaitGroup

	mu      sync.Mutex // guards the rest
	waiting []*put
	more    *sync.Cond
	closed  bool
}

// parallelSyncs is how many files of a group are synced at once.
const parallelSyncs = 8

func newCommitter(s *Store) *committer {
	c := &committer{s: s}
	c.more = sync.NewCond(&c.mu)
	c.work.Go(c.run)
	return c
}

// put waits until p is durable.
func (c *committer) put(p *put) error {
	kill.Point(kill.ServerBlobWritten)
	p.done = make(chan error, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return wire.Fail(wire.Draining, "put blob")
	}
	c.waiting = append(c.waiting, p)
	c.more.Signal()
	c.mu.Unlock()
	return <-p.done
}

// close finishes the puts that wait and ends the goroutine.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.more.Signal()
	c.mu.Unlock()
	c.work.Wait()
}

func (c *committer) run() {
	for {
		c.mu.Lock()
		for len(c.waiting) == 0 && !c.closed {
			c.more.Wait()
		}
		group := c.waiting
		c.waiting = nil
		c.mu.Unlock()
		if len(group) == 0 {
			return
		}
		c.commit(group)
	}
}

// commit answers every put of the group.
func (c *committer) commit(group []*put) {
	failed := c.syncFiles(group)
	kill.Point(kill.ServerBlobSynced)
	b := c.s.db.Batch()
	var kept []*put
	for _, p := range group {
		if err := failed[p.file]; err != nil {
			p.e.condemn(p.file.name.number)
			p.done <- err
			continue
		}
		b.Set(db.BlobKey(p.e.id, p.name), p.row.bytes())
		kept = append(kept, p)
	}
	err := b.Commit()
	kill.Point(kill.ServerBlobIndexed)
	for _, p := range kept {
		p.done <- err
	}
}

// syncFiles syncs each file of the group once and returns the errors.
func (c *committer) syncFiles(group []*put) map[*segment]error {
	files := map[*segment]error{}
	for _, p := range group {
		files[p.file] = nil
	}
	if len(files) == 1 {
		files[group[0].file] = group[0].file.sync()
		return files
	}
	var g errgroup.Group
	var mu sync.Mutex // guards files
	g.SetLimit(parallelSyncs)
	list := make([]*segment, 0, len(files))
	for f := range files {
		list = append(list, f)
	}
	for _, f := range list {
		g.Go(func() error {
			err := f.sync()
			mu.Lock()
			files[f] = err
			mu.Unlock()
			return nil
		})
	}
	_ = g.Wait() // the errors are in files
	return files
}

// condemn keeps later blobs out of a segment whose sync failed: the kernel may have dropped
// what it couldn't write and call the next sync a success.
func (e *session) condemn(number uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bad[number] = true
}
