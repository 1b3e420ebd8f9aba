package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// Undone says what Undo has done. Names in it are escaped by package show.
type Undone struct {
	Files        int64  `json:"files"`       // removed
	Directories  int64  `json:"directories"` // removed
	Restored     int64  `json:"restored"`    // merged files whose original is back
	Refused      []Line `json:"refused,omitempty"`
	RefusedCount int64  `json:"refused_count,omitempty"`
}

// Undo takes back what Apply has done, as far as it came: it removes the files and
// directories that are new, puts back the originals of merged files, and gives the
// directories that were there before their times. What has been changed since (its
// size or time differs, it is another file, or the file system says that it was
// touched after Apply had finished) is left alone and listed, and so is a directory
// that holds anything else by now. Undo may be called again, after a crash or when
// what it refused has been put right.
//
// It needs plan, log and the staging directory; after RemoveStaging it can't be done.
func Undo(ctx context.Context, plan *preview.Plan, log Log) (*Undone, error) {
	u := &undoer{plan: plan, log: log, t: plan.Target(), units: map[string]string{}}
	if err := u.run(ctx); err != nil {
		return nil, fmt.Errorf("undoing: %w", err)
	}
	return &u.Undone, nil
}

type undoer struct {
	Undone
	plan    *preview.Plan
	log     Log
	t       *folder.Target
	done    int64             // when Apply had finished, by the file system's clock; 0 if it had not
	units   map[string]string // directories renamed whole, by directory of the plan: where they are
	touched []touched
}

func (u *undoer) run(ctx context.Context) error {
	if err := u.recall(ctx); err != nil {
		return err
	}
	if u.t.Caps().Perms {
		if err := u.release(); err != nil {
			return err
		}
	}
	for n := 1; n <= u.plan.Pages(); n++ {
		if err := errors.Join(ctx.Err(), u.page(n)); err != nil {
			return err
		}
	}
	if err := u.directories(); err != nil {
		return err
	}
	dirs := func(yield func(string) bool) {
		for _, t := range u.touched {
			if !yield(t.Dir) {
				return
			}
		}
	}
	if err := u.t.SyncDirs(dirs); err != nil {
		return err
	}
	return u.times()
}

// recall reads the undo log.
func (u *undoer) recall(ctx context.Context) error {
	b, err := u.log.Outcome(0)
	if err != nil {
		return err
	}
	if b != nil {
		d := reader{b: b}
		d.byte()
		u.done = d.int()
	}
	seen := map[string]bool{}
	for n := 1; n <= u.plan.Pages(); n++ {
		r, err := u.record(n)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for _, t := range r.Touched {
			if !seen[t.Dir] { // the first page that touched it knows the time before
				seen[t.Dir] = true
				u.touched = append(u.touched, t)
			}
		}
		for _, a := range r.Units {
			in, err := u.t.Final().Lstat(a.Final)
			if err != nil {
				return err
			}
			if a.ID.is(in) {
				u.units[a.Dir] = a.Final
				continue
			}
			staged, err := u.t.Tree().Lstat(a.Dir)
			if err != nil {
				return err
			}
			if in.Exists() && !staged.Exists() {
				u.refuse(item.File, a.Final, whyOther)
			}
		}
	}
	return nil
}

func (u *undoer) record(n int) (*undoRecord, error) {
	b, err := u.log.Undo(n)
	if err != nil || b == nil {
		return &undoRecord{}, err
	}
	return decodeUndo(b)
}

// inUnit returns where something of the plan is that went into place with a directory.
func (u *undoer) inUnit(dest string) (string, bool) {
	for i := len(dest); i > 0; i = strings.LastIndexByte(dest[:i], '/') {
		if final, ok := u.units[dest[:i]]; ok {
			return final + dest[i:], true
		}
	}
	return "", false
}

// release makes directories that may not be written to writable, the upper ones first.
func (u *undoer) release() error {
	return byDepth(u.plan, false, restricted, func(e *preview.Entry) error {
		final, ok := u.inUnit(e.Dest)
		if !ok {
			return nil
		}
		in, err := u.t.Final().Lstat(final)
		if err != nil || in.Type != folder.Directory || in.Perm != e.Perm {
			return err
		}
		return u.t.Final().Chmod(final, e.Perm|0o700)
	})
}

func (u *undoer) page(n int) error {
	page, err := u.plan.Page(n)
	if err != nil {
		return err
	}
	r, err := u.record(n)
	if err != nil {
		return err
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		if !e.Staged() || e.State != preview.Settled {
			continue
		}
		if final, ok := u.inUnit(e.Dest); ok {
			if err := u.remove(e, final, nil); err != nil {
				return err
			}
		}
	}
	for _, m := range r.Moves {
		if m.Index < len(page.Entries) {
			if err := u.remove(&page.Entries[m.Index], m.Final, &m.ID); err != nil {
				return err
			}
		}
	}
	for _, m := range r.Merges {
		if m.Index < len(page.Entries) {
			if err := u.restore(&page.Entries[m.Index], &m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *undoer) refuse(k item.Kind, final, why string) error {
	u.RefusedCount++
	if len(u.Refused) < maxListed {
		u.Refused = append(u.Refused, Line{Kind: k.String(), Path: show.Name(final), Reason: why})
	}
	return nil
}

// Why something is left alone.
const (
	whyChanged    = "has been changed since"
	whyOther      = "is another file now"
	whyNoOriginal = "was merged, and the original is no longer kept"
	whyFilled     = "holds something that was not moved here"
)

// remove removes one file that Apply has put there. id is nil for one that came with its
// directory: then size and time must be those of the plan.
func (u *undoer) remove(e *preview.Entry, final string, id *ident) error {
	in, err := u.t.Final().Lstat(final)
	if err != nil || !in.Exists() {
		return err
	}
	if id != nil && !id.is(in) {
		staged, err := u.t.Tree().Lstat(e.Dest)
		if err != nil || staged.Exists() { // announced, but never done
			return err
		}
		return u.refuse(e.Kind, final, whyOther)
	}
	if in.Type != folder.Regular {
		return u.refuse(e.Kind, final, whyOther)
	}
	if in.Size != e.Size || !u.timeKept(e, in.ModTime) || u.done != 0 && in.ChangeTime > u.done {
		return u.refuse(e.Kind, final, whyChanged)
	}
	if err := u.t.Final().Remove(final); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return u.refuse(e.Kind, final, "can't be removed")
		}
		return err
	}
	u.Files++
	return nil
}

func (u *undoer) timeKept(e *preview.Entry, mtime int64) bool {
	return mtime == e.ModTime || !u.t.Caps().KeepsTime(e.ModTime)
}

// restore puts the original of a merged file back.
func (u *undoer) restore(e *preview.Entry, m *mergeAction) error {
	old, err := u.t.Undo().Lstat(oldName(e.Ordinal))
	if err != nil {
		return err
	}
	name := oldName(e.Ordinal)
	if !m.Orig.is(old) { // a crash between the exchange and giving the original its name, or never exchanged
		name = newName(e.Ordinal)
		if old, err = u.t.Undo().Lstat(name); err != nil || !m.Orig.is(old) {
			return u.restoreAside(e, m, err)
		}
	}
	cur, err := u.t.Final().Lstat(m.Final)
	switch {
	case err != nil:
		return err
	case !m.New.is(cur):
		return u.refuse(e.Kind, m.Final, whyOther)
	case !m.New.unedited(cur) || u.done != 0 && cur.ChangeTime > u.done:
		return u.refuse(e.Kind, m.Final, whyChanged)
	}
	if err := u.t.Undo().SwapIn(name, u.t.Final(), m.Final, asideName(e.Ordinal)); err != nil {
		return err
	}
	u.Restored++
	return u.t.Undo().Remove(name)
}

// restoreAside puts back an original that was moved aside, where files can't be exchanged
// in one step, when the merged one had not yet got its name.
func (u *undoer) restoreAside(e *preview.Entry, m *mergeAction, err error) error {
	if err != nil {
		return err
	}
	aside, err1 := u.t.Undo().Lstat(asideName(e.Ordinal))
	cur, err2 := u.t.Final().Lstat(m.Final)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !m.Orig.is(aside) { // never exchanged, put back already, or removed with staging
		if m.New.is(cur) {
			return u.refuse(e.Kind, m.Final, whyNoOriginal)
		}
		return nil
	}
	if cur.Exists() {
		return u.refuse(e.Kind, m.Final, whyOther)
	}
	u.Restored++
	return u.t.Undo().Rename(asideName(e.Ordinal), u.t.Final(), m.Final)
}

// directories removes the directories that Apply has made, as far as they are empty,
// the deepest first: one pass over the plan for each depth.
func (u *undoer) directories() error {
	deepest := 0
	in := func(e *preview.Entry) bool {
		return e.Form != item.FormRecord && e.Dest != "" && (e.Staged() || e.Form == item.FormDir) && e.State == preview.Settled
	}
	err := u.each(in, func(e *preview.Entry) error {
		deepest = max(deepest, strings.Count(e.Dest, "/")+1)
		return nil
	})
	for depth := deepest; depth > 0 && err == nil; depth-- {
		last := ""
		err = u.each(in, func(e *preview.Entry) error {
			dir := prefix(e.Dest, depth)
			if dir == "" || dir == last || dir == e.Dest && e.Form != item.FormDir {
				return nil
			}
			last = dir
			return u.rmdir(dir, e)
		})
	}
	return err
}

// prefix is the first depth components of a path, "" if it has fewer.
func prefix(path string, depth int) string {
	for i := 0; i < len(path); i++ {
		if path[i] == '/' {
			if depth--; depth == 0 {
				return path[:i]
			}
		}
	}
	if depth == 1 {
		return path
	}
	return ""
}

func (u *undoer) each(match func(*preview.Entry) bool, f func(*preview.Entry) error) error {
	for n := 1; n <= u.plan.Pages(); n++ {
		page, err := u.plan.Page(n)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			if e := &page.Entries[i]; match(e) {
				if err := f(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (u *undoer) rmdir(dir string, e *preview.Entry) error {
	final, ok := u.inUnit(dir)
	if !ok {
		return nil
	}
	in, err := u.t.Final().Lstat(final)
	if err != nil || in.Type != folder.Directory {
		return err
	}
	switch err := u.t.Final().Rmdir(final); {
	case err == nil:
		u.Directories++
		return nil
	case errors.Is(err, folder.ErrNotEmpty), errors.Is(err, folder.ErrExist):
		return u.refuse(e.Kind, final, whyFilled)
	case errors.Is(err, fs.ErrPermission):
		return u.refuse(e.Kind, final, "can't be removed")
	default:
		return err
	}
}

// times gives the directories that were there before the times that they had.
func (u *undoer) times() error {
	for _, t := range u.touched {
		err := u.t.Final().Chtimes(t.Dir, t.ModTime)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, folder.ErrNotDirectory) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}
