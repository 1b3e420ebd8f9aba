package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/blobstore"
	"github.com/decant-dev/decant/server/rendezvous"
)

// transfers bounds the bodies on their way, together and per session. While all turns are taken, whoever waits for one ends the body that has
// crawled for longest: a few hundred connections that read nothing would else keep everybody out for as long as the carrier bears them.
type transfers struct {
	all chan struct{}
	max int

	mu        sync.Mutex // guards the rest
	sessions  map[id.Session]int
	moving    map[*transfer]struct{}
	displaced int64
}

const (
	// transferWait is how long a blob request waits for its turn before it is told Busy.
	transferWait = 5 * time.Second
	// lookAround is the time between two looks at the others meanwhile.
	lookAround = 100 * time.Millisecond
	// A body crawls that has moved less than crawlBytes in the last crawlTime. The honest come back; those who crawl on purpose lose their
	// connection, which costs them a handshake.
	crawlBytes = 16 << 10
	crawlTime  = 2 * time.Second
)

// transfer is one body on its way.
type transfer struct {
	sid   id.Session
	abort func() // makes reads or writes of it fail, from any goroutine

	mu    sync.Mutex // guards the rest
	since time.Time  // when the last crawlBytes were through
	n     int        // bytes since then
	left  int        // of the whole; nobody is waited for once it is 0
	ended bool       // by another
}

var errDisplaced = wire.Fail(wire.Busy, "body crawls")

// move notes that n bytes went by, and fails if the body was ended meanwhile.
func (m *transfer) move(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n += n
	m.left -= n
	if m.n >= crawlBytes {
		m.since, m.n = time.Now(), 0
	}
	if m.ended {
		return errDisplaced
	}
	return nil
}

// crawls tells since when the body has hardly moved; false if it moves well.
func (m *transfer) crawls(now time.Time) (since time.Time, yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.since, m.left > 0 && !m.ended && now.Sub(m.since) > crawlTime
}

func (m *transfer) condemn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
}

func newTransfers(all, session int) *transfers {
	return &transfers{all: make(chan struct{}, all), max: session, sessions: map[id.Session]int{}, moving: map[*transfer]struct{}{}}
}

// Transfers tells how many blob bodies are on their way, and how many were ended so far because they crawled while others waited.
func (h *Handler) Transfers() (now int, displaced int64) {
	h.transfers.mu.Lock()
	defer h.transfers.mu.Unlock()
	return len(h.transfers.moving), h.transfers.displaced
}

// enter waits for a turn for a body of so many bytes. leave must be called after a nil error.
func (t *transfers) enter(ctx context.Context, sid id.Session, size int, abort func()) (*transfer, error) {
	t.mu.Lock()
	if t.sessions[sid] >= t.max {
		t.mu.Unlock()
		return nil, wire.Busy
	}
	t.sessions[sid]++
	t.mu.Unlock()
	if !t.turn(ctx) {
		t.forget(sid)
		return nil, wire.Busy
	}
	m := &transfer{sid: sid, abort: abort, since: time.Now(), left: size}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moving[m] = struct{}{}
	return m, nil
}

// turn waits for a turn, and looks for somebody to end.
func (t *transfers) turn(ctx context.Context) bool {
	select {
	case t.all <- struct{}{}:
		return true
	default:
	}
	over := time.NewTimer(transferWait)
	defer over.Stop()
	look := time.NewTicker(lookAround)
	defer look.Stop()
	t.displace()
	for {
		select {
		case t.all <- struct{}{}:
			return true
		case <-look.C:
			t.displace()
		case <-over.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// displace ends the body that has crawled for longest, if one does.
func (t *transfers) displace() {
	now := time.Now()
	var worst *transfer
	oldest := now
	t.mu.Lock()
	for m := range t.moving {
		if since, yes := m.crawls(now); yes && since.Before(oldest) {
			worst, oldest = m, since
		}
	}
	if worst != nil {
		t.displaced++
		worst.condemn()
	}
	t.mu.Unlock()
	if worst != nil {
		worst.abort()
	}
}

func (t *transfers) leave(m *transfer) {
	t.mu.Lock()
	delete(t.moving, m)
	t.mu.Unlock()
	<-t.all
	t.forget(m.sid)
}

func (t *transfers) forget(sid id.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions[sid]--; t.sessions[sid] == 0 {
		delete(t.sessions, sid)
	}
}

// blobPath parses what follows wire.BlobPath: exactly "SESSION/BLOB" in lower-case hex.
func blobPath(path string) (sid id.Session, name id.Blob, ok bool) {
	first, second, found := strings.Cut(strings.TrimPrefix(path, wire.BlobPath), "/")
	sid, err := id.ParseSession(first)
	name, err2 := id.ParseBlob(second)
	return sid, name, found && err == nil && err2 == nil
}

// enter takes a handle on the session's blobs and then checks the caller, in this order: see blobstore.Handle.
func (h *Handler) enter(ctx context.Context, sid id.Session, a rendezvous.Access) (*blobstore.Handle, rendezvous.Session, error) {
	session, gone := h.Blobs.Enter(sid)
	rec, err := h.authorize(sid, who(ctx), a)
	if err == nil {
		err = gone
	}
	if err != nil {
		if gone == nil {
			session.Close()
		}
		return nil, rec, err
	}
	return session, rec, nil
}

func (h *Handler) authorize(sid id.Session, by identity, a rendezvous.Access) (rendezvous.Session, error) {
	if by.permit != nil {
		return h.Sessions.AuthorizeCache(sid, by.peer, by.permit, a)
	}
	return h.Sessions.Authorize(sid, by.peer, a)
}

// putBlob stores one blob and answers when it is durable.
func (h *Handler) putBlob(a *answer, r *http.Request) {
	err := h.put(a, r)
	if err == nil {
		a.WriteHeader(http.StatusOK)
		return
	}
	// A refusal that overtakes its body would meet a closed connection; so the body of an honest size is read first.
	if r.ContentLength > 0 && r.ContentLength <= wire.BlobSizeL {
		_, _ = io.Copy(io.Discard, r.Body) // it ends by itself: the carrier cuts a body that stalls
	}
	a.refuse(h.refusal(err, "PutBlob"))
}

func (h *Handler) put(a *answer, r *http.Request) error {
	sid, name, ok := blobPath(r.URL.Path)
	if !ok {
		return wire.Malformed
	}
	session, rec, err := h.enter(r.Context(), sid, rendezvous.Write)
	if err != nil {
		return err
	}
	defer session.Close()
	switch size := int64(rec.Class.BlobSize()); {
	case r.ContentLength > size:
		return wire.TooLarge
	case r.ContentLength != size:
		return wire.Malformed
	}
	in := &body{Reader: r.Body, conn: http.NewResponseController(a)}
	if in.transfer, err = h.transfers.enter(r.Context(), sid, int(r.ContentLength), in.Abort); err != nil {
		return err
	}
	defer h.transfers.leave(in.transfer)
	err = session.Put(r.Context(), rec.Class, name, in, blobLimit(rec.Declared))
	if err == nil {
		a.in = r.ContentLength
		h.Kept(sid, name)
	}
	return err
}

// body is a request's body that another request can end.
type body struct {
	io.Reader
	conn     *http.ResponseController
	transfer *transfer
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if e := b.transfer.move(n); e != nil && err == nil {
		err = e
	}
	return n, err
}

// Abort implements blobstore.Aborter.
func (b *body) Abort() { _ = b.conn.SetReadDeadline(time.Unix(1, 0)) }

// outgoing is an answer's body.
type outgoing struct {
	io.Writer
	transfer *transfer
}

// Write implements io.Writer. The blob store writes pieces small enough to see whether they move.
func (o outgoing) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if e := o.transfer.move(n); err == nil {
		err = e
	}
	return n, err
}

// blobLimit is how many blobs a session may hold that declared so many: some more, for those whose names a crash made the sender forget.
func blobLimit(declared uint64) int64 { return int64(declared + declared/8 + 64) }

// getBlob sends one blob to either party.
func (h *Handler) getBlob(a *answer, r *http.Request) {
	if err := h.get(a, r); err != nil {
		if a.began { // too late for a status: a short body tells as much
			panic(http.ErrAbortHandler)
		}
		a.refuse(h.refusal(err, "GetBlob"))
	}
}

func (h *Handler) get(a *answer, r *http.Request) error {
	sid, name, ok := blobPath(r.URL.Path)
	if !ok {
		return wire.Malformed
	}
	session, rec, err := h.enter(r.Context(), sid, rendezvous.Read)
	if err != nil {
		return err
	}
	defer session.Close()
	conn := http.NewResponseController(a)
	m, err := h.transfers.enter(r.Context(), sid, rec.Class.BlobSize(), func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	if err != nil {
		return err
	}
	defer h.transfers.leave(m)
	b, err := session.Open(name)
	if err != nil {
		return err
	}
	defer b.Close()
	a.Header()["Content-Type"] = []string{"application/octet-stream"}
	a.Header()["Content-Length"] = []string{strconv.Itoa(b.Size())}
	_, err = b.WriteTo(outgoing{a, m})
	return err
}

// deleteBlob removes one blob, present or not.
func (h *Handler) deleteBlob(a *answer, r *http.Request) {
	if err := h.delete(r); err != nil {
		a.refuse(h.refusal(err, "DeleteBlob"))
		return
	}
	a.WriteHeader(http.StatusOK)
}

func (h *Handler) delete(r *http.Request) error {
	sid, name, ok := blobPath(r.URL.Path)
	if !ok || r.ContentLength != 0 {
		return wire.Malformed
	}
	session, _, err := h.enter(r.Context(), sid, rendezvous.Delete)
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Delete(name)
}
