// Package db is the server's keyspace: everything small that the server knows, in one
// embedded Pebble database (docs/SPEC.md section 7.3, docs/OPERATIONS.md "State").
// It owns the database library: no other package of the server imports it.
//
// Promises. Every Commit is synced before it returns, there is no other way to write,
// so what was answered to a device survives a power cut. A write that the disk refuses
// ends the process (Options.Fatal): after a failed sync nothing that this process
// believes about the disk can be trusted, and recovery at the next start is the same
// code as every start.
//
// All methods of DB are safe for concurrent use until Close.
package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/marker"
)

// FS is the file system under the database and the blob files. Tests put a crashable one here.
type FS = vfs.FS

// Disk is the operating system's file system.
var Disk FS = vfs.Default

// Format is the database format that this release writes. It is raised one release after the
// first release that can read it, so that going back one release always works (adversity R-11).
const Format = pebble.FormatTableFormatV6

// Memory that the database may take: small, because the state is small. Together with the
// readers' overhead an idle server stays under 60 MiB.
const (
	memTableBytes = 8 << 20 // two of them can be live; a root of 1 MiB fits eight times
	cacheBytes    = 16 << 20
	maxOpenFiles  = 512
)

// Options configure Open. The zero value works.
type Options struct {
	FS     FS           // nil: Disk
	Logger *slog.Logger // nil: discarded
	// Fatal is called when the database can't go on, with no lock that the caller could need. It must not
	// return. nil: log and exit with status 3.
	Fatal func(message string)
}

// DB is the open database.
type DB struct {
	p *pebble.DB
}

// Open opens or creates the database in dir and syncs the directory's parents as far as it creates them.
func Open(dir string, o Options) (*DB, error) {
	if o.FS == nil {
		o.FS = Disk
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Fatal == nil {
		o.Fatal = func(message string) {
			o.Logger.Error("database failed", "cause", message)
			os.Exit(3)
		}
	}
	if err := MakeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("database directory: %w", err)
	}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	p, err := pebble.Open(dir, &pebble.Options{
		FS:                          marker.FS(o.FS),
		Cache:                       cache,
		FormatMajorVersion:          Format,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                maxOpenFiles,
		L0CompactionThreshold:       4,
		Logger:                      logger{o.Logger, o.Fatal},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
	})
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &DB{p: p}, nil
}

// Close flushes and closes. No other method may be running or called later. After it nothing depends on the log any more, whose last blocks
// are the one place where the database can't tell bit rot from a torn write.
func (d *DB) Close() error { return errors.Join(d.p.Flush(), d.p.Close()) }

// Get returns a copy of the value at key, or nil if there is none. A stored value is never nil.
func (d *DB) Get(key []byte) ([]byte, error) {
	v, closer, err := d.p.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read database: %w", err)
	}
	defer closer.Close()
	return append(make([]byte, 0, len(v)+1), v...), nil
}

// View calls f with the value at key, which f must not keep. It reports whether there is one.
func (d *DB) View(key []byte, f func(value []byte) error) (bool, error) {
	v, closer, err := d.p.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read database: %w", err)
	}
	defer closer.Close()
	return true, f(v)
}

// Each calls f for the keys in [from, end) in order until f returns false or an error. The slices are
// valid during the call only; value is nil if keysOnly. It sees the state of the moment at which it began.
func (d *DB) Each(from, end []byte, keysOnly bool, f func(key, value []byte) (bool, error)) (err error) {
	it, err := d.p.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: end})
	if err != nil {
		return fmt.Errorf("read database: %w", err)
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = fmt.Errorf("read database: %w", e)
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		var value []byte
		if !keysOnly {
			if value, err = it.ValueAndErr(); err != nil {
				return fmt.Errorf("read database: %w", err)
			}
		}
		if more, err := f(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return nil
}

// EachPrefix is Each over every key that begins with prefix.
func (d *DB) EachPrefix(prefix []byte, keysOnly bool, f func(key, value []byte) (bool, error)) error {
	return d.Each(prefix, After(prefix), keysOnly, f)
}

// Compact rewrites what lies under prefix so that deleted values leave the files. It is slow.
func (d *DB) Compact(ctx context.Context, prefix []byte) error {
	if err := d.p.Flush(); err != nil {
		return fmt.Errorf("flush database: %w", err)
	}
	if err := d.p.Compact(ctx, prefix, After(prefix), false); err != nil {
		return fmt.Errorf("compact database: %w", err)
	}
	return nil
}

// Checkpoint writes a consistent copy of the database into dir, which must not exist. It is the
// supported way to back up a running server; the copy is recognised as restored when it is opened.
func (d *DB) Checkpoint(dir string) error {
	return d.p.Checkpoint(dir, pebble.WithFlushedWAL())
}

// Size returns the database's bytes on disk.
func (d *DB) Size() uint64 { return d.p.Metrics().DiskSpaceUsage() }

// Batch is a set of changes that become durable together. It is for one goroutine.
type Batch struct {
	d *DB
	b *pebble.Batch
}

// Batch returns an empty batch. Call Commit or Discard once.
func (d *DB) Batch() *Batch { return &Batch{d: d, b: d.p.NewBatch()} }

// Set stores a value. Both slices may be reused at once.
func (b *Batch) Set(key, value []byte) { must(b.b.Set(key, value, nil)) }

// Delete removes a key, present or not.
func (b *Batch) Delete(key []byte) { must(b.b.Delete(key, nil)) }

// Empty reports whether nothing was put into the batch.
func (b *Batch) Empty() bool { return b.b.Empty() }

// pointDeletes is the number of keys up to which deleting them one by one is cheaper for later
// reads than a range deletion.
const pointDeletes = 64

// DeletePrefix removes every key that begins with prefix and is there now.
func (b *Batch) DeletePrefix(prefix []byte) error {
	var keys [][]byte
	err := b.d.EachPrefix(prefix, true, func(k, _ []byte) (bool, error) {
		keys = append(keys, append([]byte(nil), k...))
		return len(keys) <= pointDeletes, nil
	})
	if err != nil {
		return err
	}
	if len(keys) > pointDeletes {
		must(b.b.DeleteRange(prefix, After(prefix), nil))
		return nil
	}
	for _, k := range keys {
		b.Delete(k)
	}
	return nil
}

// Commit writes the batch and returns when it is synced. The batch is used up.
func (b *Batch) Commit() error {
	defer b.b.Close()
	if err := b.d.p.Apply(b.b, pebble.Sync); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Discard drops the batch.
func (b *Batch) Discard() { b.b.Close() }

// must is for operations on memory that fail only when the batch is misused.
func must(err error) {
	if err != nil {
		panic("db: " + err.Error())
	}
}

// logger drops the database's chatter and turns its fatal errors into Options.Fatal.
type logger struct {
	l     *slog.Logger
	fatal func(string)
}

func (l logger) Infof(string, ...any) {}
func (l logger) Errorf(format string, args ...any) {
	l.l.Error("database", "cause", fmt.Sprintf(format, args...))
}
func (l logger) Fatalf(format string, args ...any) {
	l.fatal(fmt.Sprintf(format, args...))
	panic("db: Fatal returned")
}

// MakeDir creates dir and its parents and syncs the parent of each one created.
func MakeDir(fs FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := MakeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return SyncDir(fs, parent)
}

// SyncDir makes the entries of dir durable.
func SyncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
