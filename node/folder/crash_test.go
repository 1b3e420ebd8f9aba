package folder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// helperEnv makes this test's program a sender: a directory, a session, a peer (in hexadecimal), and after how many blobs it ends.
const helperEnv = "DECANT_FOLDER_TEST_SENDER"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(helperEnv)); len(args) == 4 {
		if err := sendSome(args[0], args[1], args[2], args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// sendSome puts blobs and posts messages, and names on stdout what it was told is durable.
func sendSome(dir, session, peer, count string) error {
	runtime.LockOSThread() // a tracer counts the calls of each thread
	blobs, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	sid, err := id.ParseSession(session)
	if err != nil {
		return err
	}
	device, err := hex.DecodeString(peer)
	if err != nil {
		return err
	}
	f, err := Open(Config{Dir: dir, Device: id.Peer(device), Create: true})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := f.Open(ctx, remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 1000}); err != nil {
		return err
	}
	for range blobs {
		name := id.NewBlob()
		if err := f.Session(sid).Put(ctx, name, blobOf(name, wire.BlobSizeS)); err != nil {
			return err
		}
		fmt.Println("blob", name)
		if err := f.Mailbox(sid.Scope()).Post(ctx, id.Peer{1}, name[:]); err != nil {
			return err
		}
		fmt.Println("message", name)
	}
	return nil
}

// TestR1Killed kills a sender at any time, again and again: what it was told is durable is there, what is there is whole, and
// nothing of what was half-written stays.
func TestR1Killed(t *testing.T) {
	const rounds = 6
	dir, sid, sender := t.TempDir(), id.NewSession(), newPeer()
	acked := map[string][]id.Blob{}
	for round := range rounds {
		for what, names := range killAfter(t, dir, sid, sender, round) {
			acked[what] = append(acked[what], names...)
		}
	}
	ctx := t.Context()
	old, young := openT(t, dir, sender, false), openT(t, dir, id.Peer{1}, false)
	for _, name := range acked["blob"] {
		if b, err := young.Session(sid).Get(ctx, name, nil); err != nil || !bytes.Equal(b, blobOf(name, wire.BlobSizeS)) {
			t.Errorf("blob %v: %v", name, err)
		}
	}
	seen := map[id.Blob]bool{}
	for after := uint64(0); ; {
		ms, _, err := young.Mailbox(sid.Scope()).Fetch(ctx, after, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(ms) == 0 {
			break
		}
		for _, m := range ms {
			seen[id.Blob(m.Body)] = true
			after = m.Sequence
		}
	}
	for _, name := range acked["message"] {
		if !seen[name] {
			t.Errorf("message %v is gone", name)
		}
	}
	session := filepath.Join(dir, topName, versionName, sid.String())
	there, err := os.ReadDir(filepath.Join(session, blobsDir))
	if err != nil || len(there) < len(acked["blob"]) || len(there) > len(acked["blob"])+rounds {
		t.Errorf("%d blobs are there and %d known, %v", len(there), len(acked["blob"]), err)
	}
	for _, e := range there {
		name, err := id.ParseBlob(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := young.Session(sid).Get(ctx, name, nil); err != nil || !bytes.Equal(b, blobOf(name, wire.BlobSizeS)) {
			t.Errorf("blob %v, which nobody was told of: %v", name, err)
		}
	}
	name := id.NewBlob()
	want(t, old.Session(sid).Put(ctx, name, blobOf(name, wire.BlobSizeS)), wire.OK)
	if left, err := os.ReadDir(filepath.Join(session, tempDir)); err != nil || len(left) != 0 {
		t.Errorf("half-written files are left: %v, %v", left, err)
	}
}

// killAfter runs a sender, kills it some time after its n-th word, and returns what it had been told.
func killAfter(t *testing.T, dir string, sid id.Session, sender id.Peer, n int) map[string][]id.Blob {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %x 1000", helperEnv, dir, sid, sender[:]))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := map[string][]id.Blob{}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		what, text, _ := strings.Cut(lines.Text(), " ")
		name, err := id.ParseBlob(text)
		if err != nil {
			break // cut off by the kill
		}
		acked[what] = append(acked[what], name)
		if i == n {
			go func() {
				for range rand.N(1 << 20) { // anywhere in what it does next
				}
				cmd.Process.Kill()
			}()
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the sender ended by itself: %v", cmd.ProcessState)
	}
	return acked
}

// TestR1States begins where a process may have died between two durable steps, one after the other, and goes on from there.
func TestR1States(t *testing.T) {
	ctx := t.Context()
	name := id.NewBlob()
	blob := blobOf(name, wire.BlobSizeS)
	t.Run("session without an offer", func(t *testing.T) {
		p := newPair(t, t.TempDir(), maxEntries+1)
		if err := os.Remove(p.path(offerName)); err != nil {
			t.Fatal(err)
		}
		again := openT(t, p.dir, p.old.cfg.Device, true)
		_, err := p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
		want(t, err, wire.NotFound)
		_, err = again.Open(ctx, p.offer(maxEntries+1))
		want(t, err, wire.OK)
		_, err = p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
		want(t, err, wire.OK)
	})
	t.Run("blob staged", func(t *testing.T) {
		p := newPair(t, t.TempDir(), 100)
		v, err := p.old.Session(p.sid).own(ctx)
		want(t, err, wire.OK)
		_, err = v.stage(blob)
		want(t, err, wire.OK)
		v.Close()
		again := openT(t, p.dir, p.old.cfg.Device, true)
		if has, err := again.Session(p.sid).Has(ctx, []id.Blob{name}); err != nil || has[0] {
			t.Fatal(has, err)
		}
		want(t, again.Session(p.sid).Put(ctx, name, blob), wire.OK)
		if left, _ := os.ReadDir(p.path(tempDir)); len(left) != 0 {
			t.Error("the staged file is still there")
		}
	})
	t.Run("blob named", func(t *testing.T) {
		p := newPair(t, t.TempDir(), 100)
		v, err := p.old.Session(p.sid).own(ctx)
		want(t, err, wire.OK)
		temp, err := v.stage(blob)
		want(t, err, wire.OK)
		want(t, v.settle(temp, v.offer.blob(name)), wire.OK)
		v.Close()
		again := openT(t, p.dir, p.old.cfg.Device, true)
		if has, err := again.Session(p.sid).Has(ctx, []id.Blob{name}); err != nil || !has[0] {
			t.Fatal(has, err)
		}
		want(t, again.Session(p.sid).Put(ctx, name, blob), wire.OK)
	})
	t.Run("newer root beside the older", func(t *testing.T) {
		p := newPair(t, t.TempDir(), 100)
		want(t, p.old.Commit(ctx, p.sid, root(2, true, "new")), wire.OK)
		v, err := p.old.Session(p.sid).own(ctx)
		want(t, err, wire.OK)
		want(t, v.keep(numbered(rootsDir, 1), kindRoot, rootParts(root(1, false, "old"))...), wire.OK)
		v.Close()
		if r, err := p.young.GetRoot(ctx, p.sid, 0, 0); err != nil || r.Epoch != 2 {
			t.Fatal(r, err)
		}
		want(t, p.old.Commit(ctx, p.sid, root(2, true, "new")), wire.OK)
		if names, _ := filepath.Glob(p.path("roots/*")); len(names) != 1 {
			t.Error("the older root is still there")
		}
	})
	t.Run("ended and not cleared", func(t *testing.T) {
		p := newPair(t, t.TempDir(), 100)
		want(t, p.old.Session(p.sid).Put(ctx, name, blob), wire.OK)
		v, err := p.old.Session(p.sid).own(ctx)
		want(t, err, wire.OK)
		want(t, v.keep(endName, kindEnd, []byte("ack")), wire.OK)
		v.Close()
		again := openT(t, p.dir, p.old.cfg.Device, true)
		want(t, again.Finish(ctx, p.sid, []byte("ack")), wire.OK)
		p.checkOver(t, name)
	})
}
