package pack_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/internal/vector"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/wire"
)

var update = flag.Bool("update", false, "write the test vectors again")

const tables, packs = "testdata/table", "testdata/pack"

var classes = map[error]string{nil: "ok", pack.ErrSize: "size", pack.ErrLayout: "layout", pack.ErrTable: "table", pack.ErrFrame: "frame",
	pack.ErrExtent: "extent", pack.ErrMixed: "mixed", pack.ErrChunk: "chunk", compress.ErrProfile: "profile"}

// class names what an error is.
func class(err error) string {
	for e, name := range classes {
		if e != nil && errors.Is(err, e) {
			return name
		}
	}
	return classes[err]
}

// describe gives a table in words.
func describe(t *pack.Table) (fields []vector.Field) {
	for i, f := range t.Frames {
		fields = append(fields, vector.Field{Name: fmt.Sprintf("frame-%d-text", i), Value: fmt.Sprintf("%v of %v, %v, chunk %d, frame %d at %d, hash %x", f.Type, f.Kind, f.Codec, f.RawSize, f.Size, f.Start, f.Hash)})
		for j, e := range f.Extents {
			fields = append(fields, vector.Field{Name: fmt.Sprintf("extent-%d-%d-text", i, j), Value: fmt.Sprintf("item %d, revision %d, offset %d, length %d", e.Ordinal, e.Revision, e.Offset, e.Length)})
		}
	}
	return fields
}

func makeTables(t *testing.T) (files []vector.File) {
	for name, b := range map[string][]byte{
		"ok-usual":    table(entry(byte(item.File), 30, short(10), short(20))),
		"ok-far":      table(entry(byte(item.Photo), 10, extent(4, -3, 7, 1<<40), short(6))),
		"ok-page":     table(append([]byte{byte(pack.Page), byte(item.Contact), 1, 200, 1, 100}, make([]byte, 32)...)),
		"ok-list":     table(append([]byte{byte(pack.PackList), 0, 0, 10}, make([]byte, 32)...)),
		"ok-pieces":   table(entry(byte(item.File), 1<<20, extent(1<<20, 9, 2, 5<<20)), entry(byte(item.File), 7, extent(7, 9, 2, 6<<20))),
		"ok-revision": table(entry(byte(item.File), 30, extent(10, 3, 2, 0), short(10), extent(10, 0, 0, 0))),
	} {
		got, err := pack.ParseTable(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files = append(files, vector.File{Name: name, Comment: "a table and what it says", Expect: "ok", Fields: describe(got), Body: b})
	}
	for name, c := range refusedTables() {
		files = append(files, vector.File{Name: strings.ReplaceAll(name, " ", "-"), Comment: name, Expect: class(c.want), Body: c.b})
	}
	return files
}

func makePacks(t *testing.T) (files []vector.File) {
	b := pack.NewBuilder(wire.ClassS)
	for i, chunk := range []string{"first", "second file"} {
		if err := b.Add(rawFrame([]byte(chunk), item.Ordinal(i), 0), []byte(chunk)); err != nil {
			t.Fatal(err)
		}
	}
	plain, _ := b.Finish()
	sum := sha256.Sum256(plain)
	used := bytes.TrimRight(plain, "\x00")
	add := func(name, comment, expect string, change func(b []byte)) {
		body := bytes.Clone(used)
		change(body)
		f := vector.File{Name: name, Comment: comment, Expect: expect, Body: body, Fields: []vector.Field{{Name: "zeros-size", Value: fmt.Sprint(len(plain) - len(body))}}}
		if expect == "ok" {
			f.Fields = append(f.Fields, vector.Field{Name: "plain-sha256", Value: hex.EncodeToString(sum[:])})
		}
		files = append(files, f)
	}
	start := int(binary.BigEndian.Uint32(plain))
	add("ok", "two raw frames; the zeros behind the body are left out", "ok", func([]byte) {})
	add("table-in-prelude", "the table begins inside the prelude", "layout", func(b []byte) { b[3] = 4 })
	add("table-beyond-end", "the table begins behind the pack", "layout", func(b []byte) { b[0] = 1 })
	add("table-early", "the table begins before the last frame ends", "table", func(b []byte) { b[3]-- })
	add("table-long", "the table is a byte longer than it should be", "table", func(b []byte) { b[7]++ })
	add("chunk-changed", "a byte of a raw frame", "chunk", func(b []byte) { b[start-1] ^= 1 })
	add("hash-changed", "a byte of a hash", "chunk", func(b []byte) { b[start+6] ^= 1 })
	return files
}

func TestVectors(t *testing.T) {
	vector.Current(t, tables, makeTables(t), *update)
	for _, f := range vector.Read(t, tables) {
		got, err := pack.ParseTable(f.Body)
		if class(err) != f.Expect {
			t.Errorf("table %s: %v, want %s", f.Name, err, f.Expect)
		}
		if err == nil && fmt.Sprint(describe(got)) != fmt.Sprint(f.Fields) {
			t.Errorf("table %s says\n%v\nwant\n%v", f.Name, describe(got), f.Fields)
		}
	}
	vector.Current(t, packs, makePacks(t), *update)
	dec := compress.NewDecoder()
	for _, f := range vector.Read(t, packs) {
		plain := append(bytes.Clone(f.Body), make([]byte, pack.PlainSize(wire.ClassS)-len(f.Body))...)
		got, err := pack.Parse(plain, wire.ClassS)
		for i := 0; err == nil && i < len(got.Frames); i++ {
			_, err = got.Chunk(dec, nil, plain, i)
		}
		if class(err) != f.Expect {
			t.Errorf("pack %s: %v, want %s", f.Name, err, f.Expect)
		}
		if sum := sha256.Sum256(plain); err == nil && hex.EncodeToString(sum[:]) != f.Get(t, "plain-sha256") {
			t.Errorf("pack %s: the plaintext has another hash", f.Name)
		}
	}
}
