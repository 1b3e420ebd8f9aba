package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

const (
	contentType = "application/proto"
	progress    = 4 << 10 // bytes of a body that must come within each Stall
	maxRest     = 4 << 10 // bytes of a refusal's body read so that the connection can serve again
)

// call runs a control call: a Connect unary call, which is a POST of one protobuf. It is
// done by hand because the caps must stand before the read and an error's text must
// never be parsed. wait is how long the server was asked to wait.
func (r *Remote) call(ctx context.Context, op, procedure string, req, resp proto.Message, wait time.Duration) error {
	body, err := proto.Marshal(req)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if len(body) > wire.MaxRPC {
		return wire.Fail(wire.TooLarge, op)
	}
	return r.do(ctx, op, wait, func(ctx context.Context) error {
		b, err := r.post(ctx, procedure, body, wait)
		if err != nil {
			return err
		}
		proto.Reset(resp)
		if proto.Unmarshal(b, resp) != nil {
			return fmt.Errorf("%w: not the expected message", ErrAnswer)
		}
		return nil
	})
}

// post sends one control call and returns the answer's bytes.
func (r *Remote) post(ctx context.Context, procedure string, body []byte, wait time.Duration) ([]byte, error) {
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, link.BaseURL+procedure, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	hr.Header["Content-Type"] = []string{contentType}
	hr.Header["Connect-Protocol-Version"] = []string{"1"}
	hr.Header["Idempotency-Key"] = nil // not sent: tells net/http that it may repeat on a connection that died idle
	resp, err := r.roundTrip(hr, wait)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != contentType || resp.Header.Get("Content-Encoding") != "" || resp.ContentLength > wire.MaxRPC {
		return nil, fmt.Errorf("%w: not a control answer", ErrAnswer)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxRPC+1))
	if err != nil {
		return nil, err
	}
	if len(b) > wire.MaxRPC {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrAnswer, wire.MaxRPC)
	}
	return b, nil
}

// roundTrip sends a request under the watchdog. An answer that is not 200 is an error.
// The caller closes the body.
func (r *Remote) roundTrip(hr *http.Request, wait time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(hr.Context())
	w := newWatch(r.cfg.Stall, cancel)
	if r.permit != nil {
		hr.Header[wire.PermitHeader] = r.permit
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(i httptrace.GotConnInfo) { w.on(i.Conn) },
		WroteRequest: func(httptrace.WroteRequestInfo) { w.expect(wait, hr.ContentLength) }})
	resp, err := r.http.RoundTrip(hr.WithContext(ctx))
	if err != nil {
		w.stop()
		if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
			err = cause
		}
		cancel(nil)
		return nil, ownWords(err)
	}
	w.answered()
	resp.Body = &watchedBody{ReadCloser: resp.Body, ctx: ctx, w: w, cancel: cancel}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	io.CopyN(io.Discard, resp.Body, maxRest)
	resp.Body.Close()
	return nil, refusal(resp)
}

// refusal turns an answer that is no success into an error, from its numbers alone.
func refusal(resp *http.Response) error {
	v := resp.Header[wire.StatusHeader]
	if len(v) == 1 && len(v[0]) <= 5 {
		n, err := strconv.ParseUint(v[0], 10, 16)
		if s := wire.Status(n); err == nil && s != wire.OK && s.Known() {
			return &wire.Error{Status: s}
		}
	}
	if resp.StatusCode >= 500 {
		return &wire.Error{Status: wire.Internal}
	}
	return fmt.Errorf("%w: http status %d", ErrAnswer, resp.StatusCode)
}

// watch is the progress watchdog of one exchange. From the moment that the request is
// written the answer's header must come within the wait asked for and stall, then
// progress bytes of its body in every stall. The sending half is watched by link,
// which sees what the socket takes. What the socket has taken may take a slow link longer
// than stall: while the other end acknowledges bytes of it, and then once more, the
// watchdog begins anew. A connection that can't tell gets the time that the slowest link takes.
type watch struct {
	stall  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc

	mu     sync.Mutex // guards the rest
	conn   queuer     // nil if it can't tell
	queued int        // when last looked at
}

// queuer is a connection that knows how many bytes written to it the other end has not acknowledged.
type queuer interface{ Queued() (n int, ok bool) }

const (
	slowest  = 8 << 10   // bytes a second that a connection gets at least, among several on a link of 0.25 Mbit/s
	buffered = 256 << 10 // bytes of a request that may be on their way unseen: the window of a libp2p stream
)

func newWatch(stall time.Duration, cancel context.CancelCauseFunc) *watch {
	w := &watch{stall: stall, cancel: cancel}
	w.timer = time.AfterFunc(time.Hour, w.bark)
	w.timer.Stop()
	return w
}

// on says which connection carries the exchange. It may be said again.
func (w *watch) on(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = nil
	if q, is := c.(queuer); is {
		if _, ok := q.Queued(); ok {
			w.conn = q
		}
	}
}

// expect says that the request, whose body had so many bytes, is written.
func (w *watch) expect(wait time.Duration, body int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := wait + w.stall
	if w.conn != nil {
		w.queued, _ = w.conn.Queued()
	} else {
		limit += time.Duration(min(max(body, 0), buffered)) * time.Second / slowest
	}
	w.timer.Reset(limit)
}

// bark ends the exchange unless some of what was queued has left.
func (w *watch) bark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil && w.queued > 0 {
		if n, ok := w.conn.Queued(); ok && n < w.queued {
			w.queued = n
			w.timer.Reset(w.stall)
			return
		}
	}
	w.cancel(ErrStalled)
}

func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued = 0 // it is the other end's turn
	w.timer.Reset(w.stall)
}
func (w *watch) stop() { w.timer.Stop() }

// watchedBody is an answer's body under the watchdog.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context // of the request, for its cause
	w      *watch
	cancel context.CancelCauseFunc
	n      int // bytes since the watchdog was last pushed back
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.n += n; b.n >= progress {
		b.n = 0
		b.w.answered()
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
		err = ownWords(err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.w.stop()
	b.cancel(nil)
	return err
}

func blobURL(path string) *url.URL { return &url.URL{Scheme: "http", Host: "decant", Path: path} }
