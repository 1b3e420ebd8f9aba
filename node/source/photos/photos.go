// Package photos reads the photos and films in a directory: their bytes as they are, the
// folders as albums, and the files beside them in which Google Takeout says when each was
// taken. It is a source.Books that gives files and no records.
package photos

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/source"
)

// Books are the photos below one directory.
type Books struct {
	root *os.Root
	dir  string
}

var _ source.Books = (*Books)(nil)

// Find returns the directories in which devices keep photos, below home and on Android's shared storage.
func Find(home string) (out []string) {
	candidates := []string{UserDir(home, "PICTURES", "Pictures"), filepath.Join(home, "DCIM"), filepath.Join(home, "storage", "dcim"),
		filepath.Join(home, "storage", "pictures"), "/sdcard/DCIM", "/sdcard/Pictures"}
	seen := map[string]bool{}
	for _, dir := range candidates {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		if info, err := os.Stat(real); err == nil && info.IsDir() && real != filepath.Clean(home) {
			out = append(out, dir)
		}
	}
	return out
}

// UserDir returns one of a person's directories, as freedesktop.org's user-dirs.dirs names it, or the usual name below home.
func UserDir(home, name, usual string) string {
	f, err := os.Open(filepath.Join(home, ".config", "user-dirs.dirs"))
	if err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(io.LimitReader(f, 64<<10)); lines.Scan(); {
			value, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "XDG_"+name+"_DIR=")
			if value = strings.Trim(value, `"`); !ok || value == "" {
				continue
			}
			if below, ok := strings.CutPrefix(value, "$HOME/"); ok && filepath.IsLocal(below) {
				return filepath.Join(home, below)
			} else if filepath.IsAbs(value) {
				return value
			}
		}
	}
	return filepath.Join(home, usual)
}

// Open opens a directory.
func Open(dir string) (*Books, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Books{root, dir}, nil
}

// Close implements source.Books.
func (b *Books) Close() error { return b.root.Close() }

// Survey implements source.Books. It looks at names and sizes only.
func (b *Books) Survey(ctx context.Context) ([]item.Found, error) {
	f := item.Found{Kind: item.Photo, Where: b.dir}
	entries, _, err := b.list(ctx)
	for _, e := range entries {
		if kind.Of(e.Path) == item.Photo {
			f.Items++
		}
		f.Bytes += e.Size
	}
	f.Can = f.Items > 0
	return []item.Found{f}, err
}

// Read implements source.Books.
func (b *Books) Read(ctx context.Context, to item.Sink) error {
	entries, left, err := b.list(ctx)
	if err != nil {
		return err
	}
	for _, c := range left {
		if err := to.Change(c); err != nil {
			return err
		}
	}
	return Send(ctx, entries, to)
}

// list walks the directory, in the order of the names. It follows no symbolic link.
func (b *Books) list(ctx context.Context) (entries []Entry, left []item.Change, err error) {
	lose := func(p, why string) {
		left = append(left, item.Change{Kind: item.Photo, Record: p, From: filepath.Join(b.dir, p), Effect: item.EffectDropped, Why: why})
	}
	err = fs.WalkDir(b.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrPermission):
			lose(p, "it may not be read")
			return nil
		case err != nil && p == ".":
			return err
		case err != nil:
			lose(p, "it could not be read")
			return nil
		case d.IsDir():
			if p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "@eaDir") {
				lose(p, "it is a hidden folder, which programs keep for themselves")
				return fs.SkipDir
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			lose(p, "it is a symbolic link")
			return nil
		case !d.Type().IsRegular():
			lose(p, "it is no file")
			return nil
		case !Belongs(p):
			lose(p, "it is no photo or film; folder: moves everything")
			return nil
		}
		info, err := d.Info()
		if err != nil {
			lose(p, "it could not be read")
			return nil
		}
		entries = append(entries, Entry{Path: p, From: filepath.Join(b.dir, p), Size: info.Size(), Modified: info.ModTime(),
			Open: func() (io.ReadCloser, error) { return b.root.Open(filepath.FromSlash(p)) }})
		return nil
	})
	return entries, left, err
}
