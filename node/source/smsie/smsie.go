// Package smsie reads the files of SMS Import / Export as a source: a zip of messages, or
// a call log.
package smsie

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	format "github.com/decant-dev/decant/node/format/smsie"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/source"
)

// Archive is one file.
type Archive struct {
	path  string
	file  *os.File
	size  int64
	calls bool
}

var _ source.Books = (*Archive)(nil)

// Open opens a zip of messages or a call log.
func Open(path string) (*Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	begin := make([]byte, 2)
	f.ReadAt(begin, 0)
	return &Archive{path: path, file: f, size: info.Size(), calls: string(begin) != "PK"}, nil
}

// Find returns the files in the folders below home where the app and people leave them.
func Find(home string) (paths []string) {
	for _, dir := range []string{"", "Downloads", "Documents", "storage/shared/Download", "storage/shared/Documents"} {
		for _, pattern := range []string{"messages-*.zip", "calls-*.json"} {
			found, _ := filepath.Glob(filepath.Join(home, dir, pattern))
			paths = append(paths, found...)
		}
	}
	return paths
}

func (a *Archive) base() string { return filepath.Base(a.path) }
func (a *Archive) book() string { return strings.TrimSuffix(a.base(), filepath.Ext(a.path)) }

// Survey counts the lines or rows.
func (a *Archive) Survey(ctx context.Context) ([]item.Found, error) {
	found := item.Found{Kind: item.Message, Book: a.book(), Where: a.path, Bytes: a.size, Can: true}
	err := a.count(ctx, &found)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		found.Can, found.Why = false, err.Error()
	}
	return []item.Found{found}, nil
}

func (a *Archive) count(ctx context.Context, found *item.Found) error {
	if a.calls {
		found.Kind = item.Call
		_, rows, err := format.Calls(io.NewSectionReader(a.file, 0, a.size))
		found.Items = int64(len(rows))
		return err
	}
	in, err := format.Open(a.file, a.size)
	if err != nil {
		return err
	}
	return in.Lines(func(int, []byte, bool) error {
		found.Items++
		return ctx.Err()
	})
}

// Read gives all messages or calls in their order.
func (a *Archive) Read(ctx context.Context, to item.Sink) error {
	if a.calls {
		return a.readCalls(ctx, to)
	}
	in, err := format.Open(a.file, a.size)
	if err != nil {
		return fmt.Errorf("%s: %w", a.base(), err)
	}
	own, err := Own(ctx, in)
	if err != nil {
		return fmt.Errorf("%s: %w", a.base(), err)
	}
	err = in.Lines(func(number int, line []byte, tooLong bool) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return a.message(in, own, number, line, tooLong, to)
	})
	if err != nil {
		return err
	}
	for _, name := range in.Unused() {
		c := item.Change{Kind: item.Message, Record: a.base(), From: a.base(), Property: "DATA", Effect: item.EffectDropped, Why: "no message refers to it", Before: name[:min(len(name), item.MaxShown)]}
		if err := to.Change(c); err != nil {
			return err
		}
	}
	return nil
}

// Own returns the device's own numbers, as far as MMS show them, in normal form.
func Own(ctx context.Context, in *format.Archive) (map[string]bool, error) {
	own := map[string]bool{}
	err := in.Lines(func(_ int, line []byte, tooLong bool) error {
		if tooLong || !bytes.Contains(line, []byte(`"m_type"`)) {
			return ctx.Err()
		}
		r, _, err := format.ParseRow(line)
		if err != nil {
			return nil
		}
		r.Parts = nil
		for _, n := range message.FromProvider(r).Own() {
			own[message.NormalAddress(n, "")] = true
		}
		return ctx.Err()
	})
	in.Rewind()
	return own, err
}

func (a *Archive) message(in *format.Archive, own map[string]bool, number int, line []byte, tooLong bool, to item.Sink) error {
	from := fmt.Sprintf("%s:%d", a.base(), number)
	broken := func(why string) error {
		return to.Change(item.Change{Kind: item.Message, Record: a.base(), From: from, Effect: item.EffectDropped, Why: why, Before: string(line[:min(len(line), item.MaxShown)])})
	}
	if tooLong {
		return broken(fmt.Sprintf("a line is longer than %d bytes", format.MaxLine))
	}
	m, flags, err := in.Message(line)
	if errors.Is(err, format.ErrBomb) {
		return fmt.Errorf("%s: %w", a.base(), err)
	}
	if err != nil {
		return broken("a line " + err.Error())
	}
	m.SetThread(own)
	if err := to.Record(item.Record{Kind: item.Message, Book: a.book(), Label: m.Label(), From: from, Data: m.Bytes()}); err != nil {
		return err
	}
	return tell(to, item.Message, m.Label(), from, flags)
}

func tell(to item.Sink, k item.Kind, label, from string, flags []format.Flag) error {
	for _, f := range flags {
		if err := to.Change(item.Change{Kind: k, Record: label, From: from, Property: f.Property, Effect: f.Effect, Why: f.Why, Before: f.Before}); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) readCalls(ctx context.Context, to item.Sink) error {
	_, rows, err := format.Calls(io.NewSectionReader(a.file, 0, a.size))
	if err != nil {
		return fmt.Errorf("%s: %w", a.base(), err)
	}
	for i, row := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := fmt.Sprintf("%s:%d", a.base(), i+1)
		columns, flags, err := format.ParseCall(row)
		if err != nil {
			if err := to.Change(item.Change{Kind: item.Call, Record: a.base(), From: from, Effect: item.EffectDropped, Why: "a row is no object", Before: string(row[:min(len(row), item.MaxShown)])}); err != nil {
				return err
			}
			continue
		}
		c := call.FromProvider(columns)
		if err := to.Record(item.Record{Kind: item.Call, Book: a.book(), Label: c.Label(), From: from, Data: c.Bytes()}); err != nil {
			return err
		}
		if err := tell(to, item.Call, c.Label(), from, flags); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }
