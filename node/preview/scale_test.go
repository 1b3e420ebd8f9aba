package preview

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
)

// diskStore keeps pages in files, as a journal would.
type diskStore string

func (d diskStore) Put(n int, b []byte) error {
	return os.WriteFile(filepath.Join(string(d), strconv.Itoa(n)), b, 0o600)
}

func (d diskStore) Get(n int) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), strconv.Itoa(n)))
}

// TestRT11Memory plans a million items, in a target that has every hundredth of them,
// and looks every one of them up: the memory in use stays below 100 MiB.
func TestRT11Memory(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	dir := t.TempDir()
	for i := range 100 {
		put(t, dir, fmt.Sprintf("dir-%04d/file-%07d.txt", i, i*250), "12345678")
	}
	tg := open(t, dir, nil)
	const per = 4096
	gen := func(yield func([]item.Item, error) bool) {
		page := make([]item.Item, 0, per)
		for i := 0; i < n; i += len(page) {
			page = page[:0]
			for k := i; k < min(i+per, n); k++ {
				page = append(page, item.Item{Ordinal: item.Ordinal(k), Kind: item.File, Form: item.FormFile, Size: 8, ModTime: 1e18, Perm: 0o644,
					Path: fmt.Sprintf("dir-%04d/file-%07d.txt", k/250, k)})
			}
			if !yield(page, nil) {
				return
			}
		}
	}
	held := func() uint64 { // what is garbage by now is not what a plan holds
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	base, peak := held(), uint64(0)
	watch := func(yield func([]item.Item, error) bool) {
		count := 0
		for page, err := range gen {
			if count++; count%16 == 0 {
				peak = max(peak, held()-base)
			}
			if !yield(page, err) {
				return
			}
		}
	}
	start := time.Now()
	p, err := Build(context.Background(), tg, watch, diskStore(t.TempDir()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	built := time.Since(start)
	for o := range n {
		if pl, err := p.Place(item.Ordinal(o)); err != nil || !pl.Stage {
			t.Fatalf("item %d: %+v, %v", o, pl, err)
		}
	}
	looked := time.Since(start) - built
	peak = max(peak, held()-base)
	if peak > 100<<20 {
		t.Errorf("%d MiB in use", peak>>20)
	}
	if k := p.Preview().Kinds[0]; k.Conflict.Items != 100 || k.New.Items != int64(n)-100 {
		t.Errorf("%+v", k)
	}
	t.Logf("%d items: planned in %v, looked up in %v, %d MiB in use at most", n, built, looked, peak>>20)
}

// FuzzPage: a damaged page is refused without a panic, a sound one survives.
func FuzzPage(f *testing.F) {
	f.Add(appendPage(nil, &Page{First: 7, Entries: []Entry{
		{Ordinal: 7, Kind: item.File, Form: item.FormFile, Verdict: New, Dest: "a/b", Size: 5, ModTime: -3, Perm: 0o644},
		{Ordinal: 8, Kind: item.File, Form: item.FormFile, Verdict: Conflict, Dest: "a/c (2)", Source: "a/c", Natural: "c", Compare: 3, Revision: 9},
		{Ordinal: 9, Kind: item.Contact, Form: item.FormRecord, Verdict: Merge, Container: 3, Identity: 1 << 60},
	}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePage(b)
		if err != nil {
			return
		}
		q, err := decodePage(appendPage(nil, p))
		if err != nil || fmt.Sprint(*p) != fmt.Sprint(*q) {
			t.Fatalf("%x: %v, then %v, %v", b, p, q, err)
		}
	})
}
