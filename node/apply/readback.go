package apply

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// Errors of a Reader.
var (
	// ErrNoCopy is returned for an item that has no byte-for-byte copy in the target:
	// skipped, lost, failed, withdrawn, merged, or of a revision that does not count.
	ErrNoCopy = errors.New("item has no copy of its own in the target")
	// ErrDiffers is returned for a chunk whose bytes are not what they should be.
	ErrDiffers = errors.New("what was read back differs from what was sent")
)

// Reader reads applied content back from storage, to raise a receipt's level. Staging
// keeps no checksum of its own: the pack tables in the journal have the SHA-256 of every
// chunk and say which bytes of which items it consists of, so a chunk is verified by
// reading those. Not for concurrent use.
type Reader struct {
	plan    *preview.Plan
	log     Log
	number  int // of the page in hand
	outcome *Outcomes
	page    *preview.Page
	open    map[version]*os.File
	buf     []byte
}

// Piece is a run of an item's bytes in a chunk.
type Piece struct {
	Ordinal  item.Ordinal
	Revision uint32
	Offset   int64
	Length   int64
}

// version is one revision of one item.
type version struct {
	ordinal  item.Ordinal
	revision uint32
}

// NewReader returns a Reader of what Apply has put into the target. Close it.
func NewReader(plan *preview.Plan, log Log) *Reader {
	return &Reader{plan: plan, log: log, open: map[version]*os.File{}, buf: make([]byte, 256<<10)}
}

// Verify reads the pieces of one chunk and compares their hash. ErrNoCopy says that the
// chunk can't be verified because one of its items is not in the target as such;
// ErrDiffers that it is damaged.
func (r *Reader) Verify(pieces []Piece, want [sha256.Size]byte) error {
	h := sha256.New()
	for _, p := range pieces {
		f, err := r.file(p)
		if err != nil {
			return err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, p.Offset, p.Length), r.buf)
		if err != nil {
			return fmt.Errorf("reading item %d back: %w", p.Ordinal, err)
		}
		if n != p.Length {
			return fmt.Errorf("item %d: %w", p.Ordinal, ErrDiffers)
		}
	}
	if [sha256.Size]byte(h.Sum(nil)) != want {
		return fmt.Errorf("chunk that begins with item %d: %w", pieces[0].Ordinal, ErrDiffers)
	}
	return nil
}

// file opens an item where it lies in the target, and has the kernel forget its pages
// so that what is read comes from storage.
func (r *Reader) file(p Piece) (*os.File, error) {
	if f := r.open[version{p.Ordinal, p.Revision}]; f != nil {
		return f, nil
	}
	number := r.plan.Number(p.Ordinal)
	if number != r.number || number == 0 {
		page, o, err := outcomesPage(r.plan, r.log, number)
		if err != nil {
			return nil, err
		}
		r.number, r.page, r.outcome = number, page, o
	}
	i := int(p.Ordinal - r.page.First)
	e := &r.page.Entries[i]
	if r.outcome == nil || !e.Staged() || e.Revision != p.Revision {
		return nil, fmt.Errorf("item %d: %w", p.Ordinal, ErrNoCopy)
	}
	switch r.outcome.Of[i] {
	case item.Moved, item.Same, item.KeptBoth:
	default:
		return nil, fmt.Errorf("item %d: %w", p.Ordinal, ErrNoCopy)
	}
	f, err := r.plan.Target().Final().OpenRead(r.outcome.Final(i, e))
	if err != nil {
		return nil, err
	}
	folder.DropCache(f)
	const maxOpen = 16
	if len(r.open) >= maxOpen {
		r.Close()
	}
	r.open[version{p.Ordinal, p.Revision}] = f
	return f, nil
}

// Close closes what is open. The Reader can be used again.
func (r *Reader) Close() error {
	var errs []error
	for o, f := range r.open {
		errs = append(errs, f.Close())
		delete(r.open, o)
	}
	return errors.Join(errs...)
}
