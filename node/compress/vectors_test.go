package compress_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"strconv"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/internal/vector"
)

var update = flag.Bool("update", false, "write the test vectors again")

const frames = "testdata/frame"

var classes = map[error]string{nil: "ok", compress.ErrSize: "size", compress.ErrCodec: "codec", compress.ErrProfile: "profile", compress.ErrCorrupt: "corrupt"}

// class names what an error is.
func class(err error) string {
	for e, name := range classes {
		if e != nil && errors.Is(err, e) {
			return name
		}
	}
	return classes[err]
}

func makeVectors(t *testing.T) (files []vector.File) {
	add := func(name, comment, expect string, codec compress.Codec, size int, frame []byte, chunk []byte) {
		f := vector.File{Name: name, Comment: comment, Expect: expect, Body: frame,
			Fields: []vector.Field{{Name: "codec-text", Value: codec.String()}, {Name: "raw-size", Value: strconv.Itoa(size)}}}
		if expect == "ok" {
			sum := sha256.Sum256(chunk)
			f.Fields = append(f.Fields, vector.Field{Name: "chunk-sha256", Value: hex.EncodeToString(sum[:])})
		}
		files = append(files, f)
	}
	chunk := text(1, 3000)
	frame, codec := compress.NewEncoder().Encode(nil, chunk)
	add("ok-zstd", "text, compressed", "ok", codec, len(chunk), frame, chunk)
	add("ok-raw", "a chunk as it stands", "ok", compress.Raw, 100, chunk[:100], chunk[:100])
	whole := newFrame(single4, size4(compress.MaxChunk)...)
	for i := range 8 {
		whole.block(i == 7, 1, 128<<10, 'x')
	}
	add("ok-largest", "the largest chunk: eight blocks that repeat a byte", "ok", compress.Zstd, compress.MaxChunk, whole.b, bytes.Repeat([]byte("x"), compress.MaxChunk))
	blocks := newFrame(1<<6|1<<5, 44, 0).block(false, 0, 3, []byte("abc")...).block(true, 1, 297, 'd')
	add("ok-blocks", "a raw block and a repeated byte; the content size of 300 in two bytes", "ok", compress.Zstd, 300, blocks.b, append([]byte("abc"), bytes.Repeat([]byte("d"), 297)...))
	add("raw-size-differs", "a raw frame of another size than declared", "size", compress.Raw, 101, chunk[:100], nil)
	for name, c := range hostile(t) {
		if len(c.frame) < 4096 {
			add(strings.ReplaceAll(strings.ReplaceAll(name, ",", ""), " ", "-"), name, class(c.want), compress.Zstd, c.size, c.frame, nil)
		}
	}
	return files
}

func TestVectors(t *testing.T) {
	vector.Current(t, frames, makeVectors(t), *update)
	dec := compress.NewDecoder()
	for _, f := range vector.Read(t, frames) {
		size, err := strconv.Atoi(f.Get(t, "raw-size"))
		if err != nil {
			t.Fatal(err)
		}
		codec := compress.Raw
		if f.Get(t, "codec-text") == "zstd" {
			codec = compress.Zstd
		}
		out, err := dec.Decode(nil, codec, f.Body, size)
		if class(err) != f.Expect {
			t.Errorf("%s: %v, want %s", f.Name, err, f.Expect)
		}
		if sum := sha256.Sum256(out); err == nil && hex.EncodeToString(sum[:]) != f.Get(t, "chunk-sha256") {
			t.Errorf("%s: another chunk", f.Name)
		}
	}
}
