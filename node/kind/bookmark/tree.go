package bookmark

import (
	"errors"
	"slices"

	"github.com/decant-dev/decant/node/item"
)

// Limits on a tree. They keep the records' paths from growing as the square of a hostile file.
const (
	MaxDepth = 32      // folders inside one another
	MaxPath  = 4096    // bytes of the titles that lead to a node
	MaxNodes = 250_000 // nodes of one tree
)

// ErrTooMany is returned for a tree of more than MaxNodes.
var ErrTooMany = errors.New("it has more than 250,000 bookmarks")

// Node is a node in its tree. Root, Path, Nth and Pos are set by Tree.Each only.
type Node struct {
	Bookmark
	Parent   *Node
	Children []*Node
}

// Tree is all bookmarks of one browser. Its four roots are folders.
type Tree struct{ roots map[string]*Node }

// NewTree returns an empty tree.
func NewTree() *Tree {
	t := &Tree{map[string]*Node{}}
	for _, r := range Roots {
		t.roots[r] = &Node{Bookmark: Bookmark{Root: r, Type: Folder}}
	}
	return t
}

// Root returns the root of a name; nil if there is none.
func (t *Tree) Root(name string) *Node { return t.roots[name] }

// Insert puts n below parent, before its child number at, or at the end if there is none.
func (parent *Node) Insert(n *Node, at int) {
	n.Parent = parent
	parent.Children = slices.Insert(parent.Children, min(max(at, 0), len(parent.Children)), n)
}

// Append puts n below parent, at the end.
func (parent *Node) Append(n *Node) { parent.Insert(n, len(parent.Children)) }

// Remove takes n out of its parent.
func (n *Node) Remove() {
	if i := slices.Index(n.Parent.Children, n); i >= 0 {
		n.Parent.Children = slices.Delete(n.Parent.Children, i, i+1)
	}
	n.Parent = nil
}

// Each calls f for every node, a folder before what is in it, after setting its place.
// It ends with the first error.
func (t *Tree) Each(f func(*Node) error) error {
	for _, r := range Roots {
		root := t.roots[r]
		root.Path, root.Nth, root.Root = nil, nil, r
		if err := root.each(nil, nil, f); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) each(path []string, nth []int, f func(*Node) error) error {
	twins := map[string]int{}
	for i, c := range n.Children {
		c.Root, c.Path, c.Nth, c.Pos = n.Root, path, nth, i
		if c.Type == Folder {
			c.Nth = append(slices.Clip(nth), twins[c.Title])
			twins[c.Title]++
		}
		if err := f(c); err != nil {
			return err
		}
		if c.Type == Folder {
			if err := c.each(append(slices.Clip(path), c.Title), c.Nth, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Builder builds a tree from what a file says, in order, and keeps to the limits: what lies
// too deep comes into the innermost folder that does not.
type Builder struct {
	Tree    *Tree
	Changes []item.Change // what is not where it was: not empty if the tree can't be written in its place
	open    []*Node
	size    []int // bytes of the titles up to each of open
	over    int   // folders that are open beyond the limits
	nodes   int
}

// NewBuilder returns a builder that adds to a root.
func NewBuilder(root string) *Builder {
	b := &Builder{Tree: NewTree()}
	b.To(root)
	return b
}

// To closes all folders and goes on in a root.
func (b *Builder) To(root string) {
	b.open, b.size, b.over = []*Node{b.Tree.Root(root)}, []int{0}, 0
}

// Add adds a node to the folder that is open.
func (b *Builder) Add(n *Node) error {
	if b.nodes++; b.nodes > MaxNodes {
		return ErrTooMany
	}
	b.open[len(b.open)-1].Append(n)
	return nil
}

// Open adds a folder and goes on inside it. One that lies too deep is left out, and what is in
// it comes into the folder around it.
func (b *Builder) Open(n *Node) error {
	size := b.size[len(b.size)-1] + len(n.Title)
	if b.over > 0 || len(b.open) >= MaxDepth || size > MaxPath {
		if b.nodes++; b.nodes > MaxNodes {
			return ErrTooMany
		}
		b.over++
		title := n.Label()
		b.Changes = append(b.Changes, item.Change{Kind: item.Bookmark, Record: title[:min(len(title), item.MaxShown)], Property: "FOLDER", Effect: item.EffectDropped, Why: "folders are too deep inside one another: what is in it is in the folder around it"})
		return nil
	}
	if err := b.Add(n); err != nil {
		return err
	}
	b.open, b.size = append(b.open, n), append(b.size, size)
	return nil
}

// Close goes on in the folder around the one that is open. It reports whether there is one.
func (b *Builder) Close() bool {
	switch {
	case b.over > 0:
		b.over--
	case len(b.open) > 1:
		b.open, b.size = b.open[:len(b.open)-1], b.size[:len(b.size)-1]
	default:
		return false
	}
	return true
}

// Inside returns the folder that is open, a root if none is.
func (b *Builder) Inside() *Node { return b.open[len(b.open)-1] }
