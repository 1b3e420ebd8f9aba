package bookmark

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var _ rule.Rules = Rules{}

func link(root, path, title, address string) *Bookmark {
	b := &Bookmark{Root: root, Type: URL, Title: title, URL: address}
	if path != "" {
		b.Path = strings.Split(path, "/")
	}
	return b
}

func records(all ...*Bookmark) (out []item.Record) {
	for i, b := range all {
		if b.Pos == 0 {
			b.Pos = i
		}
		out = append(out, b.Record("", ""))
	}
	return out
}

func match(t *testing.T, existing, incoming []item.Record) []rule.Decision {
	t.Helper()
	d, err := Rules{}.Match(context.Background(), existing, incoming, rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"http://Example.com": "http://example.com/", " HTTPS://example.com:443/a b?q=ü#f ": "https://example.com/a%20b?q=%C3%BC#f",
		"https://exämple.com:443/a b?q=ü#f": "https://xn--exmple-cua.com/a%20b?q=%C3%BC#f", // as Firefox 153 stores it
		"http://a/x/../b/./c":               "http://a/b/c", "http://a:80?x": "http://a/?x", "http://a:8080": "http://a:8080/",
		"http://u:P@HOST/": "http://u:P@host/", `http:\\a\b`: "http://a/b", "http://[::1]:80/": "http://[::1]/",
		"JavaScript:alert(1)": "javascript:alert(1)", "place:type=6&sort=14": "place:type=6&sort=14", "no scheme": "no scheme", "": "", "about:blank": "about:blank",
		"http://a/%7e": "http://a/%7e", "ht\ntp://a": "http://a/",
	} {
		if got := Canonical(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if again := Canonical(want); again != want {
			t.Errorf("%q is not canonical: %q", want, again)
		}
	}
}

func TestEncodeKeepsWhatItDoesNotKnow(t *testing.T) {
	line := `{"root":"menu","path":["a\u2028<b>"],"pos":3,"type":"bookmark","url":"u","x":{"html.q":"1"},"future":{"a":[1.50]}}` + "\n"
	b, err := Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b.Encode()); got != line {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"", "{}", "[]", `{"root":"menu"}`, `{"root":"x","type":"folder"}`, `{"root":"menu","type":"folder","nth":[]}`, `{"root":"menu","type":"folder","path":5}`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestMatch(t *testing.T) {
	have := records(link(Toolbar, "", "A", "http://a.example"), link(Toolbar, "", "C", "http://c.example/"), link(Menu, "", "D", "http://d.example/"))
	in := records(link(Toolbar, "", "A", "http://A.example/"), link(Toolbar, "", "B", "http://b.example/"), link(Toolbar, "", "C", "http://c.example/"),
		link(Toolbar, "", "D", "http://d.example/"), link(Menu, "", "Other title", "http://d.example/"))
	d := match(t, have, in)
	want := []rule.Verdict{rule.Same, rule.New, rule.Same, rule.New, rule.Conflict}
	for i := range want {
		if d[i].Verdict != want[i] {
			t.Errorf("%d: %v, want %v", i, d[i].Verdict, want[i])
		}
	}
	if b, _ := Parse(d[1].Result); b.Pos != 1 {
		t.Errorf("B goes to %d, want behind A", b.Pos)
	}
	if b, _ := Parse(d[3].Result); b.Pos != 3 {
		t.Errorf("D goes to %d", b.Pos)
	}
	if len(d[0].Changes) != 1 || d[0].Changes[0].Property != "URL" {
		t.Errorf("another spelling is not told: %v", d[0].Changes)
	}
}

func TestMergeGivesWhatIsMissing(t *testing.T) {
	h := link(Menu, "", "", "http://a.example/")
	h.Tags, h.Added, h.Keyword = []string{"x"}, 5e15, "k"
	in := link(Menu, "", "Title", "http://a.example/")
	in.Tags, in.Added, in.Keyword, in.Description = []string{"X", "y"}, 4e15, "other", "text"
	d := match(t, records(h), records(in))
	if d[0].Verdict != rule.Merge {
		t.Fatal(d[0].Verdict)
	}
	b, _ := Parse(d[0].Result)
	if b.Title != "Title" || !slices.Equal(b.Tags, []string{"x", "y"}) || b.Added != 4e15 || b.Keyword != "k" || b.Description != "text" {
		t.Errorf("%s", d[0].Result)
	}
	if len(d[0].Changes) != 1 || d[0].Changes[0].Property != "KEYWORD" {
		t.Errorf("changes: %v", d[0].Changes)
	}
	if again := match(t, records(b), records(in)); again[0].Verdict != rule.Same {
		t.Errorf("again: %v", again[0].Verdict)
	}
}

func TestShape(t *testing.T) {
	b := link(Menu, "f", "A", "http://a.example/")
	b.Tags = []string{"x"}
	p := rule.Profile{Strict: true, Drops: []string{NoMenu, NoSeparators, "TAGS", "X-*"}, Keeps: []string{"X-HTML.*"}}
	r := b.Record("", "")
	out, changes, ok := Rules{}.Shape(r, p)
	got, _ := Parse(out.Data)
	if !ok || got.Root != Other || !slices.Equal(got.Path, []string{"Bookmarks Menu", "f"}) || got.Tags != nil || len(changes) != 1 {
		t.Errorf("%v %v %s", ok, changes, out.Data)
	}
	if out, changes, ok := (Rules{}).Shape(r, rule.Profile{}); !ok || changes != nil || !bytes.Equal(out.Data, r.Data) {
		t.Error("what need not change was changed")
	}
	for _, bad := range []*Bookmark{link(Menu, "", "", ""), link(Menu, "", "", "no address"), link(Menu, "", "", "http://a b/"), link(Menu, "", "", "http://"), {Root: Menu, Type: Separator}} {
		if _, changes, ok := (Rules{}).Shape(bad.Record("", ""), p); ok || len(changes) == 0 || changes[len(changes)-1].Why == "" {
			t.Errorf("%+v was taken: %v", bad, changes)
		}
	}
	for _, good := range []string{"javascript:alert('%')", "http://[::1]/", "http://a/%zz", "file:///a b", "about:config", "https://a.example:8080/x?y#z"} {
		if _, _, ok := (Rules{}).Shape(link(Menu, "", "", good).Record("", ""), p); !ok {
			t.Errorf("%s was refused", good)
		}
	}
	if _, changes, ok := (Rules{}).Shape(item.Record{Data: []byte("{")}, p); ok || len(changes) != 1 {
		t.Error("a broken line was taken")
	}
}

func TestContainer(t *testing.T) {
	a, b := link(Menu, "", "a", "u:a").Encode(), link(Menu, "", "b", "u:b").Encode()
	file := slices.Concat(a, []byte("broken\n\n"), a, b)
	rs := Records(file)
	if len(rs) != 4 || rs[1].Problem == "" || string(rs[0].Identity) == string(rs[2].Identity) || rs[3].Ranges[0].Length != int64(len(b)) {
		t.Errorf("%+v", rs)
	}
	split := Rules{}.Split("Bookmarks/x.bookmarks.ndjson", file)
	if len(split) != 4 || split[3].From != "Bookmarks/x.bookmarks.ndjson:5" || split[0].Book != "x" || !bytes.Equal(split[3].Data, b) {
		t.Errorf("%+v", split)
	}
	if got := Merge(a, slices.Concat(a, b)); !bytes.Equal(got, slices.Concat(a, b)) {
		t.Errorf("merged: %s", got)
	}
	if got := Merge(bytes.TrimRight(a, "\n"), slices.Concat(a, a)); !bytes.Equal(got, slices.Concat(a, a)) {
		t.Errorf("a second of the kind: %s", got)
	}
	if Merge(a, file) != nil || Merge(file, a) != nil {
		t.Error("broken lines were merged")
	}
	if got := Merge(slices.Concat(b, a), a); !bytes.Equal(got, slices.Concat(b, a)) {
		t.Errorf("nothing new: %s", got)
	}
}

// world is a tree that decisions are carried out in, as targets do it.
func carry(t *rapid.T, tree *Tree, decisions []rule.Decision) {
	folders := func() map[string]*Node {
		all := map[string]*Node{}
		for _, r := range Roots {
			all[r] = tree.Root(r)
		}
		tree.Each(func(n *Node) error {
			if n.Type == Folder {
				all[n.OwnKey()] = n
			}
			return nil
		})
		return all
	}
	for _, d := range decisions {
		if d.Verdict != rule.New && d.Verdict != rule.Conflict {
			continue
		}
		b, err := Parse(d.Result)
		if err != nil {
			t.Fatal(err)
		}
		in := folders()[b.FolderKey()]
		if in == nil {
			t.Fatalf("no folder for %s", d.Result)
		}
		in.Insert(&Node{Bookmark: *b}, b.Pos)
	}
}

func flat(tree *Tree) (out []item.Record) {
	tree.Each(func(n *Node) error { out = append(out, n.Record("", "")); return nil })
	return out
}

func draw(t *rapid.T) *Tree {
	b := NewBuilder(Menu)
	for range rapid.IntRange(0, 12).Draw(t, "n") {
		n := &Node{Bookmark: Bookmark{Title: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "title")}}
		switch rapid.IntRange(0, 5).Draw(t, "what") {
		case 0, 1:
			n.Type = Folder
			b.Open(n)
		case 2:
			b.Close()
		case 3:
			n.Type, n.Title = Separator, ""
			b.Add(n)
		case 4:
			b.To(rapid.SampledFrom(Roots).Draw(t, "root"))
		default:
			n.Type, n.URL = URL, rapid.SampledFrom([]string{"http://x/", "http://y/"}).Draw(t, "url")
			b.Add(n)
		}
	}
	return b.Tree
}

// Into an empty target everything comes in its order; into any other nothing is lost; and
// the second time everything is there.
func TestMatchTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source, target := draw(t), draw(t)
		if rapid.Bool().Draw(t, "empty") {
			target = NewTree()
		}
		empty := len(flat(target)) == 0
		in := flat(source)
		d, err := Rules{}.Match(context.Background(), flat(target), in, rule.Options{})
		if err != nil {
			t.Fatal(err)
		}
		carry(t, target, d)
		if empty && fmt.Sprint(flat(target)) != fmt.Sprint(in) {
			t.Fatalf("got\n%s\nwant\n%s", flat(target), in)
		}
		d, _ = Rules{}.Match(context.Background(), flat(target), in, rule.Options{})
		for i := range d {
			if d[i].Verdict != rule.Same {
				t.Fatalf("%s is %v", in[i].Data, d[i].Verdict)
			}
		}
	})
}

func TestManyOfOneAreNotQuadratic(t *testing.T) {
	var all []*Bookmark
	for i := range 20_000 {
		all = append(all, &Bookmark{Root: Menu, Type: Separator, Pos: i}, link(Menu, "", fmt.Sprint(i), "http://x/"))
	}
	rs := records(all...)
	d := match(t, rs, rs)
	for i := range d {
		if v := d[i].Verdict; v != rule.Same {
			t.Fatal(i, v)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"root":"menu","path":["a"],"nth":[1],"pos":1,"type":"bookmark","title":"t","url":"http://x/","tags":["a"],"x":{"a.b":1},"z":[]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		b, err := Parse(line)
		if err != nil {
			return
		}
		once := b.Encode()
		c, err := Parse(once)
		if err != nil {
			t.Fatalf("%v: %s", err, once)
		}
		if twice := c.Encode(); !bytes.Equal(once, twice) {
			t.Errorf("%s\n%s", once, twice)
		}
		Canonical(b.URL)
	})
}
