package pack_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/wire"
)

// entry writes the entry of a raw frame by hand.
func entry(kind byte, rawSize uint64, extents ...[]byte) []byte {
	b := []byte{byte(pack.Content), kind, 0}
	b = exact.Append(b, rawSize)
	b = append(b, make([]byte, 32)...)
	b = exact.Append(b, uint64(len(extents)))
	return append(b, bytes.Join(extents, nil)...)
}

// extent writes an extent in the long form.
func extent(length uint64, distance int64, revision, offset uint64) []byte {
	b := exact.Append(nil, length<<1|1)
	b = exact.Append(b, exact.Zigzag(distance))
	return exact.Append(exact.Append(b, revision), offset)
}

func short(length uint64) []byte { return exact.Append(nil, length<<1) }

// table writes a table of the entries.
func table(entries ...[]byte) []byte {
	return append(exact.Append(nil, uint64(len(entries))), bytes.Join(entries, nil)...)
}

// goodEntry is what the entries of refusedTables differ from.
var goodEntry = entry(byte(item.File), 10, extent(10, 5, 0, 0))

// refused is a table and why it is.
type refused struct {
	b    []byte
	want error
}

func refusedTables() map[string]refused {
	const file = byte(item.File)
	good := goodEntry
	page := append([]byte{byte(pack.Page), file, 0, 10}, make([]byte, 32)...)
	change := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	return map[string]refused{
		"empty":                         {nil, pack.ErrTable},
		"no frame":                      {[]byte{0}, pack.ErrTable},
		"fewer frames than said":        {append([]byte{2}, good...), pack.ErrTable},
		"trailing byte":                 {append(table(good), 0), pack.ErrTable},
		"cut off":                       {table(good)[:20], pack.ErrTable},
		"count in two bytes":            {append([]byte{0x81, 0x00}, good...), pack.ErrTable},
		"E14 count of 32 bits":          {exact.Append(nil, 1<<32-1), pack.ErrTable},
		"E14 varint of eleven bytes":    {bytes.Repeat([]byte{0x80}, 11), pack.ErrTable},
		"E14 varint of 65 bits":         {append(bytes.Repeat([]byte{0xff}, 9), 2), pack.ErrTable},
		"unknown type":                  {table(change(0, 4)), pack.ErrFrame},
		"unknown kind":                  {table(change(1, 99)), pack.ErrFrame},
		"no kind":                       {table(change(1, 0)), pack.ErrFrame},
		"unknown codec":                 {table(append(change(2, 2)[:4], good[3:]...)), pack.ErrFrame},
		"empty chunk":                   {table(entry(file, 0)), pack.ErrFrame},
		"larger chunk than any":         {table(entry(file, pack.MaxChunk+1, extent(10, 5, 0, 0))), pack.ErrTable},
		"pages and content":             {table(good, page), pack.ErrMixed},
		"content and pages":             {table(page, good), pack.ErrMixed},
		"more content than a pack has":  {table(big(5)...), pack.ErrLayout},
		"no extents":                    {table(entry(file, 10)), pack.ErrExtent},
		"extents shorter than chunk":    {table(entry(file, 10, extent(9, 5, 0, 0))), pack.ErrExtent},
		"extents longer than chunk":     {table(entry(file, 10, extent(9, 5, 0, 0), short(2))), pack.ErrExtent},
		"empty extent":                  {table(entry(file, 10, extent(10, 5, 0, 0), short(0))), pack.ErrExtent},
		"extent beyond the item limit":  {table(entry(file, 10, extent(10, 5, 0, item.MaxSize))), pack.ErrExtent},
		"RT10 offset of 63 bits":        {table(entry(file, 10, extent(10, 5, 0, 1<<63))), pack.ErrTable},
		"revision of 33 bits":           {table(entry(file, 10, extent(10, 5, 1<<32, 0))), pack.ErrTable},
		"usual extent in the long form": {table(entry(file, 10, extent(5, 5, 0, 0), extent(5, 0, 0, 0))), pack.ErrTable},
		"E14 extents of 32 bits":        {table(append(entry(file, 10)[:36], exact.Append(nil, 1<<32-1)...)), pack.ErrTable},
	}
}

func TestE5RT11TablesAreRefused(t *testing.T) {
	if _, err := pack.ParseTable(table(goodEntry, goodEntry)); err != nil {
		t.Fatal("the table that the others differ from is refused:", err)
	}
	for name, c := range refusedTables() {
		if got, err := pack.ParseTable(c.b); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// big is n entries of whole chunks.
func big(n int) (entries [][]byte) {
	for range n {
		entries = append(entries, entry(byte(item.File), pack.MaxChunk, extent(pack.MaxChunk, 5, 0, 0)))
	}
	return entries
}

// samplePack builds a pack of class S with a raw and a zstd frame.
func samplePack(t testing.TB) (plain, table []byte) {
	t.Helper()
	r, enc, b := newRand(5), compress.NewEncoder(), pack.NewBuilder(wire.ClassS)
	extents, size := smallFiles(r, 100, 30)
	f, data := frameOf(enc, textBytes(r, size), extents)
	if err := b.Add(f, data); err != nil {
		t.Fatal(err)
	}
	chunk := randomBytes(r, 5000)
	if err := b.Add(rawFrame(chunk, 7, 1<<20), chunk); err != nil {
		t.Fatal(err)
	}
	return b.Finish()
}

func TestE4E5DamagedPacksAreRefused(t *testing.T) {
	plain, tab := samplePack(t)
	start := int(binary.BigEndian.Uint32(plain))
	dec := compress.NewDecoder()
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"cut off":                {func(b []byte) []byte { return b[:len(b)-1] }, pack.ErrSize},
		"extended":               {func(b []byte) []byte { return append(b, 0) }, pack.ErrSize},
		"of the other class":     {func(b []byte) []byte { return make([]byte, pack.PlainSize(wire.ClassL)) }, pack.ErrSize},
		"empty":                  {func(b []byte) []byte { return nil }, pack.ErrSize},
		"zeros":                  {func(b []byte) []byte { return make([]byte, len(b)) }, pack.ErrLayout},
		"padding":                {func(b []byte) []byte { b[len(b)-1] = 1; return b }, pack.ErrLayout},
		"padding at the table":   {func(b []byte) []byte { b[start+len(tab)] = 1; return b }, pack.ErrLayout},
		"table in the prelude":   {func(b []byte) []byte { binary.BigEndian.PutUint32(b, 7); return b }, pack.ErrLayout},
		"table beyond the end":   {func(b []byte) []byte { binary.BigEndian.PutUint32(b, 1<<32-1); return b }, pack.ErrLayout},
		"table longer than all":  {func(b []byte) []byte { binary.BigEndian.PutUint32(b[4:], 1<<32-1); return b }, pack.ErrLayout},
		"table shorter":          {func(b []byte) []byte { b[7]--; return b }, pack.ErrTable},
		"bit of a hash":          {func(b []byte) []byte { b[start+10] ^= 1; return b }, pack.ErrChunk},
		"bit of a raw frame":     {func(b []byte) []byte { b[start-1] ^= 1; return b }, pack.ErrChunk},
		"bit of a zstd header":   {func(b []byte) []byte { b[8] ^= 1; return b }, compress.ErrProfile},
		"frame shifted by a gap": {gap, pack.ErrLayout},
	} {
		b := c.change(bytes.Clone(plain))
		tab, err := pack.Parse(b, wire.ClassS)
		for i := 0; err == nil && i < len(tab.Frames); i++ {
			_, err = tab.Chunk(dec, nil, b, i)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// gap moves the table by a byte that no frame covers.
func gap(b []byte) []byte {
	start, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	copy(b[start+1:], bytes.Clone(b[start:start+size]))
	binary.BigEndian.PutUint32(b, start+1)
	return b
}

// worst is a pack of class L whose table is as expensive as a table can be: the most
// extents, and frames to hold them.
func worst(t testing.TB) []byte {
	t.Helper()
	b := pack.NewBuilder(wire.ClassL)
	enc := compress.NewEncoder()
	chunk := make([]byte, pack.MaxChunk/2)
	data, codec := enc.Encode(nil, chunk)
	extents := make([]pack.Extent, pack.MaxExtents/64)
	for i := range extents {
		extents[i] = pack.Extent{Ordinal: item.Ordinal(i), Length: uint32(len(chunk) / len(extents))}
	}
	f := pack.FrameInfo{Type: pack.Content, Kind: item.File, Codec: codec, RawSize: uint32(len(chunk)), Size: uint32(len(data)), Hash: sha256.Sum256(chunk), Extents: extents}
	for range 64 {
		if err := b.Add(f, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(f, data); !errors.Is(err, pack.ErrFull) || b.Room(1) != 0 {
		t.Fatalf("an extent too many: %v", err)
	}
	plain, _ := b.Finish()
	return plain
}

func TestE14ParsingTheWorstPack(t *testing.T) {
	plain := worst(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	tab, err := pack.Parse(plain, wire.ClassL)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err != nil || len(tab.Frames) != 64 {
		t.Fatal(err)
	}
	used := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d extents: %d KiB, %v", pack.MaxExtents, used>>10, took)
	if used > 64<<20 || took > time.Minute {
		t.Errorf("%d bytes, %v", used, took)
	}
}

func TestAddRefusesWhatCannotBeParsed(t *testing.T) {
	b := pack.NewBuilder(wire.ClassS)
	chunk := make([]byte, 10)
	for name, c := range map[string]struct {
		change func(f *pack.FrameInfo)
		want   error
	}{
		"other size":           {func(f *pack.FrameInfo) { f.Size = 9 }, pack.ErrFrame},
		"other size when raw":  {func(f *pack.FrameInfo) { f.RawSize = 9; f.Extents[0].Length = 9 }, pack.ErrFrame},
		"larger when zstd":     {func(f *pack.FrameInfo) { f.Codec = compress.Zstd }, pack.ErrFrame},
		"unknown codec":        {func(f *pack.FrameInfo) { f.Codec = 2 }, pack.ErrFrame},
		"no kind":              {func(f *pack.FrameInfo) { f.Kind = item.KindNone }, pack.ErrFrame},
		"no type":              {func(f *pack.FrameInfo) { f.Type = 0 }, pack.ErrFrame},
		"page with extents":    {func(f *pack.FrameInfo) { f.Type = pack.Page }, pack.ErrFrame},
		"list of a kind":       {func(f *pack.FrameInfo) { f.Type, f.Extents = pack.PackList, nil }, pack.ErrFrame},
		"no extents":           {func(f *pack.FrameInfo) { f.Extents = nil }, pack.ErrExtent},
		"extents of other sum": {func(f *pack.FrameInfo) { f.Extents[0].Length = 9 }, pack.ErrExtent},
		"negative offset":      {func(f *pack.FrameInfo) { f.Extents[0].Offset = -1 }, pack.ErrExtent},
		"offset beyond all":    {func(f *pack.FrameInfo) { f.Extents[0].Offset = math.MaxInt64 }, pack.ErrExtent},
		"too many extents":     {func(f *pack.FrameInfo) { f.Extents = make([]pack.Extent, pack.MaxExtents+1) }, pack.ErrFull},
	} {
		f := rawFrame(chunk, 1, 0)
		c.change(&f)
		if err := b.Add(f, chunk); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if b.Frames() != 0 {
		t.Errorf("%d frames were added", b.Frames())
	}
	page := pack.FrameInfo{Type: pack.Page, Kind: item.File, RawSize: 10, Size: 10, Hash: sha256.Sum256(chunk)}
	if err := b.Add(page, chunk); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(rawFrame(chunk, 1, 0), chunk); !errors.Is(err, pack.ErrMixed) {
		t.Errorf("content behind a page: %v", err)
	}
}

func FuzzTable(f *testing.F) {
	_, tab := samplePack(f)
	f.Add(bytes.Clone(tab))
	f.Add(table(entry(byte(item.Photo), 10, extent(4, -3, 7, 1<<40), short(6))))
	f.Add(append([]byte{1, byte(pack.PackList), 0, 0, 10}, make([]byte, 32)...))
	var reused pack.Table
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := pack.ParseTable(b)
		if again := reused.ParseTableInto(b); (again == nil) != (err == nil) {
			t.Fatalf("into a used table: %v, else: %v", again, err)
		}
		if err != nil {
			return
		}
		if out := got.Append(nil); !bytes.Equal(out, b) {
			t.Fatalf("parsed\n%x\nencoded\n%x", b, out)
		}
		if out := reused.Append(nil); !bytes.Equal(out, b) {
			t.Fatalf("parsed into a used table\n%x\nencoded\n%x", b, out)
		}
	})
}

// FuzzParse parses a prelude, some bytes behind it, and zeros up to the size of a pack.
// What is accepted and has valid chunks is built again, and must come out the same.
func FuzzParse(f *testing.F) {
	plain, tab := samplePack(f)
	f.Add(bytes.Clone(plain[:int(binary.BigEndian.Uint32(plain))+len(tab)]))
	chunk := []byte("0123456789")
	small := pack.NewBuilder(wire.ClassS)
	if err := small.Add(rawFrame(chunk, 3, 0), chunk); err != nil {
		f.Fatal(err)
	}
	plain, tab = small.Finish()
	f.Add(bytes.Clone(plain[:int(binary.BigEndian.Uint32(plain))+len(tab)]))
	dec, builder := compress.NewDecoder(), pack.NewBuilder(wire.ClassS)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > pack.PlainSize(wire.ClassS) {
			return
		}
		plain := append(bytes.Clone(b), make([]byte, pack.PlainSize(wire.ClassS)-len(b))...)
		got, err := pack.Parse(plain, wire.ClassS)
		if err != nil {
			return
		}
		builder.Reset()
		for i, f := range got.Frames {
			if _, err := got.Chunk(dec, nil, plain, i); err != nil && errors.Is(err, compress.ErrSize) {
				t.Fatalf("a size passes that can't be: %v", err)
			}
			if err := builder.Add(f, plain[f.Start:][:f.Size]); err != nil {
				t.Fatalf("what is parsed can't be built: %v", err)
			}
		}
		if again, _ := builder.Finish(); !bytes.Equal(again, plain) {
			t.Fatal("built again it differs")
		}
	})
}
