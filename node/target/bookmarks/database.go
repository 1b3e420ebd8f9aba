package bookmarks

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/decant-dev/decant/node/format/firefox"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/source/bookmarks"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// database is places.sqlite of a profile of Firefox, which must be closed to be written.
type database struct {
	*wholefile.File
	profile string // "" if the file lies by itself
}

func (t *database) Kinds() []item.Kind { return []item.Kind{item.Bookmark} }

func (t *database) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return profileOf(bookmarks.Firefox), nil
}

func (t *database) Close() error { return nil }

func (t *database) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	return t.copied(ctx, func(path string) error {
		tree, err := t.tree(ctx, path)
		if err != nil {
			return err
		}
		return read(ctx, tree, t.Path(), each)
	})
}

// copied calls f with a copy of the database.
func (t *database) copied(ctx context.Context, f func(path string) error) error {
	dir, err := os.MkdirTemp("", "decant-bookmarks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := firefox.Copy(ctx, t.Path(), dir)
	if err != nil {
		return err
	}
	return f(path)
}

func (t *database) tree(ctx context.Context, path string) (*bookmark.Tree, error) {
	db, err := firefox.Open(path, "")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	tree, _, err := firefox.Read(ctx, db)
	return tree, err
}

// lock keeps Firefox away.
func (t *database) lock() (io.Closer, error) {
	if t.profile == "" {
		return io.NopCloser(nil), nil
	}
	return firefox.Lock(t.profile)
}

func (t *database) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) (err error) {
	l, err := t.lock()
	if err != nil {
		return err
	}
	defer l.Close()
	db, err := firefox.Open(t.Path(), "_txlock=exclusive")
	if err != nil {
		return err
	}
	defer db.Close()
	w, err := t.write(ctx, db, changes)
	if err != nil {
		return err
	}
	tree, _, err := firefox.Read(ctx, db)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil { // which leaves nothing beside the database
		return err
	}
	if err := firefox.Settle(ctx, t.Path()); err != nil {
		return err
	}
	return w.report(tree, t.Path(), done)
}

// write carries out the changes in one transaction.
func (t *database) write(ctx context.Context, db *sql.DB, changes []target.Write) (*writer, error) {
	if _, err := db.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("another program uses the database: %w", err)
	}
	defer tx.Rollback()
	e, err := firefox.NewEditor(ctx, tx)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(e, firefox.GUID)
	if err != nil {
		return nil, err
	}
	if err := w.all(ctx, changes); err != nil || !w.changed {
		return w, err
	}
	if err := e.Finish(); err != nil {
		return nil, err
	}
	return w, tx.Commit()
}

// snapshotMagic begins a Snapshot: a database is mostly empty and large, so it is compressed.
const snapshotMagic = "decant places 1\n"

// Snapshot implements target.Whole. It is the database with what lies beside it, compressed.
func (t *database) Snapshot() ([]byte, error) {
	var b bytes.Buffer
	err := t.copied(context.Background(), func(path string) error {
		if err := firefox.Settle(context.Background(), path); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		b.WriteString(snapshotMagic)
		w, err := flate.NewWriter(&b, flate.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		return w.Close()
	})
	return b.Bytes(), err
}

// Stream implements target.Whole.
func (t *database) Stream() (io.ReadCloser, error) {
	b, err := t.Snapshot()
	return io.NopCloser(bytes.NewReader(b)), err
}

// Restore implements target.Whole.
func (t *database) Restore(before []byte, now [32]byte) error {
	packed, ok := bytes.CutPrefix(before, []byte(snapshotMagic))
	if !ok {
		return errors.New("this is no copy of the database")
	}
	l, err := t.lock()
	if err != nil {
		return err
	}
	defer l.Close()
	have, err := t.Snapshot()
	if err != nil {
		return err
	}
	if sha256.Sum256(have) != now {
		return target.ErrEdited
	}
	if err := firefox.Settle(context.Background(), t.Path()); err != nil { // or it would be replayed into what is restored
		return err
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(t.Path() + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	f, err := os.Open(filepath.Clean(t.Path()))
	if err != nil {
		return err
	}
	defer f.Close()
	return t.Replace(f, func(w io.Writer) error {
		_, err := io.Copy(w, flate.NewReader(bytes.NewReader(packed)))
		return err
	})
}
