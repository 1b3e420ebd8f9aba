package direct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// TestOneNameAtATime puts one name many times at once: Deliver never sees it twice at the
// same time, and no more blobs are in memory than the limit says.
func TestOneNameAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var now, most atomic.Int32
		var inside sync.Map
		w.config.Deliver = func(_ context.Context, name id.Blob, note, _ []byte) (bool, error) {
			if _, twice := inside.LoadOrStore(name, true); twice {
				t.Error("one name twice at once")
			}
			defer inside.Delete(name)
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return string(note) == kept, nil
		}
		w.reopen()
		v, sid := w.admitted()
		same, page := id.NewBlob(), blob()
		var wg sync.WaitGroup
		deliver := func(name id.Blob, note string, blob []byte) {
			wg.Go(func() {
				if err := v.Session(sid).Deliver(t.Context(), name, []byte(note), blob); err != nil {
					t.Error(err)
				}
			})
		}
		for range 4 {
			deliver(same, kept, page)
		}
		for range 2 * transfers {
			deliver(id.NewBlob(), "", blob())
		}
		wg.Wait()
		if n := most.Load(); n != transfers {
			t.Errorf("%d at once, want %d", n, transfers)
		}
		if got, err := w.Session(sid).Get(t.Context(), same, nil); err != nil || !bytes.Equal(got, page) {
			t.Errorf("spooled: %v", err)
		}
	})
}

// TestR14AgainOverAnotherConnection puts a blob half, over a connection that then goes silent, and puts it again over another one:
// that does not wait for the first, and the first does not keep its slot.
func TestR14AgainOverAnotherConnection(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.ServeHTTP(rw, r.WithContext(as(r.Context(), v.peer)))
	}))
	defer srv.Close()
	name, page := id.NewBlob(), blob()
	for range transfers - 1 {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		must(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "PUT %s%v/%v HTTP/1.1\r\nHost: desk\r\nContent-Length: %d\r\n\r\n", wire.BlobPath, sid, name, len(page))
		must(t, err)
		_, err = c.Write(page[:len(page)/2])
		must(t, err)
	}
	for w.readers(name) < transfers-1 {
		runtime.Gosched()
	}
	must(t, v.Session(sid).Deliver(t.Context(), name, nil, page))
	for w.readers(name) > 0 || len(w.slots) > 0 {
		runtime.Gosched()
	}
	if n := w.deliveries(); n != 1 {
		t.Fatalf("%d deliveries of one blob", n)
	}
}

func (w *world) readers(name id.Blob) int {
	w.names.mu.Lock()
	defer w.names.mu.Unlock()
	return len(w.names.reading[name])
}

// TestRefusedDelivery passes on what Deliver says, and spools nothing of it.
func TestRefusedDelivery(t *testing.T) {
	w := newWorld(t)
	var refusal error
	w.config.Deliver = func(context.Context, id.Blob, []byte, []byte) (bool, error) { return true, refusal }
	w.reopen()
	v, sid := w.admitted()
	name, page := id.NewBlob(), blob()
	path := wire.BlobPath + sid.String() + "/" + name.String()
	for _, c := range []struct {
		err  error
		want wire.Status
	}{
		{wire.Malformed, wire.Malformed}, {wire.Fail(wire.NoSpace, "stage"), wire.NoSpace}, {wire.Busy, wire.Busy},
		{errors.New("anything"), wire.Internal}, {context.Canceled, wire.Busy}, {nil, wire.OK},
	} {
		refusal = c.err
		if s := w.request(v.peer, http.MethodPut, path, "", page, nil); s != c.want {
			t.Errorf("%v: %v, want %v", c.err, s, c.want)
		}
		if there := w.spool.has(name); there != (c.err == nil) {
			t.Errorf("%v: spooled: %v", c.err, there)
		}
	}
}

// TestSpoolIsBounded lets a sender spool what it declared and some more.
func TestSpoolIsBounded(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	store := v.Session(sid)
	page := blob()
	for range 8 + 1 + spoolSpare {
		must(t, store.Deliver(t.Context(), id.NewBlob(), []byte(kept), page))
	}
	want(t, store.Deliver(t.Context(), id.NewBlob(), []byte(kept), page), wire.QuotaSpace)
	must(t, store.Deliver(t.Context(), id.NewBlob(), nil, page)) // content has other bounds
}

// TestSpoolAfterACrash drops what was not finished and keeps the rest.
func TestSpoolAfterACrash(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	name, page := id.NewBlob(), blob()
	must(t, v.Session(sid).Deliver(t.Context(), name, []byte(kept), page))
	w.Close()
	half := filepath.Join(w.config.Spool, id.NewBlob().String()+unfinished)
	must(t, os.WriteFile(half, page[:1000], 0o600))
	w.open()
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("an unfinished file is still there: %v", err)
	}
	if got, err := w.Session(sid).Get(t.Context(), name, nil); err != nil || !bytes.Equal(got, page) {
		t.Errorf("what was spooled: %v", err)
	}
	must(t, v.Session(sid).Put(t.Context(), name, page))
	want(t, v.Session(sid).Put(t.Context(), name, blob()), wire.Conflict)
	if n := w.deliveries(); n != 1 {
		t.Errorf("a blob in the spool was delivered %d times", n)
	}
}

// counted counts what a listener's connections read.
type counted struct {
	net.Listener
	n *atomic.Int64
}

type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l.n}, err
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// TestR12NothingSentInVain lets the desk be busy for some attempts: over a carrier that
// knows "Expect: 100-continue" the blob's bytes travel once.
func TestR12NothingSentInVain(t *testing.T) {
	w := newWorld(t)
	var refusals atomic.Int32
	refusals.Store(3)
	w.config.Ready = func(_ context.Context, note []byte) error {
		if string(note) != "content" {
			t.Errorf("note %q", note)
		}
		if refusals.Add(-1) >= 0 {
			return context.DeadlineExceeded
		}
		return nil
	}
	w.reopen()
	v, sid := w.admitted()
	var received atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.ServeHTTP(rw, r.WithContext(as(r.Context(), v.peer)))
	}))
	srv.Listener = counted{srv.Listener, &received}
	srv.Start()
	defer srv.Close()
	transport := &http.Transport{ExpectContinueTimeout: time.Minute, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}
	defer transport.CloseIdleConnections()
	r, err := remote.New(remote.Config{Transport: transport})
	must(t, err)
	store := r.Session(sid)
	for range 3 {
		must(t, store.Deliver(t.Context(), id.NewBlob(), []byte("content"), blob()))
	}
	if n := w.deliveries(); n != 3 {
		t.Fatalf("%d deliveries, want 3", n)
	}
	if got, most := received.Load(), int64(3*wire.BlobSizeS+16<<10); got > most {
		t.Fatalf("%d bytes were sent for 3 blobs, want at most %d", got, most)
	}
}

// TestNotReady gives a sender up to 20 s, and reads nothing of the body before.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ready := make(chan struct{})
		w.config.Ready = func(ctx context.Context, _ []byte) error {
			select {
			case <-ready:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.reopen()
		v, sid := w.admitted()
		path := wire.BlobPath + sid.String() + "/" + id.NewBlob().String()
		began := time.Now()
		var left *bytes.Reader
		s := w.request(v.peer, http.MethodPut, path, "", blob(), func(r *http.Request) {
			left = bytes.NewReader(make([]byte, wire.BlobSizeS))
			r.Body = io.NopCloser(left)
			r.Header.Set("Expect", "100-continue")
		})
		if took := time.Since(began); s != wire.Busy || took != patience || left.Len() != wire.BlobSizeS {
			t.Fatalf("%v after %v, %d bytes unread", s, took, left.Len())
		}
		go func() { time.Sleep(time.Hour); close(ready) }()
		must(t, v.Session(sid).Deliver(t.Context(), id.NewBlob(), nil, blob()))
		if took := time.Since(began); took > patience+time.Hour+30*time.Second {
			t.Fatalf("delivered %v after it began", took)
		}
	})
}

// TestDelete removes what was spooled, whoever asks.
func TestDelete(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	store := v.Session(sid)
	a, b := id.NewBlob(), id.NewBlob()
	for _, name := range []id.Blob{a, b} {
		must(t, store.Deliver(t.Context(), name, []byte(kept), blob()))
	}
	must(t, store.Delete(t.Context(), a))
	must(t, w.Session(sid).Delete(t.Context(), b, b))
	for _, name := range []id.Blob{a, b} {
		if w.spool.has(name) {
			t.Errorf("%v is still there", name)
		}
	}
}
