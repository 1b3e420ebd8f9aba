package contact

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// shortestReach is the length of the shortest number that tells anything: of the police's.
const shortestReach = 3

// crowd is how many cards may share a number before it is a switchboard's and tells
// nobody apart.
const crowd = 3

// Limits on what is looked at and done, so that a book of cards that are all one person
// takes no more than linear time.
const (
	namesakes = 8         // cards of one name that are looked at
	mergers   = 64        // cards that are merged into one
	patience  = 256 << 20 // bytes of cards that are parsed again in all, besides 64 times what is there
)

// features are what of a card decides about it. No parsed card is kept.
type features struct {
	uid     string
	content [32]byte // of all that it says of the person, without order
	name    string   // folded; "" is none
	others  []string // folded names that it has kept of cards that were merged into it
	label   string
	group   bool
	broken  bool     // it is no card: its bytes are all that identify it
	reach   []string // numbers and addresses, as keys
	office  []bool   // of each of them: it is at work or a fax
}

func featuresOf(data []byte, tel *phones) features {
	_, card := open(data)
	if card == nil {
		return features{broken: true, content: cl.Fingerprint(data)}
	}
	x := features{uid: string(cl.NormalUID([]byte(strings.TrimSpace(card.Text("UID"))))), label: strings.TrimSpace(card.Text("FN"))}
	if len(x.uid) > cl.MaxUID {
		x.uid = ""
	}
	if x.label == "" {
		x.label = label(data)
	}
	var all []string
	labels := labelsOf(card)
	for p := range card.Properties() {
		name := p.Name()
		if p.Problem() != "" {
			all = append(all, "\x00"+strings.TrimSpace(p.Value()))
			continue
		}
		if ignored(name) {
			continue
		}
		k := keys(p, tel)
		all = append(all, labelled(labels, p, k)...)
		switch name {
		case "TEL", "EMAIL":
			if v := k[0][len(name)+1:]; len(strings.TrimPrefix(v, "raw:")) >= shortestReach {
				x.reach = append(x.reach, k[0])
				x.office = append(x.office, isOffice(p))
			}
		case keepName + "FN":
			x.others = append(x.others, foldName(p.Text()))
		case keepName + "N":
			x.others = append(x.others, foldName(fullName(p.Components())))
		case "N":
			if x.name == "" {
				x.name = foldName(fullName(p.Components()))
			}
		case "KIND", "X-ADDRESSBOOKSERVER-KIND":
			x.group = strings.EqualFold(p.Text(), "group")
		}
	}
	for c := range card.Components() {
		all = append(all, "\x00"+string(c.Bytes()))
	}
	if n := foldName(x.label); n != "" && card.Count("FN") > 0 {
		x.name = n
	}
	x.content = contentKey(all)
	return x
}

// labelled adds to keys what labels a property has, so that cards that differ only in
// those are not taken for the same.
func labelled(labels map[string]*cl.Property, p *cl.Property, keys []string) []string {
	types := specific(p)
	if l := labels[p.Group()]; l != nil {
		types = append(types, "\x01"+foldText(l.Text()))
	}
	if len(types) == 0 {
		return keys
	}
	slices.Sort(types)
	suffix := "\x00" + strings.Join(slices.Compact(types), ",")
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k + suffix
	}
	return out
}

func isOffice(p *cl.Property) bool {
	for _, v := range p.Values("TYPE") {
		for _, t := range strings.Split(strings.ToLower(v), ",") {
			if t == "work" || t == "fax" || t == "main" {
				return true
			}
		}
	}
	return false
}

func contentKey(all []string) [32]byte {
	slices.Sort(all)
	h := sha256.New()
	for _, k := range slices.Compact(all) {
		fmt.Fprintf(h, "%d %s", len(k), k)
	}
	return [32]byte(h.Sum(nil))
}

// Match finds for each incoming card the one that is meant to be the same, by the first
// of these rules that applies: A the UID, B everything that it says, C the name and a number or an
// address. A card that shares only a number or address is a suggestion, and is added; so is
// one that rule C finds among those that come with it: a book keeps the entries that it has.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, opts rule.Options) ([]rule.Decision, error) {
	m := matcher{
		existing: existing, incoming: incoming, opts: opts,
		tel:     &phones{region: opts.Profile.Region, seen: map[string]string{}},
		byUID:   map[string]int{},
		content: map[[32]byte]int{},
		byName:  map[string]int{},
		byReach: map[string]int{},
		named:   map[string][]int{},
		now:     map[int][]byte{},
		merges:  map[int]int{},
		work:    patience,
	}
	for _, side := range [...][]item.Record{existing, incoming} {
		for _, r := range side {
			m.work += 64 * int64(len(r.Data))
		}
	}
	if err := m.learn(ctx); err != nil {
		return nil, err
	}
	out := make([]rule.Decision, len(incoming))
	for i := range incoming {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = m.decide(i)
		m.otherUID(i, &out[i])
	}
	return out, nil
}

// otherUID tells that a card's UID is not on the target, since its card there has one of
// its own. One that Shape has made up is no loss.
func (m *matcher) otherUID(i int, d *rule.Decision) {
	uid := m.come[i].uid
	if uid == "" || madeUp(uid) || d.With < 0 || d.Verdict != rule.Same && d.Verdict != rule.Merge || m.at(d.With).uid == uid {
		return
	}
	n := notes{record: m.incoming[i], uid: uid}
	if n.record.Label == "" {
		n.record.Label = m.come[i].label
	}
	n.add("UID", item.EffectDropped, "the target's card keeps its own", uid, m.at(d.With).uid)
	d.Changes = append(d.Changes, n.list...)
}

// matcher holds the index of what is on the target: existing records, and incoming ones
// that are added to them, numbered from len(existing).
type matcher struct {
	existing, incoming []item.Record
	opts               rule.Options
	tel                *phones
	have, come         []features

	byUID   map[string]int
	content map[[32]byte]int
	byName  map[string]int // name and number or address together; a group's name
	byReach map[string]int
	busy    map[string]bool  // numbers and addresses that too many share
	named   map[string][]int // by name, the first few
	now     map[int][]byte   // what a record has become by merging
	merges  map[int]int      // how often
	work    int64            // bytes that may still be parsed again
}

func (m *matcher) learn(ctx context.Context) error {
	var err error
	if m.have, err = m.features(ctx, m.existing); err != nil {
		return err
	}
	if m.come, err = m.features(ctx, m.incoming); err != nil {
		return err
	}
	m.busy = map[string]bool{}
	for _, side := range [...][]features{m.have, m.come} {
		count, office := map[string]int{}, map[string]bool{}
		for i := range side {
			for j, k := range side[i].reach {
				count[k]++
				office[k] = office[k] || side[i].office[j]
			}
		}
		for k, n := range count {
			if n > crowd && (office[k] || n > 4*crowd) {
				m.busy[k] = true
			}
		}
	}
	for i := range m.have {
		m.index(i, &m.have[i])
	}
	return nil
}

func (m *matcher) features(ctx context.Context, records []item.Record) ([]features, error) {
	out := make([]features, len(records))
	for i, r := range records {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = featuresOf(r.Data, m.tel)
	}
	return out, nil
}

// index makes a record one that later ones can be found to be the same as. The first of a kind stays.
func (m *matcher) index(at int, x *features) {
	first(m.content, x.content, at)
	if x.broken {
		return
	}
	if x.uid != "" {
		first(m.byUID, x.uid, at)
	}
	for _, name := range append([]string{x.name}, x.others...) {
		if list := m.named[name]; name != "" && len(list) < namesakes && !slices.Contains(list, at) {
			m.named[name] = append(list, at)
		}
	}
	if x.group {
		first(m.byName, "group\x00"+x.name, at)
		return
	}
	for _, k := range x.reach {
		if m.busy[k] {
			continue
		}
		if x.name != "" {
			first(m.byName, x.name+"\x00"+k, at)
		}
		first(m.byReach, k, at)
	}
}

func first[K comparable](m map[K]int, k K, at int) {
	if _, ok := m[k]; !ok {
		m[k] = at
	}
}

func (m *matcher) decide(i int) rule.Decision {
	x := &m.come[i]
	if at, ok := m.content[x.content]; ok {
		m.index(at, x)
		return rule.Decision{Verdict: rule.Same, With: at, Why: "it says the same"}
	}
	if at, ok := m.byUID[x.uid]; ok && x.uid != "" {
		return m.sameUID(i, at)
	}
	fuzzy := !m.opts.NoFuzzy && !x.broken
	twin, reason := -1, ""
	if fuzzy {
		if at, why, ok := m.alike(x); ok && at < len(m.existing) {
			return m.join(i, at, why)
		} else if ok { // both come from the person's own books, who has kept them apart so far
			twin, reason = at, why
		}
	}
	if d, ok := m.within(i); ok {
		return d
	}
	if twin >= 0 {
		d := m.add(i, rule.Suggest)
		d.With, d.Why = twin, reason
		return d
	}
	if fuzzy {
		if at, why, ok := m.related(x); ok {
			d := m.add(i, rule.Suggest)
			d.With, d.Why = at, why
			return d
		}
	}
	return m.add(i, rule.New)
}

// add puts an incoming record among those that the target will have.
func (m *matcher) add(i int, v rule.Verdict) rule.Decision {
	m.index(len(m.existing)+i, &m.come[i])
	return rule.Decision{Verdict: v, With: -1, Result: m.incoming[i].Data}
}

// alike is rule C: the same folded name, and a number or an address that both have.
func (m *matcher) alike(x *features) (int, string, bool) {
	if x.name == "" {
		return 0, "", false
	}
	if x.group {
		at, ok := m.byName["group\x00"+x.name]
		return at, "same group", ok
	}
	for _, k := range x.reach {
		if at, ok := m.byName[x.name+"\x00"+k]; ok && !m.busy[k] {
			return at, "same name and " + reachText(k), true
		}
	}
	return 0, "", false
}

// within finds a card of the same name that has all that the incoming one says, as it has
// after that was merged into it for a reason that is not to be seen any more.
func (m *matcher) within(i int) (d rule.Decision, ok bool) {
	if m.come[i].broken {
		return d, false
	}
	for _, at := range m.named[m.come[i].name] {
		if at >= len(m.existing) {
			continue
		}
		out, changes, done := m.merge(at, m.incoming[i])
		if done && out == nil && (!ok || len(changes) == 0) {
			d, ok = rule.Decision{Verdict: rule.Same, With: at, Why: "it says no more", Changes: changes}, true
		}
		if ok && len(d.Changes) == 0 {
			break
		}
	}
	if ok {
		m.index(d.With, &m.come[i])
	}
	return d, ok
}

// related is rule D: only a number or an address is the same, as in a family.
func (m *matcher) related(x *features) (int, string, bool) {
	if x.group {
		return 0, "", false
	}
	for _, k := range x.reach {
		if at, ok := m.byReach[k]; ok && !m.busy[k] {
			return at, "same " + reachText(k) + ", other name", true
		}
	}
	return 0, "", false
}

func reachText(key string) string {
	_, v, _ := strings.Cut(key, "\x00")
	return strings.TrimPrefix(v, "raw:")
}

func (m *matcher) at(at int) *features {
	if at < len(m.existing) {
		return &m.have[at]
	}
	return &m.come[at-len(m.existing)]
}

// data is what a record has become.
func (m *matcher) data(at int) []byte {
	if b, ok := m.now[at]; ok {
		return b
	}
	if at < len(m.existing) {
		return m.existing[at].Data
	}
	return m.incoming[at-len(m.existing)].Data
}

// sameUID is rule A. Cards of one UID that have neither name nor number nor address in
// common are a conflict: somebody used the UID twice.
func (m *matcher) sameUID(i, at int) rule.Decision {
	x, y := &m.come[i], m.at(at)
	if x.name == "" || y.name == "" || x.name == y.name || shareReach(x, y) || len(x.reach) == 0 || len(y.reach) == 0 || wordsShared(x.name, y.name) {
		return m.join(i, at, "same UID")
	}
	if d, ok := m.within(i); ok {
		return d
	}
	return m.conflict(i, at, "same UID, nothing else in common")
}

// merge is merge, if there is patience for it.
func (m *matcher) merge(at int, r item.Record) (out []byte, changes []item.Change, done bool) {
	old := m.data(at)
	if m.work -= int64(len(old) + len(r.Data)); m.work < 0 {
		return nil, nil, false
	}
	return merge(old, r, m.tel)
}

// conflict keeps a card of a UID that another one has, under another UID.
func (m *matcher) conflict(i, at int, why string) rule.Decision {
	x := &m.come[i]
	other := withUID(m.incoming[i].Data)
	m.now[len(m.existing)+i] = other
	m.index(len(m.existing)+i, &features{content: x.content, name: x.name, reach: x.reach, office: x.office})
	return rule.Decision{Verdict: rule.Conflict, With: at, Result: other, Replace: m.incoming[i].Data, Why: why}
}

func shareReach(x, y *features) bool {
	return slices.ContainsFunc(x.reach, func(k string) bool { return slices.Contains(y.reach, k) })
}

func wordsShared(a, b string) bool {
	words := strings.Fields(b)
	return slices.ContainsFunc(strings.Fields(a), func(w string) bool { return slices.Contains(words, w) })
}

// withUID gives a card the UID that its content gives it.
func withUID(data []byte) []byte {
	f, card := open(data)
	if p := card.Get("UID"); p != nil {
		p.SetText(derivedUID(card.Bytes()))
	}
	return f.Root.Bytes()
}

// join merges an incoming card into one that the target has.
func (m *matcher) join(i, at int, why string) rule.Decision {
	label := m.incoming[i].Label
	if label == "" {
		label = m.come[i].label
	}
	from := m.incoming[i]
	from.Label = label
	out, changes, done := m.merge(at, from)
	if !done || out != nil && m.merges[at] >= mergers {
		return m.apart(i, at)
	}
	d := rule.Decision{Verdict: rule.Merge, With: at, Result: out, Why: why, Changes: changes}
	if out != nil {
		if d, ok := m.within(i); ok {
			return d
		}
	}
	if out == nil {
		d.Verdict, d.Result = rule.Same, nil
		m.index(at, &m.come[i])
		return d
	}
	m.now[at] = out
	m.merges[at]++
	x := featuresOf(out, m.tel)
	m.index(at, &x)
	m.index(at, &m.come[i])
	return d
}

// apart keeps a card for itself that would be merged into one that has had its share.
func (m *matcher) apart(i, at int) rule.Decision {
	if d, ok := m.within(i); ok {
		return d
	}
	const why = "too many cards would become one"
	if uid := m.come[i].uid; uid != "" && m.at(at).uid == uid {
		return m.conflict(i, at, why)
	}
	d := m.add(i, rule.Suggest)
	d.With, d.Why = at, why
	return d
}
