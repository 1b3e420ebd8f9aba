package folder

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/contract"
)

// mount mounts a file system of our own on a fresh directory.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() != 0 || unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size) != nil {
		t.Skip("mounting a file system needs root")
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// stick mounts a file system that sticks have, and Linux too where a program brings it.
func stick(t *testing.T, format, attach []string) string {
	t.Helper()
	for _, program := range []string{format[0], attach[0], "losetup", "umount"} {
		if _, err := exec.LookPath(program); err != nil || os.Getuid() != 0 {
			t.Skipf("needs root and %s", program)
		}
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	loop, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		t.Skipf("no loop device: %v", err)
	}
	device, at := strings.TrimSpace(string(loop)), filepath.Join(dir, "stick")
	defer exec.Command("losetup", "--detach", device).Run() // when nobody uses it any more
	if err := os.Mkdir(at, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{append(format, device), append(attach, device, at)} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%q: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return at
}

// TestSticks runs the contract and a whole session on file systems without links, owners or, as to letters, cases.
func TestSticks(t *testing.T) {
	for name, args := range map[string][2][]string{
		"exfat": {{"mkfs.exfat"}, {"mount.exfat-fuse"}},
		"ntfs":  {{"mkfs.ntfs", "--quick", "--force"}, {"ntfs-3g"}},
	} {
		t.Run(name, func(t *testing.T) {
			at := stick(t, args[0], args[1])
			journey(t, fresh(t, at))
			contract.BlobStore(t, func(t *testing.T) contract.Store {
				p := newPair(t, fresh(t, at), 100)
				return p.old.Session(p.sid)
			})
		})
	}
}

// fresh makes a directory in dir.
func fresh(t *testing.T, dir string) string {
	t.Helper()
	out, err := os.MkdirTemp(dir, "folder")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestR6Full fills a file system: blobs are refused with room left for all that ends the session well, nothing half is there,
// and the end gives the room back.
func TestR6Full(t *testing.T) {
	ctx := t.Context()
	dir := mount(t, "16m")
	p := newPair(t, dir, 20)
	_, err := p.old.Open(ctx, remote.Offer{Session: id.NewSession(), Class: wire.ClassL, Blobs: 10})
	want(t, err, wire.NoSpace)
	hello, err := p.old.Hello(ctx)
	if err != nil || hello.FreeBytes > 16<<20-reserve || hello.FreeBytes < 7<<20 {
		t.Fatalf("%d bytes free, %v", hello.FreeBytes, err)
	}
	_, err = p.old.Open(ctx, remote.Offer{Session: id.NewSession(), Class: wire.ClassS, Blobs: hello.FreeBytes / wire.BlobSizeS})
	want(t, err, wire.OK) // what was told can be had
	var names []id.Blob
	for err == nil {
		name := id.NewBlob()
		if err = p.old.Session(p.sid).Put(ctx, name, blobOf(name, wire.BlobSizeS)); err == nil {
			names = append(names, name)
		}
	}
	want(t, err, wire.NoSpace)
	if len(names) < 24 {
		t.Errorf("%d blobs fit", len(names))
	}
	want(t, p.old.Commit(ctx, p.sid, root(1, true, string(make([]byte, wire.MaxRoot)))), wire.OK)
	want(t, p.young.Mailbox(p.sid.Scope()).Post(ctx, p.old.cfg.Device, make([]byte, wire.MaxBody)), wire.OK)

	// Somebody else takes what was left.
	if err := os.WriteFile(filepath.Join(dir, "film"), make([]byte, 16<<20), 0o666); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	want(t, p.old.Commit(ctx, p.sid, root(2, true, "newer")), wire.NoSpace)
	want(t, p.old.Session(p.sid).Put(ctx, id.NewBlob(), make([]byte, wire.BlobSizeS)), wire.NoSpace)
	if left, err := os.ReadDir(p.path(tempDir)); err != nil || len(left) != 0 {
		t.Errorf("half-written: %v, %v", left, err)
	}
	if r, err := p.young.GetRoot(ctx, p.sid, 0, 0); err != nil || r.Epoch != 1 {
		t.Errorf("%+v %v", r, err)
	}
	want(t, p.old.Session(p.sid).Delete(ctx, names[0]), wire.OK) // deleting works without room
	want(t, p.old.Commit(ctx, p.sid, root(2, true, "newer")), wire.OK)
	want(t, p.old.Finish(ctx, p.sid, []byte("ack")), wire.OK)
	if left := files(t, filepath.Join(dir, topName)); len(left) != 4 { // and the offer of the other session
		t.Errorf("left over: %q", left)
	}
}

// TestReadOnly: a device that can't write receives all the same, and only its claim and its receipt are refused.
func TestReadOnly(t *testing.T) {
	ctx := t.Context()
	dir := mount(t, "16m")
	p := newPair(t, dir, 20)
	name := id.NewBlob()
	want(t, p.old.Session(p.sid).Put(ctx, name, blobOf(name, wire.BlobSizeS)), wire.OK)
	want(t, p.old.Commit(ctx, p.sid, root(1, true, "root")), wire.OK)
	want(t, p.old.Mailbox(p.sid.Scope()).Post(ctx, p.young.cfg.Device, []byte("message")), wire.OK)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	young := openT(t, dir, p.young.cfg.Device, false)
	if _, err := young.Hello(ctx); err != nil {
		t.Error(err)
	}
	out, err := young.Claim(ctx, p.claim(young.cfg.Device, "card"))
	if !errors.Is(err, wire.Forbidden) || !errors.Is(err, ErrDenied) {
		t.Fatalf("claim: %v", err)
	}
	if out == nil || !bytes.Equal(out.Share, p.ticket.Share[:]) || out.Session != p.sid {
		t.Fatalf("claim: %+v", out)
	}
	if r, err := young.GetRoot(ctx, p.sid, 1, 0); err != nil || r == nil {
		t.Errorf("root: %v", err)
	}
	if st, err := young.Status(ctx, p.sid); err != nil || st.State != remote.Sealed {
		t.Errorf("status: %+v %v", st, err)
	}
	if b, err := young.Session(p.sid).Get(ctx, name, nil); err != nil || !bytes.Equal(b, blobOf(name, wire.BlobSizeS)) {
		t.Errorf("get: %v", err)
	}
	if has, err := young.Session(p.sid).Has(ctx, []id.Blob{name}); err != nil || !has[0] {
		t.Errorf("has: %v", err)
	}
	box := young.Mailbox(p.sid.Scope())
	ms, _, err := box.Fetch(ctx, 0, 0)
	if err != nil || len(ms) != 1 {
		t.Fatalf("fetch: %v %v", ms, err)
	}
	want(t, box.Ack(ctx, ms[0].Sequence), wire.OK)
	if ms, _, err := box.Fetch(ctx, 0, 0); err != nil || len(ms) != 0 {
		t.Errorf("acknowledged and shown again: %v %v", ms, err)
	}
	want(t, box.Post(ctx, p.old.cfg.Device, []byte("receipt")), wire.Forbidden)
	want(t, p.old.Session(p.sid).Put(ctx, id.NewBlob(), make([]byte, wire.BlobSizeS)), wire.Forbidden)
	_, err = openT(t, dir, newPeer(), true).Open(ctx, remote.Offer{Session: id.NewSession(), Class: wire.ClassS, Blobs: 1})
	want(t, err, wire.Forbidden)
}

// TestAway pulls the stick out: calls say so, write nothing into the directory that is left where it was, and go on when it
// is back.
func TestAway(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "stick")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	p := newPair(t, dir, 20)
	name := id.NewBlob()
	blob := blobOf(name, wire.BlobSizeS)
	want(t, p.old.Session(p.sid).Put(ctx, name, blob), wire.OK)
	if _, err := p.young.Hello(ctx); err != nil {
		t.Fatal(err)
	}
	away := dir + ".away"
	for _, mountPointStays := range []bool{false, true} {
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		if mountPointStays {
			if err := os.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		_, get := p.young.Session(p.sid).Get(ctx, name, nil)
		_, hello := p.young.Hello(ctx)
		_, root1 := p.young.GetRoot(ctx, p.sid, 0, 0)
		for what, err := range map[string]error{"get": get, "hello": hello, "root": root1, "put": p.old.Session(p.sid).Put(ctx, id.NewBlob(), blob),
			"commit": p.old.Commit(ctx, p.sid, root(0, false, "x"))} {
			if !errors.Is(err, ErrAway) || wire.StatusOf(err) != wire.Internal {
				t.Errorf("%s: %v", what, err)
			}
		}
		if mountPointStays {
			if err := os.Remove(dir); err != nil { // fails unless it is empty
				t.Fatal(err)
			}
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		if b, err := p.young.Session(p.sid).Get(ctx, name, nil); err != nil || !bytes.Equal(b, blob) {
			t.Fatal(err)
		}
	}
	if _, err := Open(Config{Dir: away, Device: newPeer()}); !errors.Is(err, ErrAway) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// TestR4Order watches the system calls of a sender: each file is synced before it gets its name, and the directory after, and
// only then is anyone told.
func TestR4Order(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace")
	}
	dir, sid, sender := t.TempDir(), id.NewSession(), newPeer()
	log := filepath.Join(t.TempDir(), "calls")
	cmd := exec.Command(strace, "-f", "-y", "-o", log, "-e", "trace=fsync,renameat,renameat2,write", os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %x 3", helperEnv, dir, sid, sender[:]))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("strace can't trace here: %v\n%s", err, out)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	checkOrder(t, string(calls))
}

var (
	syncCall   = regexp.MustCompile(`fsync\(\d+<([^>]*)>`)
	renameCall = regexp.MustCompile(`renameat2?\(\d+<([^>]*)>, "([^"]*)", \d+<([^>]*)>, "([^"]*)"`)
	toldCall   = regexp.MustCompile(`write\(1<[^>]*>, "(blob|message) `)
)

// checkOrder reads a trace. A call that another thread interrupts is written in two lines, of which the first says what it was.
func checkOrder(t *testing.T, calls string) {
	t.Helper()
	synced := map[string]bool{}
	pending := map[string]bool{} // directories with names that are not durable
	renames, told := 0, 0
	for line := range strings.SplitSeq(calls, "\n") {
		if m := syncCall.FindStringSubmatch(line); m != nil {
			synced[m[1]] = true
			delete(pending, m[1])
		}
		if m := renameCall.FindStringSubmatch(line); m != nil {
			renames++
			if !synced[filepath.Join(m[1], m[2])] {
				t.Errorf("named before it was synced: %s", line)
			}
			pending[filepath.Clean(m[3])] = true
		}
		if toldCall.MatchString(line) {
			told++
			if len(pending) > 0 {
				t.Errorf("told before %v was durable: %s", pending, line)
			}
		}
	}
	if renames < 8 || told < 6 { // the mark, the offer, and six of what was told
		t.Errorf("the trace shows %d renames and %d words", renames, told)
	}
}
