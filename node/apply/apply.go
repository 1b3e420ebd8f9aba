package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// Options adjusts Apply. The zero value works.
type Options struct {
	// Progress is called after each group of pages with what is done so far.
	Progress func(items, bytes int64)
}

// groupPages is how many pages share one sync.
const groupPages = 16

// Apply moves everything staged into place and returns what has become of it. Settle
// must have been OK (or given up on the rest), and nothing may write to staging. It
// may be called again after it has failed or the process has died, at any point, with
// the same plan and log, and continues; when it has finished before, it only counts.
//
// folder.ErrNoSpace and I/O errors end it: call it again when the cause is removed.
// Items that can't be put where they belong, because a directory of the person's may
// not be written to, fail alone with ReasonWrite and stay in staging.
func Apply(ctx context.Context, plan *preview.Plan, log Log, opts Options) (*Summary, error) {
	a := &applier{plan: plan, log: log, t: plan.Target(), units: map[string]*unit{}, dirs: map[string]place{},
		touched: map[string]bool{}, books: map[item.Ordinal]*book{}, opts: opts}
	sum, err := a.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("applying: %w", err)
	}
	return sum, nil
}

// applier is one run of Apply, used by one goroutine.
type applier struct {
	plan *preview.Plan
	log  Log
	t    *folder.Target
	opts Options

	units   map[string]*unit // by directory of the plan: those that the target has not, renamed whole
	dirs    map[string]place // what has been found out about directories; a cache
	touched map[string]bool  // directories of the target whose time is in the undo log
	books   map[item.Ordinal]*book
	page0   *Outcomes // the outcomes decoded last, and
	number0 int       // of which page
	sum     Summary
}

// unit is a directory that goes into place with everything below it.
type unit struct {
	final  string
	done   bool
	failed bool
}

// place is where a directory of the plan is in the target.
type place struct {
	final string
	unit  *unit // nil: the target has had the directory itself
	gone  bool  // neither staged nor there: nothing below it was staged
}

func (a *applier) run(ctx context.Context) (*Summary, error) {
	done, err := a.log.Outcome(0)
	if err != nil {
		return nil, err
	}
	if done == nil {
		if err := a.start(ctx); err != nil {
			return nil, err
		}
		for n := 1; n <= a.plan.Pages(); n += groupPages {
			if err := a.group(ctx, n, min(n+groupPages-1, a.plan.Pages())); err != nil {
				return nil, err
			}
		}
		if err := a.finish(); err != nil {
			return nil, err
		}
	}
	return Summarize(a.plan, a.log)
}

// start makes sure that everything is settled and durable, and learns what an earlier
// run has announced.
func (a *applier) start(ctx context.Context) error {
	for n := 1; n <= a.plan.Pages(); n++ {
		page, err := a.plan.Page(n)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for i := range page.Entries {
			if page.Entries[i].State == preview.Planned {
				return fmt.Errorf("item %d: %w", page.Entries[i].Ordinal, ErrUnsettled)
			}
		}
	}
	a.t.Tree().Forget("")
	if err := a.t.Sync(); err != nil {
		return err
	}
	kill.Point(kill.ReceiverSynced)
	return a.recall()
}

// group applies a run of pages and notes their outcomes after one sync.
func (a *applier) group(ctx context.Context, from, to int) error {
	results := map[int]*Outcomes{}
	for n := from; n <= to; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := a.log.Outcome(n)
		if err == nil && b == nil {
			results[n], err = a.page(n)
		}
		if err != nil {
			return err
		}
	}
	if len(results) == 0 {
		return nil
	}
	if err := a.t.SyncDirs(a.changed()); err != nil {
		return err
	}
	for n := from; n <= to; n++ {
		if o := results[n]; o != nil {
			if err := a.note(n, o); err != nil {
				return err
			}
		}
	}
	if a.opts.Progress != nil {
		a.opts.Progress(a.sum.items, a.sum.bytes)
	}
	return nil
}

func (a *applier) note(n int, o *Outcomes) error {
	page, err := a.plan.Page(n)
	if err != nil {
		return err
	}
	if err := a.records(page, o, n); err != nil {
		return err
	}
	if err := a.log.PutOutcome(n, o.encode()); err != nil {
		return err
	}
	kill.Point(kill.ReceiverApplied)
	a.sum.add(page, o)
	return nil
}

// changed yields the directories of the target that got new entries in this run.
func (a *applier) changed() func(func(string) bool) {
	return func(yield func(string) bool) {
		for d := range a.touched {
			if !yield(d) {
				return
			}
		}
	}
}

// page applies one page. When a name is taken between deciding and renaming, the page
// is decided again with what has been done.
func (a *applier) page(n int) (*Outcomes, error) {
	page, err := a.plan.Page(n)
	if err != nil {
		return nil, err
	}
	prior, err := a.undoRecord(n)
	if err != nil {
		return nil, err
	}
	const tries = 16
	for range tries {
		d := a.decide(page, prior)
		if d.err != nil {
			return nil, d.err
		}
		if !d.rec.empty() && (prior == nil || !prior.equal(&d.rec)) {
			if err := a.log.PutUndo(n, d.rec.encode()); err != nil {
				return nil, err
			}
			kill.Point(kill.ReceiverUndoLog)
		}
		again, err := a.execute(d)
		if err != nil {
			return nil, err
		}
		if !again {
			kill.Point(kill.ReceiverRenamed)
			return a.outcomes(d), nil
		}
		prior = &d.rec
		clear(a.dirs)
	}
	return nil, fmt.Errorf("page %d: names in the target keep changing: %w", n, folder.ErrExist)
}

func (a *applier) undoRecord(n int) (*undoRecord, error) {
	b, err := a.log.Undo(n)
	if err != nil || b == nil {
		return nil, err
	}
	return decodeUndo(b)
}

// recall reads the undo log of an earlier run: units that are in place, directories whose time is known.
func (a *applier) recall() error {
	for n := 1; n <= a.plan.Pages(); n++ {
		r, err := a.undoRecord(n)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		for _, t := range r.Touched {
			a.touched[t.Dir] = true
		}
		for _, u := range r.Units {
			in, err := a.t.Final().Lstat(u.Final)
			if err != nil {
				return err
			}
			staged, err := a.t.Tree().Lstat(u.Dir)
			if err != nil {
				return err
			}
			if !staged.Exists() && u.ID.is(in) {
				a.units[u.Dir] = &unit{final: u.Final, done: true}
			}
		}
	}
	return nil
}

// finish gives directories that may not be written to, which had to be until now,
// their permissions, deepest first, syncs, and notes the time.
func (a *applier) finish() error {
	if a.t.Caps().Perms {
		if err := a.restrict(); err != nil {
			return err
		}
	}
	if err := a.t.SyncDirs(a.changed()); err != nil {
		return err
	}
	at, err := a.t.Now()
	if err != nil {
		return err
	}
	w := writer{recordVersion}
	w.int(at)
	return a.log.PutOutcome(0, w)
}

func (a *applier) restrict() error {
	return byDepth(a.plan, true, restricted, func(e *preview.Entry) error {
		p, err := a.dir(e.Dest, nil)
		if err != nil || p.unit == nil || !p.unit.done {
			return err
		}
		if in, err := a.t.Final().Lstat(p.final); err != nil || in.Type != folder.Directory {
			return err // it was not wanted, and nothing below it either
		}
		err = a.t.Final().Chmod(p.final, e.Perm)
		if errors.Is(err, fs.ErrPermission) { // an earlier run has closed a directory above
			err = nil
		}
		return err
	})
}

// restricted: a directory that its owner may not list, change or enter.
func restricted(e *preview.Entry) bool {
	return e.Form == item.FormDir && e.State == preview.Settled && e.Perm&0o700 != 0o700
}

// byDepth calls f for the entries that match, all of one depth before the next:
// one pass over the plan for each depth that occurs, and no memory.
func byDepth(plan *preview.Plan, deepestFirst bool, match func(*preview.Entry) bool, f func(*preview.Entry) error) error {
	var depths [item.MaxDepth + 2]bool
	each := func(f func(e *preview.Entry, depth int) error) error {
		for n := 1; n <= plan.Pages(); n++ {
			page, err := plan.Page(n)
			if err != nil {
				return err
			}
			for i := range page.Entries {
				if e := &page.Entries[i]; match(e) {
					if err := f(e, min(strings.Count(e.Dest, "/"), item.MaxDepth)); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	if err := each(func(_ *preview.Entry, d int) error { depths[d] = true; return nil }); err != nil {
		return err
	}
	for i := range depths {
		d := i
		if deepestFirst {
			d = len(depths) - 1 - i
		}
		if !depths[d] {
			continue
		}
		if err := each(func(e *preview.Entry, depth int) error {
			if depth != d {
				return nil
			}
			return f(e)
		}); err != nil {
			return err
		}
	}
	return nil
}
