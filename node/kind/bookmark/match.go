package bookmark

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Match implements rule.Rules. Incoming nodes are brought together with existing ones of the
// same folder path: folders by title, bookmarks by canonical address, separators by their
// order; where there are several of a key, those of the same title first, then by order.
// What is the same keeps the place that it has in the target; what is new goes behind the
// node that was before it in the source, or to the end if there was none.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, opts rule.Options) ([]rule.Decision, error) {
	m := &matcher{nodes: make([]*Bookmark, 0, len(existing)+len(incoming)), byKey: map[string][]int{}, used: make([]bool, len(existing)), keywords: map[string]string{}, folders: map[string]*Bookmark{}}
	for i, r := range existing {
		b, err := m.parse(r.Data)
		if m.nodes = append(m.nodes, b); err != nil {
			continue
		}
		m.add(i, b)
	}
	m.existing = len(existing)
	m.pairs(incoming)
	m.order = newOrder(m.nodes[:m.existing])
	out := make([]rule.Decision, len(incoming))
	for i := range incoming {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out[i] = m.decide(i, &incoming[i])
	}
	m.place(out)
	return out, nil
}

type matcher struct {
	nodes    []*Bookmark // the existing ones, then the incoming ones; nil for what is none
	existing int
	byKey    map[string][]int // existing ones by key, and by key and title, that may not be taken yet
	used     []bool           // of the existing ones: an incoming one was paired with it
	pair     []int            // of each incoming one; -1 is none
	keywords map[string]string
	folders  map[string]*Bookmark // one of each folder: they share the titles that lead to them
	order    *order
}

func (m *matcher) parse(line []byte) (*Bookmark, error) {
	b, err := Parse(line)
	if err != nil {
		return nil, err
	}
	key := b.FolderKey()
	if one := m.folders[key]; one == nil {
		m.folders[key] = b
	} else {
		b.Path = one.Path
	}
	return b, nil
}

func (m *matcher) add(i int, b *Bookmark) {
	key := b.key()
	m.byKey[key] = append(m.byKey[key], i)
	m.byKey[titled(key, b.Title)] = append(m.byKey[titled(key, b.Title)], i)
	if b.Keyword != "" {
		m.keywords[b.Keyword] = Canonical(b.URL)
	}
}

// pairs finds the existing node for each incoming one: first those that agree in the title,
// so that of two with one address the right one is taken.
func (m *matcher) pairs(incoming []item.Record) {
	m.pair = make([]int, len(incoming))
	keys := make([]string, len(incoming))
	for i := range incoming {
		b, err := m.parse(incoming[i].Data)
		m.nodes, m.pair[i] = append(m.nodes, b), -1
		if err == nil {
			keys[i] = b.key()
			m.pair[i] = m.take(keys[i], &b.Title)
		}
	}
	for i := range incoming {
		if b := m.nodes[m.existing+i]; b != nil && m.pair[i] < 0 {
			m.pair[i] = m.take(keys[i], nil)
		}
	}
}

// take returns an existing node of the key, and of the title if one is given, that is not taken; -1 is none.
func (m *matcher) take(key string, title *string) int {
	if title != nil {
		key = titled(key, *title)
	}
	for list := m.byKey[key]; len(list) > 0; {
		i := list[0]
		list = list[1:]
		m.byKey[key] = list
		if !m.used[i] {
			m.used[i] = true
			return i
		}
	}
	return -1
}

func titled(key, title string) string { return key + "\x00\x03" + title }

func (m *matcher) decide(i int, r *item.Record) rule.Decision {
	b := m.nodes[m.existing+i]
	if b == nil { // Shape has refused it
		return rule.Decision{Verdict: rule.Suggest, With: -1, Result: r.Data, Why: ProblemForm}
	}
	with := m.pair[i]
	if with < 0 {
		d := rule.Decision{Verdict: rule.New, With: -1, Result: r.Data}
		if m.keywordTaken(b) {
			c := *b
			c.Keyword = ""
			m.nodes[m.existing+i], d.Result = &c, c.Encode()
			d.Changes = append(d.Changes, change(b, r, "KEYWORD", item.EffectDropped, "another bookmark of the target has this keyword", b.Keyword, ""))
		}
		return d
	}
	have := m.nodes[with]
	if b.Type == URL && b.Title != have.Title && b.Title != "" && have.Title != "" {
		d := rule.Decision{Verdict: rule.Conflict, With: with, Result: r.Data, Why: "same address in the same folder with another title"}
		j := joiner{from: b, r: r, to: clone(have), m: m}
		j.to.Title = b.Title
		j.all()
		d.Replace = j.to.Encode()
		return d
	}
	j := joiner{from: b, r: r, to: clone(have), m: m}
	j.all()
	if !j.changed {
		return rule.Decision{Verdict: rule.Same, With: with, Changes: j.changes}
	}
	return rule.Decision{Verdict: rule.Merge, With: with, Result: j.to.Encode(), Changes: j.changes, Why: "same address in the same folder"}
}

func (m *matcher) keywordTaken(b *Bookmark) bool {
	at, ok := m.keywords[b.Keyword]
	return b.Keyword != "" && ok && at != Canonical(b.URL)
}

func clone(b *Bookmark) *Bookmark {
	c := *b
	c.Tags, c.X, c.more = slices.Clone(b.Tags), maps.Clone(b.X), maps.Clone(b.more)
	return &c
}

func change(b *Bookmark, r *item.Record, property string, e item.Effect, why, before, after string) item.Change {
	return item.Change{Kind: item.Bookmark, Record: b.Label(), UID: b.URL, From: r.From, Property: property, Effect: e, Why: why, Before: shown(before), After: shown(after)}
}

// joiner gives a node that the target has what it lacks.
type joiner struct {
	from, to *Bookmark
	r        *item.Record
	m        *matcher
	changes  []item.Change
	changed  bool
}

const second = 1_000_000

func (j *joiner) all() {
	from, to := j.from, j.to
	j.text("TITLE", from.Title, &to.Title)
	if from.Type == URL && Canonical(from.URL) == Canonical(to.URL) && from.URL != to.URL {
		j.keep("URL", item.EffectAltered, "the target writes the same address so", from.URL, to.URL)
	}
	if a := from.Added; a != 0 && (to.Added == 0 || a < to.Added-second) {
		to.Added, j.changed = a, true
	} else if a > to.Added+second {
		j.keep("ADDED", item.EffectAltered, "the target has had it for longer", timeText(a), timeText(to.Added))
	}
	j.latest(from.Modified, &to.Modified)
	j.latest(from.Visited, &to.Visited)
	for _, tag := range from.Tags {
		if !slices.ContainsFunc(to.Tags, func(t string) bool { return strings.EqualFold(t, tag) }) {
			to.Tags, j.changed = append(to.Tags, tag), true
		}
	}
	j.keyword()
	if !strings.Contains(to.Description, from.Description) {
		if to.Description != "" {
			to.Description += "\n\n"
		}
		to.Description, j.changed = to.Description+from.Description, true
	}
	j.text("ICON_URI", from.IconURI, &to.IconURI)
	j.text("ICON", from.Icon, &to.Icon)
	j.extra()
}

func (j *joiner) keep(property string, e item.Effect, why, before, after string) {
	j.changes = append(j.changes, change(j.from, j.r, property, e, why, before, after))
}

func (j *joiner) text(property, from string, to *string) {
	switch {
	case from == "" || from == *to:
	case *to == "":
		*to, j.changed = from, true
	default:
		j.keep(property, item.EffectDropped, "the target has another", from, *to)
	}
}

func (j *joiner) latest(from int64, to *int64) {
	if from != 0 && from > *to+second {
		*to, j.changed = from, true
	}
}

func (j *joiner) keyword() {
	if j.from.Keyword != "" && j.to.Keyword == "" && j.m.keywordTaken(j.from) {
		j.keep("KEYWORD", item.EffectDropped, "another bookmark of the target has this keyword", j.from.Keyword, "")
		return
	}
	j.text("KEYWORD", j.from.Keyword, &j.to.Keyword)
}

func (j *joiner) extra() {
	for _, name := range slices.Sorted(maps.Keys(j.from.X)) {
		v, have := j.from.X[name], j.to.X[name]
		switch {
		case have == nil:
			if j.to.X == nil {
				j.to.X = map[string]json.RawMessage{}
			}
			j.to.X[name], j.changed = v, true
		case !equalJSON(v, have):
			j.keep("X-"+strings.ToUpper(name), item.EffectDropped, "the target has another", string(v), string(have))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.from.more)) {
		if j.to.more[name] == nil {
			if j.to.more == nil {
				j.to.more = map[string]json.RawMessage{}
			}
			j.to.more[name], j.changed = j.from.more[name], true
		}
	}
}

func equalJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
