package vcf

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// MaxCard is the largest file in bytes that a folder's card may be.
const MaxCard = 24 << 20

// Folder is an address book with one card in each file. A record's ID is its file's name,
// with a # and a number behind it if the file holds several cards. New cards are named by the
// key of their creation.
type Folder struct {
	path string
	root *os.Root
}

var _ target.Books = (*Folder)(nil)

func openFolder(path string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Folder{path, root}, nil
}

// Kinds returns contacts.
func (*Folder) Kinds() []item.Kind { return []item.Kind{item.Contact} }

// Profile says that cards have to keep to the standard: khard and vdirsyncer, which keep
// such folders, read nothing else.
func (*Folder) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return rule.Profile{Strict: true}, nil
}

// Close closes the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Read gives the cards in the order of the files' names.
func (f *Folder) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Contact {
		return nil
	}
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := e.Name()
		if ext := strings.ToLower(filepath.Ext(name)); !e.Type().IsRegular() || strings.HasPrefix(name, ".") || ext != ".vcf" && ext != ".vcard" {
			continue
		}
		_, records, err := f.load(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range records {
			if err := each(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// load reads one file.
func (f *Folder) load(name string) (data []byte, records []target.Existing, err error) {
	in, err := f.root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	data, err = io.ReadAll(io.LimitReader(in, MaxCard+1))
	if err == nil && len(data) > MaxCard {
		err = fmt.Errorf("it has more than %d MiB", MaxCard>>20)
	}
	if err != nil {
		return nil, nil, err
	}
	all := contact.Rules{}.Split(name, data)
	for i, r := range all {
		e := existing(r)
		e.ID = name
		if len(all) > 1 {
			e.ID += "#" + strconv.Itoa(i+1)
		}
		records = append(records, e)
	}
	return data, records, nil
}

// Write carries out one change after another.
func (f *Folder) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if k != item.Contact {
		return fmt.Errorf("an address book holds no %s", k)
	}
	for i, c := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, err := f.write(c)
		if err != nil {
			now = target.Existing{}
		}
		if err := done(i, now, err); err != nil {
			return err
		}
	}
	return f.sync()
}

func (f *Folder) write(c target.Write) (target.Existing, error) {
	if c.ID == "" {
		return f.create(c)
	}
	name, number, _ := strings.Cut(c.ID, "#")
	if !local(name) {
		return target.Existing{}, &target.RefusedError{Why: "no file has that name"}
	}
	data, records, err := f.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return target.Existing{}, target.ErrEdited
	}
	if err != nil {
		return target.Existing{}, err
	}
	at := 0
	if number != "" {
		if at, err = strconv.Atoi(number); err != nil {
			return target.Existing{}, target.ErrEdited
		}
		at--
	}
	if at < 0 || at >= len(records) || records[at].ID != c.ID || records[at].Version != c.Version {
		return target.Existing{}, target.ErrEdited
	}
	return f.replace(name, data, records, at, c)
}

// replace puts another card, or none, in the place of one.
func (f *Folder) replace(name string, data []byte, records []target.Existing, at int, c target.Write) (target.Existing, error) {
	if len(c.Record.Data) == 0 && len(records) == 1 {
		return target.Existing{}, f.root.Remove(name)
	}
	var card []byte
	if len(c.Record.Data) > 0 {
		var err error
		if card, err = stored(c.Record.Data, contentline.Break(contentline.Narrow(data))); err != nil {
			return target.Existing{}, err
		}
	}
	var out bytes.Buffer
	for i, r := range records {
		if i == at {
			out.Write(card)
		} else {
			out.Write(r.Data)
		}
	}
	if err := f.put(name, contentline.Widen(data, out.Bytes()), true); err != nil || card == nil {
		return target.Existing{}, err
	}
	c.Record.Data = card
	e := existing(c.Record)
	e.ID = c.ID
	return e, nil
}

func (f *Folder) create(c target.Write) (target.Existing, error) {
	card, err := stored(c.Record.Data, contentline.Break(c.Record.Data))
	if err != nil {
		return target.Existing{}, err
	}
	name := c.Key + ".vcf"
	if !local(name) || c.Key == "" {
		return target.Existing{}, &target.RefusedError{Why: "no file can have that name"}
	}
	if _, records, err := f.load(name); err == nil {
		if len(records) == 1 && bytes.Equal(records[0].Data, card) {
			return records[0], nil // an attempt whose answer was lost
		}
		return target.Existing{}, target.ErrEdited
	}
	if err := f.put(name, card, false); err != nil {
		return target.Existing{}, err
	}
	c.Record.Data = card
	e := existing(c.Record)
	e.ID = name
	return e, nil
}

// local reports whether a name is one of a file in the folder itself.
func local(name string) bool {
	return name != "" && !strings.HasPrefix(name, ".") && filepath.Base(name) == name && !strings.ContainsAny(name, "/\\#\x00") && filepath.IsLocal(name)
}

// put makes a file appear whole. One that is there keeps its permissions.
func (f *Folder) put(name string, data []byte, over bool) error {
	var random [8]byte
	rand.Read(random[:])
	temp := ".decant-" + hex.EncodeToString(random[:]) + ".tmp"
	mode := fs.FileMode(0o600)
	if over {
		if info, err := f.root.Stat(name); err == nil {
			mode = info.Mode().Perm()
		}
	}
	w, err := f.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	err = errors.Join(err, w.Chmod(mode), w.Sync(), w.Close())
	if err == nil {
		if over {
			err = f.root.Rename(temp, name)
		} else if err = f.root.Link(temp, name); err == nil {
			err = f.root.Remove(temp)
		} else if !errors.Is(err, fs.ErrExist) { // a file system without hard links
			err = f.root.Rename(temp, name)
		}
	}
	if err != nil {
		f.root.Remove(temp)
	}
	return err
}

func (f *Folder) sync() error {
	d, err := f.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
