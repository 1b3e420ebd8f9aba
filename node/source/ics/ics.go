// Package ics reads calendars as a source: a file with many objects, or a directory with
// one object a file, as vdirsyncer and khal keep them, and possibly a directory for each calendar.
package ics

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
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/source"
)

// MaxFile is the largest calendar file that is read, in bytes.
const MaxFile = 64 << 20

// maxName is how much of a vdirsyncer "displayname" is read.
const maxName = 1 << 10

// Calendars is a file or a directory of calendars.
type Calendars struct {
	root *os.Root
	path string
	file string // the one file in root; "" is all
}

var _ source.Books = (*Calendars)(nil)

// Open opens a file or a directory.
func Open(arg string) (*Calendars, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, err
	}
	dir, file := arg, ""
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is neither a file nor a directory", arg)
		}
		real, err := filepath.EvalSymlinks(arg)
		if err != nil {
			return nil, err
		}
		dir, file = filepath.Dir(real), filepath.Base(real)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Calendars{root, arg, file}, nil
}

// Find returns the calendars below home that programs keep as such files, and exports
// where phones put them.
func Find(home string) (found []string) {
	for _, pattern := range []string{
		".local/share/evolution/calendar/*/calendar.ics", ".local/share/evolution/tasks/*/tasks.ics", ".local/share/evolution/memos/*/journal.ics",
		".local/share/khal/calendars/*", ".local/share/vdirsyncer/calendars/*", ".calendars/*", ".calendar/*",
		".local/share/korganizer/*.ics", ".local/share/orage/*.ics", ".local/share/calcurse/caldav",
		"storage/shared/Download/*.ics", "storage/downloads/*.ics",
	} {
		matches, _ := filepath.Glob(filepath.Join(home, filepath.FromSlash(pattern)))
		for _, m := range matches {
			if info, err := os.Stat(m); err == nil && (info.Mode().IsRegular() && info.Size() > 0 || info.IsDir() && holdsCalendars(m)) {
				found = append(found, m)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func holdsCalendars(dir string) bool {
	matches, _ := filepath.Glob(filepath.Join(dir, "*.ics"))
	return len(matches) > 0
}

// Close implements source.Books.
func (c *Calendars) Close() error { return c.root.Close() }

// book is one calendar: a file, or the files of a directory.
type book struct {
	name  string
	where string
	files []string // below the root
	notes []item.Change
}

// isCalendar reports whether a name is that of a calendar file.
func isCalendar(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".ics", ".ical", ".ifb", ".vcs":
		return true
	}
	return false
}

// books lists what is there, in the order of the names.
func (c *Calendars) books() ([]book, error) {
	if c.file != "" {
		name := strings.TrimSuffix(filepath.Base(c.path), filepath.Ext(c.path))
		return []book{{name: name, where: c.path, files: []string{c.file}}}, nil
	}
	top, err := c.book(".", filepath.Base(c.path))
	if err != nil {
		return nil, err
	}
	var all []book
	if len(top.files) > 0 || len(top.notes) > 0 {
		all = append(all, *top)
	}
	entries, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := c.book(e.Name(), e.Name())
		if err != nil {
			all = append(all, book{name: e.Name(), notes: []item.Change{skipped(e.Name(), err.Error())}})
			continue
		}
		if len(b.files) > 0 || len(b.notes) > 0 {
			all = append(all, *b)
		}
	}
	return all, nil
}

func skipped(name, why string) item.Change {
	return item.Change{Kind: item.Calendar, Record: name, From: name, Effect: item.EffectDropped, Why: why}
}

// book lists the files of a directory.
func (c *Calendars) book(dir, name string) (*book, error) {
	entries, err := fs.ReadDir(c.root.FS(), dir)
	if err != nil {
		return nil, err
	}
	b := &book{name: name, where: filepath.Join(c.path, dir)}
	for _, e := range entries {
		file := path.Join(dir, e.Name())
		switch {
		case isCalendar(e.Name()) && e.Type().IsRegular():
			b.files = append(b.files, file)
		case isCalendar(e.Name()) && e.Type()&fs.ModeSymlink != 0:
			b.notes = append(b.notes, skipped(file, "it is a symbolic link"))
		case e.Name() == "displayname" && e.Type().IsRegular():
			if text, err := c.load(file, maxName); err == nil && strings.TrimSpace(string(text)) != "" {
				b.name = strings.TrimSpace(strings.ToValidUTF8(string(text), ""))
			}
		case e.Name() == "color" && e.Type().IsRegular():
			if text, err := c.load(file, maxName); err == nil {
				n := skipped(name, "the colour of a calendar is none of its objects'")
				n.Property, n.Before = "COLOR", strings.TrimSpace(string(text))
				b.notes = append(b.notes, n)
			}
		}
	}
	return b, nil
}

func (c *Calendars) load(name string, limit int64) ([]byte, error) {
	in, err := c.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file", name))
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return data, err
}

// Survey implements source.Books. A file is read through; of a directory the files are counted.
func (c *Calendars) Survey(ctx context.Context) ([]item.Found, error) {
	books, err := c.books()
	if err != nil {
		return nil, err
	}
	var out []item.Found
	for _, b := range books {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found := item.Found{Kind: item.Calendar, Book: b.name, Where: b.where, Items: int64(len(b.files)), Can: true}
		for _, f := range b.files {
			if info, err := c.root.Stat(f); err == nil {
				found.Bytes += info.Size()
			}
		}
		if c.file != "" {
			data, err := c.load(c.file, MaxFile)
			if err != nil {
				found.Can, found.Why, found.Items = false, err.Error(), -1
			} else if calendar.TooMany(data) {
				found.Items = 1
			} else {
				found.Items = int64(len(calendar.Records(data)))
			}
		}
		out = append(out, found)
	}
	return out, nil
}

// Read implements source.Books.
func (c *Calendars) Read(ctx context.Context, to item.Sink) error {
	books, err := c.books()
	if err != nil {
		return err
	}
	for _, b := range books {
		for _, n := range b.notes {
			if err := to.Change(n); err != nil {
				return err
			}
		}
		for _, f := range b.files {
			if err := c.readFile(ctx, b.name, f, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// readFile gives the objects of a file, and the lines that are in none.
func (c *Calendars) readFile(ctx context.Context, book, name string, to item.Sink) error {
	data, err := c.load(name, MaxFile)
	if err != nil {
		return to.Change(skipped(name, "it can't be read: "+err.Error()))
	}
	if calendar.TooMany(data) { // it goes as the file that it is
		return to.File(path.Base(name), item.Calendar, time.Time{}, func() (io.ReadCloser, error) { return c.root.Open(name) })
	}
	records := (calendar.Rules{}).Split("", data)
	for i, r := range records {
		r.Book, r.From = book, name
		if len(records) > 1 {
			r.From = fmt.Sprintf("%s, object %d", name, i+1)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := to.Record(r); err != nil {
			return err
		}
	}
	for line := range strings.Lines(calendar.Stray(data)) {
		line = strings.TrimSpace(line)
		n := skipped("", "it is outside of any calendar")
		n.Property, n.From, n.Before = nameOf(line), name, line[:min(len(line), item.MaxShown)]
		if err := to.Change(n); err != nil {
			return err
		}
	}
	return nil
}

// nameOf returns the name of the property that a line is, or would be.
func nameOf(line string) string {
	name, _, _ := strings.Cut(line, ":")
	name, _, _ = strings.Cut(name, ";")
	if len(name) > 60 || strings.ContainsAny(name, " \t") {
		return ""
	}
	return strings.ToUpper(name)
}
