package ui

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
)

// DeliveryLines shows what would become of the records in the targets. details names
// every merged, contradicting, similar and refused record that the plan keeps.
func DeliveryLines(d *node.Delivery, details bool) []string {
	var lines []string
	for _, k := range item.Kinds {
		if n := d.Untaken[k.String()]; n > 0 {
			lines = append(lines, fmt.Sprintf("%s: none of the targets takes them", Plural(n, k.String())))
		}
	}
	if len(lines) > 0 {
		lines = append([]string{""}, lines...)
	}
	if len(d.Parts) == 0 {
		return append(lines, "", "No records for the targets.")
	}
	goal := ""
	t := table{}
	flush := func() {
		if goal != "" {
			lines = append(lines, "", "Into "+show.Name(goal)+":")
			lines = append(lines, t.lines("  ")...)
		}
		t = table{}
	}
	for i := range d.Parts {
		p := &d.Parts[i]
		if p.Goal != goal {
			flush()
			goal = p.Goal
			t.add("", "all", "new", "same", "merged", "conflict", "alike", "refused")
		}
		t.add(p.Kind+"s", Count(p.Total), dash(p.New), dash(p.Same), dash(p.Merge), dash(p.Conflict), dash(p.Suggest), dash(p.Refused))
	}
	flush()
	for i := range d.Parts {
		lines = append(lines, changeLines(&d.Parts[i])...)
	}
	for i := range d.Parts {
		lines = append(lines, recordLines(&d.Parts[i], details)...)
	}
	return lines
}

// effectText says in words what happens to properties.
var effectText = []struct {
	effect item.Effect
	text   string
}{
	{item.EffectDropped, "not kept by the target"}, {item.EffectAltered, "in another form"}, {item.EffectRepaired, "repaired"},
	{item.EffectAdded, "added"}, {item.EffectMoved, "kept under another name"}, {item.EffectFlagged, "kept, but probably broken"},
}

func changeLines(p *deliver.Part) []string {
	var lines []string
	for _, e := range effectText {
		n := p.Changes[e.effect.String()]
		if n == 0 {
			continue
		}
		line := fmt.Sprintf("  %s of the %ss: %s", Count(n)+" "+plural(n, "property", "properties"), p.Kind, e.text)
		if e.effect == item.EffectDropped {
			line += " (" + most(p.Properties, 6) + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// most names the most frequent ones.
func most(counts map[string]int64, n int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if d := counts[b] - counts[a]; d != 0 {
			return int(d)
		}
		return strings.Compare(a, b)
	})
	text := ""
	for i, name := range names {
		if i == n {
			return text + ", …"
		}
		if i > 0 {
			text += ", "
		}
		n := Count(counts[name])
		if name == "" {
			name = "whole records"
		}
		text += show.Name(name) + " " + n
	}
	return text
}

// maxRecordLines is how many records are named without details.
const maxRecordLines = 8

func recordLines(p *deliver.Part, details bool) []string {
	var lines []string
	for i, named := 0, 0; i < len(p.Lines); named++ {
		if !details && named == maxRecordLines {
			return append(lines, fmt.Sprintf("  … and %s more ([d]etails)", Count(int64(len(p.Lines)-i)+p.LinesBeyond)))
		}
		l, alike := p.Lines[i], 1
		for i+alike < len(p.Lines) && p.Lines[i+alike] == l {
			alike++
		}
		line := "  " + l.Verdict + ": " + RecordLine(l)
		if alike > 1 {
			line += fmt.Sprintf(", %d times", alike)
		}
		lines, i = append(lines, line), i+alike
	}
	if p.LinesBeyond > 0 {
		lines = append(lines, fmt.Sprintf("  … and %s more (`decant report` lists them all)", Count(p.LinesBeyond)))
	}
	return lines
}

// RecordLine says what becomes of one record.
func RecordLine(l deliver.Line) string {
	text := show.Name(l.Record)
	if l.With != "" && l.With != l.Record {
		text += " with " + show.Name(l.With)
	}
	if l.Why != "" {
		text += " (" + show.Name(l.Why) + ")"
	}
	return text
}

// DeliveredLine says what was done.
func DeliveredLine(r *deliver.Result) string {
	text := Plural(r.Written, "record") + " written into the targets, " + Count(r.Same) + " were there already"
	if r.Left > 0 {
		text += ", " + Count(r.Left) + " left as they were"
	}
	if r.Failed > 0 {
		text += ", " + Count(r.Failed) + " refused"
	}
	return text
}
