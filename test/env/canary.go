package env

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

// Canaries are random words that are put into names and contents, and then looked
// for wherever a server could have seen them, in every form that a careless program
// might have given them (test C-1).
type Canaries struct {
	Words []string // each of 16 letters and digits, no two alike

	patterns []pattern
	filter   [1 << 16]bool // by the first two bytes of a pattern
	byHead   map[uint64][]int
}

type pattern struct {
	bytes []byte
	what  string // "base64 of w0r…"
}

const alphabet = "abcdefghjkmnpqrstuvwxyz23456789"

// NewCanaries draws n words at random. Extra are further secrets to look for, such as tickets and codes, of at least 8 bytes.
func NewCanaries(n int) *Canaries {
	c := &Canaries{byHead: map[uint64][]int{}}
	for range n {
		var b [16]byte
		rand.Read(b[:])
		for i := range b {
			b[i] = alphabet[int(b[i])%len(alphabet)]
		}
		c.Words = append(c.Words, string(b[:]))
	}
	for _, w := range c.Words {
		c.Watch(w)
	}
	return c
}

// Watch makes Search look for another secret, of 8 bytes or more.
func (c *Canaries) Watch(secret string) {
	if len(secret) < 8 {
		panic("env: a canary needs 8 bytes")
	}
	for _, p := range forms(secret) {
		c.patterns = append(c.patterns, p)
		head := binary.LittleEndian.Uint64(p.bytes)
		c.byHead[head] = append(c.byHead[head], len(c.patterns)-1)
		c.filter[uint16(head)] = true
	}
}

// forms are the encodings under which a secret might hide.
func forms(secret string) []pattern {
	b := []byte(secret)
	reversed := slices.Clone(b)
	slices.Reverse(reversed)
	out := []pattern{
		{b, "raw"},
		{[]byte(hex.EncodeToString(b)), "hex"},
		{[]byte(strings.ToUpper(hex.EncodeToString(b))), "upper-case hex"},
		{reversed, "reversed"},
		{wide(secret, binary.LittleEndian), "UTF-16LE"},
		{wide(secret, binary.BigEndian), "UTF-16BE"},
	}
	for phase := range 3 {
		out = append(out, pattern{base64Phase(base64.RawStdEncoding, b, phase), "base64"})
		if u := base64Phase(base64.RawURLEncoding, b, phase); !bytes.Equal(u, out[len(out)-1].bytes) {
			out = append(out, pattern{u, "URL base64"})
		}
	}
	for i := range out {
		out[i].what += " of " + secret[:3] + "…"
	}
	return out
}

func wide(s string, order binary.AppendByteOrder) (out []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// base64Phase is the part of the base64 text that does not depend on what stands before and behind b, with phase bytes before it.
func base64Phase(e *base64.Encoding, b []byte, phase int) []byte {
	text := e.EncodeToString(append(make([]byte, phase), b...))
	bits := 8 * phase
	first := (bits + 5) / 6
	last := 8 * (phase + len(b)) / 6
	return []byte(text[first:last])
}

// Hit is a place where a canary was found.
type Hit struct {
	Where string // file or stream, and the compressed streams inside it
	At    int64
	What  string
}

// String says where it is.
func (h Hit) String() string { return fmt.Sprintf("%s at %d: %s", h.Where, h.At, h.What) }

const (
	maxHits    = 20
	maxInflate = 64 << 20 // bytes of one decompressed stream
	maxNesting = 3
)

// SearchBytes looks through data, and through every gzip and zstd stream inside it.
func (c *Canaries) SearchBytes(where string, data []byte) []Hit { return c.search(nil, where, data, 0) }

func (c *Canaries) search(hits []Hit, where string, data []byte, depth int) []Hit {
	for i := 0; i+8 <= len(data) && len(hits) < maxHits; i++ {
		two := binary.LittleEndian.Uint16(data[i:])
		if c.filter[two] {
			for _, n := range c.byHead[binary.LittleEndian.Uint64(data[i:])] {
				if bytes.HasPrefix(data[i:], c.patterns[n].bytes) {
					hits = append(hits, Hit{where, int64(i), c.patterns[n].what})
				}
			}
		}
		if depth < maxNesting && (two == 0xb528 || two == 0x8b1f) {
			if inner, kind := inflate(data[i:]); len(inner) > 0 {
				hits = c.search(hits, fmt.Sprintf("%s, %s at %d", where, kind, i), inner, depth+1)
			}
		}
	}
	return hits
}

// inflate decompresses as much as can be had of a stream that may begin at the start of b.
func inflate(b []byte) (out []byte, kind string) {
	switch {
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflate))
		if err != nil {
			return nil, ""
		}
		defer d.Close()
		out, _ = io.ReadAll(io.LimitReader(d, maxInflate))
		return out, "zstd"
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b, 0x08}):
		g, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, ""
		}
		out, _ = io.ReadAll(io.LimitReader(g, maxInflate))
		return out, "gzip"
	}
	return nil, ""
}

// SearchTree looks through every file below dir, and through their names. It returns how many bytes it has read.
func (c *Canaries) SearchTree(dir string) (hits []Hit, searched int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hits = c.search(hits, "name "+path, []byte(d.Name()), maxNesting)
		if !d.Type().IsRegular() {
			return nil
		}
		n, found, err := c.searchFile(path)
		searched += n
		hits = append(hits, found...)
		return err
	})
	return hits, searched, err
}

// searchFile reads a file in windows that overlap by the longest pattern; a compressed stream is followed to the end of its window.
func (c *Canaries) searchFile(path string) (n int64, hits []Hit, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	const window, overlap = 64 << 20, 1 << 20
	buf := make([]byte, 0, 1<<20)
	for base := int64(0); ; {
		buf = slices.Grow(buf, window+overlap-len(buf))
		m, err := io.ReadFull(f, buf[len(buf):window+overlap])
		buf = buf[:len(buf)+m]
		n += int64(m)
		for _, h := range c.SearchBytes(path, buf) {
			h.At += base
			hits = append(hits, h)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return n, hits, nil
		}
		if err != nil {
			return n, hits, err
		}
		base += int64(len(buf) - overlap)
		buf = buf[:copy(buf, buf[len(buf)-overlap:])]
	}
}
