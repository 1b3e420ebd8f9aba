//go:build unix

package folder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
)

// smallTree makes n files of 200 B to 2 KiB in directories of 200.
func smallTree(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	data := make([]byte, 2048)
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("d%03d", i/200))
		if i%200 == 0 {
			if err := os.Mkdir(sub, 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%05d.txt", i)), data[:200+i%1848], 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// reportCPU adds the CPU time of an operation, which on a busy machine says more than the clock.
func reportCPU(b *testing.B) func() {
	cpu := func() int64 {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	start := cpu()
	return func() { b.ReportMetric(float64(cpu()-start)/float64(b.N)/1e3, "cpu-µs/op") }
}

func BenchmarkScan50000(b *testing.B) {
	f, err := New([]string{smallTree(b, 50_000)})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		n := 0
		err := f.Scan(context.Background(), func(*item.Item, source.Stat) error { n++; return nil }, func(item.Loss) {})
		if err != nil || n != 50_251 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkReadSmall(b *testing.B) {
	f, err := New([]string{smallTree(b, 10_000)})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var paths []string
	err = f.Scan(context.Background(), func(it *item.Item, _ source.Stat) error {
		if it.Form == item.FormFile {
			paths = append(paths, it.Path)
		}
		return nil
	}, func(item.Loss) {})
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.ReportAllocs()
	defer reportCPU(b)()
	i := 0
	for b.Loop() {
		if _, _, err := f.ReadSmall(paths[i], buf); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(paths) {
			i = 0
		}
	}
}
