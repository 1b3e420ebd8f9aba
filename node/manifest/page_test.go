package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
)

// smallFiles makes count files as a scan finds them: directories of 50, names of
// a dozen characters, times of nanoseconds or (whole) of seconds, content end to end in chunks.
func smallFiles(r *rand.Rand, first item.Ordinal, count int, whole bool) []item.Item {
	items := make([]item.Item, count)
	now := int64(1_700_000_000_000_000_000)
	packed, frame, at := uint32(0), uint16(0), uint32(0)
	for i := range items {
		n := int(first) + i
		size := 200 + r.Uint32N(1800)
		if at+size > pack.MaxChunk {
			if at, frame = 0, frame+1; frame == 16 {
				frame, packed = 0, packed+1
			}
		}
		now += r.Int64N(86_400_000_000_000)
		t := now
		if whole {
			t -= t % 1_000_000_000
		}
		words := []string{"report", "holiday", "recipe", "letter", "invoice", "minutes", "draft"}
		items[i] = item.Item{Ordinal: item.Ordinal(n), Kind: item.File, Form: item.FormFile, Revision: 1, Size: int64(size), ModTime: t, Perm: 0o644,
			Path:    fmt.Sprintf("documents/%d/%s-%04d.txt", 1990+n/50, words[r.IntN(len(words))], r.IntN(10000)),
			Extents: []item.Extent{{Pack: packed, Frame: frame, Offset: at, Length: size}}}
		at += size
	}
	return items
}

// everything is a page that uses every field.
func everything() *manifest.Page {
	p := &manifest.Page{Kind: item.Contact, First: 7}
	add := func(it item.Item) {
		it.Kind, it.Ordinal = p.Kind, p.First+item.Ordinal(len(p.Items))
		p.Items = append(p.Items, it)
	}
	add(item.Item{Form: item.FormDir, Path: "books", Perm: 0o700, ModTime: -1})
	add(item.Item{Form: item.FormFile, Path: "books/all.vcf", Size: 1<<20 + 500, ModTime: 1_700_000_000_000_000_001, Perm: 0o640, Revision: 3,
		XAttrs:  []item.XAttr{{Name: "user.a", Value: []byte{}}, {Name: "user.b", Value: []byte{0, 1, 2}}},
		Extents: []item.Extent{{Pack: 4, Frame: 2, Offset: 10, Length: 1 << 19}, {Pack: 4, Frame: 3, Length: 1 << 19}, {Pack: 5, Frame: 0, Offset: 7, Length: 500}}})
	add(item.Item{Form: item.FormRecord, Container: 8, Size: 120, Identity: []byte("uid-1"), Ranges: []item.Range{{Offset: 0, Length: 100}, {Offset: 300, Length: 20}}})
	add(item.Item{Form: item.FormRecord, Container: 8, Size: 200, Identity: []byte("uid-2"), Ranges: []item.Range{{Offset: 100, Length: 200}}})
	add(item.Item{Form: item.FormFile, Path: "books/\xff\xfe.vcf", ModTime: -9_223_372_036_000_000_000, Size: 5, Lost: item.ReasonUnreadable})
	add(item.Item{Form: item.FormFile, Path: "books/empty", Perm: 0o777, TakenAt: "2021-05-01T12:34:56.25+02:00"})
	add(item.Item{Form: item.FormFile, Path: "books/todo", Size: 9}) // content not read yet
	add(item.Item{Form: item.FormFile, Path: "books/todo2", Size: 9, Extents: []item.Extent{{Pack: 5, Frame: 0, Offset: 507, Length: 9}}})
	return p
}

// same compares decoded items with those encoded; an empty slice is as good as none.
func same(a, b []item.Item) bool {
	norm := func(items []item.Item) []item.Item {
		out := make([]item.Item, len(items))
		for i := range items {
			out[i] = manifest.Clone(&items[i])
		}
		return out
	}
	return reflect.DeepEqual(norm(a), norm(b))
}

func TestPageRoundTrip(t *testing.T) {
	r := newRand()
	var again manifest.Page
	for name, p := range map[string]*manifest.Page{
		"everything": everything(),
		"small":      {Kind: item.File, First: 4096, Items: smallFiles(r, 4096, 4096, false)},
		"whole":      {Kind: item.File, First: 0, Items: smallFiles(r, 0, 100, true)},
		"empty":      {Kind: item.Photo, First: 3},
	} {
		b, err := manifest.AppendPage([]byte("x"), p)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b = b[1:]
		got, err := manifest.DecodePage(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Kind != p.Kind || got.First != p.First || !same(got.Items, p.Items) {
			t.Errorf("%s: decoded\n%+v\nwant\n%+v", name, got.Items, p.Items)
		}
		if err := again.DecodeInto(b); err != nil || !same(again.Items, p.Items) {
			t.Errorf("%s: into a used page: %v", name, err)
		}
		second, err := manifest.AppendPage(nil, got)
		if err != nil || !bytes.Equal(second, b) {
			t.Errorf("%s: encodes to other bytes, %v", name, err)
		}
	}
}

func TestSmallFilesTakeAtMostThirtyBytes(t *testing.T) {
	for _, whole := range []bool{false, true} {
		items := smallFiles(newRand(), 0, 4096, whole)
		b, err := manifest.AppendPage(nil, &manifest.Page{Kind: item.File, Items: items})
		if err != nil {
			t.Fatal(err)
		}
		per := float64(len(b)) / float64(len(items))
		t.Logf("whole seconds %v: %.1f bytes an item", whole, per)
		if per > 30 {
			t.Errorf("%.1f bytes an item", per)
		}
	}
}

func TestPageBuilderSaysWhenAPageIsFull(t *testing.T) {
	t.Run("items", func(t *testing.T) {
		items := smallFiles(newRand(), 0, manifest.MaxPageItems+1, false)
		b := manifest.NewPageBuilder(item.File, 0)
		for i := range items {
			added, err := b.Add(&items[i])
			if err != nil || added != (i < manifest.MaxPageItems) {
				t.Fatalf("item %d: %v, %v", i, added, err)
			}
		}
	})
	t.Run("bytes", func(t *testing.T) {
		b := manifest.NewPageBuilder(item.File, 0)
		for i := range 100 {
			it := item.Item{Ordinal: item.Ordinal(i), Kind: item.File, Form: item.FormFile, Path: fmt.Sprint(i),
				XAttrs: []item.XAttr{{Name: "user.x", Value: make([]byte, 60<<10)}}}
			before := bytes.Clone(b.Bytes())
			added, err := b.Add(&it)
			if err != nil {
				t.Fatal(err)
			}
			if !added {
				if b.Count() != 17 || !bytes.Equal(b.Bytes(), before) {
					t.Errorf("full with %d items", b.Count())
				}
				b.Reset(item.File, it.Ordinal)
				if added, err := b.Add(&it); !added || err != nil {
					t.Errorf("into the next page: %v, %v", added, err)
				}
				return
			}
		}
		t.Error("never full")
	})
	t.Run("too large for any page", func(t *testing.T) {
		it := item.Item{Kind: item.File, Form: item.FormFile, Path: "f", Extents: make([]item.Extent, 1<<18)}
		for i := range it.Extents {
			it.Extents[i] = item.Extent{Pack: uint32(i * 3 % manifest.MaxPacks), Frame: 1, Offset: 1, Length: 100}
			it.Size += 100
		}
		if _, err := manifest.NewPageBuilder(item.File, 0).Add(&it); !errors.Is(err, manifest.ErrLimit) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPageRefusesInvalidItems(t *testing.T) {
	file := func(change func(*item.Item)) item.Item {
		it := item.Item{Kind: item.File, Form: item.FormFile, Path: "a/b", Size: 10, Extents: []item.Extent{{Length: 10}}}
		change(&it)
		return it
	}
	record := func(change func(*item.Item)) item.Item {
		it := item.Item{Ordinal: 1, Kind: item.File, Form: item.FormRecord, Size: 10, Ranges: []item.Range{{Length: 10}}}
		change(&it)
		return it
	}
	for name, c := range map[string]struct {
		it   item.Item
		want error
	}{
		"RT9 form of a link":       {file(func(it *item.Item) { it.Form = 4 }), manifest.ErrItem},
		"RT9 no form":              {file(func(it *item.Item) { it.Form = 0 }), manifest.ErrItem},
		"RT9 set-user-ID":          {file(func(it *item.Item) { it.Perm = 0o4755 }), manifest.ErrItem},
		"RT9 sticky":               {file(func(it *item.Item) { it.Perm = 0o1777 }), manifest.ErrItem},
		"RT9 security attribute":   {file(func(it *item.Item) { it.XAttrs = []item.XAttr{{Name: "security.capability"}} }), manifest.ErrItem},
		"RT9 access list":          {file(func(it *item.Item) { it.XAttrs = []item.XAttr{{Name: "system.posix_acl_access"}} }), manifest.ErrItem},
		"attribute without a name": {file(func(it *item.Item) { it.XAttrs = []item.XAttr{{Name: "user."}} }), manifest.ErrItem},
		"attribute with NUL":       {file(func(it *item.Item) { it.XAttrs = []item.XAttr{{Name: "user.a\x00b"}} }), manifest.ErrItem},
		"attribute twice":          {file(func(it *item.Item) { it.XAttrs = []item.XAttr{{Name: "user.a"}, {Name: "user.a"}} }), manifest.ErrItem},
		"attributes out of order":  {file(func(it *item.Item) { it.XAttrs = []item.XAttr{{Name: "user.b"}, {Name: "user.a"}} }), manifest.ErrItem},
		"attributes too large": {file(func(it *item.Item) {
			it.XAttrs = []item.XAttr{{Name: "user.a", Value: make([]byte, item.MaxXAttrSize)}}
		}), manifest.ErrItem},
		"RT10 negative size":         {file(func(it *item.Item) { it.Size = -1 }), manifest.ErrItem},
		"RT10 8 EiB":                 {file(func(it *item.Item) { it.Size = 1<<63 - 1 }), manifest.ErrItem},
		"RT10 size is not the sum":   {file(func(it *item.Item) { it.Size = 11 }), manifest.ErrExtent},
		"RT10 content of nothing":    {file(func(it *item.Item) { it.Size = 0; it.Extents[0].Length = 0 }), manifest.ErrExtent},
		"RT11 beyond the chunk":      {file(func(it *item.Item) { it.Extents[0].Offset = pack.MaxChunk - 9 }), manifest.ErrExtent},
		"RT11 beyond the pack":       {file(func(it *item.Item) { it.Extents[0].Frame = pack.MaxFrames }), manifest.ErrExtent},
		"RT11 beyond all packs":      {file(func(it *item.Item) { it.Extents[0].Pack = manifest.MaxPacks }), manifest.ErrExtent},
		"lost with content":          {file(func(it *item.Item) { it.Lost = item.ReasonVanished }), manifest.ErrExtent},
		"unknown reason":             {file(func(it *item.Item) { it.Lost = 200; it.Extents = nil }), manifest.ErrItem},
		"directory with content":     {file(func(it *item.Item) { it.Form = item.FormDir }), manifest.ErrItem},
		"file in a container":        {file(func(it *item.Item) { it.Ranges = []item.Range{{Length: 10}} }), manifest.ErrItem},
		"other kind":                 {file(func(it *item.Item) { it.Kind = item.Photo }), manifest.ErrItem},
		"other ordinal":              {file(func(it *item.Item) { it.Ordinal = 1 }), manifest.ErrItem},
		"taken at noon":              {file(func(it *item.Item) { it.TakenAt = "noon" }), manifest.ErrItem},
		"taken with an escape":       {file(func(it *item.Item) { it.TakenAt = "2021-05-01T12:34:56\x1b[2J" }), manifest.ErrItem},
		"taken in no zone":           {file(func(it *item.Item) { it.TakenAt = "2021-05-01T12:34:56+0200" }), manifest.ErrItem},
		"identity too long":          {file(func(it *item.Item) { it.Identity = make([]byte, item.MaxIdentity+1) }), manifest.ErrItem},
		"RT1 path":                   {file(func(it *item.Item) { it.Path = "a/../../b" }), manifest.ErrPath},
		"record with a path":         {record(func(it *item.Item) { it.Path = "a" }), manifest.ErrItem},
		"record without bytes":       {record(func(it *item.Item) { it.Ranges, it.Size = nil, 0 }), manifest.ErrItem},
		"record with an empty range": {record(func(it *item.Item) { it.Ranges = append(it.Ranges, item.Range{Offset: 20}) }), manifest.ErrItem},
		"record with overlap":        {record(func(it *item.Item) { it.Ranges, it.Size = []item.Range{{Length: 10}, {Offset: 5, Length: 10}}, 20 }), manifest.ErrItem},
		"record with joined ranges":  {record(func(it *item.Item) { it.Ranges, it.Size = []item.Range{{Length: 10}, {Offset: 10, Length: 10}}, 20 }), manifest.ErrItem},
		"record of other size":       {record(func(it *item.Item) { it.Size = 9 }), manifest.ErrItem},
		"record inside itself":       {record(func(it *item.Item) { it.Container = 1 }), manifest.ErrItem},
		"record inside a later one":  {record(func(it *item.Item) { it.Container = 2 }), manifest.ErrItem},
		"record with a time":         {record(func(it *item.Item) { it.ModTime = 1 }), manifest.ErrItem},
	} {
		first := item.Ordinal(0)
		if strings.HasPrefix(name, "record") {
			first = 1
		}
		b := manifest.NewPageBuilder(item.File, first)
		if added, err := b.Add(&c.it); added || !errors.Is(err, c.want) {
			t.Errorf("%s: added %v, error %v, want %v", name, added, err, c.want)
		}
	}
}

func BenchmarkPage(b *testing.B) {
	items := smallFiles(newRand(), 0, 4096, false)
	page := &manifest.Page{Kind: item.File, Items: items}
	enc, err := manifest.AppendPage(nil, page)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		builder := manifest.NewPageBuilder(item.File, 0)
		for b.Loop() {
			builder.Reset(item.File, 0)
			for i := range items {
				if added, err := builder.Add(&items[i]); !added || err != nil {
					b.Fatal(added, err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/item")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var p manifest.Page
		for b.Loop() {
			if err := p.DecodeInto(enc); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/item")
	})
}

// newRand returns the source of all made-up items.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }
