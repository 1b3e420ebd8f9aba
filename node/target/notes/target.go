// Package notes puts notes and their attachments into a directory of Markdown files, such
// as a vault of Obsidian or the folder of Nextcloud Notes.
//
// All paths go through an os.Root. Nothing is written over that was not seen, no name
// begins with a dot, so that nothing becomes a program's settings, and each file appears
// whole or not at all.
package notes

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/note"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// MaxFile is the largest file in bytes that is compared with what comes; a larger one counts as another one.
const MaxFile = 64 << 20

// Target is a directory. It implements target.Books.
type Target struct {
	root *os.Root // nil until it is there
	dir  string
}

// Open opens a directory. One that is not there is made by the first Write.
func Open(arg string) (*Target, error) {
	t := &Target{dir: arg}
	if err := t.open(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return t, nil
}

func (t *Target) open() (err error) {
	if t.root == nil {
		t.root, err = os.OpenRoot(t.dir)
	}
	return err
}

// Close implements target.Books.
func (t *Target) Close() error {
	if t.root == nil {
		return nil
	}
	return t.root.Close()
}

// Kinds implements target.Books.
func (t *Target) Kinds() []item.Kind { return []item.Kind{item.Note} }

// Profile implements target.Books: a directory keeps everything.
func (t *Target) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return rule.Profile{}, nil
}

// Read implements target.Books. Hidden files and links are none of its records.
func (t *Target) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if err := t.open(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	return fs.WalkDir(t.root.FS(), ".", func(at string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case at != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		data, err := t.read(at)
		if err != nil || data == nil {
			return err
		}
		return each(t.existing(at, data))
	})
}

func (t *Target) existing(at string, data []byte) target.Existing {
	r := (note.Rules{}).Split(at, data)[0]
	r.Path = at
	return target.Existing{Record: r, ID: at, Version: version(data)}
}

func version(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// read returns a file's bytes; nil if it has too many, or is none.
func (t *Target) read(at string) ([]byte, error) {
	f, err := t.root.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if b == nil || len(b) > MaxFile {
		b = nil
	}
	return b, err
}

// Write implements target.Books. A new note whose name is taken gets a number behind it.
func (t *Target) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if len(changes) == 0 {
		return nil
	}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	if err := t.open(); err != nil {
		return err
	}
	for i := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &changes[i]
		var at string
		var err error
		switch {
		case c.ID == "":
			at, err = t.create(c.Record.Path, c.Record.Data)
		case len(c.Record.Data) == 0:
			err = t.delete(c)
		default:
			at, err = c.ID, t.replace(c)
		}
		var now target.Existing
		if err == nil && at != "" {
			now = t.existing(at, c.Record.Data)
		}
		if err := done(i, now, err); err != nil {
			return err
		}
	}
	return nil
}

// Map returns where a path from outside lies in the directory.
func Map(outside string) (string, error) {
	var parts []string
	for p := range strings.SplitSeq(outside, "/") {
		if p == "" {
			continue
		}
		name := safe(p)
		if name == "" {
			return "", &target.RefusedError{Why: "it has no name that a file can have"}
		}
		parts = append(parts, name)
	}
	if len(parts) == 0 || len(parts) > item.MaxDepth {
		return "", &target.RefusedError{Why: "it has no name that a file can have"}
	}
	return strings.Join(parts, "/"), nil
}

// safe is the name of a component: what no system takes is replaced, and a dot at its
// beginning, which hides a file and makes settings of it. Brackets stay: notes link by names.
func safe(name string) string {
	ext := path.Ext(name)
	if note.Clean(name) == name {
		return name
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
	if strings.HasPrefix(name, ".") {
		name = "_" + name[1:]
	}
	name = strings.TrimRight(strings.TrimSpace(name), ". ")
	if note.Reserved(name) {
		name = "_" + name
	}
	if len(name) > item.MaxComponent-len(" (9999)") {
		name = note.Clean(strings.TrimSuffix(name, ext)) + ext
		name = name[:min(len(name), item.MaxComponent)]
	}
	return strings.ToValidUTF8(name, "_")
}

// attempts bounds the numbers that are tried behind a name.
const attempts = 10_000

// create makes a file of this path, or like it if it is taken by another content.
func (t *Target) create(outside string, data []byte) (string, error) {
	to, err := Map(outside)
	if err != nil {
		return "", err
	}
	if len(data) > MaxFile {
		return "", &target.RefusedError{Why: fmt.Sprintf("it has more than %d bytes", MaxFile)}
	}
	dir, name := path.Split(to)
	if dir != "" {
		if err := t.root.MkdirAll(path.Clean(dir), 0o755); err != nil {
			return "", &target.RefusedError{Why: err.Error()}
		}
	}
	ext := path.Ext(name)
	temp, err := t.temp(dir, data, 0o644)
	if err != nil {
		return "", err
	}
	defer t.root.Remove(temp)
	for k := 1; k <= attempts; k++ {
		at := to
		if k > 1 {
			at = dir + strings.TrimSuffix(name, ext) + " (" + strconv.Itoa(k) + ")" + ext
		}
		err := t.appear(temp, at)
		if errors.Is(err, fs.ErrExist) {
			if have, err := t.read(at); err == nil && have != nil && bytes.Equal(have, data) {
				return at, nil // an attempt whose answer was lost has made it
			}
			continue
		}
		if err == nil {
			err = t.sync(dir)
		}
		return at, err
	}
	return "", &target.RefusedError{Why: "its name is taken"}
}

// appear gives a file its final name unless that is taken.
func (t *Target) appear(temp, at string) error {
	err := t.root.Link(temp, at)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := t.root.Lstat(at); err == nil { // a file system without hard links
		return fs.ErrExist
	}
	return t.root.Rename(temp, at)
}

// temp writes a hidden file that nobody else has.
func (t *Target) temp(dir string, data []byte, mode fs.FileMode) (string, error) {
	at := dir + ".decant-" + rand.Text() + ".tmp"
	f, err := t.root.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		t.root.Remove(at)
	}
	return at, err
}

// sync makes what was done in a directory durable. Systems that can't do that do not need it.
func (t *Target) sync(dir string) error {
	d, err := t.root.Open(path.Clean("./" + dir))
	if err != nil {
		return nil
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// seen reports ErrEdited unless the file is the one that the caller has seen.
func (t *Target) seen(c *target.Write) (fs.FileInfo, error) {
	info, err := t.root.Lstat(c.ID)
	if err != nil || !info.Mode().IsRegular() {
		return nil, target.ErrEdited
	}
	data, err := t.read(c.ID)
	if err != nil {
		return nil, err
	}
	if version(data) != c.Version {
		return nil, target.ErrEdited
	}
	return info, nil
}

func (t *Target) replace(c *target.Write) error {
	info, err := t.seen(c)
	if err != nil {
		return err
	}
	dir, _ := path.Split(c.ID)
	temp, err := t.temp(dir, c.Record.Data, info.Mode().Perm())
	if err != nil {
		return err
	}
	if err := t.root.Rename(temp, c.ID); err != nil {
		t.root.Remove(temp)
		return err
	}
	return t.sync(dir)
}

// delete removes a file, and the directories that are empty without it.
func (t *Target) delete(c *target.Write) error {
	if _, err := t.seen(c); err != nil {
		return err
	}
	if err := t.root.Remove(c.ID); err != nil {
		return err
	}
	dir := path.Dir(c.ID)
	for ; dir != "." && t.root.Remove(dir) == nil; dir = path.Dir(dir) {
	}
	return t.sync(dir)
}
