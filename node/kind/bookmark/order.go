package bookmark

import (
	"slices"

	"github.com/decant-dev/decant/node/kind/rule"
)

// order is the siblings of each folder, those of the target and the new ones, as linked
// lists of node numbers: where a new one goes is known only when all are in.
type order struct {
	next map[int]int
	last map[string]int // by folder
	head map[string]int
}

const none = -1

func newOrder(nodes []*Bookmark) *order {
	o := &order{map[int]int{}, map[string]int{}, map[string]int{}}
	folders := map[string][]int{}
	for i, b := range nodes {
		if b != nil {
			key := b.FolderKey()
			if b.Type == Folder {
				key = folderKey(b.Root, b.Path, b.Nth)
			}
			folders[key] = append(folders[key], i)
		}
	}
	for key, list := range folders {
		slices.SortStableFunc(list, func(a, b int) int { return nodes[a].Pos - nodes[b].Pos })
		for _, i := range list {
			o.after(key, none, i, true)
		}
	}
	return o
}

// after puts node i behind node prev, or to the end of its folder.
func (o *order) after(folder string, prev, i int, end bool) {
	last, ok := o.last[folder]
	if end && ok {
		prev = last
	}
	switch {
	case !ok:
		o.head[folder], o.last[folder], o.next[i] = i, i, none
	default:
		o.next[i], o.next[prev] = o.next[prev], i
		if prev == last {
			o.last[folder] = i
		}
	}
}

// place gives each new node the position at which it is to be inserted when those before it
// in incoming are in already.
func (m *matcher) place(out []rule.Decision) {
	previous := map[string]int{} // the last incoming node of each folder, as a node number
	added := map[string][]int{}
	for i := range out {
		b, n := m.nodes[m.existing+i], m.existing+i
		if b == nil {
			continue
		}
		folder := folderKey(b.Root, b.Path, b.Nth)
		if v := out[i].Verdict; v != rule.New && v != rule.Conflict {
			previous[folder] = m.pair[i]
			continue
		}
		prev, ok := previous[folder]
		twin := b.Type == Folder && len(b.Nth) > 0 && b.Nth[len(b.Nth)-1] > 0 // behind all of its name
		m.order.after(folder, prev, n, !ok || twin)
		previous[folder] = n
		added[folder] = append(added[folder], n)
	}
	taken := map[string]bool{}
	for folder, list := range added {
		at := m.order.positions(folder, list, m.existing)
		for k, n := range list {
			b := *m.nodes[n]
			for b.Pos = at[k]; ; b.Pos++ { // an order of its own to each: what is written is told apart by its bytes
				data := b.Encode()
				if !taken[string(data)] {
					taken[string(data)] = true
					out[n-m.existing].Result = data
					break
				}
			}
		}
	}
}

// positions returns for the new nodes of a folder, in the order in which they are added, how
// many nodes are before each at that time. It counts with a Fenwick tree over the final order.
func (o *order) positions(folder string, added []int, existing int) []int {
	rank := map[int]int{}
	n := 0
	for i, ok := o.head[folder], true; ok && i != none; i, ok = o.next[i], true {
		n++
		rank[i] = n
	}
	tree := make([]int, n+1)
	add := func(at int) {
		for ; at <= n; at += at & -at {
			tree[at]++
		}
	}
	before := func(at int) (sum int) {
		for at--; at > 0; at -= at & -at {
			sum += tree[at]
		}
		return sum
	}
	for i, r := range rank {
		if i < existing {
			add(r)
		}
	}
	out := make([]int, len(added))
	for k, i := range added {
		out[k] = before(rank[i])
		add(rank[i])
	}
	return out
}
