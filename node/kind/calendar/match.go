package calendar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// maxTwins is with how many objects of one UID an incoming one is compared property by
// property. Equal ones are found among any number.
const maxTwins = 8

// Match decides about incoming objects. Those of the same UID, or without UID of the same start,
// summary and rule, are one. Of a component that both have with other content the newer version wins
// (SEQUENCE, then LAST-MODIFIED, then DTSTAMP); of the same version, what only one has is
// brought together, and what contradicts is a Conflict, whose Result has a UID of its
// own. Exceptions that only one has are added. An object with the start, summary and duration of
// another of another UID is a Suggest. It takes n log n time.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, opts rule.Options) ([]rule.Decision, error) {
	m := &matcher{first: len(existing), byKey: map[string][]*entry{}, exact: map[[32]byte]int{}, alike: map[string]int{}, fuzzy: !opts.NoFuzzy}
	for i := range existing {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o := parseObject(existing[i].Data)
		m.know(o, i, existing[i].Data)
		if a := o.alike(); m.fuzzy && a != "" {
			if _, met := m.alike[a]; !met {
				m.alike[a] = i
			}
		}
	}
	decisions := make([]rule.Decision, len(incoming))
	for i := range incoming {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		decisions[i] = m.decide(incoming[i], len(existing)+i)
	}
	return decisions, nil
}

// matcher holds what the target has and will have.
type matcher struct {
	first int // the number of the first incoming object in Decision.With
	byKey map[string][]*entry
	exact map[[32]byte]int // digest of an object with its UID
	alike map[string]int
	fuzzy bool
}

// entry is an object of the target, or one that goes there.
type entry struct {
	index int // as in Decision.With
	kind  string
	data  []byte
}

// objectOf is a parsed record.
type objectOf struct {
	file *contentline.File
	cal  *contentline.Component
	tops []*contentline.Component
	uid  string

	whole *[32]byte // not nil: it was not taken apart, and this is the hash of its bytes
}

func parseObject(data []byte) *objectOf {
	if tooMany(data) {
		sum := sha256.Sum256(data)
		o := parseObject(nil)
		o.whole = &sum
		return o
	}
	o := &objectOf{file: contentline.Parse(data)}
	o.cal = o.file.Root
	for c := range o.file.Root.Components() {
		if c.Name == "VCALENDAR" {
			o.cal = c
			break
		}
	}
	for c := range o.cal.Components() {
		if c.Name != "VTIMEZONE" {
			o.tops = append(o.tops, c)
		}
	}
	for _, c := range o.tops {
		if o.uid = uidOf(c); o.uid != "" {
			break
		}
	}
	return o
}

func (o *objectOf) kind() string {
	if len(o.tops) == 0 {
		return ""
	}
	return o.tops[0].Name
}

// key is the same for objects that may be one.
func (o *objectOf) key() string {
	switch {
	case o.uid != "":
		return "uid " + o.uid
	case len(o.tops) > 0:
		return "synthetic " + syntheticUID(o.tops[0], "")
	}
	sum := o.digest()
	return "content " + string(sum[:])
}

// digest is the same for objects that mean the same.
func (o *objectOf) digest() [32]byte {
	if o.whole != nil {
		return *o.whole
	}
	var sums []string
	for c := range o.cal.Components() {
		if c.Name == "VTIMEZONE" && len(o.tops) > 0 {
			continue
		}
		sum := digest(c)
		sums = append(sums, string(sum[:]))
	}
	slices.Sort(sums)
	if len(sums) == 0 {
		return sha256.Sum256(o.file.Text())
	}
	return sha256.Sum256([]byte(strings.Join(sums, "")))
}

// alike is the same for objects that a person may take for one, "" for those that have too little.
func (o *objectOf) alike() string {
	for _, c := range o.tops {
		if c.Get("RECURRENCE-ID") != nil {
			continue
		}
		start, summary := c.Get("DTSTART"), strings.TrimSpace(c.Text("SUMMARY"))
		if start == nil || summary == "" {
			return ""
		}
		return c.Name + "\x00" + strings.ToLower(summary) + "\x00" + entries(start)[0] + "\x00" + lasts(c, start)
	}
	return ""
}

// lasts says how long a component lasts.
func lasts(c *contentline.Component, start *contentline.Property) string {
	if d := c.Get("DURATION"); d != nil {
		return normalDuration(d.Value())
	}
	end := c.Get("DTEND")
	if end == nil {
		return "0s"
	}
	a, okA := mendMoment(start.Value())
	b, okB := mendMoment(end.Value())
	if !okA || !okB {
		return "?"
	}
	return b.in(nil).Sub(a.in(nil)).String()
}

// know adds an object of the target.
func (m *matcher) know(o *objectOf, index int, data []byte) {
	key, sum := o.key(), o.digest()
	if _, met := m.exact[sum]; !met {
		m.exact[sum] = index
	}
	if len(m.byKey[key]) < maxTwins {
		m.byKey[key] = append(m.byKey[key], &entry{index, o.kind(), data})
	}
}

func (m *matcher) decide(r item.Record, index int) rule.Decision {
	o := parseObject(r.Data)
	if with, ok := m.exact[o.digest()]; ok {
		d := rule.Decision{Verdict: rule.Same, With: with, Why: "same content"}
		for _, e := range m.byKey[o.key()] {
			if e.index == with && with >= m.first {
				u := &union{into: parseObject(e.data), record: r, uid: o.uid}
				u.header(o)
				d.Changes = u.changes
			}
		}
		d.Changes = append(d.Changes, m.twice(with, o, r)...)
		return d
	}
	twins := m.byKey[o.key()]
	if len(twins) == 0 {
		m.know(o, index, r.Data)
		if with, ok := m.alike[o.alike()]; ok && m.fuzzy {
			return rule.Decision{Verdict: rule.Suggest, With: with, Result: r.Data, Why: "same summary, start and duration, but another UID"}
		}
		return rule.Decision{Verdict: rule.New, With: -1, Result: r.Data}
	}
	for _, e := range twins {
		if e.kind == o.kind() {
			return m.bringTogether(e, o, r, index)
		}
	}
	d := rule.Decision{With: twins[0].index, Replace: r.Data, Why: "same UID, but " + twins[0].kind + " and " + o.kind()}
	m.beside(&d, o, r, index)
	return d
}

// bringTogether decides about an object of which the target has one.
func (m *matcher) bringTogether(e *entry, o *objectOf, r item.Record, index int) rule.Decision {
	u := newUnion(e.data, o, r)
	d := rule.Decision{With: e.index, Why: "same UID", Changes: u.changes}
	if o.uid == "" {
		d.Why = "same start, summary and rule"
	}
	switch {
	case u.conflict != "":
		d.Why += ", but another " + u.conflict
		d.Replace, d.Changes = u.bytes(), nil
		m.beside(&d, o, r, index)
	case !u.changed:
		d.Verdict = rule.Same
		if e.index >= m.first {
			u.header(o)
		}
		d.Changes = append(u.changes, m.twice(e.index, o, r)...)
		if u.older {
			d.Why += "; the target has a newer version"
		}
	default:
		u.header(o)
		d.Changes = append(u.changes, m.twice(e.index, o, r)...)
		d.Verdict, d.Result = rule.Merge, u.bytes()
		e.data = d.Result
		m.exact[parseObject(d.Result).digest()] = e.index
	}
	return d
}

// twice tells that what an incoming object has in common with another incoming one is there only once.
func (m *matcher) twice(with int, o *objectOf, r item.Record) (changes []item.Change) {
	if with < m.first {
		return nil
	}
	for _, c := range o.tops {
		changes = append(changes, item.Change{Kind: item.Calendar, Record: r.Label, UID: o.uid, From: r.From, Property: c.Name,
			Effect: item.EffectDropped, Why: "another incoming one says it too, and is brought together with it"})
	}
	return changes
}

// beside makes a decision a Conflict, whose object can stand beside the target's: with a
// UID that is made of its own one and its content, and so the same each time. If that one is there
// already, both have been kept before.
func (m *matcher) beside(d *rule.Decision, o *objectOf, r item.Record, index int) {
	if o.uid != "" {
		sum := o.digest()
		h := sha256.Sum256([]byte("decant calendar uid 2\x00" + o.uid + "\x00" + string(sum[:])))
		uid := "decant-" + hex.EncodeToString(h[:16])
		for _, c := range o.tops {
			if p := c.Get("UID"); p != nil {
				d.Changes = append(d.Changes, item.Change{Kind: item.Calendar, Record: r.Label, UID: o.uid, From: r.From, Property: c.Name + "/UID",
					Effect: item.EffectAltered, Why: "the target has another object of that UID, and both are kept", Before: shown(p.Value()), After: uid})
				p.SetValue(uid)
			}
		}
		o.uid = uid
	}
	data := o.file.Bytes()
	if with, ok := m.exact[o.digest()]; ok {
		*d = rule.Decision{Verdict: rule.Same, With: with, Why: "same content, kept beside another of that UID"}
		return
	}
	d.Verdict, d.Result = rule.Conflict, data
	m.know(o, index, data)
}

// union is an object of the target while it gets what an incoming one has.
type union struct {
	into     *objectOf
	record   item.Record
	uid      string
	changed  bool
	older    bool   // the target has something newer
	conflict string // what contradicts
	clashes  [][2]*contentline.Component
	at       map[*contentline.Component]int // where the target's components are
	named    []*contentline.Component       // what may name time zones that the target lacks
	changes  []item.Change
}

func newUnion(target []byte, o *objectOf, r item.Record) *union {
	u := &union{into: parseObject(target), record: r, uid: o.uid}
	u.at = map[*contentline.Component]int{}
	for i, n := range u.into.cal.Nodes {
		if n.Component != nil {
			u.at[n.Component] = i
		}
	}
	have := map[string]*contentline.Component{}
	for _, c := range u.into.tops {
		if key := c.Name + recurrenceID(c); have[key] == nil {
			have[key] = c
		}
	}
	for _, c := range o.tops {
		key := c.Name + recurrenceID(c)
		mine := have[key]
		if mine == nil {
			u.into.cal.AppendComponent(c)
			have[key] = c
			u.changed = true
			u.named = append(u.named, c)
			u.note(c, "", item.EffectAdded, "the target had this occurrence not yet", "", recurrenceID(c))
			continue
		}
		u.component(mine, c)
	}
	for _, clash := range u.clashes { // for Replace: the incoming one wins
		u.replace(clash[0], clash[1])
	}
	u.zones(o)
	return u
}

func (u *union) note(c *contentline.Component, name string, e item.Effect, why, before, after string) {
	property := strings.Trim(pathOf(c)+"/"+name, "/")
	u.changes = append(u.changes, item.Change{Kind: item.Calendar, Record: u.record.Label, UID: u.uid, From: u.record.From,
		Property: property, Effect: e, Why: why, Before: shown(before), After: shown(after)})
}

// header tells what was said of the calendar of an incoming object that is not said of the target's.
func (u *union) header(o *objectOf) {
	have := map[string]bool{}
	for p := range u.into.cal.Properties() {
		for _, e := range entries(p) {
			have[e] = true
		}
	}
	for p := range o.cal.Properties() {
		if name := p.Name(); name != "" && name != "VERSION" && name != "PRODID" && !hasAll(have, entries(p)) {
			u.note(o.cal, name, item.EffectDropped, "it is not said of the calendar of the target's object", p.Value(), "")
		}
	}
}

// component brings two forms of one component together.
func (u *union) component(mine, c *contentline.Component) {
	if digest(mine) == digest(c) {
		return
	}
	switch newer := compareVersions(c, mine); {
	case newer > 0:
		u.note(c, "", item.EffectAltered, "the incoming version is newer", version(mine), version(c))
		u.replace(mine, c)
		u.changed = true
	case newer < 0:
		if !covers(mine, c) {
			u.note(c, "", item.EffectDropped, "the target has a newer version", version(c), version(mine))
		}
		u.older = true
	default:
		u.reconcile(mine, c)
	}
}

// version says which version a component is of.
func version(c *contentline.Component) string {
	s := fmt.Sprintf("SEQUENCE %d", sequence(c))
	for _, name := range []string{"LAST-MODIFIED", "DTSTAMP"} {
		if v := c.Text(name); v != "" {
			return s + ", " + name + " " + v
		}
	}
	return s
}

// replace puts the incoming component in the place of the target's.
func (u *union) replace(mine, c *contentline.Component) {
	i, ok := u.at[mine]
	if !ok {
		return
	}
	u.into.cal.Nodes[i].Component = c
	c.Parent = u.into.cal
	u.named = append(u.named, c)
}

// covers reports whether a component has all that another one has.
func covers(a, b *contentline.Component) bool {
	have := map[string]bool{}
	for p := range a.Properties() {
		for _, e := range entries(p) {
			have[e] = true
		}
	}
	for p := range b.Properties() {
		for _, e := range entries(p) {
			if compared(b, p) && !have[e] {
				return false
			}
		}
	}
	return true
}

// reconcile brings together two forms of a component of the same version: what only the
// incoming one has is added, and a property that there can be only once must be the same.
func (u *union) reconcile(mine, c *contentline.Component) {
	have, names := map[string]bool{}, map[string]*contentline.Property{}
	for p := range mine.Properties() {
		for _, e := range entries(p) {
			have[e] = true
		}
		if names[p.Name()] == nil {
			names[p.Name()] = p
		}
	}
	var add []*contentline.Property
	for p := range c.Properties() {
		name, other := p.Name(), names[p.Name()]
		if !compared(c, p) || name == "UID" || hasAll(have, entries(p)) || other != nil && cutOff(other, p) {
			continue
		}
		switch single := within(once[c.Name], name) || name == "RRULE"; {
		case other == nil || !single && !strings.HasPrefix(name, "X-"):
			add = append(add, p)
		case single:
			if u.conflict == "" {
				u.conflict = name
			}
			u.clashes = append(u.clashes, [2]*contentline.Component{mine, c})
			return
		default:
			u.note(c, name, item.EffectDropped, "the target has another value, which is kept", p.Value(), other.Value())
		}
	}
	u.addAll(mine, c, add)
}

// addAll adds properties, and the alarms and the like that the target's component has not.
func (u *union) addAll(mine, c *contentline.Component, add []*contentline.Property) {
	mine.Append(add...)
	for _, p := range add {
		u.changed = true
		u.note(c, p.Name(), item.EffectAdded, "the target's had none", "", p.Value())
	}
	sums := map[[32]byte]bool{}
	for inner := range mine.Components() {
		sums[digest(inner)] = true
	}
	for inner := range c.Components() {
		if sum := digest(inner); !sums[sum] {
			sums[sum] = true
			mine.AppendComponent(inner)
			u.changed = true
			u.note(inner, "", item.EffectAdded, "the target's had none like it", "", "")
		}
	}
	u.named = append(u.named, mine)
}

func hasAll(have map[string]bool, entries []string) bool {
	for _, e := range entries {
		if !have[e] {
			return false
		}
	}
	return true
}

// cutOff reports whether the target has a value as far as its first comma: what some
// servers leave of an address or an extension.
func cutOff(mine, p *contentline.Property) bool {
	a, b := mine.Text(), p.Text()
	return len(b) > len(a) && strings.HasPrefix(b, a) && b[len(a)] == ','
}

// zones adds the time zones that what was added names and the target's object lacks.
func (u *union) zones(o *objectOf) {
	have := map[string]bool{}
	at := 0
	for i, n := range u.into.cal.Nodes {
		switch {
		case n.Component == nil:
			if at == i {
				at = i + 1
			}
		case n.Component.Name == "VTIMEZONE":
			have[n.Component.Text("TZID")] = true
			at = i + 1
		}
	}
	needed := map[string]bool{}
	for _, c := range u.named {
		for inner := range c.All() {
			for p := range inner.Properties() {
				if id, ok := p.Param("TZID"); ok && !have[id] {
					needed[id] = true
				}
			}
		}
	}
	if len(needed) == 0 {
		return
	}
	for z := range o.cal.Components() {
		if z.Name == "VTIMEZONE" && needed[z.Text("TZID")] {
			needed[z.Text("TZID")] = false
			u.into.cal.Insert(at, contentline.Node{Component: z.Clone()})
			at++
		}
	}
}

func (u *union) bytes() []byte { return u.into.file.Bytes() }
