package ics

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// Dir is a directory with one object a file, and possibly a directory for each calendar.
type Dir struct{ root *os.Root }

var _ target.Books = (*Dir)(nil)

func openDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Kinds implements target.Books.
func (d *Dir) Kinds() []item.Kind { return []item.Kind{item.Calendar} }

// Profile says that the programs that read such directories, and the servers that they
// are copied to, check what they read.
func (d *Dir) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return rule.Profile{Strict: true}, nil
}

// Close implements target.Books.
func (d *Dir) Close() error { return d.root.Close() }

// isCalendar reports whether a name is that of a file with an object.
func isCalendar(name string) bool {
	return strings.EqualFold(path.Ext(name), ".ics") && !strings.HasPrefix(name, ".")
}

// files returns the calendar files, and the directories that are calendars.
func (d *Dir) files() (files, dirs []string, err error) {
	top, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, nil, err
	}
	for _, e := range top {
		switch name := e.Name(); {
		case e.IsDir() && !strings.HasPrefix(name, "."):
			dirs = append(dirs, name)
			inner, err := fs.ReadDir(d.root.FS(), name)
			if err != nil {
				return nil, nil, err
			}
			for _, f := range inner {
				if isCalendar(f.Name()) && f.Type().IsRegular() {
					files = append(files, name+"/"+f.Name())
				}
			}
		case isCalendar(name) && e.Type().IsRegular():
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return files, dirs, nil
}

func (d *Dir) load(name string) ([]byte, error) {
	in, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readAll(in, name)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// of returns the objects of a file: the very file if it holds one, as it should.
func of(name string, data []byte) []target.Existing {
	book := calendar.OpenFile(data)
	all := entries(book, name)
	folder := path.Dir(name)
	if folder == "." {
		folder = ""
	}
	for i := range all {
		all[i].Book, all[i].From = folder, name
		if len(all) > 1 {
			all[i].ID = name + "#" + all[i].ID
		}
	}
	if len(all) == 1 {
		all[0].ID, all[0].Version, all[0].Data = name, hash(data), data
	}
	return all
}

// Read implements target.Books.
func (d *Dir) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	files, _, err := d.files()
	if err != nil || k != item.Calendar {
		return err
	}
	for _, name := range files {
		data, err := d.load(name)
		if err != nil {
			return err
		}
		for _, e := range of(name, data) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Write implements target.Books: each change is one file.
func (d *Dir) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if k != item.Calendar {
		return fmt.Errorf("a calendar holds no %s", k)
	}
	_, dirs, err := d.files()
	if err != nil {
		return err
	}
	for i, c := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		var now target.Existing
		if c.ID == "" {
			now, err = d.create(ctx, dirs, c)
		} else {
			now, err = d.change(ctx, c)
		}
		if err := done(i, now, err); err != nil {
			return err
		}
	}
	return nil
}

// create writes a file whose name is made of the key, so that another attempt finds it.
func (d *Dir) create(ctx context.Context, dirs []string, c target.Write) (target.Existing, error) {
	if len(c.Record.Data) == 0 {
		return target.Existing{}, &target.RefusedError{Why: "it is empty"}
	}
	folder := ""
	if slices.Contains(dirs, c.Record.Book) {
		folder = c.Record.Book + "/"
	}
	key := safe(c.Key)
	if key == "" {
		key = hash(c.Record.Data)
	}
	for n := 1; n < 1000; n++ {
		name := folder + key + ".ics"
		if n > 1 {
			name = fmt.Sprintf("%s%s-%d.ics", folder, key, n)
		}
		switch had, err := d.load(name); {
		case errors.Is(err, fs.ErrNotExist):
			return d.put(name, c.Record.Data, 0o600)
		case err != nil:
			return target.Existing{}, err
		case string(had) == string(c.Record.Data):
			return one(name, had), nil
		}
	}
	return target.Existing{}, &target.RefusedError{Why: "all names are taken"}
}

// safe leaves of a key what every file system takes.
func safe(key string) string {
	key = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, key)
	return key[:min(len(key), 100)]
}

// one is what a file holds that was written.
func one(name string, data []byte) target.Existing {
	if all := of(name, data); len(all) > 0 {
		all[0].ID, all[0].Version, all[0].Data = name, hash(data), data
		return all[0]
	}
	return target.Existing{Record: item.Record{Kind: item.Calendar, From: name, Data: data}, ID: name, Version: hash(data)}
}

// change replaces or removes an object.
func (d *Dir) change(ctx context.Context, c target.Write) (target.Existing, error) {
	name, _, several := strings.Cut(c.ID, "#")
	data, err := d.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return target.Existing{}, target.ErrEdited
	}
	if err != nil {
		return target.Existing{}, err
	}
	if several {
		return d.changeAmong(ctx, name, data, c)
	}
	if hash(data) != c.Version {
		return target.Existing{}, target.ErrEdited
	}
	if len(c.Record.Data) == 0 {
		if err := d.root.Remove(name); err != nil {
			return target.Existing{}, err
		}
		return target.Existing{}, d.sync(path.Dir(name))
	}
	info, err := d.root.Stat(name)
	if err != nil {
		return target.Existing{}, err
	}
	return d.put(name, c.Record.Data, info.Mode().Perm())
}

// changeAmong changes one object of a file that holds several.
func (d *Dir) changeAmong(ctx context.Context, name string, data []byte, c target.Write) (target.Existing, error) {
	whole := c.ID
	c.ID = whole[len(name)+1:]
	e := newEdit(data, name, []target.Write{c})
	if err := e.settle(ctx); err != nil {
		return target.Existing{}, err
	}
	if e.errs[0] != nil {
		return target.Existing{}, e.errs[0]
	}
	info, err := d.root.Stat(name)
	if err != nil {
		return target.Existing{}, err
	}
	if _, err := d.put(name, e.after, info.Mode().Perm()); err != nil {
		return target.Existing{}, err
	}
	if now := e.now[0]; now.ID != "" {
		now.ID, now.From = whole, name
		return now, nil
	}
	return target.Existing{}, nil
}

// put writes a file whole or not at all.
func (d *Dir) put(name string, data []byte, mode fs.FileMode) (target.Existing, error) {
	temp := path.Join(path.Dir(name), ".decant-"+hash([]byte(name))+".tmp")
	if err := d.write(temp, data, mode); err != nil {
		return target.Existing{}, errors.Join(err, d.root.Remove(temp))
	}
	if err := d.root.Rename(temp, name); err != nil {
		return target.Existing{}, errors.Join(err, d.root.Remove(temp))
	}
	return one(name, data), d.sync(path.Dir(name))
}

func (d *Dir) write(temp string, data []byte, mode fs.FileMode) (err error) {
	if err := d.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was cut off
		return err
	}
	out, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.Write(data); err != nil {
		return err
	}
	return errors.Join(out.Chmod(mode), out.Sync())
}

// sync makes names durable; systems that can't sync a directory do not need it.
func (d *Dir) sync(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
