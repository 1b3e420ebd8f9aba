package folder

import (
	"errors"
	"math"
)

// renameSlowly is RenameExclusive where the file system can't do it in one step. A
// placeholder of the right type is created exclusively and renamed over, so that a
// name that somebody else takes in between is never replaced: creating it fails.
func renameSlowly(d *Dir, name string, to *Dir, toName string) error {
	in, err := d.Lstat(name)
	if err != nil {
		return err
	}
	if in.Type == Directory {
		if !replacesEmptyDir {
			if there, err := to.Lstat(toName); err != nil || there.Exists() {
				return errors.Join(err, ErrExist)
			}
			return d.replace(name, to, toName)
		}
		if err := to.Mkdir(toName, 0o700); err != nil {
			return err
		}
		if err := d.replace(name, to, toName); err != nil { // fails if the placeholder is no longer empty
			to.Rmdir(toName)
			return err
		}
		return nil
	}
	if err := d.Link(name, to, toName); err == nil {
		return d.Unlink(name)
	} else if errors.Is(err, ErrExist) {
		return err
	}
	f, err := to.Create(toName, 0o600) // no hard links here
	if err != nil {
		return err
	}
	f.Close()
	if err := d.replace(name, to, toName); err != nil {
		to.Unlink(toName)
		return err
	}
	return nil
}

// Swap puts the new file in the place of old and keeps old under the name the new one
// had: in one step where the system can, else by moving old aside first, which leaves
// old's name free for a moment and is recognised after a crash by both being in dir.
// aside is a name in dir that is not in use.
func Swap(dir *Dir, name string, to *Dir, toName, aside string) error {
	err := dir.exchange(name, to, toName)
	if !errors.Is(err, errUnsupported) {
		return err
	}
	if err := to.RenameExclusive(toName, dir, aside); err != nil {
		return err
	}
	if err := dir.RenameExclusive(name, to, toName); err != nil {
		return errors.Join(err, dir.RenameExclusive(aside, to, toName))
	}
	return dir.RenameExclusive(aside, dir, name)
}

// clampSpace multiplies blocks by their size without overflow.
func clampSpace(blocks, size uint64) int64 {
	if size != 0 && blocks > math.MaxInt64/size {
		return math.MaxInt64
	}
	return int64(blocks * size)
}
