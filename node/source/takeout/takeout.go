// Package takeout reads an export of Google Takeout: archives, all those of one export
// together, or the directory that they were unpacked into. Contacts, calendars, Keep's
// notes and bookmarks become records; photos come with what the files beside them say; mail and what
// lay in Drive come as files. Folders have other names in each language, so that a file
// is told by its content. What is not moved is told with the reason.
//
// Archives are read in place and nothing of them is unpacked to disk. Names that lead out
// of them, links, and files that would grow without measure are left out.
package takeout

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/bookmarkhtml"
	"github.com/decant-dev/decant/node/format/takeout"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/notes"
	"github.com/decant-dev/decant/node/source/photos"
)

// maxBook is the largest address book or calendar that is read as records, in bytes.
const maxBook = 64 << 20

// Books are what one export holds.
type Books struct {
	arg  string
	tree *tree
	lots map[lot][]photos.Entry
}

// lot is what becomes of a file.
type lot uint8

const (
	unknown lot = iota
	contacts
	calendars
	noted
	pictures
	mail
	drive
	face // a contact's photo
	marks
	page // a page that shows what other files hold
)

var _ source.Books = (*Books)(nil)

// Find returns the exports among a person's downloads: the first archive of each, and directories that were unpacked.
func Find(home string) (out []string) {
	for _, dir := range []string{photos.UserDir(home, "DOWNLOAD", "Downloads"), filepath.Join(home, "storage", "downloads"), "/sdcard/Download"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		seen := map[string]bool{}
		for _, e := range entries {
			m := exportName.FindStringSubmatch(e.Name())
			switch {
			case m != nil && e.Type().IsRegular() && !seen[m[1]]:
				seen[m[1]] = true
				out = append(out, filepath.Join(dir, e.Name()))
			case e.IsDir() && e.Name() == "Takeout":
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
	}
	return out
}

// Open opens an export: one archive, with the others of its export beside it, or a directory. It reads names only.
func Open(arg string) (*Books, error) {
	if ext := strings.ToLower(filepath.Ext(arg)); ext == ".tgz" || ext == ".gz" {
		return nil, fmt.Errorf("%s is packed with gzip: unpack it and name the directory, or ask Google for zip", arg)
	}
	t, err := openTree(context.Background(), arg)
	if err != nil {
		return nil, err
	}
	return &Books{arg: arg, tree: t}, nil
}

// Close implements source.Books.
func (b *Books) Close() error { return b.tree.Close() }

// sort tells what each file is.
func (b *Books) sort(ctx context.Context) error {
	if b.lots != nil {
		return nil
	}
	services := map[string][]photos.Entry{}
	for _, e := range b.tree.files {
		services[service(e.Path)] = append(services[service(e.Path)], e)
	}
	lots := map[lot][]photos.Entry{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		sortService(name, services[name], lots)
	}
	b.lots = lots
	return nil
}

func sortService(name string, files []photos.Entry, lots map[lot][]photos.Entry) {
	if name == "Drive" { // in every language
		lots[drive] = append(lots[drive], files...)
		return
	}
	if isKeep(files) {
		lots[noted] = append(lots[noted], files...)
		return
	}
	books := slices.ContainsFunc(files, func(e photos.Entry) bool { return told(e) == contacts })
	albums := map[string]bool{}
	for _, e := range files {
		albums[path.Dir(e.Path)] = albums[path.Dir(e.Path)] || kind.Of(e.Path) == item.Photo
	}
	for _, e := range files {
		l := told(e)
		switch {
		case l != unknown:
		case kind.Of(e.Path) == item.Photo && books:
			l = face
		case kind.Of(e.Path) == item.Photo, takeout.IsSidecarName(e.Path) && albums[path.Dir(e.Path)]:
			l = pictures
		}
		lots[l] = append(lots[l], e)
	}
}

// maxProbed is how many files of a folder are looked into to know what it is.
const maxProbed = 20

// isKeep reports whether the files of a service are notes.
func isKeep(files []photos.Entry) bool {
	probed := 0
	for _, e := range files {
		if !takeout.IsSidecarName(e.Path) || e.Size > takeout.MaxSidecar {
			continue
		}
		if probed++; probed > maxProbed {
			break
		}
		if data, err := read(e, takeout.MaxSidecar); err == nil && takeout.IsKeep(data) {
			return true
		}
	}
	return false
}

// told tells what a file is by its name and its beginning.
func told(e photos.Entry) lot {
	ext := strings.ToLower(path.Ext(e.Path))
	starts := func(with string) bool {
		b := bytes.TrimLeft(bytes.TrimPrefix(head(e, 256), []byte("\ufeff")), " \t\r\n")
		return len(b) >= len(with) && strings.EqualFold(string(b[:len(with)]), with)
	}
	switch {
	case ext == ".vcf" && (e.Size == 0 || starts("BEGIN:VCARD")):
		return contacts
	case ext == ".ics" && (e.Size == 0 || starts("BEGIN:VCALENDAR")):
		return calendars
	case ext == ".mbox" && (e.Size == 0 || starts("From ")):
		return mail
	case ext == ".html" && starts("<!DOCTYPE NETSCAPE-Bookmark-file-1>"):
		return marks
	case ext == ".html":
		return page
	}
	return unknown
}

// kinds are what lots are to a person.
var kinds = []struct {
	lot
	item.Kind
}{{contacts, item.Contact}, {calendars, item.Calendar}, {noted, item.Note}, {marks, item.Bookmark}, {pictures, item.Photo}, {mail, item.File}, {drive, item.File}, {face, item.File}}

// Survey implements source.Books. It counts files; how many cards and events they hold is known when they are read.
func (b *Books) Survey(ctx context.Context) ([]item.Found, error) {
	if err := b.sort(ctx); err != nil {
		return nil, err
	}
	var out []item.Found
	for _, k := range kinds {
		f := item.Found{Kind: k.Kind, Where: b.arg, Items: -1, Can: true}
		if k.Kind == item.Photo || k.Kind == item.File {
			f.Items = 0
		}
		for _, e := range b.lots[k.lot] {
			if f.Bytes += e.Size; k.Kind == item.File || k.Kind == item.Photo && kind.Of(e.Path) == item.Photo {
				f.Items++
			}
		}
		if len(b.lots[k.lot]) > 0 {
			out = append(out, f)
		}
	}
	if n := len(b.lots[unknown]); n > 0 {
		f := item.Found{Kind: item.File, Where: b.arg, Items: int64(n), Why: "files of services that Decant does not know"}
		for _, e := range b.lots[unknown] {
			f.Bytes += e.Size
		}
		out = append(out, f)
	}
	return out, nil
}

// Read implements source.Books.
func (b *Books) Read(ctx context.Context, to item.Sink) error {
	if err := b.sort(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context, item.Sink) error{b.contacts, b.calendars, b.notes, b.bookmarks, b.photos, b.files, b.left} {
		if err := step(ctx, to); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func lost(e photos.Entry, k item.Kind, why string) item.Change {
	return item.Change{Kind: k, Record: path.Base(e.Path), From: e.From, Effect: item.EffectDropped, Why: why}
}

// contacts reads the address books. The largest comes first: it holds all contacts, and the others, which are
// groups, repeat them; a card that was there, byte for byte, is not given again.
func (b *Books) contacts(ctx context.Context, to item.Sink) error {
	books := slices.Clone(b.lots[contacts])
	slices.SortStableFunc(books, func(x, y photos.Entry) int { return cmp.Compare(y.Size, x.Size) })
	seen := map[[32]byte]bool{}
	for _, e := range books {
		data, err := read(e, maxBook)
		if err != nil {
			if err := to.Change(lost(e, item.Contact, err.Error())); err != nil {
				return err
			}
			continue
		}
		for _, r := range (contact.Rules{}).Split(e.From, data) {
			if err := ctx.Err(); err != nil {
				return err
			}
			sum := sha256.Sum256(bytes.TrimSpace(r.Data))
			if seen[sum] {
				continue
			}
			seen[sum] = true
			r.Book = stem(e.Path)
			if err := to.Record(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func stem(p string) string { return strings.TrimSuffix(path.Base(p), path.Ext(p)) }

func (b *Books) calendars(ctx context.Context, to item.Sink) error {
	for _, e := range b.lots[calendars] {
		data, err := read(e, maxBook)
		if err != nil {
			if err := to.Change(lost(e, item.Calendar, err.Error())); err != nil {
				return err
			}
			continue
		}
		if calendar.TooMany(data) { // it goes as the file that it is
			if err := to.File(path.Base(e.Path), item.Calendar, e.Modified, e.Open); err != nil {
				return err
			}
			continue
		}
		for i, r := range (calendar.Rules{}).Split("", data) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.Book, r.From = stem(e.Path), fmt.Sprintf("%s, object %d", e.From, i+1)
			if err := to.Record(r); err != nil {
				return err
			}
		}
		if stray := calendar.Stray(data); stray != "" {
			c := lost(e, item.Calendar, "it is outside of any calendar")
			c.Before = stray[:min(len(stray), item.MaxShown)]
			if err := to.Change(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Books) notes(ctx context.Context, to item.Sink) error {
	if len(b.lots[noted]) == 0 {
		return nil
	}
	fsys, left := newFS(b.lots[noted])
	for _, e := range left {
		if err := to.Change(lost(e, item.Note, "its name is not UTF-8")); err != nil {
			return err
		}
	}
	return notes.ReadFS(ctx, fsys, b.arg, nil, to)
}

func (b *Books) bookmarks(ctx context.Context, to item.Sink) error {
	for _, e := range b.lots[marks] {
		data, err := read(e, maxBook)
		var d *bookmarkhtml.Document
		if err == nil {
			d, err = bookmarkhtml.Parse(data)
		}
		if err != nil {
			if err := to.Change(lost(e, item.Bookmark, err.Error())); err != nil {
				return err
			}
			continue
		}
		for _, c := range d.Changes {
			c.From = e.From
			if err := to.Change(c); err != nil {
				return err
			}
		}
		err = d.Tree.Each(func(n *bookmark.Node) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return to.Record(n.Record(service(e.Path), e.From))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Books) photos(ctx context.Context, to item.Sink) error {
	entries := slices.Clone(b.lots[pictures])
	for i := range entries {
		entries[i].Path = below(entries[i].Path)
	}
	return photos.Send(ctx, entries, to)
}

// files gives mail, what lay in Drive, and contacts' photos as they are.
func (b *Books) files(ctx context.Context, to item.Sink) error {
	for _, l := range []lot{mail, drive, face} {
		for _, e := range b.lots[l] {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := to.File(e.Path, item.File, e.Modified, e.Open); err != nil {
				return err
			}
		}
	}
	return nil
}

// left tells what is not moved: each file whose name or size is made to do harm, and by folders what Decant does not know.
func (b *Books) left(_ context.Context, to item.Sink) error {
	for _, c := range b.tree.left {
		if err := to.Change(c); err != nil {
			return err
		}
	}
	for _, l := range []lot{page, unknown} {
		type sum struct{ files, bytes int64 }
		folders := map[string]sum{}
		for _, e := range b.lots[l] {
			dir := path.Dir(e.Path)
			folders[dir] = sum{folders[dir].files + 1, folders[dir].bytes + e.Size}
		}
		for _, dir := range slices.Sorted(maps.Keys(folders)) {
			s := folders[dir]
			why := fmt.Sprintf("%d files (%d bytes) of a service that Decant does not know stay in the export", s.files, s.bytes)
			if l == page {
				why = fmt.Sprintf("%d pages (%d bytes) that show what other files hold, or only a browser can read, stay in the export", s.files, s.bytes)
			}
			c := item.Change{Kind: item.File, Record: dir, From: b.arg, Effect: item.EffectDropped, Why: why}
			if err := to.Change(c); err != nil {
				return err
			}
		}
	}
	return nil
}
