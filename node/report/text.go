package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
)

// WriteText writes the whole report for a terminal.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := r.summary(b); err != nil {
		return err
	}
	for _, k := range r.Kinds {
		for _, o := range outcomes {
			p := part{k.Kind, o}
			if r.counts[p] > 0 {
				fmt.Fprintf(b, "\n%s, %s\n", heading(k.Kind), o)
			}
			if err := r.of(p, func(e *Entry) bool { e.text(b); return true }); err != nil {
				return err
			}
		}
	}
	return b.Flush()
}

// WriteSummary writes the counts, and how often which property changed.
func (r *Report) WriteSummary(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := r.summary(b); err != nil {
		return err
	}
	return b.Flush()
}

func (r *Report) summary(b *bufio.Writer) error {
	for _, l := range r.header() {
		fmt.Fprintf(b, "%-7s %s\n", l[0], l[1])
	}
	fmt.Fprintln(b)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tnew\tsame\tmerged\tconflicts\tsuggested\trefused\tchanges\t")
	for _, k := range r.Kinds {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", heading(k.Kind), k.New, k.Same, k.Merged, k.Conflicts, k.Suggested, k.Refused, k.Changes())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, k := range r.Kinds {
		for i, g := range r.Groups(k.Kind) {
			if i == 0 {
				fmt.Fprintf(b, "\n%s, what changed\n", heading(k.Kind))
			}
			fmt.Fprintf(b, "  %6d × %s\n", g.Count, changed(g.Property, g.Effect, g.Why))
		}
	}
	return nil
}

// header are the names and values above the report.
func (r *Report) header() (out [][2]string) {
	add := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				out = append(out, [2]string{name, cut(v)})
			}
		}
	}
	add("what", r.What)
	if !r.When.IsZero() {
		add("when", r.When.Format(time.RFC3339))
	}
	add("source", r.Source...)
	add("target", r.Target...)
	add("note", r.Notes...)
	return out
}

func (e *Entry) text(b *bufio.Writer) {
	fmt.Fprintf(b, "  %s", name(e.Record))
	if s := e.sentence(); s != "" {
		fmt.Fprintf(b, ": %s", cut(s))
	}
	fmt.Fprintln(b)
	for _, c := range e.Changes {
		fmt.Fprintf(b, "      %s\n", changed(c.Property, c.Effect, c.Why))
		for _, v := range [][2]string{{"before", c.Before}, {"after", c.After}} {
			if v[1] != "" {
				fmt.Fprintf(b, "        %-6s %s\n", v[0], cut(v[1]))
			}
		}
	}
}

// name shows what a record is known by.
func name(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(no name)"
	}
	return cut(s)
}

// changed says what happened to a property.
func changed(property string, e item.Effect, why string) string {
	if property == "" {
		property = "the record"
	}
	s := show.Name(property) + " " + e.String()
	if why != "" {
		s += ": " + cut(why)
	}
	return s
}

// shown is how many bytes of a value a line repeats.
const shown = 300

// cut shows untrusted text on one line.
func cut(s string) string {
	if len(s) <= shown {
		return show.Name(s)
	}
	return show.Name(strings.ToValidUTF8(s[:shown], "")) + "…"
}
