// Package api is the server's HTTP surface and the only reader of the wire (docs/SPEC.md sections 7.1
// and 7.2): Connect unary calls with protobuf bodies, and raw blobs. It checks who is asking and the form and size of
// what is asked before anything is allocated for it, turns messages into native types, and turns every
// refusal into a number without text (adversity E-15).
//
// A Handler is safe for concurrent use.
package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/blobstore"
	"github.com/decant-dev/decant/server/rendezvous"
)

// Config configures New. Caller, Sessions and Blobs are needed.
type Config struct {
	Sessions    *rendezvous.Service
	Blobs       *blobstore.Store
	Incarnation [16]byte
	// Caller returns the authenticated identity of the connection that a request came over.
	Caller func(context.Context) (id.Peer, bool)
	// RemoteIP returns the address that a request came from. nil: from http.Request.RemoteAddr.
	RemoteIP func(context.Context) netip.Addr
	// Cache says that this is a cache (SPEC 7.9): it has no mailboxes and no nameplates.
	Cache bool
	// Kept is called after a blob or, with the zero name, a root has become durable, before that is answered. nil: nobody is told.
	Kept   func(id.Session, id.Blob)
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: discarded
	// Transfers is how many blob bodies may be on their way at once, and SessionTransfers how many of one session; each
	// holds a buffer of 64 KiB. 0: 256 and 16.
	Transfers, SessionTransfers int
	// Observe is told about every request that was answered. nil: nobody. Method is one of a fixed set.
	Observe func(method string, s wire.Status, took time.Duration, in, out int64)
}

// Handler serves the API.
type Handler struct {
	Config
	calls     http.Handler // Connect
	transfers *transfers

	mu       sync.Mutex // guards the rest
	active   int
	draining bool
	idle     chan struct{} // closed when draining and active is 0
}

// New returns a handler.
func New(c Config) *Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Transfers == 0 {
		c.Transfers = 256
	}
	if c.SessionTransfers == 0 {
		c.SessionTransfers = 16
	}
	if c.Kept == nil {
		c.Kept = func(id.Session, id.Blob) {}
	}
	if c.Observe == nil {
		c.Observe = func(string, wire.Status, time.Duration, int64, int64) {}
	}
	h := &Handler{Config: c, idle: make(chan struct{}), transfers: newTransfers(c.Transfers, c.SessionTransfers)}
	_, h.calls = serverpbconnect.NewDecantHandler(calls{h},
		connect.WithCompression("gzip", nil, nil), // ciphertext doesn't shrink, and a decompressor is one more parser
		connect.WithReadMaxBytes(wire.MaxRPC),
		connect.WithSendMaxBytes(wire.MaxRPC))
	return h
}

// identity is who asks and from where; it travels in the request's context.
type identity struct {
	peer   id.Peer
	addr   netip.Addr
	permit []byte // nil unless a cache asks
}

type identityKey struct{}

func who(ctx context.Context) identity { return ctx.Value(identityKey{}).(identity) }

// methods are the calls with the most bytes that their requests may have.
var methods = map[string]int64{
	"Hello": 64, "Allocate": 64, "Resolve": 64, "Release": 64,
	"Open": wire.MaxGrant + 1<<10, "Claim": wire.MaxCard + 1<<10, "Pin": wire.MaxCard + 1<<10,
	"Commit": wire.MaxRoot + 1<<10, "GetRoot": 128, "Status": 64, "Finish": wire.MaxCard + 1<<10, "Revoke": 64,
	"Has": wire.MaxHas*(id.Size+2) + 1<<10, "Post": wire.MaxBody + 1<<10, "Fetch": 128, "Ack": 128,
}

// ofCache are the calls that a cache answers.
var ofCache = []string{"Hello", "Open", "Claim", "Pin", "Commit", "GetRoot", "Status", "Finish", "Revoke", "Has"}

const callPath = "/" + serverpbconnect.DecantName + "/"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.Now()
	a := &answer{ResponseWriter: w}
	method, serve := h.route(r)
	defer h.finish(a, r, method, began)
	if !h.begin() {
		w.Header().Set("Connection", "close")
		a.refuse(wire.Draining)
		return
	}
	defer h.end()
	if serve == nil {
		a.refuse(wire.NotFound)
		return
	}
	peer, ok := h.Caller(r.Context())
	if !ok {
		a.refuse(wire.Forbidden)
		return
	}
	if r.Header.Get("Content-Encoding") != "" {
		a.refuse(wire.Malformed)
		return
	}
	permit, err := permitOf(r.Header[wire.PermitHeader])
	if err != nil {
		a.refuse(wire.Malformed)
		return
	}
	ctx := context.WithValue(r.Context(), identityKey{}, identity{peer, h.remoteIP(r), permit})
	serve(a, r.WithContext(ctx))
}

// permitOf decodes a cache's permit; it is nil if there is none.
func permitOf(values []string) ([]byte, error) {
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > 1 || len(values[0]) > base64.RawURLEncoding.EncodedLen(wire.MaxPermit) {
		return nil, wire.Malformed
	}
	permit, err := base64.RawURLEncoding.Strict().DecodeString(values[0])
	if err == nil && len(permit) == 0 {
		err = wire.Malformed
	}
	return permit, err
}

// route returns the method's name for metrics and what serves it, nil for an unknown path.
func (h *Handler) route(r *http.Request) (string, func(*answer, *http.Request)) {
	path := r.URL.Path
	if strings.HasPrefix(path, wire.BlobPath) {
		switch r.Method {
		case http.MethodPut:
			return "PutBlob", h.putBlob
		case http.MethodGet:
			return "GetBlob", h.getBlob
		case http.MethodDelete:
			return "DeleteBlob", h.deleteBlob
		}
		return "unknown", nil
	}
	name, ok := strings.CutPrefix(path, callPath)
	if limit := methods[name]; ok && limit > 0 && r.Method == http.MethodPost && (!h.Cache || slices.Contains(ofCache, name)) {
		return name, func(a *answer, r *http.Request) { h.call(a, r, limit) }
	}
	return "unknown", nil
}

// call reads a control request whole, under its own small limit, and hands it to Connect.
func (h *Handler) call(a *answer, r *http.Request, limit int64) {
	if r.Header.Get("Content-Type") != "application/proto" {
		a.refuse(wire.Malformed)
		return
	}
	if r.ContentLength > limit {
		a.refuse(wire.TooLarge)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case int64(len(body)) > limit:
		a.refuse(wire.TooLarge)
		return
	case err != nil:
		a.refuse(wire.Malformed)
		return
	}
	a.in = int64(len(body))
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	h.calls.ServeHTTP(a, r)
}

func (h *Handler) remoteIP(r *http.Request) netip.Addr {
	if h.RemoteIP != nil {
		return h.RemoteIP(r.Context())
	}
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a.Addr()
}

func (h *Handler) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return false
	}
	h.active++
	return true
}

func (h *Handler) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.active--; h.active == 0 && h.draining {
		close(h.idle)
	}
}

// Drain refuses new requests and waits for those under way. Long polls end when the rendezvous is closed.
func (h *Handler) Drain(ctx context.Context) error {
	h.mu.Lock()
	if !h.draining {
		h.draining = true
		if h.active == 0 {
			close(h.idle)
		}
	}
	h.mu.Unlock()
	select {
	case <-h.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Draining reports whether Drain was called.
func (h *Handler) Draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

// finish recovers from a handler's panic, so that one request can't take the others down, and counts the request.
func (h *Handler) finish(a *answer, r *http.Request, method string, began time.Time) {
	p := recover()
	if err, ok := p.(error); p != nil && !(ok && errors.Is(err, http.ErrAbortHandler)) {
		// The value may hold anything, so only the place is logged.
		h.Logger.Error("panic in a request", "method", method, "stack", string(debug.Stack()))
		if !a.began {
			a.refuse(wire.Internal)
			p = nil
		} else {
			p = http.ErrAbortHandler
		}
	}
	h.Observe(method, a.status, h.Now().Sub(began), a.in, a.out)
	if p != nil {
		panic(p)
	}
}

// answer is a response that lets no error text out: whatever is answered beside 200 becomes the number of its status and an
// empty JSON object, which is what Connect's clients expect.
type answer struct {
	http.ResponseWriter
	status  wire.Status
	began   bool // the header is out
	muted   bool
	in, out int64
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.began {
		return
	}
	if code == http.StatusOK {
		a.began = true
		a.ResponseWriter.WriteHeader(code)
		return
	}
	a.refuse(statusOf(code, a.Header()))
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.muted {
		return len(b), nil
	}
	if !a.began {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(b)
	a.out += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController through.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// refuse answers with a status.
func (a *answer) refuse(s wire.Status) {
	if a.began {
		return
	}
	a.began, a.muted, a.status = true, true, s
	head := a.Header()
	closing := head.Get("Connection")
	clear(head)
	if closing != "" {
		head.Set("Connection", closing)
	}
	head.Set(wire.StatusHeader, strconv.Itoa(int(s)))
	head.Set("Content-Type", "application/json")
	head.Set("Content-Length", "2")
	a.ResponseWriter.WriteHeader(s.HTTP())
	_, _ = a.ResponseWriter.Write([]byte("{}")) // the connection's failure is the server's to notice
}

// statusOf finds the status of an answer that Connect wrote: ours, or that of its own complaint about the request.
func statusOf(code int, head http.Header) wire.Status {
	if n, err := strconv.ParseUint(head.Get(wire.StatusHeader), 10, 16); err == nil {
		return wire.Status(n)
	}
	switch code {
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return wire.TooLarge
	case http.StatusInternalServerError, http.StatusServiceUnavailable:
		return wire.Internal
	case http.StatusRequestTimeout, http.StatusGatewayTimeout, 499:
		return wire.Busy
	}
	return wire.Malformed
}

// refusal turns an error into its status. What is no refusal is logged, and Internal.
func (h *Handler) refusal(err error, doing string) wire.Status {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return wire.Busy
	}
	s := wire.StatusOf(err)
	if s == wire.Internal {
		h.Logger.Error("request failed", "method", doing, "error", err)
	}
	return s
}
