package link

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// testDevice is the least a Device can be.
type testDevice struct{ key ed25519.PrivateKey }

func newDevice() testDevice {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	return testDevice{k}
}

func (d testDevice) Ed25519() ed25519.PrivateKey { return d.key }
func (d testDevice) Peer() id.Peer               { return id.Peer(d.key.Public().(ed25519.PublicKey)) }

// listen starts a server on loopback that ends with the test.
func listen(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Device == nil {
		cfg.Device = newDevice()
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dialer makes a Dialer that ends with the test.
func dialer(t testing.TB, cfg DialConfig) *Dialer {
	t.Helper()
	if cfg.Device == nil {
		cfg.Device = newDevice()
	}
	d, err := NewDialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// echo answers with the caller's identity, a space and the body.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p, ok := PeerFrom(r.Context())
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "%v %s", p, b)
})

func post(ctx context.Context, d *Dialer, body io.Reader) (string, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", BaseURL+"/", body)
	if err != nil {
		return "", err
	}
	resp, err := d.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestCarriers(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	for _, c := range []Carrier{Auto, Fast, Libp2p} {
		t.Run(c.String(), func(t *testing.T) {
			dev := newDevice()
			d := dialer(t, DialConfig{Device: dev, Server: s.Server(), Carrier: c})
			for i := range 3 {
				got, err := post(t.Context(), d, bytes.NewReader([]byte("hello")))
				if want := dev.Peer().String() + " hello"; err != nil || got != want {
					t.Fatalf("request %d: %q, %v; want %q", i, got, err, want)
				}
			}
			if want := map[Carrier]Carrier{Auto: Fast, Fast: Fast, Libp2p: Libp2p}[c]; d.Carrier() != want {
				t.Fatalf("carrier %v, want %v", d.Carrier(), want)
			}
		})
	}
}

var pool = sync.Pool{New: func() any { b := make([]byte, wire.BlobSizeL); return &b }}

func benchBlobs(b *testing.B, carrier Carrier, conns int, put bool) {
	blob := make([]byte, wire.BlobSizeL)
	rand.Read(blob)
	s := listen(b, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
			w.Write(blob)
			return
		}
		buf := pool.Get().(*[]byte)
		defer pool.Put(buf)
		if _, err := io.ReadFull(r.Body, *buf); err != nil {
			b.Error(err)
		}
	})})
	d := dialer(b, DialConfig{Server: s.Server(), Carrier: carrier})
	b.SetBytes(int64(len(blob)))
	work := make(chan struct{})
	errs := make(chan error, conns)
	for range conns {
		go func() {
			buf := make([]byte, len(blob))
			for range work {
				if err := transferBlob(d, blob, buf, put); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	for range conns {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

func transferBlob(d http.RoundTripper, blob, buf []byte, put bool) error {
	method, body := "GET", io.ReadCloser(http.NoBody)
	if put {
		method = "PUT"
	}
	r, err := http.NewRequest(method, BaseURL+"/", body)
	if err != nil {
		return err
	}
	var up *Body
	if put {
		up = NewBody(blob)
		r.Body, r.ContentLength = up, int64(len(blob))
	}
	resp, err := d.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if put {
		up.Wait()
		return nil
	}
	_, err = io.ReadFull(resp.Body, buf)
	return err
}

func BenchmarkPut(b *testing.B) { benchAll(b, true) }
func BenchmarkGet(b *testing.B) { benchAll(b, false) }

func benchAll(b *testing.B, put bool) {
	for _, c := range []Carrier{Fast, Libp2p} {
		for _, n := range []int{1, 4} {
			b.Run(fmt.Sprintf("%v/conns=%d", c, n), func(b *testing.B) { benchBlobs(b, c, n, put) })
		}
	}
}
