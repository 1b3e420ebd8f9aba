package folder

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// place is a directory of ours, open. What is below it is reached through an os.Root, so no name and no link leads out of it.
type place struct {
	*os.Root
	device id.Peer
	sweep  *sync.Once // of the temporary files that an earlier process of this device left here
}

// tempDir holds files that are being written. They begin with the writer's tag, so that it can tidy up after a crash.
const tempDir = "tmp"

// step opens a directory in r, which must be one itself: a link to one does not count. The caller closes it.
func step(r *os.Root, name string) (*os.Root, error) {
	before, err := r.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() {
		return nil, fs.ErrNotExist
	}
	sub, err := r.OpenRoot(name + "/.") // the dot: a pipe that has just come in its place would be waited for
	if err != nil {
		return nil, err
	}
	if after, err := sub.Stat("."); err != nil || !os.SameFile(before, after) {
		sub.Close()
		return nil, errChanged
	}
	return sub, nil
}

var errChanged = errors.New("a directory changed while it was opened")

// ensure makes directories and those above them, durably.
func (p *place) ensure(dirs ...string) error {
	changed := map[string]bool{}
	for _, dir := range dirs {
		if err := p.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		for dir != "." {
			dir = path.Dir(dir)
			changed[dir] = true
		}
	}
	for dir := range changed {
		if err := p.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the entries of a directory durable, where the file system has a way to say so.
func (p *place) syncDir(dir string) error {
	if !syncsDirs {
		return nil
	}
	d, err := p.Root.Open(dir + "/.")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); !isUnsupported(err) {
		return err
	}
	return nil
}

// list returns the names in a directory, in no order. More than twice the entries that belong there are wire.QuotaCount: half
// of them are somebody else's.
func (p *place) list(dir string) ([]string, error) {
	d, err := p.Root.Open(dir + "/.")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(2*maxEntries + 1)
	if err == io.EOF {
		err = nil
	}
	if err == nil && len(names) > 2*maxEntries {
		err = wire.QuotaCount
	}
	return names, err
}

// open opens a regular file and tells its size. Anything else of that name is fs.ErrNotExist.
func (p *place) open(name string) (*os.File, int64, error) {
	before, err := p.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !before.Mode().IsRegular() {
		return nil, 0, fs.ErrNotExist
	}
	f, err := p.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, 0, err
	}
	now, err := f.Stat()
	if err == nil && !now.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, now.Size(), nil
}

// holds reports whether a file of the length of data is there with the same bytes, durably. Other bytes are wire.Conflict, a
// file of another length is half of one and does not count.
func (p *place) holds(name string, data []byte) (bool, error) {
	f, size, err := p.open(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && size != int64(len(data)) {
		if f != nil {
			f.Close()
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	same, err := equal(f, data)
	if err == nil && !same {
		err = wire.Conflict
	}
	if err != nil {
		return false, err
	}
	return true, p.syncDir(path.Dir(name)) // whoever wrote it may not have come to this
}

func equal(r io.Reader, data []byte) (bool, error) {
	part := make([]byte, min(len(data), 64<<10))
	for len(data) > 0 {
		part = part[:min(len(part), len(data))]
		if _, err := io.ReadFull(r, part); err != nil {
			return false, err
		}
		if !bytes.Equal(part, data[:len(part)]) {
			return false, nil
		}
		data = data[len(part):]
	}
	return true, nil
}

// create makes a file whole or not at all, and durably. What has its name is replaced.
func (p *place) create(name string, data []byte) error {
	temp, err := p.stage(data)
	if err != nil {
		return err
	}
	if err := p.settle(temp, name); err != nil {
		return err
	}
	return p.confirm(name)
}

// stage writes data to a temporary file and syncs that.
func (p *place) stage(data []byte) (temp string, err error) {
	p.sweep.Do(p.tidy)
	random := make([]byte, 8)
	rand.Read(random)
	temp = tempDir + "/" + p.tag() + hex.EncodeToString(random)
	f, err := p.createTemp(temp)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		p.Remove(temp)
		return "", err
	}
	return temp, nil
}

func (p *place) createTemp(temp string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := p.OpenFile(temp, flags, 0o666)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := p.ensure(tempDir); err != nil { // whoever brought the folder here left out empty directories
		return nil, err
	}
	return p.OpenFile(temp, flags, 0o666)
}

// settle gives a staged file its name. On error it is gone.
func (p *place) settle(temp, name string) error {
	err := p.Rename(temp, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = p.ensure(path.Dir(name)); err == nil {
			err = p.Rename(temp, name)
		}
	}
	if err != nil {
		p.Remove(temp)
	}
	return err
}

// confirm makes a name that settle gave durable. If that can't be, the name is taken away: what was refused is not there.
func (p *place) confirm(name string) error {
	err := p.syncDir(path.Dir(name))
	if err != nil {
		p.Remove(name)
	}
	return err
}

// tidy removes what this device's earlier processes have left half-written. What can't be removed harms nobody.
func (p *place) tidy() {
	names, _ := p.list(tempDir)
	for _, name := range names {
		if strings.HasPrefix(name, p.tag()) {
			p.Remove(tempDir + "/" + name)
		}
	}
}

// tag begins the names of this device's temporary files.
func (p *place) tag() string { return hex.EncodeToString(p.device[:8]) }

// remove removes a file. One that is not there is no error.
func (p *place) remove(name string) error {
	if err := p.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
