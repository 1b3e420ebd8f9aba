package folder

import (
	"fmt"
	"sync"
	"testing"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// gibibyte is how many blobs of class L a benchmark moves.
const gibibyte = (1 << 30) / wire.BlobSizeL

// fill puts a gibibyte over so many streams.
func fill(b *testing.B, s *Session, names []id.Blob, streams int) {
	blob := blobOf(id.Blob{}, wire.BlobSizeL)
	spread(b, names, streams, func(name id.Blob) error { return s.Put(b.Context(), name, blob) })
}

func spread(b *testing.B, names []id.Blob, streams int, fn func(id.Blob) error) {
	todo := make(chan id.Blob)
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			for name := range todo {
				if err := fn(name); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, name := range names {
		todo <- name
	}
	close(todo)
	wg.Wait()
}

func someNames(n int) []id.Blob {
	out := make([]id.Blob, n)
	for i := range out {
		out[i] = id.NewBlob()
	}
	return out
}

// BenchmarkPut puts a gibibyte into a folder where TMPDIR says. blobs decides how they lie.
func BenchmarkPut(b *testing.B) {
	for _, c := range []struct {
		streams int
		blobs   uint64
	}{{1, 256}, {4, 256}, {4, maxEntries + 1}} {
		b.Run(fmt.Sprintf("streams=%d/blobs=%d", c.streams, c.blobs), func(b *testing.B) {
			b.SetBytes(gibibyte * wire.BlobSizeL)
			f := openT(b, b.TempDir(), newPeer(), true)
			for b.Loop() {
				b.StopTimer()
				sid := id.NewSession()
				if _, err := f.Open(b.Context(), remote.Offer{Session: sid, Class: wire.ClassL, Blobs: c.blobs}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				fill(b, f.Session(sid), someNames(gibibyte), c.streams)
				b.StopTimer()
				if err := f.Finish(b.Context(), sid, nil); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkGet gets a gibibyte out of a folder where TMPDIR says; the cache is warm.
func BenchmarkGet(b *testing.B) {
	for _, streams := range []int{1, 4} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			b.SetBytes(gibibyte * wire.BlobSizeL)
			f := openT(b, b.TempDir(), newPeer(), true)
			sid := id.NewSession()
			if _, err := f.Open(b.Context(), remote.Offer{Session: sid, Class: wire.ClassL, Blobs: 256}); err != nil {
				b.Fatal(err)
			}
			names := someNames(gibibyte)
			fill(b, f.Session(sid), names, 4)
			buffers := sync.Pool{New: func() any { return new([]byte) }}
			for b.Loop() {
				spread(b, names, streams, func(name id.Blob) (err error) {
					buffer := buffers.Get().(*[]byte)
					*buffer, err = f.Session(sid).Get(b.Context(), name, (*buffer)[:0])
					buffers.Put(buffer)
					return err
				})
			}
		})
	}
}
