// Package smsxml writes the XML archives of SMS Backup & Restore as a target. The file
// is read and written in one pass each, one message at a time: what is not changed stays
// byte for byte, and only the count in the start tag is put right. Write rewrites the
// file once each time it is called; give it all changes at once.
package smsxml

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	format "github.com/decant-dev/decant/node/format/smsxml"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// Archive is one file, of messages or of calls.
type Archive struct {
	*wholefile.File
	kind  item.Kind
	empty bool // it holds nothing yet: what is written first decides its kind
}

var (
	_ target.Books = (*Archive)(nil)
	_ target.Whole = (*Archive)(nil)
)

// Open opens an archive. One that is not there yet will hold what is written to it first,
// messages or calls.
func Open(path string) (*Archive, error) {
	f, err := wholefile.Open(path)
	if err != nil {
		return nil, err
	}
	a := &Archive{File: f, kind: item.Message, empty: true}
	if strings.Contains(strings.ToLower(filepath.Base(path)), "calls") {
		a.kind = item.Call
	}
	in, err := f.Open()
	if err != nil || in == nil {
		return a, err
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && info.Size() == 0 {
		return a, nil
	}
	r := format.NewReader(in)
	if _, err := r.Next(); r.Root().Name == "" {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	a.kind, a.empty = item.Message, false
	if r.Root().Name == "calls" {
		a.kind = item.Call
	}
	return a, nil
}

// Kinds returns the one kind that the archive holds; both, if it holds nothing yet, the
// likelier one by its name first: the app calls archives of calls "calls-…".
func (a *Archive) Kinds() []item.Kind {
	if !a.empty {
		return []item.Kind{a.kind}
	}
	return []item.Kind{a.kind, item.Message + item.Call - a.kind}
}

// OneKind implements target.OneKind.
func (a *Archive) OneKind() bool { return true }

// Profile says that the target takes what its format can say.
func (a *Archive) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return rule.Profile{Version: message.FormSBR}, nil
}

// Close does nothing: the file is open only while it is read or written.
func (a *Archive) Close() error { return nil }

// each reads the archive; the records' bytes are from rec.Offset to rec.End.
func (a *Archive) each(ctx context.Context, in io.Reader, f func(e target.Existing, identity []byte, rec *format.Record) error) (*format.Reader, error) {
	r := format.NewReader(in)
	for {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		rec, err := r.Next()
		if err == io.EOF {
			return r, nil
		}
		if b := (*format.BrokenError)(nil); errors.As(err, &b) {
			continue // its bytes stay where they are
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", filepath.Base(a.Path()), err)
		}
		if rec.Kind() != a.kind {
			continue
		}
		c := rec.Canonical()
		e := target.Existing{Version: wholefile.Version(c.Data)}
		e.Record = item.Record{Kind: a.kind, Label: c.Label, From: filepath.Base(a.Path()) + ":" + strconv.Itoa(rec.Number), Data: c.Data}
		if err := f(e, c.Identity, rec); err != nil {
			return r, err
		}
	}
}

// Read gives all messages or calls in their order.
func (a *Archive) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	in, err := a.open()
	if err != nil || in == nil || k != a.kind {
		return err
	}
	defer in.Close()
	names := wholefile.Names{}
	_, err = a.each(ctx, in, func(e target.Existing, identity []byte, _ *format.Record) error {
		e.ID = names.ID(identity)
		return each(e)
	})
	return err
}

// open opens the file; nil if it does not exist or is empty.
func (a *Archive) open() (*os.File, error) {
	in, err := a.Open()
	if err != nil || in == nil {
		return nil, err
	}
	if info, err := in.Stat(); err == nil && info.Size() == 0 {
		in.Close()
		return nil, nil
	}
	return in, nil
}

// Open opens the file; nil if it does not exist.
func (a *Archive) Open() (*os.File, error) { return a.File.Open() }

// edit is a run of the file's bytes that is replaced.
type edit struct {
	start, end int64
	with       []byte
	added      bool // with is followed by the new records
}

// plan is what Write finds out before it writes.
type plan struct {
	*wholefile.Plan
	edits []edit
	added []int
}

// Write carries out all changes in one rewriting of the file.
func (a *Archive) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if a.empty && len(changes) > 0 {
		a.kind, a.empty = k, false
	}
	if k != a.kind {
		return refuse(changes, a.kind, done)
	}
	p := &plan{Plan: wholefile.NewPlan(changes, func(data []byte) (string, error) {
		c, err := a.canonical(data)
		return wholefile.Version(c.Data), err
	})}
	in, err := a.open()
	if err != nil {
		return err
	}
	var seen fs.FileInfo
	if in != nil {
		defer in.Close()
		if seen, err = in.Stat(); err != nil {
			return err
		}
	} else if seen, err = os.Stat(a.Path()); err != nil {
		seen = nil
	}
	if err := a.plan(ctx, p, in); err != nil {
		return err
	}
	if p.Needed() {
		if err := a.ReplaceSeen(seen, func(w io.Writer) error { return a.rewrite(ctx, p, in, w) }); err != nil {
			return err
		}
	}
	return p.Report(a.now, done)
}

// refuse answers for records of the kind that the archive does not hold.
func refuse(changes []target.Write, holds item.Kind, done func(int, target.Existing, error) error) error {
	for i := range changes {
		if err := done(i, target.Existing{}, &target.RefusedError{Why: fmt.Sprintf("the file holds %ss: name another one for these", holds)}); err != nil {
			return err
		}
	}
	return nil
}

// now is what the archive holds for a record that was written.
func (a *Archive) now(c target.Write) (e target.Existing, id []byte, err error) {
	held, err := a.canonical(c.Record.Data)
	if err != nil {
		return e, nil, err
	}
	e = target.Existing{Record: c.Record, Version: wholefile.Version(held.Data)}
	e.Data = held.Data
	return e, held.Identity, nil
}

// plan finds where the changes are to be made, and which can't.
func (a *Archive) plan(ctx context.Context, p *plan, in *os.File) error {
	if in == nil {
		p.added = p.Added()
		p.Count = len(p.added)
		return nil
	}
	r, err := a.each(ctx, in, func(e target.Existing, identity []byte, rec *format.Record) error {
		if i, ok := p.Meet(&e, identity); ok {
			return p.edit(a, p.Changes[i], in, rec)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !r.Whole() || r.Root().Close == 0 {
		return fmt.Errorf("%s ends before its end tag: nothing is written to it", filepath.Base(a.Path()))
	}
	p.added = p.Added()
	p.Count += len(p.added)
	p.finish(r.Root())
	return nil
}

// edit notes that a record is replaced or deleted.
func (p *plan) edit(a *Archive, c target.Write, in io.ReaderAt, rec *format.Record) error {
	e := edit{start: rec.Offset, end: rec.End}
	if len(c.Record.Data) == 0 {
		e.start, e.end = wholeLine(in, e.start, e.end)
	} else {
		text, err := a.element(c.Record.Data)
		if err != nil {
			return err
		}
		e.with = bytes.TrimSpace(text)
	}
	p.edits = append(p.edits, e)
	return nil
}

// wholeLine widens a run of bytes that fills a line to that line.
func wholeLine(in io.ReaderAt, start, end int64) (int64, int64) {
	before := make([]byte, min(start, 64))
	in.ReadAt(before, start-int64(len(before)))
	trimmed := bytes.TrimRight(before, " \t")
	if len(trimmed) == 0 || trimmed[len(trimmed)-1] != '\n' {
		return start, end
	}
	after := make([]byte, 2)
	n, _ := in.ReadAt(after, end)
	switch {
	case bytes.HasPrefix(after[:n], []byte("\r\n")):
		end += 2
	case bytes.HasPrefix(after[:n], []byte("\n")):
		end++
	default:
		return start, end
	}
	return start - int64(len(before)-len(trimmed)), end
}

// finish adds the edits of the start tag and the end.
func (p *plan) finish(root *format.Root) {
	if root.CountEnd > root.CountStart {
		p.edits = append(p.edits, edit{start: root.CountStart, end: root.CountEnd, with: []byte(strconv.Itoa(p.Count))})
	}
	if len(p.added) > 0 {
		at := edit{start: root.Close, end: root.Close, added: true}
		if root.Slash > 0 {
			at = edit{start: root.Slash, end: root.Close, with: []byte(">\n"), added: true}
		}
		p.edits = append(p.edits, at)
	}
	slices.SortFunc(p.edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
}

// rewrite writes the archive anew.
func (a *Archive) rewrite(ctx context.Context, p *plan, in *os.File, to io.Writer) error {
	w := bufio.NewWriterSize(to, 256<<10)
	name := "smses"
	if a.kind == item.Call {
		name = "calls"
	}
	if in == nil {
		w.Write(format.Head(name, p.Count))
		if err := a.add(ctx, p, w); err != nil {
			return err
		}
		w.Write(format.Tail(name))
		return w.Flush()
	}
	var at int64
	for _, e := range p.edits {
		if _, err := io.Copy(w, io.NewSectionReader(in, at, e.start-at)); err != nil {
			return err
		}
		w.Write(e.with)
		if e.added {
			if err := a.addHere(ctx, p, in, w, e, name); err != nil {
				return err
			}
		}
		at = e.end
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if _, err := io.Copy(w, io.NewSectionReader(in, at, 1<<62-at)); err != nil {
		return err
	}
	return w.Flush()
}

// addHere writes the new records where the archive's end tag is, or is to be.
func (a *Archive) addHere(ctx context.Context, p *plan, in io.ReaderAt, w *bufio.Writer, e edit, name string) error {
	last := make([]byte, 1)
	if n, _ := in.ReadAt(last, e.start-1); n == 1 && last[0] != '\n' && e.with == nil {
		w.WriteByte('\n')
	}
	if err := a.add(ctx, p, w); err != nil {
		return err
	}
	if e.end > e.start {
		w.Write(format.Tail(name))
	}
	return nil
}

// add writes the new records.
func (a *Archive) add(ctx context.Context, p *plan, w *bufio.Writer) error {
	for _, i := range p.added {
		text, err := a.element(p.Changes[i].Record.Data)
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// element is a record as it stands in the archive.
func (a *Archive) element(data []byte) ([]byte, error) {
	if a.kind == item.Call {
		c, err := call.Decode(data)
		if err != nil {
			return nil, &target.RefusedError{Why: err.Error()}
		}
		return format.AppendCall(nil, c.SBR()), nil
	}
	m, err := message.Decode(data)
	if err == nil && m.Type == message.Mail {
		err = errors.New("is a mail")
	}
	if err != nil {
		return nil, &target.RefusedError{Why: err.Error()}
	}
	return format.AppendElement(nil, m.SBR()), nil
}

// canonical is the canonical form of a record once it stands in the archive.
func (a *Archive) canonical(data []byte) (c format.Canonical, err error) {
	text, err := a.element(data)
	if err != nil {
		return c, err
	}
	rec, err := format.Parse(text)
	if err != nil {
		return c, &target.RefusedError{Why: err.Error()}
	}
	return rec.Canonical(), nil
}
