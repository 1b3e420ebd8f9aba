package ui

import (
	"slices"
	"testing"

	"github.com/decant-dev/decant/node/deliver"
)

func TestRecordLines(t *testing.T) {
	sep := deliver.Line{Verdict: "refused", Record: "separator", Why: "no separators"}
	p := &deliver.Part{Lines: []deliver.Line{{Verdict: "merge", Record: "Ann", With: "Ann B"}, sep, sep, sep, {Verdict: "merge", Record: "Bob"}}, LinesBeyond: 2}
	want := []string{"  merge: Ann with Ann B", "  refused: separator (no separators), 3 times", "  merge: Bob", "  … and 2 more (`decant report` lists them all)"}
	if got := recordLines(p, false); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		p.Lines = append(p.Lines, deliver.Line{Verdict: "merge", Record: name})
	}
	if got := recordLines(p, false); len(got) != maxRecordLines+1 || got[maxRecordLines] != "  … and 4 more ([d]etails)" {
		t.Errorf("%q", got)
	}
}
