package ui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
)

// few is how many names of a list are shown before the person asks for the details.
const few = 5

// KindName is a kind as a person calls several of it.
func KindName(k item.Kind) string { return k.String() + "s" }

// previewColumns are the outcomes of a preview; a column without items is left out.
var previewColumns = []struct {
	name string
	get  func(node.KindPreview) item.Tally
}{
	{"new", func(k node.KindPreview) item.Tally { return k.New }},
	{"same", func(k node.KindPreview) item.Tally { return k.Same }},
	{"conflict", func(k node.KindPreview) item.Tally { return k.Conflict }},
	{"merge", func(k node.KindPreview) item.Tally { return k.Merge }},
	{"lost", func(k node.KindPreview) item.Tally { return k.Lost }},
}

// PreviewLines is the preview as a person sees it; details lists every name that
// the preview carries. chosen limits the table to some kinds, nil means all.
func PreviewLines(p *node.Preview, to string, chosen []item.Kind, details bool) []string {
	lines := []string{"", previewTitle(p, to), ""}
	lines = append(lines, previewTable(p, chosen)...)
	lines = append(lines, "")
	if conflicts(p, chosen) > 0 {
		lines = append(lines, "In conflict: the name is taken by another file. Yours stays as it is; the new one lies beside it.")
	}
	var names []string
	for _, r := range p.Renamed {
		names = append(names, show.Name(r.Path)+" → "+show.Name(r.Dest))
	}
	lines = append(lines, list(Plural(p.RenameCount, "item")+" under another name:", names, p.RenameCount, details)...)
	var losses []string
	for _, l := range p.Losses {
		losses = append(losses, LossLine(l))
	}
	lines = append(lines, list("Not kept, or not kept as it was ("+Count(p.LossCount)+"):", losses, p.LossCount, details)...)
	need := need(p, chosen)
	space := fmt.Sprintf("Needs %s; %s are free.", Bytes(need), Bytes(p.Free))
	if need > p.Free {
		space = fmt.Sprintf("Needs %s, but only %s are free: it will not fit.", Bytes(need), Bytes(p.Free))
	}
	lines = append(lines, space)
	if !p.Final {
		lines = append(lines, "This is the old device's list; the contents may still be on their way.")
	}
	return append(lines, "Nothing has been written yet.")
}

func previewTitle(p *node.Preview, to string) string {
	from := "the old device"
	if p.From != "" {
		from = show.Name(p.From)
	}
	if p.Peer != "" {
		from += " (…" + show.Name(p.Peer) + ")"
	}
	return "From " + from + " to " + show.Name(to)
}

// shown lists the kinds of a preview in their order.
func shown(p *node.Preview, chosen []item.Kind) []item.Kind {
	var out []item.Kind
	for _, k := range item.Kinds {
		if _, ok := p.Kinds[k.String()]; ok && (chosen == nil || slices.Contains(chosen, k)) {
			out = append(out, k)
		}
	}
	return out
}

// need is the space that the chosen kinds take, or all of them.
func need(p *node.Preview, chosen []item.Kind) (n int64) {
	if chosen == nil {
		return p.Need
	}
	for _, k := range shown(p, chosen) {
		kp := p.Kinds[k.String()]
		n += kp.Total.Bytes - kp.Same.Bytes - kp.Lost.Bytes
	}
	return min(max(n, 0), p.Need)
}

func conflicts(p *node.Preview, chosen []item.Kind) (n int64) {
	for _, k := range shown(p, chosen) {
		n += p.Kinds[k.String()].Conflict.Items
	}
	return n
}

func previewTable(p *node.Preview, chosen []item.Kind) []string {
	kinds := shown(p, chosen)
	if len(kinds) == 0 {
		return []string{"  nothing"}
	}
	columns := slices.Clone(previewColumns)
	columns = slices.DeleteFunc(columns, func(c struct {
		name string
		get  func(node.KindPreview) item.Tally
	}) bool {
		return !slices.ContainsFunc(kinds, func(k item.Kind) bool { return c.get(p.Kinds[k.String()]).Items > 0 })
	})
	var t table
	head := []string{"", "items", "size"}
	sums := make([]int64, len(columns)+2)
	for _, c := range columns {
		head = append(head, c.name)
	}
	t.add(head...)
	for _, k := range kinds {
		kp := p.Kinds[k.String()]
		row := []string{KindName(k), Count(kp.Total.Items), Bytes(kp.Total.Bytes)}
		sums[0] += kp.Total.Items
		sums[1] += kp.Total.Bytes
		for i, c := range columns {
			n := c.get(kp).Items
			sums[i+2] += n
			row = append(row, dash(n))
		}
		t.add(row...)
	}
	if len(kinds) > 1 {
		row := []string{"all", Count(sums[0]), Bytes(sums[1])}
		for _, n := range sums[2:] {
			row = append(row, dash(n))
		}
		t.add(row...)
	}
	return t.lines("  ")
}

// dash writes nothing for nothing.
func dash(n int64) string {
	if n == 0 {
		return "–"
	}
	return Count(n)
}

// list shows the first names of a list and how many are left; "" if there are none.
func list(title string, names []string, count int64, all bool) []string {
	if count == 0 {
		return nil
	}
	lines := []string{title}
	n := len(names)
	if !all {
		n = min(n, few)
	}
	for _, name := range names[:n] {
		lines = append(lines, "  "+name)
	}
	if rest := count - int64(n); rest > 0 {
		lines = append(lines, "  … and "+Count(rest)+" more")
	}
	return lines
}

// LossList is a titled list of losses: the first few, or all that are given.
func LossList(title string, losses []item.Loss, count int64, all bool) []string {
	var names []string
	for _, l := range losses {
		names = append(names, LossLine(l))
	}
	return list(title, names, count, all)
}

// outcomes are the columns of a receipt.
var outcomes = []item.Outcome{item.Moved, item.Merged, item.Same, item.KeptBoth, item.Skipped, item.LostAtSource, item.Failed}

// ReceiptLines is a verified receipt as a person sees it.
func ReceiptLines(r *node.Receipt) []string {
	var t table
	head := []string{"", "items", "size"}
	var columns []item.Outcome
	for _, o := range outcomes {
		if Outcomes(r, o).Items > 0 {
			columns = append(columns, o)
			head = append(head, o.String())
		}
	}
	t.add(head...)
	for _, k := range item.Kinds {
		by, ok := r.Kinds[k.String()]
		if !ok {
			continue
		}
		var all item.Tally
		var cells []string
		for _, o := range columns {
			cells = append(cells, dash(by[o.String()].Items))
		}
		for _, tally := range by {
			all.Items += tally.Items
			all.Bytes += tally.Bytes
		}
		t.add(append([]string{KindName(k), Count(all.Items), Bytes(all.Bytes)}, cells...)...)
	}
	lines := []string{
		fmt.Sprintf("Receipt %s, signed by the new device (…%s), %s", r.Session.Short(),
			last(r.Receiver, 6), r.At.Local().Format("2006-01-02 15:04:05")), ""}
	lines = append(lines, t.lines("  ")...)
	return append(lines, "", levelLine(r.Level))
}

func levelLine(level string) string {
	if level == "synced" {
		return "Everything was verified and synced to the new device's storage."
	}
	return "Everything was verified, synced and " + show.Name(level) + " from the new device's storage."
}

// WipeLine says whether the old device may be wiped, and what to look at first.
func WipeLine(r *node.Receipt) string {
	if r == nil || !r.SafeWipe {
		return "NOT safe to wipe the old device."
	}
	var left []string
	for _, o := range []item.Outcome{item.Skipped, item.LostAtSource, item.Failed} {
		if n := Outcomes(r, o).Items; n > 0 {
			left = append(left, Count(n)+" "+o.String())
		}
	}
	if len(left) > 0 {
		return "Safe to wipe the old device, except for what did not move: " + strings.Join(left, ", ") + "."
	}
	return "Safe to wipe the old device."
}

// Outcomes sums one outcome over all kinds of a receipt.
func Outcomes(r *node.Receipt, o item.Outcome) (t item.Tally) {
	for _, by := range r.Kinds {
		t.Items += by[o.String()].Items
		t.Bytes += by[o.String()].Bytes
	}
	return t
}

func last(s string, n int) string { return show.Name(s[max(len(s)-n, 0):]) }
