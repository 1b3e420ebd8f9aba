// Package chromium reads and writes the file Bookmarks of the profiles of Chromium, Chrome,
// Brave, Edge and their like (components/bookmarks/browser/bookmark_codec.cc): JSON with
// three trees, times in microseconds since 1601, and an MD5 checksum that tells the browser
// whether somebody else has written; Chromium 156 takes the file with a wrong one too.
//
// What the package does not know is kept, and a file that was not changed is written as
// the browser wrote it.
package chromium

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
)

// ErrForm is returned for what is no such file.
var ErrForm = errors.New("it is no bookmarks file of Chromium")

// rootNames are the trees in the order in which the checksum goes over them.
var rootNames = []struct{ name, root, guid, title, id string }{
	{"bookmark_bar", bookmark.Toolbar, "0bc5d13f-2cba-5d74-951f-3f233fe6c908", "Bookmarks bar", "1"},
	{"other", bookmark.Other, "82b081ec-3dd3-529c-8475-ab6c344590dd", "Other bookmarks", "2"},
	{"synced", bookmark.Mobile, "4cf2e351-0e85-532b-bb37-df045d8f8d0f", "Mobile bookmarks", "3"},
}

type fields map[string]json.RawMessage

// Document is one file.
type Document struct {
	Tree    *bookmark.Tree
	Changes []item.Change // what could not be read as it is
	Lossy   string        // not "": why writing the document in place of what was read would lose something

	members fields                    // of the file, without roots and checksum
	roots   fields                    // the members of roots that are no known tree
	ids     map[*bookmark.Node]string // identifiers that the file has
}

// New returns a document without bookmarks.
func New() *Document {
	d := &Document{Tree: bookmark.NewTree(), members: fields{"version": json.RawMessage("1")}, roots: fields{}, ids: map[*bookmark.Node]string{}}
	for _, r := range rootNames {
		n := d.Tree.Root(r.root)
		n.Title, n.GUID = r.title, r.guid
		d.ids[n] = r.id
	}
	return d
}

// Parse reads a file in linear time. More than bookmark.MaxNodes nodes are an error.
func Parse(data []byte) (*Document, error) {
	d := New()
	d.members = fields{}
	p, nodes := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))), 0
	trees := map[string]*bookmark.Object{}
	err := bookmark.Members(p, func(key string) (err error) {
		switch key {
		case "roots":
			return bookmark.Members(p, func(name string) error {
				var member json.RawMessage
				for _, r := range rootNames {
					if r.name == name {
						trees[name], err = bookmark.ReadObject(p, &nodes)
						return err
					}
				}
				err = p.Decode(&member)
				d.roots[name] = member
				return err
			})
		case "checksum":
			return p.Decode(new(json.RawMessage))
		}
		var member json.RawMessage
		err = p.Decode(&member)
		d.members[key] = member
		return err
	})
	if err == nil {
		if _, err = p.Token(); err == io.EOF {
			err = nil
		} else if err == nil {
			err = ErrForm
		}
	}
	switch {
	case errors.Is(err, bookmark.ErrTooMany):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	case len(trees) == 0:
		return nil, ErrForm
	}
	return d, d.build(trees)
}

func (d *Document) build(trees map[string]*bookmark.Object) error {
	b := bookmark.NewBuilder(bookmark.Toolbar)
	b.Tree = d.Tree
	for _, r := range rootNames {
		tree := trees[r.name]
		if tree == nil {
			continue
		}
		b.To(r.root)
		root := d.Tree.Root(r.root)
		root.Bookmark = bookmark.Bookmark{Root: r.root, Type: bookmark.Folder}
		d.read(tree, root)
		for _, c := range tree.Children {
			if err := d.add(b, c); err != nil {
				return err
			}
		}
	}
	if d.Changes = append(d.Changes, b.Changes...); len(d.Changes) > 0 {
		d.Lossy = "it has folders too deep inside one another, or what is neither bookmark nor folder"
	}
	for name, v := range d.roots {
		if bytes.Contains(v, []byte(`"url"`)) {
			d.Changes = append(d.Changes, item.Change{Kind: item.Bookmark, Record: name, Property: "ROOT", Effect: item.EffectDropped, Why: "only this browser has such a place"})
		}
	}
	return nil
}

func (d *Document) add(b *bookmark.Builder, r *bookmark.Object) error {
	n := &bookmark.Node{}
	switch kind := text(r.Members["type"]); {
	case kind == "url" || kind == "" && r.Members["url"] != nil:
		n.Type = bookmark.URL
	case kind == "folder" || kind == "":
		n.Type = bookmark.Folder
	default:
		d.Changes = append(d.Changes, item.Change{Kind: item.Bookmark, Record: text(r.Members["name"]), Effect: item.EffectDropped, Why: "it is neither bookmark nor folder", Before: kind})
		return nil
	}
	d.read(r, n)
	if n.Type == bookmark.URL {
		return b.Add(n)
	}
	if err := b.Open(n); err != nil {
		return err
	}
	for _, c := range r.Children {
		if err := d.add(b, c); err != nil {
			return err
		}
	}
	b.Close()
	return nil
}

// read takes a node's members.
func (d *Document) read(r *bookmark.Object, n *bookmark.Node) {
	for key, v := range r.Members {
		switch key {
		case "type":
		case "id":
			d.ids[n] = text(v)
		case "guid":
			n.GUID = text(v)
		case "name":
			n.Title = text(v)
		case "url":
			n.URL = text(v)
		case "date_added":
			n.Added = fromWebKit(text(v))
		case "date_modified":
			n.Modified = fromWebKit(text(v))
		case "date_last_used":
			n.Visited = fromWebKit(text(v))
		default:
			if n.X == nil {
				n.X = map[string]json.RawMessage{}
			}
			n.X[prefix+key] = v
		}
	}
}

const prefix = "chromium."

// text returns the value of a string or number.
func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(v))
}

// epoch is 1601-01-01 UTC in microseconds since 1970.
const epoch = -11_644_473_600_000_000

func fromWebKit(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return n + epoch
}

func toWebKit(us int64) string {
	if us == 0 || us < epoch {
		return "0"
	}
	return strconv.FormatInt(us-epoch, 10)
}
