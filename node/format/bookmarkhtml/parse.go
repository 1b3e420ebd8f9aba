// Package bookmarkhtml reads and writes the bookmark files that all browsers export and
// import, which began with Netscape and are described nowhere but in browsers: headings and
// links in definition lists that are never closed properly.
//
// It reads what Firefox, Chromium, Safari and bookmark services write, takes what is wrong
// for what it probably means, and writes what Firefox and Chromium read. What a file says
// beyond the known attributes is kept. Addresses are text: nothing is fetched.
package bookmarkhtml

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
)

// ErrForm is returned for what is no bookmark file.
var ErrForm = errors.New("it is no bookmark file")

// Document is one file.
type Document struct {
	Head    []byte // what stands before the first list; nil is Firefox's
	Tail    []byte // what stands behind the last </DL>: blanks; nil is a line break
	Top     string // the root whose nodes are in the outermost list: the menu in Firefox's files, the others in Chromium's
	Tree    *bookmark.Tree
	Changes []item.Change // what could not be read as it is
	Lossy   string        // not "": why writing the document in place of what was read would lose something
}

// New returns an empty document as Firefox writes it.
func New() *Document { return &Document{Top: bookmark.Menu, Tree: bookmark.NewTree()} }

// specials are the attributes of folders that stand for roots. The last two are ours and
// bookmark services'.
var specials = map[string]string{"personal_toolbar_folder": bookmark.Toolbar, "unfiled_bookmarks_folder": bookmark.Other,
	"mobile_bookmarks_folder": bookmark.Mobile, "bookmarks_menu_folder": bookmark.Menu}

// Parse reads a file. The time and memory are linear in its length; more than
// bookmark.MaxNodes are an error.
func Parse(data []byte) (*Document, error) {
	head := data
	if i := list(data); i >= 0 {
		head = data[:i]
	} else if len(bytes.TrimSpace(data)) > 0 && !bytes.Contains(bytes.ToUpper(data[:min(len(data), 4096)]), []byte("NETSCAPE-BOOKMARK-FILE")) {
		return nil, ErrForm
	}
	p := &parser{data: head, special: map[*bookmark.Node]string{}}
	text, bad := decode(data)
	p.b = bookmark.NewBuilder(bookmark.Menu)
	if err := p.run(text); err != nil {
		return nil, err
	}
	d := &Document{Head: head, Top: p.top(), Tree: p.b.Tree, Changes: p.b.Changes}
	if i := bytes.LastIndex(data, []byte("</DL>")); i >= 0 {
		if tail := data[i+len("</DL>"):]; len(bytes.TrimSpace(bytes.TrimPrefix(tail, []byte("<p>")))) == 0 {
			d.Tail = tail
		}
	}
	if len(d.Changes) > 0 {
		d.Lossy = "its folders are too deep inside one another"
	}
	if bad {
		d.Lossy = "it has bytes that are no text"
		d.Changes = append(d.Changes, item.Change{Kind: item.Bookmark, Effect: item.EffectRepaired, Why: "the file has bytes that are no text"})
	}
	if bytes.IndexByte(text, 0) >= 0 {
		d.Lossy = "it has characters that are no text"
	}
	p.hoist(d)
	d.broken()
	return d, nil
}

// broken tells of texts with characters that could not be read.
func (d *Document) broken() {
	d.Tree.Each(func(n *bookmark.Node) error {
		for _, p := range [][2]string{{"TITLE", n.Title}, {"URL", n.URL}, {"DESCRIPTION", n.Description}, {"KEYWORD", n.Keyword}, {"TAGS", strings.Join(n.Tags, ", ")}, {"ICON", n.Icon}, {"ICON_URI", n.IconURI}} {
			name, v := p[0], p[1]
			if strings.ContainsRune(v, utf8.RuneError) {
				label := n.Label()
				d.Changes = append(d.Changes, item.Change{Kind: item.Bookmark, Record: label[:min(len(label), item.MaxShown)], UID: n.URL[:min(len(n.URL), item.MaxShown)], Property: name, Effect: item.EffectFlagged, Why: "it has characters that are no text", After: v[:min(len(v), item.MaxShown)]})
			}
		}
		return nil
	})
}

// list returns where the first <DL> is; -1 is nowhere.
func list(data []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '<')
		if i < 0 {
			return -1
		}
		if at += i; len(data) > at+3 && bytes.EqualFold(data[at:at+3], []byte("<DL")) && (data[at+3] == '>' || data[at+3] == ' ') {
			return at
		}
		at++
	}
}

// decode makes UTF-8 of a file, in whatever encoding it says that it is.
func decode(data []byte) (text []byte, bad bool) {
	if utf8.Valid(data) {
		return bytes.TrimPrefix(data, []byte("\ufeff")), false
	}
	if e, name, certain := charset.DetermineEncoding(data, "text/html"); name != "utf-8" && (certain || name == "windows-1252") {
		if out, err := e.NewDecoder().Bytes(data); err == nil && utf8.Valid(out) {
			return out, bytes.ContainsRune(out, utf8.RuneError)
		}
	}
	return bytes.ToValidUTF8(data, []byte("\ufffd")), true
}

type parser struct {
	data    []byte // the head
	b       *bookmark.Builder
	node    *bookmark.Node // that the text belongs to
	text    strings.Builder
	in      atom.Atom      // H3, A, DD or H1: what the text is
	last    *bookmark.Node // that a description belongs to
	folder  *bookmark.Node // a heading whose list has not begun
	depth   int            // of lists
	special map[*bookmark.Node]string
	h1      string
}

func (p *parser) run(text []byte) error {
	z := html.NewTokenizer(bytes.NewReader(text))
	for {
		var err error
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				return z.Err()
			}
			return p.flush()
		case html.TextToken:
			if p.in != 0 {
				p.text.Write(z.Text())
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			err = p.start(z)
		case html.EndTagToken:
			err = p.end(z)
		}
		if err != nil {
			return err
		}
	}
}

func (p *parser) start(z *html.Tokenizer) error {
	name, more := z.TagName()
	a := atom.Lookup(name)
	switch a {
	case atom.H1, atom.H3, atom.A, atom.Hr, atom.Dd, atom.Dl, atom.Dt:
	default:
		return nil // formatting inside of titles
	}
	if err := p.finish(); err != nil {
		return err
	}
	switch a {
	case atom.Dl:
		p.depth++
		if f := p.folder; f != nil {
			p.folder = nil
			return p.b.Open(f)
		}
		if p.depth > 1 { // a list without a heading
			return p.b.Open(&bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.Folder}})
		}
		return nil
	case atom.Dd:
		p.in = atom.Dd
		return nil
	case atom.H1:
		p.in = atom.H1
		return nil
	case atom.Dt:
		return p.lone()
	}
	if err := p.lone(); err != nil {
		return err
	}
	n := &bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.URL}}
	switch a {
	case atom.H3:
		n.Type = bookmark.Folder
	case atom.Hr:
		n.Type = bookmark.Separator
	}
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		p.attribute(n, string(key), string(val))
	}
	if a == atom.Hr {
		p.last = n
		return p.b.Add(n)
	}
	p.node, p.in = n, a
	return nil
}

func (p *parser) end(z *html.Tokenizer) error {
	name, _ := z.TagName()
	switch a := atom.Lookup(name); a {
	case atom.H1, atom.H3, atom.A:
		if p.in == a {
			return p.finish()
		}
	case atom.Dl:
		if err := p.flush(); err != nil {
			return err
		}
		p.depth = max(0, p.depth-1)
		p.b.Close()
		p.last = nil
	}
	return nil
}

// finish ends the text that is being read.
func (p *parser) finish() error {
	in, text, n := p.in, strings.ReplaceAll(p.text.String(), "\x00", "\ufffd"), p.node
	p.in, p.node = 0, nil
	p.text.Reset()
	switch in {
	case atom.H1:
		p.h1 = strings.TrimSpace(text)
	case atom.Dd:
		if p.last != nil {
			p.last.Description = strings.TrimSpace(text)
		}
	case atom.H3:
		n.Title, p.folder, p.last = text, n, n
	case atom.A:
		n.Title, p.last = text, n
		return p.b.Add(n)
	}
	return nil
}

// lone adds a heading that no list follows.
func (p *parser) lone() error {
	f := p.folder
	if p.folder = nil; f != nil {
		return p.b.Add(f)
	}
	return nil
}

func (p *parser) flush() error {
	if err := p.finish(); err != nil {
		return err
	}
	return p.lone()
}

func (p *parser) attribute(n *bookmark.Node, key, val string) {
	if root, ok := specials[key]; ok && n.Type == bookmark.Folder {
		p.special[n] = root
	}
	switch key {
	case "href":
		if n.Type == bookmark.URL && n.URL == "" {
			n.URL = val
			return
		}
	case "name":
		if n.Type == bookmark.Separator {
			n.Title = val
			return
		}
	case "add_date":
		if n.Added = seconds(val); n.Added != 0 || val == "0" {
			return
		}
	case "last_modified":
		if n.Modified = seconds(val); n.Modified != 0 || val == "0" {
			return
		}
	case "last_visit":
		if n.Visited = seconds(val); n.Visited != 0 || val == "0" {
			return
		}
	case "tags":
		n.Tags = tags(val)
		return
	case "shortcuturl":
		n.Keyword = val
		return
	case "icon_uri":
		n.IconURI = val
		return
	case "icon":
		n.Icon = val
		return
	case "guid":
		n.GUID = val
		return
	}
	if n.X == nil {
		n.X = map[string]json.RawMessage{}
	}
	n.X[attributePrefix+key], _ = json.Marshal(val)
}

const attributePrefix = "html."

func tags(s string) (out []string) {
	for t := range strings.SplitSeq(s, ",") {
		if t = strings.TrimSpace(t); t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// seconds reads a time. The format means seconds since 1970; some programs write
// milliseconds or microseconds, or microseconds since 1601 as Chromium has them inside.
func seconds(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	switch {
	case err != nil || n <= 0:
		return 0
	case n < 1e11:
		return n * 1e6
	case n < 1e14:
		return n * 1e3
	case n < 1e16:
		return n
	}
	return n - 11_644_473_600_000_000
}

// top tells what the outermost list is: Chromium and its like head it "Bookmarks", Firefox
// with its name for the bookmarks menu in the person's language.
func (p *parser) top() string {
	if !strings.EqualFold(p.h1, "Bookmarks") {
		return bookmark.Menu
	}
	for _, root := range p.special {
		if root == bookmark.Other {
			return bookmark.Menu
		}
	}
	return bookmark.Other
}

// hoist makes roots of the folders that stand for them, and the outermost list one.
func (p *parser) hoist(d *Document) {
	top := d.Tree.Root(bookmark.Menu)
	all := top.Children
	top.Children = nil
	done := map[string]bool{d.Top: true}
	for _, n := range all {
		root, ok := p.special[n]
		to := d.Tree.Root(root)
		if !ok || done[root] {
			d.Tree.Root(d.Top).Append(n)
			continue
		}
		done[root] = true
		for name, r := range specials {
			if r == root {
				delete(n.X, attributePrefix+name)
			}
		}
		to.Title, to.Added, to.Modified, to.Description, to.X = n.Title, n.Added, n.Modified, n.Description, n.X
		for _, c := range n.Children {
			to.Append(c)
		}
	}
}
