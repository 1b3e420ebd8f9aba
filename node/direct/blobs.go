package direct

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// names lets one goroutine at a time take in a blob of one name. Several may read its body: all but one come over connections
// that the sender has given up, and nothing tells the desk so. When the first of them is through, the others end.
type names struct {
	mu      sync.Mutex // guards the rest
	held    map[id.Blob]chan struct{}
	reading map[id.Blob][]*reading
}

// reading is a body under way.
type reading struct {
	stop  func() // makes a Read that waits fail
	moot  bool   // the blob came another way; guarded by names.mu
	names *names
}

// read notes that a body of that name is being read. done must follow.
func (n *names) read(name id.Blob, stop func()) (r *reading, done func()) {
	r = &reading{stop: stop, names: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reading[name] = append(n.reading[name], r)
	return r, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		left := slices.DeleteFunc(n.reading[name], func(x *reading) bool { return x == r })
		if n.reading[name] = left; len(left) == 0 {
			delete(n.reading, name)
		}
	}
}

// here ends every reading of that name.
func (n *names) here(name id.Blob) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.reading[name] {
		r.moot = true
		r.stop()
	}
}

func (r *reading) over() bool {
	r.names.mu.Lock()
	defer r.names.mu.Unlock()
	return r.moot
}

// Read implements io.Reader.
func (b readingBody) Read(p []byte) (int, error) {
	if b.over() {
		return 0, io.ErrClosedPipe
	}
	return b.Reader.Read(p)
}

// readingBody is a body that reads on only while that is of use.
type readingBody struct {
	io.Reader
	*reading
}

// enter waits for its turn until ctx ends. After a nil error leave must be called.
func (n *names) enter(ctx context.Context, name id.Blob) error {
	for {
		n.mu.Lock()
		other, busy := n.held[name]
		if !busy {
			n.held[name] = make(chan struct{})
		}
		n.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *names) leave(name id.Blob) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.held[name])
	delete(n.held, name)
}

// blobPath parses what follows wire.BlobPath: exactly "SESSION/BLOB".
func blobPath(path string) (sid id.Session, name id.Blob, ok bool) {
	first, second, found := strings.Cut(strings.TrimPrefix(path, wire.BlobPath), "/")
	sid, err := id.ParseSession(first)
	name, err2 := id.ParseBlob(second)
	return sid, name, found && err == nil && err2 == nil
}

// noteOf returns what a sender says of a blob.
func noteOf(h http.Header) ([]byte, error) {
	text := h.Get(wire.NoteHeader)
	if len(text) > base64.RawURLEncoding.EncodedLen(wire.MaxNote) {
		return nil, wire.TooLarge
	}
	note, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, wire.Malformed
	}
	return note, nil
}

// putBlob takes in one blob. Up to its first byte everything is waited for, for as long
// as ctx lasts. rc ends a body that is not needed any more.
func (d *Desk) putBlob(ctx context.Context, caller id.Peer, r *http.Request, rc *http.ResponseController) error {
	sid, name, ok := blobPath(r.URL.Path)
	if !ok {
		return wire.Malformed
	}
	note, err := noteOf(r.Header)
	if err != nil {
		return err
	}
	s, err := d.active(caller, sid)
	if err != nil {
		return err
	}
	size := s.Class.BlobSize()
	switch {
	case r.ContentLength > int64(size):
		return wire.TooLarge
	case r.ContentLength != int64(size):
		return wire.Malformed
	}
	if d.cfg.Ready != nil {
		if err := d.cfg.Ready(ctx, note); err != nil {
			return err
		}
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	buffer := d.buffers.Get().(*[]byte)
	defer d.buffers.Put(buffer)
	if cap(*buffer) < size {
		*buffer = make([]byte, size)
	}
	blob := (*buffer)[:size]
	reading, done := d.names.read(name, func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })
	_, err = io.ReadFull(readingBody{r.Body, reading}, blob)
	done()
	switch {
	case reading.over():
		return wire.Busy // who still listens asks again, and hears whether that one had the same bytes
	case err != nil:
		return wire.Malformed // the connection is gone, or cut because nothing came
	}
	if err := d.names.enter(d.ctx, name); err != nil { // ctx may be over: the body took as long as it needed
		return err
	}
	defer d.names.leave(name)
	if err = d.take(s, name, note, blob); err == nil {
		d.names.here(name)
	}
	return err
}

// take delivers a blob, and spools it if it is to be kept.
func (d *Desk) take(s *record, name id.Blob, note, blob []byte) error {
	if there, err := d.spool.same(name, blob); there || err != nil {
		return err
	}
	keep, err := d.cfg.Deliver(d.ctx, name, note, blob)
	if err != nil {
		return err
	}
	if keep {
		if uint64(d.spool.len()) >= s.Blobs+s.Blobs/8+spoolSpare {
			return wire.QuotaSpace
		}
		if err := d.spool.put(name, blob); err != nil {
			return err
		}
		kill.Point(kill.ReceiverDeskSpooled)
		return nil
	}
	d.mu.Lock()
	d.taken++
	d.mu.Unlock()
	kill.Point(kill.ReceiverDeskTaken)
	return nil
}

// deleteBlob removes a blob from the spool, present or not. What was delivered stays.
func (d *Desk) deleteBlob(caller id.Peer, r *http.Request) error {
	sid, name, ok := blobPath(r.URL.Path)
	if !ok || r.ContentLength != 0 {
		return wire.Malformed
	}
	if _, err := d.active(caller, sid); err != nil {
		return err
	}
	return d.spool.remove(name)
}

// active is opened for who does not hold mu.
func (d *Desk) active(caller id.Peer, sid id.Session) (*record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened(caller, sid)
}

// has tells which blobs need not be put again: those in the spool and those delivered.
func (d *Desk) has(ctx context.Context, names []id.Blob) ([]bool, error) {
	out := make([]bool, len(names))
	if d.cfg.Has != nil {
		taken, err := d.cfg.Has(ctx, names)
		if err != nil {
			return nil, err
		}
		if len(taken) != len(names) {
			panic("direct: Config.Has answered for another number of names")
		}
		copy(out, taken)
	}
	for i, name := range names {
		out[i] = out[i] || d.spool.has(name)
	}
	return out, nil
}

// checkpoint is one run of Config.Checkpoint, for which several commits may wait.
type checkpoint struct {
	done chan struct{} // closed at the end
	upTo int64         // deliveries that it covers
	err  error         // valid once done
}

// flush makes everything durable that was delivered before the call. A commit that can't
// wait is Busy and finds the checkpoint under way, or done, when it comes again.
func (d *Desk) flush(ctx context.Context) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	d.mu.Lock()
	need := d.taken
	for d.flushed < need {
		c := d.flushing
		if c == nil {
			c = d.beginCheckpoint()
		}
		d.mu.Unlock()
		select {
		case <-c.done:
		case <-timer.C:
			return wire.Busy
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.err != nil {
			return fmt.Errorf("checkpoint: %w", c.err)
		}
		d.mu.Lock()
	}
	d.mu.Unlock()
	return nil
}

// beginCheckpoint starts one. The caller holds mu, and is a request under way.
func (d *Desk) beginCheckpoint() *checkpoint {
	c := &checkpoint{done: make(chan struct{}), upTo: d.taken}
	d.flushing = c
	d.wg.Go(func() {
		if d.cfg.Checkpoint != nil {
			c.err = d.cfg.Checkpoint(d.ctx)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if c.err == nil {
			d.flushed = c.upTo
			kill.Point(kill.ReceiverDeskFlushed)
		}
		d.flushing = nil
		close(c.done)
	})
	return c
}

// Session is the receiver's view of the blobs of one session. It is safe for concurrent use.
type Session struct {
	d   *Desk
	sid id.Session
}

// Session returns the blobs of sid, which are those in the spool if sid is the session
// that was admitted, and none else.
func (d *Desk) Session(sid id.Session) *Session { return &Session{d, sid} }

// check reports whether the session is here and goes on.
func (s *Session) check(op string) error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	r, err := s.d.party(s.d.cfg.Device, s.sid)
	if err == nil && r.State == remote.Done {
		err = wire.Done
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// Put is the sender's: wire.Forbidden.
func (s *Session) Put(context.Context, id.Blob, []byte) error { return notMine("put blob") }

// Get appends a spooled blob to dst. One that is not there, or was delivered, is wire.NotFound.
func (s *Session) Get(_ context.Context, name id.Blob, dst []byte) ([]byte, error) {
	if err := s.check("get blob"); err != nil {
		return dst, err
	}
	dst, err := s.d.spool.get(name, dst)
	if err != nil {
		return dst, fmt.Errorf("get blob: %w", err)
	}
	return dst, nil
}

// Has tells which blobs are in the spool or need not be put again, in the order of names.
func (s *Session) Has(ctx context.Context, names []id.Blob) ([]bool, error) {
	if err := s.check("has"); err != nil {
		return nil, err
	}
	out, err := s.d.has(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("has: %w", err)
	}
	return out, nil
}

// Delete removes blobs from the spool. One that is not there is no error.
func (s *Session) Delete(_ context.Context, names ...id.Blob) error {
	if err := s.check("delete blob"); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.d.spool.remove(name); err != nil {
			return err
		}
	}
	return nil
}
