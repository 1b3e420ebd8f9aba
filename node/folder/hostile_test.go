//go:build linux || darwin

package folder

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// busy fills a session with one of everything and returns a blob's name.
func (p *pair) busy(t *testing.T) id.Blob {
	t.Helper()
	ctx := t.Context()
	name := id.NewBlob()
	want(t, p.old.Session(p.sid).Put(ctx, name, blobOf(name, wire.BlobSizeS)), wire.OK)
	want(t, p.old.Commit(ctx, p.sid, root(0, false, "root")), wire.OK)
	_, err := p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
	want(t, err, wire.OK)
	want(t, p.old.Pin(ctx, p.sid, p.young.cfg.Device, []byte("pin")), wire.OK)
	want(t, p.old.Mailbox(p.sid.Scope()).Post(ctx, p.young.cfg.Device, []byte("message")), wire.OK)
	want(t, p.young.Mailbox(p.sid.Scope()).Post(ctx, p.old.cfg.Device, []byte("message")), wire.OK)
	return name
}

// calls makes every call that reads, as devices that come anew; it returns what they were given.
func (p *pair) calls(t *testing.T, name id.Blob) (given []byte) {
	ctx := t.Context()
	for _, device := range []id.Peer{p.old.cfg.Device, p.young.cfg.Device} {
		f, err := Open(Config{Dir: p.dir, Device: device})
		if err != nil {
			continue
		}
		_, _ = f.Hello(ctx)
		if b, err := f.Session(p.sid).Get(ctx, name, nil); err == nil {
			given = append(given, b...)
		}
		_, _ = f.Session(p.sid).Has(ctx, []id.Blob{name})
		if r, err := f.GetRoot(ctx, p.sid, 0, 0); err == nil && r != nil {
			given = append(given, r.Sealed...)
		}
		if st, err := f.Status(ctx, p.sid); err == nil {
			given = append(append(given, st.Pin...), st.ReceiverCard...)
		}
		ms, ack, _ := f.Mailbox(p.sid.Scope()).Fetch(ctx, 0, 0)
		for _, m := range ms {
			given = append(given, m.Body...)
		}
		given = append(given, ack...)
		if c, err := f.Claim(ctx, p.claim(device, "card")); err == nil {
			given = append(append(given, c.Share...), c.Grant...)
		}
	}
	return given
}

// changes makes every call that writes.
func (p *pair) changes(t *testing.T, name id.Blob) {
	ctx := t.Context()
	old, err := Open(Config{Dir: p.dir, Device: p.old.cfg.Device, Create: true})
	if err != nil {
		return
	}
	_, _ = old.Open(ctx, p.offer(100))
	_ = old.Session(p.sid).Put(ctx, name, blobOf(name, wire.BlobSizeS))
	_ = old.Commit(ctx, p.sid, root(1, true, "newer root"))
	_ = old.Pin(ctx, p.sid, p.young.cfg.Device, []byte("newer pin"))
	_ = old.Mailbox(p.sid.Scope()).Post(ctx, p.young.cfg.Device, []byte("another message"))
	_ = old.Session(p.sid).Delete(ctx, name)
	_ = old.Finish(ctx, p.sid, []byte("ack"))
}

// TestHostileEntries puts things that are no files of ours in the place of each file and each directory. No call may wait for
// one, follow it, or fail in any way but with an error.
func TestHostileEntries(t *testing.T) {
	outside := quick(t)
	private := []byte("what is outside of the folder")
	secret := filepath.Join(outside, "private")
	if err := os.WriteFile(secret, frame(kindRoot, rootParts(root(0, false, string(private)))...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, thing := range []struct {
		name string
		make func(path string) error
	}{
		{"link to a file outside", func(path string) error { return os.Symlink(secret, path) }},
		{"link to a directory outside", func(path string) error { return os.Symlink(outside, path) }},
		{"link to itself", func(path string) error { return os.Symlink(filepath.Base(path), path) }},
		{"pipe", func(path string) error { return unix.Mkfifo(path, 0o666) }},
		{"socket", func(path string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			short := filepath.Join(outside, "s") // a socket's path must be short
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: short}); err != nil {
				return err
			}
			return os.Rename(short, path)
		}},
		{"device", func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, 1<<8|5) }}, // zeros without end
		{"empty file", func(path string) error { return os.WriteFile(path, nil, 0o666) }},
		{"directory", func(path string) error { return os.Mkdir(path, 0o777) }},
		{"endless file", func(path string) error {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				return err
			}
			return os.Truncate(path, 1<<40)
		}},
	} {
		t.Run(thing.name, func(t *testing.T) {
			p := newPair(t, quick(t), 100)
			name := p.busy(t)
			places := append(files(t, p.dir), "decant", "decant/1", "decant/1/tickets", "decant/1/tmp")
			for _, dir := range []string{"", blobsDir, rootsDir, pinsDir, claimsDir, mailDir, tempDir} {
				places = append(places, filepath.Join("decant/1", p.sid.String(), dir))
			}
			for _, place := range places {
				p.withInstead(t, place, thing.make, func() {
					if given := p.calls(t, name); bytes.Contains(given, private) {
						t.Errorf("at %s: something outside was read", place)
					}
					p.changes(t, name)
				})
			}
			if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
				t.Errorf("outside: %v, %v", left, err)
			}
		})
	}
}

// withInstead runs fn while something else is at a place, and then brings back a folder as it was.
func (p *pair) withInstead(t *testing.T, place string, thing func(string) error, fn func()) {
	t.Helper()
	kept := filepath.Join(quick(t), "kept")
	if err := os.CopyFS(kept, os.DirFS(p.dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(p.dir, filepath.FromSlash(place))
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := thing(path); errors.Is(err, syscall.EPERM) {
		t.Skip("making it needs root")
	} else if err != nil {
		t.Fatal(err)
	}
	fn()
	if err := os.RemoveAll(filepath.Join(p.dir, topName)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(p.dir, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
}

// TestLinkInside: a link that stays in the person's directory is not followed either, or the end of a session would remove
// files of another directory.
func TestLinkInside(t *testing.T) {
	p := newPair(t, t.TempDir(), 100)
	p.busy(t)
	photos := filepath.Join(p.dir, "photos")
	if err := os.Rename(filepath.Dir(p.path(offerName)), photos); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../photos", filepath.Dir(p.path(offerName))); err != nil {
		t.Fatal(err)
	}
	want(t, p.old.Finish(t.Context(), p.sid, []byte("ack")), wire.NotFound)
	if left, err := os.ReadDir(filepath.Join(photos, blobsDir)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestLinkBeside: a link from one blob to another is no blob.
func TestLinkBeside(t *testing.T) {
	p := newPair(t, t.TempDir(), 100)
	name, link := p.busy(t), id.NewBlob()
	if err := os.Symlink(name.String(), p.path(blobsDir+"/"+link.String())); err != nil {
		t.Fatal(err)
	}
	_, err := p.young.Session(p.sid).Get(t.Context(), link, nil)
	want(t, err, wire.NotFound)
	if has, err := p.young.Session(p.sid).Has(t.Context(), []id.Blob{link}); err != nil || has[0] {
		t.Error(has, err)
	}
	want(t, p.old.Session(p.sid).Put(t.Context(), link, blobOf(link, wire.BlobSizeS)), wire.OK) // takes the link's place
	for _, n := range []id.Blob{name, link} {
		if b, err := p.young.Session(p.sid).Get(t.Context(), n, nil); err != nil || !bytes.Equal(b, blobOf(n, wire.BlobSizeS)) {
			t.Error(err)
		}
	}
}

// TestRaces changes files into links, pipes and directories and back while calls read and write them. Run for the escapes and
// hangs that a check before a use leaves open.
func TestRaces(t *testing.T) {
	p := newPair(t, t.TempDir(), 100)
	name := p.busy(t)
	outside := filepath.Join(t.TempDir(), "outside")
	private := []byte("what is outside of the folder")
	for _, dir := range []string{blobsDir, rootsDir, mailDir, tempDir} {
		if err := os.MkdirAll(filepath.Join(outside, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	blob := bytes.Repeat(private, wire.BlobSizeS/len(private)+1)[:wire.BlobSizeS]
	if err := os.WriteFile(filepath.Join(outside, blobsDir, name.String()), blob, 0o666); err != nil {
		t.Fatal(err)
	}
	before := files(t, outside)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		session := filepath.Dir(p.path(offerName))
		for i := range 300 {
			swap(filepath.Join(session, []string{blobsDir, rootsDir, mailDir, tempDir}[i%4]), filepath.Join(outside, blobsDir))
			swap(filepath.Join(session, blobsDir, name.String()), filepath.Join(outside, blobsDir, name.String()))
			swap(session, outside)
		}
	})
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if bytes.Contains(p.calls(t, name), private) {
					t.Error("something outside was read")
				}
				_ = p.old.Session(p.sid).Put(t.Context(), id.NewBlob(), blobOf(name, wire.BlobSizeS))
				_ = p.old.Commit(t.Context(), p.sid, root(uint64(i)+1, false, "root"))
				_ = p.old.Mailbox(p.sid.Scope()).Post(t.Context(), p.young.cfg.Device, []byte("message"))
			}
		})
	}
	wg.Wait()
	if after := files(t, outside); len(after) != len(before) {
		t.Errorf("outside: %q, before %q", after, before)
	}
}

// swap puts a link and then a pipe in the place of what is at path, and that back.
func swap(path, target string) {
	aside := path + ".aside"
	for _, thing := range []func() error{
		func() error { return os.Symlink(target, path) },
		func() error { return unix.Mkfifo(path, 0o666) },
	} {
		if os.Rename(path, aside) != nil {
			continue
		}
		_ = thing()
		os.Remove(path)
		if err := os.Rename(aside, path); err != nil { // a call has made it anew
			os.RemoveAll(path)
			os.Rename(aside, path)
		}
	}
}

// crowd makes a directory of so many empty files.
func crowd(t *testing.T, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%032x", i)))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// TestCrowded fills each directory with entries: it is refused, and not read to its end.
func TestCrowded(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, quick(t), 100)
	name := p.busy(t)
	crowded, aside := filepath.Join(p.dir, "crowded"), filepath.Join(p.dir, "aside")
	crowd(t, crowded, 2*maxEntries+1)
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir  string
		call func() error
	}{
		{rootsDir, func() error { _, err := p.young.GetRoot(ctx, p.sid, 0, 0); return err }},
		{rootsDir, func() error { return p.old.Commit(ctx, p.sid, root(9, true, "root")) }},
		{pinsDir, func() error { _, err := p.old.Status(ctx, p.sid); return err }},
		{pinsDir, func() error { return p.old.Pin(ctx, p.sid, newPeer(), nil) }},
		{mailDir, func() error { _, _, err := p.young.Mailbox(p.sid.Scope()).Fetch(ctx, 0, 0); return err }},
		{mailDir, func() error { return p.old.Mailbox(p.sid.Scope()).Post(ctx, p.young.cfg.Device, nil) }},
	} {
		move(p.path(c.dir), aside)
		move(crowded, p.path(c.dir))
		if err := c.call(); !errors.Is(err, wire.QuotaCount) {
			t.Errorf("%s: %v", c.dir, err)
		}
		move(p.path(c.dir), crowded)
		move(aside, p.path(c.dir))
	}
	for _, dir := range []string{tempDir, blobsDir} { // nobody needs the names in these
		move(p.path(dir), aside)
		move(crowded, p.path(dir))
		again, another := openT(t, p.dir, p.old.cfg.Device, true), id.NewBlob()
		want(t, again.Session(p.sid).Put(ctx, another, blobOf(another, wire.BlobSizeS)), wire.OK)
		move(p.path(dir), crowded)
		move(aside, p.path(dir))
	}
	if b, err := p.young.Session(p.sid).Get(ctx, name, nil); err != nil || len(b) != wire.BlobSizeS {
		t.Errorf("a blob: %v", err)
	}
	if err := os.RemoveAll(p.path(mailDir)); err != nil {
		t.Fatal(err)
	}
	move(crowded, p.path(mailDir))
	want(t, p.old.Finish(ctx, p.sid, []byte("ack")), wire.OK)
	if left := files(t, p.dir); len(left) != 3 {
		t.Errorf("%d files are left", len(left))
	}
}

// TestFullMailbox: a receiver that never comes leaves a sender with a bounded number of messages.
func TestFullMailbox(t *testing.T) {
	p := newPair(t, quick(t), 100)
	crowd(t, p.path(mailDir), maxEntries)
	want(t, p.old.Mailbox(p.sid.Scope()).Post(t.Context(), p.young.cfg.Device, nil), wire.QuotaCount)
}

// TestManyClaims: strangers that write claims have none of them believed, and too many are refused.
func TestManyClaims(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	for i := range maxClaims {
		var peer id.Peer
		peer[31] = byte(i)
		c := claim{peer: peer, signature: make([]byte, 64), card: []byte("card")}
		if err := os.WriteFile(p.path(fmt.Sprintf("%s/%x", claimsDir, peer[:])), frame(kindClaim, c.parts()...), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	st, err := p.old.Status(ctx, p.sid)
	if err != nil || !st.Receiver.IsZero() {
		t.Errorf("%+v %v", st, err)
	}
	_, err = p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
	want(t, err, wire.QuotaCount)
	want(t, p.old.Pin(ctx, p.sid, p.young.cfg.Device, nil), wire.OK) // the sender decides all the same
	_, err = p.young.Claim(ctx, remote.Claim{Session: p.sid})
	want(t, err, wire.OK)
}
