// Package source says what a place is from which the items of a collection are read.
// The implementations lie beside it: source/folder reads directories and files.
// docs/SPEC.md section 4.1 says which items may come of it.
package source

import (
	"context"
	"errors"

	"github.com/decant-dev/decant/node/item"
)

// Errors that readers answer beside those of the operating system (match
// fs.ErrNotExist for what has vanished, fs.ErrPermission for what may not be read).
var (
	ErrChanged    = errors.New("source: file changed while it was read")
	ErrTooLarge   = errors.New("source: file does not fit in the buffer")
	ErrNotRegular = errors.New("source: not a regular file")
	ErrPath       = errors.New("source: no such path in this source")
)

// Stat is what the journal remembers of a file, so that a later run knows without
// reading whether it is still the same one.
type Stat struct {
	Size       int64
	ModTime    int64 // nanoseconds since 1970 UTC, clamped to what fits
	ChangeTime int64 // as ModTime; 0 where the platform has none
	Device     uint64
	Inode      uint64 // 0 where the platform has none
	Perm       uint16 // the nine permission bits
	HasXAttrs  bool   // set by ReadSmall and File.Stat, not by Scan: XAttrs would answer something
	Nlink      uint32
	Blocks     int64 // 512-byte units in use; -1 where the platform does not say
}

// Same reports whether a and b describe the same content of the same file, as far as
// size, times and identity can say.
func (a Stat) Same(b Stat) bool {
	return a.Size == b.Size && a.ModTime == b.ModTime && a.ChangeTime == b.ChangeTime && a.Device == b.Device && a.Inode == b.Inode
}

// Source is a collection on this device. Its methods may be called from several
// goroutines; Scan runs once at a time.
type Source interface {
	// Scan walks the collection in an order that depends on nothing but its names, and
	// calls emit for each item and loss for each thing that can't be moved or not as it is.
	// Both are called from the goroutine that called Scan. The item is the source's: it is
	// overwritten after emit returns, but the strings and slices in it may be kept.
	// Ordinal and Container are left 0 for the caller to set; a record follows its
	// container at once. The Stat of a record is that of its container. The first error of
	// emit, or the end of ctx, ends the scan and is returned; what can't be read does not.
	Scan(ctx context.Context, emit func(*item.Item, Stat) error, loss func(item.Loss)) error

	// Open opens the file of an emitted path. The errors are those above or the system's.
	Open(path string) (File, error)

	Reader

	// Close releases what the source holds open. No other method may be running.
	Close() error
}

// Reader reads small files whole with as few system calls as it takes.
type Reader interface {
	// ReadSmall reads the file of an emitted path into buf and returns its size and what
	// it is. buf must be longer than the file by at least one byte, else ErrTooLarge and
	// the Stat are returned. ErrChanged means that it changed under the reader: try again.
	// Extended attributes are not read: if Stat.HasXAttrs, Open the file for them.
	ReadSmall(path string, buf []byte) (n int, st Stat, err error)
}

// File is one open file of a source. Only ReadAt may be called concurrently.
type File interface {
	// ReadAt reads as io.ReaderAt does.
	ReadAt(p []byte, off int64) (int, error)
	// Stat asks anew each time. Whoever reads in several steps asks before and after and
	// compares with Stat.Same.
	Stat() (Stat, error)
	// XAttrs returns the extended attributes that an item may have, sorted by name, and
	// the names of those that are there but can't be moved.
	XAttrs() (kept []item.XAttr, dropped []string, err error)
	Close() error
}
