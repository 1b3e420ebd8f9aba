package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// Drop removes every blob of a session that has ended: waits for the requests under way, unlinks the files, then removes the
// rows together with the session's cleanup row. After a crash at any point it can be called again. Requests that come
// later find the session ended before they come here.
func (s *Store) Drop(sid id.Session) error {
	e := s.session(sid)
	e.mu.Lock()
	e.dropped = true
	for e.users > 0 {
		e.changed.Wait()
	}
	e.mu.Unlock()
	last, err := s.lastSegment(sid)
	if err != nil {
		return err
	}
	for n := uint32(0); ; n++ {
		found, err := s.files.remove(fileName{sid, n})
		if err != nil {
			return fmt.Errorf("remove segment: %w", err)
		}
		if !found && n >= last {
			break
		}
	}
	kill.Point(kill.ServerBlobsRemoved)
	b := s.db.Batch()
	if err := b.DeletePrefix(db.BlobPrefix(sid)); err != nil {
		b.Discard()
		return err
	}
	b.Delete(db.CleanupKey(sid))
	if err := b.Commit(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.removed(e, e.stored)
	s.forget(e)
	return nil
}

// lastSegment returns the highest segment that a row names.
func (s *Store) lastSegment(sid id.Session) (last uint32, err error) {
	err = s.db.EachPrefix(db.BlobPrefix(sid), false, func(_, v []byte) (bool, error) {
		r, err := parseRow(v)
		if err == nil {
			n, _ := place(r.class, r.slot)
			last = max(last, n)
		}
		return true, err
	})
	return last, err
}

// Orphans removes segment files of sessions for which live reports false: what a crash left between the creation of a file and its
// first row, or between the end of a session and the directory's sync. It may run while the store is in use.
func (s *Store) Orphans(ctx context.Context, live func(id.Session) (bool, error)) (removed int, err error) {
	shards, err := s.fs.List(s.dir)
	if err != nil {
		return 0, fmt.Errorf("list blob directory: %w", err)
	}
	for _, shard := range shards {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		names, err := s.fs.List(s.fs.PathJoin(s.dir, shard))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("list blob directory: %w", err)
		}
		for _, base := range names {
			n, ok := parseFileName(base)
			if !ok {
				continue
			}
			if ok, err := live(n.session); err != nil {
				return removed, err
			} else if ok {
				continue
			}
			gone, err := s.files.remove(n)
			if err != nil {
				return removed, fmt.Errorf("remove orphan: %w", err)
			}
			if gone {
				removed++
			}
		}
	}
	return removed, nil
}

// Scrub reads every blob of the sessions for which live reports true once and takes damaged ones out. pace is called with the bytes read so far after each blob
// and may wait or stop the scrub with an error.
func (s *Store) Scrub(ctx context.Context, live func(id.Session) (bool, error), pace func(bytes int64) error) (checked, damaged int64, err error) {
	var read int64
	from := db.AllBlobs()
	for {
		var keys [][]byte
		err := s.db.Each(from, db.After(db.AllBlobs()), true, func(k, _ []byte) (bool, error) {
			keys = append(keys, append([]byte(nil), k...))
			return len(keys) < 1024, nil
		})
		if err != nil || len(keys) == 0 {
			return checked, damaged, err
		}
		for _, k := range keys {
			if err := ctx.Err(); err != nil {
				return checked, damaged, err
			}
			n, bad, err := s.scrubOne(k, live)
			if err != nil {
				return checked, damaged, err
			}
			if read += n; n > 0 {
				checked++
			}
			if bad {
				damaged++
			}
			if err := pace(read); err != nil {
				return checked, damaged, err
			}
		}
		from = append(keys[len(keys)-1], 0)
	}
}

// scrubOne checks the blob of one row, which may have gone meanwhile.
func (s *Store) scrubOne(key []byte, live func(id.Session) (bool, error)) (read int64, damaged bool, err error) {
	sid, name := db.ParseBlobKey(key)
	h, err := s.Enter(sid)
	if err != nil {
		return 0, false, nil // ended
	}
	defer h.Close()
	if ok, err := live(sid); err != nil || !ok {
		return 0, false, err
	}
	before := s.rotten.Load()
	b, err := h.Open(name)
	if errors.Is(err, wire.NotFound) {
		return 0, s.rotten.Load() > before, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer b.Close()
	err = b.Verify()
	if errors.Is(err, wire.NotFound) {
		return int64(b.Size()), true, nil
	}
	return int64(b.Size()), false, err
}
