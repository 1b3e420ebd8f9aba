package journal

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble keeps what is written without a sync in its own memory for a while, where a kill of
// the process takes it. A Note is to survive that at the price of a write and no sync. So
// notes are committed with a sync as batches are, which makes Pebble hand them to the
// operating system, and the file of the log leaves out syncs that no Commit waits for.

// logFS makes the log files of a store leave out such syncs.
type logFS struct {
	vfs.FS
	commits *atomic.Int64 // batches on their way: they need the sync
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

// Create implements vfs.FS.
func (fs logFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (fs logFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldname, newname, c)
	return fs.wrap(newname, f, err)
}

// Unwrap implements vfs.FS.
func (fs logFS) Unwrap() vfs.FS { return fs.FS }

func (fs logFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !isLog(name) {
		return f, err
	}
	return &logFile{File: f, commits: fs.commits}, nil
}

// logFile is a log. Pebble syncs it from one goroutine; a batch whose Commit has not yet
// been counted when a sync is left out is not among those that this sync answers.
type logFile struct {
	vfs.File
	commits *atomic.Int64
	left    atomic.Bool // out: a sync
}

func (f *logFile) sync(do func() error) error {
	if f.commits.Load() == 0 {
		f.left.Store(true)
		return nil
	}
	f.left.Store(false)
	return do()
}

// Sync implements vfs.File.
func (f *logFile) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements vfs.File.
func (f *logFile) SyncData() error { return f.sync(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *logFile) SyncTo(length int64) (fullSync bool, err error) {
	err = f.sync(func() (err error) {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, err
}

// Close implements vfs.File. A log is whole before the next one is relied upon.
func (f *logFile) Close() error {
	if f.left.Load() {
		if err := f.File.Sync(); err != nil {
			f.File.Close()
			return err
		}
	}
	return f.File.Close()
}
