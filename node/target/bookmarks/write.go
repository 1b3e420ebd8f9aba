package bookmarks

import (
	"context"
	"slices"
	"strconv"

	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// store is a tree that can be changed.
type store interface {
	Tree() *bookmark.Tree
	Insert(parent, n *bookmark.Node, at int) error
	Update(n *bookmark.Node, to *bookmark.Bookmark) error
	Delete(n *bookmark.Node) error
}

// named calls each for every node of a tree with its ID: its GUID, or where it has none, or
// that of another one, a hash of its place and address.
func named(tree *bookmark.Tree, each func(id string, n *bookmark.Node) error) error {
	seen, others := map[string]bool{}, wholefile.Names{}
	return tree.Each(func(n *bookmark.Node) error {
		id := n.GUID
		if id == "" || seen[id] {
			id = "at-" + others.ID([]byte(n.OwnKey()+"\x00"+n.Type+"\x00"+n.URL))
		}
		seen[id] = true
		return each(id, n)
	})
}

func existing(id string, n *bookmark.Node, where string) target.Existing {
	return target.Existing{Record: n.Record("", where), ID: id, Version: n.Version()}
}

func read(ctx context.Context, tree *bookmark.Tree, where string, each func(target.Existing) error) error {
	return named(tree, func(id string, n *bookmark.Node) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return each(existing(id, n, where))
	})
}

// writer carries out changes on a store.
type writer struct {
	store
	guid    func(string) string
	byID    map[string]*bookmark.Node
	guids   map[string]*bookmark.Node
	folders map[string]*bookmark.Node // by what bookmark.OwnKey says
	results []result
	changed bool
}

type result struct {
	guid string // of the node that the target then holds; "" after a deletion
	id   string // its ID, if it has no GUID
	err  error
}

func newWriter(s store, guid func(string) string) (*writer, error) {
	w := &writer{store: s, guid: guid, byID: map[string]*bookmark.Node{}, guids: map[string]*bookmark.Node{}, folders: map[string]*bookmark.Node{}}
	for _, r := range bookmark.Roots {
		w.folders[r] = s.Tree().Root(r)
	}
	return w, named(s.Tree(), func(id string, n *bookmark.Node) error {
		w.byID[id] = n
		if n.GUID != "" {
			w.guids[n.GUID] = n
		}
		if n.Type == bookmark.Folder {
			w.folders[n.OwnKey()] = n
		}
		return nil
	})
}

// all carries out the changes in their order, but deletes folders last and the innermost
// first: what was created with them goes with them.
func (w *writer) all(ctx context.Context, changes []target.Write) error {
	w.results = make([]result, len(changes))
	var folders []int
	for i := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &changes[i]
		if n := w.byID[c.ID]; c.ID != "" && len(c.Record.Data) == 0 && n != nil && n.Type == bookmark.Folder {
			folders = append(folders, i)
			continue
		}
		if err := w.one(i, c); err != nil {
			return err
		}
	}
	slices.SortStableFunc(folders, func(a, b int) int {
		return len(w.byID[changes[b].ID].Path) - len(w.byID[changes[a].ID].Path)
	})
	for _, i := range folders {
		if err := w.one(i, &changes[i]); err != nil {
			return err
		}
	}
	return nil
}

// one carries out one change. What the person is to be told is a result; an error ends it all.
func (w *writer) one(i int, c *target.Write) error {
	r := &w.results[i]
	if c.ID == "" {
		return w.create(r, c)
	}
	n := w.byID[c.ID]
	if n == nil || n.Version() != c.Version {
		r.err = target.ErrEdited
		return nil
	}
	if len(c.Record.Data) == 0 {
		return w.delete(r, c.ID, n)
	}
	b, err := bookmark.Parse(c.Record.Data)
	if err != nil || b.Type != n.Type || b.Type == bookmark.Folder && b.Title != n.Title {
		r.err = &target.RefusedError{Why: "it is another kind of thing"}
		return nil
	}
	r.guid, r.id, w.changed = n.GUID, c.ID, true
	return w.Update(n, b)
}

func (w *writer) create(r *result, c *target.Write) error {
	b, err := bookmark.Parse(c.Record.Data)
	if err != nil {
		r.err = &target.RefusedError{Why: "it " + err.Error()}
		return nil
	}
	guid := w.guid(c.Key)
	for k := 2; w.guids[guid] != nil; k++ {
		if n := w.guids[guid]; n.Type == b.Type && n.Title == b.Title && n.URL == b.URL && n.FolderKey() == b.FolderKey() { // of an attempt whose answer was lost
			r.guid = guid
			return nil
		}
		guid = w.guid(c.Key + "\x00" + strconv.Itoa(k)) // it was edited since, and is another one now
	}
	parent, err := w.folder(b)
	if err != nil {
		return err
	}
	n := &bookmark.Node{Bookmark: *b}
	n.GUID, r.guid, w.changed = guid, guid, true
	w.guids[guid] = n
	if key := b.OwnKey(); n.Type == bookmark.Folder && w.folders[key] == nil {
		w.folders[key] = n
	}
	return w.Insert(parent, n, b.Pos)
}

// made is what the GUIDs of folders are made of that no record asked for.
const made = "folder\x00"

// folder returns the folder that a node goes into, which it makes if it is not there.
func (w *writer) folder(b *bookmark.Bookmark) (*bookmark.Node, error) {
	if f := w.folders[b.FolderKey()]; f != nil {
		return f, nil
	}
	parent := w.folders[b.Root]
	for i := range b.Path {
		p := &bookmark.Bookmark{Root: b.Root, Path: b.Path[:i], Type: bookmark.Folder, Title: b.Path[i]}
		if b.Nth != nil {
			p.Nth = b.Nth[:i+1]
		}
		key := p.OwnKey()
		f := w.folders[key]
		if f == nil {
			f = &bookmark.Node{Bookmark: *p}
			for f.GUID = w.guid(made + key); w.guids[f.GUID] != nil; {
				f.GUID = w.guid(f.GUID)
			}
			w.folders[key], w.guids[f.GUID] = f, f
			if err := w.Insert(parent, f, len(parent.Children)); err != nil {
				return nil, err
			}
		}
		parent = f
	}
	return parent, nil
}

func (w *writer) delete(r *result, id string, n *bookmark.Node) error {
	if len(n.Children) > 0 {
		r.err = &target.RefusedError{Why: "the folder is not empty"}
		return nil
	}
	parent := n.Parent
	w.changed = true
	if err := w.remove(id, n); err != nil {
		return err
	}
	for parent.Parent != nil && len(parent.Children) == 0 && parent.GUID == w.guid(made+parent.OwnKey()) {
		n := parent
		parent = n.Parent
		if err := w.remove(n.GUID, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) remove(id string, n *bookmark.Node) error {
	delete(w.byID, id)
	delete(w.guids, n.GUID)
	if key := n.OwnKey(); n.Type == bookmark.Folder && w.folders[key] == n {
		delete(w.folders, key)
	}
	return w.Delete(n)
}

// report tells what the target holds now, as tree has it.
func (w *writer) report(tree *bookmark.Tree, where string, done func(int, target.Existing, error) error) error {
	now := map[string]target.Existing{}
	err := named(tree, func(id string, n *bookmark.Node) error {
		now[id] = existing(id, n, where)
		return nil
	})
	if err != nil {
		return err
	}
	for i, r := range w.results {
		var e target.Existing
		if r.err == nil && (r.guid != "" || r.id != "") {
			var ok bool
			if e, ok = now[r.guid]; !ok {
				e, ok = now[r.id]
			}
			if !ok {
				r.err = errLost
			}
		}
		if err := done(i, e, r.err); err != nil {
			return err
		}
	}
	return nil
}

var errLost = &target.RefusedError{Why: "it is not there after it was written"}
