// Package bookmarks reads the bookmarks of Firefox, of Chromium and its like, and of the
// files that browsers export. A browser may be running: its database is read from a copy.
package bookmarks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/decant-dev/decant/node/format/bookmarkhtml"
	"github.com/decant-dev/decant/node/format/chromium"
	"github.com/decant-dev/decant/node/format/firefox"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
)

// Source implements source.Books.
type Source struct{ place *Place }

// Open finds what the argument names: a file or a browser's profile (see Locate).
func Open(arg string) (*Source, error) {
	p, err := Locate(arg)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.Path); err != nil && !(p.Profile != "" && errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	return &Source{p}, nil
}

// Close implements source.Books.
func (s *Source) Close() error { return nil }

// Survey implements source.Books. Of a database it counts what the browser has put into it
// for good; all else is read.
func (s *Source) Survey(ctx context.Context) (found []item.Found, err error) {
	for _, b := range s.books() {
		f := item.Found{Kind: item.Bookmark, Book: b.name, Where: b.path, Items: -1, Bytes: -1, Can: true}
		if info, err := os.Stat(b.path); err == nil {
			f.Bytes = info.Size()
		}
		if s.place.Form == Firefox {
			f.Items = firefox.Count(ctx, b.path)
		} else if tree, _, err := s.tree(ctx, b.path); err != nil {
			f.Can, f.Why = false, err.Error()
		} else {
			f.Items = 0
			tree.Each(func(*bookmark.Node) error { f.Items++; return nil })
		}
		found = append(found, f)
	}
	return found, ctx.Err()
}

// book is a file of the place: Chromium has one more for the bookmarks of an account.
type book struct{ name, path string }

func (s *Source) books() []book {
	p := s.place
	all := []book{{p.Browser, p.Path}}
	if p.Form == Chromium && p.Profile != "" && filepath.Base(p.Path) == chromium.File {
		if account := filepath.Join(p.Profile, chromium.Account); isFile(account) {
			all = append(all, book{p.Browser + " account", account})
		}
	}
	return all
}

// Read implements source.Books. The order is that of the trees.
func (s *Source) Read(ctx context.Context, to item.Sink) error {
	for _, b := range s.books() {
		tree, changes, err := s.tree(ctx, b.path)
		if err != nil {
			return err
		}
		for _, c := range changes {
			c.From = b.path
			if err := to.Change(c); err != nil {
				return err
			}
		}
		err = tree.Each(func(n *bookmark.Node) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return to.Record(n.Record(b.name, b.path))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) tree(ctx context.Context, path string) (*bookmark.Tree, []item.Change, error) {
	if s.place.Form == Firefox {
		return database(ctx, path)
	}
	data, err := ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && s.place.Profile != "" {
		return bookmark.NewTree(), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	switch s.place.Form {
	case HTML:
		d, err := bookmarkhtml.Parse(data)
		if err != nil {
			return nil, nil, err
		}
		return d.Tree, d.Changes, nil
	case Chromium:
		d, err := chromium.Parse(data)
		if err != nil {
			return nil, nil, err
		}
		return d.Tree, d.Changes, nil
	}
	d, err := firefox.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	return d.Tree, d.Changes, nil
}

// ReadFile reads a file of at most MaxFile bytes.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, MaxFile)
	}
	return data, err
}

func database(ctx context.Context, path string) (*bookmark.Tree, []item.Change, error) {
	dir, err := os.MkdirTemp("", "decant-bookmarks-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	copied, err := firefox.Copy(ctx, path, dir)
	if err != nil {
		return nil, nil, err
	}
	db, err := firefox.Open(copied, "")
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	return firefox.Read(ctx, db)
}
