// Package gather turns what sources of records hold into the files of a collection, in a
// directory of the engine's own that the ordinary scan then reads: one container file for
// each address book, calendar, archive or profile, and whole files for what is no record.
// docs/SPEC.md section 9.3 gives their names and forms.
//
// A directory that was gathered before is brought up to date: a file whose content is the
// same stays the very file that it was, so that a scan sees that nothing has changed.
package gather

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/target/folder"
)

// Source is one source with the name that a person gave it.
type Source struct {
	Name  string // "vcf:friends.vcf"
	Label string // what its records' book is called if they have none: "friends"
	Books source.Books
}

// Gathered is what was found.
type Gathered struct {
	Records map[item.Kind]int64 // files that are no records included
	Files   int64               // of them
	Roots   []string            // the top-level directories below dir, absolute, sorted
	Changes []item.Change
}

// MaxChanges bounds the changes that are kept; more end the gathering, because none may be lost silently.
const MaxChanges = 1 << 20

// MaxContainer is the size in bytes at which a container of lines goes on in another file.
const MaxContainer = 24 << 20

// maxLines is the number of records at which it does. It is below kind.MaxRecords, beyond which a file is not taken apart.
const maxLines = 200_000

var tops = map[item.Kind]string{item.Contact: "Contacts", item.Calendar: "Calendars", item.Message: "Messages", item.Call: "Calls",
	item.Bookmark: "Bookmarks", item.Note: "Notes", item.Network: "Networks", item.Photo: "Photos", item.File: "Files", item.Setting: "Settings"}

// Directories returns the names of the directories that gathered records lie in, at the top of a collection.
func Directories() []string { return slices.Sorted(maps.Values(tops)) }

var extensions = map[item.Kind]string{item.Contact: ".vcf", item.Calendar: ".ics", item.Message: ".messages.ndjson", item.Call: ".calls.ndjson",
	item.Bookmark: ".bookmarks.ndjson", item.Setting: ".dconf"}

// Into reads all sources into dir, which is made if it is not there. What an earlier call
// has left there and the sources no longer have is removed.
func Into(ctx context.Context, dir string, sources []Source) (*Gathered, error) {
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(fresh, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(fresh)
	if err != nil {
		return nil, err
	}
	g := &gatherer{ctx: ctx, root: root, result: Gathered{Records: map[item.Kind]int64{}}, taken: map[string]bool{}}
	for i := range sources {
		g.source, g.books = &sources[i], map[book]*container{}
		g.agendas, g.order = map[book]*agenda{}, nil
		err := sources[i].Books.Read(ctx, g)
		if err = errors.Join(err, g.closeAll(), g.closeCalendars()); err != nil {
			root.Close()
			return nil, fmt.Errorf("%s: %w", sources[i].Name, err)
		}
	}
	if err := root.Close(); err != nil {
		return nil, err
	}
	if err := update(dir, fresh); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		g.result.Roots = append(g.result.Roots, filepath.Join(dir, e.Name()))
	}
	return &g.result, err
}

type book struct {
	kind item.Kind
	name string
}

// container is a file that gets one record after another.
type container struct {
	f    *os.File
	w    *bufio.Writer
	size int64
	many int // records in the present file
	part int
}

func (c *container) close() error { return errors.Join(c.w.Flush(), c.f.Close()) }

// gatherer is the sink of one source after another.
type gatherer struct {
	ctx    context.Context
	root   *os.Root
	source *Source
	books  map[book]*container
	taken  map[string]bool // paths in small letters
	result Gathered

	agendas map[book]*agenda
	order   []book // of agendas
	waits   int    // files of components so far
}

func (g *gatherer) closeAll() (err error) {
	for _, c := range g.books {
		err = errors.Join(err, c.close())
	}
	return err
}

// Record implements item.Sink.
func (g *gatherer) Record(r item.Record) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	if r.Book == "" {
		r.Book = g.source.Label
	}
	g.result.Records[r.Kind]++
	if _, ok := extensions[r.Kind]; !ok {
		return g.file(r.Kind, pathOf(r), time.Time{}, bytes.NewReader(r.Data))
	}
	if r.Kind == item.Calendar {
		return g.event(r)
	}
	b := book{r.Kind, r.Book}
	c := g.books[b]
	if c == nil {
		c = &container{}
		g.books[b] = c
	}
	if lines := r.Kind == item.Message || r.Kind == item.Call; c.f == nil || lines && (c.size+int64(len(r.Data)) > MaxContainer || c.many == maxLines) {
		if err := g.next(b, c); err != nil {
			return err
		}
	}
	c.size, c.many = c.size+int64(len(r.Data)), c.many+1
	return writeRecord(c.w, r)
}

// writeRecord writes a record of a container, ended by a line break.
func writeRecord(w *bufio.Writer, r item.Record) error {
	n, err := w.Write(r.Data)
	if err == nil && (n == 0 || r.Data[n-1] != '\n') {
		brk := "\n"
		if r.Kind == item.Contact || r.Kind == item.Calendar {
			brk = "\r\n"
		}
		_, err = w.WriteString(brk)
	}
	return err
}

// next opens a container's next file.
func (g *gatherer) next(b book, c *container) error {
	if c.f != nil {
		if err := c.close(); err != nil {
			return err
		}
	}
	c.part++
	f, _, err := g.create(tops[b.kind], partName(b, c.part), extensions[b.kind])
	if err != nil {
		return err
	}
	c.f, c.w, c.size = f, bufio.NewWriterSize(f, 64<<10), 0
	c.many = 0
	return nil
}

// create makes a file under a free name and returns its path.
func (g *gatherer) create(dir, name, ext string) (*os.File, string, error) {
	if err := g.root.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	for n := 1; ; n++ {
		path := dir + "/" + name + ext
		if n > 1 {
			path = dir + "/" + name + " (" + strconv.Itoa(n) + ")" + ext
		}
		low := strings.ToLower(path)
		if g.taken[low] {
			continue
		}
		g.taken[low] = true
		f, err := g.root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		return f, path, err
	}
}

// pathOf is where a record that is a file of its own goes, below the directory of its kind.
func pathOf(r item.Record) string {
	path := r.Path
	if path == "" {
		path = r.Label
	}
	if r.Book != "" && r.Kind == item.Note {
		path = clean(r.Book) + "/" + path
	}
	return path
}

// File implements item.Sink.
func (g *gatherer) File(path string, k item.Kind, modified time.Time, open func() (io.ReadCloser, error)) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	r, err := open()
	if err != nil {
		return g.Change(item.Change{Kind: k, Record: path, From: g.source.Name, Effect: item.EffectDropped, Why: "it could not be read: " + err.Error()})
	}
	defer r.Close()
	g.result.Files++
	g.result.Records[k]++
	if k == item.Note && g.source.Label != "" {
		path = clean(g.source.Label) + "/" + path
	}
	return g.file(k, path, modified, r)
}

func (g *gatherer) file(k item.Kind, path string, modified time.Time, r io.Reader) error {
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		if p = clean(p); p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		parts = []string{"unnamed"}
	}
	dir := strings.Join(append([]string{tops[k]}, parts[:len(parts)-1]...), "/")
	name := parts[len(parts)-1]
	ext := ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		name, ext = name[:i], name[i:]
	}
	f, path, err := g.create(dir, name, ext)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil && !modified.IsZero() {
		err = errors.Join(f.Close(), g.root.Chtimes(path, modified, modified))
		return err
	}
	return errors.Join(err, f.Close())
}

// Change implements item.Sink.
func (g *gatherer) Change(c item.Change) error {
	if len(g.result.Changes) == MaxChanges {
		return fmt.Errorf("more than %d properties can't be moved as they are", MaxChanges)
	}
	if c.From == "" {
		c.From = g.source.Name
	}
	g.result.Changes = append(g.result.Changes, c)
	return nil
}

// clean makes one component of a path of a name from outside, "" if nothing of it can stay.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	name = strings.TrimRight(strings.TrimSpace(name), ". ")
	for len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	if folder.CheckPath(name) != nil {
		return ""
	}
	return name
}

const maxName = 180 // bytes: leaves room for a number and an extension

// update makes old what fresh is, which is removed. A file with the same content stays the
// very file that it was, untouched; so does a directory in which nothing has changed.
func update(old, fresh string) error {
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	from, err := os.OpenRoot(fresh)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenRoot(old)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := remove(to, from); err != nil {
		return err
	}
	err = fs.WalkDir(from.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if d.IsDir() {
			return to.MkdirAll(path, 0o700)
		}
		same, err := equal(to, from, path)
		if err != nil || same {
			return err
		}
		return os.Rename(filepath.Join(fresh, filepath.FromSlash(path)), filepath.Join(old, filepath.FromSlash(path)))
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(fresh)
}

// remove removes what to has and from has not, or not in the same nature.
func remove(to, from *os.Root) error {
	return fs.WalkDir(to.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := from.Lstat(path)
		if err == nil && info.IsDir() == d.IsDir() {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := to.RemoveAll(path); err != nil {
			return err
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

// equal reports whether both have a file of this path with the same bytes.
func equal(a, b *os.Root, path string) (bool, error) {
	fa, err := a.Open(path)
	if err != nil {
		return false, nil
	}
	defer fa.Close()
	fb, err := b.Open(path)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	ia, err1 := fa.Stat()
	ib, err2 := fb.Stat()
	if err1 != nil || err2 != nil || ia.Size() != ib.Size() || !ia.Mode().IsRegular() {
		return false, errors.Join(err1, err2)
	}
	bufs := [2][]byte{make([]byte, 64<<10), make([]byte, 64<<10)}
	for {
		n, erra := io.ReadFull(fa, bufs[0])
		m, errb := io.ReadFull(fb, bufs[1])
		if !slices.Equal(bufs[0][:n], bufs[1][:m]) {
			return false, nil
		}
		if erra != nil || errb != nil {
			return n == m, nil
		}
	}
}
