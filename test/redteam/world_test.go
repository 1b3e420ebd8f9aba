package redteam

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
	"github.com/decant-dev/decant/test/env"
)

func TestMain(m *testing.M) { env.Main(m) }

// patience bounds everything that has to end by itself.
const patience = 90 * time.Second

// exchange is one request and the real server's answer to it, which a lie may change before it goes out.
type exchange struct {
	call    string // "GetRoot", …, or "GET blob", "PUT blob"
	caller  id.Peer
	request []byte
	status  int
	header  http.Header
	body    []byte
}

// refuse makes the answer a refusal.
func (x *exchange) refuse(s wire.Status) {
	x.status, x.body = s.HTTP(), nil
	x.header = http.Header{wire.StatusHeader: {strconv.Itoa(int(s))}}
}

// answer makes the answer a success.
func (x *exchange) answer(m proto.Message) {
	x.status, x.header = http.StatusOK, http.Header{"Content-Type": {"application/proto"}}
	x.body, _ = proto.Marshal(m)
}

// edit changes a successful answer.
func edit[M any, P interface {
	*M
	proto.Message
}](x *exchange, change func(P)) {
	var m P = new(M)
	if x.status != http.StatusOK || proto.Unmarshal(x.body, m) != nil {
		return
	}
	change(m)
	x.body, _ = proto.Marshal(m)
}

// asked reads the request.
func asked[M any, P interface {
	*M
	proto.Message
}](x *exchange) P {
	var m P = new(M)
	_ = proto.Unmarshal(x.request, m) // what does not parse is refused by the server itself
	return m
}

// layer stands between the carrier and the real server. A lie runs one at a time.
type layer struct {
	mu    sync.Mutex // guards what follows
	next  http.Handler
	lie   func(*exchange)
	hold  func(*exchange) <-chan struct{} // sees a request before the server does; see keep
	count int
}

// tell sets the lie that is told from now on; nil is honesty.
func (l *layer) tell(lie func(*exchange)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = lie
}

// keep sets who looks at requests before the server does: which gets them once the channel is closed (nil: at once), or never if
// there is an answer already.
func (l *layer) keep(hold func(*exchange) <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
}

func (l *layer) requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// ServeHTTP asks the real server and answers, honestly or not.
func (l *layer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{call: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]}
	if strings.HasPrefix(r.URL.Path, wire.BlobPath) {
		x.call = r.Method + " blob"
	}
	x.caller, _ = link.PeerFrom(r.Context())
	var err error
	if x.request, err = io.ReadAll(r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	var held <-chan struct{}
	l.mu.Lock()
	next := l.next
	if l.hold != nil {
		held = l.hold(x)
	}
	l.count++
	l.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if x.status == 0 {
		again := r.Clone(r.Context())
		again.Header.Del("Accept-Encoding")
		again.Body = io.NopCloser(bytes.NewReader(x.request))
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, again)
		x.status, x.header, x.body = rec.Code, rec.Header().Clone(), rec.Body.Bytes()
	}
	l.mu.Lock()
	if l.lie != nil {
		l.lie(x)
	}
	l.mu.Unlock()
	for k, v := range x.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(x.body)))
	w.WriteHeader(x.status)
	w.Write(x.body)
}

// world is a server that can be stopped, restored and started again at its address, and the devices around it.
type world struct {
	t       *testing.T
	dir     string
	layer   *layer
	device  *key.Device // the server's
	address id.Server
	server  *server.Server
	link    *link.Server
	config  server.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := prepare(t)
	w.start()
	return w
}

// prepare is newWorld without starting.
func prepare(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), layer: &layer{}, device: key.NewDevice()}
	w.config = server.Config{Dir: w.path("server"), Caller: link.PeerFrom, Watermark: 1 << 20}
	t.Cleanup(w.stop)
	return w
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

func (w *world) start() {
	w.t.Helper()
	s, err := server.New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = s
	w.layer.mu.Lock()
	w.layer.next = s.Handler()
	w.layer.mu.Unlock()
	w.listen(w.device)
}

// listen takes connections as the server with a device's identity, at the address there was before if there was one.
func (w *world) listen(d *key.Device) {
	w.t.Helper()
	at := "127.0.0.1:0"
	if !w.address.IsZero() {
		at = w.address.HostPort()
	}
	l, err := link.Listen(link.Config{Device: d, Handler: w.layer, Listen: at, FastOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.link = l
	if w.address.IsZero() {
		w.address = l.Server()
	}
}

// stop ends the server cleanly. Requests under way fail.
func (w *world) stop() {
	w.hangUp()
	if w.server == nil {
		return
	}
	if err := w.server.Close(); err != nil {
		w.t.Errorf("closing the server: %v", err)
	}
	w.server = nil
}

// hangUp ends the connections and takes no more.
func (w *world) hangUp() {
	if w.link == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if w.server != nil {
		w.server.Drain(ctx)
	}
	w.link.Shutdown(ctx)
	w.link.Close()
	w.link = nil
}

// backUp copies the stopped server's state, and starts it again.
func (w *world) backUp() (backup string) {
	w.t.Helper()
	w.stop()
	backup = filepath.Join(w.t.TempDir(), "backup")
	w.must(os.CopyFS(backup, os.DirFS(w.config.Dir)))
	w.start()
	return backup
}

// restore puts a backup in the server's place.
func (w *world) restore(backup string) {
	w.t.Helper()
	w.stop()
	w.must(os.RemoveAll(w.config.Dir))
	w.must(os.CopyFS(w.config.Dir, os.DirFS(backup)))
	w.start()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// context bounds one step.
func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// notices collects what an engine tells a person.
type notices struct {
	mu   sync.Mutex // guards list and more
	list []string
	more chan struct{} // closed and replaced when something was said
}

func (n *notices) add(e item.Event) {
	if e.Notice == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, strings.TrimSpace(e.Notice.Code+" "+e.Notice.Detail))
	close(n.more)
	n.more = make(chan struct{})
}

// wait returns once s was said.
func (n *notices) wait(t *testing.T, s string) {
	t.Helper()
	limit := time.After(patience)
	for {
		n.mu.Lock()
		said, more := slices.Contains(n.list, s), n.more
		n.mu.Unlock()
		if said {
			return
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("never said: %s", s)
		}
	}
}

func (n *notices) has(s string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.list, s)
}

// engine is a device of the person's, and what it said.
type engine struct {
	*node.Node
	said notices
}

// open opens the engine whose state lies in the directory name.
func (w *world) open(name string) *engine {
	w.t.Helper()
	e := &engine{said: notices{more: make(chan struct{})}}
	n, err := node.Open(node.Config{StateDir: w.path(name), Server: w.address, Carrier: node.CarrierFast, Route: node.RouteStored, Events: e.said.add})
	w.must(err)
	w.t.Cleanup(func() { n.Close() })
	e.Node = n
	return e
}

// collection writes a small one and returns its directory.
func (w *world) collection() string {
	w.t.Helper()
	src := w.path("src")
	w.write(filepath.Join(src, "a.txt"), "first")
	w.write(filepath.Join(src, "d", "b.txt"), strings.Repeat("second ", 1000))
	return src
}

func (w *world) write(path, content string) {
	w.t.Helper()
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(content), 0o644))
}

// sendTicket sends with a ticket, which it returns.
func (w *world) sendTicket(e *engine, src string) (sent *node.SendResult, ticket string) {
	w.t.Helper()
	sent, err := e.Send(w.context(), node.SendOptions{Paths: []string{src}, Ticket: true, ShowTicket: func(words, _ string) { ticket = words }})
	w.must(err)
	return sent, ticket
}

func yes(context.Context, *node.Preview) (node.Choice, error) {
	return node.Choice{Apply: true}, nil
}
func no(context.Context, *node.Preview) (node.Choice, error) { return node.Choice{}, nil }

// receiveTicket receives into the directory to.
func (w *world) receiveTicket(e *engine, ticket, to string, confirm func(context.Context, *node.Preview) (node.Choice, error)) (*node.ReceiveResult, error) {
	return e.Receive(w.context(), node.ReceiveOptions{To: w.path(to), Confirm: confirm,
		AskTicket: func(context.Context) (string, error) { return ticket, nil }})
}

// arrived demands that the directory to holds what src holds.
func (w *world) arrived(src, to string) {
	w.t.Helper()
	err := filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(filepath.Dir(src), path)
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(w.path(to, rel)); err != nil || !bytes.Equal(got, want) {
			w.t.Errorf("%s is not what was sent: %v", rel, err)
		}
		return nil
	})
	w.must(err)
}

// empty demands that nothing lies in the directory to, outside of staging.
func (w *world) empty(to string) {
	w.t.Helper()
	entries, err := os.ReadDir(w.path(to))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".decant-") {
			w.t.Errorf("%s was written", e.Name())
		}
	}
}

// notSafe demands that an old device does not say that it may be wiped, whatever it has sent.
func (w *world) notSafe(e *engine) {
	w.t.Helper()
	list, err := e.List(w.context())
	w.must(err)
	for _, s := range list {
		if s.SafeWipe {
			w.t.Errorf("the old device says that it may be wiped: %+v", s)
		}
	}
}

// wants demands one of some errors.
func (w *world) wants(err error, want ...error) {
	w.t.Helper()
	if !slices.ContainsFunc(want, func(e error) bool { return errors.Is(err, e) }) {
		w.t.Errorf("error %v, want one of %v", err, want)
	}
}

// journey is a code pairing of two engines under way, in the background.
type journey struct {
	w         *world
	old, new  *engine
	codes     chan shown // what the new device shows, once for each code
	typed     chan string
	ctx       context.Context
	stop      context.CancelFunc // ends both
	sent      *node.SendResult
	sendErr   error
	got       *node.ReceiveResult
	gotErr    error
	sending   chan struct{} // closed when Send has returned
	receiving chan struct{}
}

type shown struct {
	code, link string
	left       int
}

// journey starts Receive; type starts Send.
func (w *world) journey() *journey {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	j := &journey{w: w, old: w.open("old"), new: w.open("new"), codes: make(chan shown, 100), typed: make(chan string, 10), ctx: ctx, stop: cancel,
		sending: make(chan struct{}), receiving: make(chan struct{})}
	go func() {
		defer close(j.receiving)
		j.got, j.gotErr = j.new.Receive(ctx, node.ReceiveOptions{To: w.path("to"), Confirm: yes,
			ShowCode: func(code, link string, left int) { j.codes <- shown{code, link, left} }})
	}()
	return j
}

// send starts Send, which is given what is put into typed.
func (j *journey) send(src string) {
	go func() {
		defer close(j.sending)
		j.sent, j.sendErr = j.old.Send(j.ctx, node.SendOptions{Paths: []string{src}, AskCode: func(ctx context.Context, _ int) (string, error) {
			select {
			case c := <-j.typed:
				return c, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}})
	}()
}

// code is the first code that the new device shows.
func (j *journey) code() shown {
	j.w.t.Helper()
	select {
	case s := <-j.codes:
		return s
	case <-j.receiving:
		j.w.t.Fatalf("no code was shown: %v", j.gotErr)
	}
	return shown{}
}

// arrives waits for both devices and demands that everything is well.
func (j *journey) arrives(src string) {
	j.w.t.Helper()
	<-j.sending
	<-j.receiving
	if j.sendErr != nil || j.gotErr != nil {
		j.w.t.Fatalf("send: %v; receive: %v", j.sendErr, j.gotErr)
	}
	if j.sent.Receipt == nil || !j.sent.Receipt.SafeWipe {
		j.w.t.Errorf("the old device has no receipt: %+v", j.sent.Receipt)
	}
	j.w.arrived(src, "to")
}
