// Package mbox reads mbox files as a source of mail.
package mbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	format "github.com/decant-dev/decant/node/format/mbox"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
)

// File is one file.
type File struct {
	path string
	file *os.File
	size int64
}

var _ source.Books = (*File)(nil)

// Open opens a file.
func Open(path string) (*File, error) {
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
	return &File{path, f, info.Size()}, nil
}

// Find returns the mbox files in the folders below home where mail programs keep them.
func Find(home string) (paths []string) {
	for _, pattern := range []string{"mbox", "Mail/*.mbox", "mail/*.mbox", "Downloads/*.mbox", "Documents/*.mbox"} {
		found, _ := filepath.Glob(filepath.Join(home, pattern))
		paths = append(paths, found...)
	}
	return paths
}

func (f *File) base() string { return filepath.Base(f.path) }

func (f *File) each(ctx context.Context, do func(*format.Mail) error) error {
	r := format.NewReader(f.file, f.size)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.base(), err)
		}
		if err := do(m); err != nil {
			return err
		}
	}
}

// Survey counts the mails.
func (f *File) Survey(ctx context.Context) ([]item.Found, error) {
	found := item.Found{Kind: item.Message, Book: f.book(), Where: f.path, Bytes: f.size, Can: true}
	err := f.each(ctx, func(*format.Mail) error { found.Items++; return nil })
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		found.Can, found.Why = false, errors.Unwrap(err).Error()
	}
	return []item.Found{found}, nil
}

func (f *File) book() string { return strings.TrimSuffix(f.base(), ".mbox") }

// Read gives all mails in their order.
func (f *File) Read(ctx context.Context, to item.Sink) error {
	return f.each(ctx, func(m *format.Mail) error {
		from := fmt.Sprintf("%s:%d", f.base(), m.Number)
		if m.TooLarge {
			return to.Change(item.Change{Kind: item.Message, Record: m.Envelope, From: from, Effect: item.EffectDropped,
				Why: fmt.Sprintf("the mail is larger than %d bytes", format.MaxMail), Before: m.Label()})
		}
		c := m.Message()
		return to.Record(item.Record{Kind: item.Message, Book: f.book(), Label: c.Label(), From: from, Data: c.Bytes()})
	})
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
