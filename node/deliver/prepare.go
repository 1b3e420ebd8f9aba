package deliver

import (
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

// Records yields the incoming records of one kind.
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
			if p.Steps > 0 {
				g.Parts = append(g.Parts, *p)
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

// prepare writes the steps for one goal and kind.
func (d *Delivery) prepare(ctx context.Context, g int, k item.Kind, records Records, opts Options) (*part, error) {
	rules, t := kind.Rules(k), d.goals[g].Target
	var profile rule.Profile
	known := false
	var steps []Step
	var shaped []item.Record
	at := []int{} // step of each shaped record
	err := records(ctx, k, func(r item.Record) error {
		if !known { // a target is asked only if there is something for it
			var err error
			if profile, err = t.Profile(ctx, k); err != nil {
				return err
			}
			profile.Region, known = opts.Region, true
		}
		out, changes, ok := rules.Shape(r, profile)
		steps = append(steps, Step{Kind: k, Label: r.Label, Book: r.Book, Path: r.Path, From: r.From, Changes: changes, Refused: !ok})
		if ok {
			shaped, at = append(shaped, out), append(at, len(steps)-1)
		}
		return ctx.Err()
	})
	if err != nil || len(steps) == 0 {
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
	decided := make([]*Step, len(shaped))
	for i := range shaped {
		decided[i] = &steps[at[i]]
		decided[i].Data, decided[i].Path, decided[i].Book = shaped[i].Data, shaped[i].Path, shaped[i].Book
	}
	decide(decided, decisions, existing)
	p := &part{Kind: k, Steps: len(steps)}
	p.Part.Goal, p.Part.Kind = d.goals[g].Name, k.String()
	for i := range steps {
		p.Part.count(&steps[i])
	}
	return p, d.putSteps(g, k, steps)
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

// decide turns decisions into actions. Several records that end in one write it once, with
// what the last of them made of it.
func decide(steps []*Step, decisions []rule.Decision, existing []target.Existing) {
	writer := make(map[int]*Step) // the step that writes a record, by the numbers of Decision.With
	same := make(map[int]int)     // of incoming records that the target has: which
	for i := range decisions {
		s, c := steps[i], &decisions[i]
		s.Verdict, s.Why = c.Verdict, c.Why
		s.Changes = append(s.Changes, c.Changes...)
		with := c.With
		if e, ok := same[with]; ok {
			with = e
		}
		switch {
		case with >= len(existing):
			s.With = steps[with-len(existing)].Label
		case with >= 0:
			s.With = existing[with].Label
		}
		switch c.Verdict {
		case rule.New, rule.Suggest:
			s.Action = Create
			s.write(c.Result)
			writer[len(existing)+i] = s
		case rule.Conflict:
			s.Action = Create
			s.write(c.Result)
			s.Other = c.Replace
			if s.Other == nil {
				s.Other = s.content()
			}
			writer[len(existing)+i] = s
			if with >= 0 && with < len(existing) {
				s.over(&existing[with])
			}
		case rule.Merge:
			if w := writer[with]; w != nil {
				w.write(c.Result)
				writer[len(existing)+i] = w
				continue
			}
			if with < 0 || with >= len(existing) {
				continue // of no record: rule.Rules promise that there is one
			}
			s.Action = Replace
			s.over(&existing[with])
			s.write(c.Result)
			writer[with], writer[len(existing)+i] = s, s
		case rule.Same:
			if w := writer[with]; w != nil {
				writer[len(existing)+i] = w
			}
			same[len(existing)+i] = with
		}
	}
}

// over notes the record that is replaced.
func (s *Step) over(e *target.Existing) {
	s.ID, s.Version, s.Before, s.Beside, s.At = e.ID, e.Version, e.Data, e.Book, e.Path
}

func (s *Step) write(b []byte) {
	s.Write = nil
	if b != nil && string(b) != string(s.Data) {
		s.Write = b
	}
}

const batchBytes = 4 << 20

func (d *Delivery) putSteps(g int, k item.Kind, steps []Step) error {
	var batch []Entry
	size := 0
	for i := range steps {
		e := encode(stepKey('s', g, k, i), &steps[i])
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
