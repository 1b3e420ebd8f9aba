package compress_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/decant-dev/decant/node/compress"
)

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	words := strings.Fields("the old phone hands its whole collection to the new one and nothing is lost on the way, not a contact nor a picture nor a note; 17:40 2021 http")
	var b []byte
	for len(b) < n {
		b = append(append(b, words[r.IntN(len(words))]...), ' ')
	}
	return b[:n]
}

// half is random and repetitive bytes in turns of the given length.
func half(seed uint64, n, turn int) []byte {
	b := random(seed, n)
	for at := 0; at < n; at += 2 * turn {
		copy(b[at:min(at+turn, n)], text(seed, turn))
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	enc, dec := compress.NewEncoder(), compress.NewDecoder()
	for name, src := range map[string][]byte{
		"one byte": {7}, "zeros": make([]byte, compress.MaxChunk), "text": text(1, 300_000), "random": random(1, 300_000), "short text": text(1, 200),
		"half": half(1, 400_000, 4096), "largest text": text(2, compress.MaxChunk), "largest random": random(2, compress.MaxChunk),
	} {
		out, codec := enc.Encode([]byte("before"), src)
		if !bytes.HasPrefix(out, []byte("before")) {
			t.Fatalf("%s: what was there is gone", name)
		}
		frame := out[len("before"):]
		if codec == compress.Zstd && len(frame) >= len(src)*9/10 {
			t.Errorf("%s: %d bytes of zstd for %d", name, len(frame), len(src))
		}
		for _, dst := range [][]byte{nil, []byte("x"), make([]byte, 1, 1+len(src)), make([]byte, 1, 100+len(src))} {
			got, err := dec.Decode(dst, codec, frame, len(src))
			if err != nil || !bytes.Equal(got[:len(dst)], dst) || !bytes.Equal(got[len(dst):], src) {
				t.Errorf("%s, %v: %d bytes, %v", name, codec, len(got), err)
			}
		}
		for _, size := range []int{len(src) - 1, len(src) + 1} {
			if _, err := dec.Decode(nil, codec, frame, size); err == nil {
				t.Errorf("%s: %d bytes are given as %d", name, len(src), size)
			}
		}
	}
}

// worthTests says what Worth must say of what it will meet.
var worthTests = []struct {
	name string
	data []byte
	want bool
}{
	{"random", random(1, compress.MaxChunk), false},
	{"random, 4 KiB", random(1, 4096), false},
	{"random, 500 bytes", random(1, 500), false},
	{"random, 100 bytes", random(1, 100), false},
	{"text", text(1, compress.MaxChunk), true},
	{"text, 4 KiB", text(1, 4096), true},
	{"text, 300 bytes", text(1, 300), true},
	{"zeros", make([]byte, 10_000), true},
	{"base64", bytes.Repeat([]byte("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlq"), 500), true},
	{"half in 64 bytes", half(1, 200_000, 64), true},
	{"half in 512 bytes", half(1, 200_000, 512), true},
	{"half in 4 KiB", half(1, 200_000, 4096), true},
	{"half in 64 KiB", half(1, 500_000, 65536), true},
	{"random 16-bit numbers below 4096", sixteen(1, 100_000), true},
	{"nothing", nil, false},
}

func sixteen(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 4))
	var b []byte
	for range n / 2 {
		b = binary.LittleEndian.AppendUint16(b, uint16(r.IntN(4096)))
	}
	return b
}

func TestWorth(t *testing.T) {
	enc := compress.NewEncoder()
	for _, c := range worthTests {
		if got := compress.Worth(c.data); got != c.want {
			t.Errorf("%s: Worth is %v", c.name, got)
		}
		if c.want && len(c.data) > 256 {
			if _, codec := enc.Encode(nil, c.data); codec != compress.Zstd {
				t.Errorf("%s: does not shrink; the test is wrong", c.name)
			}
		}
	}
}

// TestWorthOfRealPhotos compares the probe with what zstd really makes of photos.
func TestWorthOfRealPhotos(t *testing.T) {
	root := "../../../shared/fixtures/exif"
	if _, err := os.Stat(root); err != nil {
		t.Skip("the photos are not on this machine")
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	files, wrong, missed := 0, 0, 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ext := strings.ToLower(filepath.Ext(path)); err != nil || ext != ".jpg" && ext != ".jpeg" && ext != ".webp" && ext != ".png" && ext != ".heic" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) < 8192 {
			return err
		}
		data = data[:min(len(data), compress.MaxChunk)]
		shrunk := len(z.EncodeAll(data, nil))
		worth, really := compress.Worth(data), shrunk < len(data)*9/10
		files++
		switch {
		case worth && !really:
			wrong++
			t.Logf("%s: tried in vain: %d bytes become %d", filepath.Base(path), len(data), shrunk)
		case !worth && shrunk < len(data)*8/10:
			missed++
			t.Logf("%s: missed: %d bytes become %d", filepath.Base(path), len(data), shrunk)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d photos: %d tried in vain, %d missed", files, wrong, missed)
	if files == 0 || wrong > files/10 || missed > files/10 {
		t.Errorf("of %d photos %d are tried in vain, %d missed", files, wrong, missed)
	}
}

var raceEnabled = false

func TestSteadyStateAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("not with the race detector")
	}
	enc, dec := compress.NewEncoder(), compress.NewDecoder()
	src := text(1, 500_000)
	buf, back := make([]byte, 0, len(src)+compress.EncodeSlack), make([]byte, 0, len(src)+64)
	frame, codec := enc.Encode(buf, src)
	noise := random(1, 500_000)
	for name, fn := range map[string]func(){
		"worth":       func() { compress.Worth(src) },
		"encode":      func() { enc.Encode(buf, src) },
		"encode raw":  func() { enc.Encode(buf, noise) },
		"decode":      func() { dec.Decode(back, codec, frame, len(src)) },
		"decode lies": func() { dec.Decode(back, codec, frame, len(src)-1) },
	} {
		if n := testing.AllocsPerRun(20, fn); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
		frame, codec = enc.Encode(buf, src)
	}
}

// zframe writes zstd frames by hand.
type zframe struct{ b []byte }

func newFrame(desc byte, fields ...byte) *zframe {
	return &zframe{append([]byte{0x28, 0xB5, 0x2F, 0xFD, desc}, fields...)}
}

func (f *zframe) block(last bool, kind, size uint32, body ...byte) *zframe {
	h := kind<<1 | size<<3
	if last {
		h |= 1
	}
	f.b = append(append(f.b, byte(h), byte(h>>8), byte(h>>16)), body...)
	return f
}

// size4 is a content size of four bytes.
func size4(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

const single4 = 2<<6 | 1<<5 // single segment, content size of four bytes

// hostile are frames that must be refused, with the size that their sender declares.
func hostile(t testing.TB) map[string]struct {
	frame []byte
	size  int
	want  error
} {
	enc := compress.NewEncoder()
	good, codec := enc.Encode(nil, text(1, 5000))
	if codec != compress.Zstd {
		t.Fatal("text is not compressed")
	}
	rle := newFrame(single4, size4(1<<20)...) // what it says, it is: 8 blocks of 128 KiB
	for i := range 8 {
		rle.block(i == 7, 1, 128<<10, 'x')
	}
	bomb := newFrame(single4, size4(1<<20)...)
	for range 10 << 10 / 4 {
		bomb.block(false, 1, 128<<10, 'x')
	}
	bomb.block(true, 0, 0)
	empties := newFrame(single4, size4(1<<20)...)
	for range 300_000 {
		empties.block(false, 0, 0)
	}
	empties.block(true, 1, 128<<10, 'x')
	skippable := bytes.Repeat([]byte{0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0}, 100_000)
	dict := newFrame(single4|1, append([]byte{5}, size4(10)...)...).block(true, 1, 10, 'x').b
	window := newFrame(2<<6, append([]byte{(29 - 10) << 3}, size4(10)...)...).block(true, 1, 10, 'x').b
	unknown := newFrame(0, (29-10)<<3).block(true, 1, 10, 'x').b
	checksum := append(newFrame(single4|4, size4(10)...).block(true, 1, 10, 'x').b, 1, 2, 3, 4)
	huge := newFrame(3<<6|1<<5, 0, 0, 0, 0, 0, 0, 0, 1).block(true, 1, 10, 'x').b // 2⁵⁶
	type c = struct {
		frame []byte
		size  int
		want  error
	}
	return map[string]c{
		"bomb of 10 KiB":            {bomb.b, 1 << 20, compress.ErrProfile},
		"bomb that says its size":   {huge, 10, compress.ErrProfile},
		"300,000 empty blocks":      {empties.b, 1 << 20, compress.ErrCorrupt},
		"skippable frames only":     {skippable, 10, compress.ErrProfile},
		"skippable frame before":    {append(bytes.Clone(skippable[:8]), good...), 5000, compress.ErrProfile},
		"skippable frame behind":    {append(bytes.Clone(good), skippable[:8]...), 5000, compress.ErrProfile},
		"two frames":                {append(bytes.Clone(good), good...), 10_000, compress.ErrProfile},
		"two frames, size of one":   {append(bytes.Clone(good), good...), 5000, compress.ErrProfile},
		"trailing byte":             {append(bytes.Clone(good), 0), 5000, compress.ErrProfile},
		"dictionary":                {dict, 10, compress.ErrProfile},
		"window of 512 MiB":         {window, 10, compress.ErrProfile},
		"no content size":           {unknown, 10, compress.ErrProfile},
		"checksum that lies":        {checksum, 10, compress.ErrProfile},
		"reserved bit":              {newFrame(single4|8, size4(10)...).block(true, 1, 10, 'x').b, 10, compress.ErrProfile},
		"reserved block type":       {newFrame(single4, size4(10)...).block(true, 3, 10, 'x').b, 10, compress.ErrProfile},
		"no last block":             {newFrame(single4, size4(10)...).block(false, 1, 10, 'x').b, 10, compress.ErrProfile},
		"raw block past the end":    {newFrame(single4, size4(10)...).block(true, 0, 10, 'x').b, 10, compress.ErrProfile},
		"less than said":            {newFrame(single4, size4(10)...).block(true, 1, 9, 'x').b, 10, compress.ErrCorrupt},
		"more than said":            {newFrame(single4, size4(10)...).block(true, 1, 11, 'x').b, 10, compress.ErrProfile},
		"other size than declared":  {rle.b, 1<<20 - 1, compress.ErrProfile},
		"compressed block of noise": {newFrame(single4, size4(1000)...).block(true, 2, 100, random(1, 100)...).b, 1000, compress.ErrCorrupt},
		"cut off":                   {good[:len(good)-1], 5000, compress.ErrProfile},
		"empty":                     {nil, 10, compress.ErrProfile},
		"not zstd":                  {[]byte("hello world"), 11, compress.ErrProfile},
		"larger than a chunk":       {newFrame(single4, size4(1<<20+1)...).block(true, 1, 10, 'x').b, 1<<20 + 1, compress.ErrSize},
		"empty chunk":               {newFrame(single4, size4(0)...).block(true, 0, 0).b, 0, compress.ErrSize},
		"negative":                  {good, -1, compress.ErrSize},
	}
}

func TestRT12E14HostileFramesAreRefused(t *testing.T) {
	dec := compress.NewDecoder()
	for name, c := range hostile(t) {
		start := time.Now()
		out, err := dec.Decode(nil, compress.Zstd, c.frame, c.size)
		if !errors.Is(err, c.want) || len(out) != 0 {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(out), err, c.want)
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%s: took %v", name, d)
		}
	}
	good, codec := compress.NewEncoder().Encode(nil, text(1, 5000))
	if _, err := dec.Decode(nil, codec, good, 5000); err != nil {
		t.Error("after all that a good frame is refused:", err)
	}
	if _, err := dec.Decode(nil, 2, good, 5000); !errors.Is(err, compress.ErrCodec) {
		t.Errorf("unknown codec: %v", err)
	}
	if _, err := dec.Decode(nil, compress.Raw, good, 5000); !errors.Is(err, compress.ErrSize) {
		t.Errorf("raw frame of another size: %v", err)
	}
}

// TestRT12HostileFramesCostNoMemory bounds what all hostile frames together allocate.
func TestRT12HostileFramesCostNoMemory(t *testing.T) {
	dec := compress.NewDecoder()
	frames := hostile(t)
	dst := make([]byte, 0, compress.MaxChunk+64)
	const runs = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		for _, c := range frames {
			dec.Decode(dst, compress.Zstd, c.frame, c.size)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > 1<<20 {
		t.Errorf("refusing %d frames allocates %d bytes", len(frames), got)
	}
}

func FuzzDecode(f *testing.F) {
	enc, dec := compress.NewEncoder(), compress.NewDecoder()
	for _, src := range [][]byte{text(1, 100), text(1, 5000), half(1, 200_000, 512), make([]byte, 70_000)} {
		frame, codec := enc.Encode(nil, src)
		f.Add(uint8(codec), frame, len(src))
	}
	for _, c := range hostile(f) {
		if len(c.frame) < 1000 {
			f.Add(uint8(compress.Zstd), c.frame, c.size)
		}
	}
	ref, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, codec uint8, frame []byte, size int) {
		out, err := dec.Decode([]byte("x"), compress.Codec(codec), frame, size)
		if err != nil {
			if string(out) != "x" {
				t.Fatalf("on an error dst becomes %q", out)
			}
			return
		}
		if len(out) != 1+size || out[0] != 'x' {
			t.Fatalf("%d bytes for %d", len(out)-1, size)
		}
		if compress.Codec(codec) == compress.Zstd { // a decoder without our checks gives the same
			if want, err := ref.DecodeAll(frame, nil); err != nil || !bytes.Equal(want, out[1:]) {
				t.Fatalf("another decoder says %v", err)
			}
		}
		again, c := enc.Encode(nil, out[1:])
		if back, err := dec.Decode(nil, c, again, size); err != nil || !bytes.Equal(back, out[1:]) {
			t.Fatalf("encoded and decoded again: %v", err)
		}
	})
}

func BenchmarkWorth(b *testing.B) {
	for _, n := range []int{4096, compress.MaxChunk} {
		data := random(1, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				compress.Worth(data)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, src := range map[string][]byte{"text": text(1, compress.MaxChunk), "random": random(1, compress.MaxChunk), "half": half(1, compress.MaxChunk, 4096)} {
		b.Run(name, func(b *testing.B) {
			enc := compress.NewEncoder()
			dst := make([]byte, 0, len(src)+compress.EncodeSlack)
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				out, _ = enc.Encode(dst, src)
			}
			b.ReportMetric(float64(len(out))/float64(len(src)), "ratio")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	src := text(1, compress.MaxChunk)
	frame, codec := compress.NewEncoder().Encode(nil, src)
	dec, dst := compress.NewDecoder(), make([]byte, 0, len(src)+64)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dec.Decode(dst, codec, frame, len(src)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestReferenceLibrary holds the profile against the zstd command, both ways.
func TestReferenceLibrary(t *testing.T) {
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("there is no zstd command on this machine")
	}
	src := text(9, 300_000)
	dir := t.TempDir()
	plain, packed := filepath.Join(dir, "plain"), filepath.Join(dir, "packed.zst")
	if err := os.WriteFile(plain, src, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"-1", "-3", "-19"} {
		frame, err := exec.Command(tool, "-q", "-c", "--no-check", level, plain).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := compress.NewDecoder().Decode(nil, compress.Zstd, frame, len(src)); err != nil || !bytes.Equal(got, src) {
			t.Errorf("level %s is refused: %v", level, err)
		}
	}
	frame, _ := compress.NewEncoder().Encode(nil, src)
	if err := os.WriteFile(packed, frame, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := exec.Command(tool, "-q", "-d", "-c", packed).Output(); err != nil || !bytes.Equal(got, src) {
		t.Errorf("the reference library refuses our frame: %v", err)
	}
}
