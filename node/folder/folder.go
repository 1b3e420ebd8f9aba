// Package folder is the folder route: it carries a session's sealed packs, roots and messages through a directory, which
// may be a stick, a network share or a folder that some program keeps in step with another machine (docs/SPEC.md section 11).
// A Session of it is a blob store, a Mailbox of it a mailbox; both carry opaque bytes, and nothing here can decrypt any.
//
// Nobody decides between the devices, so nothing needs deciding: each file has one writer, appears whole under its final name
// or not at all, and never changes (but for a claim, by its device); what is newer has another name. A file that is half
// there, misnamed or no regular file is not there. That holds for files that come late or from a program that copies them,
// and for hostile ones: names that are not exactly ours are passed over, sizes are checked before a byte is read, directories
// with too many entries are refused, links are not followed. What the bytes are worth is for seals and signatures to say, as
// with a server.
//
// Errors hold a wire.Status where the server would refuse with one. What the file system itself refuses comes as its own
// error; trying again later may help.
package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

var (
	// ErrAway reports that the folder is not where it was: a stick that was pulled out, a share that is not mounted. It
	// holds no status; once the folder is back the same call works.
	ErrAway = errors.New("the folder is not there")

	// ErrDenied reports that permissions, or a lock against writing, don't let this device do what it wants in the folder. It
	// is also a wire.Forbidden.
	ErrDenied = errors.New("the folder does not allow it")
)

// The names at the top of a person's directory (SPEC 11.1).
const (
	topName     = "decant"
	versionName = "1"
	markName    = "mark"
	ticketsDir  = "tickets" // locator → session
)

// Limits of a folder.
const (
	maxEntries  = 4096                // files or directories that we put into one directory
	maxBlobs    = 1 << 19             // of a session: 2 TiB in class L
	maxExpiry   = 30 * 24 * time.Hour // what longer ones are cut to
	usualExpiry = 14 * 24 * time.Hour // of a sender that names none
	reserve     = 8 << 20             // bytes that blobs leave free, so that roots, messages and the end find room
)

// Config configures Open. Dir and Device are required.
type Config struct {
	Dir    string  // what the person named; it must be there. Everything of ours lies in Dir/decant
	Device id.Peer // this device. No two processes of one device may use a folder at once
	Create bool    // make Dir/decant if it is not there, as a sender does
}

// Folder is a directory as a device sees it. It is safe for concurrent use. It holds nothing open between calls: a stick may
// be pulled out and put back.
type Folder struct {
	cfg   Config
	seen  atomic.Bool // Dir/decant was there once
	sweep sync.Once   // of files that an earlier process left in the top directory

	mu       sync.Mutex // guards sessions
	sessions map[id.Session]*Session
}

// Open opens a folder. Without Create, Dir/decant need not be there yet: until it is, every session is wire.NotFound.
// A directory that does not exist is ErrAway, one in which Create can't make what it needs ErrDenied.
func Open(cfg Config) (*Folder, error) {
	if cfg.Dir == "" || cfg.Device.IsZero() {
		return nil, errors.New("folder: no directory or no device")
	}
	dir, err := filepath.Abs(cfg.Dir) // it is opened anew by every call
	if err != nil {
		return nil, fail("open folder", err)
	}
	cfg.Dir = dir
	f := &Folder{cfg: cfg, sessions: map[id.Session]*Session{}}
	if cfg.Create {
		if err := f.create(); err != nil {
			return nil, fail("open folder", err)
		}
	}
	p, err := f.tree()
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fail("open folder", err)
	}
	return f, p.Close()
}

// create makes what every folder has, and the mark by which the same folder is known again.
func (f *Folder) create() error {
	p, err := f.descend(true)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.ensure(ticketsDir, tempDir); err != nil {
		return err
	}
	if mark, err := p.read(markName, kindMark); err != nil || mark != nil {
		return err
	}
	mark := make([]byte, id.Size)
	rand.Read(mark)
	return p.create(markName, frame(kindMark, mark))
}

// base opens the person's directory. The dot makes the system insist on a directory: a pipe would be waited for.
func (f *Folder) base() (*os.Root, error) {
	r, err := os.OpenRoot(f.cfg.Dir + string(filepath.Separator) + ".")
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %v", ErrAway, err)
	}
	return r, err
}

// tree opens the directory of this version. It is fs.ErrNotExist while there has been none, and ErrAway when there was one.
func (f *Folder) tree() (*place, error) {
	p, err := f.descend(false)
	if errors.Is(err, fs.ErrNotExist) && f.seen.Load() {
		return nil, ErrAway
	}
	if err == nil {
		f.seen.Store(true)
	}
	return p, err
}

// descend opens the directory of this version, one step after the other.
func (f *Folder) descend(create bool) (*place, error) {
	r, err := f.base()
	if err != nil {
		return nil, err
	}
	for _, name := range [...]string{topName, versionName} {
		p := &place{Root: r}
		var next *os.Root
		if create {
			err = p.ensure(name)
		}
		if err == nil {
			next, err = step(r, name)
		}
		r.Close()
		if err != nil {
			return nil, err
		}
		r = next
	}
	return &place{Root: r, device: f.cfg.Device, sweep: &f.sweep}, nil
}

// Hello tells what a folder has to say of itself. Incarnation is drawn when the folder is created: another folder under the
// same name has another; it is zero while there is none. Time is this device's own. A folder that only a later version of the
// format has used is wire.Version1.
func (f *Folder) Hello(ctx context.Context) (*remote.Hello, error) {
	h, err := f.hello(ctx)
	return h, fail("hello", err)
}

func (f *Folder) hello(ctx context.Context) (*remote.Hello, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := f.tree()
	if errors.Is(err, fs.ErrNotExist) {
		return f.fresh()
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	mark, err := p.read(markName, kindMark)
	if err != nil {
		return nil, err
	}
	return f.greeting(mark)
}

// greeting is the answer of a folder with that mark.
func (f *Folder) greeting(mark []byte) (*remote.Hello, error) {
	free, err := freeBytes(f.cfg.Dir)
	h := &remote.Hello{Version: wire.Version, Time: time.Now(), MaxSessionBytes: maxBlobs * wire.BlobSizeL, MaxExpiry: maxExpiry,
		FreeBytes: free - min(free, reserve)}
	copy(h.Incarnation[:], mark)
	return h, err
}

// fresh is the answer of a folder that Decant has not used, unless another version of it has.
func (f *Folder) fresh() (*remote.Hello, error) {
	r, err := f.base()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p := &place{Root: r}
	names, err := p.list(topName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(names) > 0 {
		return nil, wire.Version1
	}
	return f.greeting(nil)
}

// Session returns the blob store of sid. It does no I/O.
func (f *Folder) Session(sid id.Session) *Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sessions[sid]
	if s == nil {
		s = &Session{f: f, sid: sid, settled: map[string]bool{}}
		s.box = Mailbox{s: s, numbers: map[string]uint64{}}
		f.sessions[sid] = s
	}
	return s
}

// Mailbox returns the mailbox of a session's scope. It does no I/O.
func (f *Folder) Mailbox(scope id.Scope) *Mailbox { return &f.Session(id.Session(scope)).box }

// Close ends the use of the folder. There is nothing to be closed.
func (f *Folder) Close() error { return nil }

// isDenied reports whether the file system refused because of who asks, or for everyone.
func isDenied(err error) bool { return errors.Is(err, fs.ErrPermission) || isReadOnly(err) }

// fail turns what went wrong below into the error of a call.
func fail(op string, err error) error {
	var status wire.Status
	var refusal *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return err
	case errors.As(err, &status):
		return wire.Fail(status, op)
	case isDenied(err):
		return fmt.Errorf("%w: %w", ErrDenied, wire.Fail(wire.Forbidden, op))
	case isNoSpace(err):
		return wire.Fail(wire.NoSpace, op)
	case isQuota(err):
		return wire.Fail(wire.QuotaSpace, op)
	case isGone(err), errors.Is(err, fs.ErrNotExist): // what may be missing has its status by now: its place was taken away
		return fmt.Errorf("%w: %s: %w", ErrAway, op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}
