package fidelity

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Table sums up results.
type Table []*Result

// Sum adds up everything, so that its Recall and Strict are the micro averages.
func (t Table) Sum() *Result {
	sum := &Result{Name: "all"}
	for _, r := range t {
		sum.Records += r.Records
		sum.Missing += r.Missing
		sum.Added += r.Added
		sum.Properties += r.Properties
		sum.Kept += r.Kept
		sum.StrictProperties += r.StrictProperties
		sum.StrictKept += r.StrictKept
		sum.After += r.After
		sum.Invented += r.Invented
		sum.Lost = append(sum.Lost, r.Lost...)
		sum.Changed = append(sum.Changed, r.Changed...)
		sum.Extra = append(sum.Extra, r.Extra...)
	}
	return sum
}

// Macro returns the means of the files' Recall and Strict.
func (t Table) Macro() (recall, strict float64) {
	if len(t) == 0 {
		return 1, 1
	}
	for _, r := range t {
		recall += r.Recall()
		strict += r.Strict()
	}
	return recall / float64(len(t)), strict / float64(len(t))
}

// Perfect counts the files whose values were all kept, and those of which everything was.
func (t Table) Perfect() (whole, perfect int) {
	for _, r := range t {
		if r.Whole() {
			whole++
		}
		if r.Perfect() {
			perfect++
		}
	}
	return whole, perfect
}

// Write prints a line for each file and the sums.
func (t Table) Write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "file\trecords\tmissing\tadded\tproperties\tkept\tstrict\tinvented\tsilent")
	row := func(r *Result) {
		fmt.Fprintf(tw, "%q\t%d\t%d\t%d\t%d\t%.2f %%\t%.2f %%\t%.2f %%\t%d\n", r.Name, r.Records, r.Missing, r.Added, r.StrictProperties,
			100*r.Recall(), 100*r.Strict(), 100*r.Invention(), len(r.Silent()))
	}
	for _, r := range t {
		row(r)
	}
	sum := t.Sum()
	if len(t) > 1 {
		row(sum)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	whole, perfect := t.Perfect()
	recall, strict := t.Macro()
	_, err := fmt.Fprintf(w, "values kept: %.2f %% (per file %.2f %%); strict: %.2f %% (per file %.2f %%); files with all values: %d of %d, perfect: %d; invented: %.2f %%; silent losses: %d\n",
		100*sum.Recall(), 100*recall, 100*sum.Strict(), 100*strict, whole, len(t), perfect, 100*sum.Invention(), len(sum.Silent()))
	return err
}

// WriteLosses prints what was lost or changed, at most limit lines; 0 is all. Silent ones come first.
func (r *Result) WriteLosses(w io.Writer, limit int) {
	n := 0
	print := func(mark string, l Loss) {
		if n++; limit == 0 || n <= limit {
			fmt.Fprintf(w, "%s %q %s", mark, r.Name, l.Property)
			if l.Reported != nil {
				fmt.Fprintf(w, ": %s, %.100q", l.Reported.Effect, l.Reported.Why)
			}
			fmt.Fprintln(w)
		}
	}
	for _, silent := range []bool{true, false} {
		for i, l := range append(append([]Loss{}, r.Lost...), r.Changed...) {
			if silent != (l.Reported == nil) {
				continue
			}
			mark := "lost   "
			if i >= len(r.Lost) {
				mark = "changed"
			}
			if silent {
				mark = "silently " + mark
			}
			print(mark, l)
		}
	}
	if limit > 0 && n > limit {
		fmt.Fprintf(w, "and %d more\n", n-limit)
	}
}
