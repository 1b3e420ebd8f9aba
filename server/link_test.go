package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// carried is a server behind the real carrier, and a device's connections to it.
type carried struct {
	t    testing.TB
	http http.RoundTripper
}

func carry(t testing.TB, dir string) *carried {
	t.Helper()
	s, err := server.New(server.Config{Dir: dir, Watermark: 1, Caller: link.PeerFrom})
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.Listen(link.Config{Device: key.NewDevice(), Handler: s.Handler(), Listen: "127.0.0.1:0", FastOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := link.NewDialer(link.DialConfig{Device: key.NewDevice(), Server: l.Server(), Carrier: link.Fast})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		l.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &carried{t, d}
}

// open opens a session of class L.
func (c *carried) open() id.Session {
	c.t.Helper()
	sid := id.NewSession()
	body, err := proto.Marshal(&serverpb.OpenRequest{RequestId: rid(), Session: sid[:], SizeClass: 2, DeclaredBlobs: 1000})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.do(http.MethodPost, serverpbconnect.DecantOpenProcedure, body, nil); err != nil {
		c.t.Fatal(err)
	}
	return sid
}

// do sends a request; the answer's body goes to out.
func (c *carried) do(method, path string, body []byte, out io.Writer) (int64, error) {
	r, err := http.NewRequest(method, link.BaseURL+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/proto")
	} else if body != nil {
		b := link.NewBody(body)
		defer b.Wait()
		r.Body = b
	}
	resp, err := c.http.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if out == nil {
		out = io.Discard
	}
	n, err := io.Copy(out, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("http %d, status %s", resp.StatusCode, resp.Header.Get(wire.StatusHeader))
	}
	return n, err
}

func TestBlobsOverTheCarrier(t *testing.T) {
	c := carry(t, t.TempDir())
	sid, name := c.open(), id.NewBlob()
	blob := make([]byte, wire.BlobSizeL)
	rand.Read(blob)
	for range 2 {
		if _, err := c.do(http.MethodPut, path(sid, name), blob, nil); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	if _, err := c.do(http.MethodGet, path(sid, name), nil, &got); err != nil || !bytes.Equal(got.Bytes(), blob) {
		t.Fatalf("%d bytes came back, %v", got.Len(), err)
	}
}

// BenchmarkCarrier puts and gets 1 GiB as blobs of class L over four connections of the fast lane, both ends in this process. It writes
// below DECANT_BENCH_DIR.
func BenchmarkCarrier(b *testing.B) {
	blob := make([]byte, wire.BlobSizeL)
	rand.Read(blob)
	const blobs, workers = 256, 4
	var puts, gets time.Duration
	for range b.N {
		dir, err := os.MkdirTemp(os.Getenv("DECANT_BENCH_DIR"), "decant-bench-")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		c := carry(b, dir)
		sid := c.open()
		names := make([]id.Blob, blobs)
		each := func(f func(i int) error) time.Duration {
			began := time.Now()
			g, _ := errgroup.WithContext(context.Background())
			g.SetLimit(workers)
			for i := range blobs {
				g.Go(func() error { return f(i) })
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
		puts += each(func(i int) error {
			names[i] = id.NewBlob()
			_, err := c.do(http.MethodPut, path(sid, names[i]), blob, nil)
			return err
		})
		gets += each(func(i int) error {
			n, err := c.do(http.MethodGet, path(sid, names[i]), nil, nil)
			if err == nil && n != wire.BlobSizeL {
				err = io.ErrUnexpectedEOF
			}
			return err
		})
	}
	total := float64(b.N) * blobs * wire.BlobSizeL / 1e6
	b.ReportMetric(total/puts.Seconds(), "put-MB/s")
	b.ReportMetric(total/gets.Seconds(), "get-MB/s")
}
