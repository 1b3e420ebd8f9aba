package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// flaky is a transport that fails as fail says, and counts. It runs in a synctest bubble.
type flaky struct {
	fail func(n int) error // for request n, from 1; nil: answer
	n    atomic.Int32
	now  atomic.Int32 // requests in progress
	most atomic.Int32
	took time.Duration // of each request

	mu   sync.Mutex
	rids map[string]bool // request IDs seen
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	now := f.now.Add(1)
	defer f.now.Add(-1)
	for most := f.most.Load(); now > most && !f.most.CompareAndSwap(most, now); most = f.most.Load() {
	}
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		var m serverpb.PostRequest
		if proto.Unmarshal(b, &m) == nil && len(m.RequestId) > 0 {
			f.mu.Lock()
			if f.rids == nil {
				f.rids = map[string]bool{}
			}
			f.rids[string(m.RequestId)] = true
			f.mu.Unlock()
		}
	}
	if f.took > 0 {
		select {
		case <-time.After(f.took):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err := f.fail(int(f.n.Add(1))); err != nil {
		var s wire.Status
		if errors.As(err, &s) {
			return &http.Response{StatusCode: s.HTTP(), Header: http.Header{wire.StatusHeader: {itoa(s)}}, Body: http.NoBody, Request: r}, nil
		}
		return nil, err
	}
	return answers(nil).RoundTrip(r)
}

func itoa(s wire.Status) string {
	return string([]byte{'0' + byte(s/100), '0' + byte(s/10%10), '0' + byte(s%10)})
}

func failFirst(n int, err error) func(int) error {
	return func(i int) error {
		if i <= n {
			return err
		}
		return nil
	}
}

// TestRetry: one logical operation keeps its request ID over any number of attempts,
// and the device is told once that it is in trouble and once that it is not.
func TestRetry(t *testing.T) {
	for name, cause := range map[string]error{"network": syscall.ECONNREFUSED, "busy": wire.Busy, "internal": wire.Internal, "draining": wire.Draining} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &flaky{fail: failFirst(40, cause)}
				var notices []Notice
				r, err := New(Config{Transport: f, FirstContact: -1, Notice: func(n Notice) { notices = append(notices, n) }})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if err := r.Mailbox(id.Scope{}).Post(t.Context(), id.Peer{}, []byte("x")); err != nil {
					t.Fatal(err)
				}
				if f.n.Load() != 41 || len(f.rids) != 1 {
					t.Errorf("%d requests with %d request IDs", f.n.Load(), len(f.rids))
				}
				if d := time.Since(start); d < time.Minute || d > 40*backoffCap {
					t.Errorf("took %v", d)
				}
				if len(notices) != 2 || !notices[0].Retrying || !errors.Is(notices[0].Err, cause) || notices[1].Retrying {
					t.Errorf("notices %+v", notices)
				}
			})
		})
	}
}

// TestR14Kick: when the network is another one, what waits between two repetitions tries soon, and waits as little as at first
// after that.
func TestR14Kick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Bool
		f := &flaky{fail: func(int) error {
			if back.Load() {
				return nil
			}
			return syscall.ENETUNREACH
		}}
		r, err := New(Config{Transport: f, FirstContact: -1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error)
		for range 3 {
			go func() { ended <- r.Revoke(ctx, id.Session{}) }()
		}
		time.Sleep(time.Hour) // they wait for half a minute each by now
		for range 100 {
			n := f.n.Load()
			r.Kick()
			time.Sleep(backoffBase)
			if f.n.Load() == n {
				t.Fatal("nothing was tried within the shortest wait")
			}
			time.Sleep(time.Minute)
		}
		back.Store(true)
		r.Kick()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestLongPollProbes: when a long poll is the first to get through to a server that was away, what waits beside it does not
// wait for its answer.
func TestLongPollProbes(t *testing.T) {
	for range 20 { // the waits are random
		synctest.Test(t, longPollProbes)
	}
}

func longPollProbes(t *testing.T) {
	back := make(chan struct{}) // closed by the third poll, which gets through
	polls := 0
	r, err := New(Config{FirstContact: -1, Transport: carrier(func(q *http.Request) (*http.Response, error) {
		if strings.HasSuffix(q.URL.Path, "/Fetch") {
			if polls++; polls == 3 {
				close(back)
				time.Sleep(wire.MaxWait)
			}
		}
		select {
		case <-back:
			return answers(nil).RoundTrip(q)
		default:
			return nil, syscall.ECONNREFUSED
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() {
		_, _, err := r.Mailbox(id.Scope{}).Fetch(t.Context(), 0, wire.MaxWait)
		ended <- err
	}()
	go func() { ended <- r.Release(t.Context(), id.Scope{}) }()
	<-back
	began := time.Now()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d >= wire.MaxWait {
		t.Errorf("released %v after the server was back, when the poll was answered", d)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// carrier is a transport.
type carrier func(*http.Request) (*http.Response, error)

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

// TestFinal: what repeating can't mend is told at once.
func TestFinal(t *testing.T) {
	for _, want := range []error{wire.NotFound, wire.Conflict, wire.Forbidden, wire.NotPinned, wire.NoSpace, wire.QuotaSpace,
		&link.WrongServerError{}, link.ErrKeyType, link.ErrClosed} {
		synctest.Test(t, func(t *testing.T) {
			f := &flaky{fail: failFirst(1, want)}
			r, err := New(Config{Transport: f})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := r.Revoke(t.Context(), id.Session{}); !errors.Is(err, want) && !errors.Is(err, link.ErrWrongServer) {
				t.Errorf("error %v, want %v", err, want)
			}
			if f.n.Load() != 1 || time.Since(start) != 0 {
				t.Errorf("%v: %d requests in %v", want, f.n.Load(), time.Since(start))
			}
		})
	}
}

// TestUnreachable: "no server" is told after FirstContact, also if a connection only
// hangs; once there was an answer, MaxElapsed holds instead.
func TestUnreachable(t *testing.T) {
	for name, took := range map[string]time.Duration{"refused": 0, "hangs": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &flaky{fail: func(int) error { return syscall.ECONNREFUSED }, took: took}
				r, err := New(Config{Transport: f})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if _, err := r.Hello(t.Context()); !errors.Is(err, ErrUnreachable) {
					t.Errorf("error %v", err)
				}
				if d := time.Since(start); d != 30*time.Second {
					t.Errorf("after %v", d)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{fail: func(n int) error {
			if n == 1 {
				return nil
			}
			return syscall.ECONNRESET
		}}
		r, err := New(Config{Transport: f, MaxElapsed: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Revoke(t.Context(), id.Session{}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = r.Revoke(t.Context(), id.Session{})
		if !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, ErrUnreachable) || time.Since(start) != 10*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestCancelWhileWaiting: a context ends the wait between attempts at once.
func TestCancelWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := New(Config{Transport: &flaky{fail: func(int) error { return syscall.ECONNREFUSED }}, FirstContact: -1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		err = r.Revoke(ctx, id.Session{})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestR18Storm: while the server is away a device's operations together ask like one,
// and when it is back they all get through within seconds of the first.
func TestR18Storm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ops, away = 32, 5 * time.Minute
		start := time.Now()
		f := &flaky{took: time.Millisecond, fail: func(int) error {
			if time.Since(start) < away {
				return syscall.ECONNREFUSED
			}
			return nil
		}}
		r, err := New(Config{Transport: f, FirstContact: -1})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range ops {
			wg.Go(func() {
				if err := r.Revoke(t.Context(), id.Session{}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second) // the bubble's clock: all have failed and one probes
		f.most.Store(0)
		before := f.n.Load()
		time.Sleep(away - 2*time.Second)
		if n := f.n.Load() - before; n > 60 || f.most.Load() > 1 {
			t.Errorf("%d requests, %d at once, while the server was away", n, f.most.Load())
		}
		wg.Wait()
		if d := time.Since(start); d > away+backoffCap+8*backoffBase+time.Second {
			t.Errorf("all were back after %v", d-away)
		}
	})
}

// TestRestart: a device goes on where it was when its server is stopped and started
// again at the same address, connections and all.
func TestRestart(t *testing.T) {
	for _, carrier := range []link.Carrier{link.Fast, link.Libp2p} {
		t.Run(carrier.String(), func(t *testing.T) {
			m, dev := newMemory(), newDevice()
			s := serve(t, link.Config{Device: dev, Handler: m.handler()})
			lost := make(chan struct{}, 16)
			r := open(t, Config{Server: s.Server(), Carrier: carrier, Notice: func(n Notice) {
				if n.Retrying {
					lost <- struct{}{}
				}
			}})
			blobs, name, blob := r.Session(id.NewSession()), id.NewBlob(), random(wire.BlobSizeS)
			if err := blobs.Put(t.Context(), name, blob); err != nil {
				t.Fatal(err)
			}
			addr := s.Addr().String()
			s.Close()
			done := make(chan error, 1)
			go func() { done <- blobs.Put(t.Context(), id.NewBlob(), blob) }()
			<-lost
			serve(t, link.Config{Device: dev, Handler: m.handler(), Listen: addr})
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if has, err := blobs.Has(t.Context(), []id.Blob{name}); err != nil || !has[0] {
				t.Fatal(has, err)
			}
		})
	}
}
