package direct

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// TestTransfer takes a session through its whole life, over a real carrier.
func TestTransfer(t *testing.T) {
	w := newWorld(t)
	l, err := link.Listen(link.Config{Device: w.young, Handler: w.Desk, Listen: "127.0.0.1:0", FastOnly: true})
	must(t, err)
	defer l.Close()
	old := key.NewDevice()
	sender, err := remote.New(remote.Config{Device: old, Server: l.Server(), Carrier: link.Fast})
	must(t, err)
	defer sender.Close()
	ctx := t.Context()

	plate := w.plate()
	hello, err := sender.Hello(ctx)
	must(t, err)
	if own, _ := w.Hello(ctx); hello.Incarnation != own.Incarnation || hello.FreeBytes != plenty {
		t.Fatalf("hello: %+v", hello)
	}
	sid := id.NewSession()
	offer := remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 8, Expiry: time.Hour}
	expires, err := sender.Open(ctx, offer)
	must(t, err)
	if again, err := sender.Open(ctx, offer); err != nil || !again.Equal(expires) || time.Until(expires) > time.Hour {
		t.Fatalf("opened again until %v, %v; the first time until %v", again, err, expires)
	}

	pair(t, w, sender, plate, old.Peer(), sid)

	claimed, err := w.Claim(ctx, remote.Claim{Session: sid, Card: []byte("card")})
	must(t, err)
	if claimed.Session != sid || claimed.Sender != old.Peer() || claimed.Class != wire.ClassS || !claimed.Expires.Equal(expires) {
		t.Fatalf("claimed: %+v", claimed)
	}
	st, err := sender.Status(ctx, sid)
	must(t, err)
	if st.State != remote.Opened || st.Receiver != w.young.Peer() || string(st.ReceiverCard) != "card" || !st.Pinned || st.Pin != nil {
		t.Fatalf("status to the sender: %+v", st)
	}
	if st, err = w.Status(ctx, sid); err != nil || string(st.Pin) != "pin" || st.ReceiverCard != nil {
		t.Fatalf("status to the receiver: %+v, %v", st, err)
	}

	move(t, w, sender, sid)

	must(t, w.Mailbox(sid.Scope()).Post(ctx, old.Peer(), []byte("receipt")))
	ms, _, err := sender.Mailbox(sid.Scope()).Fetch(ctx, 0, wire.MaxWait)
	must(t, err)
	if len(ms) != 1 || string(ms[0].Body) != "receipt" || ms[0].From != w.young.Peer() {
		t.Fatalf("the sender has %v", ms)
	}
	for range 2 {
		must(t, sender.Finish(ctx, sid, []byte("ack")))
	}
	want(t, sender.Finish(ctx, sid, []byte("other")), wire.Conflict)
	want(t, sender.Commit(ctx, sid, root(9, true)), wire.Done)
	_, ack, err := w.Mailbox(sid.Scope()).Fetch(ctx, 0, wire.MaxWait)
	if must(t, err); string(ack) != "ack" {
		t.Fatalf("ack: %q", ack)
	}
	if n := w.spool.len(); n != 0 {
		t.Fatalf("%d blobs are still in the spool", n)
	}
	for k := range w.store.kv {
		if k != keySession && k != keyIncarnation {
			t.Errorf("still in the store: %q", k)
		}
	}
}

// pair passes three messages, as the code exchange does, and admits the sender on the third.
func pair(t *testing.T, w *world, sender *remote.Remote, plate *remote.Nameplate, old id.Peer, sid id.Session) {
	t.Helper()
	ctx := t.Context()
	scope, owner, err := sender.Resolve(ctx, plate.Number)
	if must(t, err); scope != plate.Scope || owner != w.young.Peer() {
		t.Fatalf("resolved to %v of %v", scope, owner)
	}
	if owner, err := sender.ResolveScope(ctx, scope); err != nil || owner != w.young.Peer() {
		t.Fatalf("the scope is of %v, %v", owner, err)
	}
	theirs, ours := sender.Mailbox(scope), w.Mailbox(scope)
	must(t, theirs.Post(ctx, owner, []byte("message 1")))
	ms, _, err := ours.Fetch(ctx, 0, wire.MaxWait)
	if must(t, err); len(ms) != 1 || ms[0].From != old || string(ms[0].Body) != "message 1" {
		t.Fatalf("the receiver has %v", ms)
	}
	must(t, ours.Post(ctx, old, []byte("message 2")))
	if ms, _, err = theirs.Fetch(ctx, 0, wire.MaxWait); err != nil || len(ms) != 1 || string(ms[0].Body) != "message 2" {
		t.Fatalf("the sender has %v, %v", ms, err)
	}
	want(t, sender.Pin(ctx, sid, old, []byte("pin")), wire.Forbidden) // of another device
	must(t, sender.Pin(ctx, sid, w.young.Peer(), []byte("pin")))
	must(t, theirs.Post(ctx, owner, []byte("message 3")))
	must(t, w.Admit(old, sid))
	must(t, w.Release(ctx, scope))
}

// move brings a manifest, content and two roots.
func move(t *testing.T, w *world, sender *remote.Remote, sid id.Session) {
	t.Helper()
	ctx := t.Context()
	store := sender.Session(sid)
	manifest, content := id.NewBlob(), id.NewBlob()
	page := blob()
	must(t, store.Deliver(ctx, manifest, []byte(kept), page))
	waited := make(chan *remote.Root, 1)
	go func() {
		r, _ := w.GetRoot(ctx, sid, 0, wire.MaxWait)
		waited <- r
	}()
	catalog := root(0, false)
	must(t, sender.Commit(ctx, sid, catalog))
	if r := <-waited; r == nil || !bytes.Equal(r.Sealed, catalog.Sealed) || r.Final {
		t.Fatalf("the receiver's root: %+v", r)
	}
	got, err := w.Session(sid).Get(ctx, manifest, nil)
	if must(t, err); !bytes.Equal(got, page) {
		t.Fatal("the spool has other bytes")
	}
	must(t, store.Deliver(ctx, content, []byte("content"), blob()))
	has, err := store.Has(ctx, []id.Blob{manifest, id.NewBlob(), content})
	if must(t, err); !slices.Equal(has, []bool{true, false, true}) {
		t.Fatalf("has: %v", has)
	}
	if _, err := w.Session(sid).Get(ctx, content, nil); wire.StatusOf(err) != wire.NotFound {
		t.Fatalf("content was delivered and is in the spool: %v", err)
	}
	w.mu.Lock()
	if w.delivered[content] != "content" || w.delivered[manifest] != kept {
		t.Errorf("notes: %q", w.delivered)
	}
	w.mu.Unlock()
	final := root(1, true)
	for range 2 {
		must(t, sender.Commit(ctx, sid, final))
	}
	if r, err := w.GetRoot(ctx, sid, 1, 0); err != nil || r == nil || !r.Final || !bytes.Equal(r.Signature, final.Signature) {
		t.Fatalf("the receiver's last root: %+v, %v", r, err)
	}
	if r, err := w.GetRoot(ctx, sid, 2, time.Millisecond); r != nil || err != nil {
		t.Fatalf("a root that is not there: %+v, %v", r, err)
	}
}

// request asks the desk without a Remote, so that nothing is repeated.
func (w *world) request(from id.Peer, method, path, contentType string, body []byte, edit func(*http.Request)) wire.Status {
	w.t.Helper()
	r := httptest.NewRequestWithContext(as(w.t.Context(), from), method, path, bytes.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if edit != nil {
		edit(r)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	if rec.Code == http.StatusOK {
		return wire.OK
	}
	n, err := strconv.Atoi(rec.Header().Get(wire.StatusHeader))
	if err != nil || wire.Status(n).HTTP() != rec.Code || rec.Body.String() != "{}" {
		w.t.Fatalf("%s %s: http status %d, %q, %q", method, path, rec.Code, rec.Header(), rec.Body)
	}
	return wire.Status(n)
}

// everything asks for all that the protocol has, each call for half a minute at most.
func everything(t *testing.T, w *world, v *visitor, sid id.Session, scope id.Scope) map[string]error {
	t.Helper()
	var name id.Blob
	var err error
	out := map[string]error{}
	for _, c := range []struct {
		call string
		ask  func(ctx context.Context)
	}{
		{"Hello", func(ctx context.Context) { _, err = v.Hello(ctx) }},
		{"Open", func(ctx context.Context) {
			_, err = v.Open(ctx, remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 1})
		}},
		{"Resolve", func(ctx context.Context) { _, err = v.ResolveScope(ctx, scope) }},
		{"Status", func(ctx context.Context) { _, err = v.Status(ctx, sid) }},
		{"Pin", func(ctx context.Context) { err = v.Pin(ctx, sid, w.young.Peer(), nil) }},
		{"Commit", func(ctx context.Context) { err = v.Commit(ctx, sid, root(0, false)) }},
		{"Finish", func(ctx context.Context) { err = v.Finish(ctx, sid, nil) }},
		{"Has", func(ctx context.Context) { _, err = v.Session(sid).Has(ctx, []id.Blob{name}) }},
		{"Put", func(ctx context.Context) { err = v.Session(sid).Put(ctx, name, blob()) }},
		{"Deliver", func(ctx context.Context) { err = v.Session(sid).Deliver(ctx, name, nil, blob()) }},
		{"Post", func(ctx context.Context) { err = v.Mailbox(scope).Post(ctx, w.young.Peer(), []byte("x")) }},
		{"Fetch", func(ctx context.Context) { _, _, err = v.Mailbox(scope).Fetch(ctx, 0, 0) }},
		{"Ack", func(ctx context.Context) { err = v.Mailbox(scope).Ack(ctx, 0) }},
		{"Allocate", func(ctx context.Context) { _, err = v.Allocate(ctx) }},
		{"Release", func(ctx context.Context) { err = v.Release(ctx, scope) }},
		{"Claim", func(ctx context.Context) { _, err = v.Claim(ctx, remote.Claim{Session: sid}) }},
		{"GetRoot", func(ctx context.Context) { _, err = v.GetRoot(ctx, sid, 0, 0) }},
		{"Revoke", func(ctx context.Context) { err = v.Revoke(ctx, sid) }},
		{"Get", func(ctx context.Context) { _, err = v.Session(sid).Get(ctx, name, nil) }},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		c.ask(ctx)
		cancel()
		out[c.call] = err
	}
	return out
}

// expect checks what everything got: what is not in allow is refused as otherwise says.
func expect(t *testing.T, got map[string]error, allow map[string]wire.Status, otherwise wire.Status) {
	t.Helper()
	for call, err := range got {
		want, ok := allow[call]
		if !ok {
			want = otherwise
		}
		timeout := want == wire.Busy && errors.Is(err, context.DeadlineExceeded)
		if wire.StatusOf(err) != want && !timeout {
			t.Errorf("%s: %v, want %v", call, err, want)
		}
	}
}

// TestE3StrangersGetNothing asks for everything: before a code is shown, while one is shown,
// and after somebody else was admitted.
func TestE3StrangersGetNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stranger, other := w.visit(), w.visit()
		expect(t, everything(t, w, stranger, id.NewSession(), id.NewScope()), nil, wire.Forbidden)

		plate := w.plate()
		sid := other.offer(t)
		// A stranger may pair, and open a session of its own, though its ID be another's here.
		expect(t, everything(t, w, stranger, sid, plate.Scope), map[string]wire.Status{
			"Hello": wire.OK, "Resolve": wire.OK, "Post": wire.OK, "Fetch": wire.OK, "Ack": wire.OK, "Open": wire.OK, "Status": wire.OK,
			"Pin": wire.OK, "Commit": wire.Busy, "Finish": wire.Busy, "Has": wire.Busy, "Put": wire.Busy, "Deliver": wire.Busy,
		}, wire.NotFound)

		must(t, w.Admit(other.peer, sid))
		want(t, w.Admit(stranger.peer, sid), wire.Conflict)
		expect(t, everything(t, w, stranger, sid, plate.Scope), nil, wire.Forbidden)
		if n := w.deliveries(); n != 0 {
			t.Errorf("%d blobs of a stranger were taken in", n)
		}
		_, err := other.Open(t.Context(), remote.Offer{Session: id.NewSession(), Class: wire.ClassS, Blobs: 1})
		want(t, err, wire.Forbidden) // one session only
	})
}

// TestUnknownPaths checks who is told what about what does not exist.
func TestUnknownPaths(t *testing.T) {
	w := newWorld(t)
	w.plate()
	if s := w.request(w.young.Peer(), http.MethodPost, callPath+"Resolve", contentType, nil, nil); s != wire.Forbidden {
		t.Errorf("the receiver, from outside, while it pairs: %v", s)
	}
	v, _ := w.admitted()
	if s := w.request(w.visit().peer, http.MethodGet, "/elsewhere", "", nil, nil); s != wire.Forbidden {
		t.Errorf("a stranger: %v", s)
	}
	if s := w.request(v.peer, http.MethodGet, "/elsewhere", "", nil, nil); s != wire.NotFound {
		t.Errorf("the sender: %v", s)
	}
	if s := w.request(w.young.Peer(), http.MethodPost, callPath+"Hello", contentType, nil, nil); s != wire.Forbidden {
		t.Errorf("the receiver, from outside: %v", s)
	}
	rec := httptest.NewRecorder()
	if w.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, callPath+"Hello", nil)); rec.Code != http.StatusForbidden {
		t.Errorf("nobody: %d", rec.Code)
	}
}

// TestOwnSideOnly checks that the receiver can't do by mistake what only a sender may.
func TestOwnSideOnly(t *testing.T) {
	w := newWorld(t)
	_, sid := w.admitted()
	ctx := t.Context()
	_, err := w.Open(ctx, remote.Offer{Session: sid})
	want(t, err, wire.Forbidden)
	want(t, w.Pin(ctx, sid, w.young.Peer(), nil), wire.Forbidden)
	want(t, w.Commit(ctx, sid, root(0, false)), wire.Forbidden)
	want(t, w.Finish(ctx, sid, nil), wire.Forbidden)
	want(t, w.Session(sid).Put(ctx, id.NewBlob(), blob()), wire.Forbidden)
	_, err = w.Claim(ctx, remote.Claim{Locator: id.Locator{1}})
	want(t, err, wire.NotFound)
	_, err = w.Status(ctx, id.NewSession())
	want(t, err, wire.NotFound)
	_, err = w.Session(id.NewSession()).Has(ctx, nil)
	want(t, err, wire.NotFound)
	want(t, w.Mailbox(sid.Scope()).Post(ctx, id.Peer{9}, nil), wire.Forbidden)
}

// TestSenderWaitsForAdmission lets a sender put, commit and post before the receiver has
// seen who it is: nothing of it is refused, and nothing taken in before.
func TestSenderWaitsForAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.plate()
		v := w.visit()
		sid := v.offer(t)
		ctx := t.Context()
		done := make(chan error)
		go func() { done <- v.Session(sid).Deliver(ctx, id.NewBlob(), nil, blob()) }()
		go func() { done <- v.Commit(ctx, sid, root(0, false)) }()
		go func() { done <- v.Mailbox(sid.Scope()).Post(ctx, w.young.Peer(), []byte("x")) }()
		go func() { _, _, err := v.Mailbox(sid.Scope()).Fetch(ctx, 0, time.Second); done <- err }()
		must(t, <-done)          // the one that asked to wait
		time.Sleep(3 * patience) // long enough to be refused as busy, and to come again
		if n := w.deliveries(); n != 0 {
			t.Fatalf("%d blobs were taken in from a device that is not admitted", n)
		}
		must(t, w.Admit(v.peer, sid))
		for range 3 {
			must(t, <-done)
		}
	})
}

// TestSessionBeforeItsSender admits a device that has not come here yet, as after pairing
// over a server.
func TestSessionBeforeItsSender(t *testing.T) {
	w := newWorld(t)
	v, sid := w.visit(), id.NewSession()
	ctx := t.Context()
	for range 2 {
		must(t, w.Admit(v.peer, sid))
	}
	if p, s, ok := w.Admitted(); !ok || p != v.peer || s != sid {
		t.Fatalf("admitted: %v %v %v", p, s, ok)
	}
	_, err := w.Status(ctx, sid)
	want(t, err, wire.NotFound)
	if r, err := w.GetRoot(ctx, sid, 0, 0); r != nil || err != nil {
		t.Fatalf("root: %v, %v", r, err)
	}
	must(t, w.Mailbox(sid.Scope()).Post(ctx, v.peer, []byte("addresses")))
	want(t, v.Session(sid).Put(ctx, id.NewBlob(), blob()), wire.NotFound)
	_, err = v.Open(ctx, remote.Offer{Session: sid, Class: wire.ClassL, Blobs: 1})
	must(t, err)
	_, err = v.Open(ctx, remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 1})
	want(t, err, wire.Conflict)
	if c, err := w.Claim(ctx, remote.Claim{Session: sid, Card: []byte("card")}); err != nil || c.Class != wire.ClassL {
		t.Fatalf("claimed: %+v, %v", c, err)
	}
	if ms, _, err := v.Mailbox(sid.Scope()).Fetch(ctx, 0, 0); err != nil || len(ms) != 1 {
		t.Fatalf("the sender has %v, %v", ms, err)
	}
}

// TestNameplates checks numbers, expiry and release.
func TestNameplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v := w.visit()
		ctx := t.Context()
		first := w.plate()
		if first.Number < 10_000 || first.Number > 999_999 || time.Until(first.Expires) != plateLife {
			t.Fatalf("nameplate %+v", first)
		}
		must(t, w.Offer(id.Scope{7}, 7, time.Now().Add(time.Hour)))
		must(t, w.Offer(id.Scope{7}, 7, time.Now().Add(time.Hour)))
		for number, scope := range map[uint32]id.Scope{first.Number: first.Scope, 7: {7}} {
			if got, owner, err := v.Resolve(ctx, number); err != nil || got != scope || owner != w.young.Peer() {
				t.Fatalf("nameplate %d: %v of %v, %v", number, got, owner, err)
			}
		}
		must(t, v.Mailbox(first.Scope).Post(ctx, w.young.Peer(), []byte("x")))
		began := time.Now()
		_, _, err := v.Mailbox(first.Scope).Fetch(ctx, 0, wire.MaxWait)
		must(t, err)
		if waited := time.Since(began); waited != wire.MaxWait {
			t.Fatalf("waited %v", waited)
		}
		time.Sleep(time.Until(first.Expires) - time.Second)
		began = time.Now()
		_, _, err = v.Mailbox(first.Scope).Fetch(ctx, 0, wire.MaxWait)
		must(t, err)
		if waited := time.Since(began); waited != time.Second {
			t.Fatalf("waited %v for a nameplate that lives a second", waited)
		}
		_, _, err = v.Resolve(ctx, first.Number)
		want(t, err, wire.NotFound)
		_, err = v.ResolveScope(ctx, first.Scope)
		want(t, err, wire.NotFound)
		want(t, v.Mailbox(first.Scope).Post(ctx, w.young.Peer(), nil), wire.NotFound)
		w.plate() // forgets the first
		if _, ok := w.store.kv[keyPlates+first.Scope.String()]; ok || len(w.boxes) != 0 {
			t.Fatal("an expired nameplate is still there")
		}
		for range 2 {
			must(t, w.Release(ctx, id.Scope{7}))
		}
		_, _, err = v.Resolve(ctx, 7)
		want(t, err, wire.NotFound)
		for len(w.plates) < maxPlates {
			w.plate()
		}
		_, err = w.Allocate(ctx)
		want(t, err, wire.QuotaCount)
	})
}

// TestA19StrangersAreFew bounds the requests of strangers under way, of each and of all.
func TestA19StrangersAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		plate := w.plate()
		began := time.Now()
		wait := func(v *visitor) wire.Status {
			return wire.StatusOf(w.once(v.peer, "Fetch", &serverpb.FetchRequest{Scope: plate.Scope[:], WaitMs: 10_000}))
		}
		var wg sync.WaitGroup
		for range strangers / perPeer {
			v := w.visit()
			for range perPeer {
				wg.Go(func() {
					if s := wait(v); s != wire.OK {
						t.Errorf("one of few: %v", s)
					}
				})
			}
			synctest.Wait()
			if s := wait(v); s != wire.Busy {
				t.Errorf("one too many of one device: %v", s)
			}
		}
		if s := wait(w.visit()); s != wire.Busy {
			t.Errorf("one too many: %v", s)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("refused after %v", took)
		}
		wg.Wait()
		if s := wait(w.visit()); s != wire.OK {
			t.Errorf("when the others have left: %v", s)
		}
	})
}

// TestIncarnation changes when what was delivered may be lost, and else does not.
func TestIncarnation(t *testing.T) {
	w := newWorld(t)
	was := w.incarnation
	if w.reopen(); w.incarnation != was {
		t.Fatal("another process of the same run of the machine is another incarnation")
	}
	for _, boot := range [][16]byte{{2}, {}, {}} {
		was, w.config.Boot = w.incarnation, boot
		if w.reopen(); w.incarnation == was {
			t.Fatalf("no new incarnation for boot %x", boot)
		}
	}
}

// TestFree tells the admitted sender how much room there is, and nobody else.
func TestFree(t *testing.T) {
	w := newWorld(t)
	w.config.Free = func() uint64 { return 12345 }
	w.reopen()
	w.plate()
	v := w.visit()
	if h, err := v.Hello(t.Context()); err != nil || h.FreeBytes != plenty {
		t.Fatalf("a stranger: %+v, %v", h, err)
	}
	must(t, w.Admit(v.peer, v.offer(t)))
	if h, err := v.Hello(t.Context()); err != nil || h.FreeBytes != 12345 {
		t.Fatalf("the sender: %+v, %v", h, err)
	}
}

// TestClose ends waits, and waits for what is under way.
func TestClose(t *testing.T) {
	w := newWorld(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	w.config.Deliver = func(ctx context.Context, _ id.Blob, _, _ []byte) (bool, error) {
		close(begun)
		<-ctx.Done()
		<-finish
		return false, ctx.Err()
	}
	w.reopen()
	v, sid := w.admitted()
	ends := make(chan error, 3)
	go func() { _, err := w.GetRoot(t.Context(), sid, 0, wire.MaxWait); ends <- err }()
	go func() { _, _, err := w.Mailbox(sid.Scope()).Fetch(t.Context(), 0, wire.MaxWait); ends <- err }()
	body := blob()
	go w.request(v.peer, http.MethodPut, wire.BlobPath+sid.String()+"/"+id.NewBlob().String(), "", body, nil)
	<-begun
	closed := make(chan struct{})
	go func() { w.Close(); close(closed) }()
	for range 2 {
		want(t, <-ends, wire.Draining)
	}
	select {
	case <-closed:
		t.Fatal("closed while a delivery is under way")
	default:
	}
	close(finish)
	<-closed
	if s := w.request(v.peer, http.MethodPost, callPath+"Hello", contentType, nil, nil); s != wire.Draining {
		t.Fatalf("after the end: %v", s)
	}
}
