// Package report tells a person, or a program, what became of records: how many of each kind are new, the same, merged, in
// conflict or refused, and every property that is not on the target as the source had it. One Report is written as text for
// a terminal, as JSON (docs/SPEC.md section 9) and as an HTML page that stands alone. Names and values are the other
// side's: whatever they contain moves no cursor, runs nothing and loads nothing.
package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Report is what happened, or, for a preview, would happen. Fill in the fields and Add the records.
type Report struct {
	What   string    // "import", "receive", "preview", "undo"
	When   time.Time // when it ended
	Source []string  // where the records came from, as the person named it
	Target []string  // where they went
	Notes  []string  // what concerns no single record: sentences

	// Kinds are the sums of each kind, in the order of item.Kinds. Add keeps them.
	Kinds []Kind
	// Entries are the records of which there is something to say, in the order in which they were added; nil of a report that
	// reads them again whenever it is written, see Read.
	Entries []Entry

	counts map[part]int64                // of entries
	groups map[item.Kind]map[Group]int64 // of changes
	told   told
	again  func(add func(Entry) error) error // not nil: where the entries are
	done   func() error
}

// part is the entries of one kind and outcome.
type part struct {
	kind    item.Kind
	outcome string
}

// Kind counts the records of one kind by what became of them, and the changes of their properties.
type Kind struct {
	Kind                                              item.Kind
	New, Same, Merged, Conflicts, Suggested, Refused  int64
	Dropped, Altered, Repaired, Added, Moved, Flagged int64
}

// Records is the number of records that were looked at.
func (k Kind) Records() int64 {
	return k.New + k.Same + k.Merged + k.Conflicts + k.Suggested + k.Refused
}

// Changes is the number of changed properties.
func (k Kind) Changes() int64 {
	return k.Dropped + k.Altered + k.Repaired + k.Added + k.Moved + k.Flagged
}

// Entry is one record.
type Entry struct {
	Kind    item.Kind
	Book    string // the address book, calendar or folder, "" if there is only one
	Record  string // what a person knows it by
	UID     string
	From    string // where it was read
	Verdict rule.Verdict
	With    string // what a person knows the target's record by that it is merged or in conflict with
	Why     string // the end of a sentence: "same UID", "same name and +49 30 1234567"
	Decided string // what became of a conflict: "both are kept"; "" is undecided
	// Refused says why the target did not take the record, or why undoing left it alone; "" is that it did.
	Refused string
	Changes []item.Change
}

// Add counts a record, and keeps it if there is something to say of it: a merge, a conflict, a suggestion, a refusal, a change.
// Of 200,000 messages that are simply new nothing is kept but their number. The entry's changes are the report's from then on;
// what they lack is filled in.
func (r *Report) Add(e Entry) {
	if r.count(&e) {
		r.Entries = append(r.Entries, e)
	}
}

// count counts a record, and reports whether there is something to say of it.
func (r *Report) count(e *Entry) bool {
	r.told.prepare(e)
	r.kind(e.Kind).count(*e)
	if !e.telling() {
		return false
	}
	r.index(e)
	return true
}

// index keeps the sums that are shown above the entries.
func (r *Report) index(e *Entry) {
	if r.counts == nil {
		r.counts, r.groups = map[part]int64{}, map[item.Kind]map[Group]int64{}
	}
	r.counts[part{e.Kind, e.outcome()}]++
	groups := r.groups[e.Kind]
	if groups == nil {
		groups = map[Group]int64{}
		r.groups[e.Kind] = groups
	}
	for _, c := range e.Changes {
		g := Group{Property: c.Property, Effect: c.Effect, Why: c.Why}
		if _, ok := groups[g]; !ok && len(groups) >= maxGroups {
			g = Group{Effect: c.Effect, Why: "various reasons, told with each record"}
		}
		groups[g]++
	}
}

// telling reports whether there is something to say of a record.
func (e *Entry) telling() bool {
	return len(e.Changes) > 0 || e.Refused != "" || e.Verdict != rule.New && e.Verdict != rule.Same && e.Verdict != rule.None
}

// Change adds what concerns a record that did not get as far as a verdict, or none at all.
func (r *Report) Change(c item.Change) { r.Add(Of(c)) }

// Of is the entry of a record of which nothing is known but a change.
func Of(c item.Change) Entry {
	return Entry{Kind: c.Kind, Record: c.Record, UID: c.UID, From: c.From, Changes: []item.Change{c}}
}

// kind returns the sums of a kind.
func (r *Report) kind(k item.Kind) *Kind {
	at := func(k item.Kind) int {
		if i := slices.Index(item.Kinds, k); i >= 0 {
			return i
		}
		return len(item.Kinds)
	}
	i, ok := slices.BinarySearchFunc(r.Kinds, k, func(have Kind, k item.Kind) int { return at(have.Kind) - at(k) })
	if !ok {
		r.Kinds = slices.Insert(r.Kinds, i, Kind{Kind: k})
	}
	return &r.Kinds[i]
}

func (k *Kind) count(e Entry) {
	switch {
	case e.Refused != "":
		k.Refused++
	case e.Verdict == rule.New:
		k.New++
	case e.Verdict == rule.Same:
		k.Same++
	case e.Verdict == rule.Merge:
		k.Merged++
	case e.Verdict == rule.Conflict:
		k.Conflicts++
	case e.Verdict == rule.Suggest:
		k.Suggested++
	}
	for _, c := range e.Changes {
		if n := k.effect(c.Effect); n != nil {
			*n++
		}
	}
}

func (k *Kind) effect(e item.Effect) *int64 {
	switch e {
	case item.EffectDropped:
		return &k.Dropped
	case item.EffectAltered:
		return &k.Altered
	case item.EffectRepaired:
		return &k.Repaired
	case item.EffectAdded:
		return &k.Added
	case item.EffectMoved:
		return &k.Moved
	case item.EffectFlagged:
		return &k.Flagged
	}
	return nil
}

// Group is one way in which a property changed, and how often it did.
type Group struct {
	Property string
	Effect   item.Effect
	Why      string
	Count    int64
}

// Groups sums up a kind's changes: the worst effects first, then the most frequent ones. Every reason with a value in it
// would be a group of its own; beyond maxGroups they are one without a reason.
func (r *Report) Groups(k item.Kind) (out []Group) {
	for g, n := range r.groups[k] {
		g.Count = n
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(severity(a.Effect)-severity(b.Effect), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Property, b.Property), cmp.Compare(a.Why, b.Why))
	})
	return out
}

const maxGroups = 200

// severity orders effects by how much a person wants to know of them.
func severity(e item.Effect) int {
	return slices.Index([]item.Effect{item.EffectDropped, item.EffectFlagged, item.EffectAltered, item.EffectMoved, item.EffectRepaired, item.EffectAdded, item.EffectNone}, e)
}

// outcome is what became of an entry, in a word.
func (e *Entry) outcome() string {
	switch {
	case e.Refused != "":
		return "refused"
	case e.Verdict == rule.Merge:
		return "merged"
	case e.Verdict == rule.Suggest:
		return "suggested"
	case e.Verdict == rule.None:
		return "noted"
	}
	return e.Verdict.String()
}

// outcomes are those of entries, the ones first about which a person may have to do something.
var outcomes = []string{"refused", "conflict", "suggested", "merged", "new", "same", "noted"}

// sentence says why, with what and what was decided.
func (e *Entry) sentence() string {
	s := ""
	add := func(t string) {
		if t == "" {
			return
		}
		if s != "" {
			s += "; "
		}
		s += t
	}
	add(e.Refused)
	if e.With != "" && e.With != e.Record {
		add("with “" + e.With + "”")
	}
	add(e.Why)
	add(e.Decided)
	return s
}

// heading names a kind to a person.
func heading(k item.Kind) string {
	switch k {
	case item.Calendar:
		return "Calendar"
	case item.KindNone:
		return "Other"
	}
	s := k.String()
	return string(s[0]-'a'+'A') + s[1:] + "s"
}
