package wifi

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/decant-dev/decant/node/format/wifiqr"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/network"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// maxFile is the largest file that is taken for a network, in bytes.
const maxFile = 4 << 20

// style is how one file of a directory holds one network.
type style struct {
	form      string
	extension string
	read      func(name string, file []byte) (item.Record, bool)
	write     func(r item.Record) (file []byte, why string)
}

var connection = style{form: network.Keyfile, extension: network.Extension,
	read: func(name string, file []byte) (item.Record, bool) {
		return network.Record(name, file), network.Parse(file).Type() != ""
	},
	write: func(r item.Record) ([]byte, string) { return r.Data, "" },
}

var picture = style{form: network.QR, extension: ".png",
	read: func(_ string, file []byte) (item.Record, bool) {
		c, err := wifiqr.FromPNG(file)
		if err != nil {
			return item.Record{}, false
		}
		r, _, ok := network.FromCode(c, "")
		return r, ok
	},
	write: func(r item.Record) ([]byte, string) {
		c, why := network.ToCode(r.Data)
		if why != "" {
			return nil, why
		}
		b, err := c.PNG()
		if err != nil {
			return nil, "it is too long for a QR code"
		}
		return b, ""
	},
}

// directory is a directory of files that hold one network each. A record's ID is its file's name.
type directory struct {
	style
	root *os.Root
	only string // the one name that it may have; "" is any
}

var _ target.Books = (*directory)(nil)

func openDir(dir string, s style) (*directory, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &directory{style: s, root: root}, nil
}

// openPicture opens the directory of one picture.
func openPicture(path string) (*directory, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return &directory{style: picture, root: root, only: filepath.Base(path)}, nil
}

func (d *directory) Kinds() []item.Kind { return kinds }

func (d *directory) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return profileOf(d.form), nil
}

func (d *directory) Close() error { return d.root.Close() }

func (d *directory) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Network {
		return nil
	}
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || d.only != "" && e.Name() != d.only {
			continue
		}
		now, ok, err := d.get(e.Name())
		if err != nil {
			return err
		}
		if ok {
			if err := each(now); err != nil {
				return err
			}
		}
	}
	return nil
}

// get reads one file. ok is false if it holds no network.
func (d *directory) get(name string) (now target.Existing, ok bool, err error) {
	file, err := d.file(name)
	if err != nil || len(file) > maxFile {
		return now, false, err
	}
	r, ok := d.read(name, file)
	r.From = filepath.Join(d.root.Name(), name)
	now = existing(name, r)
	now.Version = version(file)
	return now, ok, nil
}

func (d *directory) file(name string) ([]byte, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (d *directory) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	for i, w := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, err := d.one(w)
		if err == nil {
			err = d.sync()
		}
		if err != nil {
			now = target.Existing{}
		}
		if err := done(i, now, err); err != nil {
			return err
		}
	}
	return nil
}

// one carries out one change.
func (d *directory) one(w target.Write) (target.Existing, error) {
	if w.ID == "" {
		return d.create(w)
	}
	if w.ID != filepath.Base(w.ID) || !filepath.IsLocal(w.ID) {
		return target.Existing{}, refused("no such file")
	}
	was, err := d.file(w.ID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && version(was) != w.Version {
		return target.Existing{}, target.ErrEdited
	}
	if err != nil {
		return target.Existing{}, err
	}
	if w.Record.Data == nil {
		return target.Existing{}, d.root.Remove(w.ID)
	}
	file, why := d.write(w.Record)
	if why != "" {
		return target.Existing{}, refused("%s", why)
	}
	info, err := d.root.Stat(w.ID)
	if err != nil {
		return target.Existing{}, err
	}
	if err := d.place(w.ID, file, info.Mode().Perm()); err != nil {
		return target.Existing{}, err
	}
	now, _, err := d.get(w.ID)
	return now, err
}

// create writes a new file. If the names that it may have are taken by others, it is refused.
func (d *directory) create(w target.Write) (target.Existing, error) {
	file, why := d.write(w.Record)
	if why != "" {
		return target.Existing{}, refused("%s", why)
	}
	for _, name := range d.names(w) {
		was, err := d.file(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := d.place(name, file, 0o600); err != nil {
				return target.Existing{}, err
			}
		case err != nil || !bytes.Equal(was, file):
			continue
		}
		now, _, err := d.get(name)
		return now, err
	}
	if d.only != "" {
		return target.Existing{}, refused("%s holds one network and has another; name a directory (DIR/*.png) for more", d.only)
	}
	return target.Existing{}, refused("another file has its name")
}

// names returns the names that a new record's file may have, the best first.
func (d *directory) names(w target.Write) []string {
	if d.only != "" {
		return []string{d.only}
	}
	name := filepath.Base(filepath.FromSlash(w.Record.Path))
	if w.Record.Path == "" || !filepath.IsLocal(name) || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 }) {
		name = network.FileName(network.Parse(w.Record.Data))
	}
	stem := strings.TrimSuffix(name, network.Extension)
	out := []string{stem + d.extension}
	if w.Key != "" {
		out = append(out, stem+"-"+w.Key+d.extension)
	}
	return out
}

// place puts a file there, whole or not at all.
func (d *directory) place(name string, file []byte, mode fs.FileMode) (err error) {
	temp := ".decant-" + rand.Text() + ".tmp"
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			d.root.Remove(temp)
		}
	}()
	if _, err := f.Write(file); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil && mode != 0o600 {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return d.root.Rename(temp, name)
}

func (d *directory) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return nil
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
