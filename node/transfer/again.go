package transfer

import (
	"errors"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
)

// Again takes packs that the other device has lost out of the journal: what they held is
// to be read and sent again, in the epoch that follows. epoch is the last one that was
// committed. A pack that the journal does not have, or not any more, is passed over. It is one
// durable step, and returns how many packs it took.
func Again(j *journal.Journal, epoch uint64, packs []manifest.PackRef) (int, error) {
	b, gone := j.Batch(), map[uint32]bool{}
	for i := range packs {
		ref := &packs[i]
		v, err := j.Get(packKey(ref.Index))
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		rec, err := decodeRecord(v)
		if err != nil {
			return 0, err
		}
		if rec.Ref.Commitment == ref.Commitment {
			gone[ref.Index] = true
			b.Delete(packKey(ref.Index))
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	// The epoch that follows may have been begun: its scan pages carry extents on, and its done pages are made from them.
	for _, prefix := range [][]byte{donePrefix(epoch), scanPrefix(epoch + 1)} {
		err := eachUnread(j, prefix, gone, func(k []byte, p *Local) error {
			v, err := encodePage(p)
			b.Put(k, v)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	err := eachUnread(j, donePrefix(epoch+1), gone, func(k []byte, _ *Local) error {
		b.Delete(k)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(gone), b.Commit()
}

// eachUnread calls fn with the pages that lose content with the packs that are gone.
func eachUnread(j *journal.Journal, prefix []byte, gone map[uint32]bool, fn func(k []byte, p *Local) error) error {
	return j.Each(prefix, func(k, v []byte) error {
		p, err := decodePage(v)
		if err != nil || !unread(p, gone) {
			return err
		}
		return fn(k, p)
	})
}

// unread strips the extents of items that have one in a pack that is gone, so that they are wanting.
func unread(p *Local, gone map[uint32]bool) (changed bool) {
	for i := range p.Items {
		it := &p.Items[i]
		for _, e := range it.Extents {
			if gone[e.Pack] {
				it.Extents, changed = nil, true
				it.Revision++ // its pieces may be cut differently this time
				break
			}
		}
	}
	return changed
}

// owed notes items of the epoch before that Again has made wanting.
func (s *scanner) owed(it *item.Item) {
	if it.Lost == item.ReasonNone && wanting(it) {
		s.res.Changed = true
	}
}
