package marker_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/decant-dev/decant/marker"
)

// TestCutWhileMarkerMoves cuts the power around every operation of a database that is created, written to and moves its marker often, and
// keeps any part of what was not synced. Every database opens again, with all that was acknowledged.
func TestCutWhileMarkerMoves(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	opened := 0
	for round := range 6 {
		percent := []int{10, 50, 90}[round%3]
		mem := vfs.NewCrashableMem()
		var written atomic.Int64
		var mu sync.Mutex // guards clones, promised and rng
		var clones []*vfs.MemFS
		var promised []int64
		cut := func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				mu.Lock()
				defer mu.Unlock()
				promised = append(promised, written.Load())
				clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
			}
			return nil
		}
		db := open(t, errorfs.Wrap(mem, errorfs.InjectorFunc(cut)))
		for n := range int64(12) {
			if err := db.Set(fmt.Append(nil, n), nil, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			written.Store(n + 1)
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for i, fs := range clones {
			db := open(t, fs)
			for n := range promised[i] {
				if _, c, err := db.Get(fmt.Append(nil, n)); err != nil {
					t.Fatalf("key %d of %d: %v", n, promised[i], err)
				} else {
					c.Close()
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			opened++
		}
	}
	t.Logf("%d cuts", opened)
}

// open opens a database that begins a manifest at every other flush.
func open(t *testing.T, fs vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: marker.FS(fs), MaxManifestFileSize: 1, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
