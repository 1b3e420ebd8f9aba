package bookmarkhtml

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/kind/bookmark"
)

const fixtures = "../../../../shared/fixtures/bookmarks/radam9__bookmarks-converter/resources/"

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	if b, err := os.ReadFile(name); err == nil {
		return b
	}
	b, err := os.ReadFile(fixtures + name)
	if err != nil {
		tb.Skip("the shared fixtures are not there")
	}
	return b
}

// Exports of Firefox and Chromium that were not changed are written byte for byte.
func TestBytesAreTheBrowsers(t *testing.T) {
	for _, name := range []string{"testdata/firefox.html", "bookmarks_firefox.html", "bookmarks_chrome.html", "bookmarks_bookmarkie.html"} {
		b := read(t, name)
		d, err := Parse(b)
		if err != nil {
			t.Fatal(name, err)
		}
		got, want := strings.Split(string(d.Bytes()), "\n"), strings.Split(string(b), "\n")
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("%s:%d: %.200q, want %.200q", name, i+1, got[i], want[i])
			}
		}
		if len(got) != len(want) || len(d.Changes) > 0 {
			t.Errorf("%s: %d lines of %d, changes %v", name, len(got), len(want), d.Changes)
		}
	}
}

func parse(t *testing.T, s string) (*Document, string) {
	t.Helper()
	d, err := Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	d.Tree.Each(func(n *bookmark.Node) error {
		out.WriteString(n.Root + "/" + strings.Join(append(n.Path, n.Title), "/") + " " + n.URL + " " + n.Description + " " + strings.Join(n.Tags, "+") + "\n")
		return nil
	})
	return d, out.String()
}

func TestParse(t *testing.T) {
	for name, c := range map[string][2]string{
		"entities":           {`<DL><DT><A HREF="http://a/?a=1&amp;b=2&copy=3">a &amp; <b>b</b> &lt;c&gt;</A></DL>`, "menu/a & b <c> http://a/?a=1&b=2&copy=3  \n"},
		"descriptions":       {"<DL><DT><A HREF=x>t</A>\n<DD>one\ntwo <DT><H3>f</H3><DD>of f<DL><DT><A HREF=y>u</A></DL><HR></DL>", "menu/t x one\ntwo \nmenu/f  of f \nmenu/f/u y  \nmenu/   \n"},
		"heading alone":      {"<DL><DT><H3>e</H3><DT><A HREF=x>t</A></DL>", "menu/e   \nmenu/t x  \n"},
		"never closed":       {"<DL><DT><H3>e</H3><DL><DT><A HREF=x>t", "menu/e   \nmenu/e/t x  \n"},
		"closed too often":   {"<DL></DL></DL></DL><DT><A HREF=x TAGS='a, b,,a'>t</A>", "menu/t x  a+b\n"},
		"toolbar":            {`<DL><DT><H3 PERSONAL_TOOLBAR_FOLDER="true">T</H3><DL><DT><A HREF=x>t</A></DL><DT><A HREF=y>u</A></DL>`, "menu/u y  \ntoolbar/t x  \n"},
		"a nested toolbar":   {`<DL><DT><H3>f</H3><DL><DT><H3 PERSONAL_TOOLBAR_FOLDER="true">T</H3><DL><DT><A HREF=x>t</A></DL></DL></DL>`, "menu/f   \nmenu/f/T   \nmenu/f/T/t x  \n"},
		"Chromium's top":     {`<H1>Bookmarks</H1><DL><DT><A HREF=x>t</A></DL>`, "other/t x  \n"},
		"without a list":     {`<!DOCTYPE NETSCAPE-Bookmark-file-1><DT><A HREF=x>t</A>`, "menu/t x  \n"},
		"Latin-1":            {"<meta http-equiv=Content-Type content='text/html; charset=iso-8859-1'><DL><DT><A HREF=x>caf\xe9</A></DL>", "menu/café x  \n"},
		"scripts stay text":  {`<DL><DT><A HREF="javascript:alert(1)">j</A><script>alert("x")</script></DL>`, "menu/j javascript:alert(1)  \n"},
		"spaces in a title":  {"<DL><DT><A HREF=x> a  b </A></DL>", "menu/ a  b  x  \n"},
		"an address twice":   {`<DL><DT><A HREF=x HREF=y>t</A></DL>`, "menu/t x  \n"},
		"list without title": {`<DL><DL><DT><A HREF=x>t</A></DL></DL>`, "menu/   \nmenu//t x  \n"},
	} {
		if _, got := parse(t, c[0]); got != c[1] {
			t.Errorf("%s: %q, want %q", name, got, c[1])
		}
	}
}

func TestTimes(t *testing.T) {
	for in, want := range map[string]int64{"1599750511": 1599750511e6, "1599750511000": 1599750511e6, "1599750511000000": 1599750511e6, "13244224111000000": 1599750511e6,
		"": 0, "-5": 0, "x": 0, "99999999999999999999": 0} {
		if got := seconds(in); got != want {
			t.Errorf("%s: %d", in, got)
		}
	}
}

func TestEverythingComesBack(t *testing.T) {
	d := New()
	for i, root := range bookmark.Roots {
		n := &bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.Folder, Title: "f <&> \"'\r\nx", Added: 1e15, Modified: 2e15, Description: "d & <d>"}}
		n.Append(&bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.URL, Title: "&lt;", URL: "http://a/?\"&lt;&copy=" + strings.Repeat("'", i), Added: 3e15, Modified: 4e15, Visited: 5e15, Tags: []string{"a", "b c"}, Keyword: "k", IconURI: "i", Icon: "data:,x"}})
		n.Append(&bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.Separator, Title: "a line", Added: 1e15}})
		d.Tree.Root(root).Append(n)
	}
	for _, top := range []string{bookmark.Menu, bookmark.Other} {
		d.Top, d.Head = top, nil
		if top == bookmark.Other {
			d.Head = []byte(strings.Replace(head, "Bookmarks Menu", "Bookmarks", 1))
		}
		again, err := Parse(d.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := dump(again), dump(d); got != want || again.Top != top {
			t.Errorf("%s: got\n%s\nwant\n%s", again.Top, got, want)
		}
	}
}

func dump(d *Document) string {
	var out bytes.Buffer
	d.Tree.Each(func(n *bookmark.Node) error { out.Write(n.Encode()); return nil })
	return out.String()
}

func TestHostile(t *testing.T) {
	deep := strings.Repeat("<DL><DT><H3>x</H3>", 100_000)
	d, err := Parse([]byte(deep + "<DL><A HREF=x>t</A>"))
	if err != nil || len(d.Changes) != 100_000-bookmark.MaxDepth+1 || d.Lossy == "" {
		t.Errorf("deep: %v, %d changes", err, len(d.Changes))
	}
	if _, err := Parse([]byte("<DL>" + strings.Repeat("<HR>", bookmark.MaxNodes+1))); !errors.Is(err, bookmark.ErrTooMany) {
		t.Errorf("many: %v", err)
	}
	long, err := Parse([]byte("<DL><A HREF='" + strings.Repeat("x", 8<<20) + "'>" + strings.Repeat("<", 8<<20) + "</A><A HREF=y>" + strings.Repeat("z", 8<<20) + "</A><A HREF=http://a/>t</A></DL>"))
	if err != nil || len(long.Tree.Root(bookmark.Menu).Children) != 3 {
		t.Errorf("long: %v", err)
	}
	nul, err := Parse([]byte("<DL><A HREF='http://a/\x00'>t\x00</A></DL>"))
	if err != nil || len(nul.Changes) != 2 || nul.Lossy == "" {
		t.Errorf("NUL: %v %v", err, nul.Changes)
	}
	date, err := Parse([]byte("<DL><A HREF='http://a/' ADD_DATE='99999999999999999999'>t</A></DL>"))
	if err != nil || !bytes.Contains(date.Bytes(), []byte(`ADD_DATE="99999999999999999999"`)) {
		t.Errorf("a date that is none: %v\n%s", err, date.Bytes())
	}
	if _, err := Parse([]byte("hello")); !errors.Is(err, ErrForm) {
		t.Errorf("text: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`<H1>Bookmarks</H1><DL><p><DT><H3 PERSONAL_TOOLBAR_FOLDER="true" ADD_DATE=1>a</H3><DD>x<DL><DT><A HREF="a&amp;b" TAGS="x,y" FEEDURL=q>c</A><HR></DL></DL>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		once := d.Bytes()
		again, err := Parse(once)
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		n, m := 0, 0
		d.Tree.Each(func(*bookmark.Node) error { n++; return nil })
		again.Tree.Each(func(*bookmark.Node) error { m++; return nil })
		if n != m {
			t.Errorf("%d nodes, then %d:\n%s", n, m, once)
		}
	})
}
