package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/decant-dev/decant/proto/id"
)

// Target is an open target directory with this session's staging area in it.
// Safe for concurrent use.
type Target struct {
	root    *os.Root // for removing staging as a whole
	path    string   // as the person gave it
	staging string   // ".decant-" and eight hex digits
	stage   *Dir
	final   *Tree
	tree    *Tree
	undo    *Tree
	caps    Caps
}

// Options adjusts Open. The zero value is what everybody wants.
type Options struct {
	// Pretend changes the capabilities found, so that a test can meet the rules of a
	// file system that it does not have. nil leaves them as they are.
	Pretend func(*Caps)
}

// Open opens dir, which must exist, makes (or finds, after a crash) the staging
// directory of the session in it and finds out what its file system can hold.
// Everything outside the staging directory stays as it is. Close it.
func Open(dir string, session id.Session, opts Options) (*Target, error) {
	t := &Target{path: dir, staging: stagingPrefix + session.Short()}
	if err := t.open(dir); err != nil {
		t.Close()
		return nil, fmt.Errorf("opening the target: %w", err)
	}
	if opts.Pretend != nil {
		opts.Pretend(&t.caps)
	}
	return t, nil
}

func (t *Target) open(dir string) (err error) {
	if t.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	top, err := openTop(dir)
	if err != nil {
		return err
	}
	t.final = newTree(top)
	err = t.quietly(func() (err error) {
		t.stage, err = ensure(top, t.staging)
		return err
	})
	if err != nil {
		return err
	}
	for name, tree := range map[string]**Tree{"tree": &t.tree, "undo": &t.undo} {
		d, err := ensure(t.stage, name)
		if err != nil {
			return err
		}
		*tree = newTree(d)
	}
	t.caps, err = t.probe()
	return err
}

// ensure makes a directory that only this user may enter and opens it.
func ensure(d *Dir, name string) (*Dir, error) {
	if err := d.Mkdir(name, 0o700); err != nil && !errors.Is(err, ErrExist) {
		return nil, err
	}
	return d.OpenDir(name)
}

// Close closes all handles and leaves staging where it is.
func (t *Target) Close() error {
	var errs []error
	for _, tree := range []*Tree{t.final, t.tree, t.undo} {
		if tree != nil {
			errs = append(errs, tree.close())
		}
	}
	if t.stage != nil {
		errs = append(errs, t.stage.Close())
	}
	if t.root != nil {
		errs = append(errs, t.root.Close())
	}
	t.final, t.tree, t.undo, t.stage, t.root = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

// Path returns the directory as it was given to Open.
func (t *Target) Path() string { return t.path }

// Staging returns the name of the staging directory inside the target.
func (t *Target) Staging() string { return t.staging }

// Caps returns what the target's file system can hold.
func (t *Target) Caps() *Caps { return &t.caps }

// Final is the target itself: what the person has there, and where things end up.
func (t *Target) Final() *Tree { return t.final }

// Tree is where content waits, under its destination path.
func (t *Target) Tree() *Tree { return t.tree }

// Undo is where the originals of merged files are kept.
func (t *Target) Undo() *Tree { return t.undo }

// Free returns the bytes that may still be written, -1 if the system does not say.
func (t *Target) Free() (int64, error) { return t.stage.free() }

// Sync makes everything durable that was written to the target's file system before
// the call: with one syncfs where there is one, else by syncing every file and
// directory of the staging tree.
func (t *Target) Sync() error {
	err := t.stage.syncAll()
	if errors.Is(err, errUnsupported) {
		err = t.syncWalk(t.tree.top)
	}
	if err != nil {
		return fmt.Errorf("syncing the target: %w", err)
	}
	return nil
}

func (t *Target) syncWalk(d *Dir) error {
	names, err := d.Names(0)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.syncEntry(d, name); err != nil {
			return err
		}
	}
	return d.Sync()
}

func (t *Target) syncEntry(d *Dir, name string) error {
	in, err := d.Lstat(name)
	if err != nil || in.Type == Link || in.Type == Other {
		return err
	}
	if in.Type == Directory {
		sub, err := d.OpenDir(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		return t.syncWalk(sub)
	}
	f, err := d.OpenRead(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SyncDirs makes renames durable: with one syncfs where there is one, else by syncing
// each directory given.
func (t *Target) SyncDirs(dirs func(yield func(string) bool)) error {
	err := t.stage.syncAll()
	if !errors.Is(err, errUnsupported) {
		return err
	}
	for d := range dirs {
		if err := t.final.SyncDir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("syncing a directory of the target: %w", err)
		}
	}
	return nil
}

// RemoveStaging removes the staging directory and all that is left in it, the
// originals of merged files included: after it nothing can be undone. The target must
// not be used afterwards except to be closed.
func (t *Target) RemoveStaging() error {
	t.tree.Forget("")
	t.undo.Forget("")
	if err := t.quietly(func() error { return t.root.RemoveAll(t.staging) }); err != nil {
		return fmt.Errorf("removing staging: %w", err)
	}
	return nil
}

// quietly does something to the staging directory's own entry and gives the target the
// modification time that it had, as far as the target is ours.
func (t *Target) quietly(f func() error) error {
	before, err := t.final.top.Stat()
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	after, err := t.final.top.Stat()
	if err == nil && after.ModTime != before.ModTime {
		if err = t.final.top.chtimesSelf(before.ModTime); errors.Is(err, fs.ErrPermission) {
			err = nil
		}
	}
	return err
}

// Tidy removes what waits in the tree and, unless originals are kept for an undo, the
// staging directory itself. The target must not be used afterwards except to be closed.
func (t *Target) Tidy() error {
	if err := t.RemoveStaged(); err != nil {
		return err
	}
	kept, err := t.undo.top.Names(1)
	if err != nil || len(kept) > 0 {
		return err
	}
	return t.RemoveStaging()
}

// RemoveStaged removes what waits in the tree and keeps what undo needs. The tree can
// be used again.
func (t *Target) RemoveStaged() error {
	t.tree.Forget("")
	names, err := t.tree.top.Names(0)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.root.RemoveAll(Join(Join(t.staging, "tree"), name)); err != nil {
			return fmt.Errorf("removing staged content: %w", err)
		}
	}
	return nil
}

// Now returns the time by the clock of the target's file system, in nanoseconds since
// 1970 UTC: what it would give a file changed at this moment.
func (t *Target) Now() (int64, error) {
	const name = "clock"
	if err := t.stage.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	f, err := t.stage.Create(name, 0o600)
	if err != nil {
		return 0, err
	}
	f.Close()
	in, err := t.stage.Lstat(name)
	return max(in.ChangeTime, in.ModTime), errors.Join(err, t.stage.Unlink(name))
}
