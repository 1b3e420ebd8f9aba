package apply

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// decision is what will be done about one page, and then what was.
type decision struct {
	page  *preview.Page
	rec   undoRecord
	items []choice        // by index
	taken map[string]bool // names that this page gives
	err   error
}

// choice is what will be done about one entry.
type choice struct {
	outcome item.Outcome
	why     item.Reason
	final   string
	unit    *unit // it comes along with
	move    int   // 1 + index into rec.Moves
	merge   int   // 1 + index into rec.Merges
	done    bool  // the move or merge has been made
}

// decide looks at what is in staging and in the target now. prior is what an earlier
// attempt at the page announced: what of it has been done stays as it is.
func (a *applier) decide(page *preview.Page, prior *undoRecord) *decision {
	d := &decision{page: page, items: make([]choice, len(page.Entries)), taken: map[string]bool{}}
	if prior != nil {
		if d.err = a.keep(d, prior); d.err != nil {
			return d
		}
	}
	for i := range page.Entries {
		c := &d.items[i]
		if c.done {
			continue
		}
		if err := a.choose(d, i, &page.Entries[i], c); err != nil {
			d.err = err
			return d
		}
	}
	return d
}

// keep takes over those actions of an earlier record that have been carried out.
func (a *applier) keep(d *decision, prior *undoRecord) error {
	d.rec.Touched = prior.Touched
	for _, u := range prior.Units {
		if have := a.units[u.Dir]; have != nil && have.done {
			d.rec.Units = append(d.rec.Units, u)
		}
	}
	for _, m := range prior.Moves {
		if m.Index >= len(d.items) {
			return errLog
		}
		e := &d.page.Entries[m.Index]
		done, err := a.moved(e.Dest, m.Final, m.ID)
		if err != nil {
			return err
		}
		if done {
			d.rec.Moves = append(d.rec.Moves, m)
			d.items[m.Index] = choice{outcome: movedAs(e, m.Final), why: e.Reason, final: m.Final, move: len(d.rec.Moves), done: true}
		}
	}
	for _, m := range prior.Merges {
		if m.Index >= len(d.items) {
			return errLog
		}
		done, err := a.mergeDone(&d.page.Entries[m.Index], &m)
		if err != nil {
			return err
		}
		if done {
			d.rec.Merges = append(d.rec.Merges, m)
			d.items[m.Index] = choice{outcome: item.Merged, final: m.Final, merge: len(d.rec.Merges), done: true}
		}
	}
	return nil
}

// moved reports whether something has left staging and is in the target.
func (a *applier) moved(staged, final string, id ident) (bool, error) {
	s, err := a.t.Tree().Lstat(staged)
	if err != nil || s.Exists() {
		return false, err
	}
	in, err := a.t.Final().Lstat(final)
	return id.is(in), err
}

// movedAs: beside something else, or as new.
func movedAs(e *preview.Entry, final string) item.Outcome {
	_, base := folder.Split(final)
	if base != e.NaturalName() || e.Form == item.FormDir && e.Verdict == preview.Conflict {
		return item.KeptBoth
	}
	return item.Moved
}

func (a *applier) choose(d *decision, i int, e *preview.Entry, c *choice) error {
	c.why = e.Reason
	switch {
	case e.State == preview.Withdrawn:
		c.outcome = item.OutcomeNone
	case e.Verdict == preview.Skipped:
		c.outcome = item.Skipped
	case e.Verdict == preview.Lost:
		c.outcome = item.LostAtSource
	case e.State == preview.Missing:
		c.outcome = item.Failed
	case e.Form == item.FormRecord:
		// decided by its container when the page is noted
	case e.Form == item.FormDir:
		return a.chooseDir(d, e, c)
	default:
		return a.chooseFile(d, i, e, c)
	}
	return nil
}

func (a *applier) chooseDir(d *decision, e *preview.Entry, c *choice) error {
	p, err := a.dir(e.Dest, d)
	if err != nil {
		return err
	}
	c.final, c.unit = p.final, p.unit
	switch {
	case p.gone:
		c.outcome, c.why = item.Failed, item.ReasonWrite
	case p.unit == nil:
		c.outcome, c.why = item.Same, item.ReasonNone
	default:
		c.outcome = movedAs(e, p.final)
	}
	return nil
}

// dir finds out where a directory of the plan is or will be. If the target has not got
// it, it is a unit, which d announces; with d nil only what is known is told.
func (a *applier) dir(dir string, d *decision) (place, error) {
	if dir == "" {
		return place{}, nil
	}
	if u := a.units[dir]; u != nil {
		return place{final: u.final, unit: u}, nil
	}
	if p, ok := a.dirs[dir]; ok {
		return p, nil
	}
	parentDir, base := folder.Split(dir)
	parent, err := a.dir(parentDir, d)
	if err != nil {
		return place{}, err
	}
	p := place{final: folder.Join(parent.final, base), unit: parent.unit, gone: parent.gone}
	if p.unit == nil && !p.gone {
		if p, err = a.enter(dir, parent.final, base, d); err != nil {
			return p, err
		}
	}
	const maxDirs = 1 << 14
	if len(a.dirs) >= maxDirs {
		clear(a.dirs)
	}
	a.dirs[dir] = p
	return p, nil
}

// enter decides about a directory whose parent is one of the target's own.
func (a *applier) enter(dir, parent, base string, d *decision) (place, error) {
	for k := 1; ; k++ {
		final := folder.Join(parent, folder.Beside(base, k, true))
		in, err := a.t.Final().Lstat(final)
		if err != nil {
			return place{}, err
		}
		usable := false
		if in.Type == folder.Directory && k == 1 {
			if usable, err = a.t.Final().Enter(final); err != nil {
				return place{}, err
			}
		}
		switch {
		case usable:
			return place{final: final}, nil
		case in.Exists() || d != nil && d.taken[final]:
			continue
		}
		staged, err := a.t.Tree().Lstat(dir)
		if err != nil || staged.Type != folder.Directory || d == nil {
			return place{final: final, gone: true}, err
		}
		u := &unit{final: final}
		a.units[dir] = u
		d.taken[final] = true
		d.rec.Units = append(d.rec.Units, unitAction{dir, final, identOf(staged)})
		return place{final: final, unit: u}, a.touch(parent, d)
	}
}

// touch notes the time of a directory of the target before it gets its first new entry.
func (a *applier) touch(dir string, d *decision) error {
	if a.touched[dir] {
		return nil
	}
	in, err := a.t.Final().Lstat(dir)
	if err != nil {
		return err
	}
	a.touched[dir] = true
	d.rec.Touched = append(d.rec.Touched, touched{dir, in.ModTime})
	return nil
}

func (a *applier) chooseFile(d *decision, i int, e *preview.Entry, c *choice) error {
	parent, base := folder.Split(e.Dest)
	p, err := a.dir(parent, d)
	if err != nil {
		return err
	}
	if p.unit != nil {
		c.final, c.unit = folder.Join(p.final, base), p.unit
		c.outcome = movedAs(e, c.final)
		return nil
	}
	staged, err := a.t.Tree().Lstat(e.Dest)
	if err != nil {
		return err
	}
	if p.gone || staged.Type != folder.Regular {
		c.outcome, c.why = item.Failed, item.ReasonVanished
		return nil
	}
	if found, err := a.findSame(p.final, e, c); found || err != nil {
		return err
	}
	if kind.HasRecords(e.Kind) {
		if merged, err := a.chooseMerge(d, i, p.final, e, c); merged || err != nil {
			return err
		}
	}
	if c.final, err = a.freeName(d, p.final, base, e); err != nil {
		return err
	}
	c.outcome = movedAs(e, c.final)
	d.taken[c.final] = true
	d.rec.Moves = append(d.rec.Moves, moveAction{i, c.final, identOf(staged)})
	c.move = len(d.rec.Moves)
	return a.touch(p.final, d)
}

// findSame compares the staged file with those of its size that the plan found, and
// with whatever has its name by now.
func (a *applier) findSame(parent string, e *preview.Entry, c *choice) (bool, error) {
	_, base := folder.Split(e.Dest)
	names := []string{base}
	for k := 1; k <= 16; k++ {
		if e.Compare&(1<<(k-1)) != 0 {
			names = append(names, folder.Beside(e.NaturalName(), k, false))
		}
	}
	for _, name := range names {
		final := folder.Join(parent, name)
		in, err := a.t.Final().Lstat(final)
		if err != nil {
			return false, err
		}
		if in.Type != folder.Regular || in.Size != e.Size {
			continue
		}
		same, err := sameBytes(a.t.Tree(), e.Dest, a.t.Final(), final)
		if err != nil {
			return false, err
		}
		if same {
			c.outcome, c.why, c.final = item.Same, item.ReasonNone, final
			return true, nil
		}
	}
	return false, nil
}

// freeName returns the plan's name if it is free, else the first that is: in the
// target, on this page, and in staging, where another item may be waiting to get it.
func (a *applier) freeName(d *decision, parent, base string, e *preview.Entry) (string, error) {
	final := folder.Join(parent, base)
	for k := 2; ; k++ {
		in, err := a.t.Final().Lstat(final)
		if err != nil {
			return "", err
		}
		if !in.Exists() && !d.taken[final] {
			return final, nil
		}
		for ; ; k++ {
			name := folder.Beside(e.NaturalName(), k, false)
			dir, _ := folder.Split(e.Dest)
			waiting, err := a.t.Tree().Lstat(folder.Join(dir, name))
			if err != nil {
				return "", err
			}
			if final = folder.Join(parent, name); !waiting.Exists() {
				break
			}
		}
	}
}

// execute carries out what is announced and not done. again asks for a new decision.
func (a *applier) execute(d *decision) (again bool, err error) {
	for _, u := range d.rec.Units {
		w := a.units[u.Dir]
		if w.done || w.failed {
			continue
		}
		retry, err := a.executeUnit(&u, w)
		if err != nil {
			return false, err
		}
		if retry {
			delete(a.units, u.Dir)
			again = true
		}
	}
	if again { // what lies below may have to be called otherwise
		maps.DeleteFunc(a.units, func(_ string, w *unit) bool { return !w.done && !w.failed })
		return true, nil
	}
	for i := range d.items {
		c := &d.items[i]
		if c.done || c.move == 0 && c.merge == 0 {
			continue
		}
		var retry bool
		if c.move != 0 {
			retry, err = a.fate(c, a.t.Tree().Rename(d.page.Entries[i].Dest, a.t.Final(), c.final))
		} else {
			retry, err = a.executeMerge(&d.page.Entries[i], &d.rec.Merges[c.merge-1], c)
		}
		if err != nil {
			return false, err
		}
		again = again || retry
	}
	return again, nil
}

func (a *applier) executeUnit(u *unitAction, w *unit) (retry bool, err error) {
	a.t.Tree().Forget(u.Dir)
	err = a.t.Tree().Rename(u.Dir, a.t.Final(), u.Final)
	switch {
	case errors.Is(err, folder.ErrExist):
		return true, nil
	case errors.Is(err, fs.ErrPermission):
		w.failed = true
		return false, nil
	case err != nil:
		return false, err
	}
	w.done = true
	return false, a.t.Final().Chtimes(u.Final, u.ID.ModTime) // some file systems count the move as a change
}

// fate sorts the result of one rename.
func (a *applier) fate(c *choice, err error) (retry bool, _ error) {
	switch {
	case errors.Is(err, folder.ErrExist):
		return true, nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, folder.ErrNotDirectory), errors.Is(err, fs.ErrNotExist):
		c.outcome, c.why = item.Failed, item.ReasonWrite
		return false, nil
	case err != nil:
		return false, err
	}
	c.done = true
	return false, nil
}

// outcomes is what has become of a page, but for its records.
func (a *applier) outcomes(d *decision) *Outcomes {
	o := &Outcomes{Of: make([]item.Outcome, len(d.items)), Why: make([]item.Reason, len(d.items)), Finals: map[int]string{}}
	for i := range d.items {
		c, e := &d.items[i], &d.page.Entries[i]
		if c.unit != nil && c.unit.failed {
			c.outcome, c.why = item.Failed, item.ReasonWrite
		}
		o.Of[i], o.Why[i] = c.outcome, c.why
		if c.final != "" && c.final != e.Dest {
			o.Finals[i] = c.final
		}
	}
	return o
}

// sameBytes compares two files of one size.
func sameBytes(at *folder.Tree, a string, bt *folder.Tree, b string) (bool, error) {
	fa, err := at.OpenRead(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := bt.OpenRead(b)
	if err != nil { // not readable by us: not known to be the same
		return false, nil
	}
	defer fb.Close()
	const size = 128 << 10
	buf := make([]byte, 2*size)
	for {
		n, erra := io.ReadFull(fa, buf[:size])
		m, errb := io.ReadFull(fb, buf[size:])
		if n != m || !bytes.Equal(buf[:n], buf[size:size+m]) {
			return false, nil
		}
		if erra == io.EOF || erra == io.ErrUnexpectedEOF {
			return errb == io.EOF || errb == io.ErrUnexpectedEOF, nil
		}
		if erra != nil || errb != nil {
			return false, errors.Join(erra, errb)
		}
	}
}
