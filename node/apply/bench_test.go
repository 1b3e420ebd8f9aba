package apply

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/proto/id"
)

// BenchmarkReceive takes 50,000 files of 200 B to 2 KiB in 200 directories through plan,
// staging, settling and applying, by one goroutine, in DECANT_BENCH_DIR if it is set: into a
// target that has none of the directories (each is one rename) and into one that has all.
func BenchmarkReceive(b *testing.B) {
	for _, has := range []bool{false, true} {
		name := "new directories"
		if has {
			name = "existing directories"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				receive(b, has)
			}
		})
	}
}

func receive(b *testing.B, has bool) {
	const n, per = 50_000, 250
	dir, err := os.MkdirTemp(os.Getenv("DECANT_BENCH_DIR"), "decant-bench-")
	check(b, err)
	defer os.RemoveAll(dir)
	items, data := make([]item.Item, n), make([]byte, 4096)
	for i := range items {
		items[i] = item.Item{Ordinal: item.Ordinal(i), Kind: item.File, Form: item.FormFile, ModTime: when, Perm: 0o644,
			Size: int64(200 + i*37%1848), Path: fmt.Sprintf("dir-%03d/file-%05d.txt", i/per, i)}
		if has && i%per == 0 {
			check(b, os.Mkdir(filepath.Join(dir, filepath.Dir(items[i].Path)), 0o755))
		}
	}
	pages := func(yield func([]item.Item, error) bool) {
		for i := 0; i < n && yield(items[i:min(i+4096, n)], nil); i += 4096 {
		}
	}
	tg, err := folder.Open(dir, id.Session{5}, folder.Options{})
	check(b, err)
	defer tg.Close()
	last := time.Now()
	lap := func(what string) {
		b.ReportMetric(float64(time.Since(last).Nanoseconds())/1e3/n, "µs/file-"+what)
		last = time.Now()
	}
	ctx := context.Background()
	plan, err := preview.Build(ctx, tg, pages, preview.MemStore{}, preview.Options{})
	check(b, err)
	lap("plan")
	s := tg.NewStager(plan)
	for i := range items {
		check(b, s.Write(item.Ordinal(i), 0, 0, data[:items[i].Size]))
	}
	lap("stage")
	st, err := Settle(ctx, plan, s, pages, SettleOptions{})
	check(b, err)
	if !st.OK() {
		b.Fatal(st)
	}
	check(b, s.Close())
	lap("settle")
	sum, err := Apply(ctx, plan, NewMemLog(), Options{})
	check(b, err)
	lap("apply")
	if sum.Items() != n || sum.FailedCount != 0 {
		b.Fatal(sum)
	}
}
