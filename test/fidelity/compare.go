package fidelity

import (
	"cmp"
	"slices"
	"strings"
)

// Options adjusts Compare.
type Options struct {
	// Report is what the program itself says that it changed.
	Report []Change
	// Merged says that what came out held other records before, with which some of these were brought together: two
	// records may have the same partner, and invention says nothing.
	Merged bool
}

// Result is what became of a file.
type Result struct {
	Name    string
	Records int // of the file before
	Missing int // those without a partner
	Added   int // records without a partner after

	Properties       int // of the file before, at the value level
	Kept             int // still there by path, name and value
	StrictProperties int // at the strict level
	StrictKept       int // still there with parameters, group and separators
	After            int // properties of the file after
	Invented         int // of these, those that were not there before

	Lost    []Loss // not there by value
	Changed []Loss // there by value, but not strictly
	Extra   []Property
}

// Loss is one property that is not there as it was.
type Loss struct {
	Property
	Record   *Record
	Reported *Change // what the program said of it; nil is a silent loss
}

// Silent returns what was lost or changed without a word in the report.
func (r *Result) Silent() (out []Loss) {
	for _, l := range slices.Concat(r.Lost, r.Changed) {
		if l.Reported == nil {
			out = append(out, l)
		}
	}
	return out
}

// Recall is the part of the values that was kept, 0 to 1.
func (r *Result) Recall() float64 { return ratio(r.Kept, r.Properties) }

// Strict is the part of the properties that was kept with all that belongs to them, 0 to 1.
func (r *Result) Strict() float64 { return ratio(r.StrictKept, r.StrictProperties) }

// Invention is the part of what came out that was not there before, 0 to 1.
func (r *Result) Invention() float64 {
	if r.After == 0 {
		return 0
	}
	return float64(r.Invented) / float64(r.After)
}

// Perfect reports whether everything was kept strictly.
func (r *Result) Perfect() bool { return r.StrictKept == r.StrictProperties }

// Whole reports whether every value was kept.
func (r *Result) Whole() bool { return r.Kept == r.Properties }

func ratio(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

// Compare tells what of before is in after.
func Compare(before, after *Document, o Options) *Result {
	r := &Result{Name: before.Name, Records: len(before.Records)}
	pairs := pair(before.Records, after.Records, o.Merged)
	said := newReport(o.Report)
	for i, a := range before.Records {
		value, strict := a.count()
		r.Properties, r.StrictProperties = r.Properties+value, r.StrictProperties+strict
		if pairs[i] < 0 {
			r.Missing++
			for _, p := range a.Properties {
				r.lose(a, p)
			}
			continue
		}
		r.compare(a, after.Records[pairs[i]], o.Merged)
	}
	r.order(before.Records, after.Records, pairs)
	r.After, _ = after.Count()
	r.extra(before.Records, after.Records, pairs, o.Merged)
	for i := range r.Lost {
		r.Lost[i].Reported = said.covers(r.Lost[i])
	}
	for i := range r.Changed {
		r.Changed[i].Reported = said.covers(r.Changed[i])
	}
	return r
}

func (r *Result) lose(a *Record, p Property) {
	if p.weak {
		r.Changed = append(r.Changed, Loss{Property: p, Record: a})
		return
	}
	r.Lost = append(r.Lost, Loss{Property: p, Record: a})
}

// compare counts what of a is in b.
func (r *Result) compare(a, b *Record, merged bool) {
	strict, value, other := match(a, b, merged)
	for i, p := range a.Properties {
		switch {
		case strict[i]:
			r.StrictKept++
			if !p.weak {
				r.Kept++
			}
		case value[i] || other[i]:
			r.Changed = append(r.Changed, Loss{Property: p, Record: a})
			if !p.weak {
				r.Kept++
			}
		default:
			r.lose(a, p)
		}
	}
}

// match finds for each property of a whether it is in b strictly, by value, or by another reading of the value. A property
// of b serves one of a, unless b is merged of several.
func match(a, b *Record, merged bool) (strict, value, other []bool) {
	n := len(a.Properties)
	strict, value, other = make([]bool, n), make([]bool, n), make([]bool, n)
	free := map[string][]int{}
	used := make([]bool, len(b.Properties))
	take := func(key string) int {
		at := free[key]
		for len(at) > 0 && used[at[0]] && !merged {
			at = at[1:]
		}
		free[key] = at
		if len(at) == 0 {
			return -1
		}
		used[at[0]] = true
		return at[0]
	}
	for i, p := range b.Properties {
		free["s"+p.strictKey()] = append(free["s"+p.strictKey()], i)
		free["v"+p.key()] = append(free["v"+p.key()], i)
	}
	for i, p := range a.Properties {
		strict[i] = take("s"+p.strictKey()) >= 0
	}
	for i, p := range a.Properties {
		if !strict[i] {
			value[i] = take("v"+p.key()) >= 0
		}
	}
	if a.version == b.version {
		return strict, value, other
	}
	// Another reading is as good as the first: then params and group decide about Strict.
	for i, q := range b.Properties {
		for _, v := range q.others {
			q.Value = v
			free["v"+q.key()] = append(free["v"+q.key()], i)
		}
	}
	for i, p := range a.Properties {
		for _, v := range append(p.others, p.Value) {
			if strict[i] || value[i] || other[i] {
				break
			}
			q := p
			q.Value = v
			k := take("v" + q.key())
			if k < 0 {
				continue
			}
			other[i] = true
			strict[i] = p.params == b.Properties[k].params && p.group == b.Properties[k].group
		}
	}
	return strict, value, other
}

// extra counts what after has and before had not.
func (r *Result) extra(before, after []*Record, pairs []int, merged bool) {
	partner := map[int][]*Record{}
	for i, k := range pairs {
		if k >= 0 {
			partner[k] = append(partner[k], before[i])
		}
	}
	for k, b := range after {
		if partner[k] == nil && b.Kind != "" {
			r.Added++
		}
		if merged {
			continue
		}
		all := &Record{version: b.version}
		for _, a := range partner[k] {
			all.Properties = append(all.Properties, a.Properties...)
			all.version = a.version
		}
		strict, value, other := match(b, all, false)
		for i, p := range b.Properties {
			if !strict[i] && !value[i] && !other[i] && !p.weak {
				r.Extra = append(r.Extra, p)
			}
		}
	}
	r.Invented = len(r.Extra)
}

// order finds bookmarks that stand in the right folder in another place among those that are there with them.
func (r *Result) order(before, after []*Record, pairs []int) {
	folders := map[string][]int{}
	var paths []string
	for i, a := range before {
		if a.Kind != "bookmark" {
			continue
		}
		r.Properties++
		r.StrictProperties++
		if pairs[i] < 0 || after[pairs[i]].folder != a.folder {
			r.lose(a, a.position())
			continue
		}
		if folders[a.folder] == nil {
			paths = append(paths, a.folder)
		}
		folders[a.folder] = append(folders[a.folder], i)
	}
	slices.Sort(paths)
	for _, f := range paths {
		in := folders[f]
		slices.SortFunc(in, func(x, y int) int { return before[x].order - before[y].order })
		places := make([]int, len(in))
		for k, i := range in {
			places[k] = after[pairs[i]].order
		}
		kept := rising(places)
		for k, i := range in {
			if kept[k] {
				r.Kept++
				r.StrictKept++
				continue
			}
			r.lose(before[i], before[i].position())
		}
	}
}

func (r *Record) position() Property {
	return Property{Name: "ORDER", Value: r.folder, Raw: r.folder, Line: r.Line}
}

// rising marks the members of one longest rising part of the numbers.
func rising(numbers []int) []bool {
	var ends []int // index of the smallest end of a rising part of each length
	from := make([]int, len(numbers))
	for i, n := range numbers {
		k, _ := slices.BinarySearchFunc(ends, n, func(e, n int) int { return numbers[e] - n })
		from[i] = -1
		if k > 0 {
			from[i] = ends[k-1]
		}
		if k == len(ends) {
			ends = append(ends, i)
		} else {
			ends[k] = i
		}
	}
	out := make([]bool, len(numbers))
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = from[i] {
			out[i] = true
		}
	}
	return out
}

// pair finds the partner of each record; -1 is none.
func pair(before, after []*Record, merged bool) []int {
	m := &matcher{before: before, after: after, pairs: make([]int, len(before)), used: make([]bool, len(after)), merged: merged}
	for i := range m.pairs {
		m.pairs[i] = -1
	}
	m.by(func(r *Record) string { return r.signature() })
	m.by(func(r *Record) string { // the same record with a different property or two
		if r.ID == "" {
			return ""
		}
		return r.Kind + "\x00" + bareUUID(r.ID)
	})
	m.by(func(r *Record) string { // what belongs to the file
		if r.Kind == "" {
			return "file"
		}
		return ""
	})
	m.overlap()
	return m.pairs
}

type matcher struct {
	before, after []*Record
	pairs         []int
	used          []bool // of after
	merged        bool
}

// by pairs records of the same key in order; "" is no key. Where several have it, those that share most go first.
func (m *matcher) by(key func(*Record) string) {
	free := map[string][]int{}
	for k, b := range m.after {
		if m.used[k] {
			continue
		}
		if s := key(b); s != "" {
			free[s] = append(free[s], k)
		}
	}
	for i, a := range m.before {
		if m.pairs[i] >= 0 {
			continue
		}
		at := free[key(a)]
		if len(at) == 0 {
			continue
		}
		best := 0
		if n := len(at); n > 1 && n <= 16 {
			most := -1
			for x, k := range at {
				if c := common(a, m.after[k]); c > most {
					best, most = x, c
				}
			}
		}
		m.pairs[i], m.used[at[best]] = at[best], true
		if !m.merged {
			free[key(a)] = slices.Delete(slices.Clone(at), best, best+1)
		}
	}
}

func common(a, b *Record) (n int) {
	have := map[string]int{}
	for _, p := range b.Properties {
		have[p.key()]++
	}
	for _, p := range a.Properties {
		if have[p.key()] > 0 {
			have[p.key()]--
			n++
		}
	}
	return n
}

// crowd is how many records may share a property that still tells something about which is which.
const crowd = 64

// overlap pairs what is left by the number of properties that they share, rare ones first.
func (m *matcher) overlap() {
	index := map[string][]int{}
	for k, b := range m.after {
		if m.used[k] && !m.merged {
			continue
		}
		for _, p := range b.Properties {
			for _, key := range p.loose() {
				if at := index[key]; len(at) <= crowd && (len(at) == 0 || at[len(at)-1] != k) {
					index[key] = append(at, k)
				}
			}
		}
	}
	type offer struct {
		i, k  int
		score float64
	}
	// The best pairs of all go first; those whose partner was taken look again.
	for {
		var offers []offer
		for i, a := range m.before {
			if m.pairs[i] >= 0 {
				continue
			}
			if k, score := m.best(a, index); k >= 0 {
				offers = append(offers, offer{i, k, score})
			}
		}
		slices.SortStableFunc(offers, func(a, b offer) int { return cmp.Compare(b.score, a.score) })
		progress := false
		for _, o := range offers {
			if m.used[o.k] && !m.merged {
				continue
			}
			m.pairs[o.i], m.used[o.k], progress = o.k, true, true
		}
		if !progress || m.merged {
			return
		}
	}
}

// best returns the record of after that shares most with a, rare properties counting more; -1 is none that shares a fifth.
func (m *matcher) best(a *Record, index map[string][]int) (best int, score float64) {
	votes, shared := map[int]float64{}, map[int]int{}
	for _, p := range a.Properties {
		seen := map[int]bool{}
		for _, key := range p.loose() {
			at := index[key]
			if len(at) > crowd {
				continue
			}
			for _, k := range at {
				if m.after[k].Kind == a.Kind && (!m.used[k] || m.merged) && !seen[k] {
					seen[k] = true
					votes[k] += 1 / float64(len(at))
					shared[k]++
				}
			}
		}
	}
	value, _ := a.count()
	best = -1
	for k, v := range votes {
		if 5*shared[k] < value {
			continue
		}
		if best < 0 || v > votes[best] || v == votes[best] && k < best {
			best = k
		}
	}
	if best < 0 {
		return -1, 0
	}
	return best, votes[best]
}

// loose are keys under which a property is found again although translated.
func (p Property) loose() []string {
	if strings.TrimSpace(p.Value) == "" || p.weak {
		return nil
	}
	name := p.Name + "\x00"
	out := []string{name + p.Value}
	for _, v := range p.others {
		if !slices.Contains(out, name+v) {
			out = append(out, name+v)
		}
	}
	return out
}
