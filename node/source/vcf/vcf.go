// Package vcf reads address books as a source: a .vcf file of any number of cards, or a
// folder of such files as vdirsyncer and khard keep it. It keeps the cards' own bytes
// (docs/SPEC.md section 9.3). A file is read in pieces, so that its size does not matter;
// only one card that is larger than MaxCard is left out, and told.
package vcf

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/source"
)

// Limits.
const (
	MaxCard = 24 << 20 // bytes of one card, and of a file in UTF-16
	piece   = 4 << 20  // bytes that are read at a time
)

// Book is one file or one folder.
type Book struct {
	path string
	dir  bool
}

var _ source.Books = (*Book)(nil)

// Open opens a file or a folder.
func Open(path string) (*Book, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	return &Book{path: path, dir: info.IsDir()}, nil
}

// Find returns the address books below home where programs and people leave them.
func Find(home string) (paths []string) {
	for _, dir := range []string{"", "Contacts", "Documents", "Download", "Downloads", "storage/downloads", "storage/shared", "storage/shared/Download"} {
		for _, pattern := range []string{"*.vcf", "*.vcard"} {
			found, _ := filepath.Glob(filepath.Join(home, dir, pattern))
			paths = append(paths, found...)
		}
	}
	for _, dir := range []string{".contacts", ".local/share/contacts", ".local/share/vdirsyncer/contacts", ".local/share/khard"} {
		dir = filepath.Join(home, dir)
		if b := (&Book{path: dir, dir: true}); b.holdsCards() {
			paths = append(paths, dir)
		}
	}
	return paths
}

// Close does nothing: files are open only while they are read.
func (b *Book) Close() error { return nil }

func (b *Book) holdsCards() bool {
	found := false
	b.walk(func(string, string, func() (io.ReadCloser, error)) error {
		found = true
		return fs.SkipAll
	})
	return found
}

// walk calls f for the file, or for the files of the folder in the order of their names:
// those directly in it, then those in its own folders, each of which is a book.
func (b *Book) walk(f func(book, name string, open func() (io.ReadCloser, error)) error) error {
	if !b.dir {
		return f("", filepath.Base(b.path), func() (io.ReadCloser, error) { return os.Open(b.path) })
	}
	root, err := os.OpenRoot(b.path)
	if err != nil {
		return err
	}
	defer root.Close()
	dirs, err := files(root, ".", "", f)
	for i := 0; i < len(dirs) && err == nil; i++ {
		_, err = files(root, dirs[i], dirs[i], f)
	}
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// files calls f for each file in a folder and returns the folders in it.
func files(root *os.Root, dir, book string, f func(book, name string, open func() (io.ReadCloser, error)) error) (dirs []string, err error) {
	entries, err := fs.ReadDir(root.FS(), filepath.ToSlash(dir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		switch ext := strings.ToLower(filepath.Ext(name)); {
		case strings.HasPrefix(name, "."):
		case e.IsDir() && book == "":
			dirs = append(dirs, name)
		case e.Type().IsRegular() && (ext == ".vcf" || ext == ".vcard"):
			path := filepath.Join(dir, name)
			if err := f(book, filepath.ToSlash(path), func() (io.ReadCloser, error) { return root.Open(path) }); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(dirs)
	return dirs, nil
}

// Survey counts the cards by their first lines.
func (b *Book) Survey(ctx context.Context) ([]item.Found, error) {
	books := map[string]*item.Found{}
	var order []string
	err := b.walk(func(book, name string, open func() (io.ReadCloser, error)) error {
		f := books[book]
		if f == nil {
			f = &item.Found{Kind: item.Contact, Book: book, Where: filepath.Join(b.path, book), Can: true}
			books[book] = f
			order = append(order, book)
		}
		in, err := open()
		if err != nil {
			f.Why = err.Error()
			return nil
		}
		defer in.Close()
		cards, size, err := count(ctx, in)
		f.Items += cards
		f.Bytes += size
		return err
	})
	found := make([]item.Found, 0, len(order))
	for _, book := range order {
		found = append(found, *books[book])
	}
	return found, err
}

// count counts the lines that begin a card.
func count(ctx context.Context, in io.Reader) (cards, size int64, err error) {
	const begin = "BEGIN:VCARD"
	r := bufio.NewReaderSize(&reader{ctx, in}, 64<<10)
	fresh := true
	for {
		line, err := r.ReadSlice('\n')
		size += int64(len(line))
		if fresh {
			text := bytes.TrimPrefix(contentline.Narrow(line), []byte("\ufeff"))
			if len(text) >= len(begin) && strings.EqualFold(string(text[:len(begin)]), begin) {
				cards++
			}
		}
		fresh = !errors.Is(err, bufio.ErrBufferFull)
		if err != nil && fresh {
			if err == io.EOF {
				err = nil
			}
			return cards, size, err
		}
	}
}

// reader stops reading when its context ends.
type reader struct {
	ctx context.Context
	in  io.Reader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(b)
}

// Read gives all cards in the order of the files.
func (b *Book) Read(ctx context.Context, to item.Sink) error {
	return b.walk(func(book, name string, open func() (io.ReadCloser, error)) error {
		in, err := open()
		if err != nil {
			return to.Change(item.Change{Kind: item.Contact, Record: name, From: name, Effect: item.EffectDropped, Why: "it can't be read: " + err.Error()})
		}
		defer in.Close()
		p := pieces{book: book, name: name, in: &reader{ctx, in}, to: to, line: 1}
		return p.run()
	})
}

// pieces reads one file. What it holds back is a card that may not be all there yet.
type pieces struct {
	book, name string
	in         io.Reader
	to         item.Sink
	buf        []byte
	line       int
	wide       bool // it is in UTF-16, and read as a whole
	skipping   bool // until the next card begins
}

func (p *pieces) run() error {
	for {
		n := len(p.buf)
		p.buf = slices.Grow(p.buf, piece)[:n+piece]
		got, err := io.ReadFull(p.in, p.buf[n:])
		p.buf = p.buf[:n+got]
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !end {
			return err
		}
		if n == 0 && p.line == 1 {
			p.wide = p.wide || len(p.buf) > 1 && &contentline.Narrow(p.buf)[0] != &p.buf[0]
		}
		if err := p.emit(end); err != nil || end {
			return err
		}
	}
}

// emit gives the sink what is sure: all cards up to the last one that is closed, or
// everything at the end.
func (p *pieces) emit(end bool) error {
	if p.skipping && !p.resume() {
		return nil
	}
	cut := len(p.buf)
	if !end {
		if cut = p.closed(); cut == 0 {
			if len(p.buf) > MaxCard {
				return p.tooLarge()
			}
			return nil
		}
	}
	if len(p.buf) > MaxCard && p.wide {
		return p.tooLarge()
	}
	part := bytes.Clone(p.buf[:cut])
	for _, r := range contact.SplitFrom(p.name, p.line, part) {
		if len(r.Data) > MaxCard {
			if err := p.lost(r.Label, r.From, int64(len(r.Data))); err != nil {
				return err
			}
			continue
		}
		r.Book = p.book
		if err := p.to.Record(r); err != nil {
			return err
		}
	}
	p.line += bytes.Count(part, []byte{'\n'})
	p.buf = append(p.buf[:0], p.buf[cut:]...)
	return nil
}

// closed returns where the last card ends that is closed.
func (p *pieces) closed() int {
	if p.wide {
		return 0
	}
	for _, r := range slices.Backward(contact.Records(p.buf)) {
		if r.Problem == "" {
			if g := r.Ranges[0]; int(g.Offset+g.Length) < len(p.buf) {
				return int(g.Offset + g.Length)
			}
		}
	}
	return 0
}

func (p *pieces) tooLarge() error {
	err := p.lost("", fmt.Sprintf("%s:%d", p.name, p.line), int64(len(p.buf)))
	p.skip()
	return err
}

func (p *pieces) lost(label, from string, size int64) error {
	if label == "" {
		label = p.name
	}
	return p.to.Change(item.Change{Kind: item.Contact, Record: label, From: from, Effect: item.EffectDropped,
		Why: fmt.Sprintf("a card of more than %d MiB is not taken (at least %d bytes)", MaxCard>>20, size)})
}

// skip drops what there is of a card that is too large.
func (p *pieces) skip() {
	p.line += bytes.Count(p.buf, []byte{'\n'})
	p.buf, p.skipping = p.buf[:0], true
}

// resume looks for the beginning of the next card.
func (p *pieces) resume() bool {
	i := indexBegin(p.buf)
	if i < 0 {
		p.line += bytes.Count(p.buf, []byte{'\n'})
		keep := p.buf[max(0, len(p.buf)-16):]
		p.buf = append(p.buf[:0], keep...)
		return false
	}
	p.line += bytes.Count(p.buf[:i], []byte{'\n'})
	p.buf = append(p.buf[:0], p.buf[i:]...)
	p.skipping = false
	return true
}

func indexBegin(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i + 1
		if len(b)-at >= 11 && strings.EqualFold(string(b[at:at+11]), "BEGIN:VCARD") {
			return at
		}
	}
}
