package note

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// file is a note or an attachment: its path below Notes and its bytes.
type file [2]string

type matchVector struct {
	Comment   string         `json:"comment"`
	Existing  []file         `json:"existing"`
	Incoming  []file         `json:"incoming"`
	Decisions []wantDecision `json:"decisions"`
}

type wantDecision struct {
	Verdict string   `json:"verdict"`
	With    int      `json:"with"` // -1: none; from the number of existing ones on: an incoming one
	Result  string   `json:"result,omitempty"`
	Changes []string `json:"changes,omitempty"` // property and effect
}

const dated = "---\ntitle: T\ncreated: 2024-01-01T00:00:00Z\n---\n"

var matchInputs = []matchVector{
	{Comment: "the same bytes under the name, or one with a number", Existing: []file{{"a.md", "a"}, {"b (2).md", "b"}}, Incoming: []file{{"a.md", "a"}, {"b.md", "b"}, {"c.md", "a"}}},
	{Comment: "title and time of creation, elsewhere", Existing: []file{{"x/t.md", dated + "text"}}, Incoming: []file{{"t.md", dated + "text"}, {"u.md", dated + "other text"}}},
	{Comment: "the same text with other properties", Existing: []file{{"a.md", "---\nlabels: [x]\ncolor: RED\n---\ntext\r\n"}}, Incoming: []file{{"a.md", "---\nlabels: [y]\ncolor: BLUE\npinned: true\n---\ntext"}}},
	{Comment: "properties for a text without any", Existing: []file{{"a.md", "text"}}, Incoming: []file{{"a.md", "---\npinned: true\n---\ntext"}}},
	{Comment: "an attachment of the name with other bytes", Existing: []file{{"p.png", "1"}}, Incoming: []file{{"p.png", "2"}}},
	{Comment: "twice the same", Incoming: []file{{"a.md", "a"}, {"A.md", "a"}}},
}

func asRecords(files []file) (out []item.Record) {
	for _, f := range files {
		out = append(out, item.Record{Kind: item.Note, Path: f[0], Data: []byte(f[1])})
	}
	return out
}

func TestVectors(t *testing.T) {
	got := matchInputs
	for i := range got {
		got[i].Decisions = nil
		d, err := Rules{}.Match(context.Background(), asRecords(got[i].Existing), asRecords(got[i].Incoming), rule.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range d {
			w := wantDecision{Verdict: c.Verdict.String(), With: c.With, Result: string(c.Result)}
			for _, x := range c.Changes {
				w.Changes = append(w.Changes, x.Property+" "+x.Effect.String())
			}
			got[i].Decisions = append(got[i].Decisions, w)
		}
	}
	const name = "testdata/match.json"
	if *update {
		b, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want []matchVector
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s does not hold what this code says; look at the difference, and with it change docs/SPEC.md section 9.4", name)
	}
}
