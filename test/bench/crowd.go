//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
	"github.com/decant-dev/decant/server/rendezvous"
)

// crowd is what a server holds of sessions whose devices are away.
type crowd struct {
	sessions int
	blobs    int           // rows of each session
	body     int           // bytes of its segment file that take room on the disk; the rest is a hole
	expires  time.Duration // from now
}

// fill writes a crowd into the data directory of a server that does not run.
func (c crowd) fill(data string) (err error) {
	d, err := db.Open(filepath.Join(data, "db"), db.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	now := time.Now().UnixMilli()
	for done := 0; done < c.sessions; done += 1000 {
		batch := d.Batch()
		for range min(1000, c.sessions-done) {
			if err := c.add(batch, data, now); err != nil {
				batch.Discard()
				return err
			}
		}
		if err := batch.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// add writes one session of class S: its record, when it expires, its blobs' rows and their file.
func (c crowd) add(batch *db.Batch, data string, now int64) error {
	rec := rendezvous.Session{ID: id.NewSession(), State: rendezvous.Open, Class: wire.ClassS, Declared: uint64(c.blobs), Created: now,
		Expires: now + c.expires.Milliseconds()}
	batch.Set(db.SessionKey(rec.ID), rec.Row())
	batch.Set(db.ExpiryKey(rec.Expires, db.ExpireSession, rec.ID.Scope()), nil)
	for slot := range c.blobs {
		row := binary.BigEndian.AppendUint32([]byte{1, byte(wire.ClassS)}, uint32(slot))
		batch.Set(db.BlobKey(rec.ID, id.NewBlob()), append(row, 1, 2, 3, 4))
	}
	name := rec.ID.String()
	dir := filepath.Join(data, "blobs", name[:2])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, name+"-0")
	if err := os.WriteFile(path, make([]byte, c.body), 0o600); err != nil {
		return err
	}
	return os.Truncate(path, int64(c.blobs)*wire.BlobSizeS)
}

// used is the room that a directory takes on the disk in bytes, and how many files there are below it.
func used(dir string) (bytes int64, files int, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			files++
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return bytes, files, err
}

// sessionOf is one device with one session, which keeps one blob there.
type sessionOf struct {
	*remote.Remote
	device *key.Device
	sid    id.Session
	name   id.Blob
	blob   []byte
}

// newSession opens a session from a device of its own and puts a blob of the class there.
func newSession(ctx context.Context, server id.Server, class wire.Class) (*sessionOf, error) {
	s := &sessionOf{device: key.NewDevice(), sid: id.NewSession(), name: id.NewBlob(), blob: make([]byte, class.BlobSize())}
	rand.Read(s.blob)
	var err error
	s.Remote, err = remote.New(remote.Config{Device: s.device, Server: server, Carrier: link.Fast, Conns: 1})
	if err != nil {
		return nil, err
	}
	if _, err = s.Open(ctx, remote.Offer{Session: s.sid, Class: class, Blobs: 1, Expiry: time.Hour}); err == nil {
		err = s.Session(s.sid).Put(ctx, s.name, s.blob)
	}
	return s, err
}

// check gets the blob and compares it.
func (s *sessionOf) check(ctx context.Context) error {
	got, err := s.Session(s.sid).Get(ctx, s.name, make([]byte, 0, len(s.blob)))
	if err == nil && string(got) != string(s.blob) {
		err = errors.New("a blob came back changed")
	}
	return err
}

// newSessions is newSession for many, a few at a time.
func newSessions(ctx context.Context, server id.Server, class wire.Class, n int) ([]*sessionOf, error) {
	all := make([]*sessionOf, n)
	err := each(n, func(i int) (err error) {
		all[i], err = newSession(ctx, server, class)
		return err
	})
	return all, err
}

// each calls f for every number below n, eight at a time, and returns the errors.
func each(n int, f func(i int) error) error {
	var next atomic.Int64
	var mu sync.Mutex // guards all
	var all error
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					mu.Lock()
					all = errors.Join(all, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return all
}

// quantile returns the value below which the part q of the sorted times lies.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

// times collects how long things took. It is safe for concurrent use.
type times struct {
	mu   sync.Mutex // guards list
	list []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, d)
}

// sorted returns a sorted copy.
func (t *times) sorted() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := slices.Clone(t.list)
	slices.Sort(out)
	return out
}
