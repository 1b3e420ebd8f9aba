// Package ics writes calendars as a target: a file with many objects, or a directory with
// one object a file, as vdirsyncer and khal keep them. What is not changed stays byte for
// byte.
package ics

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// MaxFile is the largest calendar file that is read, in bytes.
const MaxFile = 64 << 20

// Open opens a directory, or a file that need not be there yet.
func Open(path string) (target.Books, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return openDir(path)
	} else if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a file nor a directory", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := wholefile.Open(path)
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// File is a calendar file as a target.
type File struct{ *wholefile.File }

var (
	_ target.Books = (*File)(nil)
	_ target.Whole = (*File)(nil)
)

// Kinds implements target.Books.
func (f *File) Kinds() []item.Kind { return []item.Kind{item.Calendar} }

// Profile says that a file takes everything, but of what is said of a whole calendar (its
// name, its colour) only its own: in a calendar that is there already that is the target's.
func (f *File) Profile(context.Context, item.Kind) (rule.Profile, error) {
	data, _, err := f.read()
	if err != nil {
		return rule.Profile{}, err
	}
	book := calendar.OpenFile(data)
	version := book.Version()
	if version == "" {
		if strings.EqualFold(filepath.Ext(f.Path()), ".vcs") {
			return rule.Profile{}, nil
		}
		return rule.Profile{Version: "2.0"}, nil
	}
	return rule.Profile{Version: version, Drops: []string{"VCALENDAR/*"}, Keeps: []string{"VCALENDAR/CALSCALE"}}, nil
}

// read returns the file's bytes and what it was when they were read; nothing if it is not there.
func (f *File) read() ([]byte, fs.FileInfo, error) {
	in, err := f.Open()
	if err != nil || in == nil {
		return nil, nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := readAll(in, f.Path())
	return data, info, err
}

func readAll(in io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("%s is larger than %d MiB", filepath.Base(name), MaxFile>>20)
	}
	return data, err
}

// entries returns the objects of a calendar with their IDs and versions.
func entries(book *calendar.File, name string) []target.Existing {
	names := wholefile.Names{}
	records := book.Records()
	out := make([]target.Existing, len(records))
	for i, r := range records {
		r.From = fmt.Sprintf("%s, object %d", filepath.Base(name), i+1)
		out[i] = target.Existing{Record: r, ID: names.ID(calendar.Identity(r.Data)), Version: version(r.Data)}
	}
	return out
}

func version(data []byte) string {
	sum := calendar.Version(data)
	return hex.EncodeToString(sum[:16])
}

// Read implements target.Books.
func (f *File) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	data, _, err := f.read()
	if err != nil || k != item.Calendar {
		return err
	}
	for _, e := range entries(calendar.OpenFile(data), f.Path()) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// Write implements target.Books. The file is written once for all changes.
func (f *File) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if k != item.Calendar {
		return fmt.Errorf("a calendar holds no %s", k)
	}
	data, seen, err := f.read()
	if err != nil {
		return err
	}
	e := newEdit(data, f.Path(), changes)
	if err := e.settle(ctx); err != nil {
		return err
	}
	if e.needed {
		err := f.ReplaceSeen(seen, func(w io.Writer) error { _, err := w.Write(e.after); return err })
		if err != nil {
			return err
		}
	}
	return e.report(done)
}

// Close implements target.Books.
func (f *File) Close() error { return nil }

// edit is a calendar while changes are made to it.
type edit struct {
	before, after []byte
	name          string
	changes       []target.Write
	errs          []error
	now           []target.Existing
	needed        bool
}

func newEdit(data []byte, name string, changes []target.Write) *edit {
	return &edit{before: data, name: name, changes: changes, errs: make([]error, len(changes)), now: make([]target.Existing, len(changes))}
}

// settle makes the changes, and reads what came out again: an object that is not found
// there as it was given is refused, and all others are made anew without it.
func (e *edit) settle(ctx context.Context) error {
	for range 3 {
		e.make()
		if err := ctx.Err(); err != nil || e.check() {
			return err
		}
	}
	return fmt.Errorf("%s is not read as it was written", filepath.Base(e.name))
}

// make makes the changes that have no error yet.
func (e *edit) make() {
	book := calendar.OpenFile(e.before)
	there := entries(book, e.name)
	byID, byVersion := map[string]int{}, map[string]int{}
	for i, x := range there {
		byID[x.ID] = i
		byVersion[x.Version] = i
	}
	e.needed = false
	for i, c := range e.changes {
		if refused := (*target.RefusedError)(nil); errors.As(e.errs[i], &refused) {
			continue
		}
		at, met := byID[c.ID]
		switch {
		case c.ID == "" && len(c.Record.Data) == 0:
			e.errs[i] = &target.RefusedError{Why: "it is empty"}
		case c.ID == "":
			if _, made := byVersion[version(c.Record.Data)]; !made { // else an attempt whose answer was lost made it
				book.Add(c.Record.Data)
				e.needed = true
			}
		case !met || there[at].Version != c.Version:
			e.errs[i] = target.ErrEdited
		case len(c.Record.Data) == 0:
			book.Remove(at)
			e.needed = true
		default:
			book.Replace(at, c.Record.Data)
			e.needed = true
		}
	}
	e.after = e.before
	if e.needed {
		e.after = book.Bytes()
	}
}

// check finds each object in what came out.
func (e *edit) check() (ok bool) {
	found := map[string]target.Existing{}
	for _, x := range entries(calendar.OpenFile(e.after), e.name) {
		if _, met := found[x.Version]; !met {
			found[x.Version] = x
		}
	}
	ok = true
	for i, c := range e.changes {
		if e.errs[i] != nil || len(c.Record.Data) == 0 {
			continue
		}
		x, there := found[version(c.Record.Data)]
		if !there {
			e.errs[i], ok = &target.RefusedError{Why: "it is not well formed, and would be read as something else among others"}, false
			continue
		}
		e.now[i] = x
	}
	return ok
}

func (e *edit) report(done func(int, target.Existing, error) error) error {
	for i := range e.changes {
		now := e.now[i]
		if e.errs[i] != nil {
			now = target.Existing{}
		}
		if err := done(i, now, e.errs[i]); err != nil {
			return err
		}
	}
	return nil
}
