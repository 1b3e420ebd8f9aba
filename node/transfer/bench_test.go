package transfer

import (
	"context"
	"fmt"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source/folder"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

const benchFiles = 50_000

func benchWorld(b *testing.B) *world {
	w := newWorld(b)
	w.class = wire.ClassL
	content := random(2048)
	for i := range benchFiles {
		w.write(fmt.Sprintf("d%03d/f%05d.txt", i/200, i), content[:200+i%1848])
	}
	return w
}

// BenchmarkSend50000 scans, uploads and describes tiny files, each time into a new journal and store.
func BenchmarkSend50000(b *testing.B) {
	w := benchWorld(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		w.j, w.store = w.journal(fmt.Sprint("s", n)), new(Memory)
		if _, err := w.send(1, id.Commit{1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchFiles, "µs/file")
}

// dropping is a sink that takes everything and keeps nothing.
type dropping struct{}

func (dropping) Write(item.Ordinal, uint32, int64, []byte) error { return nil }
func (dropping) Note(item.Ordinal, uint32, int64, int64) error   { return nil }
func (dropping) Sync() error                                     { return nil }

// BenchmarkReceive50000 fetches the same, without what the target's file system costs.
func BenchmarkReceive50000(b *testing.B) {
	w := benchWorld(b)
	src, err := folder.New([]string{w.root})
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	root, err := w.sendFrom(src, 1, id.Commit{1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		refs, err := FetchManifest(b.Context(), w.store, w.keys, root, key.Limits{}, func(*manifest.Page, []byte) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		if err := w.downloader(w.journal(fmt.Sprint("r", n)), w.store, dropping{}).Fetch(context.Background(), feed(refs)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchFiles, "µs/file")
}
