package note

import (
	"context"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var _ rule.Rules = Rules{}

func TestNames(t *testing.T) {
	n := Names{}
	for _, c := range [][2]string{{"a.md", "a.md"}, {"A.md", "A (2).md"}, {"a/b:c?.md", "a_b_c_.md"}, {"", "untitled.md"}, {"..", "untitled (2).md"}, {"con", "_con.md"}, {"x\u00a0 y\n", "x y_.md"}, {strings.Repeat("é", 200), strings.Repeat("é", 60) + ".md"}} {
		if got := n.Name("d", c[0], ".md"); got != c[1] {
			t.Errorf("%q: %q, want %q", c[0], got, c[1])
		}
	}
	if got := n.Name("d", "f.tar.gz/..", "/.."); strings.ContainsAny(got, "/") {
		t.Errorf("%q", got)
	}
}

func TestLink(t *testing.T) {
	if got := Link("a [b]\n", "attachments/x (1) é.png", true); got != `![a \[b\] ](attachments/x%20%281%29%20%C3%A9.png)` {
		t.Error(got)
	}
}

func TestSplitAndShape(t *testing.T) {
	r := Rules{}.Split("Notes/Keep/a.md", []byte("---\ntitle: T\ncolor: RED\nx: 1\n---\nb"))[0]
	if r.Path != "Keep/a.md" || r.Label != "T" || r.Kind != item.Note {
		t.Errorf("%+v", r)
	}
	if b := (Rules{}).Split("Notes/a.png", nil)[0]; b.Label != "a" {
		t.Errorf("%+v", b)
	}
	out, changes, ok := Rules{}.Shape(r, rule.Profile{Drops: []string{"COLOR"}})
	if !ok || len(changes) != 1 || string(out.Data) != "---\ntitle: T\nx: 1\n---\nb" || string(r.Data) == string(out.Data) {
		t.Errorf("%s %v", out.Data, changes)
	}
	if _, changes, ok := (Rules{}).Shape(r, rule.Profile{MaxSize: 3}); ok || len(changes) != 1 {
		t.Error("too large a note was taken")
	}
}

func TestMatchFindsWhatIsThere(t *testing.T) {
	rec := func(path, data string) item.Record {
		return item.Record{Kind: item.Note, Path: path, Data: []byte(data)}
	}
	dated := "---\ntitle: T\ncreated: 2024-01-01T00:00:00Z\n---\ntext"
	existing := []item.Record{rec("a.md", "a"), rec("b (2).md", "b"), rec("deep/t.md", dated), rec("pic.png", "1"), rec("crlf.md", "x\r\ny\r\n")}
	incoming := []item.Record{rec("a.md", "a"), rec("b.md", "b"), rec("other.md", dated), rec("pic.png", "2"), rec("new.md", "n"), rec("NEW.md", "n"), rec("crlf.md", "x\ny"), rec("x (2x).md", "q")}
	want := []rule.Verdict{rule.Same, rule.Same, rule.Same, rule.Conflict, rule.New, rule.Same, rule.Same, rule.New}
	d, err := Rules{}.Match(context.Background(), existing, incoming, rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if d[i].Verdict != want[i] {
			t.Errorf("%s: %v, want %v", incoming[i].Path, d[i].Verdict, want[i])
		}
	}
	if d[5].With != len(existing)+4 {
		t.Errorf("with %d", d[5].With)
	}
}
