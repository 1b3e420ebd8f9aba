// Package vcf writes address books as a target: one .vcf file, or a folder with one card
// in each file, as vdirsyncer and khard keep it. Cards that are not changed keep their
// bytes and their places; new ones come last.
package vcf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// MaxFile is the largest file in bytes that is read to be written to.
const MaxFile = 256 << 20

// Open opens a folder if path is one or ends with a slash, which makes it, else a file,
// which need not be there.
func Open(path string) (target.Books, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return openFolder(path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil && (strings.HasSuffix(path, "/") || strings.HasSuffix(path, string(filepath.Separator))):
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
		return openFolder(path)
	}
	f, err := wholefile.Open(path)
	if err != nil {
		return nil, err
	}
	return &File{File: f}, nil
}

// File is an address book in one file.
type File struct{ *wholefile.File }

var (
	_ target.Books = (*File)(nil)
	_ target.Whole = (*File)(nil)
)

// Kinds returns contacts.
func (*File) Kinds() []item.Kind { return []item.Kind{item.Contact} }

// Profile says that a file takes every card as it is.
func (*File) Profile(context.Context, item.Kind) (rule.Profile, error) { return rule.Profile{}, nil }

// Close does nothing: the file is open only while it is read or written.
func (*File) Close() error { return nil }

// load reads the file. seen is nil if there is none.
func (f *File) load() (data []byte, seen fs.FileInfo, err error) {
	in, err := f.Open()
	if err != nil || in == nil {
		return nil, nil, err
	}
	defer in.Close()
	if seen, err = in.Stat(); err != nil {
		return nil, nil, err
	}
	if seen.Size() > MaxFile {
		return nil, nil, fmt.Errorf("%s has more than %d MiB", filepath.Base(f.Path()), MaxFile>>20)
	}
	data, err = io.ReadAll(io.LimitReader(in, MaxFile+1))
	return data, seen, err
}

// Read gives all cards, and what stands outside of them, in order.
func (f *File) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Contact {
		return nil
	}
	data, _, err := f.load()
	if err != nil {
		return err
	}
	names := wholefile.Names{}
	for _, r := range (contact.Rules{}).Split(filepath.Base(f.Path()), data) {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := existing(r)
		e.ID = names.ID(identity(r.Data))
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func existing(r item.Record) target.Existing {
	return target.Existing{Record: r, Version: wholefile.Version(r.Data)}
}

// identity is what a card is known by: its UID, else its content.
func identity(data []byte) []byte {
	if all := contact.Records(data); len(all) == 1 && all[0].Problem == "" {
		return all[0].Identity
	}
	return data
}

// stored is a record as it stands in a file with this line break: the card alone, with a
// break at its end. Its own breaks stay, unless a reader would not see them beside the file's.
func stored(data []byte, brk string) ([]byte, error) {
	all := contact.Records(data)
	if len(all) != 1 || all[0].Problem != "" {
		return nil, &target.RefusedError{Why: "it is no card"}
	}
	card := all[0].Bytes(data)
	own := contentline.Break(card)
	if own != brk && (own == "\r" || brk == "\r") {
		return contentline.AppendLines(nil, card, brk), nil
	}
	if n := len(card); card[n-1] != '\n' && card[n-1] != '\r' {
		card = append(card[:n:n], own...)
	}
	return card, nil
}

// Write carries out all changes in one rewriting of the file.
func (f *File) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if k != item.Contact {
		return fmt.Errorf("an address book holds no %s", k)
	}
	data, seen, err := f.load()
	if err != nil {
		return err
	}
	brk := contentline.Break(contentline.Narrow(data))
	plan := wholefile.NewPlan(changes, func(data []byte) (string, error) {
		b, err := stored(data, brk)
		return wholefile.Version(b), err
	})
	var out bytes.Buffer
	put := func(b []byte) {
		if n := out.Len(); n > 0 && len(b) > 0 && out.Bytes()[n-1] != '\n' && out.Bytes()[n-1] != '\r' {
			out.WriteString(brk)
		}
		out.Write(b)
	}
	for _, r := range (contact.Rules{}).Split("", data) {
		e := existing(r)
		i, ok := plan.Meet(&e, identity(r.Data))
		if !ok {
			put(r.Data)
			continue
		}
		if b := changes[i].Record.Data; len(b) > 0 {
			b, _ = stored(b, brk) // NewPlan has asked for it already
			put(b)
		}
	}
	for _, i := range plan.Added() {
		b, _ := stored(changes[i].Record.Data, brk)
		put(b)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if plan.Needed() {
		text := contentline.Widen(data, out.Bytes())
		if err := f.ReplaceSeen(seen, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
			return err
		}
	}
	return plan.Report(func(c target.Write) (target.Existing, []byte, error) {
		b, err := stored(c.Record.Data, brk)
		c.Record.Data = b
		return existing(c.Record), identity(b), err
	}, done)
}
