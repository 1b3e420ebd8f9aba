// Package mbox writes mbox files (mboxrd) as a target of mail, and of SMS and MMS as a
// readable archive. Mails that are not changed stay byte for byte. Write rewrites the file
// once each time it is called; give it all changes at once.
package mbox

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	format "github.com/decant-dev/decant/node/format/mbox"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// File is one file.
type File struct{ *wholefile.File }

var (
	_ target.Books = (*File)(nil)
	_ target.Whole = (*File)(nil)
)

// Open opens a file that may not be there yet.
func Open(path string) (*File, error) {
	w, err := wholefile.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{w}
	err = f.each(context.Background(), func(*format.Mail) error { return io.EOF })
	if err != nil && err != io.EOF {
		return nil, err
	}
	return f, nil
}

// Kinds returns message.
func (f *File) Kinds() []item.Kind { return []item.Kind{item.Message} }

// Profile says that the target takes mail, with its state in the header.
func (f *File) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return rule.Profile{Version: message.FormMbox, MaxSize: format.MaxMail}, nil
}

// Close does nothing: the file is open only while it is read or written.
func (f *File) Close() error { return nil }

func (f *File) each(ctx context.Context, do func(*format.Mail) error) error {
	in, err := f.File.Open()
	if err != nil || in == nil {
		return err
	}
	defer in.Close()
	return eachOf(ctx, in, do)
}

func eachOf(ctx context.Context, in *os.File, do func(*format.Mail) error) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	r := format.NewReader(in, info.Size())
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(in.Name()), err)
		}
		if err := do(m); err != nil {
			return err
		}
	}
}

func (f *File) existing(m *format.Mail) (target.Existing, []byte) {
	c := m.Message()
	r := item.Record{Kind: item.Message, Label: c.Label(), From: fmt.Sprintf("%s:%d", filepath.Base(f.Path()), m.Number), Data: c.Bytes()}
	return target.Existing{Record: r, Version: wholefile.Version(r.Data)}, c.Identity()
}

// Read gives all mails in their order, but those that are too large.
func (f *File) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Message {
		return nil
	}
	names := wholefile.Names{}
	return f.each(ctx, func(m *format.Mail) error {
		if m.TooLarge {
			return nil
		}
		e, id := f.existing(m)
		e.ID = names.ID(id)
		return each(e)
	})
}

// text is a mail as it stands in the file.
func text(data []byte) ([]byte, error) {
	m, err := message.Decode(data)
	switch {
	case err != nil:
		return nil, &target.RefusedError{Why: err.Error()}
	case m.Type != message.Mail:
		return nil, &target.RefusedError{Why: "it is no mail"}
	case len(m.Raw) > format.MaxMail:
		return nil, &target.RefusedError{Why: "it is too large"}
	}
	return format.Append(nil, m), nil
}

// now is what the file holds for a mail that is written.
func (f *File) now(c target.Write) (e target.Existing, identity []byte, err error) {
	b, err := text(c.Record.Data)
	if err != nil {
		return e, nil, err
	}
	m, err := format.NewReader(bytes.NewReader(b), int64(len(b))).Next()
	if err != nil {
		return e, nil, &target.RefusedError{Why: err.Error()}
	}
	e, identity = f.existing(m)
	e.Book, e.From = c.Record.Book, c.Record.From
	return e, identity, nil
}

// edit is a mail of the file that is replaced, or deleted if with is -1.
type edit struct {
	start, end int64
	with       int
}

// Write carries out all changes in one rewriting of the file.
func (f *File) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if k != item.Message {
		return fmt.Errorf("an mbox file holds no %s", k)
	}
	p := wholefile.NewPlan(changes, func(data []byte) (string, error) {
		e, _, err := f.now(target.Write{Record: item.Record{Data: data}})
		return e.Version, err
	})
	in, err := f.File.Open()
	if err != nil {
		return err
	}
	var seen fs.FileInfo
	var edits []edit
	if in != nil {
		defer in.Close()
		if seen, err = in.Stat(); err != nil {
			return err
		}
		err := eachOf(ctx, in, func(m *format.Mail) error {
			if m.TooLarge {
				return nil
			}
			e, id := f.existing(m)
			if i, ok := p.Meet(&e, id); ok {
				ed := edit{m.Offset, m.End, i}
				if len(changes[i].Record.Data) == 0 {
					ed.with = -1
				}
				edits = append(edits, ed)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if p.Needed() {
		if err := f.ReplaceSeen(seen, func(w io.Writer) error { return rewrite(ctx, in, w, p, edits) }); err != nil {
			return err
		}
	}
	return p.Report(f.now, done)
}

func rewrite(ctx context.Context, in *os.File, to io.Writer, p *wholefile.Plan, edits []edit) error {
	w := bufio.NewWriterSize(to, 256<<10)
	put := func(i int) error {
		b, err := text(p.Changes[i].Record.Data)
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	if in != nil {
		var at int64
		for _, e := range edits {
			if _, err := io.Copy(w, io.NewSectionReader(in, at, e.start-at)); err != nil {
				return err
			}
			if e.with >= 0 {
				if err := put(e.with); err != nil {
					return err
				}
			}
			at = e.end
		}
		last := &tail{}
		if _, err := io.Copy(io.MultiWriter(w, last), io.NewSectionReader(in, at, 1<<62-at)); err != nil {
			return err
		}
		if len(p.Added()) > 0 {
			w.WriteString(last.missing())
		}
	}
	for _, i := range p.Added() {
		if err := put(i); err != nil {
			return err
		}
	}
	return w.Flush()
}

// tail remembers the last two bytes that are not CR.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	end := bytes.ReplaceAll(b[max(0, len(b)-4):], []byte("\r"), nil)
	t.b = append(t.b, end...)
	t.b = t.b[max(0, len(t.b)-2):]
	return len(b), nil
}

// missing is what the file lacks of an empty line at its end.
func (t *tail) missing() string {
	switch {
	case len(t.b) == 0 || string(t.b) == "\n\n":
		return ""
	case t.b[len(t.b)-1] == '\n':
		return "\n"
	}
	return "\n\n"
}
