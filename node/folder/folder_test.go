package folder

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io/fs"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/contract"
)

// pair is a folder with a session as its two devices see it.
type pair struct {
	dir        string
	sid        id.Session
	old, young *Folder
	ticket     *remote.Ticket
	claimKey   ed25519.PrivateKey
}

// quick is a directory in memory, where there is such a thing: for tests that make thousands of files and ask no disk.
func quick(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "decant-folder-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newPeer() (p id.Peer) { rand.Read(p[:]); return }

func openT(t testing.TB, dir string, device id.Peer, create bool) *Folder {
	t.Helper()
	f, err := Open(Config{Dir: dir, Device: device, Create: create})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// newPair makes a folder in dir with a session of class S that is waiting for a ticket's holder.
func newPair(t testing.TB, dir string, blobs uint64) *pair {
	t.Helper()
	p := &pair{dir: dir, sid: id.NewSession(), old: openT(t, dir, newPeer(), true), young: openT(t, dir, newPeer(), false)}
	p.ticket = &remote.Ticket{Grant: []byte("sealed grant")}
	var public ed25519.PublicKey
	public, p.claimKey, _ = ed25519.GenerateKey(nil)
	copy(p.ticket.ClaimKey[:], public)
	rand.Read(p.ticket.Locator[:])
	rand.Read(p.ticket.Share[:])
	if _, err := p.old.Open(t.Context(), p.offer(blobs)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) offer(blobs uint64) remote.Offer {
	return remote.Offer{Session: p.sid, Class: wire.ClassS, Blobs: blobs, Ticket: p.ticket}
}

// claim is what a holder of the ticket asks.
func (p *pair) claim(device id.Peer, card string) remote.Claim {
	msg := key.ClaimMessage(p.ticket.Locator, device, key.HashCard([]byte(card)))
	return remote.Claim{Locator: p.ticket.Locator, Card: []byte(card), Signature: key.SignWith(p.claimKey, label.Claim, msg)}
}

// path is a file of the session.
func (p *pair) path(name string) string {
	return filepath.Join(p.dir, topName, versionName, p.sid.String(), name)
}

func want(t testing.TB, err error, s wire.Status) {
	t.Helper()
	if s == wire.OK && err != nil || s != wire.OK && !errors.Is(err, s) {
		t.Fatalf("error %v, want %v", err, s)
	}
}

func root(epoch uint64, final bool, text string) *remote.Root {
	return &remote.Root{Epoch: epoch, Final: final, Sealed: []byte(text), Signature: bytes.Repeat([]byte{byte(epoch)}, 64)}
}

// blobOf is the content that tests put under a name.
func blobOf(name id.Blob, size int) []byte {
	b := make([]byte, size)
	mrand.NewChaCha8(sha256.Sum256(name[:])).Read(b)
	return b
}

// TestContract runs the suites that every blob store and mailbox passes, on both ways in which blobs may lie.
func TestContract(t *testing.T) {
	for name, blobs := range map[string]uint64{"one directory": 100, "spread": maxEntries + 1} {
		t.Run(name, func(t *testing.T) {
			contract.BlobStore(t, func(t *testing.T) contract.Store {
				p := newPair(t, quick(t), blobs)
				return p.old.Session(p.sid)
			})
		})
	}
	contract.Mailbox(t, func(t *testing.T) contract.Ends {
		p := newPair(t, quick(t), 100)
		return contract.Ends{A: p.old.Mailbox(p.sid.Scope()), B: p.young.Mailbox(p.sid.Scope()), PeerA: p.old.cfg.Device, PeerB: p.young.cfg.Device}
	})
}

// TestJourney moves one session from its offer to its end, as two devices that are never there at once would.
func TestJourney(t *testing.T) { journey(t, t.TempDir()) }

func journey(t *testing.T, dir string) {
	ctx := t.Context()
	p := newPair(t, dir, 100)
	hello, err := p.old.Hello(ctx)
	want(t, err, wire.OK)
	if hello.Version != wire.Version || hello.Incarnation == [16]byte{} || hello.FreeBytes == 0 || hello.MaxSessionBytes == 0 {
		t.Fatalf("%+v", hello)
	}
	if again, err := openT(t, p.dir, newPeer(), true).Hello(ctx); err != nil || again.Incarnation != hello.Incarnation {
		t.Fatalf("the same folder is another: %v", err)
	}
	name := id.NewBlob()
	blob := blobOf(name, wire.BlobSizeS)
	want(t, p.old.Session(p.sid).Put(ctx, name, blob), wire.OK)
	want(t, p.old.Commit(ctx, p.sid, root(0, false, "catalog")), wire.OK)
	want(t, p.old.Commit(ctx, p.sid, root(1, true, "all")), wire.OK)

	claimed, err := p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
	want(t, err, wire.OK)
	if claimed.Session != p.sid || claimed.Sender != p.old.cfg.Device || claimed.Class != wire.ClassS ||
		!bytes.Equal(claimed.Share, p.ticket.Share[:]) || !bytes.Equal(claimed.Grant, p.ticket.Grant) || time.Until(claimed.Expires) < 13*24*time.Hour {
		t.Fatalf("%+v", claimed)
	}
	got, err := p.young.GetRoot(ctx, p.sid, 1, 0)
	want(t, err, wire.OK)
	if got == nil || got.Epoch != 1 || !got.Final || string(got.Sealed) != "all" {
		t.Fatalf("%+v", got)
	}
	if b, err := p.young.Session(p.sid).Get(ctx, name, nil); err != nil || !bytes.Equal(b, blob) {
		t.Fatal(err)
	}
	want(t, p.young.Mailbox(p.sid.Scope()).Post(ctx, p.old.cfg.Device, []byte("receipt")), wire.OK)

	st, err := p.old.Status(ctx, p.sid)
	want(t, err, wire.OK)
	if st.State != remote.Sealed || !st.Committed || st.Epoch != 1 || !st.Final || st.Receiver != p.young.cfg.Device || st.Pinned || string(st.ReceiverCard) != "card" {
		t.Fatalf("%+v", st)
	}
	want(t, p.old.Pin(ctx, p.sid, st.Receiver, []byte("pin")), wire.OK)
	if st, err = p.young.Status(ctx, p.sid); err != nil || !st.Pinned || string(st.Pin) != "pin" || st.ReceiverCard != nil {
		t.Fatalf("%+v %v", st, err)
	}
	want(t, p.young.Finish(ctx, p.sid, []byte("ack")), wire.Forbidden)
	for range 2 {
		want(t, p.old.Finish(ctx, p.sid, []byte("ack")), wire.OK)
	}
	want(t, p.old.Finish(ctx, p.sid, []byte("another")), wire.Conflict)
	p.checkOver(t, name)
}

// checkOver checks what is left of a session that its sender has finished.
func (p *pair) checkOver(t *testing.T, name id.Blob) {
	t.Helper()
	ctx := t.Context()
	st, err := p.young.Status(ctx, p.sid)
	if err != nil || st.State != remote.Done {
		t.Fatalf("%+v %v", st, err)
	}
	if _, ack, err := p.young.Mailbox(p.sid.Scope()).Fetch(ctx, 0, time.Hour); err != nil || string(ack) != "ack" {
		t.Fatalf("ack %q, %v", ack, err)
	}
	_, err = p.young.Session(p.sid).Get(ctx, name, nil)
	want(t, err, wire.Done)
	_, err = p.young.GetRoot(ctx, p.sid, 0, 0)
	want(t, err, wire.Done)
	_, err = p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
	want(t, err, wire.NotFound) // as if the ticket were unknown
	want(t, p.young.Mailbox(p.sid.Scope()).Post(ctx, p.old.cfg.Device, nil), wire.Done)
	want(t, p.young.Mailbox(p.sid.Scope()).Ack(ctx, 5), wire.OK)
	want(t, p.old.Session(p.sid).Put(ctx, name, blobOf(name, wire.BlobSizeS)), wire.Done)
	_, err = p.old.Open(ctx, p.offer(100))
	want(t, err, wire.Done)
	if left := files(t, p.dir); len(left) != 3 { // the folder's mark, the offer, the end
		t.Fatalf("left over: %q", left)
	}
	all := contents(t, p.dir)
	for what, secret := range map[string][]byte{"share": p.ticket.Share[:], "grant": p.ticket.Grant, "receipt": []byte("receipt")} {
		if bytes.Contains(all, secret) {
			t.Errorf("the %s is still there", what)
		}
	}
}

// files lists the files below dir.
func files(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func contents(t testing.TB, dir string) (all []byte) {
	t.Helper()
	for _, name := range files(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// TestNames holds every name that is ever written against what any file system takes: short, of one case, no name that some
// system reserves, and few in a directory.
func TestNames(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, quick(t), maxEntries+1)
	want(t, p.old.Session(p.sid).Put(ctx, id.NewBlob(), make([]byte, wire.BlobSizeS)), wire.OK)
	want(t, p.old.Commit(ctx, p.sid, root(7, false, "root")), wire.OK)
	_, err := p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
	want(t, err, wire.OK)
	want(t, p.old.Pin(ctx, p.sid, p.young.cfg.Device, nil), wire.OK)
	want(t, p.old.Mailbox(p.sid.Scope()).Post(ctx, p.young.cfg.Device, nil), wire.OK)
	names := files(t, p.dir)
	if len(names) != 9 {
		t.Errorf("%d files: %q", len(names), names)
	}
	plain := regexp.MustCompile(`^([0-9a-f]{1,64}|decant|mark|tickets|offer|ticket|end|blobs|roots|pins|claims|mail|tmp)$`)
	for _, name := range names {
		for part := range strings.SplitSeq(name, "/") {
			if !plain.MatchString(part) {
				t.Errorf("%s: %q", name, part)
			}
		}
	}
}

func TestOpenSession(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	first, err := p.old.Open(ctx, p.offer(100))
	want(t, err, wire.OK)
	if again, err := openT(t, p.dir, p.old.cfg.Device, true).Open(ctx, p.offer(100)); err != nil || !again.Equal(first) {
		t.Errorf("the same offer again: %v, %v", again, err)
	}
	changed := func(f func(*remote.Offer)) remote.Offer {
		o := p.offer(100)
		ticket := *p.ticket
		o.Ticket = &ticket
		f(&o)
		return o
	}
	for name, c := range map[string]struct {
		offer remote.Offer
		want  wire.Status
	}{
		"other size":            {changed(func(o *remote.Offer) { o.Blobs = 101 }), wire.Conflict},
		"other class":           {changed(func(o *remote.Offer) { o.Class = wire.ClassL }), wire.Conflict},
		"no ticket":             {changed(func(o *remote.Offer) { o.Ticket = nil }), wire.Conflict},
		"other share":           {changed(func(o *remote.Offer) { o.Ticket.Share[0]++ }), wire.Conflict},
		"other grant":           {changed(func(o *remote.Offer) { o.Ticket.Grant = []byte("x") }), wire.Conflict},
		"locator that is taken": {changed(func(o *remote.Offer) { o.Session = id.NewSession() }), wire.Conflict},
		"no session":            {changed(func(o *remote.Offer) { o.Session = id.Session{} }), wire.Malformed},
		"no class":              {changed(func(o *remote.Offer) { o.Class = 3 }), wire.Malformed},
		"no blobs":              {changed(func(o *remote.Offer) { o.Blobs = 0 }), wire.Malformed},
		"expires before":        {changed(func(o *remote.Offer) { o.Expiry = -1 }), wire.Malformed},
		"too many blobs":        {changed(func(o *remote.Offer) { o.Blobs = maxBlobs + 1 }), wire.QuotaSpace},
		"long grant":            {changed(func(o *remote.Offer) { o.Ticket.Grant = make([]byte, wire.MaxGrant+1) }), wire.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.old.Open(ctx, c.offer)
			want(t, err, c.want)
		})
	}
	if _, err := openT(t, p.dir, newPeer(), true).Open(ctx, p.offer(100)); !errors.Is(err, wire.Conflict) {
		t.Errorf("another device opens the same session: %v", err)
	}
	long := remote.Offer{Session: id.NewSession(), Class: wire.ClassL, Blobs: 1, Expiry: 1000 * 24 * time.Hour}
	if at, err := p.old.Open(ctx, long); err != nil || time.Until(at) > maxExpiry {
		t.Errorf("expires %v, %v", at, err)
	}
}

func TestCommit(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	for i, c := range []struct {
		by   *Folder
		root *remote.Root
		want wire.Status
	}{
		{p.young, root(0, false, "a"), wire.Forbidden},
		{p.old, root(0, false, "a"), wire.OK},
		{p.old, root(0, false, "a"), wire.OK},
		{p.old, root(0, false, "b"), wire.Conflict},
		{p.old, root(0, true, "a"), wire.Conflict},
		{p.old, root(2, true, "c"), wire.OK},
		{p.old, root(1, true, "b"), wire.StaleEpoch},
		{p.old, root(3, false, "d"), wire.WrongState},
		{p.old, root(3, true, "d"), wire.OK},
		{p.old, &remote.Root{Epoch: 4, Final: true, Sealed: []byte("x"), Signature: []byte("short")}, wire.Malformed},
		{p.old, root(4, true, ""), wire.Malformed},
		{p.old, root(4, true, string(make([]byte, wire.MaxRoot+1))), wire.TooLarge},
		{p.old, root(4, true, string(make([]byte, wire.MaxRoot))), wire.OK},
	} {
		if err := c.by.Commit(ctx, p.sid, c.root); wire.StatusOf(err) != c.want {
			t.Errorf("%d: %v, want %v", i, err, c.want)
		}
	}
	if r, err := p.young.GetRoot(ctx, p.sid, 5, 0); r != nil || err != nil {
		t.Errorf("epoch 5: %+v, %v", r, err)
	}
	if r, err := p.young.GetRoot(ctx, p.sid, 0, 0); err != nil || r.Epoch != 4 || len(r.Sealed) != wire.MaxRoot {
		t.Errorf("newest: %v", err)
	}
	if names, _ := filepath.Glob(p.path("roots/*")); len(names) != 1 {
		t.Errorf("%d roots are kept", len(names))
	}
}

func TestClaim(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	thief := openT(t, p.dir, newPeer(), false)
	young := p.young.cfg.Device
	bad := p.claim(young, "card")
	bad.Card = []byte("another card")
	_, err := p.young.Claim(ctx, bad)
	want(t, err, wire.NotFound)
	_, err = thief.Claim(ctx, p.claim(young, "card")) // signed for another device
	want(t, err, wire.NotFound)
	_, err = p.old.Claim(ctx, p.claim(p.old.cfg.Device, "card"))
	want(t, err, wire.Forbidden)
	_, err = p.young.Claim(ctx, remote.Claim{Session: p.sid, Card: []byte("card")})
	want(t, err, wire.NotPinned)
	_, err = p.young.Claim(ctx, remote.Claim{Session: id.NewSession()})
	want(t, err, wire.NotFound)
	_, err = p.young.Claim(ctx, remote.Claim{Session: p.sid, Card: make([]byte, wire.MaxCard+1)})
	want(t, err, wire.TooLarge)
	if st, err := p.old.Status(ctx, p.sid); err != nil || !st.Receiver.IsZero() {
		t.Fatalf("%+v %v", st, err)
	}
	for range 2 {
		_, err = p.young.Claim(ctx, p.claim(young, "card"))
		want(t, err, wire.OK)
	}
	_, err = p.young.Claim(ctx, remote.Claim{Session: p.sid, Card: []byte("card")})
	want(t, err, wire.OK)
	_, err = thief.Claim(ctx, p.claim(thief.cfg.Device, "card"))
	want(t, err, wire.AlreadyClaimed)

	// R1: the pin beats the claim.
	want(t, p.young.Pin(ctx, p.sid, young, nil), wire.Forbidden)
	want(t, p.old.Pin(ctx, p.sid, p.old.cfg.Device, nil), wire.Malformed)
	want(t, p.old.Pin(ctx, p.sid, id.Peer{}, nil), wire.Malformed)
	want(t, p.old.Pin(ctx, p.sid, thief.cfg.Device, []byte("first")), wire.OK)
	for range 2 {
		want(t, p.old.Pin(ctx, p.sid, thief.cfg.Device, []byte("second")), wire.OK)
	}
	_, err = p.young.Claim(ctx, p.claim(young, "card"))
	want(t, err, wire.AlreadyClaimed)
	out, err := thief.Claim(ctx, remote.Claim{Session: p.sid, Card: []byte("its card")})
	want(t, err, wire.OK)
	if !bytes.Equal(out.Share, p.ticket.Share[:]) {
		t.Error("the pinned device got no share")
	}
	st, err := p.old.Status(ctx, p.sid)
	want(t, err, wire.OK)
	if st.Receiver != thief.cfg.Device || !st.Pinned || string(st.ReceiverCard) != "its card" {
		t.Errorf("%+v", st)
	}
}

// TestClaimsAtOnce lets two holders of a ticket claim on two machines before their folders are in step again: both sides name
// the same one from then on.
func TestClaimsAtOnce(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	other := openT(t, p.dir, newPeer(), false)
	_, err := p.young.Claim(ctx, p.claim(p.young.cfg.Device, "card"))
	want(t, err, wire.OK)
	hidden := filepath.Join(t.TempDir(), "claims")
	if err := os.Rename(p.path(claimsDir), hidden); err != nil {
		t.Fatal(err)
	}
	_, err = other.Claim(ctx, p.claim(other.cfg.Device, "card"))
	want(t, err, wire.OK)
	names, _ := filepath.Glob(filepath.Join(hidden, "*"))
	for _, name := range names {
		if err := os.Rename(name, p.path(claimsDir+"/"+filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	winner, loser := p.young, other
	if bytes.Compare(winner.cfg.Device[:], loser.cfg.Device[:]) > 0 {
		winner, loser = loser, winner
	}
	_, err = winner.Claim(ctx, p.claim(winner.cfg.Device, "card"))
	want(t, err, wire.OK)
	_, err = loser.Claim(ctx, p.claim(loser.cfg.Device, "card"))
	want(t, err, wire.AlreadyClaimed)
	if st, err := p.old.Status(ctx, p.sid); err != nil || st.Receiver != winner.cfg.Device {
		t.Errorf("%+v %v", st, err)
	}
}

// TestNoTicket: a session that was paired elsewhere is its pinned receiver's.
func TestNoTicket(t *testing.T) {
	ctx := t.Context()
	p := &pair{dir: t.TempDir(), sid: id.NewSession()}
	p.old, p.young = openT(t, p.dir, newPeer(), true), openT(t, p.dir, newPeer(), false)
	_, err := p.old.Open(ctx, p.offer(10))
	want(t, err, wire.OK)
	_, err = p.young.Claim(ctx, remote.Claim{Session: p.sid})
	want(t, err, wire.NotPinned)
	want(t, p.old.Pin(ctx, p.sid, p.young.cfg.Device, []byte("pin")), wire.OK)
	out, err := p.young.Claim(ctx, remote.Claim{Session: p.sid, Card: []byte("card")})
	want(t, err, wire.OK)
	if out.Share != nil || out.Grant != nil {
		t.Errorf("%+v", out)
	}
	want(t, p.old.Finish(ctx, p.sid, nil), wire.OK)
	if _, ack, err := p.young.Mailbox(p.sid.Scope()).Fetch(ctx, 0, 0); err != nil || ack == nil {
		t.Errorf("an empty ack: %v, %v", ack, err)
	}
}

func TestPutRefusals(t *testing.T) {
	ctx := t.Context()
	p := newPair(t, t.TempDir(), 100)
	blob := make([]byte, wire.BlobSizeS)
	want(t, p.young.Session(p.sid).Put(ctx, id.NewBlob(), blob), wire.Forbidden)
	want(t, p.young.Session(p.sid).Delete(ctx, id.NewBlob()), wire.Forbidden)
	want(t, p.old.Session(p.sid).Put(ctx, id.NewBlob(), blob[1:]), wire.Malformed)
	want(t, p.old.Session(p.sid).Put(ctx, id.NewBlob(), append(blob, 0)), wire.TooLarge)
	want(t, p.old.Session(id.NewSession()).Put(ctx, id.NewBlob(), blob), wire.NotFound)
	third := openT(t, p.dir, newPeer(), false).Mailbox(p.sid.Scope())
	want(t, third.Post(ctx, p.young.cfg.Device, nil), wire.Forbidden)
	want(t, third.Post(ctx, p.old.cfg.Device, nil), wire.OK)
}

// TestOneNameAtOnce: of two contents that come under one name at once, one is there and the other was refused, each time.
func TestOneNameAtOnce(t *testing.T) {
	p := newPair(t, t.TempDir(), 100)
	s := p.old.Session(p.sid)
	blobs := [2][]byte{blobOf(id.Blob{1}, wire.BlobSizeS), blobOf(id.Blob{2}, wire.BlobSizeS)}
	for range 50 {
		name := id.NewBlob()
		var errs [2]error
		var wg sync.WaitGroup
		for i := range blobs {
			wg.Go(func() { errs[i] = s.Put(t.Context(), name, blobs[i]) })
		}
		wg.Wait()
		first := 0
		if errs[0] != nil {
			first = 1
		}
		want(t, errs[first], wire.OK)
		want(t, errs[1-first], wire.Conflict)
		if b, err := s.Get(t.Context(), name, nil); err != nil || !bytes.Equal(b, blobs[first]) {
			t.Fatal(err)
		}
	}
}

// TestBeforeTheSender: a receiver that looks before anything is there is told so, and finds it later.
func TestBeforeTheSender(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	young := openT(t, dir, newPeer(), false)
	hello, err := young.Hello(ctx)
	if err != nil || hello.Incarnation != [16]byte{} {
		t.Fatalf("%+v %v", hello, err)
	}
	sid := id.NewSession()
	_, err = young.GetRoot(ctx, sid, 0, 0)
	want(t, err, wire.NotFound)
	_, err = young.Claim(ctx, remote.Claim{Locator: id.Locator{1}})
	want(t, err, wire.NotFound)
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Fatal("a receiver began a folder")
	}
	p := newPair(t, dir, 10)
	if _, err := young.GetRoot(ctx, p.sid, 0, 0); err != nil {
		t.Fatal(err)
	}
}

func TestOtherVersion(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, topName, "2"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := openT(t, dir, newPeer(), false).Hello(t.Context())
	want(t, err, wire.Version1)
}

// TestWaits measures, on a virtual clock, how a folder is watched: something new is seen within two seconds, at first within
// a quarter of one, and a wait ends when it should.
func TestWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, dir, 10)
		box := p.young.Mailbox(p.sid.Scope())
		for _, after := range []time.Duration{100 * time.Millisecond, 30 * time.Second} {
			start := time.Now()
			go func() {
				time.Sleep(after)
				if err := p.old.Mailbox(p.sid.Scope()).Post(t.Context(), p.young.cfg.Device, []byte("x")); err != nil {
					t.Error(err)
				}
			}()
			ms, _, err := box.Fetch(t.Context(), 0, wire.MaxWait)
			if err != nil || len(ms) != 1 {
				t.Fatal(ms, err)
			}
			if late := time.Since(start) - after; late < 0 || late > min(laterLook, after+firstLook) {
				t.Errorf("seen %v late", late)
			}
			if err := box.Ack(t.Context(), ms[0].Sequence); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if r, err := p.young.GetRoot(t.Context(), p.sid, 0, time.Hour); r != nil || err != nil || time.Since(start) != wire.MaxWait {
			t.Errorf("%v %v after %v", r, err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start = time.Now()
		if _, err := p.young.GetRoot(ctx, p.sid, 0, wire.MaxWait); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestCancelled(t *testing.T) {
	p := newPair(t, t.TempDir(), 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, hello := p.old.Hello(ctx)
	_, status := p.old.Status(ctx, p.sid)
	for name, err := range map[string]error{"hello": hello, "status": status, "commit": p.old.Commit(ctx, p.sid, root(0, false, "x")),
		"put": p.old.Session(p.sid).Put(ctx, id.NewBlob(), make([]byte, wire.BlobSizeS)), "finish": p.old.Finish(ctx, p.sid, nil)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(files(t, p.dir)) != 4 { // mark, locator, ticket, offer
		t.Errorf("%q", files(t, p.dir))
	}
}
