package blobstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// The benchmarks write below DECANT_BENCH_DIR, so that the same ones measure tmpfs and a disk.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("DECANT_BENCH_DIR"), "decant-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

const (
	benchBlobs   = 256 // of class L: 1 GiB and a little
	benchWorkers = 4   // connections
)

// each runs f once for every blob, over the workers.
func each(b *testing.B, f func(i int64) error) {
	var next atomic.Int64
	var g errgroup.Group
	for range benchWorkers {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < benchBlobs; i = next.Add(1) - 1 {
				if err := f(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

func randomBlob() []byte {
	blob := make([]byte, wire.BlobSizeL)
	rand.Read(blob)
	return blob
}

// BenchmarkSegments puts and gets 1 GiB, every put durable before it returns.
func BenchmarkSegments(b *testing.B) {
	blob := randomBlob()
	var puts, gets time.Duration
	for range b.N {
		dir := benchDir(b)
		d, err := db.Open(dir+"/db", db.Options{})
		if err != nil {
			b.Fatal(err)
		}
		s, err := Open(d, Config{Dir: dir + "/blobs"})
		if err != nil {
			b.Fatal(err)
		}
		h, _ := s.Enter(id.NewSession())
		names := make([]id.Blob, benchBlobs)
		began := time.Now()
		each(b, func(i int64) error {
			names[i] = id.NewBlob()
			return h.Put(context.Background(), wire.ClassL, names[i], bytes.NewReader(blob), benchBlobs)
		})
		puts += time.Since(began)
		began = time.Now()
		each(b, func(i int64) error {
			o, err := h.Open(names[i])
			if err != nil {
				return err
			}
			defer o.Close()
			_, err = o.WriteTo(io.Discard)
			return err
		})
		gets += time.Since(began)
		h.Close()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		d.Close()
		os.RemoveAll(dir)
	}
	report(b, puts, gets)
}

func report(b *testing.B, puts, gets time.Duration) {
	bytes := float64(b.N) * benchBlobs * wire.BlobSizeL / 1e6
	b.ReportMetric(bytes/puts.Seconds(), "put-MB/s")
	b.ReportMetric(bytes/gets.Seconds(), "get-MB/s")
}

// BenchmarkPebbleValues is the alternative that was measured and not taken: the blobs as values of Pebble with value separation.
func BenchmarkPebbleValues(b *testing.B) {
	blob := randomBlob()
	var puts, gets time.Duration
	for range b.N {
		dir := benchDir(b)
		o := &pebble.Options{FormatMajorVersion: pebble.FormatValueSeparation, MemTableSize: 64 << 20, MemTableStopWritesThreshold: 8}
		o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
			return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 1024, MaxBlobReferenceDepth: 10, TargetGarbageRatio: 1}
		}
		p, err := pebble.Open(dir, o)
		if err != nil {
			b.Fatal(err)
		}
		names := make([]id.Blob, benchBlobs)
		began := time.Now()
		each(b, func(i int64) error {
			names[i] = id.NewBlob()
			return p.Set(names[i][:], blob, pebble.Sync)
		})
		puts += time.Since(began)
		began = time.Now()
		each(b, func(i int64) error {
			v, c, err := p.Get(names[i][:])
			if err != nil {
				return err
			}
			io.Discard.Write(v)
			return c.Close()
		})
		gets += time.Since(began)
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
		os.RemoveAll(dir)
	}
	report(b, puts, gets)
}
