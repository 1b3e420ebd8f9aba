package manifest_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// collection is a whole manifest in memory, for tests to break.
type collection struct {
	root  manifest.Root
	lists [][]manifest.PackRef
	pages []*manifest.Page
}

// packRef makes up a pack.
func packRef(index uint32, epoch uint64) manifest.PackRef {
	return manifest.PackRef{Index: index, Epoch: epoch, Blob: id.Blob{1, byte(index), byte(index >> 8), byte(index >> 16)}, Commitment: id.Commitment{2, byte(index)}}
}

// valid is a final manifest of two lists, three packs of which one is padding, and pages
// of three kinds; the first directory's page comes last.
func valid() *collection {
	c := &collection{root: manifest.Root{Session: id.Session{1}, Epoch: 2, Final: true, Class: wire.ClassL, Prev: id.Commit{3},
		ManifestPacks: []manifest.PackRef{{Index: 4, Epoch: 2, Blob: id.Blob{9}, Commitment: id.Commitment{9}}}}}
	padding := packRef(7, 2)
	padding.Padding = true
	c.lists = [][]manifest.PackRef{{packRef(0, 1), packRef(2, 2)}, {padding}}
	c.add(item.Contact,
		item.Item{Form: item.FormFile, Path: "d/all.vcf", Size: 300, Extents: []item.Extent{{Pack: 2, Frame: 1, Length: 300}}},
		item.Item{Form: item.FormRecord, Container: 0, Size: 100, Ranges: []item.Range{{Offset: 200, Length: 100}}},
		item.Item{Form: item.FormRecord, Container: 0, Size: 100, Ranges: []item.Range{{Offset: 0, Length: 100}}})
	c.add(item.Photo,
		item.Item{Form: item.FormFile, Path: "d/p/1.jpg", Size: 1<<20 + 7, Extents: []item.Extent{{Pack: 0, Frame: 0, Length: 1 << 20}, {Pack: 0, Frame: 1, Length: 7}}},
		item.Item{Form: item.FormFile, Path: "d/p/2.jpg", Size: 5, Extents: []item.Extent{{Pack: 0, Frame: 1, Offset: 7, Length: 5}}},
		item.Item{Form: item.FormFile, Path: "d/p/3.jpg", Size: 50, Lost: item.ReasonUnreadable})
	c.add(item.File,
		item.Item{Form: item.FormDir, Path: "d"},
		item.Item{Form: item.FormDir, Path: "d/p"},
		item.Item{Form: item.FormFile, Path: "d/gone", Lost: item.ReasonRemoved, Size: 3},
		item.Item{Form: item.FormFile, Path: "d/gone", Size: 0},
		item.Item{Form: item.FormFile, Path: "e", Size: 9, Extents: []item.Extent{{Pack: 2, Frame: 0, Length: 9}}})
	return c
}

// add adds a page, numbering its items.
func (c *collection) add(k item.Kind, items ...item.Item) {
	first := item.Ordinal(0)
	for _, p := range c.pages {
		first += item.Ordinal(len(p.Items))
	}
	for i := range items {
		items[i].Kind, items[i].Ordinal = k, first+item.Ordinal(i)
	}
	c.pages = append(c.pages, &manifest.Page{Kind: k, First: first, Items: items})
}

// sum fills in the root what follows from lists and pages.
func (c *collection) sum() {
	r := &c.root
	r.Packs, r.Pages, r.Totals = 0, nil, nil
	frame := uint16(0)
	next := func() uint16 { frame++; return frame - 1 }
	for _, l := range c.lists {
		r.Packs += uint32(len(l))
		r.Pages = append(r.Pages, manifest.PageRef{Pack: 4, Frame: next(), Type: pack.PackList, First: uint64(l[0].Index), Count: uint32(len(l)), Bytes: 100})
	}
	totals := map[item.Kind]*manifest.Total{}
	for _, p := range c.pages {
		r.Pages = append(r.Pages, manifest.PageRef{Pack: 4, Frame: next(), Type: pack.Page, Kind: p.Kind, First: uint64(p.First), Count: uint32(len(p.Items)), Bytes: 100})
		if totals[p.Kind] == nil {
			totals[p.Kind] = &manifest.Total{Kind: p.Kind}
		}
		for i := range p.Items {
			totals[p.Kind].Add(&p.Items[i])
		}
	}
	for _, k := range item.Kinds {
		if totals[k] != nil {
			r.Totals = append(r.Totals, *totals[k])
		}
	}
}

// judge passes everything through its encoding and the Validator.
func (c *collection) judge(limits key.Limits) error {
	b, err := c.root.Append(nil)
	if err != nil {
		return err
	}
	root, err := manifest.DecodeRoot(b)
	if err != nil {
		return err
	}
	v, err := manifest.NewValidator(root, limits)
	if err != nil {
		return err
	}
	for _, l := range c.lists {
		b, err := manifest.AppendPackList(nil, l)
		if err != nil {
			return err
		}
		refs, err := manifest.DecodePackList(b)
		if err != nil {
			return err
		}
		if err := v.Packs(refs); err != nil {
			return err
		}
	}
	for _, p := range c.pages {
		b, err := manifest.AppendPage(nil, p)
		if err != nil {
			return err
		}
		page, err := manifest.DecodePage(b)
		if err != nil {
			return err
		}
		if err := v.Page(page); err != nil {
			return err
		}
	}
	return v.Finish()
}

func TestValidManifest(t *testing.T) {
	c := valid()
	c.sum()
	if err := c.judge(key.Limits{MaxItems: 11, MaxBytes: 2 << 20}); err != nil {
		t.Error(err)
	}
}

func TestRT11InvalidManifestsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		want  error
		first func(*collection) // before the sums are made
		then  func(*collection) // after
	}{
		"overlapping extents":                 {first: func(c *collection) { c.pages[1].Items[1].Extents[0].Offset = 6 }, want: manifest.ErrOverlap},
		"one extent twice":                    {first: func(c *collection) { c.pages[2].Items[4].Extents = []item.Extent{{Pack: 2, Frame: 1, Length: 9}} }, want: manifest.ErrOverlap},
		"a whole chunk twice":                 {first: func(c *collection) { c.pages[2].Items[4].Extents = []item.Extent{{Pack: 0, Frame: 0, Length: 9}} }, want: manifest.ErrOverlap},
		"an item's own extents overlap":       {first: func(c *collection) { c.pages[1].Items[0].Extents[1] = item.Extent{Pack: 0, Frame: 0, Length: 7} }, want: manifest.ErrOverlap},
		"gap in an item":                      {first: func(c *collection) { c.pages[1].Items[0].Size++ }, want: manifest.ErrExtent},
		"pack n+1":                            {first: func(c *collection) { c.pages[1].Items[1].Extents[0].Pack = 3 }, want: manifest.ErrPack},
		"pack beyond all":                     {first: func(c *collection) { c.pages[1].Items[1].Extents[0].Pack = 100_000 }, want: manifest.ErrPack},
		"content in padding":                  {first: func(c *collection) { c.pages[1].Items[1].Extents[0].Pack = 7 }, want: manifest.ErrPack},
		"content in a manifest pack":          {first: func(c *collection) { c.pages[1].Items[1].Extents[0].Pack = 4 }, want: manifest.ErrPack},
		"duplicate index":                     {first: func(c *collection) { c.lists[0][1].Index = 0 }, want: manifest.ErrPack},
		"duplicate index in another list":     {first: func(c *collection) { c.lists[1] = []manifest.PackRef{packRef(2, 2)}; c.lists[0][1].Index = 3 }, want: manifest.ErrPack},
		"list that goes on too far":           {first: func(c *collection) { c.lists[0][1].Index = 8 }, want: manifest.ErrPack},
		"duplicate blob":                      {first: func(c *collection) { c.lists[1][0].Blob = c.lists[0][0].Blob }, want: manifest.ErrPack},
		"blob of a manifest pack":             {first: func(c *collection) { c.lists[1][0].Blob = id.Blob{9} }, want: manifest.ErrPack},
		"pack of the next epoch":              {first: func(c *collection) { c.lists[1][0].Epoch = 3 }, want: manifest.ErrPack},
		"pack of the catalog":                 {first: func(c *collection) { c.lists[1][0].Epoch = 0 }, want: manifest.ErrPack},
		"manifest pack of the next epoch":     {first: func(c *collection) { c.root.ManifestPacks[0].Epoch = 3 }, want: manifest.ErrPack},
		"manifest pack that is padding":       {first: func(c *collection) { c.root.ManifestPacks[0].Padding = true }, want: manifest.ErrPack},
		"page in no pack":                     {then: func(c *collection) { c.root.Pages[3].Pack = 5 }, want: manifest.ErrPack},
		"two pages in one frame":              {then: func(c *collection) { c.root.Pages[3].Frame = 0 }, want: manifest.ErrPack},
		"fewer packs than said":               {then: func(c *collection) { c.root.Packs++ }, want: manifest.ErrTotals},
		"fewer items than said":               {then: func(c *collection) { c.root.Totals[0].Items++ }, want: manifest.ErrTotals},
		"kind without items":                  {then: func(c *collection) { c.root.Totals = append(c.root.Totals, manifest.Total{Kind: item.Setting}) }, want: manifest.ErrTotals},
		"kind not said":                       {then: func(c *collection) { c.root.Totals = c.root.Totals[1:] }, want: manifest.ErrTotals},
		"kind twice":                          {then: func(c *collection) { c.root.Totals[1].Kind = item.Contact }, want: manifest.ErrTotals},
		"RT10 more bytes than said":           {then: func(c *collection) { c.root.Totals[1].Bytes-- }, want: manifest.ErrTotals},
		"fewer losses than said":              {then: func(c *collection) { c.root.Totals[1].Lost = 0 }, want: manifest.ErrTotals},
		"fewer directories than said":         {then: func(c *collection) { c.root.Totals[2].Dirs++ }, want: manifest.ErrTotals},
		"gap between pages":                   {then: func(c *collection) { c.root.Pages[3].First++ }, want: manifest.ErrOrder},
		"page of other items":                 {then: func(c *collection) { c.pages[1].First++; c.pages[1].Items[0].Ordinal = 0; renumber(c.pages[1]) }, want: manifest.ErrOrder},
		"pages exchanged":                     {then: func(c *collection) { c.pages[1], c.pages[2] = c.pages[2], c.pages[1] }, want: manifest.ErrOrder},
		"page missing":                        {then: func(c *collection) { c.pages = c.pages[:2] }, want: manifest.ErrOrder},
		"list missing":                        {then: func(c *collection) { c.lists = c.lists[:1] }, want: manifest.ErrOrder},
		"page too many":                       {then: func(c *collection) { c.pages = append(c.pages, c.pages[2]) }, want: manifest.ErrOrder},
		"list after a page":                   {then: func(c *collection) { p := c.root.Pages; p[1], p[2] = p[2], p[1] }, want: manifest.ErrOrder},
		"empty page":                          {then: func(c *collection) { c.root.Pages[2].Count = 0 }, want: manifest.ErrOrder},
		"page of unknown type":                {then: func(c *collection) { c.root.Pages[2].Type = pack.Content }, want: manifest.ErrOrder},
		"page larger than any":                {then: func(c *collection) { c.root.Pages[2].Bytes = manifest.MaxPageBytes + 1 }, want: manifest.ErrOrder},
		"two files of one name":               {first: func(c *collection) { c.pages[2].Items[4].Path = "d/p/1.jpg" }, want: manifest.ErrDuplicate},
		"two directories of one name":         {first: func(c *collection) { c.pages[2].Items[1].Path = "d" }, want: manifest.ErrDuplicate},
		"file and directory of one name":      {first: func(c *collection) { c.pages[2].Items[1].Path = "d/p/1.jpg" }, want: manifest.ErrDuplicate},
		"file used as a directory before":     {first: func(c *collection) { c.pages[2].Items[4].Path = "d/p" + "/1.jpg/x" }, want: manifest.ErrConflict},
		"file used as a directory after":      {first: func(c *collection) { c.pages[2].Items[4].Path = "x/y/z"; c.pages[0].Items[0].Path = "x" }, want: manifest.ErrConflict},
		"directory that only paths tell of":   {first: func(c *collection) { c.pages[1].Items[0].Path = "e/1.jpg" }, want: manifest.ErrConflict},
		"record of a photo":                   {first: func(c *collection) { c.pages[2].Items[4] = recordIn(3) }, want: manifest.ErrRecord},
		"record of a record":                  {first: func(c *collection) { c.pages[0].Items[2].Container = 1 }, want: manifest.ErrRecord},
		"record beyond its container":         {first: func(c *collection) { c.pages[0].Items[1].Ranges[0].Offset++ }, want: manifest.ErrRecord},
		"record of a removed file":            {first: func(c *collection) { c.pages[0].Items[0].Lost = item.ReasonRemoved; c.pages[0].Items[0].Extents = nil }, want: manifest.ErrRecord},
		"no content in the last epoch":        {first: func(c *collection) { c.pages[2].Items[4].Extents = nil }, want: manifest.ErrContent},
		"content in a catalog":                {first: func(c *collection) { catalog(c); c.pages[0].Items[0].Extents = []item.Extent{{Length: 300}} }, want: manifest.ErrContent},
		"packs in a catalog":                  {first: func(c *collection) { lists := c.lists; catalog(c); c.lists = lists }, want: manifest.ErrRoot},
		"catalog with a root before it":       {first: func(c *collection) { catalog(c); c.root.Prev = id.Commit{1} }, want: manifest.ErrRoot},
		"catalog that is final":               {first: func(c *collection) { catalog(c); c.root.Final = true }, want: manifest.ErrRoot},
		"epoch without a root before it":      {first: func(c *collection) { c.root.Prev = id.Commit{} }, want: manifest.ErrRoot},
		"unknown class":                       {first: func(c *collection) { c.root.Class = 3 }, want: manifest.ErrRoot},
		"epoch beyond all":                    {first: func(c *collection) { c.root.Epoch = manifest.MaxEpoch }, want: manifest.ErrRoot},
		"E14 ten million items":               {then: func(c *collection) { millions(c, 10_000_000) }, want: manifest.ErrLimit},
		"E14 more packs than any session has": {then: func(c *collection) { c.root.Packs = manifest.MaxPacks + 1 }, want: manifest.ErrRoot},
		"E14 pack beyond all":                 {first: func(c *collection) { c.lists[1][0].Index = manifest.MaxPacks }, want: manifest.ErrOrder},
	} {
		m := valid()
		if c.first != nil {
			c.first(m)
		}
		m.sum()
		if c.then != nil {
			c.then(m)
		}
		if err := m.judge(key.Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func recordIn(container item.Ordinal) item.Item {
	return item.Item{Kind: item.File, Ordinal: 10, Form: item.FormRecord, Container: container, Size: 1, Ranges: []item.Range{{Length: 1}}}
}

func renumber(p *manifest.Page) {
	for i := range p.Items {
		p.Items[i].Ordinal = p.First + item.Ordinal(i)
	}
}

// catalog makes a catalog of a collection.
func catalog(c *collection) {
	c.root.Epoch, c.root.Final, c.root.Prev, c.lists = 0, false, id.Commit{}, nil
	c.root.ManifestPacks[0].Epoch = 0
	for _, p := range c.pages {
		for i := range p.Items {
			p.Items[i].Extents = nil
		}
	}
}

// millions makes the root announce that many files.
func millions(c *collection, n uint64) {
	c.root.Pages, c.root.Packs = nil, 0
	c.root.Totals = []manifest.Total{{Kind: item.File, Items: n}}
	for first := uint64(0); first < n; first += manifest.MaxPageItems {
		i := first / manifest.MaxPageItems
		c.root.Pages = append(c.root.Pages, manifest.PageRef{Pack: 4, Frame: uint16(i), Type: pack.Page, Kind: item.File, First: first,
			Count: uint32(min(n-first, manifest.MaxPageItems)), Bytes: 1000})
	}
}

func TestCatalogAndEarlyEpochs(t *testing.T) {
	c := valid()
	catalog(c)
	c.sum()
	if err := c.judge(key.Limits{}); err != nil {
		t.Error("catalog:", err)
	}
	c = valid()
	c.root.Final = false
	c.pages[2].Items[4].Extents = nil
	c.sum()
	if err := c.judge(key.Limits{}); err != nil {
		t.Error("epoch that is not the last, with an item to come:", err)
	}
}

func TestA19LimitsOfTheReceiver(t *testing.T) {
	c := valid()
	c.sum()
	for _, l := range []key.Limits{{MaxItems: 10}, {MaxBytes: 1 << 20}} {
		if err := c.judge(l); !errors.Is(err, manifest.ErrLimit) {
			t.Errorf("limits %+v: %v", l, err)
		}
	}
}

// heapDuring returns the most that fn holds, seen each time it calls look.
func heapDuring(fn func(look func())) int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, most := int64(m.HeapAlloc), int64(0)
	fn(func() {
		runtime.GC()
		runtime.ReadMemStats(&m)
		most = max(most, int64(m.HeapAlloc)-base)
	})
	return most
}

// TestRT11MemoryOfTheValidator feeds a manifest of the largest size, whose every path
// implies another directory, and one of ordinary directories.
func TestRT11MemoryOfTheValidator(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const n = manifest.MaxItems
	c := valid()
	millions(c, n)
	for name, run := range map[string]struct {
		path func(i int) string
		want error
	}{
		"deep":   {func(i int) string { return fmt.Sprintf("%d/x/y/z/f", i) }, manifest.ErrLimit},
		"common": {func(i int) string { return fmt.Sprintf("%d/f%d", i/100, i) }, nil},
	} {
		start := time.Now()
		var err error
		most := heapDuring(func(look func()) {
			c.root.Epoch, c.root.Final, c.root.Prev = 0, false, id.Commit{}
			c.root.ManifestPacks[0].Epoch = 0
			v, e := manifest.NewValidator(&c.root, key.Limits{})
			if e != nil {
				t.Fatal(e)
			}
			p := &manifest.Page{Kind: item.File, Items: make([]item.Item, manifest.MaxPageItems)}
			for first := 0; first < n && err == nil; first += manifest.MaxPageItems {
				p.First = item.Ordinal(first)
				for i := range p.Items {
					p.Items[i] = item.Item{Ordinal: p.First + item.Ordinal(i), Kind: item.File, Form: item.FormFile, Path: run.path(first + i)}
				}
				err = v.Page(p)
				if first%(256*manifest.MaxPageItems) == 0 {
					look()
				}
			}
			look()
			runtime.KeepAlive(v)
		})
		t.Logf("%s: %d MiB, %v, %v", name, most>>20, time.Since(start).Round(time.Millisecond), err)
		if !errors.Is(err, run.want) || err != nil && run.want == nil {
			t.Errorf("%s: %v", name, err)
		}
		if most > 64<<20 {
			t.Errorf("%s: holds %d MiB", name, most>>20)
		}
	}
}

func BenchmarkValidator(b *testing.B) {
	items := smallFiles(newRand(), 0, 4096, false)
	for i := range items {
		items[i].Path += fmt.Sprint(i)
	}
	root := manifest.Root{Session: id.Session{1}, Epoch: 1, Final: true, Class: wire.ClassL, Prev: id.Commit{1}, Packs: 1,
		Totals: []manifest.Total{{Kind: item.File, Items: 4096}},
		Pages:  []manifest.PageRef{{Type: pack.PackList, Count: 1}, {Type: pack.Page, Kind: item.File, Count: 4096}}}
	page := &manifest.Page{Kind: item.File, Items: items}
	b.ReportAllocs()
	for b.Loop() {
		v, err := manifest.NewValidator(&root, key.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if err := v.Packs([]manifest.PackRef{{Epoch: 1}}); err != nil {
			b.Fatal(err)
		}
		if err := v.Page(page); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/item")
}
