// Package notes reads notes: a directory of Markdown files (Obsidian, Joplin, Nextcloud
// Notes), what Google Takeout gives of Google Keep, and the files that Evernote exports.
// Nothing is fetched, and no link is followed.
package notes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/enex"
	"github.com/decant-dev/decant/node/format/keep"
	"github.com/decant-dev/decant/node/format/markdown"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/note"
)

// MaxNote is the largest note in bytes; a larger one is moved as a file.
const MaxNote = 16 << 20

// Source implements source.Books.
type Source struct {
	path string
	root *os.Root // nil of a file of Evernote
	temp string   // where attachments out of such a file lie until Close
}

// Open takes a directory, or a file of Evernote (.enex).
func Open(arg string) (*Source, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, err
	}
	s := &Source{path: arg}
	if info.IsDir() {
		s.root, err = os.OpenRoot(arg)
	} else if !info.Mode().IsRegular() {
		err = errors.New("it is neither a directory nor a file")
	}
	return s, err
}

// Close implements source.Books.
func (s *Source) Close() (err error) {
	if s.temp != "" {
		err = os.RemoveAll(s.temp)
	}
	if s.root != nil {
		err = errors.Join(err, s.root.Close())
	}
	return err
}

// Survey implements source.Books.
func (s *Source) Survey(ctx context.Context) ([]item.Found, error) {
	f := item.Found{Kind: item.Note, Where: s.path, Can: true}
	if s.root == nil {
		info, err := os.Stat(s.path)
		if err != nil {
			return nil, err
		}
		f.Bytes = info.Size()
		err = count(s.path, &f.Items)
		return []item.Found{f}, err
	}
	err := fs.WalkDir(s.root.FS(), ".", func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || ctx.Err() != nil:
			return errors.Join(ctx.Err())
		case at != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type().IsRegular():
			if info, err := d.Info(); err == nil {
				f.Bytes += info.Size()
			}
			if markdown.IsText(at) || strings.EqualFold(path.Ext(at), ".json") {
				f.Items++
			} else if isENEX(at) {
				return count(filepath.Join(s.path, filepath.FromSlash(at)), &f.Items)
			}
		}
		return nil
	})
	return []item.Found{f}, err
}

// count counts the notes in a file of Evernote.
func count(path string, n *int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadSlice('>')
		if bytes.HasSuffix(line, []byte("<note>")) {
			*n++
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
	}
}

func isENEX(name string) bool { return strings.EqualFold(path.Ext(name), ".enex") }

// Read implements source.Books.
func (s *Source) Read(ctx context.Context, to item.Sink) error {
	if s.root == nil {
		f, err := os.Open(s.path)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.evernote(ctx, f, "", s.path, note.Names{}, to)
	}
	return ReadFS(ctx, s.root.FS(), s.path, s.evernote, to)
}

// evernote reads a file of Evernote, whose attachments lie in a directory of their own until Close.
func (s *Source) evernote(ctx context.Context, r io.Reader, dir, from string, names note.Names, to item.Sink) (err error) {
	if s.temp == "" {
		if s.temp, err = os.MkdirTemp("", "decant-notes-"); err != nil {
			return err
		}
	}
	return Evernote(ctx, r, s.temp, dir, from, names, to)
}

// ReadFS reads all notes in a file system, such as an unpacked Takeout. from names it in
// reports. evernote reads the files of Evernote; nil is to move them as files.
func ReadFS(ctx context.Context, fsys fs.FS, from string, evernote func(ctx context.Context, r io.Reader, dir, from string, names note.Names, to item.Sink) error, to item.Sink) error {
	w := &walker{ctx: ctx, fs: fsys, from: from, evernote: evernote, to: to, names: note.Names{}}
	return w.dir(".", 0)
}

type walker struct {
	ctx      context.Context
	fs       fs.FS
	from     string
	evernote func(ctx context.Context, r io.Reader, dir, from string, names note.Names, to item.Sink) error
	to       item.Sink
	names    note.Names
}

func (w *walker) change(at string, e item.Effect, why string) error {
	return w.to.Change(item.Change{Kind: item.Note, Record: path.Base(at), UID: at, From: w.from, Effect: e, Why: why})
}

func (w *walker) dir(dir string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if depth > item.MaxDepth {
		return w.change(dir, item.EffectDropped, "directories are too deep inside one another")
	}
	entries, err := fs.ReadDir(w.fs, dir)
	if err != nil {
		return w.change(dir, item.EffectDropped, "it could not be read: "+err.Error())
	}
	d := &directory{walker: w, path: dir}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
			err = w.change(at, item.EffectDropped, "it is hidden: settings of a program, no note")
		case e.Type()&fs.ModeSymlink != 0:
			err = w.change(at, item.EffectDropped, "it is a link")
		case e.IsDir():
			err = w.dir(at, depth+1)
		case !e.Type().IsRegular():
			err = w.change(at, item.EffectDropped, "it is no file")
		default:
			d.names = append(d.names, e.Name())
		}
		if err != nil {
			return err
		}
	}
	return d.read()
}

// directory is the files of one directory.
type directory struct {
	*walker
	path  string
	names []string
	used  map[string]bool // files that notes of Keep have, as attachments or as HTML
}

func (d *directory) read() error {
	d.used = map[string]bool{}
	for _, name := range d.names {
		d.walker.names.Name(d.path, name, path.Ext(name)) // notes of other forms get other names
	}
	for _, name := range d.names {
		if strings.EqualFold(path.Ext(name), ".json") {
			if err := d.keep(name); err != nil {
				return err
			}
		}
	}
	for _, name := range d.names {
		if d.used[name] {
			continue
		}
		if err := d.file(name); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) file(name string) error {
	at := path.Join(d.path, name)
	info, err := fs.Stat(d.fs, at)
	if err != nil {
		return d.change(at, item.EffectDropped, "it could not be read: "+err.Error())
	}
	open := func() (io.ReadCloser, error) { return d.fs.Open(at) }
	switch {
	case isENEX(name) && d.evernote != nil:
		f, err := d.fs.Open(at)
		if err != nil {
			return d.change(at, item.EffectDropped, "it could not be read: "+err.Error())
		}
		defer f.Close()
		err = d.evernote(d.ctx, f, path.Join(d.path, note.Clean(strings.TrimSuffix(name, path.Ext(name)))), d.from+"/"+at, d.walker.names, d.to)
		if errors.Is(err, enex.ErrForm) { // the notes before that are there, and the other files are none of its business
			return d.change(at, item.EffectDropped, "reading it ended there: "+err.Error())
		}
		return err
	case markdown.IsText(name) && info.Size() <= MaxNote:
		data, err := fs.ReadFile(d.fs, at)
		if err != nil {
			return d.change(at, item.EffectDropped, "it could not be read: "+err.Error())
		}
		for _, r := range (note.Rules{}).Split(at, data) {
			r.Path, r.From = at, d.from+"/"+at
			return d.to.Record(r)
		}
	}
	return d.to.File(at, item.Note, info.ModTime(), open)
}

// keep reads a note of Keep. A file that is none is left to file.
func (d *directory) keep(name string) error {
	at := path.Join(d.path, name)
	info, err := fs.Stat(d.fs, at)
	if err != nil || info.Size() > keep.MaxFile {
		return nil
	}
	data, err := fs.ReadFile(d.fs, at)
	if err != nil {
		return nil
	}
	n, err := keep.Parse(data)
	if err != nil {
		if looksLikeKeep(data) {
			return d.change(at, item.EffectFlagged, "it looks like a note of Google Keep and can't be read as one; the file is kept as it is")
		}
		return nil
	}
	stem := strings.TrimSuffix(name, path.Ext(name))
	d.used[name] = true
	for _, ext := range []string{".html", ".HTML"} { // which says the same
		if slices.Contains(d.names, stem+ext) {
			d.used[stem+ext] = true
		}
	}
	to := path.Join(d.path, d.walker.names.Name(d.path, stem+".md", ".md"))
	var links []string
	for _, a := range n.Attachments {
		link, err := d.attachment(n, a)
		if err != nil {
			return err
		}
		links = append(links, link)
	}
	if len(links) > 0 {
		if n.Body = strings.TrimRight(n.Body, "\n"); n.Body != "" {
			n.Body += "\n\n"
		}
		n.Body += strings.Join(links, "\n") + "\n"
	}
	for _, c := range n.Changes {
		c.Record, c.From = n.Title, d.from+"/"+at
		if err := d.to.Change(c); err != nil {
			return err
		}
	}
	return d.to.Record(n.Record(to, d.from+"/"+at))
}

func looksLikeKeep(data []byte) bool {
	return bytes.Contains(data, []byte(`"isTrashed"`)) || bytes.Contains(data, []byte(`"userEditedTimestampUsec"`))
}

// attachment gives an attachment to the sink, once, and returns the reference to it.
func (d *directory) attachment(n *keep.Note, a keep.Attachment) (string, error) {
	found := keep.Find(d.names, a.Path)
	if found == "" {
		link := note.Link(a.Path, "attachments/"+note.Clean(path.Base(a.Path)), a.IsImage())
		return link, d.to.Change(item.Change{Kind: item.Note, Record: n.Title, UID: a.Path, From: d.from, Property: "ATTACHMENTS", Effect: item.EffectDropped, Why: "the file is not in the export", Before: a.Path})
	}
	as := note.Clean(found)
	link := note.Link(found, "attachments/"+as, a.IsImage())
	if d.used[found] {
		return link, nil
	}
	d.used[found] = true
	at := path.Join(d.path, found)
	info, err := fs.Stat(d.fs, at)
	if err != nil {
		return link, d.change(at, item.EffectDropped, "it could not be read: "+err.Error())
	}
	return link, d.to.File(path.Join(d.path, "attachments", as), item.Note, info.ModTime(), func() (io.ReadCloser, error) { return d.fs.Open(at) })
}

// Find returns where programs keep notes as files below a home directory: arguments for Open.
func Find(home string) (args []string) {
	for _, dir := range []string{"Nextcloud/Notes", "Notes", "Documents/Notes", "Obsidian", "Documents/Obsidian", "Takeout/Keep", "Downloads/Takeout/Keep"} {
		at := filepath.Join(home, filepath.FromSlash(dir))
		if info, err := os.Stat(at); err == nil && info.IsDir() {
			args = append(args, at)
		}
	}
	vaults, _ := os.ReadDir(filepath.Join(home, "Documents"))
	for _, v := range vaults {
		at := filepath.Join(home, "Documents", v.Name())
		if info, err := os.Stat(filepath.Join(at, ".obsidian")); err == nil && info.IsDir() && !slices.Contains(args, at) {
			args = append(args, at)
		}
	}
	return args
}

// Evernote reads a file of Evernote. Attachments lie in the directory temp until the sink
// no longer needs them; dir is where the notes are to lie.
func Evernote(ctx context.Context, r io.Reader, temp, dir, from string, names note.Names, to item.Sink) error {
	e := &evernote{dir: dir, from: from, names: names, to: to}
	return enex.Read(ctx, r, temp, e.note)
}

type evernote struct {
	dir, from string
	names     note.Names
	to        item.Sink
}

func (e *evernote) note(n *enex.Note) error {
	wish := n.Title
	if wish == "" {
		wish = "Untitled"
	}
	to := path.Join(e.dir, e.names.Name(e.dir, wish, ".md"))
	in := path.Join(e.dir, "attachments")
	err := n.Convert(func(r *enex.Resource) (string, error) {
		name := e.names.Name(in, r.Name(), path.Ext(r.Name()))
		return "attachments/" + name, e.to.File(path.Join(in, name), item.Note, r.Modified, r.Open)
	})
	if err != nil {
		return err
	}
	from := e.from
	for _, c := range n.Changes {
		c.Kind, c.Record, c.From = item.Note, n.Title, from
		if err := e.to.Change(c); err != nil {
			return err
		}
	}
	return e.to.Record(n.Record(to, from))
}
