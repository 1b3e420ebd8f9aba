package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// TestAutoFallsBack: where the fast lane is closed Auto takes QUIC, and where UDP is
// closed too, TCP; a dialer that only may use the fast lane fails.
func TestAutoFallsBack(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	s.ln.Close()
	for _, want := range []string{"/quic-v1", "/tcp/"} {
		dev := newDevice()
		d := dialer(t, DialConfig{Device: dev, Server: s.Server()})
		got, err := post(t.Context(), d, strings.NewReader("x"))
		if err != nil || got != dev.Peer().String()+" x" || d.Carrier() != Libp2p {
			t.Fatalf("%s: %q over %v: %v", want, got, d.Carrier(), err)
		}
		addr := s.host.swarm.ConnsToPeer(peerID(dev.Peer()))[0].LocalMultiaddr().String()
		if !strings.Contains(addr, want) {
			t.Fatalf("came over %s, want %s", addr, want)
		}
		for _, a := range s.host.swarm.ListenAddresses() {
			if strings.Contains(a.String(), "/quic-v1") {
				s.host.swarm.ListenClose(a)
			}
		}
	}
	d := dialer(t, DialConfig{Server: s.Server(), Carrier: Fast})
	if _, err := post(t.Context(), d, nil); err == nil {
		t.Fatal("fast lane without a listener")
	}
	if d.host != nil {
		t.Fatal("libp2p was started for the fast lane")
	}
}

// TestCancel: a request's context ends it at once, in a handler, in a full pool, and
// while its body hangs; the caller has its bytes back when Wait returns.
func TestCancel(t *testing.T) {
	for _, carrier := range []Carrier{Fast, Libp2p} {
		t.Run(carrier.String(), func(t *testing.T) {
			arrived, ended, release := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
			defer close(release)
			s := listen(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				if r.ContentLength == 0 {
					<-r.Context().Done()
					ended <- struct{}{}
					return
				}
				io.CopyN(io.Discard, r.Body, 1<<20)
				<-release
			})})
			d := dialer(t, DialConfig{Server: s.Server(), Carrier: carrier, Conns: 1})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-arrived; cancel() }()
			if _, err := post(ctx, d, nil); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			<-ended // the server notices too

			ctx, cancel = context.WithCancel(t.Context())
			data := make([]byte, 64<<20) // more than socket buffers and stream windows hold
			body := NewBody(data)
			r, err := http.NewRequestWithContext(ctx, "PUT", BaseURL+"/", body)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = int64(len(data))
			go func() { <-arrived; cancel() }()
			if _, err := d.RoundTrip(r); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			body.Wait()
			clear(data) // the race detector would see a late reader
		})
	}
}

// TestBody: what arrives is what was given, and small pieces and errors keep the rules.
func TestBody(t *testing.T) {
	s := listen(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			w.Write(b)
		}
	})})
	for _, carrier := range []Carrier{Fast, Libp2p} {
		d := dialer(t, DialConfig{Server: s.Server(), Carrier: carrier})
		for _, size := range []int{0, 1, 4095, 16 << 10, 16<<10 + 1, batchSize, batchSize + 1, wire.BlobSizeS, wire.BlobSizeL} {
			data := make([]byte, size)
			rand.Read(data)
			body := NewBody(data)
			r, err := http.NewRequestWithContext(t.Context(), "PUT", BaseURL+"/", body)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = int64(size)
			if size == 0 {
				r.ContentLength = -1
			}
			resp, err := d.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			body.Wait()
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%v, %d bytes: got %d, %v", carrier, size, len(got), err)
			}
		}
	}
	b := NewBody([]byte("abc"))
	if p, ok := b.take(2); !ok || string(p) != "ab" {
		t.Fatalf("took %q", p)
	}
	b.Close()
	select {
	case <-b.free:
		t.Fatal("free while in use")
	default:
	}
	b.done(2)
	b.Wait()
	if _, ok := b.take(1); ok {
		t.Fatal("took from a closed body")
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatal("read from a closed body")
	}
	b.Close()
}

// TestClose: a closed Dialer ends its requests and takes no new ones, and neither end
// leaves a goroutine behind.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, carrier := range []Carrier{Fast, Libp2p} {
		arrived := make(chan struct{})
		s, err := Listen(Config{Device: newDevice(), Listen: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength == 1 {
				arrived <- struct{}{}
				<-r.Context().Done()
			}
		})})
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDialer(DialConfig{Device: newDevice(), Server: s.Server(), Carrier: carrier})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := post(t.Context(), d, nil); err != nil {
				t.Fatal(err)
			}
		}
		go func() { <-arrived; d.Close() }()
		if _, err := post(t.Context(), d, strings.NewReader("x")); err == nil {
			t.Fatal("request outlived its dialer")
		}
		if _, err := post(t.Context(), d, nil); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		d.Close()
		s.Close()
		s.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			var b bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&b, 1)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, b.String())
		}
		runtime.Gosched()
	}
}

// TestShutdown: Serve ends with its context, and lets a running request finish.
func TestShutdown(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s, err := Listen(Config{Device: newDevice(), Listen: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "done")
	})})
	if err != nil {
		t.Fatal(err)
	}
	d := dialer(t, DialConfig{Server: s.Server()})
	answer := make(chan string, 1)
	go func() {
		got, err := post(t.Context(), d, nil)
		if err != nil {
			got = err.Error()
		}
		answer <- got
	}()
	<-arrived
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	for { // until the listener is gone
		late := dialer(t, DialConfig{Server: s.Server(), Carrier: Fast})
		c, err := late.dialFast(t.Context())
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Fatal(got)
	}
	if err := <-down; err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Serve(ctx, Config{Device: newDevice(), Listen: "127.0.0.1:0", Handler: echo}); err != nil {
		t.Fatal(err)
	}
}

// TestConfig: what can't work is refused at once.
func TestConfig(t *testing.T) {
	if _, err := Listen(Config{Device: newDevice()}); err == nil {
		t.Error("no handler")
	}
	if _, err := Listen(Config{Handler: echo}); err == nil {
		t.Error("no device")
	}
	if _, err := Listen(Config{Device: newDevice(), Handler: echo, Listen: "nonsense"}); err == nil {
		t.Error("no port")
	}
	for _, c := range []DialConfig{{}, {Device: newDevice()}, {Server: id.Server{Host: "h", Port: 1}, Device: newDevice()},
		{Server: id.Server{Host: "h", Port: 1, Peer: id.Peer{1}}}} {
		if _, err := NewDialer(c); err == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}

// BenchmarkFirstRequest is what a command pays before its first answer, handshake and
// fresh identity included.
func BenchmarkFirstRequest(b *testing.B) {
	s := listen(b, Config{Handler: echo})
	for _, c := range []Carrier{Fast, Libp2p} {
		b.Run(c.String(), func(b *testing.B) {
			for b.Loop() {
				d, err := NewDialer(DialConfig{Device: newDevice(), Server: s.Server(), Carrier: c})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := post(b.Context(), d, nil); err != nil {
					b.Fatal(err)
				}
				d.Close()
			}
		})
	}
}
