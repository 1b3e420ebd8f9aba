package bookmarkhtml

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"

	"github.com/decant-dev/decant/node/kind/bookmark"
)

const head = `<!DOCTYPE NETSCAPE-Bookmark-file-1>
<!-- This is an automatically generated file.
     It will be read and overwritten.
     DO NOT EDIT! -->
<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=UTF-8">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'self'; script-src 'none'; img-src data: *; object-src 'none'"></meta>
<TITLE>Bookmarks</TITLE>
<H1>Bookmarks Menu</H1>

`

// Bytes writes the file, in UTF-8. A file of Firefox that was not changed is written as it was.
func (d *Document) Bytes() []byte {
	w := &writer{zeros: d.Top == bookmark.Other}
	switch h := d.Head; {
	case h == nil:
		w.WriteString(head)
	case bytes.Contains(bytes.ToLower(h), []byte("charset=utf-8")):
		w.Write(h)
	default: // the encoding that it names is not what follows
		w.WriteString(strings.Replace(head, "<H1>Bookmarks Menu</H1>", "<H1>"+title(d)+"</H1>", 1))
	}
	w.WriteString("<DL><p>\n")
	order := []string{bookmark.Menu, bookmark.Toolbar, bookmark.Other, bookmark.Mobile}
	if d.Top == bookmark.Other {
		order = []string{bookmark.Toolbar, bookmark.Other, bookmark.Menu, bookmark.Mobile}
	}
	for _, root := range order {
		n := d.Tree.Root(root)
		switch {
		case root == d.Top:
			for _, c := range n.Children {
				w.node(c, 1)
			}
		case len(n.Children) > 0 || n.Title != "":
			w.root(n, root)
		}
	}
	w.WriteString("</DL>")
	if d.Tail == nil {
		w.WriteString("\n")
	}
	w.Write(d.Tail)
	return w.Bytes()
}

func title(d *Document) string {
	if d.Top == bookmark.Other {
		return "Bookmarks"
	}
	return "Bookmarks Menu"
}

type writer struct {
	bytes.Buffer
	zeros bool // Chromium says of every folder when it was modified, 0 if it was never
}

var rootTitles = map[string]string{bookmark.Menu: "Bookmarks Menu", bookmark.Toolbar: "Bookmarks Toolbar", bookmark.Other: "Other Bookmarks", bookmark.Mobile: "Mobile Bookmarks"}

func (w *writer) root(n *bookmark.Node, root string) {
	c := *n
	if c.Title == "" {
		c.Title = rootTitles[root]
	}
	c.X = maps.Clone(c.X)
	if c.X == nil {
		c.X = map[string]json.RawMessage{}
	}
	for name, r := range specials {
		if r == root {
			c.X[attributePrefix+name] = json.RawMessage(`"true"`)
		}
	}
	w.node(&c, 1)
}

func (w *writer) node(n *bookmark.Node, depth int) {
	indent := strings.Repeat("    ", depth)
	w.WriteString(indent)
	switch n.Type {
	case bookmark.Separator:
		w.WriteString("<HR")
		w.attribute("NAME", n.Title)
		w.attributes(n)
		w.WriteString(">\n")
	case bookmark.Folder:
		w.WriteString("<DT><H3")
		w.attributes(n)
		w.WriteString(">" + text(n.Title) + "</H3>\n")
	default:
		w.WriteString(`<DT><A HREF="` + attribute(n.URL) + `"`)
		w.attributes(n)
		w.WriteString(">" + text(n.Title) + "</A>\n")
	}
	if n.Description != "" {
		w.WriteString(indent + "<DD>" + text(n.Description) + "\n")
	}
	if n.Type != bookmark.Folder {
		return
	}
	w.WriteString(indent + "<DL><p>\n")
	for _, c := range n.Children {
		w.node(c, depth+1)
	}
	w.WriteString(indent + "</DL><p>\n")
}

func (w *writer) attributes(n *bookmark.Node) {
	w.time("ADD_DATE", n.Added)
	if w.time("LAST_MODIFIED", n.Modified); w.zeros && n.Type == bookmark.Folder && n.Modified == 0 {
		w.WriteString(` LAST_MODIFIED="0"`)
	}
	w.time("LAST_VISIT", n.Visited)
	w.attribute("ICON_URI", n.IconURI)
	w.attribute("ICON", n.Icon)
	w.attribute("SHORTCUTURL", n.Keyword)
	w.attribute("TAGS", strings.Join(n.Tags, ","))
	w.attribute("GUID", n.GUID)
	for _, name := range slices.Sorted(maps.Keys(n.X)) {
		key, ok := strings.CutPrefix(name, attributePrefix)
		var v string
		if ok && isName(key) && json.Unmarshal(n.X[name], &v) == nil {
			w.WriteString(" " + strings.ToUpper(key) + `="` + attribute(v) + `"`)
		}
	}
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '_' || r == '-')
	})
}

func (w *writer) attribute(name, v string) {
	if v != "" {
		w.WriteString(" " + name + `="` + attribute(v) + `"`)
	}
}

func (w *writer) time(name string, us int64) {
	if us > 0 {
		w.WriteString(" " + name + `="` + strconv.FormatInt(us/1e6, 10) + `"`)
	}
}

// attribute escapes a value as browsers do, which leave & alone, unless it would be read as
// the beginning of a character's name.
func attribute(s string) string {
	if html.UnescapeString(s) != s {
		s = strings.ReplaceAll(s, "&", "&amp;")
	}
	return breaks.Replace(strings.ReplaceAll(s, `"`, "&quot;"))
}

var (
	breaks  = strings.NewReplacer("\n", "&#10;", "\r", "&#13;", "\x00", "\ufffd")
	escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;", "\r", "&#13;", "\x00", "\ufffd")
)

func text(s string) string { return escapes.Replace(s) }
