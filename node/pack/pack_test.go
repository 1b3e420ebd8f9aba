package pack_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

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
