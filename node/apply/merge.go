package apply

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// Names in the undo directory: the merged file until it takes its place, the original
// after it has left its place, and the original for the moment between the two on
// systems that can't exchange them in one step.
func newName(o item.Ordinal) string   { return strconv.FormatUint(uint64(o), 10) + ".new" }
func oldName(o item.Ordinal) string   { return strconv.FormatUint(uint64(o), 10) + ".old" }
func asideName(o item.Ordinal) string { return strconv.FormatUint(uint64(o), 10) + ".aside" }

// chooseMerge prepares the file that has the records of both, and announces to put it
// in the place of the one that is there. It declines, and both files are kept, if the
// two can't become one without losing something.
func (a *applier) chooseMerge(d *decision, i int, parent string, e *preview.Entry, c *choice) (bool, error) {
	_, base := folder.Split(e.Dest)
	final := folder.Join(parent, base)
	in, err := a.t.Final().Lstat(final)
	if err != nil || base != e.NaturalName() || in.Type != folder.Regular || in.Nlink > 1 || in.Size+e.Size > preview.MaxBook {
		return false, err
	}
	existing, err := preview.ReadBook(a.t.Final(), final)
	if err != nil {
		return false, nil // not ours to read: keep both
	}
	from, err := preview.ReadBook(a.t.Tree(), e.Dest)
	if err != nil {
		return false, err
	}
	merged := kind.Merge(e.Kind, existing, from)
	if merged == nil {
		return false, nil
	}
	if bytes.Equal(merged, existing) {
		c.outcome, c.why, c.final = item.Same, item.ReasonNone, final
		return true, nil
	}
	fresh, err := a.writeMerged(e, final, merged, &in)
	if err != nil {
		return false, err
	}
	c.outcome, c.why, c.final = item.Merged, item.ReasonNone, final
	d.rec.Merges = append(d.rec.Merges, mergeAction{i, final, identOf(fresh), identOf(in)})
	c.merge = len(d.rec.Merges)
	return true, a.touch(parent, d)
}

// writeMerged writes and syncs the merged file: the permissions and attributes of the
// one that was there, the later of the two times.
func (a *applier) writeMerged(e *preview.Entry, final string, data []byte, in *folder.Info) (folder.Info, error) {
	name := newName(e.Ordinal)
	if err := a.t.Undo().Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return folder.Info{}, err
	}
	from, err := a.t.Final().OpenRead(final)
	if err != nil {
		return folder.Info{}, err
	}
	defer from.Close()
	if err := a.t.Undo().WriteSynced(name, data, max(in.ModTime, e.ModTime), in.Perm, from); err != nil {
		return folder.Info{}, err
	}
	return a.t.Undo().Lstat(name)
}

// executeMerge exchanges the two files. If the one that came out is not the one that was
// read, because somebody has just changed it, they are exchanged back and decided again.
func (a *applier) executeMerge(e *preview.Entry, m *mergeAction, c *choice) (retry bool, err error) {
	name := newName(e.Ordinal)
	err = a.t.Undo().SwapIn(name, a.t.Final(), m.Final, asideName(e.Ordinal))
	if errors.Is(err, fs.ErrNotExist) { // the person's file has just gone
		return true, nil
	}
	if err != nil {
		return a.fate(c, err)
	}
	out, err := a.t.Undo().Lstat(name)
	if err != nil {
		return false, err
	}
	if !m.Orig.is(out) || !m.Orig.unedited(out) {
		return true, a.t.Undo().SwapIn(name, a.t.Final(), m.Final, asideName(e.Ordinal))
	}
	c.done = true
	return false, a.t.Undo().Rename(name, a.t.Undo(), oldName(e.Ordinal))
}

// mergeDone finds out after a crash whether the two files have been exchanged, and
// completes what was begun.
func (a *applier) mergeDone(e *preview.Entry, m *mergeAction) (bool, error) {
	undo := a.t.Undo()
	old, err1 := undo.Lstat(oldName(e.Ordinal))
	waiting, err2 := undo.Lstat(newName(e.Ordinal))
	aside, err3 := undo.Lstat(asideName(e.Ordinal))
	cur, err4 := a.t.Final().Lstat(m.Final)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return false, err
	}
	switch {
	case m.Orig.is(old):
		return true, nil
	case m.New.is(cur) && m.Orig.is(waiting):
		return true, undo.Rename(newName(e.Ordinal), undo, oldName(e.Ordinal))
	case m.New.is(cur) && m.Orig.is(aside):
		return true, undo.Rename(asideName(e.Ordinal), undo, oldName(e.Ordinal))
	case m.Orig.is(aside) && !cur.Exists():
		return false, undo.Rename(asideName(e.Ordinal), a.t.Final(), m.Final)
	}
	return false, nil
}

// records gives the records of a page the outcome of their container, and where that
// was merged, each its own: added, there already, or there with other content, where
// both are kept.
func (a *applier) records(page *preview.Page, o *Outcomes, n int) error {
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.Form != item.FormRecord || e.State == preview.Withdrawn || o.Of[i] != item.OutcomeNone {
			continue
		}
		number := a.plan.Number(e.Container)
		co, err := a.outcomesOf(number, n, o)
		if err != nil {
			return err
		}
		cpage, err := a.plan.Page(number)
		if err != nil {
			return err
		}
		at := int(e.Container - cpage.First)
		o.Of[i], o.Why[i] = co.Of[at], co.Why[at]
		if co.Of[at] == item.Merged {
			b, err := a.book(&cpage.Entries[at])
			if err != nil {
				return err
			}
			o.Of[i] = b.outcome(e.Identity)
		}
	}
	return nil
}

func (a *applier) outcomesOf(number, n int, o *Outcomes) (*Outcomes, error) {
	if number == n {
		return o, nil
	}
	if a.number0 == number {
		return a.page0, nil
	}
	b, err := a.log.Outcome(number)
	if err != nil {
		return nil, err
	}
	if a.page0, err = decodeOutcomes(b); err != nil {
		return nil, err
	}
	a.number0 = number
	return a.page0, nil
}

// book is how the records of one container stood to the file that was there.
type book map[uint64]contentline.State

func (b book) outcome(identity uint64) item.Outcome {
	switch b[identity] {
	case contentline.Same:
		return item.Same
	case contentline.Differs:
		return item.KeptBoth
	}
	return item.Merged
}

// book compares the staged container with the original that it was merged with. Both
// are kept until staging is removed.
func (a *applier) book(e *preview.Entry) (book, error) {
	if b := a.books[e.Ordinal]; b != nil {
		return *b, nil
	}
	existing, err := preview.ReadBook(a.t.Undo(), oldName(e.Ordinal))
	if err != nil {
		return nil, err
	}
	from, err := preview.ReadBook(a.t.Tree(), e.Dest)
	if err != nil {
		return nil, err
	}
	records := kind.Records(e.Kind, from)
	add := make([][]byte, len(records))
	for i, r := range records {
		add[i] = r.Bytes(from)
	}
	b := book{}
	for i, s := range kind.Compare(e.Kind, existing, add) {
		b[preview.IdentityHash(records[i].Identity)] = s
	}
	clear(a.books) // one is enough: records follow their container
	a.books[e.Ordinal] = &b
	return b, nil
}
