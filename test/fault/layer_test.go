package fault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// exchange is one request and the real server's answer to it, which a behaviour may change before it goes out.
type exchange struct {
	call    string // "GetRoot", …, or "GET blob", "PUT blob", "DELETE blob"
	path    string
	request []byte
	status  int
	header  http.Header
	body    []byte
	lose    bool // the connection ends instead of the answer
	endless bool // the answer is followed by zeros, for ever
}

// refuse makes the answer a refusal, with a text that nobody should ever see.
func (x *exchange) refuse(s wire.Status) {
	x.status, x.body = s.HTTP(), nil
	x.header = http.Header{wire.StatusHeader: {strconv.Itoa(int(s))}}
}

// edit changes the answer as a message.
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

// layer stands between the carriers and the real server.
type layer struct {
	next http.Handler

	mu     sync.Mutex // guards what follows
	before func(x *exchange) (times int)
	after  func(x *exchange)
	calls  map[string]int
}

// behave sets what happens to answers from now on; nil is honesty. All requests reach the real server.
func (l *layer) behave(after func(*exchange)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before, l.after = nil, after
}

// withhold keeps requests from the real server until behave is called the next time.
func (l *layer) withhold(from func(*exchange) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = func(x *exchange) int {
		if from(x) {
			return 0
		}
		return 1
	}
}

// wrap is an env.Wrap.
func (l *layer) wrap(next http.Handler) http.Handler {
	l.next, l.calls = next, map[string]int{}
	return l
}

func callOf(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, wire.BlobPath) {
		return r.Method + " blob"
	}
	return r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
}

// ServeHTTP gives the request to the real server, as often as before says, and its last answer to the device.
func (l *layer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{call: callOf(r), path: r.URL.Path}
	var err error
	if x.request, err = io.ReadAll(r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	l.mu.Lock()
	l.calls[x.call]++
	times := 1
	if l.before != nil {
		times = l.before(x)
	}
	l.mu.Unlock()
	for range times {
		again := r.Clone(r.Context())
		again.Header.Del("Accept-Encoding") // answers must be legible
		again.Body = io.NopCloser(bytes.NewReader(x.request))
		rec := httptest.NewRecorder()
		l.next.ServeHTTP(rec, again)
		x.status, x.header, x.body = rec.Code, rec.Header().Clone(), rec.Body.Bytes()
	}
	l.mu.Lock()
	if l.after != nil {
		l.after(x)
	}
	l.mu.Unlock()
	x.answer(w)
}

func (x *exchange) answer(w http.ResponseWriter) {
	if x.lose {
		panic(http.ErrAbortHandler)
	}
	for k, v := range x.header {
		w.Header()[k] = v
	}
	if x.endless {
		w.Header().Set("Content-Length", strconv.Itoa(1<<40))
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(x.body)))
	}
	w.WriteHeader(x.status)
	w.Write(x.body)
	for zeros := make([]byte, 64<<10); x.endless; {
		if _, err := w.Write(zeros); err != nil {
			return
		}
	}
}

// stored is a collection that lies on the server behind a layer, waiting to be fetched with a ticket.
type stored struct {
	in     *env.Inside
	layer  *layer
	dir    string
	src    string
	old    *node.Node
	sent   *node.SendResult
	ticket string
}

// patience is how long an engine may take to find out that something is wrong, on a machine that is busy with all other tests.
const patience = 90 * time.Second

// store sends a small collection of several blobs through an honest server.
func store(t *testing.T) *stored {
	t.Helper()
	s := &stored{layer: &layer{}, dir: t.TempDir()}
	s.in = env.NewInside(t, filepath.Join(s.dir, "server"), s.layer.wrap, nil)
	s.src = filepath.Join(s.dir, "src")
	spec := corpus.Spec{Parts: []corpus.Part{{Dir: "d", Ext: ".bin", Count: 20, PerDir: 10, Min: 50 << 10, Max: 100 << 10, Fill: corpus.Random}}}
	if _, err := corpus.Generate(s.src, spec, 5); err != nil {
		t.Fatal(err)
	}
	s.old = s.device(t, "old")
	s.send(t)
	return s
}

// device opens an engine whose state lies in dir/name.
func (s *stored) device(t *testing.T, name string) *node.Node {
	t.Helper()
	n, err := node.Open(node.Config{StateDir: filepath.Join(s.dir, name), Server: s.in.Address, Carrier: node.CarrierFast, Route: node.RouteStored})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func (s *stored) send(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sent, err := s.old.Send(ctx, node.SendOptions{Paths: []string{s.src}, Ticket: true, ShowTicket: func(words, _ string) { s.ticket = words }})
	if err != nil {
		t.Fatal(err)
	}
	s.sent = sent
}

// receive fetches into dir/to, saying yes to everything.
func (s *stored) receive(t *testing.T, n *node.Node) (*node.ReceiveResult, error) {
	t.Helper()
	return s.receiveIf(t, n, true)
}

func (s *stored) receiveIf(t *testing.T, n *node.Node, yes bool) (*node.ReceiveResult, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return n.Receive(ctx, node.ReceiveOptions{To: s.to(),
		AskTicket: func(context.Context) (string, error) { return s.ticket, nil },
		Confirm:   func(context.Context, *node.Preview) (node.Choice, error) { return node.Choice{Apply: yes}, nil }})
}

func (s *stored) to() string { return filepath.Join(s.dir, "to") }

// nothingWritten fails the test if anything lies in the target outside of staging.
func (s *stored) nothingWritten(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(s.to(), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".decant-") {
			return filepath.SkipDir
		}
		if path != s.to() {
			t.Errorf("%s was written", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// thenHonestly fetches from the server, honest again, and demands that everything arrives: what went wrong has spoilt nothing.
func (s *stored) thenHonestly(t *testing.T, n *node.Node) {
	t.Helper()
	s.layer.behave(nil)
	if _, err := s.receive(t, n); err != nil {
		t.Fatalf("from the honest server: %v", err)
	}
	if err := corpus.Compare(s.src, filepath.Join(s.to(), "src")); err != nil {
		t.Error(err)
	}
}

// isOneOf reports whether err is one of the typed errors.
func isOneOf(err error, want ...error) bool {
	for _, w := range want {
		if errors.Is(err, w) {
			return true
		}
	}
	return false
}
