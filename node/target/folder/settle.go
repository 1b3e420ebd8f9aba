package folder

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/decant-dev/decant/node/item"
)

// Settled is what became of one item in staging.
type Settled struct {
	Complete bool  // all of it is there, with its final size, time and permissions
	Missing  int64 // bytes that have not arrived; an empty item that is wanted is never missing
	XAttrs   int   // attributes that could not be set
	Time     bool  // the time differs from the one wanted
}

// Settle brings one staged file to what the final manifest says of it: revision, size,
// time, permissions and attributes, which may all differ from the catalog that it was
// planned by. An item whose content is incomplete, or of a revision that the manifest
// does not name, is reported and left; Discard removes it. p is the item's place.
// No Write may be running.
func (s *Stager) Settle(it *item.Item, p *Place) (Settled, error) {
	if !p.Stage || it.Form != item.FormFile || it.Lost != item.ReasonNone {
		return Settled{}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.settle(it, p)
	if err != nil {
		return r, fmt.Errorf("settling item %d: %w", it.Ordinal, err)
	}
	return r, nil
}

func (s *Stager) settle(it *item.Item, p *Place) (r Settled, err error) {
	have, known := s.revision(it.Ordinal)
	state := s.at(it.Ordinal)
	switch {
	case it.Size == 0 && (!known || have != it.Revision || state == stateOdd):
		return s.settleEmpty(it, p)
	case !known || have != it.Revision:
		return Settled{Missing: it.Size}, nil
	case state == stateOdd:
		l := s.odd[it.Ordinal]
		if !l.got.covers(it.Size) {
			return Settled{Missing: l.got.missing(it.Size)}, nil
		}
		return s.settleOdd(it, l)
	case it.Size != p.Size: // whole at the size of the catalog, which is not the final one
		return Settled{Missing: max(it.Size-p.Size, 1)}, nil
	case state >= stateNoted || it.ModTime != p.ModTime || it.Perm != p.Perm || len(it.XAttrs) > 0:
		return s.settleDone(it, p)
	}
	return s.finished(it, 0), nil
}

func (s *Stager) finished(it *item.Item, xattrs int) Settled {
	return Settled{Complete: true, XAttrs: xattrs, Time: !s.t.caps.KeepsTime(it.ModTime)}
}

// settleEmpty makes the empty file that no pack carries.
func (s *Stager) settleEmpty(it *item.Item, p *Place) (Settled, error) {
	if l := s.odd[it.Ordinal]; l != nil {
		s.abandon(it.Ordinal, l)
	}
	err := s.t.tree.at(p.Dest, true, func(d *Dir, base string) error {
		if err := d.Unlink(base); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return d.WriteFile(base, nil, it.ModTime, 0o600, 0o600)
	})
	if err != nil {
		return Settled{}, err
	}
	return s.settleDone(it, p)
}

func (s *Stager) settleOdd(it *item.Item, l *odd) (Settled, error) {
	if l.file == nil {
		if err := s.openFile(l); err != nil {
			return Settled{}, err
		}
	}
	lost, err := s.putXAttrs(it, l.dest)
	if err != nil {
		return Settled{}, err
	}
	if err := s.complete(l, it.Size, it.ModTime, it.Perm); err != nil {
		return Settled{}, err
	}
	delete(s.odd, it.Ordinal)
	s.set(it.Ordinal, stateNone) // Settle has the last word: the size is no longer the planned one
	if it.Size == l.size && it.Revision <= maxRevision {
		s.set(it.Ordinal, stateNoted+uint8(it.Revision))
	} else {
		s.odd[it.Ordinal] = l
		s.set(it.Ordinal, stateOdd)
		l.got = runs{{0, it.Size}}
	}
	return s.finished(it, lost), nil
}

// settleDone checks a file that is whole against what is wanted of it and repairs it.
func (s *Stager) settleDone(it *item.Item, p *Place) (Settled, error) {
	in, err := s.t.tree.Lstat(p.Dest)
	if err != nil {
		return Settled{}, err
	}
	if in.Type != Regular || in.Size != it.Size {
		s.set(it.Ordinal, stateNone)
		return Settled{Missing: max(it.Size, 1)}, nil
	}
	lost, err := s.putXAttrs(it, p.Dest)
	if err != nil {
		return Settled{}, err
	}
	if in.ModTime != it.ModTime || in.Perm != it.Perm {
		if err := s.dress(p.Dest, it.ModTime, it.Perm, in.Perm != it.Perm); err != nil {
			return Settled{}, err
		}
	}
	return s.finished(it, lost), nil
}

// putXAttrs sets an item's attributes and returns how many could not be kept.
func (s *Stager) putXAttrs(it *item.Item, dest string) (lost int, err error) {
	if len(it.XAttrs) == 0 {
		return 0, nil
	}
	if !s.t.caps.XAttrs {
		return len(it.XAttrs), nil
	}
	err = s.t.tree.at(dest, false, func(d *Dir, base string) error {
		if it.Perm&0o200 == 0 && s.t.caps.Perms {
			if err := d.Chmod(base, 0o600); err != nil {
				return err
			}
			defer d.Chmod(base, it.Perm)
		}
		f, err := d.OpenWrite(base)
		if err != nil {
			return err
		}
		defer f.Close()
		for _, x := range it.XAttrs {
			if !userXAttr(x.Name) || setXAttr(f, x.Name, x.Value) != nil {
				lost++
			}
		}
		return nil
	})
	return lost, err
}

// userXAttr: only the namespace that carries no privilege.
func userXAttr(name string) bool { return len(name) > 5 && len(name) <= 255 && name[:5] == "user." }

// Discard removes what was staged of an item, so that nothing partial can get a final
// name, and forgets it: it may be written again, at any revision.
func (s *Stager) Discard(o item.Ordinal, p *Place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.odd[o]; l != nil {
		s.abandon(o, l)
	}
	s.set(o, stateNone)
	if p.Dest == "" {
		return nil
	}
	if err := s.t.tree.Remove(p.Dest); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotDirectory) {
		return fmt.Errorf("discarding item %d: %w", o, err)
	}
	return nil
}

// StageDir makes a directory in the tree, and the missing ones above it.
func (s *Stager) StageDir(dest string) error { return s.t.tree.Mkdir(dest) }

// DressDir gives a staged directory its permissions, as far as they leave it usable
// for us until everything is in place, and its time. Call it when nothing will be
// added to it any more.
func (s *Stager) DressDir(dest string, mtime int64, perm uint16) error {
	in, err := s.t.tree.Lstat(dest)
	if err != nil || in.Type != Directory {
		return err
	}
	if want := perm&MetaPerm | 0o700; s.t.caps.Perms && in.Perm != want {
		if err := s.t.tree.Chmod(dest, want); err != nil {
			return err
		}
	}
	return s.t.tree.Chtimes(dest, mtime)
}
