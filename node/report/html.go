package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/decant-dev/decant/node/item/show"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var style string

// How much of one kind and outcome a page has: a browser takes no more with ease. The text and the JSON have all.
const (
	maxPage    = 2000     // entries
	maxBytes   = 16 << 20 // of them
	maxChanges = 1000     // changes of one entry
)

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"shown": show.Name, "cut": cut, "name": name, "heading": heading, "count": count, "join": join,
}).Parse(pageSource))

// policy lets the page load nothing and run nothing but its own style.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", base64.StdEncoding.EncodeToString(sum[:]))
}()

// WriteHTML writes the report as a page that needs nothing beside it: no script, no image, no address is in it. What is
// folded up is found by the browser's search.
func (r *Report) WriteHTML(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := page.ExecuteTemplate(b, "top", r.top()); err != nil {
		return err
	}
	for _, k := range r.Kinds {
		if err := r.section(b, k); err != nil {
			return err
		}
	}
	if err := page.ExecuteTemplate(b, "bottom", nil); err != nil {
		return err
	}
	return b.Flush()
}

// top is what the head of the page shows.
type top struct {
	*Report
	Style  template.CSS
	Policy string
	Header [][2]string
	Rows   []row
	Losses int64 // changes of all kinds
	Verb   string
}

type row struct {
	Kind
	Anchor string
	Rest   int64 // changes that lost nothing
}

func (r *Report) top() top {
	t := top{Report: r, Style: template.CSS(style), Policy: policy, Header: r.header(), Verb: "what became of your data"}
	for _, k := range r.Kinds {
		t.Rows = append(t.Rows, row{k, k.Kind.String(), k.Changes() - k.Dropped})
		t.Losses += k.Changes() + k.Refused
	}
	switch r.What {
	case "preview":
		t.Verb = "what would become of your data"
	case "undo":
		t.Verb = "what was undone"
	}
	return t
}

// shownPart is the entries of one outcome.
type shownPart struct {
	Outcome string
	Hint    string
	Open    bool
	Count   int64
	Entries []shownEntry
	More    int64
}

type shownEntry struct {
	*Entry
	Sentence string
	More     int // changes
}

var hints = map[string]string{
	"refused":   "The target did not take these.",
	"conflict":  "The target has these too, and says something else of them.",
	"suggested": "The target has something that may be the same. Both are there.",
	"merged":    "The target had these, and got what it lacked.",
	"new":       "These are on the target, and not all of it as it was.",
	"same":      "The target had these already.",
	"noted":     "These were read, and something about them was odd.",
}

func (r *Report) section(w io.Writer, k Kind) error {
	err := page.ExecuteTemplate(w, "kind", struct {
		Kind
		Anchor string
		Groups []Group
	}{k, k.Kind.String(), r.Groups(k.Kind)})
	none := true
	for _, o := range outcomes {
		if p := (part{k.Kind, o}); err == nil && r.counts[p] > 0 {
			none = false
			err = r.part(w, p)
		}
	}
	if none && err == nil {
		err = page.ExecuteTemplate(w, "none", nil)
	}
	return err
}

// part writes the entries of one outcome, as many as a page has.
func (r *Report) part(w io.Writer, p part) error {
	s := shownPart{Outcome: p.outcome, Hint: hints[p.outcome], Open: p.outcome == "refused" || p.outcome == "conflict", Count: r.counts[p]}
	size := 0
	err := r.of(p, func(e *Entry) bool {
		if size += e.size(); len(s.Entries) == maxPage || size > maxBytes && len(s.Entries) > 0 {
			return false
		}
		x := shownEntry{Entry: e, Sentence: e.sentence(), More: max(0, len(e.Changes)-maxChanges)}
		if x.More > 0 {
			short := *e
			short.Changes = e.Changes[:maxChanges]
			x.Entry = &short
		}
		s.Entries = append(s.Entries, x)
		return true
	})
	if err != nil {
		return err
	}
	s.More = s.Count - int64(len(s.Entries))
	return page.ExecuteTemplate(w, "part", s)
}

// count writes a number with thin spaces between its thousands, a dash for none.
func count(n int64) string {
	if n == 0 {
		return "–"
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// join names where a record was, for a line of small print.
func join(e shownEntry) string {
	s := ""
	for _, p := range []string{e.Book, e.From, e.UID} {
		if p == "" {
			continue
		}
		if s != "" {
			s += " · "
		}
		s += p
	}
	return show.Name(s)
}
