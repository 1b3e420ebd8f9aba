// Package bookmarks puts bookmarks into the profiles of Firefox and of Chromium and its
// like, while the browser is closed, and into files that browsers import.
//
// Every Write is one step: a file is replaced as a whole, a database changed in one
// transaction. Undoing gives the file back byte for byte, and Firefox's database with the
// content that it had.
package bookmarks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/decant-dev/decant/node/format/bookmarkhtml"
	"github.com/decant-dev/decant/node/format/chromium"
	"github.com/decant-dev/decant/node/format/firefox"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/source/bookmarks"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// Target is a place for bookmarks. It implements target.Books and target.Whole.
type Target interface {
	target.Books
	target.Whole
}

// Open finds what the argument names: a file, which may not exist yet, or a browser's
// profile, which must (see Locate of package source/bookmarks).
func Open(arg string) (Target, error) {
	p, err := bookmarks.Locate(arg)
	if err != nil {
		return nil, err
	}
	f, err := wholefile.Open(p.Path)
	if err != nil {
		return nil, err
	}
	if p.Form == bookmarks.Firefox {
		if _, err := os.Stat(p.Path); err != nil {
			return nil, fmt.Errorf("%w: start Firefox once with this profile", err)
		}
		return &database{File: f, profile: p.Profile}, nil
	}
	return &file{File: f, place: p}, nil
}

// What the places do with bookmarks.
var profiles = map[bookmarks.Form]rule.Profile{
	bookmarks.HTML:   {Drops: []string{"X-*"}, Keeps: []string{"X-HTML.*"}},
	bookmarks.Backup: {Strict: true, Drops: []string{"VISITED", "ICON", "X-*"}, Keeps: []string{"X-FIREFOX.*"}},
	bookmarks.Firefox: {Strict: true, Drops: []string{"VISITED", "ICON", "ICON_URI", "DESCRIPTION", "X-*", bookmark.NoCapitals, "FOLDER/TAGS", "FOLDER/KEYWORD", "SEPARATOR/TAGS", "SEPARATOR/KEYWORD"},
		Keeps: []string{"X-FIREFOX.POST_DATA"}},
	bookmarks.Chromium: {Strict: true, Drops: []string{bookmark.NoMenu, bookmark.NoSeparators, "TAGS", "KEYWORD", "DESCRIPTION", "ICON", "ICON_URI", "BOOKMARK/MODIFIED", "X-*"},
		Keeps: []string{"X-CHROMIUM.*"}},
}

func profileOf(form bookmarks.Form) rule.Profile {
	if form == bookmarks.Packed {
		form = bookmarks.Backup
	}
	return profiles[form]
}

// file is a place that is a file of its own.
type file struct {
	*wholefile.File
	place *bookmarks.Place
}

func (t *file) Kinds() []item.Kind { return []item.Kind{item.Bookmark} }

func (t *file) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return profileOf(t.place.Form), nil
}

func (t *file) Close() error { return nil }

// document is a file's content.
type document struct {
	tree  *bookmark.Tree
	lossy string // why it must not be written, if it must not
	bytes func() ([]byte, error)
}

func (t *file) load(f *os.File) (*document, error) {
	var data []byte
	if f != nil {
		var err error
		if data, err = io.ReadAll(io.LimitReader(f, bookmarks.MaxFile+1)); err != nil {
			return nil, err
		}
		if len(data) > bookmarks.MaxFile {
			return nil, fmt.Errorf("%s has more than %d bytes", t.Path(), bookmarks.MaxFile)
		}
	}
	switch form := t.place.Form; form {
	case bookmarks.HTML:
		d := bookmarkhtml.New()
		if len(data) > 0 {
			var err error
			if d, err = bookmarkhtml.Parse(data); err != nil {
				return nil, err
			}
		}
		return &document{d.Tree, d.Lossy, func() ([]byte, error) { return d.Bytes(), nil }}, nil
	case bookmarks.Chromium:
		d := chromium.New()
		if len(data) > 0 {
			var err error
			if d, err = chromium.Parse(data); err != nil {
				return nil, err
			}
		}
		return &document{d.Tree, d.Lossy, func() ([]byte, error) { return d.Bytes(), nil }}, nil
	default:
		d := &firefox.Document{Tree: bookmark.NewTree()}
		if len(data) > 0 {
			var err error
			if d, err = firefox.Parse(data); err != nil {
				return nil, err
			}
		}
		return &document{d.Tree, d.Lossy, func() ([]byte, error) {
			if form == bookmarks.Packed {
				return firefox.Pack(d.Bytes())
			}
			return d.Bytes(), nil
		}}, nil
	}
}

func (t *file) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	f, err := t.Open()
	if err != nil {
		return err
	}
	if f != nil {
		defer f.Close()
	}
	d, err := t.load(f)
	if err != nil {
		return err
	}
	return read(ctx, d.tree, t.Path(), each)
}

// running returns an error if the browser is running whose profile the file is in.
func (t *file) running() error {
	if t.place.Form == bookmarks.Chromium && t.place.Profile != "" {
		return chromium.Running(t.place.Profile)
	}
	return nil
}

func (t *file) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if err := t.running(); err != nil {
		return err
	}
	f, err := t.Open()
	if err != nil {
		return err
	}
	if f != nil {
		defer f.Close()
	}
	d, err := t.load(f)
	if err != nil {
		return err
	}
	if d.lossy != "" {
		return fmt.Errorf("%s can't be written without losing something: %s", t.Path(), d.lossy)
	}
	guid := firefox.GUID
	if t.place.Form == bookmarks.Chromium {
		guid = chromium.UUID
	}
	w, err := newWriter(memory{d.tree}, guid)
	if err != nil {
		return err
	}
	if err := w.all(ctx, changes); err != nil {
		return err
	}
	if w.changed {
		data, err := d.bytes()
		if err != nil {
			return err
		}
		if len(data) > bookmarks.MaxFile {
			return fmt.Errorf("it would have more than %d bytes", bookmarks.MaxFile)
		}
		if err := t.Replace(f, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			return err
		}
		again, err := t.after(data)
		if err != nil {
			return err
		}
		return w.report(again, t.Path(), done)
	}
	return w.report(d.tree, t.Path(), done)
}

// after reads what was written: that, and not what was meant, is what the target has.
func (t *file) after(data []byte) (*bookmark.Tree, error) {
	f, err := t.Open()
	if err != nil || f == nil {
		return nil, errors.Join(err, errors.New("it is gone"))
	}
	defer f.Close()
	d, err := t.load(f)
	if err != nil {
		return nil, err
	}
	return d.tree, nil
}

func (t *file) Restore(before []byte, now [32]byte) error {
	if err := t.running(); err != nil {
		return err
	}
	return t.File.Restore(before, now)
}

// memory changes a tree that is written as a whole afterwards.
type memory struct{ tree *bookmark.Tree }

func (m memory) Tree() *bookmark.Tree { return m.tree }

func (m memory) Insert(parent, n *bookmark.Node, at int) error {
	parent.Insert(n, at)
	return nil
}

func (m memory) Update(n *bookmark.Node, to *bookmark.Bookmark) error {
	guid, url := n.GUID, to.URL
	n.Title, n.URL, n.Added, n.Modified, n.Visited = to.Title, url, to.Added, to.Modified, to.Visited
	n.Tags, n.Keyword, n.Description, n.IconURI, n.Icon, n.X, n.GUID = to.Tags, to.Keyword, to.Description, to.IconURI, to.Icon, to.X, guid
	return nil
}

func (m memory) Delete(n *bookmark.Node) error {
	n.Remove()
	return nil
}
