package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// Errors of this package, to be told apart with errors.Is.
var (
	// ErrMismatch is returned for a final manifest that is not the successor of the one planned.
	ErrMismatch = errors.New("final manifest contradicts the plan")
	// ErrUnsettled is returned by Apply if Settle has not succeeded on the whole plan.
	ErrUnsettled = errors.New("staged content has not been settled")
)

// SettleOptions adjusts Settle.
type SettleOptions struct {
	// GiveUp lets what is missing fail instead of being reported: it is removed from
	// staging and its outcome will be Failed.
	GiveUp bool
}

// Settlement is what Settle found.
type Settlement struct {
	Missing      []item.Ordinal // the first maxMissing items whose content is incomplete
	MissingItems int64
	MissingBytes int64
	Withdrawn    int64 // items that the catalog announced and the final manifest has not
}

// maxMissing bounds the ordinals listed.
const maxMissing = 4096

// OK reports whether nothing is missing.
func (s *Settlement) OK() bool { return s.MissingItems == 0 }

// Settle brings staging and plan to what the final manifest says: sizes, times,
// permissions and attributes that differ from the catalog, empty files and
// directories, items lost at the source, items withdrawn. plan.Extend must have seen
// the final pages, and no Write may be running. If the result is not OK, fetch what is
// missing, Write it, and call Settle again; calling it again is always harmless.
func Settle(ctx context.Context, plan *preview.Plan, s *folder.Stager, final preview.Pages, opts SettleOptions) (*Settlement, error) {
	st := &settler{plan: plan, s: s, opts: opts}
	for items, err := range final {
		if err == nil {
			err = ctx.Err()
		}
		for i := 0; err == nil && i < len(items); i++ {
			err = st.item(&items[i])
		}
		if err != nil {
			return nil, fmt.Errorf("settling: %w", err)
		}
	}
	if err := errors.Join(st.flush(), st.finish(ctx)); err != nil {
		return nil, fmt.Errorf("settling: %w", err)
	}
	return &st.Settlement, nil
}

type settler struct {
	Settlement
	plan   *preview.Plan
	s      *folder.Stager
	opts   SettleOptions
	seen   []uint64      // bitmap by ordinal
	number int           // of the plan's page in hand; 0 is none
	page   *preview.Page // a copy that may be changed
	dirty  bool
}

func (st *settler) flush() error {
	if !st.dirty {
		return nil
	}
	st.dirty = false
	return st.plan.Update(st.number, st.page)
}

// turn takes the page of an ordinal in hand.
func (st *settler) turn(o item.Ordinal) error {
	if st.page != nil && o >= st.page.First && o-st.page.First < item.Ordinal(len(st.page.Entries)) {
		return nil
	}
	n := st.plan.Number(o)
	if n == 0 {
		return fmt.Errorf("item %d: %w", o, folder.ErrUnplanned)
	}
	return st.take(n)
}

func (st *settler) take(n int) error {
	if err := st.flush(); err != nil {
		return err
	}
	page, err := st.plan.Page(n)
	if err != nil {
		return err
	}
	st.number, st.page = n, &preview.Page{First: page.First, Entries: slices.Clone(page.Entries)}
	return nil
}

func (st *settler) item(it *item.Item) error {
	if err := st.turn(it.Ordinal); err != nil {
		return err
	}
	for word := int(it.Ordinal / 64); word >= len(st.seen); {
		st.seen = append(st.seen, make([]uint64, max(64, word+1-len(st.seen)))...)
	}
	st.seen[it.Ordinal/64] |= 1 << (it.Ordinal % 64)
	e := &st.page.Entries[it.Ordinal-st.page.First]
	if it.Lost == item.ReasonRemoved { // Extend has withdrawn it
		if e.State != preview.Withdrawn {
			return fmt.Errorf("item %d was removed: %w", it.Ordinal, folder.ErrUnplanned)
		}
		st.Withdrawn++
		return nil
	}
	if e.Form != it.Form || it.Form != item.FormRecord && e.SourcePath() != it.Path {
		return fmt.Errorf("item %d has changed its nature: %w", it.Ordinal, ErrMismatch)
	}
	before := *e
	if err := st.settle(it, e); err != nil {
		return err
	}
	st.dirty = st.dirty || *e != before
	return nil
}

func (st *settler) settle(it *item.Item, e *preview.Entry) error {
	switch {
	case it.Lost != item.ReasonNone:
		p := e.Place()
		if e.Staged() {
			if err := st.s.Discard(it.Ordinal, &p); err != nil {
				return err
			}
		}
		if e.Verdict != preview.Skipped {
			e.Verdict, e.Reason = preview.Lost, it.Lost
		}
		e.State = preview.Settled
		return nil
	case e.Form == item.FormDir:
		e.ModTime, e.Perm, e.State = it.ModTime, it.Perm&folder.MetaPerm, preview.Settled
		if e.Verdict == preview.New || e.Verdict == preview.Conflict {
			return st.s.StageDir(e.Dest)
		}
		return nil
	case !e.Staged():
		e.State = preview.Settled
		return nil
	}
	return st.file(it, e)
}

func (st *settler) file(it *item.Item, e *preview.Entry) error {
	p := e.Place()
	r, err := st.s.Settle(it, &p)
	if err != nil {
		return err
	}
	if !r.Complete {
		return st.missing(it, e, r.Missing, &p)
	}
	e.Size, e.ModTime, e.Perm, e.Revision, e.State = it.Size, it.ModTime, it.Perm&folder.MetaPerm, it.Revision, preview.Settled
	switch {
	case r.XAttrs > 0:
		e.Reason = item.ReasonXAttr
	case r.Time:
		e.Reason = item.ReasonTime
	default:
		e.Reason = item.ReasonNone
	}
	return nil
}

func (st *settler) missing(it *item.Item, e *preview.Entry, bytes int64, p *folder.Place) error {
	if st.opts.GiveUp {
		e.State, e.Reason = preview.Missing, item.ReasonIntegrity
		return st.s.Discard(it.Ordinal, p)
	}
	e.State = preview.Planned
	st.MissingItems++
	st.MissingBytes += bytes
	if len(st.Missing) < maxMissing {
		st.Missing = append(st.Missing, it.Ordinal)
	}
	return nil
}

func (st *settler) isSeen(o item.Ordinal) bool {
	return o/64 < item.Ordinal(len(st.seen)) && st.seen[o/64]&(1<<(o%64)) != 0
}

// finish withdraws what the final manifest has not, and then, when nothing will be
// added to any directory, gives the staged directories their times and permissions.
func (st *settler) finish(ctx context.Context) error {
	for n := 1; n <= st.plan.Pages(); n++ {
		if err := errors.Join(ctx.Err(), st.take(n)); err != nil {
			return err
		}
		for i := range st.page.Entries {
			if err := st.withdraw(&st.page.Entries[i]); err != nil {
				return err
			}
		}
	}
	if err := st.flush(); err != nil || !st.OK() {
		return err
	}
	for n := 1; n <= st.plan.Pages(); n++ {
		page, err := st.plan.Page(n)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for i := range page.Entries {
			if e := &page.Entries[i]; e.Form == item.FormDir && e.State == preview.Settled {
				if err := st.s.DressDir(e.Dest, e.ModTime, e.Perm); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (st *settler) withdraw(e *preview.Entry) error {
	if st.isSeen(e.Ordinal) {
		return nil
	}
	st.Withdrawn++
	if e.State == preview.Withdrawn {
		return nil
	}
	p := e.Place()
	if e.Staged() {
		if err := st.s.Discard(e.Ordinal, &p); err != nil {
			return err
		}
	}
	e.State, st.dirty = preview.Withdrawn, true
	return nil
}
