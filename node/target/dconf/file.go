package dconf

import (
	"bytes"
	"context"
	"io"
	"io/fs"

	"github.com/decant-dev/decant/node/format/dconfdump"
	"github.com/decant-dev/decant/node/format/keyfile"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// dump is a file as `dconf dump /` prints it. What is not changed in it stays byte for byte.
type dump struct{ *wholefile.File }

var (
	_ target.Books = (*dump)(nil)
	_ target.Whole = (*dump)(nil)
)

func openFile(path string) (*dump, error) {
	f, err := wholefile.Open(path)
	if err != nil {
		return nil, err
	}
	d := &dump{f}
	_, _, err = d.load()
	return d, err
}

func (d *dump) Kinds() []item.Kind { return []item.Kind{item.Setting} }

func (d *dump) Profile(context.Context, item.Kind) (rule.Profile, error) { return rule.Profile{}, nil }

func (d *dump) Close() error { return nil }

// load returns the file and what it was when it was read, nil for none.
func (d *dump) load() ([]byte, fs.FileInfo, error) {
	in, err := d.File.Open()
	if err != nil || in == nil {
		return nil, nil, err
	}
	defer in.Close()
	seen, err := in.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, dconfdump.MaxSize+1))
	if err == nil && len(data) > dconfdump.MaxSize {
		err = tooLarge(d.Path())
	}
	return data, seen, err
}

func (d *dump) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Setting {
		return nil
	}
	data, _, err := d.load()
	if err != nil {
		return err
	}
	entries, _ := dconfdump.Parse(data)
	return readEach(ctx, entries, each)
}

func (d *dump) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	data, seen, err := d.load()
	if err != nil {
		return err
	}
	has, f := byPath(data), keyfile.Parse(data)
	groups := map[string]string{} // the name that a directory's group has in the file
	for _, g := range f.Groups() {
		groups[dirOf(g)] = g
	}
	steps := make([]step, len(changes))
	for i, w := range changes {
		if steps[i] = check(w, has); steps[i].err != nil {
			continue
		}
		e := steps[i].entry
		group, ok := groups[e.Dir]
		if !ok {
			if group = e.Dir; group == "" {
				group = "/"
			}
			groups[e.Dir] = group
		}
		if steps[i].reset {
			f.Delete(group, e.Key)
			continue
		}
		f.SetRaw(group, e.Key, e.Value)
	}
	after := f.Bytes()
	if !bytes.Equal(after, data) {
		if err := d.ReplaceSeen(seen, func(w io.Writer) error { _, err := w.Write(after); return err }); err != nil {
			return err
		}
	}
	has = byPath(after)
	for i, s := range steps {
		is, err := s.outcome(has)
		if err := done(i, is, err); err != nil {
			return err
		}
	}
	return nil
}

func dirOf(group string) string {
	entries, _ := dconfdump.Parse([]byte("[" + group + "]\nx=1\n"))
	if len(entries) == 1 {
		return entries[0].Dir
	}
	return group
}
