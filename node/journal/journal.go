// Package journal is a device's durable memory of one transfer: a small Pebble store
// that holds keys, options, scan pages, pack records, plan pages and undo records.
// It promises that what Commit returned nil for is there after a crash, and that a
// batch is there whole or not at all. It knows no meaning of what it stores; node and
// node/transfer own the keys (docs/ARCHITECTURE.md, "The journals").
//
// Secret values are sealed under the device's journal key, so that a copy of the
// journal directory alone gives none of them away.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/marker"
)

// ErrNotFound is returned by Get for a key that is not there.
var ErrNotFound = errors.New("not in the journal")

// Journal is one transfer's store. All methods may be used concurrently.
type Journal struct {
	db      *pebble.DB
	key     seal.Key
	commits *atomic.Int64 // under way
}

// Lock takes the lock file at path for this process, or fails at once if another
// process has it. Closing what it returns, or the end of the process, gives it back.
func Lock(path string) (io.Closer, error) { return vfs.Default.Lock(path) }

// Open opens or creates the journal in dir on this device's file system. fatal is
// called when a write or sync has failed and the journal can't go on (a full disk, as a
// rule): it must not return. What was committed before is there at the next run. nil panics.
func Open(dir string, key seal.Key, fatal func(message string)) (*Journal, error) {
	return OpenOn(vfs.Default, dir, key, fatal)
}

// OpenOn is Open on another file system, such as one in memory that can crash.
func OpenOn(fs vfs.FS, dir string, key seal.Key, fatal func(message string)) (*Journal, error) {
	cache := pebble.NewCache(4 << 20)
	defer cache.Unref()
	stop, commits := silent{fatal}, new(atomic.Int64)
	db, err := pebble.Open(dir, &pebble.Options{
		EventListener: &pebble.EventListener{BackgroundError: stop.onFullDisk},
		FS:            logFS{marker.FS(fs), commits}, Cache: cache, MemTableSize: 8 << 20, MemTableStopWritesThreshold: 3, MaxOpenFiles: 64,
		FormatMajorVersion: pebble.FormatValueSeparation, Logger: stop,
	})
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &Journal{db: db, key: key, commits: commits}, nil
}

// silent drops what Pebble has to say, but not its death: a failed sync must never be
// retried, so Pebble stops, and the next run recovers.
type silent struct{ fatal func(string) }

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (s silent) Fatalf(format string, args ...any) {
	message := fmt.Sprintf("journal: "+format, args...)
	if s.fatal != nil {
		s.fatal(message)
	}
	panic(message)
}

// onFullDisk stops where Pebble would go on trying to flush for ever, also in Open.
func (s silent) onFullDisk(err error) {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
		s.Fatalf("%v", err)
	}
}

// Close releases the store. All that was written is in tables first: damage to the end of a log looks like a write that a
// crash tore, and the store would open without what stood there.
func (j *Journal) Close() error { return errors.Join(j.db.Flush(), j.db.Close()) }

// Get returns a copy of the value of k, or ErrNotFound.
func (j *Journal) Get(k []byte) ([]byte, error) {
	v, closer, err := j.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("%q: %w", k, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer closer.Close()
	return bytes.Clone(v), nil
}

// GetSecret returns the value that PutSecret stored under k.
func (j *Journal) GetSecret(k []byte) ([]byte, error) {
	v, err := j.Get(k)
	if err != nil {
		return nil, err
	}
	return j.open(k, v)
}

func (j *Journal) open(k, sealed []byte) ([]byte, error) {
	plain, err := seal.Open(nil, &j.key, label.LV(label.Journal, k), sealed)
	if err != nil {
		return nil, fmt.Errorf("journal: %q was sealed under another key: %w", k, err)
	}
	return plain, nil
}

// EachSecret is Each over values that PutSecret stored.
func (j *Journal) EachSecret(prefix []byte, fn func(k, v []byte) error) error {
	return j.Each(prefix, func(k, v []byte) error {
		plain, err := j.open(k, v)
		if err != nil {
			return err
		}
		return fn(k, plain)
	})
}

// GetJSON decodes the value of k into v.
func (j *Journal) GetJSON(k []byte, v any) error {
	b, err := j.Get(k)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("journal: %q: %w", k, err)
	}
	return nil
}

// GetSecretJSON decodes the secret value of k into v.
func (j *Journal) GetSecretJSON(k []byte, v any) error {
	b, err := j.GetSecret(k)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// Has reports whether k is there.
func (j *Journal) Has(k []byte) (bool, error) {
	_, closer, err := j.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	return true, closer.Close()
}

// Each calls fn for every key that begins with prefix, in order, until fn returns an
// error. Key and value are valid during the call only.
func (j *Journal) Each(prefix []byte, fn func(k, v []byte) error) error {
	return j.EachFrom(prefix, prefix, fn)
}

// EachFrom is Each from the first key that is not below start.
func (j *Journal) EachFrom(prefix, start []byte, fn func(k, v []byte) error) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: upperBound(prefix)})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if err := fn(it.Key(), it.Value()); err != nil {
			it.Close()
			return err
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// upperBound returns the first key above every key that begins with prefix, nil if there is none.
func upperBound(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Note stores one record without waiting for the disk: a crash of the process keeps
// it, a crash of the machine may lose it. Only for records whose loss costs nothing
// but doing the same work again (packs staged on the receiver).
func (j *Journal) Note(k, v []byte) error {
	if err := j.db.Set(k, v, pebble.Sync); err != nil { // which is none: see logFS
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Batch collects writes that become durable together. It belongs to one goroutine.
type Batch struct {
	j   *Journal
	b   *pebble.Batch
	err error
}

// Batch starts an empty batch.
func (j *Journal) Batch() *Batch { return &Batch{j: j, b: j.db.NewBatch()} }

// Put sets k to v; both are copied.
func (b *Batch) Put(k, v []byte) *Batch {
	if b.err == nil {
		b.err = b.b.Set(k, v, nil)
	}
	return b
}

// PutJSON sets k to v's JSON form.
func (b *Batch) PutJSON(k []byte, v any) *Batch {
	p, err := json.Marshal(v)
	if err != nil && b.err == nil {
		b.err = err
	}
	return b.Put(k, p)
}

// PutSecret sets k to v, sealed.
func (b *Batch) PutSecret(k, v []byte) *Batch {
	return b.Put(k, seal.Seal(nil, &b.j.key, label.LV(label.Journal, k), v))
}

// PutSecretJSON sets k to v's JSON form, sealed.
func (b *Batch) PutSecretJSON(k []byte, v any) *Batch {
	p, err := json.Marshal(v)
	if err != nil && b.err == nil {
		b.err = err
	}
	return b.PutSecret(k, p)
}

// Delete removes k.
func (b *Batch) Delete(k []byte) *Batch {
	if b.err == nil {
		b.err = b.b.Delete(k, nil)
	}
	return b
}

// DeletePrefix removes every key that begins with prefix.
func (b *Batch) DeletePrefix(prefix []byte) *Batch {
	if b.err == nil {
		b.err = b.b.DeleteRange(prefix, upperBound(prefix), nil)
	}
	return b
}

// Commit makes the batch durable. After an error nothing may be assumed of it but
// that it is there whole or not at all; the batch can't be used again.
func (b *Batch) Commit() error {
	defer b.b.Close()
	if b.err != nil {
		return fmt.Errorf("journal: %w", b.err)
	}
	b.j.commits.Add(1)
	defer b.j.commits.Add(-1)
	if err := b.b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
