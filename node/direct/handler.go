package direct

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

const (
	callPath    = "/decant.v1.Decant/"
	contentType = "application/proto"
)

// ServeHTTP implements http.Handler: the calls of docs/SPEC.md section 7 that a sender
// needs. What is refused has a number and no text.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := d.serve(w, r)
	if err == nil {
		return
	}
	if r.Header.Get("Expect") != "" {
		w.Header().Set("Connection", "close") // else net/http would ask for the body after all, to keep the connection
	}
	refuse(w, statusOf(err))
}

// statusOf returns the status with which an error is answered.
func statusOf(err error) wire.Status {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return wire.Busy
	}
	return wire.StatusOf(err)
}

// refuse answers with a status.
func refuse(w http.ResponseWriter, s wire.Status) {
	h := w.Header()
	h.Set(wire.StatusHeader, strconv.Itoa(int(s)))
	h.Set("Content-Type", "application/json")
	w.WriteHeader(s.HTTP())
	_, _ = io.WriteString(w, "{}") // the connection's failure is the carrier's to notice
}

// serve lets the caller in, or not, and answers unless it returns an error.
func (d *Desk) serve(w http.ResponseWriter, r *http.Request) error {
	caller, ok := d.cfg.Caller(r.Context())
	if !ok || caller == d.cfg.Device {
		return wire.Forbidden
	}
	leave, err := d.enter(caller)
	if err != nil {
		return err
	}
	defer leave()
	if r.Header.Get("Content-Encoding") != "" {
		return wire.Malformed
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	if strings.HasPrefix(r.URL.Path, wire.BlobPath) && (r.Method == http.MethodPut || r.Method == http.MethodDelete) {
		return d.serveBlob(ctx, caller, w, r)
	}
	name, _ := strings.CutPrefix(r.URL.Path, callPath)
	if c, ok := calls[name]; ok && r.Method == http.MethodPost {
		return d.serveCall(ctx, caller, w, r, c)
	}
	return wire.NotFound
}

// enter counts a request under way. The admitted sender may always ask. While nobody is
// admitted others may ask a little, if a code is being shown or they have an offer here.
func (d *Desk) enter(caller id.Peer) (leave func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, wire.Draining
	}
	if d.broken != nil {
		return nil, d.broken
	}
	if s := d.session; s != nil {
		if caller != s.Sender {
			return nil, wire.Forbidden
		}
		d.wg.Add(1)
		return d.wg.Done, nil
	}
	if !d.pairing() && d.offers[caller] == nil {
		return nil, wire.Forbidden
	}
	if d.visits >= strangers || d.guests[caller] >= perPeer {
		return nil, wire.Busy
	}
	d.visits++
	d.guests[caller]++
	d.wg.Add(1)
	return func() { d.leave(caller) }, nil
}

func (d *Desk) leave(guest id.Peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.wg.Done()
	d.visits--
	if d.guests[guest]--; d.guests[guest] == 0 {
		delete(d.guests, guest)
	}
}

// awaitAdmission returns when the caller is admitted. Who has left an offer may wait for
// it, since the receiver may be about to see who that is; anybody else is refused.
func (d *Desk) awaitAdmission(ctx context.Context, caller id.Peer) error {
	admitted, err := d.poll(ctx, patience, func() (bool, error) {
		switch s := d.session; {
		case s != nil && s.Sender == caller:
			return true, nil
		case s != nil:
			return false, wire.Forbidden
		case d.offers[caller] == nil:
			return false, wire.NotFound
		}
		return false, nil
	})
	if err == nil && !admitted {
		err = wire.Busy
	}
	return err
}

// serveBlob serves PUT and DELETE.
func (d *Desk) serveBlob(ctx context.Context, caller id.Peer, w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := d.awaitAdmission(ctx, caller)
	switch {
	case err != nil:
	case r.Method == http.MethodPut:
		err = d.putBlob(ctx, caller, r, http.NewResponseController(w))
	default:
		err = d.deleteBlob(caller, r)
	}
	if err != nil && r.Header.Get("Expect") == "" && r.ContentLength > 0 && r.ContentLength <= wire.BlobSizeL {
		// A refusal that overtakes its body would meet a closed connection; so the body of an honest size is read first.
		_, _ = io.Copy(io.Discard, r.Body) // it ends by itself: the carrier cuts a body that stalls
	}
	return err
}

// serveCall reads a control request whole, under its own small limit, and answers it.
func (d *Desk) serveCall(ctx context.Context, caller id.Peer, w http.ResponseWriter, r *http.Request, c call) error {
	if c.admitted {
		if err := d.awaitAdmission(ctx, caller); err != nil {
			return err
		}
	}
	switch {
	case r.Header.Get("Content-Type") != contentType:
		return wire.Malformed
	case r.ContentLength > c.limit:
		return wire.TooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, c.limit+1))
	switch {
	case int64(len(body)) > c.limit:
		return wire.TooLarge
	case err != nil:
		return wire.Malformed
	}
	answer, err := c.serve(d, ctx, caller, body)
	if err != nil {
		return err
	}
	out, err := proto.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out) // the connection's failure is the carrier's to notice
	return nil
}
