package firefox

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pierrec/lz4/v4"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
)

// ErrForm is returned for what is no backup of Firefox's bookmarks.
var ErrForm = errors.New("it is no backup of Firefox's bookmarks")

const magic = "mozLz40\x00"

// MaxBackup is the largest backup in bytes, unpacked.
const MaxBackup = 256 << 20

// Unpack takes mozLz4 apart: a magic number, the length as 32 bits, one LZ4 block. Other
// data it returns as they are.
func Unpack(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte(magic)) {
		return data, nil
	}
	if len(data) < len(magic)+4 {
		return nil, ErrForm
	}
	size, block := int64(binary.LittleEndian.Uint32(data[len(magic):])), data[len(magic)+4:]
	if size > MaxBackup || size > int64(len(block))*255+16 { // LZ4 can't do more
		return nil, fmt.Errorf("%w: it says that it has %d bytes", ErrForm, size)
	}
	out := make([]byte, size)
	n, err := lz4.UncompressBlock(block, out)
	if err != nil || int64(n) != size {
		return nil, fmt.Errorf("%w: it is damaged", ErrForm)
	}
	return out, nil
}

// Pack makes mozLz4.
func Pack(data []byte) ([]byte, error) {
	out := make([]byte, len(magic)+4+lz4.CompressBlockBound(len(data)))
	copy(out, magic)
	binary.LittleEndian.PutUint32(out[len(magic):], uint32(len(data)))
	n, err := lz4.CompressBlock(data, out[len(magic)+4:], nil)
	if err == nil && n == 0 && len(data) > 0 {
		err = errors.New("it can't be compressed")
	}
	return out[:len(magic)+4+n], err
}

// Document is one backup.
type Document struct {
	Tree    *bookmark.Tree
	Changes []item.Change // what could not be read as it is
	Lossy   string        // not "": why writing the document in place of what was read would lose something
}

// Parse reads a backup, packed or not.
func Parse(data []byte) (*Document, error) {
	data, err := Unpack(data)
	if err != nil {
		return nil, err
	}
	d, nodes := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))), 0
	top, err := bookmark.ReadObject(d, &nodes)
	if err == nil {
		if _, err = d.Token(); err == io.EOF {
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
	case text(top.Members["guid"]) != rootGUID && text(top.Members["root"]) != "placesRoot":
		return nil, ErrForm
	}
	r := &reader{b: bookmark.NewBuilder(bookmark.Menu)}
	for _, c := range top.Children {
		if err := r.root(c); err != nil {
			return nil, err
		}
	}
	out := &Document{Tree: r.b.Tree, Changes: append(r.changes, r.b.Changes...)}
	if len(out.Changes) > 0 {
		out.Lossy = "it has folders too deep inside one another, or what is neither bookmark nor folder nor separator"
	}
	return out, nil
}

type reader struct {
	b       *bookmark.Builder
	changes []item.Change
}

func (r *reader) root(o *bookmark.Object) error {
	guid, name := text(o.Members["guid"]), text(o.Members["root"])
	if guid == tagsGUID || name == "tagsFolder" {
		return nil // the bookmarks have them too
	}
	for _, k := range rootGUIDs {
		if guid == k.guid || name == k.name {
			r.b.To(k.root)
			r.read(o, r.b.Tree.Root(k.root))
			for _, c := range o.Children {
				if err := r.node(c); err != nil {
					return err
				}
			}
			return nil
		}
	}
	r.b.To(bookmark.Other) // an old Firefox, or another program, has more
	return r.node(o)
}

func (r *reader) node(o *bookmark.Object) error {
	n := &bookmark.Node{}
	code, _ := strconv.Atoi(text(o.Members["typeCode"]))
	switch kind := text(o.Members["type"]); {
	case code == typeFolder || kind == "text/x-moz-place-container":
		n.Type = bookmark.Folder
	case code == typeSeparator || kind == "text/x-moz-place-separator":
		n.Type = bookmark.Separator
	case code == typeURL || kind == "text/x-moz-place":
		n.Type = bookmark.URL
	default:
		r.changes = append(r.changes, item.Change{Kind: item.Bookmark, Record: text(o.Members["title"]), Effect: item.EffectDropped, Why: "it is neither bookmark nor folder nor separator", Before: kind})
		return nil
	}
	r.read(o, n)
	if n.Type != bookmark.Folder {
		return r.b.Add(n)
	}
	if err := r.b.Open(n); err != nil {
		return err
	}
	for _, c := range o.Children {
		if err := r.node(c); err != nil {
			return err
		}
	}
	r.b.Close()
	return nil
}

func (r *reader) read(o *bookmark.Object, n *bookmark.Node) {
	for key, v := range o.Members {
		switch key {
		case "type", "typeCode", "index", "id", "root", "itemGuid", "parent":
		case "guid":
			n.GUID = text(v)
		case "title":
			n.Title = text(v)
		case "uri":
			n.URL = text(v)
		case "dateAdded":
			n.Added = micros(v)
		case "lastModified":
			n.Modified = micros(v)
		case "tags":
			for t := range strings.SplitSeq(text(v), ",") {
				if t = strings.TrimSpace(t); t != "" {
					n.Tags = append(n.Tags, t)
				}
			}
		case "keyword":
			n.Keyword = text(v)
		case "iconUri", "iconuri":
			if n.IconURI = text(v); strings.HasPrefix(n.IconURI, "fake-favicon-uri:") {
				n.IconURI = ""
			}
		case "annos":
			annos(n, v)
		case "postData":
			keep(n, "post_data", v)
		default:
			keep(n, key, v)
		}
	}
}

func keep(n *bookmark.Node, key string, v json.RawMessage) {
	if string(v) == "null" {
		return
	}
	if n.X == nil {
		n.X = map[string]json.RawMessage{}
	}
	n.X[prefix+key] = v
}

// anno is a property that an extension or an old Firefox has given to a node.
type anno struct {
	Name    string          `json:"name"`
	Flags   int             `json:"flags"`
	Expires int             `json:"expires"`
	Value   json.RawMessage `json:"value"`
}

func annos(n *bookmark.Node, v json.RawMessage) {
	var all []anno
	if json.Unmarshal(v, &all) != nil {
		keep(n, "annos", v)
		return
	}
	rest := all[:0]
	for _, a := range all {
		if a.Name == descriptionAnno {
			n.Description = text(a.Value)
			continue
		}
		rest = append(rest, a)
	}
	if len(rest) > 0 {
		v, _ = json.Marshal(rest)
		keep(n, "annos", v)
	}
}

func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(v))
}

// micros reads a time, which may be written as a floating point number.
func micros(v json.RawMessage) int64 {
	f, err := strconv.ParseFloat(text(v), 64)
	if err != nil || !(f > -1e18 && f < 1e18) {
		return 0
	}
	if n, err := strconv.ParseInt(text(v), 10, 64); err == nil {
		return n
	}
	return int64(f)
}

// Bytes writes a backup that Firefox restores.
func (d *Document) Bytes() []byte {
	w := &writer{id: 1}
	root := w.object(rootGUID, "", typeFolder, 0)
	root.Root = "placesRoot"
	for i, k := range rootGUIDs {
		n := d.Tree.Root(k.root)
		o := w.object(k.guid, k.title, typeFolder, i)
		o.Root, o.Added, o.Modified = k.name, n.Added, n.Modified
		for j, c := range n.Children {
			o.Children = append(o.Children, w.node(c, j))
		}
		root.Children = append(root.Children, o)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(root)
	return bytes.TrimRight(b.Bytes(), "\n")
}

// object is a node of a backup, its members in the order in which Firefox writes them.
type object struct {
	GUID     string          `json:"guid"`
	Title    string          `json:"title"`
	Index    int             `json:"index"`
	Added    int64           `json:"dateAdded"`
	Modified int64           `json:"lastModified"`
	ID       int             `json:"id"`
	Code     int             `json:"typeCode"`
	Tags     string          `json:"tags,omitempty"`
	IconURI  string          `json:"iconUri,omitempty"`
	Keyword  string          `json:"keyword,omitempty"`
	PostData json.RawMessage `json:"postData,omitempty"`
	Charset  json.RawMessage `json:"charset,omitempty"`
	Annos    []anno          `json:"annos,omitempty"`
	Type     string          `json:"type"`
	Root     string          `json:"root,omitempty"`
	URI      string          `json:"uri,omitempty"`
	Children []*object       `json:"children,omitempty"`
}

type writer struct{ id int }

var typeNames = map[int]string{typeURL: "text/x-moz-place", typeFolder: "text/x-moz-place-container", typeSeparator: "text/x-moz-place-separator"}

func (w *writer) object(guid, title string, code, index int) *object {
	o := &object{GUID: guid, Title: title, Index: index, ID: w.id, Code: code, Type: typeNames[code]}
	w.id++
	return o
}

func (w *writer) node(n *bookmark.Node, index int) *object {
	code := map[string]int{bookmark.URL: typeURL, bookmark.Folder: typeFolder, bookmark.Separator: typeSeparator}[n.Type]
	guid := n.GUID
	if len(guid) != len(rootGUID) {
		guid = GUID(guid + "\x00" + strconv.Itoa(w.id))
	}
	o := w.object(guid, n.Title, code, index)
	o.Added, o.Modified, o.URI, o.Keyword, o.IconURI, o.Tags = n.Added, n.Modified, n.URL, n.Keyword, n.IconURI, strings.Join(n.Tags, ",")
	o.PostData, o.Charset = n.X[postData], n.X[prefix+"charset"]
	if v := n.X[annotations]; v != nil {
		json.Unmarshal(v, &o.Annos)
	}
	if n.Description != "" {
		v, _ := json.Marshal(n.Description)
		o.Annos = append(o.Annos, anno{Name: descriptionAnno, Expires: 4, Value: v})
	}
	for i, c := range n.Children {
		o.Children = append(o.Children, w.node(c, i))
	}
	return o
}
