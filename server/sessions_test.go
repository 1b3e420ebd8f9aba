package server_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// fakeClock is a clock that a test moves.
type fakeClock struct{ offset atomic.Int64 }

var epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func (c *fakeClock) now() time.Time       { return epoch.Add(time.Duration(c.offset.Load())) }
func (c *fakeClock) pass(d time.Duration) { c.offset.Add(int64(d)) }
func inMemory(c *fakeClock) server.Config {
	return server.Config{Dir: "state", FS: vfs.NewMem(), Now: c.now}
}
func (w *world) sweep() { w.t.Helper(); mustNot(w.t, w.Sweep(context.Background())) }
func mustNot(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTicketGoesToTheFirstClaimerOnly(t *testing.T) {
	w := startDirect(t, server.Config{})
	old, young, thief := w.device(), w.device(), w.device()
	sid, tick := id.NewSession(), newTicket()
	old.must(old.openTicket(sid, tick))

	_, err := thief.claimTicket(tick, key.NewDevice())
	thief.want(err, wire.NotFound) // a wrong signature looks like an unknown locator
	first, err := young.claimTicket(tick, tick.claim)
	young.must(err)
	if !bytes.Equal(first.Share, tick.share[:]) || string(first.Grant) != "grant" || !bytes.Equal(first.Session, sid[:]) {
		t.Fatalf("claimed %v", first)
	}
	_, err = thief.claimTicket(tick, tick.claim)
	thief.want(err, wire.AlreadyClaimed)
	w.restart()
	again, err := young.claimTicket(tick, tick.claim) // rule R3
	young.must(err)
	if !bytes.Equal(again.Share, first.Share) {
		t.Fatal("another share")
	}
	_, err = old.claimTicket(tick, tick.claim)
	old.want(err, wire.Forbidden)
	st, err := old.status(sid)
	old.must(err)
	if !bytes.Equal(st.Receiver, young.peer[:]) || len(st.ReceiverCard) == 0 || st.Pinned {
		t.Fatalf("status %v", st)
	}
	old.must(old.finish(sid, "ack"))
	_, err = young.claimTicket(tick, tick.claim)
	young.want(err, wire.Done)
}

// TestR10PinBeatsTheClaim: a sender's pin replaces the claimer that the server believed in (rule R1), and the pinned device may claim again (R3).
func TestR10PinBeatsTheClaim(t *testing.T) {
	w := startDirect(t, server.Config{})
	old, young, thief := w.device(), w.device(), w.device()
	sid, tick := id.NewSession(), newTicket()
	old.must(old.openTicket(sid, tick))
	_, err := thief.claimTicket(tick, tick.claim)
	thief.must(err)
	old.must(old.pin(sid, young))
	_, err = thief.claimTicket(tick, tick.claim)
	thief.want(err, wire.AlreadyClaimed)
	_, err = thief.status(sid)
	thief.want(err, wire.Forbidden)
	got, err := young.claimTicket(tick, tick.claim)
	young.must(err)
	if !bytes.Equal(got.Share, tick.share[:]) {
		t.Fatal("no share for the pinned device")
	}
	st, err := young.status(sid)
	young.must(err)
	if string(st.Pin) != "pin" || len(st.ReceiverCard) != 0 {
		t.Fatalf("status %v", st)
	}
}

func TestRT14SameRequestTwice(t *testing.T) {
	w := startDirect(t, server.Config{})
	old, young, other := w.device(), w.device(), w.device()
	r, sid := rid(), id.NewSession()
	ask := func(d *device, declared uint64) (*serverpb.OpenResponse, error) {
		return call(d, "Open", &serverpb.OpenRequest{RequestId: r, Session: sid[:], SizeClass: 1, DeclaredBlobs: declared}, &serverpb.OpenResponse{})
	}
	first, err := ask(old, 5)
	old.must(err)
	w.restart()
	again, err := ask(old, 5)
	old.must(err)
	if again.ExpiresUnixMs != first.ExpiresUnixMs {
		t.Error("another answer to the same request")
	}
	_, err = ask(old, 6)
	old.want(err, wire.Conflict)
	_, err = ask(other, 5)
	other.want(err, wire.Conflict)
	old.must(old.pin(sid, young))
	post := &serverpb.PostRequest{RequestId: rid(), Scope: sid[:], To: young.peer[:], Body: []byte("one")}
	one, err := call(old, "Post", post, &serverpb.PostResponse{})
	old.must(err)
	two, err := call(old, "Post", post, &serverpb.PostResponse{})
	old.must(err)
	mail, err := young.fetch(sid[:], 0, 0)
	young.must(err)
	if one.Sequence != two.Sequence || len(mail.Messages) != 1 {
		t.Errorf("posted twice: %v", mail)
	}
	plate := &serverpb.AllocateRequest{RequestId: rid()}
	a, err := call(young, "Allocate", plate, &serverpb.AllocateResponse{})
	young.must(err)
	b, err := call(young, "Allocate", plate, &serverpb.AllocateResponse{})
	young.must(err)
	if a.Nameplate != b.Nameplate || !bytes.Equal(a.Scope, b.Scope) || a.ExpiresUnixMs != b.ExpiresUnixMs {
		t.Errorf("two nameplates for one request: %v, %v", a, b)
	}
}

func TestNameplate(t *testing.T) {
	c := &fakeClock{}
	w := startDirect(t, inMemory(c))
	young, old := w.device(), w.device()
	plate, err := call(young, "Allocate", &serverpb.AllocateRequest{RequestId: rid()}, &serverpb.AllocateResponse{})
	young.must(err)
	found, err := call(old, "Resolve", &serverpb.ResolveRequest{Nameplate: plate.Nameplate}, &serverpb.ResolveResponse{})
	old.must(err)
	if !bytes.Equal(found.Scope, plate.Scope) || !bytes.Equal(found.Owner, young.peer[:]) || plate.Nameplate >= 100 {
		t.Fatalf("resolved %v, allocated %v", found, plate)
	}
	_, err = old.post(found.Scope, young, "Ya")
	old.must(err)
	w.restart()
	mail, err := young.fetch(plate.Scope, 0, 0)
	young.must(err)
	if len(mail.Messages) != 1 || !bytes.Equal(mail.Messages[0].From, old.peer[:]) {
		t.Fatalf("mail %v", mail)
	}
	_, err = call(old, "Release", &serverpb.ReleaseRequest{Scope: plate.Scope}, &serverpb.ReleaseResponse{})
	old.want(err, wire.Forbidden)
	c.pass(10 * time.Minute)
	_, err = call(old, "Resolve", &serverpb.ResolveRequest{Nameplate: plate.Nameplate}, &serverpb.ResolveResponse{})
	old.want(err, wire.NotFound)
	_, err = old.post(found.Scope, young, "late")
	old.want(err, wire.NotFound)
	w.sweep()
	_, err = call(young, "Release", &serverpb.ReleaseRequest{Scope: plate.Scope}, &serverpb.ReleaseResponse{})
	young.must(err)
}

// TestR24Quotas: a hostile subnet stops at its budget, and 500 honest devices behind one address all succeed, with the default limits.
func TestR24Quotas(t *testing.T) {
	addr := &atomic.Value{}
	addr.Store(netip.MustParseAddr("203.0.113.7"))
	c := &fakeClock{}
	cfg := inMemory(c)
	cfg.RemoteIP = func(context.Context) netip.Addr { return addr.Load().(netip.Addr) }
	w := startDirect(t, cfg)
	open := func(n int) (granted int, last error) {
		for range n {
			if err := w.device().open(id.NewSession(), 1); err != nil {
				return granted, err
			}
			granted++
		}
		return granted, nil
	}
	granted, err := open(2500)
	if granted != 2000 || wire.StatusOf(err) != wire.QuotaCount {
		t.Fatalf("hostile subnet got %d sessions, then %v", granted, err)
	}
	addr.Store(netip.MustParseAddr("203.0.113.250")) // the same /24
	if granted, _ := open(1); granted != 0 {
		t.Error("a neighbour escaped the budget")
	}
	addr.Store(netip.MustParseAddr("198.51.100.1"))
	for range 500 {
		d, young := w.device(), w.device()
		sid := d.mustOpen()
		plate, err := call(young, "Allocate", &serverpb.AllocateRequest{RequestId: rid()}, &serverpb.AllocateResponse{})
		young.must(err)
		_, err = d.post(plate.Scope, young, "hello")
		d.must(err)
		d.must(d.pin(sid, young))
	}
	c.pass(15 * 24 * time.Hour)
	w.sweep()
	addr.Store(netip.MustParseAddr("203.0.113.7"))
	if granted, err := open(1); granted != 1 {
		t.Errorf("the budget did not come back: %v", err)
	}
}

func TestR24SessionQuotas(t *testing.T) {
	w := startDirect(t, server.Config{Limits: server.Limits{SessionBytes: 10 * wire.BlobSizeS, SubnetBytes: 15 * wire.BlobSizeS, SessionMessages: 2, SessionPosts: 3}})
	old, young := w.device(), w.device()
	old.want(old.open(id.NewSession(), 11), wire.QuotaSpace)
	old.want(old.open(id.NewSession(), 0), wire.Malformed)
	old.want(old.open(id.NewSession(), 1<<63), wire.QuotaSpace)
	sid := id.NewSession()
	old.must(old.open(sid, 10))
	old.want(old.open(id.NewSession(), 6), wire.QuotaSpace) // the subnet's
	old.must(old.open(id.NewSession(), 5))
	old.must(old.pin(sid, young))
	for _, want := range []error{nil, nil, wire.QuotaCount} {
		if _, err := old.post(sid[:], young, "x"); wire.StatusOf(err) != wire.StatusOf(want) {
			t.Fatalf("post: %v, want %v", err, want)
		}
	}
	_, err := call(young, "Ack", &serverpb.AckRequest{Scope: sid[:], UpTo: 9}, &serverpb.AckResponse{})
	young.must(err)
	_, err = old.post(sid[:], young, "x")
	old.must(err)
	_, err = old.post(sid[:], young, "x")
	old.want(err, wire.QuotaCount)
}

// TestR25Expiry: expired sessions leave nothing on the disk, tombstones go in their time, and nothing live is touched.
func TestR25Expiry(t *testing.T) {
	c := &fakeClock{}
	cfg := inMemory(c)
	fs := cfg.FS
	w := startDirect(t, cfg)
	keep := w.device()
	live := id.NewSession()
	_, err := call(keep, "Open", &serverpb.OpenRequest{RequestId: rid(), Session: live[:], SizeClass: 1, DeclaredBlobs: 1, ExpirySeconds: 29 * 24 * 3600},
		&serverpb.OpenResponse{})
	keep.must(err)
	name := id.NewBlob()
	keep.must(keep.put(live, name, blobOf(name)))
	old := w.device()
	var gone []id.Session
	for range 50 {
		sid := old.mustOpen()
		n := id.NewBlob()
		old.must(old.put(sid, n, blobOf(n)))
		gone = append(gone, sid)
	}
	if n := segments(t, fs); n != 51 {
		t.Fatalf("%d segment files, want 51", n)
	}
	c.pass(15 * 24 * time.Hour)
	_, err = old.get(gone[0], name)
	old.want(err, wire.Expired) // before any sweep
	w.sweep()
	w.sweep()
	if n := segments(t, fs); n != 1 {
		t.Errorf("%d segment files are left, want 1", n)
	}
	for _, sid := range gone {
		st, err := old.status(sid)
		old.must(err)
		if st.State != serverpb.State_STATE_EXPIRED {
			t.Fatalf("status %v", st)
		}
	}
	got, err := keep.get(live, name)
	keep.must(err)
	if !bytes.Equal(got, blobOf(name)) {
		t.Error("a live blob changed")
	}
	c.pass(31 * 24 * time.Hour)
	w.sweep()
	_, err = old.status(gone[0])
	old.want(err, wire.NotFound)
}

func segments(t *testing.T, fs vfs.FS) (n int) {
	t.Helper()
	shards, err := fs.List("state/blobs")
	mustNot(t, err)
	for _, s := range shards {
		files, err := fs.List("state/blobs/" + s)
		mustNot(t, err)
		n += len(files)
	}
	return n
}

// TestR26LongIdle: a ticket waits two weeks, over restarts, is claimed, and expires once.
func TestR26LongIdle(t *testing.T) {
	c := &fakeClock{}
	w := startDirect(t, inMemory(c))
	old, young := w.device(), w.device()
	sid, tick := id.NewSession(), newTicket()
	old.must(old.openTicket(sid, tick))
	for range 13 {
		c.pass(24*time.Hour - time.Minute)
		w.sweep()
		w.restart()
	}
	_, err := young.claimTicket(tick, tick.claim)
	young.must(err)
	c.pass(25 * time.Hour)
	w.sweep()
	_, err = young.claimTicket(tick, tick.claim)
	young.want(err, wire.Expired)
}

// TestR19Clock: neither a wall clock that jumps while the server runs nor one that jumps while it is off expires a session early, and time never runs back.
func TestR19Clock(t *testing.T) {
	c := &fakeClock{}
	w := startDirect(t, inMemory(c))
	d := w.device()
	sid := d.mustOpen()
	c.pass(time.Hour)
	w.sweep()
	w.stop()
	c.pass(10 * 365 * 24 * time.Hour)
	w.open()
	w.sweep()
	if _, err := d.status(sid); err != nil {
		t.Fatalf("ten years ahead: %v", err)
	}
	st, err := d.status(sid)
	d.must(err)
	if st.State != serverpb.State_STATE_OPEN {
		t.Errorf("expired by a jump: %v", st.State)
	}
	w.stop()
	c.pass(-20 * 365 * 24 * time.Hour)
	w.open()
	c.pass(14 * 24 * time.Hour)
	w.sweep()
	if st, err := d.status(sid); err != nil || st.State != serverpb.State_STATE_EXPIRED {
		t.Errorf("never expires after a jump back: %v, %v", st, err)
	}
}

// TestR10Incarnation: the incarnation survives restarts and changes with each way to restore.
func TestR10Incarnation(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	w := startDirect(t, server.Config{Dir: state})
	in := w.Incarnation()
	sid := w.device().mustOpen()
	w.restart()
	if w.Incarnation() != in {
		t.Fatal("a restart changed the incarnation")
	}
	mustNot(t, w.Backup(filepath.Join(dir, "backup")))
	w.stop()

	restored := func(what string, f func()) {
		f()
		w.open()
		if w.Incarnation() == in {
			t.Errorf("%s: not noticed", what)
		}
		in = w.Incarnation()
		if ok, err := w.device().status(sid); wire.StatusOf(err) != wire.Forbidden {
			t.Errorf("%s: the session is gone: %v, %v", what, ok, err)
		}
		w.restart()
		if w.Incarnation() != in {
			t.Errorf("%s: noticed twice", what)
		}
		w.stop()
	}
	database := filepath.Join(state, "db")
	restored("database backup", func() {
		mustNot(t, os.RemoveAll(database))
		mustNot(t, os.Rename(filepath.Join(dir, "backup"), database))
	})
	restored("copied directory", func() {
		mustNot(t, os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(state)))
		mustNot(t, os.RemoveAll(state))
		mustNot(t, os.Rename(filepath.Join(dir, "copy"), state))
	})
	restored("volume went back in time", func() {
		mustNot(t, os.WriteFile(filepath.Join(state, "witness"), []byte("\x7f\xff\xff\xff\xff\xff\xff\xff"), 0o600))
	})
}

// TestR8BitRot: a flipped bit never leaves the server as a whole blob; the row goes, and the sender can put the blob again.
func TestR8BitRot(t *testing.T) {
	dir := t.TempDir()
	w := start(t, server.Config{Dir: dir})
	old := w.device()
	sid := old.mustOpen()
	names := make([]id.Blob, 5)
	for i := range names {
		names[i] = id.NewBlob()
		old.must(old.put(sid, names[i], blobOf(names[i])))
	}
	file, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*-0"))
	mustNot(t, err)
	flip := func(at int64) {
		f, err := os.OpenFile(file[0], os.O_RDWR, 0)
		mustNot(t, err)
		defer f.Close()
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		mustNot(t, err)
		_, err = f.WriteAt([]byte{b[0] ^ 4}, at)
		mustNot(t, err)
	}
	for _, at := range []int64{0, wire.BlobSizeS - 1, wire.BlobSizeS * 2} { // slots are taken in order: blobs 0, 0, 2
		flip(at)
	}
	if ok, body := short(t, old, path(sid, names[0])); ok || len(body) >= wire.BlobSizeS {
		t.Error("a damaged blob left whole")
	}
	_, err = old.get(sid, names[0])
	old.want(err, wire.NotFound)
	checked, damaged, err := w.Scrub(context.Background(), func(int64) error { return nil })
	mustNot(t, err)
	if checked != 4 || damaged != 1 {
		t.Errorf("scrub checked %d and found %d, want 4 and 1", checked, damaged)
	}
	for _, n := range names {
		old.must(old.put(sid, n, blobOf(n)))
	}
	flip(wire.BlobSizeS * 3)
	old.must(old.put(sid, names[3], blobOf(names[3]))) // the same name again heals
	mustNot(t, os.Truncate(file[0], wire.BlobSizeS*4+100))
	_, err = old.get(sid, names[4])
	old.want(err, wire.NotFound)
}

// short gets a body that may end early.
func short(t *testing.T, d *device, path string) (complete bool, body []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, d.w.http.URL+path, nil)
	mustNot(t, err)
	r.Header.Set(peerHeader, hex.EncodeToString(d.peer[:]))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false, nil
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK, body
}

// TestR6DiskFull: below the watermark nothing new is taken, below half of it nothing grows, deletes always work, and the ballast is given up and laid down again.
func TestR6DiskFull(t *testing.T) {
	fs := vfs.NewMem()
	c := &fakeClock{}
	const mark, ballast = 100 << 20, 1 << 20
	free := func(n uint64) {
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n, TotalBytes: 10 << 30})
		c.pass(2 * time.Second)
	}
	free(5 << 30)
	cfg := server.Config{Dir: "state", FS: fs, Now: c.now, Watermark: mark, Ballast: ballast}
	w := startDirect(t, cfg)
	old, young := w.device(), w.device()
	sid, name := old.mustOpen(), id.NewBlob()
	old.must(old.pin(sid, young))
	old.must(old.put(sid, name, blobOf(name)))
	old.want(old.open(id.NewSession(), 1<<15), wire.NoSpace) // more than there is
	has := func(path string) bool { _, err := fs.Stat(path); return err == nil }
	if !has("state/ballast") {
		t.Error("no ballast")
	}
	free(mark - 1)
	other := id.NewBlob()
	old.want(old.put(sid, other, blobOf(other)), wire.NoSpace)
	old.want(old.open(id.NewSession(), 1), wire.NoSpace)
	_, err := old.post(sid[:], young, "still")
	old.must(err)
	free(mark/2 - 1)
	_, err = old.post(sid[:], young, "no more")
	old.want(err, wire.NoSpace)
	old.want(old.commit(sid, 0, false, "root"), wire.NoSpace)
	free(0)
	w.sweep()
	if has("state/ballast") {
		t.Error("the ballast was kept on a full disk")
	}
	_, err = young.get(sid, name)
	young.must(err)
	s, _ := old.raw(http.MethodDelete, path(sid, name), nil)
	old.must(orNil(s))
	old.must(old.finish(sid, "ack"))
	free(5 << 30)
	w.sweep()
	if !has("state/ballast") {
		t.Error("the ballast did not come back")
	}
}

// TestBlobBody: the length is checked before the body, and nothing short or long is stored.
func TestRT16BlobBody(t *testing.T) {
	w := start(t, server.Config{})
	old, young, stranger := w.device(), w.device(), w.device()
	sid, name := old.mustOpen(), id.NewBlob()
	old.must(old.pin(sid, young))
	blob := blobOf(name)
	old.want(old.put(sid, name, blob[:100]), wire.Malformed)
	old.want(old.put(sid, name, append(bytes.Clone(blob), 1)), wire.TooLarge)
	old.want(old.put(sid, name, nil), wire.Malformed)
	young.want(young.put(sid, name, blob), wire.Forbidden)
	stranger.want(stranger.put(sid, name, blob), wire.Forbidden)
	_, err := stranger.get(sid, name)
	stranger.want(err, wire.Forbidden)
	r, err := http.NewRequest(http.MethodPut, w.http.URL+path(sid, name), io.NopCloser(bytes.NewReader(blob))) // chunked
	mustNot(t, err)
	r.Header.Set(peerHeader, hex.EncodeToString(old.peer[:]))
	resp, err := http.DefaultClient.Do(r)
	mustNot(t, err)
	if s := refusal(t, resp, []byte("{}")); s != wire.Malformed {
		t.Errorf("a body without length: %v", s)
	}
	resp.Body.Close()
	_, err = old.get(sid, name)
	old.want(err, wire.NotFound)
	for _, path := range []string{"", "x", sid.String(), sid.String() + "/", strings.ToUpper(path(sid, name))[len(wire.BlobPath):], sid.String() + "/" + name.String() + "/", sid.String() + "/" + name.String() + "0"} {
		if s, _ := old.raw(http.MethodGet, wire.BlobPath+path, nil); s != wire.Malformed {
			t.Errorf("path %q: %v", path, s)
		}
	}
}

// TestConcurrentPuts: many puts at once, of the same names too, are all stored once.
func TestConcurrentPuts(t *testing.T) {
	w := start(t, server.Config{})
	old := w.device()
	sid := old.mustOpen()
	names := make([]id.Blob, 20)
	for i := range names {
		names[i] = id.NewBlob()
	}
	var work sync.WaitGroup
	for range 3 {
		for _, n := range names {
			work.Go(func() {
				for {
					err := old.put(sid, n, blobOf(n))
					if wire.StatusOf(err) == wire.Busy {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
	}
	work.Wait()
	st, err := old.status(sid)
	old.must(err)
	if st.Blobs != 20 {
		t.Errorf("%d blobs, want 20", st.Blobs)
	}
	for _, n := range names {
		b, err := old.get(sid, n)
		old.must(err)
		if !bytes.Equal(b, blobOf(n)) {
			t.Error("other bytes")
		}
	}
}

// TestLongPoll: a waiting call is answered as soon as there is something, and empty when its time is over or the server drains.
func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startDirect(t, server.Config{Dir: "state", FS: vfs.NewMem()})
		old, young := w.device(), w.device()
		sid := old.mustOpen()
		old.must(old.pin(sid, young))
		fetch := func() (n int, took time.Duration) {
			began := time.Now()
			mail, err := young.fetch(sid[:], 0, 20_000)
			if err != nil {
				t.Error(err)
				return
			}
			return len(mail.Messages), time.Since(began)
		}
		if n, took := fetch(); n != 0 || took != 20*time.Second {
			t.Errorf("%d messages after %v", n, took)
		}
		go func() {
			time.Sleep(3 * time.Second)
			if _, err := old.post(sid[:], young, "x"); err != nil {
				t.Error(err)
			}
		}()
		if n, took := fetch(); n != 1 || took != 3*time.Second {
			t.Errorf("%d messages after %v", n, took)
		}
		go func() {
			time.Sleep(5 * time.Second)
			if err := old.commit(sid, 4, false, "root"); err != nil {
				t.Error(err)
			}
		}()
		began := time.Now()
		root, err := call(young, "GetRoot", &serverpb.GetRootRequest{Session: sid[:], MinEpoch: 4, WaitMs: 50_000}, &serverpb.GetRootResponse{})
		if err != nil || !root.Found || time.Since(began) != 5*time.Second {
			t.Errorf("root %v, %v after %v", root, err, time.Since(began))
		}
		go func() {
			time.Sleep(7 * time.Second)
			if err := w.Drain(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		mail, err := young.fetch(sid[:], 99, 50_000)
		if err != nil || len(mail.Messages) != 0 {
			t.Errorf("drained: %v, %v", mail, err)
		}
		synctest.Wait()
		_, err = young.fetch(sid[:], 99, 50_000)
		young.want(err, wire.Draining)
		if rec := w.get("/healthz"); rec != "draining\n" {
			t.Errorf("health: %q", rec)
		}
	})
}

// get asks the operator's handler.
func (w *world) get(path string) string {
	r, _ := http.NewRequest(http.MethodGet, "http://operator"+path, nil)
	rec := newRecorder()
	w.MetricsHandler().ServeHTTP(rec, r)
	return rec.Body.String()
}

// TestLogsAndMetricsNameNobody: no session, peer, nameplate scope or locator stands in the logs or the metrics.
func TestLogsAndMetricsNameNobody(t *testing.T) {
	var logs lockedBuffer
	w := startDirect(t, server.Config{Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	old, young := w.device(), w.device()
	sid, tick := id.NewSession(), newTicket()
	old.must(old.openTicket(sid, tick))
	_, err := young.claimTicket(tick, tick.claim)
	young.must(err)
	name := id.NewBlob()
	old.must(old.put(sid, name, blobOf(name)))
	old.must(old.finish(sid, "ack"))
	w.sweep()
	metrics := w.get("/metrics")
	for _, want := range []string{`decant_requests_total{method="PutBlob",status="ok"} 1`, "decant_sessions 0", "decant_sweep_dropped_total 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, text := range []string{logs.String(), metrics} {
		for _, secret := range []string{sid.String(), old.peer.String(), young.peer.String(), hex.EncodeToString(old.peer[:]), name.String(), tick.locator.String(), "192.0.2.1"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s in the logs or metrics", secret)
			}
		}
	}
	if !strings.Contains(logs.String(), sid.Short()) {
		t.Error("the logs say nothing")
	}
}

// FuzzHandler sends anything to any path. Whatever comes, the answer has the form of an answer and is not our own failure.
func FuzzHandler(f *testing.F) {
	w := startDirect(f, server.Config{Dir: "state", FS: vfs.NewMem()})
	d := w.device()
	sid := d.mustOpen()
	methods := []string{"Hello", "Allocate", "Resolve", "Release", "Open", "Claim", "Pin", "Commit", "GetRoot", "Status", "Finish", "Has", "Post", "Fetch", "Ack"}
	for i := range methods {
		f.Add(uint8(i), "", []byte{})
		f.Add(uint8(i), "", append([]byte{0x0a, 16}, sid[:]...))
		f.Add(uint8(i), "", append([]byte{0x0a, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x12, 16}, sid[:]...))
		f.Add(uint8(i), "", bytes.Repeat([]byte{0xff}, 200))
	}
	f.Add(uint8(200), path(sid, id.NewBlob()), []byte("blob"))
	f.Add(uint8(201), path(sid, id.NewBlob()), []byte{})
	f.Fuzz(func(t *testing.T, which uint8, p string, body []byte) {
		method, target, kind := http.MethodPost, "", "application/proto"
		switch {
		case int(which) < len(methods):
			target = "/" + serverpbconnect.DecantName + "/" + methods[which]
		default:
			method = []string{http.MethodPut, http.MethodGet, http.MethodDelete, "PATCH", http.MethodPost}[which%5]
		}
		r := &http.Request{Method: method, URL: urlOf(target + p), Header: http.Header{"Content-Type": {kind}, peerHeader: {hex.EncodeToString(d.peer[:])}},
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), RemoteAddr: "192.0.2.1:1"}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond) // long polls
		defer cancel()
		rec := newRecorder()
		w.handler.ServeHTTP(rec, r.WithContext(ctx))
		if rec.Code != http.StatusOK && refusal(t, rec.Result(), rec.Body.Bytes()) == wire.Internal {
			t.Error("the server failed")
		}
	})
}

// TestE15RefusalsHoldNoText: what Connect itself refuses gets the same form.
func TestE15RefusalsHoldNoText(t *testing.T) {
	w := startDirect(t, server.Config{})
	d := w.device()
	status := "/" + serverpbconnect.DecantName + "/Status"
	for _, c := range []struct {
		what   string
		want   wire.Status
		method string
		path   string
		body   []byte
		header []string
	}{
		{"json", wire.Malformed, "POST", status, []byte("{}"), []string{"Content-Type", "application/json"}},
		{"grpc", wire.Malformed, "POST", status, nil, []string{"Content-Type", "application/grpc"}},
		{"no type", wire.Malformed, "POST", status, nil, nil},
		{"compressed", wire.Malformed, "POST", status, nil, []string{"Content-Type", "application/proto", "Content-Encoding", "gzip"}},
		{"protocol version", wire.Malformed, "POST", status, nil, []string{"Content-Type", "application/proto", "Connect-Protocol-Version", "9"}},
		{"timeout", wire.Malformed, "POST", status, nil, []string{"Content-Type", "application/proto", "Connect-Timeout-Ms", "x"}},
		{"not protobuf", wire.Malformed, "POST", status, []byte{0xff, 0xff}, []string{"Content-Type", "application/proto"}},
		{"get", wire.NotFound, "GET", status, nil, nil},
		{"unknown call", wire.NotFound, "POST", "/" + serverpbconnect.DecantName + "/Nothing", nil, nil},
		{"unknown path", wire.NotFound, "GET", "/", nil, nil},
		{"too large", wire.TooLarge, "POST", status, make([]byte, 4096), []string{"Content-Type", "application/proto"}},
		{"version", wire.Version1, "POST", "/" + serverpbconnect.DecantName + "/Hello", []byte{8, 2}, []string{"Content-Type", "application/proto"}},
	} {
		if s, _ := d.raw(c.method, c.path, c.body, c.header...); s != c.want {
			t.Errorf("%s: %v, want %v", c.what, s, c.want)
		}
	}
	nobody := &device{w: w}
	r, _ := http.NewRequest("GET", "http://direct/", nil)
	if got := refusal(t, nobody.w.do(r), []byte("{}")); got != wire.NotFound {
		t.Errorf("unauthenticated, unknown path: %v", got)
	}
	r, _ = http.NewRequest("POST", "http://direct"+status, nil)
	if got := refusal(t, nobody.w.do(r), []byte("{}")); got != wire.Forbidden {
		t.Errorf("unauthenticated: %v", got)
	}
}
