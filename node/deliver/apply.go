package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/item"
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

// Resolve asks about every conflict and notes the answer, which is final: a conflict that keeps both may be asked about again.
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
	joined      map[int]int // of the part under way: steps that another step writes, by which
}

// work is a step under way.
type work struct {
	n   int
	s   *Step
	out Outcome
}

func (a *applier) part(ctx context.Context, g int, p *part) error {
	pending, err := a.pending(g, p)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		if err := a.pass(ctx, g, p, pending); err != nil {
			return err
		}
	}
	return a.settle(g, p)
}

// pass carries out the pending steps.
func (a *applier) pass(ctx context.Context, g int, p *part, pending []int) error {
	begun, err := a.d.load(logKey('r', g, p.Kind), new(bool))
	if err != nil {
		return err
	}
	whole, _ := a.d.goals[g].Target.(target.Whole)
	if !begun {
		if err := a.begin(ctx, g, p, whole); err != nil {
			return err
		}
		kill.Point(kill.ReceiverDeliverBegun)
	} else if pending, err = a.again(ctx, g, p, pending); err != nil {
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
			return a.giveUp(g, p, edited)
		}
		if pending, err = a.again(ctx, g, p, edited); err != nil {
			return err
		}
	}
	if whole != nil && !begun {
		return a.end(g, p, whole)
	}
	return nil
}

func (a *applier) giveUp(g int, p *part, edited []int) error {
	all, err := a.load(g, p, edited)
	if err != nil {
		return err
	}
	for _, w := range all {
		w.out = Outcome{State: Failed, Why: "it is edited all the time by another program"}
	}
	return a.note(g, p, all)
}

// pending returns the numbers of the steps without an outcome that write something; it counts the others, or notes that another step writes them.
func (a *applier) pending(g int, p *part) (all []int, err error) {
	outcomes := map[int]Outcome{}
	if err := a.d.eachOutcome(g, p, func(n int, o Outcome) error { outcomes[n] = o; return nil }); err != nil {
		return nil, err
	}
	a.joined = map[int]int{}
	err = a.d.eachStep(g, p, func(n int, s *Step) error {
		o, ok := outcomes[n]
		switch {
		case ok:
			a.count(s, &o)
		case s.Action == Leave:
			a.leave(n, s)
		default:
			all = append(all, n)
		}
		return nil
	})
	return all, err
}

func (a *applier) leave(n int, s *Step) {
	if s.Into > 0 {
		a.joined[n] = s.Into - 1
		return
	}
	a.count(s, &Outcome{})
}

// settle counts the steps that others write, by what became of those.
func (a *applier) settle(g int, p *part) error {
	if len(a.joined) == 0 {
		return nil
	}
	failed := map[int]bool{}
	if err := a.d.eachOutcome(g, p, func(n int, o Outcome) error {
		if o.State == Failed {
			failed[n] = true
		}
		return nil
	}); err != nil {
		return err
	}
	for _, into := range a.joined {
		o := Outcome{State: Done}
		if failed[into] {
			o.State = Failed
		}
		a.count(&Step{}, &o)
	}
	return nil
}

// load reads steps.
func (a *applier) load(g int, p *part, numbers []int) (all []*work, err error) {
	for _, n := range numbers {
		var s Step
		ok, err := a.d.load(stepKey('s', g, p.Kind, n), &s)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errLog
		}
		all = append(all, &work{n: n, s: &s})
	}
	return all, nil
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
func (a *applier) begin(ctx context.Context, g int, p *part, whole target.Whole) error {
	entries := []Entry{encode(logKey('r', g, p.Kind), true)}
	if making, ok := a.d.goals[g].Target.(target.Making); ok {
		places, err := making.Places(ctx, p.Kind)
		if err != nil {
			return err
		}
		entries = append(entries, encode(logKey('m', g, p.Kind), places))
	}
	if whole != nil {
		before, err := a.keep(g, p, whole)
		if err != nil {
			return err
		}
		entries = append(entries, encode(logKey('f', g, p.Kind), before))
	}
	return a.d.log.Put(entries)
}

// keep puts the bytes of a file into the log, in pieces.
func (a *applier) keep(g int, p *part, whole target.Whole) (before fileBefore, err error) {
	in, err := whole.Stream()
	if err != nil || in == nil {
		return before, err
	}
	defer in.Close()
	before.There = true
	piece := make([]byte, pieceBytes)
	for n := 0; ; n++ {
		size, err := io.ReadFull(in, piece)
		if size > 0 {
			if err := a.d.log.Put([]Entry{{stepKey('b', g, p.Kind, n), piece[:size]}}); err != nil {
				return before, err
			}
			before.Size += size
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return before, nil
		case err != nil:
			return before, err
		}
	}
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
	h := sha256.New()
	in, err := whole.Stream()
	if err != nil {
		return err
	}
	if in != nil {
		_, err := io.Copy(h, in)
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return a.d.log.Put([]Entry{encode(logKey('a', g, p.Kind), [32]byte(h.Sum(nil)))})
}

// again decides steps anew against what the target has by now, and returns those that are still to be carried out: after a
// crash the target may have some of them, and somebody may have edited what a step was to replace.
func (a *applier) again(ctx context.Context, g int, p *part, pending []int) ([]int, error) {
	t := a.d.goals[g].Target
	profile, err := t.Profile(ctx, p.Kind)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(a.d.dir, p.Kind, rule.Options{Profile: profile, NoFuzzy: true})
	if err != nil {
		return nil, err
	}
	defer m.close()
	for chunk := range slices.Chunk(pending, batch) {
		all, err := a.load(g, p, chunk)
		if err != nil {
			return nil, err
		}
		for _, w := range all {
			if err := m.income(w.n, w.s.record(), nil); err != nil {
				return nil, err
			}
		}
	}
	if err := m.read(ctx, t); err != nil {
		return nil, err
	}
	var left []int
	err = m.match(ctx, func(l *lot) error {
		n, err := a.anew(g, p, l)
		left = append(left, n...)
		return err
	})
	slices.Sort(left)
	return left, err
}

// anew notes what was decided anew about a lot of steps.
func (a *applier) anew(g int, p *part, l *lot) (left []int, err error) {
	all, err := a.load(g, p, l.numbers)
	if err != nil {
		return nil, err
	}
	var there []*work
	var steps []Entry
	for i, w := range all {
		if with := l.decisions[i].With; l.decisions[i].Verdict == rule.Same && with >= 0 && with < len(l.existing) {
			e := l.existing[with]
			w.out = Outcome{State: Done, ID: e.ID, Version: e.Version, Sum: sha256.Sum256(e.Data), Wrote: e.Version != w.s.Version || w.s.Action == Create}
			there = append(there, w)
			continue
		}
		anew := l.step(i)
		if w.s.Action == Create && anew.Action == Replace { // it was to stand beside, and must not replace what came meanwhile
			anew.Action = Create
		}
		anew.Verdict, anew.Why, anew.Changes, anew.With = w.s.Verdict, w.s.Why, w.s.Changes, w.s.With
		steps = append(steps, encode(stepKey('s', g, p.Kind, w.n), anew))
		if anew.Action == Leave {
			a.leave(w.n, anew)
		} else {
			left = append(left, w.n)
		}
	}
	if err := a.d.log.Put(steps); err != nil || len(there) == 0 {
		return left, err
	}
	return left, a.note(g, p, there)
}

// write carries out steps and returns those whose record was edited meanwhile.
func (a *applier) write(ctx context.Context, g int, p *part, pending []int) (edited []int, err error) {
	size := batch
	if _, ok := a.d.goals[g].Target.(target.Whole); ok {
		size = max(len(pending), 1)
	}
	for chunk := range slices.Chunk(pending, size) {
		all, err := a.load(g, p, chunk)
		if err != nil {
			return nil, err
		}
		more, err := a.writeBatch(ctx, g, p, all)
		if err != nil {
			return nil, err
		}
		edited = append(edited, more...)
	}
	return edited, nil
}

func (a *applier) writeBatch(ctx context.Context, g int, p *part, all []*work) (edited []int, err error) {
	var todo []*work
	var writes []target.Write
	for _, w := range all {
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
				edited = append(edited, w.n)
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

// record is what the target shall hold.
func (s *Step) record() item.Record {
	return item.Record{Kind: s.Kind, Book: s.Book, Path: s.Path, Label: s.Label, From: s.From, Data: s.content()}
}

// order is what the target is told to do.
func (s *Step) order() target.Write {
	w := target.Write{Record: s.record()}
	if s.Action == Replace {
		w.ID, w.Version = s.ID, s.Version
		w.Record.Book, w.Record.Path = s.Beside, s.At
	} else {
		w.Key = creationKey(s.Kind, s.content())
	}
	return w
}

// putOutcomes notes the outcomes that are known, some thousand at once.
func (d *Delivery) putOutcomes(g int, p *part, all []*work) error {
	for chunk := range slices.Chunk(all, 4096) {
		var entries []Entry
		for _, w := range chunk {
			if w.out.State != Pending {
				entries = append(entries, encode(stepKey('o', g, p.Kind, w.n), &w.out))
			}
		}
		if err := d.log.Put(entries); err != nil {
			return err
		}
	}
	return nil
}

// note makes outcomes durable.
func (a *applier) note(g int, p *part, all []*work) error {
	if err := a.d.putOutcomes(g, p, all); err != nil {
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
