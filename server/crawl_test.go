package server_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// TestR17CrawlersGiveWay: bodies that don't move, in or out, hold every turn that there is; whoever waits gets one nevertheless, and
// none of theirs is taken for a blob. Nothing else cuts them here: this carrier has no limits of its own.
func TestR17CrawlersGiveWay(t *testing.T) {
	const turns = 4
	for name, ask := range map[string]func(d *device, sid id.Session, there id.Blob) string{
		"put": func(_ *device, sid id.Session, _ id.Blob) string {
			return fmt.Sprintf("PUT %s HTTP/1.1\r\nContent-Length: %d\r\n", path(sid, id.NewBlob()), wire.BlobSizeL)
		},
		"get": func(_ *device, sid id.Session, there id.Blob) string {
			return fmt.Sprintf("GET %s HTTP/1.1\r\n", path(sid, there))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, server.Config{Transfers: turns})
			d, there := w.device(), id.NewBlob()
			sid := id.NewSession()
			_, err := call(d, "Open", &serverpb.OpenRequest{RequestId: rid(), Session: sid[:], SizeClass: uint32(wire.ClassL), DeclaredBlobs: 10}, &serverpb.OpenResponse{})
			d.must(err)
			blob := make([]byte, wire.BlobSizeL)
			d.must(d.put(sid, there, blob))
			for range turns {
				hold(t, w, d, ask(d, sid, there))
			}
			for deadline := time.Now().Add(time.Minute); metric(t, w, "decant_transfers") != turns; {
				if time.Now().After(deadline) {
					t.Fatal("they never took their turns")
				}
			}
			for deadline := time.Now().Add(time.Minute); ; {
				err := d.put(sid, id.NewBlob(), blob)
				if err == nil {
					break
				}
				if wire.StatusOf(err) != wire.Busy || time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
			if got, err := d.get(sid, there); err != nil || len(got) != len(blob) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if metric(t, w, "decant_transfers_displaced_total") == 0 || metric(t, w, "decant_blobs") != 2 {
				t.Errorf("%v displaced, %v blobs stored", metric(t, w, "decant_transfers_displaced_total"), metric(t, w, "decant_blobs"))
			}
		})
	}
}

// hold sends a request's head on a connection of its own and then neither sends nor reads.
func hold(t *testing.T, w *world, d *device, head string) {
	t.Helper()
	c, err := net.Dial("tcp", w.http.Listener.Addr().String())
	mustNot(t, err)
	t.Cleanup(func() { c.Close() })
	mustNot(t, c.(*net.TCPConn).SetReadBuffer(4<<10))
	_, err = io.WriteString(c, head+"Host: decant\r\n"+peerHeader+": "+hex.EncodeToString(d.peer[:])+"\r\n\r\n")
	mustNot(t, err)
}

// metric is what the server tells about itself.
func metric(t *testing.T, w *world, name string) float64 {
	t.Helper()
	rec := httptest.NewRecorder()
	w.MetricsHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(rec.Body.String()) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			mustNot(t, err)
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
