package pack_test

import (
	"crypto/sha256"
	"fmt"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/wire"
)

// Two small files become one chunk, the chunk a frame, the frame a pack; the pack says
// by itself what it holds.
func Example() {
	chunk := []byte("Dear mother, milk, bread")
	f := pack.FrameInfo{Type: pack.Content, Kind: item.File, Codec: compress.Raw, RawSize: uint32(len(chunk)), Size: uint32(len(chunk)),
		Hash: sha256.Sum256(chunk), Extents: []pack.Extent{{Ordinal: 4, Length: 13}, {Ordinal: 5, Length: 11}}}
	b := pack.NewBuilder(wire.ClassS)
	if err := b.Add(f, chunk); err != nil {
		fmt.Println(err)
	}
	plain, table := b.Finish()
	fmt.Println(len(plain), len(table))

	t, err := pack.Parse(plain, wire.ClassS)
	if err != nil {
		fmt.Println(err)
	}
	got, err := t.Chunk(compress.NewDecoder(), nil, plain, 0)
	if err != nil {
		fmt.Println(err)
	}
	for _, e := range t.Frames[0].Extents {
		fmt.Printf("item %d: %q\n", e.Ordinal, got[:e.Length])
		got = got[e.Length:]
	}
	// Output:
	// 261832 43
	// item 4: "Dear mother, "
	// item 5: "milk, bread"
}
