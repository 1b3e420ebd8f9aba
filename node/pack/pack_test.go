package pack_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/wire"
)

// newRand returns a source whose seed is part of the test.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// textBytes returns n bytes that zstd shrinks well.
func textBytes(r *rand.Rand, n int) []byte {
	words := []string{"moving ", "house ", "with ", "a ", "phone ", "in ", "each ", "hand ", "and ", "nothing ", "lost\n"}
	var b []byte
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b[:n]
}

// smallFiles describes count files of 200 to 2,000 bytes, in the order of the scan.
func smallFiles(r *rand.Rand, first item.Ordinal, count int) (extents []pack.Extent, size int) {
	for i := range count {
		e := pack.Extent{Ordinal: first + item.Ordinal(i), Length: uint32(200 + r.IntN(1800))}
		extents, size = append(extents, e), size+int(e.Length)
	}
	return extents, size
}

// frameOf encodes a chunk.
func frameOf(enc *compress.Encoder, chunk []byte, extents []pack.Extent) (pack.FrameInfo, []byte) {
	data, codec := enc.Encode(nil, chunk)
	return pack.FrameInfo{Type: pack.Content, Kind: item.File, Codec: codec, RawSize: uint32(len(chunk)),
		Size: uint32(len(data)), Hash: sha256.Sum256(chunk), Extents: extents}, data
}

// rawFrame is a content frame of one extent.
func rawFrame(chunk []byte, ordinal item.Ordinal, offset int64) pack.FrameInfo {
	return pack.FrameInfo{Type: pack.Content, Kind: item.Photo, RawSize: uint32(len(chunk)), Size: uint32(len(chunk)),
		Hash: sha256.Sum256(chunk), Extents: []pack.Extent{{Ordinal: ordinal, Offset: offset, Length: uint32(len(chunk))}}}
}

func TestPlainSizeFillsTheBlob(t *testing.T) {
	sealed := func(plain int) int { return 56 + plain + 16*(plain/16384+1) }
	for _, class := range []wire.Class{wire.ClassS, wire.ClassL} {
		p := pack.PlainSize(class)
		if sealed(p) != class.BlobSize() || sealed(p+1) <= class.BlobSize() {
			t.Errorf("class %d: %d plain bytes seal to %d, blob is %d", class, p, sealed(p), class.BlobSize())
		}
	}
	if pack.PlainSize(0) != 0 || pack.PlainSize(3) != 0 {
		t.Error("an unknown class has a size")
	}
}

func TestRoundTrip(t *testing.T) {
	for _, class := range []wire.Class{wire.ClassS, wire.ClassL} {
		r := newRand(uint64(class))
		enc, dec, b := compress.NewEncoder(), compress.NewDecoder(), pack.NewBuilder(class)
		var table pack.Table
		for range 3 { // the memory is used again
			b.Reset()
			var chunks [][]byte
			var frames []pack.FrameInfo
			for i := range 4 {
				extents, size := smallFiles(r, item.Ordinal(i*1000), 20)
				chunk := textBytes(r, size)
				if i%2 == 1 {
					chunk = randomBytes(r, size)
				}
				f, data := frameOf(enc, chunk, extents)
				if err := b.Add(f, data); err != nil {
					t.Fatal(err)
				}
				chunks, frames = append(chunks, chunk), append(frames, f)
			}
			plain, tab := b.Finish()
			if len(plain) != pack.PlainSize(class) {
				t.Fatalf("plaintext of %d bytes", len(plain))
			}
			if err := table.ParseInto(plain, class); err != nil {
				t.Fatal(err)
			}
			alone, err := pack.ParseTable(tab)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(table.Append(nil), tab) || !bytes.Equal(alone.Append(nil), tab) {
				t.Error("the table encodes to other bytes")
			}
			for i := range chunks {
				if got := table.Frames[i]; got.Hash != frames[i].Hash || got.Codec != frames[i].Codec || !slices.Equal(got.Extents, frames[i].Extents) {
					t.Errorf("frame %d differs", i)
				}
				got, err := table.Chunk(dec, nil, plain, i)
				if err != nil || !bytes.Equal(got, chunks[i]) {
					t.Errorf("chunk %d: %v", i, err)
				}
			}
		}
	}
}

func TestFourRawMebibytesFitClassL(t *testing.T) {
	b, r := pack.NewBuilder(wire.ClassL), newRand(1)
	for i := range 4 {
		n := copy(b.Tail()[:1<<20], randomBytes(r, 1<<20))
		if err := b.Add(rawFrame(b.Tail()[:n], 7, int64(i)<<20), b.Tail()[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if room := b.Room(1); room == 0 || room > 16<<10 {
		t.Errorf("room left: %d bytes", room)
	}
}

func TestAddRefusesWhatDoesNotFit(t *testing.T) {
	b, r := pack.NewBuilder(wire.ClassS), newRand(1)
	chunk := randomBytes(r, b.Room(1))
	if err := b.Add(rawFrame(chunk, 1, 0), chunk); err != nil {
		t.Fatal("a frame of Room bytes is refused:", err)
	}
	if err := b.Add(rawFrame(chunk[:100], 2, 0), chunk[:100]); !errors.Is(err, pack.ErrFull) {
		t.Fatalf("got %v", err)
	}
	plain, _ := b.Finish()
	table, err := pack.Parse(plain, wire.ClassS)
	if err != nil || len(table.Frames) != 1 {
		t.Fatalf("after ErrFull the pack holds %v, %v", table, err)
	}
}

func TestReadStraightIntoTheTail(t *testing.T) {
	r, enc, dec, b := newRand(3), compress.NewEncoder(), compress.NewDecoder(), pack.NewBuilder(wire.ClassS)
	raw, text := randomBytes(r, 20_000), textBytes(r, 50_000)
	n := copy(b.Tail(), raw)
	if err := b.Add(rawFrame(raw, 1, 0), b.Tail()[:n]); err != nil {
		t.Fatal(err)
	}
	tail := b.Tail()
	out, codec := enc.Encode(tail[:0], text)
	if &out[0] != &tail[0] || codec != compress.Zstd {
		t.Fatal("the frame is not in the tail")
	}
	f := rawFrame(text, 2, 0)
	f.Codec, f.Size = codec, uint32(len(out))
	if err := b.Add(f, out); err != nil {
		t.Fatal(err)
	}
	plain, _ := b.Finish()
	table, err := pack.Parse(plain, wire.ClassS)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]byte{raw, text} {
		if got, err := table.Chunk(dec, nil, plain, i); err != nil || !bytes.Equal(got, want) {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
}

func TestTwelveThousandExtentsTakeTwoBytesEach(t *testing.T) {
	r, b := newRand(1), pack.NewBuilder(wire.ClassL)
	enc, first := compress.NewEncoder(), item.Ordinal(1000)
	for range 15 {
		extents, size := smallFiles(r, first, 900)
		first += 900
		f, data := frameOf(enc, textBytes(r, size), extents)
		if len(data) > b.Room(900) {
			t.Fatal("no room")
		}
		if err := b.Add(f, data); err != nil {
			t.Fatal(err)
		}
	}
	_, tab := b.Finish()
	t.Logf("13,500 extents: a table of %d bytes", len(tab))
	if len(tab) > 13_500*2+15*60 {
		t.Errorf("13,500 extents take a table of %d bytes", len(tab))
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	r, b := newRand(2), pack.NewBuilder(wire.ClassL)
	extents, size := smallFiles(r, 5, 800)
	chunk := randomBytes(r, size)
	f := pack.FrameInfo{Type: pack.Content, Kind: item.File, RawSize: uint32(size), Size: uint32(size), Hash: sha256.Sum256(chunk), Extents: extents}
	build := func() []byte {
		b.Reset()
		for range 4 {
			if err := b.Add(f, chunk); err != nil {
				t.Fatal(err)
			}
		}
		plain, _ := b.Finish()
		return plain
	}
	plain := build()
	var table pack.Table
	parse := func() {
		if err := table.ParseInto(plain, wire.ClassL); err != nil {
			t.Fatal(err)
		}
	}
	parse()
	if n := testing.AllocsPerRun(5, func() { build() }); n > 0 {
		t.Errorf("building allocates %v times", n)
	}
	if n := testing.AllocsPerRun(5, parse); n > 0 {
		t.Errorf("parsing allocates %v times", n)
	}
}

func TestPadme(t *testing.T) {
	for n, want := range map[uint64]uint64{0: 0, 1: 1, 2: 2, 3: 3, 7: 7, 8: 8, 9: 10, 15: 16, 17: 18, 19: 20, 33: 36, 100: 104, 257: 272, 1000: 1024, 1 << 40: 1 << 40} {
		if got := pack.Padme(n); got != want {
			t.Errorf("Padme(%d) = %d, want %d", n, got, want)
		}
	}
	last := uint64(0)
	for n := uint64(1); n < 100_000; n++ {
		p := pack.Padme(n)
		if p < n || p < last || float64(p) > 1.12*float64(n) || pack.Padme(p) != p {
			t.Fatalf("Padme(%d) = %d", n, p)
		}
		last = p
	}
}

func BenchmarkBuild(b *testing.B) {
	r, builder := newRand(2), pack.NewBuilder(wire.ClassL)
	for name, count := range map[string]int{"large": 1, "small": 900} {
		extents, size := []pack.Extent{{Ordinal: 9, Offset: 5 << 20, Length: 1 << 20}}, 1<<20
		if count > 1 {
			extents, size = smallFiles(r, 5, count)
		}
		chunk := randomBytes(r, size)
		f := pack.FrameInfo{Type: pack.Content, Kind: item.File, RawSize: uint32(size), Size: uint32(size), Hash: sha256.Sum256(chunk), Extents: extents}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(4 * size))
			b.ReportAllocs()
			for b.Loop() {
				builder.Reset()
				for range 4 {
					if err := builder.Add(f, chunk); err != nil {
						b.Fatal(err)
					}
				}
				builder.Finish()
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	r, builder := newRand(2), pack.NewBuilder(wire.ClassL)
	for range 4 {
		extents, size := smallFiles(r, 5, 900)
		chunk := randomBytes(r, size)
		if err := builder.Add(pack.FrameInfo{Type: pack.Content, Kind: item.File, RawSize: uint32(size), Size: uint32(size), Hash: sha256.Sum256(chunk), Extents: extents}, chunk); err != nil {
			b.Fatal(err)
		}
	}
	plain, _ := builder.Finish()
	var table pack.Table
	b.Run("table", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			if err := table.ParseInto(plain, wire.ClassL); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("table and chunks", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		dec := compress.NewDecoder()
		for b.Loop() {
			if err := table.ParseInto(plain, wire.ClassL); err != nil {
				b.Fatal(err)
			}
			for i := range table.Frames {
				if _, err := table.Chunk(dec, nil, plain, i); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// TestRoomHolds adds frames of exactly Room bytes with the most expensive extents.
func TestRoomHolds(t *testing.T) {
	r, b := newRand(8), pack.NewBuilder(wire.ClassS)
	for range 200 {
		b.Reset()
		for {
			n := 1 + r.IntN(300)
			size := b.Room(n)
			if size < n {
				break
			}
			if r.IntN(3) > 0 {
				size = n + r.IntN(size-n+1)
			}
			extents := make([]pack.Extent, n)
			for i := range extents {
				extents[i] = pack.Extent{Ordinal: item.Ordinal(r.Uint64()), Revision: 1<<32 - 1 - uint32(i), Offset: item.MaxSize - pack.MaxChunk, Length: 1}
			}
			extents[n-1].Length = uint32(size - n + 1)
			f := pack.FrameInfo{Type: pack.Content, Kind: item.File, RawSize: uint32(size), Size: uint32(size), Extents: extents}
			if err := b.Add(f, make([]byte, size)); err != nil {
				t.Fatalf("%d extents, %d bytes: %v", n, size, err)
			}
		}
		if plain, _ := b.Finish(); len(plain) != pack.PlainSize(wire.ClassS) {
			t.Fatal("the pack has another size")
		}
	}
}

// Where a frame is read to decides how fast the system copies; see lead.
func TestFirstFrameLiesWell(t *testing.T) {
	const prelude = 8
	for _, class := range []wire.Class{wire.ClassS, wire.ClassL} {
		plain := pack.Memory(class.BlobSize())[:prelude+1]
		for name, first := range map[string]*byte{"builder": &pack.NewBuilder(class).Tail()[0], "memory": &plain[prelude]} {
			if at := uintptr(unsafe.Pointer(first)); at%64 != 0 || at%4096 == 0 {
				t.Errorf("class %d: the first frame of a %s lies at %#x", class, name, at)
			}
		}
	}
}
