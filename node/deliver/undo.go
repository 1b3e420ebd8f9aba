package deliver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target"
)

// Undone is what Undo has done.
type Undone struct {
	Restored int64  `json:"restored"`
	Refused  int64  `json:"refused"`
	Lines    []Line `json:"lines"` // the refused ones, at most MaxLines
}

// Undo takes back what Apply has done. A target that is one file and was not edited since
// gets its bytes back; elsewhere each record that was written is removed, or gets back what
// it held, unless somebody has edited it since: then it is left alone and listed. Places that
// were made for them are removed if nothing is left in them. Undoing again is harmless, and
// tries again what was refused.
func (d *Delivery) Undo(ctx context.Context) (*Undone, error) {
	u := &Undone{}
	for g := len(d.head.Goals) - 1; g >= 0; g-- {
		for _, p := range slices.Backward(d.head.Goals[g].Parts) {
			err := d.undo(ctx, g, &p, u)
			if err == nil {
				err = d.removePlaces(ctx, g, &p)
			}
			if err != nil {
				return u, fmt.Errorf("%s: %ss: %w", d.goals[g].Name, p.Kind, err)
			}
		}
	}
	return u, nil
}

func (d *Delivery) undo(ctx context.Context, g int, p *part, u *Undone) error {
	var done []*work
	outcomes := map[int]Outcome{}
	if err := d.eachOutcome(g, p, func(n int, o Outcome) error { outcomes[n] = o; return nil }); err != nil {
		return err
	}
	err := d.eachStep(g, p, func(n int, s *Step) error {
		if o := outcomes[n]; (o.State == Done || o.State == Kept) && o.Wrote {
			slim := &Step{Kind: s.Kind, Label: s.Label, Action: s.Action}
			if s.Action == Replace {
				slim.Before = s.Before
			}
			done = append(done, &work{n, slim, o})
		}
		return nil
	})
	if err != nil || len(done) == 0 {
		return err
	}
	if whole, ok := d.goals[g].Target.(target.Whole); ok {
		restored, err := d.restore(g, p, whole)
		if err != nil {
			return err
		}
		if restored {
			for _, w := range done {
				w.out.State = TakenOut
				u.Restored++
			}
			return d.putOutcomes(g, p, done)
		}
	}
	return d.undoEach(ctx, g, p, done, u)
}

// removePlaces removes the places that Apply has made the target make, as far as nothing is left in them. It is done
// again each time, so that a crash before it changes nothing.
func (d *Delivery) removePlaces(ctx context.Context, g int, p *part) error {
	making, ok := d.goals[g].Target.(target.Making)
	if !ok {
		return nil
	}
	var before, ids []string
	if known, err := d.load(logKey('m', g, p.Kind), &before); err != nil || !known {
		return err
	}
	err := d.eachOutcome(g, p, func(_ int, o Outcome) error {
		if o.State == TakenOut && o.ID != "" {
			ids = append(ids, o.ID)
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	return making.RemovePlaces(ctx, p.Kind, before, ids)
}

// restore puts a whole file back if nobody has edited it.
func (d *Delivery) restore(g int, p *part, whole target.Whole) (bool, error) {
	var before fileBefore
	var after [32]byte
	ok1, err1 := d.load(logKey('f', g, p.Kind), &before)
	ok2, err2 := d.load(logKey('a', g, p.Kind), &after)
	if err := errors.Join(err1, err2); err != nil || !ok1 || !ok2 {
		return false, err
	}
	bytes, err := d.bytesBefore(g, p.Kind, before)
	if err != nil {
		return false, err
	}
	err = whole.Restore(bytes, after)
	if errors.Is(err, target.ErrEdited) {
		return false, nil
	}
	return err == nil, err
}

func (d *Delivery) undoEach(ctx context.Context, g int, p *part, done []*work, u *Undone) error {
	now := make(map[string]*target.Existing, len(done))
	for _, w := range done {
		now[w.out.ID] = nil
	}
	err := d.goals[g].Target.Read(ctx, p.Kind, func(e target.Existing) error {
		if _, ours := now[e.ID]; ours {
			now[e.ID] = &e
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	var todo []*work
	var writes []target.Write
	for _, w := range slices.Backward(done) {
		e := now[w.out.ID]
		switch {
		case e == nil && w.s.Action == Create: // somebody was faster
			w.out.State = TakenOut
			u.Restored++
		case e != nil && w.s.Action == Replace && slices.Equal(e.Data, w.s.Before): // so was a run that crashed, or the person
			w.out.State = TakenOut
			u.Restored++
		case e == nil || e.Version != w.out.Version && sha256.Sum256(e.Data) != w.out.Sum:
			w.refuse(u, "it was edited since")
		default:
			todo, writes = append(todo, w), append(writes, w.back(e))
		}
	}
	for len(todo) > 0 {
		n := min(batch, len(todo))
		if _, ok := d.goals[g].Target.(target.Whole); ok {
			n = len(todo)
		}
		part := todo[:n]
		err := d.goals[g].Target.Write(ctx, p.Kind, writes[:n], func(i int, _ target.Existing, err error) error {
			if err != nil {
				part[i].refuse(u, err.Error())
				return nil
			}
			part[i].out.State = TakenOut
			u.Restored++
			return nil
		})
		if err := errors.Join(err, d.putOutcomes(g, p, part)); err != nil {
			return err
		}
		todo, writes = todo[n:], writes[n:]
	}
	return d.putOutcomes(g, p, done)
}

func (w *work) refuse(u *Undone, why string) {
	w.out.State = Kept
	u.Refused++
	if len(u.Lines) < MaxLines {
		u.Lines = append(u.Lines, Line{Verdict: "kept", Record: w.s.Label, Why: why})
	}
}

// back is the write that takes a step back.
func (w *work) back(e *target.Existing) target.Write {
	t := target.Write{ID: e.ID, Version: e.Version, Record: item.Record{Kind: w.s.Kind, Book: e.Book, Path: e.Path, Label: w.s.Label}}
	if w.s.Action == Replace {
		t.Record.Data = w.s.Before
	}
	return t
}

// Each tells of every step with its outcome, in the order of goals, kinds and records.
func (d *Delivery) Each(f func(goal string, s *Step, o *Outcome) error) error {
	return d.eachPart(func(g int, p *part) error {
		outcomes := map[int]Outcome{}
		if err := d.eachOutcome(g, p, func(n int, o Outcome) error { outcomes[n] = o; return nil }); err != nil {
			return err
		}
		return d.eachStep(g, p, func(n int, s *Step) error {
			o := outcomes[n]
			if into := outcomes[s.Into-1]; s.Into > 0 && into.State == Failed {
				o = Outcome{State: Failed, Why: "it was written in one with another record, and " + into.Why}
			}
			return f(d.head.Goals[g].Name, s, &o)
		})
	})
}
