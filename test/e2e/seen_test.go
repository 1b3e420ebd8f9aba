package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
)

// eyes see everything that a server sees: each request and answer, inside of the encryption of the network.
type eyes struct {
	mu    sync.Mutex // guards what follows
	all   bytes.Buffer
	shape []string // "call: request bytes, status, answer bytes"
}

func (e *eyes) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(request))
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		e.see(r, request, rec)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes())
	})
}

func (e *eyes) see(r *http.Request, request []byte, rec *httptest.ResponseRecorder) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintf(&e.all, "%s %s %v %v\n", r.Method, r.URL, r.Header, rec.Header())
	e.all.Write(request)
	e.all.Write(rec.Body.Bytes())
	call := r.Method + " blob"
	if !strings.HasPrefix(r.URL.Path, wire.BlobPath) {
		call = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	}
	if call == "Status" {
		return // asked at intervals: how often is the clock's doing
	}
	e.shape = append(e.shape, fmt.Sprintf("%s: %d, %d, %d", call, len(request), rec.Code, rec.Body.Len()))
}

// moved moves a collection with a ticket between two engines over a server that is looked at.
func moved(t *testing.T, src string, log io.Writer) *eyes {
	t.Helper()
	e := &eyes{}
	dir := t.TempDir()
	in := env.NewInside(t, filepath.Join(dir, "server"), e.wrap, log)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	device := func(name string) *node.Node {
		n, err := node.Open(node.Config{StateDir: filepath.Join(dir, name), Server: in.Address, Carrier: node.CarrierFast, Route: node.RouteStored, Streams: 1, Workers: 1})
		must(t, err)
		t.Cleanup(func() { n.Close() })
		return n
	}
	ticket := ""
	old := device("old")
	sent, err := old.Send(ctx, node.SendOptions{Paths: []string{src}, Ticket: true, ShowTicket: func(words, _ string) { ticket = words }})
	must(t, err)
	_, err = device("new").Receive(ctx, node.ReceiveOptions{To: filepath.Join(dir, "to"),
		AskTicket: func(context.Context) (string, error) { return ticket, nil },
		Confirm:   func(context.Context, *node.Preview) (node.Choice, error) { return node.Choice{Apply: true}, nil }})
	must(t, err)
	same(t, src, filepath.Join(dir, "to", filepath.Base(src)))
	r, err := old.Receipt(ctx, sent.Session)
	must(t, err)
	if !r.SafeWipe {
		t.Errorf("the receipt does not allow to wipe: %+v", r)
	}
	return e
}

// TestC1InsideTheServer looks for canaries in every request, answer and header that the server handles, and in its log at its
// most talkative.
func TestC1InsideTheServer(t *testing.T) {
	t.Parallel()
	canaries := env.NewCanaries(64)
	src := collectionIn(t, filepath.Join(t.TempDir(), "src"), canaries)
	var log bytes.Buffer
	e := moved(t, src, &log)
	for where, b := range map[string][]byte{"requests and answers": e.all.Bytes(), "log": log.Bytes()} {
		for _, h := range canaries.SearchBytes(where, b) {
			t.Errorf("C-1: %v", h)
		}
	}
	if e.all.Len() < 2<<20 || log.Len() == 0 {
		t.Errorf("only %d bytes of exchanges and %d of log were searched", e.all.Len(), log.Len())
	}
}

// TestE12Shape moves two collections that have nothing in common but their padded size, and compares what the server saw by
// calls, order and sizes. Both devices do one thing at a time, so that the order is theirs and not the scheduler's.
func TestE12Shape(t *testing.T) {
	t.Parallel()
	photos := filepath.Join(t.TempDir(), "a")
	for i := range 8 {
		put(t, filepath.Join(photos, fmt.Sprintf("holiday-%d.jpg", i)), picture(t, rand.New(rand.NewPCG(1, 1)), "x")+noise(rand.New(rand.NewPCG(uint64(i), 1)), 610<<10))
	}
	letters := filepath.Join(t.TempDir(), "another")
	for i := range 410 {
		put(t, filepath.Join(letters, fmt.Sprint(i%9), fmt.Sprintf("%d.txt", i)), noise(rand.New(rand.NewPCG(uint64(i), 2)), 9900))
	}
	put(t, filepath.Join(letters, "book.vcf"), vcard("1", "a", "b")+vcard("2", "c", "d"))
	a, b := moved(t, photos, nil).shape, moved(t, letters, nil).shape
	if !slices.Equal(a, b) {
		t.Errorf("the server can tell them apart:\n%s\nand\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}
