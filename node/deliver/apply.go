package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// Choice is a person's answer to a conflict.
type Choice uint8

// The choices.
const (
	KeepBoth Choice = iota // the target's stays, and the incoming one is written beside it
	KeepOld                // the target's stays; the incoming one is only in the collection
	TakeNew                // the incoming one is written in the place of the target's
)

// Decided says in words how a conflict was resolved, "" if the step is none.
func (s *Step) Decided() string {
	switch {
	case s.Verdict != rule.Conflict || s.Refused:
		return ""
	case s.Action == Replace:
		return "the new one took the place of the old one"
	case s.Action == Leave:
		return "the old one was kept"
	}
	return "both are kept"
}

// Resolve asks about every conflict and notes the answer. It may be called again before Apply.
func (d *Delivery) Resolve(ask func(s *Step) (Choice, error)) error {
	return d.eachPart(func(g int, p *part) error {
		if p.Part.Conflict == 0 {
			return nil
		}
		var changed []Entry
		err := d.eachStep(g, p, func(n int, s *Step) error {
			if s.Verdict != rule.Conflict || s.Refused {
				return nil
			}
			c, err := ask(s)
			if err != nil {
				return err
			}
			switch {
			case c == TakeNew && s.ID != "":
				s.Action, s.Write = Replace, s.Other
			case c == KeepOld:
				s.Action = Leave
			default:
				return nil
			}
			changed = append(changed, encode(stepKey('s', g, p.Kind, n), s))
			return nil
		})
		if err != nil {
			return err
		}
		return d.log.Put(changed)
	})
}

func (d *Delivery) eachPart(f func(g int, p *part) error) error {
	for g := range d.head.Goals {
		for i := range d.head.Goals[g].Parts {
			if err := f(g, &d.head.Goals[g].Parts[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Delivery) eachStep(g int, p *part, f func(n int, s *Step) error) error {
	prefix := logKey('s', g, p.Kind)
	return d.log.Each(prefix, func(key string, b []byte) error {
		n := stepNumber(key)
		if n >= p.Steps {
			return nil // of an earlier Prepare, which had more
		}
		var s Step
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("%w: %w", errLog, err)
		}
		return f(n, &s)
	})
}

// Result is what Apply has done, by goal and kind.
type Result struct {
	Written int64 `json:"written"` // created or replaced
	Same    int64 `json:"same"`    // there already, whole
	Failed  int64 `json:"failed"`  // refused by the target
	Left    int64 `json:"left"`    // in conflict, and the person has kept the old one
}

// batch is how many records a target gets at once. One that is a file gets all that there are.
const batch = 64

// maxRounds is how often records are decided anew that somebody edits at the same time.
const maxRounds = 4

// Apply carries out what is not carried out yet. progress, if it is not nil, is told how
// many records are done. An error means that the rest can be tried again with Apply; what a
// target refuses is no error, but an outcome.
func (d *Delivery) Apply(ctx context.Context, progress func(done, total int64)) (*Result, error) {
	a := &applier{d: d, progress: progress}
	for _, p := range d.Summary() {
		a.total += p.Total
	}
	err := d.eachPart(func(g int, p *part) error {
		if err := a.part(ctx, g, p); err != nil {
			return fmt.Errorf("%s: %ss: %w", d.goals[g].Name, p.Kind, err)
		}
		return nil
	})
	return &a.Result, err
}

type applier struct {
	Result
	d           *Delivery
	progress    func(done, total int64)
	done, total int64
}

// work is a step under way.
type work struct {
	n   int
	s   *Step
	out Outcome
}

func (a *applier) part(ctx context.Context, g int, p *part) error {
	d := a.d
	pending, err := a.pending(g, p)
	if err != nil || len(pending) == 0 {
		return err
	}
	var begun bool
	if begun, err = d.load(logKey('r', g, p.Kind), new(bool)); err != nil {
		return err
	}
	whole, _ := d.goals[g].Target.(target.Whole)
	if !begun {
		if err := a.begin(g, p, whole); err != nil {
			return err
		}
		kill.Point(kill.ReceiverDeliverBegun)
	} else if err := a.again(ctx, g, p, pending); err != nil {
		return err
	}
	for round := 0; ; round++ {
		edited, err := a.write(ctx, g, p, pending)
		if err != nil {
			return err
		}
		if len(edited) == 0 {
			break
		}
		if round == maxRounds {
			for _, w := range edited {
				w.out = Outcome{State: Failed, Why: "it is edited all the time by another program"}
			}
			return a.note(g, p, edited)
		}
		if err := a.again(ctx, g, p, edited); err != nil {
			return err
		}
		pending = edited
	}
	if whole != nil && !begun {
		return a.end(g, p, whole)
	}
	return nil
}

// pending reads the steps without an outcome, and counts the others.
func (a *applier) pending(g int, p *part) (all []*work, err error) {
	outcomes := map[int]Outcome{}
	if err := a.d.eachOutcome(g, p, func(n int, o Outcome) error { outcomes[n] = o; return nil }); err != nil {
		return nil, err
	}
	err = a.d.eachStep(g, p, func(n int, s *Step) error {
		if o, ok := outcomes[n]; ok {
			a.count(s, &o)
			return nil
		}
		if s.Action == Leave {
			a.count(s, &Outcome{})
			return nil
		}
		all = append(all, &work{n: n, s: s})
		return nil
	})
	return all, err
}

func (d *Delivery) eachOutcome(g int, p *part, f func(n int, o Outcome) error) error {
	return d.log.Each(logKey('o', g, p.Kind), func(key string, b []byte) error {
		var o Outcome
		if err := json.Unmarshal(b, &o); err != nil {
			return fmt.Errorf("%w: %w", errLog, err)
		}
		return f(stepNumber(key), o)
	})
}

func (a *applier) count(s *Step, o *Outcome) {
	switch {
	case s.Refused, o.State == Failed:
		a.Failed++
	case o.Wrote:
		a.Written++
	case s.Verdict == rule.Conflict && s.Action == Leave:
		a.Left++
	default: // the target has it, or another step has brought it
		a.Same++
	}
	a.done++
	if a.progress != nil {
		a.progress(a.done, a.total)
	}
}

// begin notes what a target of one file was before.
func (a *applier) begin(g int, p *part, whole target.Whole) error {
	entries := []Entry{encode(logKey('r', g, p.Kind), true)}
	if whole != nil {
		before, err := whole.Snapshot()
		if err != nil {
			return err
		}
		for n := 0; n*pieceBytes < len(before); n++ {
			piece := before[n*pieceBytes : min((n+1)*pieceBytes, len(before))]
			if err := a.d.log.Put([]Entry{{stepKey('b', g, p.Kind, n), piece}}); err != nil {
				return err
			}
		}
		entries = append(entries, encode(logKey('f', g, p.Kind), fileBefore{before != nil, len(before)}))
	}
	return a.d.log.Put(entries)
}

// fileBefore is a whole target as it was; its bytes lie beside it in pieces, so that no
// value of the log is large.
type fileBefore struct {
	There bool `json:"there"`
	Size  int  `json:"size"`
}

const pieceBytes = 1 << 20

// bytesBefore puts the pieces together, nil if there was no file.
func (d *Delivery) bytesBefore(g int, k item.Kind, f fileBefore) ([]byte, error) {
	if !f.There {
		return nil, nil
	}
	out := make([]byte, 0, f.Size)
	for n := 0; len(out) < f.Size; n++ {
		piece, err := d.log.Get(stepKey('b', g, k, n))
		if err != nil {
			return nil, err
		}
		if len(piece) == 0 || len(out)+len(piece) > f.Size {
			return nil, errLog
		}
		out = append(out, piece...)
	}
	return out, nil
}

// end notes what a target of one file is afterwards, so that undoing can tell whether it was edited.
func (a *applier) end(g int, p *part, whole target.Whole) error {
	now, err := whole.Snapshot()
	if err != nil {
		return err
	}
	return a.d.log.Put([]Entry{encode(logKey('a', g, p.Kind), sha256.Sum256(now))})
}

// again decides steps anew against what the target has by now: after a crash it may have
// some of them, and somebody may have edited what a step was to replace.
func (a *applier) again(ctx context.Context, g int, p *part, pending []*work) error {
	d, rules := a.d, kind.Rules(p.Kind)
	existing, err := d.read(ctx, g, p.Kind)
	if err != nil {
		return err
	}
	profile, err := d.goals[g].Target.Profile(ctx, p.Kind)
	if err != nil {
		return err
	}
	incoming := make([]item.Record, len(pending))
	for i, w := range pending {
		s := w.s
		incoming[i] = item.Record{Kind: p.Kind, Book: s.Book, Path: s.Path, Label: s.Label, From: s.From, Data: s.content()}
	}
	decisions, err := rules.Match(ctx, plain(existing), incoming, rule.Options{Profile: profile, NoFuzzy: true})
	if err != nil {
		return err
	}
	acts := decide(incoming, decisions, existing)
	var batch []Entry
	for i, w := range pending {
		if decisions[i].Verdict == rule.Same && decisions[i].With >= 0 && decisions[i].With < len(existing) {
			e := existing[decisions[i].With]
			w.out = Outcome{State: Done, ID: e.ID, Version: e.Version, Sum: sha256.Sum256(e.Data), Wrote: e.Version != w.s.Version || w.s.Action == Create}
			continue
		}
		anew := step(i, incoming, decisions, acts, existing)
		if w.s.Action == Create && anew.Action == Replace { // it was to stand beside, and must not replace what came meanwhile
			anew.Action = Create
		}
		anew.Verdict, anew.Why, anew.Changes, anew.With = w.s.Verdict, w.s.Why, w.s.Changes, w.s.With
		w.s = anew
		batch = append(batch, encode(stepKey('s', g, p.Kind, w.n), w.s))
	}
	return d.log.Put(batch)
}

// write carries out steps and returns those whose record was edited meanwhile.
func (a *applier) write(ctx context.Context, g int, p *part, pending []*work) (edited []*work, err error) {
	size := batch
	if _, ok := a.d.goals[g].Target.(target.Whole); ok {
		size = len(pending)
	}
	for len(pending) > 0 {
		n := min(size, len(pending))
		more, err := a.writeBatch(ctx, g, p, pending[:n])
		if err != nil {
			return nil, err
		}
		edited, pending = append(edited, more...), pending[n:]
	}
	return edited, nil
}

func (a *applier) writeBatch(ctx context.Context, g int, p *part, all []*work) (edited []*work, err error) {
	var todo []*work
	var writes []target.Write
	for _, w := range all {
		if w.out.State != Pending || w.s.Action == Leave {
			continue
		}
		todo, writes = append(todo, w), append(writes, w.s.order())
	}
	tried := 0
	altering, _ := a.d.goals[g].Target.(target.Altering)
	if len(writes) > 0 {
		err = a.d.goals[g].Target.Write(ctx, p.Kind, writes, func(i int, now target.Existing, werr error) error {
			w := todo[i]
			tried++
			switch refused := (*target.RefusedError)(nil); {
			case werr == nil:
				w.out = Outcome{State: Done, ID: now.ID, Version: now.Version, Sum: sha256.Sum256(now.Data), Wrote: true}
				if altering != nil {
					w.out.Changes = altering.Altered(p.Kind, w.s.content(), now.Data)
				}
			case errors.Is(werr, target.ErrEdited):
				edited = append(edited, w)
			case errors.As(werr, &refused):
				w.out = Outcome{State: Failed, Why: refused.Why}
			default:
				w.out = Outcome{State: Failed, Why: werr.Error()}
			}
			return nil
		})
		kill.Point(kill.ReceiverDelivered)
	}
	if err == nil && tried < len(writes) {
		err = errors.New("the target has left out records")
	}
	return edited, errors.Join(err, a.note(g, p, all))
}

// order is what the target is told to do.
func (s *Step) order() target.Write {
	w := target.Write{Record: item.Record{Kind: s.Kind, Book: s.Book, Path: s.Path, Label: s.Label, From: s.From, Data: s.content()}}
	if s.Action == Replace {
		w.ID, w.Version = s.ID, s.Version
		w.Record.Book, w.Record.Path = s.Beside, s.At
	} else {
		w.Key = creationKey(s.Kind, s.content())
	}
	return w
}

// note makes outcomes durable.
func (a *applier) note(g int, p *part, all []*work) error {
	var batch []Entry
	for _, w := range all {
		if w.out.State != Pending {
			batch = append(batch, encode(stepKey('o', g, p.Kind, w.n), &w.out))
		}
	}
	if err := a.d.log.Put(batch); err != nil {
		return err
	}
	kill.Point(kill.ReceiverDeliverNoted)
	for _, w := range all {
		if w.out.State != Pending {
			a.count(w.s, &w.out)
		}
	}
	return nil
}
