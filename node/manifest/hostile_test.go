package manifest_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
)

// TestE14RT11ExpensivePages decodes the pages that cost a decoder most for their bytes.
func TestE14RT11ExpensivePages(t *testing.T) {
	long := strings.Repeat("x", 250)
	deep := strings.Repeat(long+"/", 16)[:4000]
	pathsOf := func(items int) []byte { // each item six bytes of page, and 4,001 of path
		b := slices.Concat(exact.Append([]byte{byte(item.File), 0}, uint64(items)), raw(dir, deep, 0))
		for i := range items - 1 {
			b = append(b, dir, 0xa0, 0x1f, 1, byte('a'+i%26), 0)
		}
		return b
	}
	extents := raw(listed, "f", append([]byte{0}, exact.Append(nil, 1<<40)...)...)
	extents = exact.Append(extents, 900_000)
	for range 900_000 {
		extents = append(extents, 1|4) // the next frame, a whole chunk: soon beyond any pack
	}
	ranges := slices.Concat([]byte{byte(item.File), 0}, exact.Append(nil, 120), raw(next, "f", 0, 10))
	for range 119 {
		ranges = append(ranges, record)
		ranges = exact.Append(ranges, item.MaxRanges)
		ranges = append(ranges, 2, 1)
		for range item.MaxRanges - 1 {
			ranges = append(ranges, 1, 1)
		}
	}
	attributes := slices.Concat([]byte{byte(item.File), 0}, exact.Append(nil, 1500))
	for i := range 1500 {
		attributes = append(attributes, file|more, 4, 0, 2, byte('a'+i%2), byte('A'+i%50), 0, 0, 64)
		for j := range 64 {
			attributes = append(append(attributes, 7), "user."...)
			attributes = append(attributes, byte('A'+j/8), byte('A'+j%8), 0)
		}
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"paths of 4 MiB":                 {pathsOf(1048), nil},
		"paths of 16 MiB":                {pathsOf(4096), manifest.ErrLimit},
		"900,000 extents":                {slices.Concat(exact.Append([]byte{byte(item.File), 0}, 1), extents), manifest.ErrExtent},
		"E14 more bytes than a page has": {make([]byte, manifest.MaxPageBytes+1), manifest.ErrLimit},
		"490,000 ranges":                 {ranges, nil},
		"96,000 attributes":              {attributes, nil},
	} {
		if len(c.b) > manifest.MaxPageBytes && c.want != manifest.ErrLimit {
			t.Fatalf("%s: a page of %d bytes", name, len(c.b))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := manifest.DecodePage(c.b)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d KiB page, %d KiB allocated, %v, %v", name, len(c.b)>>10, used>>10, took.Round(time.Microsecond), err)
		if !errors.Is(err, c.want) || used > 64<<20 || took > time.Minute {
			t.Errorf("%s: %v, %d bytes, %v", name, err, used, took)
		}
	}
}

func TestDecodingAllocatesOnce(t *testing.T) {
	b, err := manifest.AppendPage(nil, &manifest.Page{Kind: item.File, Items: smallFiles(newRand(), 0, 4096, false)})
	if err != nil {
		t.Fatal(err)
	}
	var p manifest.Page
	if n := testing.AllocsPerRun(5, func() {
		if err := p.DecodeInto(b); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("decoding 4,096 items allocates %v times", n)
	}
	items, builder := smallFiles(newRand(), 0, 4096, false), manifest.NewPageBuilder(item.File, 0)
	if n := testing.AllocsPerRun(5, func() {
		builder.Reset(item.File, 0)
		for i := range items {
			if added, err := builder.Add(&items[i]); !added || err != nil {
				t.Fatal(added, err)
			}
		}
	}); n > 0 {
		t.Errorf("encoding 4,096 items allocates %v times", n)
	}
}
