package blobstore

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// Blob is a stored blob open for reading.
type Blob struct {
	h    *Handle
	name id.Blob
	row  row
	file *segment
	at   int64
}

// Open finds a blob. A name that isn't here, or whose file is missing or short, is NotFound; the row of the latter
// goes, so that the sender can put the blob again.
func (h *Handle) Open(name id.Blob) (*Blob, error) {
	var r row
	found, err := h.s.db.View(db.BlobKey(h.e.id, name), func(v []byte) (err error) {
		r, err = parseRow(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, wire.Fail(wire.NotFound, "open blob")
	}
	b := &Blob{h: h, name: name, row: r}
	var number uint32
	number, b.at = place(r.class, r.slot)
	b.file, err = h.s.files.open(fileName{h.e.id, number}, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, b.damaged()
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Size returns the blob's length in bytes.
func (b *Blob) Size() int { return b.row.class.BlobSize() }

// Close releases the file.
func (b *Blob) Close() { b.file.release() }

// each calls f for the blob's pieces in order. The last piece is passed only after the checksum of the whole held, so that a
// damaged blob never leaves complete.
func (b *Blob) each(f func(piece []byte) error) error {
	buf := b.h.s.pieces.Get().(*[pieceBytes]byte)
	defer b.h.s.pieces.Put(buf)
	var sum uint32
	for done, size := 0, b.Size(); done < size; {
		piece := buf[:min(pieceBytes, size-done)]
		if n, err := b.file.ReadAt(piece, b.at+int64(done)); n < len(piece) {
			b.h.s.log.Error("blob unreadable", "session", b.h.e.id.Short(), "slot", b.row.slot, "error", err)
			return b.damaged()
		}
		sum = crc32.Update(sum, castagnoli, piece)
		if done += len(piece); done == size && sum != b.row.sum {
			return b.damaged()
		}
		if err := f(piece); err != nil {
			return err
		}
	}
	return nil
}

// WriteTo writes the blob to w. Of a damaged blob it writes less than the whole and returns NotFound.
func (b *Blob) WriteTo(w io.Writer) (n int64, err error) {
	err = b.each(func(piece []byte) error {
		m, err := w.Write(piece)
		n += int64(m)
		return err
	})
	return n, err
}

// AppendTo appends the blob to dst. Of a damaged blob it appends nothing and returns NotFound.
func (b *Blob) AppendTo(dst []byte) ([]byte, error) {
	out := slices.Grow(dst, b.Size())
	err := b.each(func(piece []byte) error {
		out = append(out, piece...)
		return nil
	})
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Verify reads the blob and checks it. A damaged one is NotFound and goes.
func (b *Blob) Verify() error { return b.each(func([]byte) error { return nil }) }

// equals compares the blob with body: Conflict if they differ, Malformed if body ends early.
func (b *Blob) equals(body io.Reader) error {
	buf := b.h.s.pieces.Get().(*[pieceBytes]byte)
	defer b.h.s.pieces.Put(buf)
	var differs bool
	err := b.each(func(piece []byte) error {
		other := buf[:len(piece)]
		if _, err := io.ReadFull(body, other); err != nil {
			return bodyError(err)
		}
		differs = differs || !bytes.Equal(piece, other)
		return nil
	})
	if err == nil && differs {
		return wire.Fail(wire.Conflict, "put blob")
	}
	return err
}

// damaged takes the row out, if it is still the one that was read, and returns NotFound. The slot is not used again while this
// process runs: the disk below it is suspect.
func (b *Blob) damaged() error {
	e := b.h.e
	e.mu.Lock()
	defer e.mu.Unlock()
	notFound := wire.Fail(wire.NotFound, "read blob")
	key := db.BlobKey(e.id, b.name)
	var now row
	found, err := b.h.s.db.View(key, func(v []byte) (err error) {
		now, err = parseRow(v)
		return err
	})
	if err != nil {
		return err
	}
	if !found || now != b.row {
		return notFound // deleted, and its slot perhaps reused, while it was read
	}
	if err := b.h.load(); err != nil {
		return err
	}
	batch := b.h.s.db.Batch()
	batch.Delete(key)
	if err := batch.Commit(); err != nil {
		return err
	}
	b.h.s.removed(e, 1)
	b.h.s.rotten.Add(1)
	b.h.s.log.Error("blob damaged on disk, taken out", "session", e.id.Short(), "slot", b.row.slot)
	return notFound
}

var _ io.WriterTo = (*Blob)(nil)
