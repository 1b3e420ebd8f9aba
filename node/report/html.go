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

// maxPage is how many entries of one kind and outcome a page has: a browser takes no more with ease. The JSON has all.
const maxPage = 2000

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

// part is the entries of one outcome.
type part struct {
	Outcome string
	Hint    string
	Open    bool
	Count   int
	Entries []shownEntry
	More    int
}

type shownEntry struct {
	*Entry
	Sentence string
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
	var parts []part
	for _, o := range outcomes {
		in := r.of(k.Kind, o)
		if len(in) == 0 {
			continue
		}
		p := part{Outcome: o, Hint: hints[o], Open: o == "refused" || o == "conflict", Count: len(in)}
		for i, e := range in {
			if i == maxPage {
				p.More = len(in) - i
				break
			}
			p.Entries = append(p.Entries, shownEntry{e, e.sentence()})
		}
		parts = append(parts, p)
	}
	return page.ExecuteTemplate(w, "kind", struct {
		Kind
		Anchor string
		Groups []Group
		Parts  []part
	}{k, k.Kind.String(), r.Groups(k.Kind), parts})
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
