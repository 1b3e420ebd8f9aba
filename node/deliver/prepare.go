package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// Goal is a target with the name that a person gave it ("vcf:friends.vcf").
type Goal struct {
	Name   string
	Target target.Books
}

// Options adjusts Prepare.
type Options struct {
	Region  string      // ISO 3166 country of numbers without a prefix; "" is unknown
	NoFuzzy bool        // bring records together by identity only
	Kinds   []item.Kind // empty is all
}

// Records yields the incoming records of one kind. One without Data is a file that is too
// large to be brought in as records: it is refused, and stays a file of the collection.
type Records func(ctx context.Context, k item.Kind, each func(item.Record) error) error

// Delivery is one delivery and its log. Its methods run one at a time.
type Delivery struct {
	log   Log
	goals []Goal
	head  header
}

// header is written last by Prepare: a log without one holds no delivery.
type header struct {
	Version int    `json:"version"`
	Goals   []goal `json:"goals"`
}

type goal struct {
	Name  string `json:"name"`
	Parts []part `json:"parts"`
}

// part is what one goal gets of one kind.
type part struct {
	Kind  item.Kind `json:"kind"`
	Steps int       `json:"steps"`
	Part  Part      `json:"summary"`
}

const headerVersion = 1

const headerKey = "h"

// ErrNone is returned by Load for a log without a delivery.
var ErrNone = errors.New("nothing was delivered")

// Load continues a delivery that was prepared. goals are those that it was prepared for,
// in the same order; nil is enough for Each and Summary.
func Load(log Log, goals []Goal) (*Delivery, error) {
	d := &Delivery{log: log, goals: goals}
	ok, err := d.load(headerKey, &d.head)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, ErrNone
	case d.head.Version != headerVersion:
		return nil, errLog
	case goals != nil && len(goals) != len(d.head.Goals):
		return nil, fmt.Errorf("%d targets for a delivery to %d", len(goals), len(d.head.Goals))
	}
	return d, nil
}

// Names returns the goals' names.
func (d *Delivery) Names() (names []string) {
	for i := range d.head.Goals {
		names = append(names, d.head.Goals[i].Name)
	}
	return names
}

// Prepare decides about all records and writes the steps to the log. Whatever an earlier
// Prepare has written there is written over. Nothing is written to the targets.
func Prepare(ctx context.Context, log Log, goals []Goal, records Records, opts Options) (*Delivery, error) {
	d := &Delivery{log: log, goals: goals, head: header{Version: headerVersion}}
	for i := range goals {
		g := goal{Name: goals[i].Name}
		for _, k := range goals[i].Target.Kinds() {
			if len(opts.Kinds) > 0 && !slices.Contains(opts.Kinds, k) || kind.Rules(k) == nil {
				continue
			}
			p, err := d.prepare(ctx, i, k, records, opts)
			if err != nil {
				return nil, fmt.Errorf("%s: %ss: %w", goals[i].Name, k, err)
			}
			if p.Steps == 0 {
				continue
			}
			g.Parts = append(g.Parts, *p)
			if one, ok := goals[i].Target.(target.OneKind); ok && one.OneKind() {
				break
			}
		}
		d.head.Goals = append(d.head.Goals, g)
	}
	return d, d.saveHeader()
}

func (d *Delivery) saveHeader() error {
	b, err := json.Marshal(&d.head)
	if err != nil {
		return err
	}
	return d.log.Put([]Entry{{headerKey, b}})
}

// prepare writes the steps for one goal and kind. Records are many: what is held of them all
// is what Match has to see, and no step before it is written.
func (d *Delivery) prepare(ctx context.Context, g int, k item.Kind, records Records, opts Options) (*part, error) {
	rules, t := kind.Rules(k), d.goals[g].Target
	var profile rule.Profile
	known := false
	var refused []Step
	var shaped []item.Record
	changes := map[int][]item.Change{} // of shaped records
	err := records(ctx, k, func(r item.Record) error {
		if !known { // a target is asked only if there is something for it
			var err error
			if profile, err = t.Profile(ctx, k); err != nil {
				return err
			}
			profile.Region, known = opts.Region, true
		}
		out, changed, ok := r, []item.Change(nil), false
		if r.Data == nil {
			changed = []item.Change{{Kind: k, Record: r.Label, From: r.From, Effect: item.EffectDropped, Why: "the file is too large to be brought in; it is with the others of the collection"}}
		} else {
			out, changed, ok = rules.Shape(r, profile)
		}
		if !ok {
			refused = append(refused, Step{Kind: k, Label: r.Label, Book: r.Book, Path: r.Path, From: r.From, Changes: changed, Refused: true})
			return ctx.Err()
		}
		if len(changed) > 0 {
			changes[len(shaped)] = changed
		}
		shaped = append(shaped, out)
		return ctx.Err()
	})
	if err != nil || len(shaped)+len(refused) == 0 {
		return &part{Kind: k}, err
	}
	existing, err := d.read(ctx, g, k)
	if err != nil {
		return nil, err
	}
	decisions, err := rules.Match(ctx, plain(existing), shaped, rule.Options{Profile: profile, NoFuzzy: opts.NoFuzzy})
	if err != nil {
		return nil, err
	}
	acts := decide(shaped, decisions, existing)
	p := &part{Kind: k, Steps: len(shaped) + len(refused)}
	p.Part.Goal, p.Part.Kind = d.goals[g].Name, k.String()
	return p, d.putSteps(g, k, p.Steps, func(i int) *Step {
		var s *Step
		if i < len(shaped) {
			s = step(i, shaped, decisions, acts, existing)
			s.Changes = slices.Concat(changes[i], s.Changes)
		} else {
			s = &refused[i-len(shaped)]
		}
		p.Part.count(s)
		return s
	})
}

// read gives what a target has of a kind.
func (d *Delivery) read(ctx context.Context, g int, k item.Kind) (all []target.Existing, err error) {
	err = d.goals[g].Target.Read(ctx, k, func(e target.Existing) error {
		all = append(all, e)
		return ctx.Err()
	})
	return all, err
}

func plain(existing []target.Existing) []item.Record {
	out := make([]item.Record, len(existing))
	for i := range existing {
		out[i] = existing[i].Record
	}
	return out
}

// act is what a step does, short of the step itself.
type act struct {
	action Action
	over   int    // existing record that is replaced, or that a conflict is about; -1 is none
	with   int    // record that it is the same as, merged with or in conflict with, as in rule.Decision; -1 is none
	write  []byte // nil is the record itself
	other  []byte
}

// decide turns decisions into actions. Several records that end in one write it once, with
// what the last of them made of it.
func decide(incoming []item.Record, decisions []rule.Decision, existing []target.Existing) []act {
	acts := make([]act, len(incoming))
	writer := make(map[int]*act) // what writes a record, by the numbers of Decision.With
	same := make(map[int]int)    // of incoming records that the target has: which
	for i := range decisions {
		a, c := &acts[i], &decisions[i]
		*a = act{over: -1, with: c.With}
		if e, ok := same[c.With]; ok {
			a.with = e
		}
		number := len(existing) + i
		switch c.Verdict {
		case rule.New, rule.Suggest:
			a.action, a.write = Create, c.Result
			writer[number] = a
		case rule.Conflict:
			a.action, a.write, a.other = Create, c.Result, c.Replace
			if a.other == nil {
				a.other = c.Result
			}
			writer[number] = a
			if a.with >= 0 && a.with < len(existing) {
				a.over = a.with
			}
		case rule.Merge:
			if w := writer[a.with]; w != nil {
				w.write = c.Result
				writer[number] = w
				continue
			}
			if a.with < 0 || a.with >= len(existing) {
				continue // of no record: rule.Rules promise that there is one
			}
			a.action, a.over, a.write = Replace, a.with, c.Result
			writer[a.with], writer[number] = a, a
		case rule.Same:
			if w := writer[a.with]; w != nil {
				writer[number] = w
			} else {
				same[number] = a.with
			}
		}
	}
	return acts
}

// step makes the step for the i-th incoming record.
func step(i int, incoming []item.Record, decisions []rule.Decision, acts []act, existing []target.Existing) *Step {
	r, c, a := &incoming[i], &decisions[i], &acts[i]
	s := &Step{Kind: r.Kind, Label: r.Label, Book: r.Book, Path: r.Path, From: r.From, Data: r.Data,
		Verdict: c.Verdict, Why: c.Why, Action: a.action, Changes: c.Changes}
	switch {
	case a.with >= len(existing):
		s.With = incoming[a.with-len(existing)].Label
	case a.with >= 0:
		s.With = existing[a.with].Label
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
		e := &existing[a.over]
		s.ID, s.Version, s.Before, s.Beside, s.At = e.ID, e.Version, e.Data, e.Book, e.Path
	}
	if s.Action == Leave {
		s.Data = nil // nobody will need it
	}
	return s
}

const batchBytes = 4 << 20

// putSteps writes n steps.
func (d *Delivery) putSteps(g int, k item.Kind, n int, step func(i int) *Step) error {
	var batch []Entry
	size := 0
	for i := range n {
		e := encode(stepKey('s', g, k, i), step(i))
		if batch, size = append(batch, e), size+len(e.Value); size < batchBytes {
			continue
		}
		if err := d.log.Put(batch); err != nil {
			return err
		}
		batch, size = batch[:0], 0
	}
	return d.log.Put(batch)
}
