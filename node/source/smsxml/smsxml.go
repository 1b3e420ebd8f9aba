// Package smsxml reads the XML archives of SMS Backup & Restore as a source: messages or calls.
package smsxml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	format "github.com/decant-dev/decant/node/format/smsxml"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
)

// Archive is one file.
type Archive struct {
	path string
	file *os.File
}

var _ source.Books = (*Archive)(nil)

// Open opens an archive.
func Open(path string) (*Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s is no file", path))
	}
	return &Archive{path, f}, nil
}

// Find returns the archives in the folders below home where the app and people leave them.
func Find(home string) (paths []string) {
	for _, dir := range []string{"", "Downloads", "Documents", "SMSBackupRestore", "storage/shared/SMSBackupRestore", "storage/shared/Download"} {
		for _, pattern := range []string{"sms-*.xml", "calls-*.xml"} {
			found, _ := filepath.Glob(filepath.Join(home, dir, pattern))
			paths = append(paths, found...)
		}
	}
	return paths
}

// Book is what an archive's messages are kept together under.
func (a *Archive) book() string {
	return strings.TrimSuffix(filepath.Base(a.path), filepath.Ext(a.path))
}

func (a *Archive) reader(ctx context.Context) (*format.Reader, error) {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return format.NewReader(&reader{ctx, a.file}), nil
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

// Survey reads the archive through: what it says of its count is often wrong.
func (a *Archive) Survey(ctx context.Context) ([]item.Found, error) {
	in, err := a.reader(ctx)
	if err != nil {
		return nil, err
	}
	info, err := a.file.Stat()
	if err != nil {
		return nil, err
	}
	found := item.Found{Kind: item.Message, Book: a.book(), Where: a.path, Bytes: info.Size(), Can: true}
	broken := 0
	for {
		_, err := in.Next()
		if err == io.EOF {
			break
		}
		if b := (*format.BrokenError)(nil); errors.As(err, &b) {
			broken++
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			found.Can, found.Why = false, err.Error()
			break
		}
		found.Items++
	}
	if in.Root().Name == "calls" {
		found.Kind = item.Call
	}
	if broken > 0 && found.Can {
		found.Why = fmt.Sprintf("%d places in it are broken", broken)
	}
	return []item.Found{found}, nil
}

// Read gives all messages or calls in their order.
func (a *Archive) Read(ctx context.Context, to item.Sink) error {
	in, err := a.reader(ctx)
	if err != nil {
		return err
	}
	base := filepath.Base(a.path)
	told := false
	for {
		rec, err := in.Next()
		if !told && in.Root().Name != "" {
			told = true
			if err := a.head(in, to); err != nil {
				return err
			}
		}
		b := (*format.BrokenError)(nil)
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &b):
			err = to.Change(item.Change{Kind: a.kind(in), Record: base, From: fmt.Sprintf("%s@%d", base, b.Offset), Effect: item.EffectDropped,
				Why: fmt.Sprintf("a place of %d bytes %s", b.Length, b.Why), Before: b.Text})
		case err != nil:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s: %w", base, err)
		default:
			err = a.give(rec, fmt.Sprintf("%s:%d", base, rec.Number), to)
		}
		if err != nil {
			return err
		}
	}
}

func (a *Archive) kind(in *format.Reader) item.Kind {
	if in.Root().Name == "calls" {
		return item.Call
	}
	return item.Message
}

// head tells what the archive says of itself.
func (a *Archive) head(in *format.Reader, to item.Sink) error {
	root := in.Root()
	for _, t := range root.Attrs {
		if t.Name == "count" {
			continue
		}
		err := to.Change(item.Change{Kind: a.kind(in), Record: filepath.Base(a.path), From: filepath.Base(a.path), Property: strings.ToUpper(root.Name + "/" + t.Name),
			Effect: item.EffectDropped, Why: "it describes the archive, not what is in it", Before: t.Value[:min(len(t.Value), item.MaxShown)]})
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) give(rec *format.Record, from string, to item.Sink) error {
	c := rec.Canonical()
	if err := to.Record(item.Record{Kind: rec.Kind(), Book: a.book(), Label: c.Label, From: from, Data: c.Data}); err != nil {
		return err
	}
	for _, c := range c.Changes {
		c.From = from
		if err := to.Change(c); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }
