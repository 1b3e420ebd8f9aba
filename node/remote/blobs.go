package remote

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
)

// Session is the blob store of one session on the server. It is safe for concurrent use.
type Session struct {
	r    *Remote
	sid  id.Session
	path string // of its blobs

	taking atomic.Bool // the newest Deliver succeeded
}

// Session returns the blob store of sid. It does no I/O.
func (r *Remote) Session(sid id.Session) *Session {
	return &Session{r: r, sid: sid, path: wire.BlobPath + sid.String() + "/"}
}

// Put stores blob under name; it is durable when nil is returned. The same name with
// the same bytes is no error, with other bytes wire.Conflict. The blob is sent without
// a copy and not used after Put returns.
func (s *Session) Put(ctx context.Context, name id.Blob, blob []byte) error {
	return s.r.do(ctx, "put blob", 0, func(ctx context.Context) error {
		return s.put(s.request(ctx, http.MethodPut, name), blob)
	})
}

func (s *Session) put(hr *http.Request, blob []byte) error {
	body := link.NewBody(blob)
	defer body.Wait()
	hr.Body, hr.ContentLength = body, int64(len(blob))
	return s.r.finish(hr)
}

// Deliver is Put to a desk (package node/direct), which takes the blob in at once. note,
// at most wire.MaxNote bytes, tells the device behind the desk what the blob is. While
// the desk takes nothing (wire.Busy) Deliver asks it again and again, first without the
// blob's bytes, until ctx ends.
//
// Whether the desk takes blobs at present is remembered in the Session, so what is taken
// at different times is best delivered through different ones.
func (s *Session) Deliver(ctx context.Context, name id.Blob, note, blob []byte) error {
	if len(note) > wire.MaxNote {
		return wire.Fail(wire.TooLarge, "deliver blob")
	}
	text := base64.RawURLEncoding.EncodeToString(note)
	return s.r.do(ctx, "deliver blob", 0, func(ctx context.Context) error { return s.deliver(ctx, name, text, blob) })
}

// deliver is one attempt. Unless the desk took the blob before this one, it has to say
// that it takes this before the body leaves (RFC 9110, 10.1.1).
func (s *Session) deliver(ctx context.Context, name id.Blob, note string, blob []byte) error {
	hr := s.request(ctx, http.MethodPut, name)
	hr.Header[wire.NoteHeader] = []string{note}
	if !s.taking.Load() {
		hr.Header["Expect"] = []string{"100-continue"}
	}
	err := s.put(hr, blob)
	s.taking.Store(err == nil)
	return err
}

// Get appends the blob to dst and returns the longer slice. A blob that is not there is
// wire.NotFound, one that has no size class's length ErrAnswer. On error dst is returned
// as it was; bytes between its length and capacity may have changed.
func (s *Session) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	var n int
	err := s.r.do(ctx, "get blob", 0, func(ctx context.Context) error {
		resp, err := s.r.roundTrip(s.request(ctx, http.MethodGet, name), 0)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if l := resp.ContentLength; l != wire.BlobSizeS && l != wire.BlobSizeL || resp.Header.Get("Content-Encoding") != "" {
			return fmt.Errorf("%w: not a blob", ErrAnswer)
		}
		n = int(resp.ContentLength)
		dst = slices.Grow(dst, n)
		_, err = io.ReadFull(resp.Body, dst[len(dst):len(dst)+n])
		return err
	})
	if err != nil {
		return dst, err
	}
	return dst[:len(dst)+n], nil
}

// Delete removes blobs. One that is not there is no error.
func (s *Session) Delete(ctx context.Context, names ...id.Blob) error {
	for _, name := range names {
		err := s.r.do(ctx, "delete blob", 0, func(ctx context.Context) error {
			err := s.r.finish(s.request(ctx, http.MethodDelete, name))
			if wire.StatusOf(err) == wire.NotFound {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Has tells which blobs are durable on the server, in the order of names. It asks for
// any number, wire.MaxHas at a time.
func (s *Session) Has(ctx context.Context, names []id.Blob) ([]bool, error) {
	out := make([]bool, 0, len(names))
	for part := range slices.Chunk(names, wire.MaxHas) {
		req := &serverpb.HasRequest{Session: s.sid[:], Names: make([][]byte, len(part))}
		for i := range part {
			req.Names[i] = part[i][:]
		}
		var resp serverpb.HasResponse
		if err := s.r.call(ctx, "has", serverpbconnect.DecantHasProcedure, req, &resp, 0); err != nil {
			return nil, err
		}
		var err error
		if out, err = appendBits(out, resp.Present, len(part)); err != nil {
			return nil, fmt.Errorf("has: %w", err)
		}
	}
	return out, nil
}

// appendBits appends n bits, LSB first. The encoding is exact: no byte and no bit more.
func appendBits(out []bool, b []byte, n int) ([]bool, error) {
	if len(b) != (n+7)/8 || n%8 != 0 && b[len(b)-1]>>(n%8) != 0 {
		return nil, fmt.Errorf("%w: wrong number of bits", ErrAnswer)
	}
	for i := range n {
		out = append(out, b[i/8]>>(i%8)&1 == 1)
	}
	return out, nil
}

func (s *Session) request(ctx context.Context, method string, name id.Blob) *http.Request {
	hr := &http.Request{Method: method, URL: blobURL(s.path + name.String()), Header: http.Header{},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return hr.WithContext(ctx)
}

// finish sends a request whose answer has no content.
func (r *Remote) finish(hr *http.Request) error {
	resp, err := r.roundTrip(hr, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, maxRest+1); err != io.EOF {
		if n > maxRest {
			return fmt.Errorf("%w: content where none belongs", ErrAnswer)
		}
		return err
	}
	return nil
}
