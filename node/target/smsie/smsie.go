// Package smsie writes the files of SMS Import / Export as a target: a zip of messages,
// or a call log. Lines and data that are not changed are copied as they are, data
// compressed as they are. Write rewrites the file once each time it is called; give it
// all changes at once.
package smsie

import (
	"archive/zip"
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	format "github.com/decant-dev/decant/node/format/smsie"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/smsie"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// Archive is one file: a zip of messages, or a call log.
type Archive struct {
	*wholefile.File
	kind item.Kind
}

var (
	_ target.Books = (*Archive)(nil)
	_ target.Whole = (*Archive)(nil)
)

// Open opens a file. One whose name ends in .json holds calls, any other messages.
func Open(path string) (*Archive, error) {
	f, err := wholefile.Open(path)
	if err != nil {
		return nil, err
	}
	a := &Archive{File: f, kind: item.Message}
	if strings.EqualFold(filepath.Ext(path), ".json") {
		a.kind = item.Call
	}
	in, size, err := a.open()
	if err != nil || in == nil {
		return a, err
	}
	defer in.Close()
	if a.kind == item.Call {
		_, _, err = format.Calls(in)
	} else {
		_, err = format.Open(in, size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return a, nil
}

// Kinds returns the one kind that the file holds.
func (a *Archive) Kinds() []item.Kind { return []item.Kind{a.kind} }

// Profile says that the target takes what the provider of a telephone can hold.
func (a *Archive) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return rule.Profile{Version: message.FormProvider}, nil
}

// Close does nothing: the file is open only while it is read or written.
func (a *Archive) Close() error { return nil }

// open opens the file; nil if it does not exist or is empty.
func (a *Archive) open() (*os.File, int64, error) {
	in, err := a.File.Open()
	if err != nil || in == nil {
		return nil, 0, err
	}
	info, err := in.Stat()
	if err != nil || info.Size() == 0 {
		in.Close()
		return nil, 0, err
	}
	return in, info.Size(), nil
}

// Read gives all messages or calls in their order.
func (a *Archive) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	in, size, err := a.open()
	if err != nil || in == nil || k != a.kind {
		return err
	}
	defer in.Close()
	names := wholefile.Names{}
	if a.kind == item.Call {
		rows, err := readCalls(in)
		if err != nil {
			return err
		}
		for i, row := range rows {
			if e, id, ok := a.call(row, i+1); ok {
				e.ID = names.ID(id)
				if err := each(e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	z, err := format.Open(in, size)
	if err != nil {
		return err
	}
	return a.lines(ctx, z, func(l line) error {
		if l.message == nil {
			return nil
		}
		e := a.existing(l.message, l.number)
		e.ID = names.ID(l.message.Identity())
		return each(e)
	})
}

// line is one line of the messages; message is nil if it holds none.
type line struct {
	number  int
	text    []byte
	message *message.Message
}

func (a *Archive) lines(ctx context.Context, z *format.Archive, each func(line) error) error {
	own, err := source.Own(ctx, z)
	if err != nil {
		return err
	}
	return z.Lines(func(number int, text []byte, tooLong bool) error {
		if tooLong {
			return fmt.Errorf("%s: line %d is longer than %d bytes", filepath.Base(a.Path()), number, format.MaxLine)
		}
		l := line{number: number, text: text}
		m, _, err := z.Message(text)
		if err == format.ErrBomb {
			return err
		}
		if err == nil {
			m.SetThread(own)
			l.message = m
		}
		if err := each(l); err != nil {
			return err
		}
		return ctx.Err()
	})
}

func (a *Archive) existing(m *message.Message, number int) target.Existing {
	r := item.Record{Kind: item.Message, Label: m.Label(), From: fmt.Sprintf("%s:%d", filepath.Base(a.Path()), number), Data: m.Bytes()}
	return target.Existing{Record: r, Version: version(m)}
}

// version is that of a message without the names of its data, which are the archive's
// business, and the thread, which depends on other messages.
func version(m *message.Message) string {
	v := *m
	v.Thread = ""
	v.Parts = append([]message.Part(nil), m.Parts...)
	for i := range v.Parts {
		var x []message.Column
		for _, c := range v.Parts[i].X {
			if c.Name != "_data" {
				x = append(x, c)
			}
		}
		v.Parts[i].X = x
	}
	return wholefile.Version(v.Bytes())
}

// Write carries out all changes in one rewriting of the file.
func (a *Archive) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if k != a.kind {
		return fmt.Errorf("a file of one kind holds no %s", k)
	}
	in, size, err := a.open()
	if err != nil {
		return err
	}
	var seen fs.FileInfo
	if in != nil {
		defer in.Close()
		seen, err = in.Stat()
	} else if seen, err = os.Stat(a.Path()); err != nil {
		seen, err = nil, nil
	}
	if err != nil {
		return err
	}
	if a.kind == item.Call {
		return a.writeCalls(in, seen, changes, done)
	}
	return a.writeMessages(ctx, in, size, seen, changes, done)
}

func (a *Archive) writeMessages(ctx context.Context, in *os.File, size int64, seen fs.FileInfo, changes []target.Write, done func(int, target.Existing, error) error) error {
	p := wholefile.NewPlan(changes, func(data []byte) (string, error) {
		m, err := held(data)
		if err != nil {
			return "", err
		}
		return version(m), nil
	})
	var z *format.Archive
	edits := map[int]int{} // line numbers, and the changes to them
	dead, alive := map[string]bool{}, map[string]bool{}
	if in != nil {
		var err error
		if z, err = format.Open(in, size); err != nil {
			return err
		}
		err = a.lines(ctx, z, func(l line) error {
			if l.message == nil {
				return nil
			}
			e := a.existing(l.message, l.number)
			names := alive
			if i, ok := p.Meet(&e, l.message.Identity()); ok {
				edits[l.number], names = i, dead
			}
			for _, part := range l.message.Parts {
				if name, ok := format.DataName(part.X); ok {
					names[format.DataPrefix+name] = true
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		maps.DeleteFunc(dead, func(name string, _ bool) bool { return alive[name] })
	}
	if p.Needed() {
		r := rewriting{z: z, plan: p, edits: edits, dead: dead, names: map[string]bool{}}
		if err := a.ReplaceSeen(seen, func(w io.Writer) error { return r.write(ctx, w) }); err != nil {
			return err
		}
	}
	return p.Report(func(c target.Write) (target.Existing, []byte, error) {
		m, err := held(c.Record.Data)
		if err != nil {
			return target.Existing{}, nil, err
		}
		e := target.Existing{Record: c.Record, Version: version(m)}
		e.Data = m.Bytes()
		return e, m.Identity(), nil
	}, done)
}

// held is a message as the archive holds it once it is written.
func held(data []byte) (*message.Message, error) {
	m, err := message.Decode(data)
	if err == nil && m.Type == message.Mail {
		return nil, &target.RefusedError{Why: "it is a mail"}
	}
	if err != nil {
		return nil, &target.RefusedError{Why: err.Error()}
	}
	text, data2 := format.AppendMessage(nil, m, func(string) bool { return false })
	if len(text) > format.MaxLine {
		return nil, &target.RefusedError{Why: fmt.Sprintf("its line would be longer than %d bytes", format.MaxLine)}
	}
	r, _, err := format.ParseRow(text)
	if err != nil {
		return nil, &target.RefusedError{Why: err.Error()}
	}
	r.Data = make([][]byte, len(r.Parts))
	for i, part := range r.Parts {
		if name, ok := format.DataName(part); ok {
			for _, d := range data2 {
				if d.Name == name {
					r.Data[i] = d.Base64
				}
			}
		}
	}
	out := message.FromProvider(r)
	out.Thread = m.Thread
	return out, nil
}

// rewriting is the writing of a zip anew.
type rewriting struct {
	z     *format.Archive
	plan  *wholefile.Plan
	edits map[int]int
	dead  map[string]bool // entries of messages that are deleted or replaced
	names map[string]bool // data that were given a name
	data  []pending
}

// pending are data that are to be written when all lines are.
type pending struct{ change, part int }

func (r *rewriting) write(ctx context.Context, to io.Writer) error {
	w := zip.NewWriter(to)
	out, err := w.CreateHeader(&zip.FileHeader{Name: format.MessagesName, Method: zip.Deflate})
	if err != nil {
		return err
	}
	lines := bufio.NewWriterSize(out, 256<<10)
	var given []string
	add := func(i int) error {
		m, err := message.Decode(r.plan.Changes[i].Record.Data)
		if err != nil {
			return err
		}
		text, data := format.AppendMessage(nil, m, r.taken)
		n := 0
		for j := range m.Parts {
			if m.Parts[j].Base64 != nil {
				r.names[data[n].Name] = true
				given = append(given, data[n].Name)
				r.data = append(r.data, pending{i, j})
				n++
			}
		}
		_, err = lines.Write(text)
		return err
	}
	if r.z != nil {
		r.z.Rewind()
		err := r.z.Lines(func(number int, text []byte, _ bool) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			i, edited := r.edits[number]
			switch {
			case !edited:
				lines.Write(text)
				return lines.WriteByte('\n')
			case len(r.plan.Changes[i].Record.Data) > 0:
				return add(i)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, i := range r.plan.Added() {
		if err := add(i); err != nil {
			return err
		}
	}
	if err := lines.Flush(); err != nil {
		return err
	}
	if err := r.writeData(w, given); err != nil {
		return err
	}
	return w.Close()
}

func (r *rewriting) taken(name string) bool {
	return r.names[name] || r.z != nil && r.z.Has(name) && !r.dead[format.DataPrefix+name]
}

// writeData copies the entries that stay and writes the new ones.
func (r *rewriting) writeData(w *zip.Writer, given []string) error {
	if r.z != nil {
		for _, f := range r.z.Entries() {
			if r.dead[f.Name] {
				continue
			}
			if err := w.Copy(f); err != nil {
				return err
			}
		}
	}
	for k, d := range r.data {
		m, err := message.Decode(r.plan.Changes[d.change].Record.Data)
		if err != nil {
			return err
		}
		out, err := w.CreateHeader(&zip.FileHeader{Name: format.DataPrefix + given[k], Method: zip.Deflate})
		if err != nil {
			return err
		}
		if _, err := (format.Data{Base64: m.Parts[d.part].Base64}).WriteTo(out); err != nil {
			return err
		}
	}
	return nil
}
