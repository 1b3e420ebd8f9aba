package folder

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/proto/id"
)

// places is a plan as a slice.
type places []Place

func (p places) Place(o item.Ordinal) (Place, error) {
	if o >= item.Ordinal(len(p)) {
		return Place{}, ErrUnplanned
	}
	return p[o], nil
}

func openT(t testing.TB, dir string) *Target {
	t.Helper()
	tg, err := Open(dir, id.Session{1, 2, 3, 4}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tg.Close() })
	return tg
}

func fileItem(o item.Ordinal, p Place) *item.Item {
	return &item.Item{Ordinal: o, Kind: item.File, Form: item.FormFile, Path: p.Dest, Size: p.Size, ModTime: p.ModTime, Perm: p.Perm}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func settle(t *testing.T, s *Stager, it *item.Item) Settled {
	t.Helper()
	p, err := s.plan.Place(it.Ordinal)
	check(t, err)
	r, err := s.Settle(it, &p)
	check(t, err)
	return r
}

// TestStagePieces writes items whole, in pieces in any order, twice, in revisions and
// from several goroutines, and finds each as it should be.
func TestStagePieces(t *testing.T) {
	tg := openT(t, t.TempDir())
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	plan := places{
		{"a/small", true, 5, 1e18 + 1, 0o644, 0}, {"a/big", true, 3 << 20, 1e18 + 2, 0o400, 0}, {"a/skipped", false, 5, 0, 0o644, 0},
		{"a/empty", true, 0, -5e9, 0o600, 0}, {"b/grown", true, 3, 7, 0o755, 0}, {"b/missing", true, 10, 7, 0o644, 0}, {"b/rev", true, 4, 7, 0o640, 0},
	}
	s := tg.NewStager(plan)
	check(t, s.Write(0, 0, 0, []byte("hello")))
	check(t, s.Write(0, 0, 0, []byte("hello")))
	var wg sync.WaitGroup
	for _, i := range []int64{2, 0, 1, 2} {
		wg.Go(func() {
			if err := s.Write(1, 0, i<<20, big); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	check(t, s.Write(2, 0, 0, []byte("hello")))
	check(t, s.Write(4, 0, 0, []byte("grown")))
	check(t, s.Write(5, 0, 0, []byte("half")))
	check(t, s.Write(6, 0, 0, []byte("old!")))
	check(t, s.Write(6, 2, 2, []byte("ew")))
	check(t, s.Write(6, 1, 0, []byte("mid!")))
	check(t, s.Write(6, 2, 0, []byte("Nn")))
	if err := s.Write(7, 0, 0, nil); !errors.Is(err, ErrUnplanned) {
		t.Errorf("an item that is not planned: %v", err)
	}
	for o := range item.Ordinal(len(plan)) {
		it := fileItem(o, plan[o])
		switch o {
		case 4:
			it.Size = 5
		case 6:
			it.Revision = 2
		}
		r := settle(t, s, it)
		if want := o != 2 && o != 5; r.Complete != want {
			t.Errorf("item %d: %+v", o, r)
		}
		if o == 5 && r.Missing != 6 {
			t.Errorf("%d bytes are missing of item 5", r.Missing)
		}
		if !r.Complete {
			continue
		}
		in, err := tg.Tree().Lstat(plan[o].Dest)
		check(t, err)
		if in.Size != it.Size || in.ModTime != it.ModTime || in.Perm != it.Perm {
			t.Errorf("item %d is %+v", o, in)
		}
	}
	for name, want := range map[string]string{"a/small": "hello", "a/big": string(big) + string(big) + string(big), "b/grown": "grown", "b/rev": "Nnew"} {
		if got, err := os.ReadFile(filepath.Join(tg.Path(), tg.Staging(), "tree", name)); err != nil || string(got) != want {
			t.Errorf("%s holds %d bytes: %v", name, len(got), err)
		}
	}
	p := plan[5]
	check(t, s.Discard(5, &p))
	if in, _ := tg.Tree().Lstat("b/missing"); in.Exists() {
		t.Error("a discarded item is still staged")
	}
	if s.Dropped() != 5 {
		t.Errorf("%d bytes dropped", s.Dropped())
	}
}

// TestManyLarge has more items in pieces than files may be open, each piece from another round.
func TestManyLarge(t *testing.T) {
	tg := openT(t, t.TempDir())
	var plan places
	for i := range 2*maxOpenFiles + 3 {
		plan = append(plan, Place{fmt.Sprintf("d%d/f%d", i%(maxOpenDirs+9), i), true, 12, 1e18, 0o440, 0})
	}
	s := tg.NewStager(plan)
	for _, off := range []int64{8, 0, 4} {
		for o := range plan {
			check(t, s.Write(item.Ordinal(o), 0, off, fmt.Appendf(nil, "%04d", off)))
			if s.files > maxOpenFiles {
				t.Fatalf("%d files open", s.files)
			}
		}
	}
	if s.files != 0 || len(s.odd) != 0 {
		t.Errorf("%d files open, %d items unfinished", s.files, len(s.odd))
	}
	for o := range plan {
		if r := settle(t, s, fileItem(item.Ordinal(o), plan[o])); !r.Complete {
			t.Fatalf("item %d: %+v", o, r)
		}
		if b, err := os.ReadFile(filepath.Join(tg.Path(), tg.Staging(), "tree", plan[o].Dest)); err != nil || string(b) != "000000040008" {
			t.Fatalf("item %d holds %q, %v", o, b, err)
		}
	}
	if n := len(tg.Tree().open); n > maxOpenDirs {
		t.Errorf("%d directories open", n)
	}
}

// TestRT10Lies: sizes that promise or deliver what can't be are refused and allocate nothing.
func TestRT10Lies(t *testing.T) {
	tg := openT(t, t.TempDir())
	s := tg.NewStager(places{{"liar", true, 1 << 49, 0, 0o644, 0}, {"small", true, 10, 0, 0o644, 0}})
	check(t, s.Write(0, 0, 0, make([]byte, 1024)))
	in, err := tg.Tree().Lstat("liar")
	check(t, err)
	if in.Size != 1024 || in.Blocks > 1<<16 {
		t.Errorf("1 KiB of an item of 2^49 bytes takes %+v", in)
	}
	for _, off := range []int64{-1, 1<<63 - 1, 1<<63 - 2048, item.MaxSize} {
		if err := s.Write(0, 0, off, make([]byte, 2048)); !errors.Is(err, ErrPieces) {
			t.Errorf("offset %d: %v", off, err)
		}
	}
	if err := s.Write(1, 0, 1<<40, []byte("x")); !errors.Is(err, ErrPieces) {
		t.Errorf("far beyond the size: %v", err)
	}
	for i := range int64(maxRuns - 1) {
		check(t, s.Write(0, 0, 4096+2*i, []byte("x")))
	}
	if err := s.Write(0, 0, 1<<30, []byte("x")); !errors.Is(err, ErrPieces) {
		t.Errorf("more than %d runs: %v", maxRuns, err)
	}
}

// TestNote: what an earlier process has staged is known after Note, and repaired where
// that process died between the content and the time.
func TestNote(t *testing.T) {
	dir := t.TempDir()
	plan := places{{"d/small", true, 5, 1e18, 0o604, 0}, {"d/large", true, 8, 1e18, 0o444, 0}, {"d/gone", true, 4, 1, 0o644, 0}}
	func() {
		tg := openT(t, dir)
		s := tg.NewStager(plan)
		check(t, s.Write(0, 0, 0, []byte("hello")))
		check(t, s.Write(1, 0, 0, []byte("1234")))
		check(t, s.Write(1, 0, 4, []byte("5678")))
		check(t, s.Close())
		check(t, tg.Tree().Chtimes("d/small", 5))
		check(t, tg.Close())
	}()
	tg := openT(t, dir)
	s := tg.NewStager(plan)
	check(t, s.Note(0, 0, 0, 5))
	check(t, s.Note(1, 0, 0, 4)) // the second piece was written but not noted: it comes again
	check(t, s.Note(2, 0, 0, 4)) // the journal is wrong about this one
	check(t, s.Write(1, 0, 4, []byte("5678")))
	for o, want := range []bool{true, true, false} {
		if r := settle(t, s, fileItem(item.Ordinal(o), plan[o])); r.Complete != want {
			t.Errorf("item %d: %+v", o, r)
		}
	}
	for _, p := range plan[:2] {
		in, err := tg.Tree().Lstat(p.Dest)
		check(t, err)
		if in.ModTime != p.ModTime || in.Perm != p.Perm {
			t.Errorf("%s: %+v", p.Dest, in)
		}
	}
}

// BenchmarkStage50000 stages 50,000 files of 200 B to 2 KiB with two goroutines, in
// DECANT_BENCH_DIR if it is set.
func BenchmarkStage50000(b *testing.B) {
	const n = 50_000
	plan := make(places, n)
	for i := range plan {
		plan[i] = Place{fmt.Sprintf("dir-%03d/file-%05d.txt", i/250, i), true, int64(200 + i*37%1848), 1e18 + int64(i), 0o644, 0}
	}
	data := bytes.Repeat([]byte("x"), 4096)
	for b.Loop() {
		dir, err := os.MkdirTemp(os.Getenv("DECANT_BENCH_DIR"), "decant-bench-")
		if err != nil {
			b.Fatal(err)
		}
		tg, err := Open(dir, id.Session{9}, Options{})
		if err != nil {
			b.Fatal(err)
		}
		s := tg.NewStager(plan)
		start := time.Now()
		var wg sync.WaitGroup
		for g := range 2 {
			wg.Go(func() {
				for i := g * n / 2; i < (g+1)*n/2; i++ {
					if err := s.Write(item.Ordinal(i), 0, 0, data[:plan[i].Size]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		wrote := time.Since(start)
		if err := tg.Sync(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(wrote.Microseconds())*2/n, "µs-goroutine/file")
		b.ReportMetric(time.Since(start).Seconds(), "s-with-sync")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-sys")
		tg.Close()
		os.RemoveAll(dir)
	}
}
