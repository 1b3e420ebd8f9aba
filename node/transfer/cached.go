package transfer

import (
	"context"
	"errors"
	"slices"

	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// doubter is a BlobStore that asks several places.
type doubter interface {
	// Doubt says that the blob which Get gave last under this name is not what it should be. It reports whether another Get may
	// give another one.
	Doubt(name id.Blob) bool
}

// doubt tells a store that a blob does not open, and reports whether it can be asked again.
func doubt(s BlobStore, name id.Blob) bool {
	d, ok := s.(doubter)
	return ok && d.Doubt(name)
}

// Cached is a pack that went to a cache, as the journal has it.
type Cached struct {
	Ref      manifest.PackRef
	Manifest bool
	key      []byte
}

// InCache returns the packs that were not found at the server since they went to a cache.
func InCache(j *journal.Journal) (packs []Cached, err error) {
	for _, prefix := range [][]byte{packPrefix, manifestPrefix} {
		err = errors.Join(err, j.Each(prefix, func(k, v []byte) error {
			rec, err := decodeRecord(v)
			if err == nil && rec.Kept == KeptCached {
				packs = append(packs, Cached{rec.Ref, rec.Purpose == manifestPack, slices.Clone(k)})
			}
			return err
		}))
	}
	return packs, err
}

// Landed asks a server which of the packs it has, notes them as stored, durably, and returns the others.
func Landed(ctx context.Context, j *journal.Journal, server BlobStore, packs []Cached) ([]Cached, error) {
	here, others, err := split(ctx, server, packs)
	if err != nil || len(here) == 0 {
		return others, err
	}
	b := j.Batch()
	for i := range here {
		v, err := j.Get(here[i].key)
		if err != nil {
			return nil, err
		}
		v[1] = byte(KeptStored)
		b.Put(here[i].key, v)
	}
	return others, b.Commit()
}

// Lacking returns those of the packs that a store does not have.
func Lacking(ctx context.Context, store BlobStore, packs []Cached) ([]Cached, error) {
	_, others, err := split(ctx, store, packs)
	return others, err
}

func split(ctx context.Context, store BlobStore, packs []Cached) (here, others []Cached, err error) {
	for part := range slices.Chunk(packs, wire.MaxHas) {
		names := make([]id.Blob, len(part))
		for i := range part {
			names[i] = part[i].Ref.Blob
		}
		has, err := store.Has(ctx, names)
		if err == nil && len(has) != len(names) {
			err = errors.New("transfer: an answer for other packs than were asked for")
		}
		if err != nil {
			return nil, nil, err
		}
		for i := range part {
			if has[i] {
				here = append(here, part[i])
			} else {
				others = append(others, part[i])
			}
		}
	}
	return here, others, nil
}

// LostInCache takes packs out of the journal that a cache had and nobody has any more: what they held is read and sent again
// (Again, also for epoch). Packs of a manifest only go; the next epoch has its own. It returns how many packs went.
func LostInCache(j *journal.Journal, epoch uint64, packs []Cached) (int, error) {
	var refs []manifest.PackRef
	for i := range packs {
		if !packs[i].Manifest {
			refs = append(refs, packs[i].Ref)
		}
	}
	if _, err := Again(j, epoch, refs); err != nil { // of padding too, in which no page has anything
		return 0, err
	}
	b := j.Batch()
	for i := range packs {
		if packs[i].Manifest {
			b.Delete(packs[i].key)
		}
	}
	return len(packs), b.Commit()
}
