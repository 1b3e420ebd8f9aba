package bookmark

import (
	"context"
	"encoding/hex"
	"flag"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/internal/vector"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var update = flag.Bool("update", false, "write the test vectors anew")

type canonicalVector struct {
	URL       string `json:"url"`
	Canonical string `json:"canonical"`
}

type recordsVector struct {
	Comment  string   `json:"comment"`
	File     string   `json:"file"`
	Identity []string `json:"identity"` // of each line, hexadecimal; "" is no bookmark
}

type mergeVector struct {
	Comment string  `json:"comment"`
	Old     string  `json:"old"`
	New     string  `json:"new"`
	Merged  *string `json:"merged"` // null: both are kept
}

type matchVector struct {
	Comment   string         `json:"comment"`
	Existing  []string       `json:"existing"`
	Incoming  []string       `json:"incoming"`
	Decisions []wantDecision `json:"decisions"`
}

type wantDecision struct {
	Verdict string   `json:"verdict"`
	With    int      `json:"with"` // -1: none
	Result  string   `json:"result,omitempty"`
	Replace string   `json:"replace,omitempty"`
	Changes []string `json:"changes,omitempty"` // property and effect
}

var canonicalInputs = []string{"http://Example.com", " HTTPS://example.com:443/a b?q=ü#f ", "https://exämple.com/", "http://a/x/../b/./c", "http://a/..", "http://a:80?x", "http://u:P@HOST:8080", `http:\\a\b`, "http:/a", "http://[::1]:80/",
	"JavaScript:alert(1)", "place:type=6", "mailto:A@B", "no scheme", "", "about:blank", "http://a/%7e", "ht\ntp://a\t/b", "http://a/?x='\"<>`{}|", "ftp://a:21/", "file:///C:/x y"}

func node(kind, place, title, rest string) string {
	return `{"root":"toolbar","path":[` + place + `],"pos":0,"type":"` + kind + `","title":"` + title + `"` + rest + "}\n"
}

var (
	folderA = node("folder", ``, "A", ``)
	inA     = node("bookmark", `"A"`, "x", `,"url":"http://x.example/"`)
	inTwin  = `{"root":"toolbar","path":["A"],"nth":[1],"pos":0,"type":"bookmark","title":"x","url":"http://x.example/"}` + "\n"
	twin    = `{"root":"toolbar","path":[],"nth":[1],"pos":1,"type":"folder","title":"A"}` + "\n"
	atTop   = node("bookmark", ``, "x", `,"url":"http://x.example/"`)
	line    = node("separator", ``, "", ``)
)

func at(pos int, s string) string {
	return strings.Replace(s, `"pos":0`, `"pos":`+string(rune('0'+pos)), 1)
}

var recordsInputs = []recordsVector{
	{Comment: "a folder, what is in it, and its twin", File: folderA + inA + twin + inTwin},
	{Comment: "the same twice are told apart by their number; title and position do not count", File: atTop + at(1, node("bookmark", ``, "y", `,"url":"HTTP://x.example"`))},
	{Comment: "separators of one folder are told apart by their number", File: line + at(1, line)},
	{Comment: "blank lines, a line without break, lines that are none", File: "\n" + atTop + " \r\nhello\n{}\n" + strings.TrimSuffix(folderA, "\n")},
}

var mergeInputs = []mergeVector{
	{Comment: "what is not there is appended", Old: atTop, New: folderA + atTop},
	{Comment: "position and GUID do not count", Old: atTop, New: at(5, node("bookmark", ``, "x", `,"url":"http://x.example/","guid":"g"`))},
	{Comment: "a second one of the same is another one", Old: atTop, New: atTop + at(1, atTop)},
	{Comment: "another title is another one; the old file lacks a break", Old: strings.TrimSuffix(atTop, "\n"), New: node("bookmark", ``, "z", `,"url":"http://x.example/"`)},
	{Comment: "into an empty file", Old: "", New: folderA},
	{Comment: "a line that is no bookmark", Old: "hello\n", New: folderA},
	{Comment: "a new line that is no bookmark", Old: folderA, New: "hello\n"},
}

var matchInputs = []matchVector{
	{Comment: "into an empty target", Incoming: []string{folderA, inA, twin, inTwin, line}},
	{Comment: "all is there", Existing: []string{folderA, inA, line}, Incoming: []string{folderA, inA, line}},
	{Comment: "the same address in another folder is another bookmark", Existing: []string{folderA, inA}, Incoming: []string{atTop}},
	{Comment: "behind the one that is before it in the source", Existing: []string{atTop, at(1, node("bookmark", ``, "z", `,"url":"http://z/"`))},
		Incoming: []string{atTop, at(1, node("bookmark", ``, "y", `,"url":"http://y/"`)), at(2, node("bookmark", ``, "w", `,"url":"http://w/"`))}},
	{Comment: "another title", Existing: []string{atTop}, Incoming: []string{node("bookmark", ``, "other", `,"url":"http://x.example/"`)}},
	{Comment: "no title, another spelling, tags, a description, dates", Existing: []string{node("bookmark", ``, "t", `,"url":"http://x.example/","added":1700000000000000,"tags":["a"],"description":"one"`)},
		Incoming: []string{node("bookmark", ``, "", `,"url":"http://X.example","added":1600000000000000,"modified":1700000000000000,"tags":["A","b"],"description":"two"`)}},
	{Comment: "a second is no difference", Existing: []string{node("bookmark", ``, "t", `,"url":"http://x/","added":1700000000000000`)}, Incoming: []string{node("bookmark", ``, "t", `,"url":"http://x/","added":1699999999500000`)}},
	{Comment: "a keyword that another bookmark has", Existing: []string{node("bookmark", ``, "t", `,"url":"http://x/","keyword":"k"`)}, Incoming: []string{node("bookmark", ``, "u", `,"url":"http://y/","keyword":"k"`)}},
	{Comment: "of two with one address that of the same title", Existing: []string{node("bookmark", ``, "a", `,"url":"http://x/"`), at(1, node("bookmark", ``, "b", `,"url":"http://x/"`))}, Incoming: []string{node("bookmark", ``, "b", `,"url":"http://x/"`)}},
	{Comment: "a second twin goes to the end", Existing: []string{folderA, at(1, atTop)}, Incoming: []string{folderA, twin}},
}

func asRecords(lines []string) (out []item.Record) {
	for _, l := range lines {
		out = append(out, item.Record{Kind: item.Bookmark, Data: []byte(l)})
	}
	return out
}

func TestVectors(t *testing.T) {
	canonical := []canonicalVector{}
	for _, u := range canonicalInputs {
		canonical = append(canonical, canonicalVector{u, Canonical(u)})
	}
	records, merges, matches := recordsInputs, mergeInputs, matchInputs
	for i := range records {
		records[i].Identity = []string{}
		for _, r := range Records([]byte(records[i].File)) {
			records[i].Identity = append(records[i].Identity, hex.EncodeToString(r.Identity))
		}
	}
	for i := range merges {
		if m := Merge([]byte(merges[i].Old), []byte(merges[i].New)); m != nil {
			s := string(m)
			merges[i].Merged = &s
		}
	}
	for i := range matches {
		d, err := Rules{}.Match(context.Background(), asRecords(matches[i].Existing), asRecords(matches[i].Incoming), rule.Options{})
		if err != nil {
			t.Fatal(err)
		}
		matches[i].Decisions = nil
		for _, c := range d {
			w := wantDecision{Verdict: c.Verdict.String(), With: c.With, Result: string(c.Result), Replace: string(c.Replace)}
			for _, x := range c.Changes {
				w.Changes = append(w.Changes, x.Property+" "+x.Effect.String())
			}
			matches[i].Decisions = append(matches[i].Decisions, w)
		}
	}
	vector.Pinned(t, *update, "testdata/canonical.json", "9.4", canonical)
	vector.Pinned(t, *update, "testdata/records.json", "9.4", records)
	vector.Pinned(t, *update, "testdata/merge.json", "9.4", merges)
	vector.Pinned(t, *update, "testdata/match.json", "9.4", matches)
}
