package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/server/db"
	"github.com/decant-dev/decant/server/rendezvous"
)

// BenchmarkR2Recovery opens a server with 100,000 sessions and 1,000,000 blob rows, until it has answered
// its first call.
func BenchmarkR2Recovery(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir, 100_000, 10)
	for b.Loop() {
		s, err := New(Config{Dir: dir, Watermark: 1, Caller: func(context.Context) (id.Peer, bool) { return id.Peer{1}, true }})
		if err != nil {
			b.Fatal(err)
		}
		body, _ := proto.Marshal(&serverpb.HelloRequest{Version: 1})
		r := httptest.NewRequest(http.MethodPost, serverpbconnect.DecantHelloProcedure, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/proto")
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		if rec.Code != http.StatusOK {
			b.Fatalf("hello: %d", rec.Code)
		}
		b.StopTimer()
		if n, _ := s.sessions.Live(); n != 100_000 || s.blobs.Blobs() != 1_000_000 {
			b.Fatalf("%d sessions, %d blobs", n, s.blobs.Blobs())
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/1e6, "heap-MB")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// fill writes the rows of many sessions, without their blobs' files.
func fill(b *testing.B, dir string, sessions, blobs int) {
	d, err := db.Open(dir+"/db", db.Options{})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UnixMilli()
	for i := 0; i < sessions; i += 1000 {
		batch := d.Batch()
		for range 1000 {
			rec := rendezvous.Session{ID: id.NewSession(), State: rendezvous.Open, Class: 1, Declared: uint64(blobs), Created: now, Expires: now + 1e9}
			batch.Set(db.SessionKey(rec.ID), rec.Row())
			batch.Set(db.ExpiryKey(rec.Expires, db.ExpireSession, rec.ID.Scope()), nil)
			for slot := range blobs {
				row := binary.BigEndian.AppendUint32([]byte{1, 1}, uint32(slot))
				batch.Set(db.BlobKey(rec.ID, id.NewBlob()), append(row, 1, 2, 3, 4))
			}
		}
		if err := batch.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}

// TestIdleWaitersAreSmall holds 2,000 sessions that wait for a root, each over a connection of its own, both ends in this
// process, and bounds the memory of all of it. (The bar for the server alone is 250 MiB.)
func TestIdleWaitersAreSmall(t *testing.T) {
	const waiters = 2000
	dir := t.TempDir()
	s, err := New(Config{Dir: dir, Watermark: 1, Caller: func(context.Context) (id.Peer, bool) { return id.Peer{1}, true }})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.Handler())
	transport := &http.Transport{MaxIdleConnsPerHost: waiters, ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10}
	ctx, cancel := context.WithCancel(context.Background())
	post := func(ctx context.Context, procedure string, m proto.Message) error {
		body, _ := proto.Marshal(m)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, web.URL+procedure, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/proto")
		resp, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Body.Close()
	}
	ended := make(chan error, waiters)
	go func() {
		for range waiters {
			sid, rid := id.NewSession(), id.NewRequest()
			if err := post(ctx, serverpbconnect.DecantOpenProcedure, &serverpb.OpenRequest{RequestId: rid[:], Session: sid[:], SizeClass: 1, DeclaredBlobs: 1}); err != nil {
				ended <- err
				return
			}
			go func() {
				for { // again when the time is up: a slow machine needs longer than that for all of them
					err := post(ctx, serverpbconnect.DecantGetRootProcedure, &serverpb.GetRootRequest{Session: sid[:], MinEpoch: 1, WaitMs: 50_000})
					if err != nil {
						ended <- err
						return
					}
				}
			}()
		}
	}()
	for s.sessions.Waiting() < waiters {
		select {
		case err := <-ended:
			t.Fatalf("a waiter ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	rss := residentBytes(t)
	t.Logf("heap %d MiB, stacks %d MiB, resident %d MiB, with both ends of 2,000 connections", m.HeapAlloc>>20, m.StackInuse>>20, rss>>20)
	if m.HeapInuse+m.StackInuse > 200<<20 {
		t.Errorf("heap and stacks take %d MiB", (m.HeapInuse+m.StackInuse)>>20)
	}
	cancel()
	for range waiters {
		<-ended
	}
	transport.CloseIdleConnections()
	web.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := s.sessions.Waiting(); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
}

// residentBytes is the process's resident memory, 0 where the system doesn't tell.
func residentBytes(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var all, resident int64
	if _, err := fmt.Sscan(string(b), &all, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
