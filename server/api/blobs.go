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

// transfers bounds the bodies on their way, together and per session.
type transfers struct {
	all chan struct{}
	max int

	mu       *sync.Mutex // guards sessions
	sessions map[id.Session]int
}

// transferWait is how long a blob request waits for its turn before it is told Busy.
const transferWait = 5 * time.Second

func newTransfers(all, session int) transfers {
	return transfers{make(chan struct{}, all), session, &sync.Mutex{}, map[id.Session]int{}}
}

// enter waits for a turn. leave must be called after a nil error.
func (t *transfers) enter(ctx context.Context, sid id.Session) error {
	t.mu.Lock()
	if t.sessions[sid] >= t.max {
		t.mu.Unlock()
		return wire.Busy
	}
	t.sessions[sid]++
	t.mu.Unlock()
	select {
	case t.all <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(transferWait)
	defer timer.Stop()
	select {
	case t.all <- struct{}{}:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	t.forget(sid)
	return wire.Busy
}

func (t *transfers) leave(sid id.Session) {
	<-t.all
	t.forget(sid)
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
	if err := h.transfers.enter(r.Context(), sid); err != nil {
		return err
	}
	defer h.transfers.leave(sid)
	err = session.Put(r.Context(), rec.Class, name, body{r.Body, http.NewResponseController(a)}, blobLimit(rec.Declared))
	if err == nil {
		a.in = r.ContentLength
		h.Kept(sid, name)
	}
	return err
}

// body is a request's body that another request can end.
type body struct {
	io.Reader
	conn *http.ResponseController
}

// Abort implements blobstore.Aborter.
func (b body) Abort() { _ = b.conn.SetReadDeadline(time.Unix(1, 0)) }

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
	session, _, err := h.enter(r.Context(), sid, rendezvous.Read)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := h.transfers.enter(r.Context(), sid); err != nil {
		return err
	}
	defer h.transfers.leave(sid)
	b, err := session.Open(name)
	if err != nil {
		return err
	}
	defer b.Close()
	a.Header()["Content-Type"] = []string{"application/octet-stream"}
	a.Header()["Content-Length"] = []string{strconv.Itoa(b.Size())}
	_, err = b.WriteTo(a)
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
