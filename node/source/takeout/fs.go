package takeout

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/source/photos"
)

// files are files of an export as a file system, without the service that they are from.
type files struct {
	byPath map[string]*node
}

// node is a file or a directory.
type node struct {
	name  string
	entry *photos.Entry // nil for a directory
	list  []fs.DirEntry
}

// newFS makes a file system of entries. Those that can't have a name in one are returned.
func newFS(entries []photos.Entry) (*files, []photos.Entry) {
	f := &files{byPath: map[string]*node{".": {name: "."}}}
	var left []photos.Entry
	for i, e := range entries {
		p := below(e.Path)
		if !fs.ValidPath(p) || p == "." || f.byPath[p] != nil || !f.add(p, &node{name: path.Base(p), entry: &entries[i]}) {
			left = append(left, e)
		}
	}
	for _, n := range f.byPath {
		slices.SortFunc(n.list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return f, left
}

// add puts a node into its directory, making that if need be. It returns false where a file has the directory's name.
func (f *files) add(p string, n *node) bool {
	dir := path.Dir(p)
	parent := f.byPath[dir]
	if parent == nil {
		parent = &node{name: path.Base(dir)}
		if !f.add(dir, parent) {
			return false
		}
	}
	if parent.entry != nil {
		return false
	}
	f.byPath[p] = n
	parent.list = append(parent.list, fs.FileInfoToDirEntry(n))
	return true
}

func (f *files) get(op, name string) (*node, error) {
	n := f.byPath[name]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Open implements fs.FS.
func (f *files) Open(name string) (fs.File, error) {
	n, err := f.get("open", name)
	if err != nil {
		return nil, err
	}
	if n.entry == nil {
		return &file{node: n}, nil
	}
	r, err := n.entry.Open()
	if err != nil {
		return nil, err
	}
	return &file{n, r}, nil
}

// ReadDir implements fs.ReadDirFS.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.get("open", name)
	if err != nil {
		return nil, err
	}
	if n.entry != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return slices.Clone(n.list), nil
}

// Stat implements fs.StatFS.
func (f *files) Stat(name string) (fs.FileInfo, error) {
	n, err := f.get("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// The methods of fs.FileInfo.
func (n *node) Name() string { return n.name }
func (n *node) IsDir() bool  { return n.entry == nil }
func (n *node) Sys() any     { return nil }
func (n *node) Size() int64 {
	if n.entry == nil {
		return 0
	}
	return n.entry.Size
}
func (n *node) Mode() fs.FileMode {
	if n.entry == nil {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
func (n *node) ModTime() time.Time {
	if n.entry == nil {
		return time.Time{}
	}
	return n.entry.Modified
}

// file is an open file; a directory has nothing to read.
type file struct {
	*node
	r io.ReadCloser
}

func (f *file) Stat() (fs.FileInfo, error) { return f.node, nil }

func (f *file) Read(p []byte) (int, error) {
	if f.r == nil {
		return 0, io.EOF
	}
	return f.r.Read(p)
}

func (f *file) Close() error {
	if f.r == nil {
		return nil
	}
	return f.r.Close()
}
