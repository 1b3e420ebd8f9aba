// Package maildir reads Maildirs as a source of mail: cur and new of the directory itself
// and of the folders in it (Maildir++: .Folder.Sub). Nothing is followed out of the
// directory, and what is no regular file is passed over and told.
package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/source"
)

// MaxMail is the largest mail that is read, in bytes.
const MaxMail = message.MaxData

// maxFiles is how many files of one folder are read at most: their names are in memory.
const maxFiles = 4_000_000

// Dir is one Maildir.
type Dir struct {
	path string
	root *os.Root
}

var _ source.Books = (*Dir)(nil)

// Open opens a Maildir.
func Open(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if !IsFolder(root, ".") {
		root.Close()
		return nil, fmt.Errorf("%s is no Maildir: it has no cur", dir)
	}
	return &Dir{dir, root}, nil
}

// Find returns the Maildirs in the usual places below home.
func Find(home string) (dirs []string) {
	for _, name := range []string{"Maildir", "mail", "Mail", ".mail"} {
		if info, err := os.Stat(filepath.Join(home, name, "cur")); err == nil && info.IsDir() {
			dirs = append(dirs, filepath.Join(home, name))
		}
	}
	return dirs
}

// IsFolder reports whether dir below root is a Maildir folder.
func IsFolder(root *os.Root, dir string) bool {
	info, err := root.Lstat(path.Join(dir, "cur"))
	return err == nil && info.IsDir()
}

// Folders returns the folders of a Maildir, by name: ".", then those in it.
func Folders(root *os.Root) []string {
	out := []string{"."}
	entries, err := list(root, ".")
	if err != nil {
		return out
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") && IsFolder(root, e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out
}

func list(root *os.Root, dir string) ([]fs.DirEntry, error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(maxFiles)
	if err != nil && err != io.EOF {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Name is a file's place in a Maildir.
type Name struct{ Folder, Sub, File string }

// Path is the file's path below the Maildir.
func (n Name) Path() string { return path.Join(n.Folder, n.Sub, n.File) }

// Unique is the part of the file's name that stays when its flags change.
func (n Name) Unique() string {
	u, _ := cut(n.File)
	return u
}

// Flags are the letters of the file's flags, sorted.
func (n Name) Flags() string {
	_, f := cut(n.File)
	b := []byte(f)
	slices.Sort(b)
	return string(slices.Compact(b))
}

// cut parts a file's name from its flags. Programs on file systems without ":" have others.
func cut(name string) (unique, flags string) {
	for _, sep := range []string{":2,", ";2,", "!2,"} {
		if i := strings.LastIndex(name, sep); i > 0 {
			return name[:i], name[i+len(sep):]
		}
	}
	return name, ""
}

// Walk calls each for every file in cur and new of every folder. What is no regular file has not nil why.
func Walk(ctx context.Context, root *os.Root, each func(n Name, why error) error) error {
	for _, folder := range Folders(root) {
		for _, sub := range []string{"cur", "new"} {
			entries, err := list(root, path.Join(folder, sub))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := ctx.Err(); err != nil {
					return err
				}
				if strings.HasPrefix(e.Name(), ".") {
					continue
				}
				var why error
				if !e.Type().IsRegular() {
					why = errors.New("is no regular file")
				}
				if err := each(Name{folder, sub, e.Name()}, why); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Message reads a mail.
func Message(root *os.Root, n Name) (*message.Message, error) {
	f, err := root.Open(n.Path())
	if err != nil {
		return nil, errors.New("can't be read")
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("is no regular file")
	}
	raw, err := io.ReadAll(io.LimitReader(f, MaxMail+1))
	if err != nil {
		return nil, errors.New("can't be read")
	}
	if len(raw) > MaxMail {
		return nil, fmt.Errorf("is larger than %d bytes", MaxMail)
	}
	return message.NewMail(raw, "", n.Flags()), nil
}

// Book is the name of a folder's book: that of the folder with slashes, "" for the Maildir itself.
func Book(folder string) string {
	return strings.ReplaceAll(strings.TrimPrefix(folder, "."), ".", "/")
}

// Survey counts the files.
func (d *Dir) Survey(ctx context.Context) ([]item.Found, error) {
	var out []item.Found
	for _, folder := range Folders(d.root) {
		out = append(out, item.Found{Kind: item.Message, Book: Book(folder), Where: filepath.Join(d.path, folder), Bytes: -1, Can: true})
	}
	err := Walk(ctx, d.root, func(n Name, why error) error {
		if why == nil {
			i := slices.IndexFunc(out, func(f item.Found) bool { return f.Book == Book(n.Folder) })
			out[max(i, 0)].Items++
		}
		return nil
	})
	return out, err
}

// Read gives all mails, by folder, cur before new, by name.
func (d *Dir) Read(ctx context.Context, to item.Sink) error {
	return Walk(ctx, d.root, func(n Name, why error) error {
		var m *message.Message
		if why == nil {
			m, why = Message(d.root, n)
		}
		if why != nil {
			return to.Change(item.Change{Kind: item.Message, Record: n.Path(), From: n.Path(), Effect: item.EffectDropped, Why: "the file " + why.Error()})
		}
		return to.Record(item.Record{Kind: item.Message, Book: Book(n.Folder), Label: m.Label(), From: n.Path(), Data: m.Bytes()})
	})
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }
