package deliver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// lotBytes is about how much of both sides' records is in memory at once, of kinds whose rules are rule.Divided. Of others it is all.
const lotBytes = 24 << 20

// pile keeps records in a file while it is not known yet which belong together. It is written once, then read.
type pile struct {
	f    *os.File
	w    *bufio.Writer
	size int64
	all  []piled
	buf  []byte
}

// piled is where a record lies in the pile.
type piled struct {
	at       int64
	size     int32
	lot      uint32
	incoming bool
	number   int32 // of the step, of an incoming one
}

// newPile makes the file in dir, "" being the system's directory for such files. It has no name where the system allows that, so
// nothing is left of it after a crash.
func newPile(dir string) (*pile, error) {
	f, err := os.CreateTemp(dir, "deliver-*.tmp")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name()) // where an open file can't be removed, close does it
	return &pile{f: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

func (p *pile) close() {
	p.f.Close()
	os.Remove(p.f.Name())
}

// add keeps a record that the target has, or an incoming one with what shaping has changed.
func (p *pile) add(e *target.Existing, changes []item.Change, where piled) error {
	b := p.buf[:0]
	for _, s := range []string{e.Book, e.Path, e.Label, e.From, e.ID, e.Version} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	if len(changes) == 0 {
		b = append(b, 0)
	} else {
		text, err := json.Marshal(changes)
		if err != nil {
			return err
		}
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	b = append(b, e.Data...)
	p.buf = b
	where.at, where.size = p.size, int32(len(b))
	p.all = append(p.all, where)
	p.size += int64(len(b))
	_, err := p.w.Write(b)
	return err
}

var errPile = errors.New("the working file of a delivery is damaged")

// load reads a record back.
func (p *pile) load(k item.Kind, at piled) (e target.Existing, changes []item.Change, err error) {
	b := make([]byte, at.size)
	if _, err := p.f.ReadAt(b, at.at); err != nil {
		return e, nil, err
	}
	next := func() []byte {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			err = errPile
			return nil
		}
		field := b[used:][:n]
		b = b[used:][n:]
		return field
	}
	for _, s := range []*string{&e.Book, &e.Path, &e.Label, &e.From, &e.ID, &e.Version} {
		*s = string(next())
	}
	if text := next(); len(text) > 0 && err == nil {
		err = json.Unmarshal(text, &changes)
	}
	e.Kind, e.Data = k, b
	return e, changes, err
}

// lot is what is brought together at once.
type lot struct {
	incoming  []item.Record
	numbers   []int // of the steps of incoming
	changes   [][]item.Change
	existing  []target.Existing
	decisions []rule.Decision
	acts      []act
}

// matcher brings incoming records together with those that a goal has.
type matcher struct {
	*pile
	kind    item.Kind
	rules   rule.Rules
	divided rule.Divided // nil: all are one lot
	options rule.Options
	bytes   int64 // of a lot, about
}

func newMatcher(dir string, k item.Kind, o rule.Options) (*matcher, error) {
	p, err := newPile(dir)
	if err != nil {
		return nil, err
	}
	m := &matcher{pile: p, kind: k, rules: kind.Rules(k), options: o, bytes: lotBytes}
	if m.divided, _ = m.rules.(rule.Divided); m.divided != nil {
		m.options.Known = map[string]bool{}
	}
	return m, nil
}

func (m *matcher) lotOf(r item.Record) uint32 {
	if m.divided == nil {
		return 0
	}
	return m.divided.Lot(r, m.options.Profile, m.options.Known)
}

// income adds the incoming record of a step.
func (m *matcher) income(number int, r item.Record, changes []item.Change) error {
	return m.add(&target.Existing{Record: r}, changes, piled{lot: m.lotOf(r), incoming: true, number: int32(number)})
}

// read adds what the goal has.
func (m *matcher) read(ctx context.Context, t target.Books) error {
	return t.Read(ctx, m.kind, func(e target.Existing) error {
		if err := m.add(&e, nil, piled{lot: m.lotOf(e.Record)}); err != nil {
			return err
		}
		return ctx.Err()
	})
}

// match decides about a lot after the other and calls each for it.
func (m *matcher) match(ctx context.Context, each func(l *lot) error) error {
	if err := m.w.Flush(); err != nil {
		return err
	}
	lots := uint32(1)
	if m.divided != nil {
		lots += uint32(m.size / m.bytes)
	}
	byLot := make([][]piled, lots)
	for _, at := range m.all {
		byLot[at.lot%lots] = append(byLot[at.lot%lots], at)
	}
	m.all = nil
	for i := range byLot {
		l, err := m.lot(ctx, byLot[i])
		if err == nil && len(l.incoming) > 0 {
			err = each(l)
		}
		if err != nil {
			return err
		}
		byLot[i] = nil
	}
	return nil
}

func (m *matcher) lot(ctx context.Context, records []piled) (*lot, error) {
	l := &lot{}
	var have []item.Record
	for _, at := range records {
		e, changes, err := m.load(m.kind, at)
		if err != nil {
			return nil, err
		}
		if at.incoming {
			l.incoming, l.numbers, l.changes = append(l.incoming, e.Record), append(l.numbers, int(at.number)), append(l.changes, changes)
		} else {
			l.existing, have = append(l.existing, e), append(have, e.Record)
		}
	}
	if len(l.incoming) == 0 {
		return l, nil
	}
	var err error
	if l.decisions, err = m.rules.Match(ctx, have, l.incoming, m.options); err != nil {
		return nil, err
	}
	l.acts = decide(l.decisions, len(l.existing))
	return l, nil
}

// act is what a step does, short of the step itself.
type act struct {
	action Action
	over   int    // existing record that is replaced, or that a conflict is about; -1 is none
	with   int    // record that it is the same as, merged with or in conflict with, as in rule.Decision; -1 is none
	into   int    // incoming record in which this one is written; -1 is none
	write  []byte // nil is the record itself
	other  []byte
}

// decide turns decisions into actions. Several records that end in one write it once, with
// what the last of them made of it.
func decide(decisions []rule.Decision, existing int) []act {
	acts := make([]act, len(decisions))
	writer := make(map[int]int) // the act that writes a record, by the numbers of Decision.With
	same := make(map[int]int)   // of incoming records that the target has: which
	for i := range decisions {
		a, c := &acts[i], &decisions[i]
		*a = act{over: -1, with: c.With, into: -1}
		if e, ok := same[c.With]; ok {
			a.with = e
		}
		number := existing + i
		w, written := writer[a.with]
		switch c.Verdict {
		case rule.New, rule.Suggest:
			a.action, a.write = Create, c.Result
			writer[number] = i
		case rule.Conflict:
			a.action, a.write, a.other = Create, c.Result, c.Replace
			if a.other == nil {
				a.other = c.Result
			}
			writer[number] = i
			if a.with >= 0 && a.with < existing {
				a.over = a.with
			}
		case rule.Merge:
			if written {
				acts[w].write = c.Result
				writer[number], a.into = w, w
				continue
			}
			if a.with < 0 || a.with >= existing {
				continue // of no record: rule.Rules promise that there is one
			}
			a.action, a.over, a.write = Replace, a.with, c.Result
			writer[a.with], writer[number] = i, i
		case rule.Same:
			if written {
				writer[number], a.into = w, w
			} else {
				same[number] = a.with
			}
		}
	}
	return acts
}

// step makes the step for the i-th incoming record.
func (l *lot) step(i int) *Step {
	r, c, a := &l.incoming[i], &l.decisions[i], &l.acts[i]
	s := &Step{Kind: r.Kind, Label: r.Label, Book: r.Book, Path: r.Path, From: r.From, Data: r.Data,
		Verdict: c.Verdict, Why: c.Why, Action: a.action, Changes: append(l.changes[i], c.Changes...)}
	switch {
	case a.with >= len(l.existing):
		s.With = l.incoming[a.with-len(l.existing)].Label
	case a.with >= 0:
		s.With = l.existing[a.with].Label
	}
	if a.into >= 0 {
		s.Into = l.numbers[a.into] + 1
	}
	if a.write != nil && !bytes.Equal(a.write, r.Data) {
		s.Write = a.write
	}
	if c.Verdict == rule.Conflict {
		if s.Other = a.other; s.Other == nil {
			s.Other = s.content()
		}
	}
	if a.over >= 0 {
		e := &l.existing[a.over]
		s.ID, s.Version, s.Before, s.Beside, s.At = e.ID, e.Version, e.Data, e.Book, e.Path
	}
	if s.Action == Leave {
		s.Data = nil // nobody will need it
	}
	return s
}
