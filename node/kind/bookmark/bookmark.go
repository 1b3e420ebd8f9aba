// Package bookmark knows bookmarks: their canonical form, one JSON object on a line, what
// makes two of them the same, and how those of one browser come among those of another.
// docs/SPEC.md section 9.3 gives the form, section 9.4 the rules.
//
// A node is a bookmark, a folder or a separator. Its place is a root (the four that
// browsers have), the names of the folders below it, and a position among its siblings.
// Folders of one name beside each other are told apart by their number in that order.
package bookmark

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The roots. Every node is below one; they are no nodes themselves.
const (
	Toolbar = "toolbar"
	Menu    = "menu"
	Other   = "other"
	Mobile  = "mobile"
)

// Roots lists the roots in the order in which their nodes are written.
var Roots = []string{Menu, Toolbar, Other, Mobile}

// The types of nodes.
const (
	URL       = "bookmark"
	Folder    = "folder"
	Separator = "separator"
)

// Bookmark is one node. Times are microseconds since 1970-01-01 UTC, 0 if they are unknown.
type Bookmark struct {
	Root        string                     `json:"root"`
	Path        []string                   `json:"path"`          // the titles of the folders that it is in, the outermost first
	Nth         []int                      `json:"nth,omitempty"` // for each of Path, and a folder itself: how many siblings of that title are before it; nil is all 0
	Pos         int                        `json:"pos"`           // how many siblings are before it; only their order counts
	Type        string                     `json:"type"`
	Title       string                     `json:"title,omitempty"`
	URL         string                     `json:"url,omitempty"`
	Added       int64                      `json:"added,omitempty"`
	Modified    int64                      `json:"modified,omitempty"`
	Visited     int64                      `json:"visited,omitempty"`
	Tags        []string                   `json:"tags,omitempty"`
	Keyword     string                     `json:"keyword,omitempty"`
	Description string                     `json:"description,omitempty"`
	IconURI     string                     `json:"icon_uri,omitempty"`
	Icon        string                     `json:"icon,omitempty"` // a data: URI
	GUID        string                     `json:"guid,omitempty"` // what the source knows it by; no property: not compared, not reported
	X           map[string]json.RawMessage `json:"x,omitempty"`    // what else the source says, by "format.name"

	more map[string]json.RawMessage // members that this version does not know, kept
}

// MaxLine is the longest line in bytes that is read.
const MaxLine = 4 << 20

// Errors of Parse.
var (
	errForm  = errors.New("is no bookmark")
	errRoot  = errors.New("is below no known root")
	errType  = errors.New("has no known type")
	errDeep  = errors.New("is too deep")
	errTwins = errors.New("has a wrong number of ordinals")
)

var known = []string{"root", "path", "nth", "pos", "type", "title", "url", "added", "modified", "visited", "tags", "keyword", "description", "icon_uri", "icon", "guid", "x"}

// Parse reads the canonical form, with or without a line break. It takes members in any order.
func Parse(line []byte) (*Bookmark, error) {
	if len(line) > MaxLine {
		return nil, errForm
	}
	b := &Bookmark{}
	if err := json.Unmarshal(line, b); err != nil {
		return nil, errForm
	}
	switch {
	case !slices.Contains(Roots, b.Root):
		return nil, errRoot
	case b.Type != URL && b.Type != Folder && b.Type != Separator:
		return nil, errType
	case len(b.Path) > MaxDepth:
		return nil, errDeep
	case b.Nth != nil && len(b.Nth) != len(b.names()):
		return nil, errTwins
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(line, &all); err != nil {
		return nil, errForm
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool {
		return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
	})
	if len(all) > 0 {
		b.more = all
	}
	return b, nil
}

// Encode returns the canonical form: one line that ends with LF.
func (b *Bookmark) Encode() []byte {
	c := *b
	if c.Path == nil {
		c.Path = []string{}
	}
	if !slices.ContainsFunc(c.Nth, func(n int) bool { return n != 0 }) {
		c.Nth = nil
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(&c); err != nil { // a RawMessage that is no JSON: by a mistake of ours
		c.X = nil
		buf.Reset()
		e.Encode(&c)
	}
	if len(b.more) > 0 {
		buf.Truncate(buf.Len() - len("}\n"))
		for _, name := range slices.Sorted(maps.Keys(b.more)) {
			key, _ := json.Marshal(name)
			buf.WriteByte(',')
			buf.Write(key)
			buf.WriteByte(':')
			if json.Compact(&buf, b.more[name]) != nil {
				buf.WriteString("null")
			}
		}
		buf.WriteString("}\n")
	}
	return buf.Bytes()
}

// names are the titles that lead to the node: those of Path, and a folder's own.
func (b *Bookmark) names() []string {
	if b.Type == Folder {
		return append(slices.Clip(b.Path), b.Title)
	}
	return b.Path
}

// FolderKey names the folder that the node is in, whatever its position.
func (b *Bookmark) FolderKey() string { return folderKey(b.Root, b.Path, b.Nth) }

// OwnKey names a folder itself, as FolderKey does for what is in it.
func (b *Bookmark) OwnKey() string { return folderKey(b.Root, b.names(), b.Nth) }

func folderKey(root string, names []string, nth []int) string {
	var s strings.Builder
	s.WriteString(root)
	for i, name := range names {
		s.WriteByte(0)
		if i < len(nth) && nth[i] > 0 {
			s.WriteString(strconv.Itoa(nth[i]))
		}
		s.WriteByte(0)
		s.WriteString(name)
	}
	return s.String()
}

// key is what makes two nodes of one tree the same, but for how many there are.
func (b *Bookmark) key() string {
	switch b.Type {
	case Folder:
		return "f" + b.OwnKey()
	case Separator:
		return "s" + b.FolderKey()
	}
	return "u" + b.FolderKey() + "\x00\x01" + Canonical(b.URL)
}

// Label is what a person knows the node by.
func (b *Bookmark) Label() string {
	switch {
	case b.Type == Separator:
		return "separator"
	case b.Title != "":
		return b.Title
	case b.URL != "":
		return b.URL
	}
	return b.Type
}
