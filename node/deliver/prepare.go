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
	Region string      // ISO 3166 country of numbers without a prefix; "" is unknown
	Kinds  []item.Kind // empty is all
	Dir    string      // for a working file, which is gone when Prepare returns; "" is the system's
}

// Records yields the incoming records of one kind. One without Data is a file that is too
// large to be brought in as records: it is refused, and stays a file of the collection.
type Records func(ctx context.Context, k item.Kind, each func(item.Record) error) error

// Delivery is one delivery and its log. Its methods run one at a time.
type Delivery struct {
	log   Log
	goals []Goal
	dir   string // for working files
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
// in the same order; nil is enough for Each and Summary. dir is as in Options.
func Load(log Log, goals []Goal, dir string) (*Delivery, error) {
	d := &Delivery{log: log, goals: goals, dir: dir}
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
	d := &Delivery{log: log, goals: goals, dir: opts.Dir, head: header{Version: headerVersion}}
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

// prepare writes the steps for one goal and kind.
func (d *Delivery) prepare(ctx context.Context, g int, k item.Kind, records Records, opts Options) (*part, error) {
	b := &builder{d: d, g: g, target: d.goals[g].Target, rules: kind.Rules(k), opts: opts, part: part{Kind: k}}
	b.part.Part.Goal, b.part.Part.Kind = d.goals[g].Name, k.String()
	defer b.close()
	if err := records(ctx, k, func(r item.Record) error { return errors.Join(b.add(ctx, r), ctx.Err()) }); err != nil {
		return nil, err
	}
	if b.matcher != nil {
		if err := b.matcher.read(ctx, b.target); err != nil {
			return nil, err
		}
		if err := b.matcher.match(ctx, b.decided); err != nil {
			return nil, err
		}
	}
	return &b.part, b.flush()
}

// builder makes the steps for one goal and kind.
type builder struct {
	d       *Delivery
	g       int
	target  target.Books
	rules   rule.Rules
	opts    Options
	profile *rule.Profile // nil: not asked for yet
	matcher *matcher      // nil: no record so far is one for it
	part    part
	batch   []Entry
	size    int
}

func (b *builder) close() {
	if b.matcher != nil {
		b.matcher.close()
	}
}

// add shapes a record and keeps it for matching, or refuses it.
func (b *builder) add(ctx context.Context, r item.Record) error {
	if b.profile == nil { // a target is asked only if there is something for it
		p, err := b.target.Profile(ctx, r.Kind)
		if err != nil {
			return err
		}
		p.Region, b.profile = b.opts.Region, &p
	}
	number := b.part.Steps
	b.part.Steps++
	if r.Data == nil {
		return b.refuse(number, r, []item.Change{{Kind: r.Kind, Record: r.Label, From: r.From, Effect: item.EffectDropped, Why: "the file is too large to be brought in; it is with the others of the collection"}})
	}
	out, changes, ok := b.rules.Shape(r, *b.profile)
	if !ok {
		return b.refuse(number, r, changes)
	}
	if b.matcher == nil {
		var err error
		if b.matcher, err = newMatcher(b.opts.Dir, r.Kind, rule.Options{Profile: *b.profile}); err != nil {
			return err
		}
	}
	return b.matcher.income(number, out, changes)
}

func (b *builder) refuse(number int, r item.Record, changes []item.Change) error {
	return b.put(number, &Step{Kind: r.Kind, Label: r.Label, Book: r.Book, Path: r.Path, From: r.From, Changes: changes, Refused: true})
}

// decided writes the steps of a lot.
func (b *builder) decided(l *lot) error {
	for i := range l.incoming {
		if err := b.put(l.numbers[i], l.step(i)); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) put(number int, s *Step) error {
	b.part.Part.count(s)
	e := encode(stepKey('s', b.g, b.part.Kind, number), s)
	if b.batch, b.size = append(b.batch, e), b.size+len(e.Value); b.size < batchBytes {
		return nil
	}
	return b.flush()
}

const batchBytes = 4 << 20

func (b *builder) flush() error {
	err := b.d.log.Put(b.batch)
	clear(b.batch)
	b.batch, b.size = b.batch[:0], 0
	return err
}
