// Package target says what a place is into which records are put. The implementations lie
// beside it. Package target/folder, which takes files, is older and has a contract of its own.
package target

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// ErrEdited is returned, wrapped or not, for a record that is not the one that the caller has seen.
var ErrEdited = errors.New("it was edited since")

// RefusedError is a target's refusal of one record; others may be taken.
type RefusedError struct {
	Why string // in the target's words, untrusted
}

func (e *RefusedError) Error() string { return fmt.Sprintf("refused: %s", e.Why) }

// Existing is a record that a target holds.
type Existing struct {
	item.Record
	ID      string // what the target knows it by; it stays the same while the record lives
	Version string // changes whenever the record does: an ETag, a hash
}

// Write is one change of a target. Creating has no ID, replacing and deleting have ID and
// Version of the record as it was seen; deleting has no Record.Data.
type Write struct {
	ID, Version string
	Record      item.Record
	// Key is chosen by the caller for a creation, and the same at each attempt: a target that names its records makes the
	// name of it, so that an attempt whose answer was lost is not repeated as a second record. Letters, digits and hyphens.
	Key string
}

// Books is a place that holds records and can be written. Its methods run one at a time.
type Books interface {
	// Kinds returns the kinds that it takes.
	Kinds() []item.Kind
	// Profile tells what it does with a kind's records. It may ask, and try with a record of
	// its own that it removes again.
	Profile(ctx context.Context, k item.Kind) (rule.Profile, error)
	// Read calls each for every record of a kind; each may keep what it gets.
	Read(ctx context.Context, k item.Kind, each func(Existing) error) error
	// Write carries out changes of one kind and calls done for each, in order, with what the
	// target then holds (the zero Existing after a deletion) or why it does not: ErrEdited, a
	// *RefusedError, or what else went wrong with this one record. An error of its own means
	// that those without a done were not tried or have an unknown outcome; Write may be called
	// again with them. What was done is durable when Write returns. Write returns the first
	// error of done.
	Write(ctx context.Context, k item.Kind, changes []Write, done func(i int, now Existing, err error) error) error
	Close() error
}

// Altering is implemented by targets that may hold something else than what was written to
// them, so that a report can tell it.
type Altering interface {
	// Altered tells how what the target holds differs from what was written.
	Altered(k item.Kind, written, held []byte) []item.Change
}

// OneKind is implemented by targets that can hold records of one kind only, and as long as
// they hold none may return several from Kinds: the first of these of which there are
// records is what they get.
type OneKind interface {
	OneKind() bool
}

// Making is implemented by targets that make places for records (address books, calendars), so that undoing can remove
// them again.
type Making interface {
	// Places names all places of a kind that there are.
	Places(ctx context.Context, k item.Kind) ([]string, error)
	// RemovePlaces removes the places in which the records with ids were, if they were made for them, are not among
	// before (what Places named before the first write), and are empty. What the target does not let go stays.
	RemovePlaces(ctx context.Context, k item.Kind, before, ids []string) error
}

// Whole is implemented by targets that are one file, so that undoing can restore it exactly.
type Whole interface {
	// Snapshot returns the file's bytes, nil if it is not there.
	Snapshot() ([]byte, error)
	// Stream is Snapshot for a file that may be large.
	Stream() (io.ReadCloser, error)
	// Restore puts a Snapshot's bytes (nil: no file) in the place of a file whose bytes have
	// the SHA-256 now, else it returns ErrEdited. It is durable when it returns.
	Restore(before []byte, now [32]byte) error
}
