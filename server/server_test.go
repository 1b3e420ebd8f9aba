package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// TestMain makes the random tests longer than rapid's default, unless the command line says otherwise.
func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "200")
	flag.Set("rapid.steps", "100")
	flag.Parse()
	os.Exit(m.Run())
}

// The carrier of these tests authenticates a caller by a header.
const peerHeader = "Test-Peer"

type peerKey struct{}

func callerOf(ctx context.Context) (id.Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(id.Peer)
	return p, ok
}

func authenticated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := hex.DecodeString(r.Header.Get(peerHeader)); err == nil && len(b) == 32 {
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, id.Peer(b)))
		}
		h.ServeHTTP(w, r)
	})
}

// world is a running server and its address.
type world struct {
	t      testing.TB
	config server.Config
	*server.Server
	handler http.Handler
	http    *httptest.Server // nil: requests go straight to the handler
	direct  bool
}

func start(t testing.TB, c server.Config) *world {
	t.Helper()
	w := prepare(t, c)
	w.open()
	t.Cleanup(w.stop)
	return w
}

// startDirect is start without a network in between.
func startDirect(t testing.TB, c server.Config) *world {
	t.Helper()
	w := prepare(t, c)
	w.direct = true
	w.open()
	t.Cleanup(w.stop)
	return w
}

func prepare(t testing.TB, c server.Config) *world {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Watermark == 0 {
		c.Watermark = 1 // the machine of the test may be nearly full
	}
	c.Caller = callerOf
	return &world{t: t, config: c}
}

func (w *world) open() {
	w.t.Helper()
	s, err := server.New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Server = s
	w.handler = authenticated(s.Handler())
	if !w.direct {
		w.http = httptest.NewServer(w.handler)
	}
}

func (w *world) stop() {
	if w.handler == nil {
		return
	}
	w.handler = nil
	if w.http != nil {
		w.http.Close()
	}
	if err := w.Close(); err != nil {
		w.t.Error(err)
	}
}

// restart closes the server in good order and opens it again.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.open()
}

// device is somebody who calls.
type device struct {
	w    *world
	peer id.Peer
}

func (w *world) device() *device {
	d := &device{w: w}
	rand.Read(d.peer[:])
	return d
}

// raw sends a request and returns its answer and body. It demands that a refusal holds a status and no text.
func (d *device) raw(method, path string, body []byte, header ...string) (wire.Status, []byte) {
	d.w.t.Helper()
	base := "http://direct"
	if !d.w.direct {
		base = d.w.http.URL
	}
	r, err := http.NewRequest(method, base+path, bytes.NewReader(body))
	if err != nil {
		d.w.t.Fatal(err)
	}
	r.Header.Set(peerHeader, hex.EncodeToString(d.peer[:]))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp := d.w.do(r)
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		d.w.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		return wire.OK, out
	}
	return refusal(d.w.t, resp, out), nil
}

// do sends a request over the network or straight to the handler.
func (w *world) do(r *http.Request) *http.Response {
	w.t.Helper()
	if w.direct {
		rec := httptest.NewRecorder()
		r.RemoteAddr = "192.0.2.1:1000"
		w.handler.ServeHTTP(rec, r)
		return rec.Result()
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

func refusal(t testing.TB, resp *http.Response, body []byte) wire.Status {
	t.Helper()
	n, err := strconv.ParseUint(resp.Header.Get(wire.StatusHeader), 10, 16)
	s := wire.Status(n)
	if err != nil || !s.Known() || resp.StatusCode != s.HTTP() || string(body) != "{}" {
		t.Fatalf("refusal without form: http %d, %v, body %q", resp.StatusCode, resp.Header, body)
	}
	return s
}

// call makes a control call; a refusal is a wire.Status.
func call[T proto.Message](d *device, method string, req proto.Message, resp T) (T, error) {
	d.w.t.Helper()
	body, err := proto.Marshal(req)
	if err != nil {
		d.w.t.Fatal(err)
	}
	s, out := d.raw(http.MethodPost, "/"+serverpbconnect.DecantName+"/"+method, body, "Content-Type", "application/proto")
	if s != wire.OK {
		return resp, s
	}
	if err := proto.Unmarshal(out, resp); err != nil {
		d.w.t.Fatal(err)
	}
	return resp, nil
}

func rid() []byte { r := id.NewRequest(); return r[:] }

func (d *device) open(sid id.Session, declared uint64) error {
	_, err := call(d, "Open", &serverpb.OpenRequest{RequestId: rid(), Session: sid[:], SizeClass: 1, DeclaredBlobs: declared}, &serverpb.OpenResponse{})
	return err
}

func (d *device) mustOpen() id.Session {
	d.w.t.Helper()
	sid := id.NewSession()
	d.must(d.open(sid, 100))
	return sid
}

func (d *device) must(err error) {
	d.w.t.Helper()
	if err != nil {
		d.w.t.Fatal(err)
	}
}

func (d *device) want(err error, s wire.Status) {
	d.w.t.Helper()
	if !errors.Is(err, s) {
		d.w.t.Fatalf("got %v, want %v", err, s)
	}
}

func (d *device) pin(sid id.Session, to *device) error {
	_, err := call(d, "Pin", &serverpb.PinRequest{Session: sid[:], Receiver: to.peer[:], Pin: []byte("pin")}, &serverpb.PinResponse{})
	return err
}

func (d *device) claim(sid id.Session) (*serverpb.ClaimResponse, error) {
	return call(d, "Claim", &serverpb.ClaimRequest{RequestId: rid(), Session: sid[:], Card: []byte("card")}, &serverpb.ClaimResponse{})
}

func (d *device) commit(sid id.Session, epoch uint64, final bool, root string) error {
	_, err := call(d, "Commit", &serverpb.CommitRequest{Session: sid[:], Epoch: epoch, Final: final, Root: []byte(root), Signature: make([]byte, 64)},
		&serverpb.CommitResponse{})
	return err
}

func (d *device) status(sid id.Session) (*serverpb.StatusResponse, error) {
	return call(d, "Status", &serverpb.StatusRequest{Session: sid[:]}, &serverpb.StatusResponse{})
}

func (d *device) finish(sid id.Session, ack string) error {
	_, err := call(d, "Finish", &serverpb.FinishRequest{Session: sid[:], Ack: []byte(ack)}, &serverpb.FinishResponse{})
	return err
}

func (d *device) post(scope []byte, to *device, body string) (uint64, error) {
	r, err := call(d, "Post", &serverpb.PostRequest{RequestId: rid(), Scope: scope, To: to.peer[:], Body: []byte(body)}, &serverpb.PostResponse{})
	return r.GetSequence(), err
}

func (d *device) fetch(scope []byte, after uint64, waitMS uint32) (*serverpb.FetchResponse, error) {
	return call(d, "Fetch", &serverpb.FetchRequest{Scope: scope, After: after, WaitMs: waitMS}, &serverpb.FetchResponse{})
}

func path(sid id.Session, name id.Blob) string {
	return wire.BlobPath + sid.String() + "/" + name.String()
}

func (d *device) put(sid id.Session, name id.Blob, blob []byte) error {
	d.w.t.Helper()
	s, _ := d.raw(http.MethodPut, path(sid, name), blob)
	return orNil(s)
}

func (d *device) get(sid id.Session, name id.Blob) ([]byte, error) {
	d.w.t.Helper()
	s, out := d.raw(http.MethodGet, path(sid, name), nil)
	return out, orNil(s)
}

func orNil(s wire.Status) error {
	if s == wire.OK {
		return nil
	}
	return s
}

// blobOf returns a class S blob that depends on its name.
func blobOf(name id.Blob) []byte {
	out := make([]byte, 0, wire.BlobSizeS)
	for block := sha256.Sum256(name[:]); len(out) < wire.BlobSizeS; block = sha256.Sum256(block[:]) {
		out = append(out, block[:]...)
	}
	return out
}

// ticket is what a sender deposits and a receiver proves.
type ticket struct {
	locator id.Locator
	claim   *key.Device
	share   [32]byte
}

func newTicket() *ticket {
	t := &ticket{claim: key.NewDevice()}
	rand.Read(t.locator[:])
	rand.Read(t.share[:])
	return t
}

func (d *device) openTicket(sid id.Session, t *ticket) error {
	pub := t.claim.Peer()
	_, err := call(d, "Open", &serverpb.OpenRequest{RequestId: rid(), Session: sid[:], SizeClass: 1, DeclaredBlobs: 10,
		Ticket: &serverpb.TicketOffer{Locator: t.locator[:], ClaimKey: pub[:], Share: t.share[:], Grant: []byte("grant")}}, &serverpb.OpenResponse{})
	return err
}

func (d *device) claimTicket(t *ticket, signer *key.Device) (*serverpb.ClaimResponse, error) {
	card := []byte("card of " + d.peer.Short())
	sig := signer.Sign(label.Claim, key.ClaimMessage(t.locator, d.peer, key.HashCard(card)))
	return call(d, "Claim", &serverpb.ClaimRequest{RequestId: rid(), Locator: t.locator[:], Signature: sig, Card: card}, &serverpb.ClaimResponse{})
}

func TestOneTransfer(t *testing.T) {
	w := start(t, server.Config{})
	old, young := w.device(), w.device()
	hello, err := call(old, "Hello", &serverpb.HelloRequest{Version: wire.Version}, &serverpb.HelloResponse{})
	old.must(err)
	if hello.Version != wire.Version || len(hello.Incarnation) != 16 || hello.FreeBytes == 0 {
		t.Fatalf("hello: %v", hello)
	}
	sid := old.mustOpen()
	old.must(old.pin(sid, young))
	claimed, err := young.claim(sid)
	young.must(err)
	if !bytes.Equal(claimed.Sender, old.peer[:]) || claimed.SizeClass != 1 {
		t.Fatalf("claimed: %v", claimed)
	}
	names := []id.Blob{id.NewBlob(), id.NewBlob(), id.NewBlob()}
	for _, n := range names {
		old.must(old.put(sid, n, blobOf(n)))
		old.must(old.put(sid, n, blobOf(n))) // again
	}
	old.must(old.commit(sid, 0, false, "catalog"))
	old.must(old.commit(sid, 1, true, "root"))
	w.restart()
	root, err := call(young, "GetRoot", &serverpb.GetRootRequest{Session: sid[:], MinEpoch: 1}, &serverpb.GetRootResponse{})
	young.must(err)
	if !root.Found || !root.Final || string(root.Root) != "root" {
		t.Fatalf("root: %v", root)
	}
	for _, n := range names {
		b, err := young.get(sid, n)
		young.must(err)
		if !bytes.Equal(b, blobOf(n)) {
			t.Fatal("other bytes came back")
		}
	}
	_, err = young.post(sid[:], old, "receipt")
	young.must(err)
	mail, err := old.fetch(sid[:], 0, 0)
	old.must(err)
	if len(mail.Messages) != 1 || string(mail.Messages[0].Body) != "receipt" {
		t.Fatalf("mail: %v", mail)
	}
	old.must(old.finish(sid, "ack"))
	old.must(old.finish(sid, "ack"))
	old.want(old.finish(sid, "another"), wire.Conflict)
	mail, err = young.fetch(sid[:], 0, 60)
	young.must(err)
	if string(mail.Ack) != "ack" {
		t.Fatalf("ack: %v", mail)
	}
	_, err = young.post(sid[:], old, "receipt")
	young.want(err, wire.Done)
	_, err = young.get(sid, names[0])
	young.want(err, wire.Done)
	st, err := young.status(sid)
	young.must(err)
	if st.State != serverpb.State_STATE_DONE {
		t.Fatalf("status: %v", st)
	}
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

func urlOf(path string) *url.URL { return &url.URL{Scheme: "http", Host: "direct", Path: path} }

// lockedBuffer is a buffer for several writers.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
