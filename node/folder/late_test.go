package folder

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// copyPart copies the first n bytes of a file, all of them if n is negative, to where another machine has the folder.
func copyPart(t *testing.T, from, to, name string, n int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		t.Fatal(err)
	}
	if n >= 0 {
		b = b[:n]
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, name), b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestArrivesInParts copies a session to another machine as programs do that keep folders in step: without empty directories,
// file by file in any order, each at first half. What is half is not there; what is whole is.
func TestArrivesInParts(t *testing.T) {
	ctx := t.Context()
	here, there := t.TempDir(), t.TempDir()
	p := newPair(t, here, 100)
	name := id.NewBlob()
	blob := blobOf(name, wire.BlobSizeS)
	want(t, p.old.Session(p.sid).Put(ctx, name, blob), wire.OK)
	want(t, p.old.Commit(ctx, p.sid, root(1, true, "root")), wire.OK)
	want(t, p.old.Mailbox(p.sid.Scope()).Post(ctx, p.young.cfg.Device, []byte("message")), wire.OK)

	young := openT(t, there, p.young.cfg.Device, false)
	check := func(part string, whole bool) {
		t.Helper()
		_, err := young.Session(p.sid).Get(ctx, name, nil)
		r, err2 := young.GetRoot(ctx, p.sid, 0, 0)
		ms, _, err3 := young.Mailbox(p.sid.Scope()).Fetch(ctx, 0, 0)
		if whole {
			if err != nil || err2 != nil || err3 != nil || r == nil || len(ms) != 1 {
				t.Fatalf("%s: %v %v %v %v %v", part, err, r, err2, ms, err3)
			}
			return
		}
		want(t, err, wire.NotFound)
		if r != nil || len(ms) != 0 {
			t.Fatalf("%s: %v %v", part, r, ms)
		}
	}
	names := files(t, here)
	for _, file := range names {
		info, err := os.Stat(filepath.Join(here, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "/"+offerName) {
			continue // last: without it nothing else counts
		}
		for _, n := range []int{0, 1, int(info.Size() / 2), int(info.Size()) - 1} {
			copyPart(t, here, there, file, n)
			check(file, false)
		}
	}
	for _, file := range names {
		copyPart(t, here, there, file, -1)
	}
	check("all", true)
	_, err := young.Claim(ctx, p.claim(young.cfg.Device, "card"))
	want(t, err, wire.OK)
	want(t, young.Mailbox(p.sid.Scope()).Post(ctx, p.old.cfg.Device, []byte("receipt")), wire.OK)
	for _, file := range files(t, there) { // and back
		if strings.Contains(file, claimsDir) || strings.Contains(file, mailDir) {
			copyPart(t, there, here, file, -1)
		}
	}
	ms, _, err := p.old.Mailbox(p.sid.Scope()).Fetch(ctx, 0, 0)
	if err != nil || len(ms) != 1 || string(ms[0].Body) != "receipt" {
		t.Fatal(ms, err)
	}
	if st, err := p.old.Status(ctx, p.sid); err != nil || st.Receiver != young.cfg.Device {
		t.Fatal(st, err)
	}
}

// TestTornRecords: a record that lacks a byte, or has another one anywhere, is not there; its writer writes it again.
func TestTornRecords(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	want(t, p.old.Commit(ctx, p.sid, root(1, false, "root")), wire.OK)
	file := p.path("roots/0000000000000001")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, torn := range [][]byte{whole[:i], append(bytes.Clone(whole[:i]), make([]byte, len(whole)-i)...), append(bytes.Clone(whole[:i]), append([]byte{^whole[i]}, whole[i+1:]...)...)} {
			if bytes.Equal(torn, whole) {
				continue
			}
			if err := os.WriteFile(file, torn, 0o666); err != nil {
				t.Fatal(err)
			}
			if r, err := p.young.GetRoot(ctx, p.sid, 0, 0); r != nil || err != nil {
				t.Fatalf("byte %d: %v, %v", i, r, err)
			}
		}
	}
	want(t, p.old.Commit(ctx, p.sid, root(1, false, "root")), wire.OK)
	if r, err := p.young.GetRoot(ctx, p.sid, 0, 0); err != nil || r == nil {
		t.Fatal(r, err)
	}
}

// TestWrongLength: a blob of another length is not there, and its sender puts it again.
func TestWrongLength(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	name := id.NewBlob()
	blob := blobOf(name, wire.BlobSizeS)
	for _, b := range [][]byte{nil, blob[1:], append(bytes.Clone(blob), 0)} {
		if err := os.WriteFile(p.path(blobsDir+"/"+name.String()), b, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := p.young.Session(p.sid).Get(ctx, name, nil)
		want(t, err, wire.NotFound)
		if has, err := p.old.Session(p.sid).Has(ctx, []id.Blob{name}); err != nil || has[0] {
			t.Fatal(has, err)
		}
		want(t, p.old.Session(p.sid).Put(ctx, name, blob), wire.OK)
		if got, err := p.young.Session(p.sid).Get(ctx, name, nil); err != nil || !bytes.Equal(got, blob) {
			t.Fatal(err)
		}
	}
}

// TestConflictedCopies: names that a program made up are nobody's.
func TestConflictedCopies(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	want(t, p.old.Commit(ctx, p.sid, root(1, false, "root")), wire.OK)
	want(t, p.old.Pin(ctx, p.sid, p.young.cfg.Device, nil), wire.OK)
	want(t, p.old.Mailbox(p.sid.Scope()).Post(ctx, p.young.cfg.Device, []byte("message")), wire.OK)
	for _, file := range files(t, p.dir) {
		b, err := os.ReadFile(filepath.Join(p.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, copied := range []string{file + " (conflicted copy 2026-11-23)", file + ".sync-conflict-20261123", strings.ToUpper(file), file + "~"} {
			if err := os.MkdirAll(filepath.Join(p.dir, filepath.Dir(copied)), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(p.dir, copied), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	ms, _, err := p.young.Mailbox(p.sid.Scope()).Fetch(ctx, 0, 0)
	if err != nil || len(ms) != 1 {
		t.Fatal(ms, err)
	}
	want(t, p.old.Commit(ctx, p.sid, root(2, true, "root")), wire.OK)
	want(t, p.old.Pin(ctx, p.sid, newPeer(), nil), wire.OK)
	if r, err := p.young.GetRoot(ctx, p.sid, 0, 0); err != nil || r.Epoch != 2 {
		t.Fatal(r, err)
	}
}

// TestLateMessage: a message that comes into sight behind a younger one is neither passed over nor acknowledged with it.
func TestLateMessage(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	from, to := p.old.Mailbox(p.sid.Scope()), p.young.Mailbox(p.sid.Scope())
	want(t, from.Post(ctx, p.young.cfg.Device, []byte("first")), wire.OK)
	names, _ := filepath.Glob(p.path("mail/*"))
	hidden := filepath.Join(t.TempDir(), "message")
	if err := os.Rename(names[0], hidden); err != nil {
		t.Fatal(err)
	}
	want(t, from.Post(ctx, p.young.cfg.Device, []byte("second")), wire.OK)
	ms, _, err := to.Fetch(ctx, 0, 0)
	if err != nil || len(ms) != 1 || string(ms[0].Body) != "second" {
		t.Fatal(ms, err)
	}
	if err := os.Rename(hidden, names[0]); err != nil {
		t.Fatal(err)
	}
	want(t, to.Ack(ctx, ms[0].Sequence+100), wire.OK)
	for range 2 {
		late, _, err := to.Fetch(ctx, ms[0].Sequence, 0)
		if err != nil || len(late) != 1 || string(late[0].Body) != "first" {
			t.Fatal(late, err)
		}
	}
	// Another process of the device begins with what is left.
	again, _, err := openT(t, p.dir, p.young.cfg.Device, false).Mailbox(p.sid.Scope()).Fetch(ctx, 0, 0)
	if err != nil || len(again) != 1 || string(again[0].Body) != "first" {
		t.Fatal(again, err)
	}
}
