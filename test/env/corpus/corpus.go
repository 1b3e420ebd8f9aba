// Package corpus makes the collections on which Decant is measured and compares what
// arrived with what was sent. Everything follows from a seed. It stands outside of the
// protocol: docs/ARCHITECTURE.md gives the figures taken with it.
package corpus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// Spec describes a corpus: what kinds of files and how many.
type Spec struct {
	Name  string
	Parts []Part
}

// Part is a number of files of one sort, in directories of PerDir.
type Part struct {
	Dir    string // below the corpus
	Ext    string // of the files' names, with the dot
	Count  int
	PerDir int
	Min    int64 // bytes, inclusive
	Max    int64 // bytes, inclusive
	Fill   Filling
}

// Filling is what files consist of.
type Filling uint8

// The fillings.
const (
	Random Filling = iota // does not compress
	JPEG                  // Random behind the first bytes of a JPEG file
	Text                  // compresses about threefold
	Half                  // alternately 4 KiB of Random and of Text
)

// The corpora of the bench. One million tiny files measure memory, not speed.
var (
	Large   = Spec{"large", []Part{{Dir: "video", Ext: ".bin", Count: 1, PerDir: 1, Min: 1 << 30, Max: 1 << 30, Fill: Random}}}
	Handset = Spec{"handset", []Part{
		{Dir: "photos", Ext: ".jpg", Count: 600, PerDir: 200, Min: 512 << 10, Max: 4 << 20, Fill: JPEG},
		{Dir: "texts", Ext: ".txt", Count: 5000, PerDir: 200, Min: 300, Max: 8 << 10, Fill: Text},
		{Dir: "documents", Ext: ".doc", Count: 200, PerDir: 100, Min: 100 << 10, Max: 500 << 10, Fill: Half},
	}}
	Small   = Spec{"small", []Part{{Dir: "small", Ext: ".txt", Count: 50_000, PerDir: 200, Min: 200, Max: 2 << 10, Fill: Text}}}
	Million = Spec{"million", []Part{{Dir: "tiny", Ext: ".txt", Count: 1_000_000, PerDir: 1000, Min: 16, Max: 64, Fill: Text}}}
)

// All lists the corpora.
var All = []Spec{Large, Handset, Small, Million}

// Scaled returns the spec with a part of its files, and of the bytes of the single one.
func (s Spec) Scaled(f float64) Spec {
	out := Spec{Name: s.Name}
	for _, p := range s.Parts {
		if p.Count == 1 {
			p.Min, p.Max = int64(float64(p.Min)*f), int64(float64(p.Max)*f)
		}
		p.Count = max(1, int(float64(p.Count)*f))
		out.Parts = append(out.Parts, p)
	}
	return out
}

// stamp is the time around which all files were changed.
var stamp = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// Generate makes the corpus below dir, with as many workers as there are processors, and
// returns the number of bytes in its files.
func Generate(dir string, s Spec, seed uint64) (int64, error) {
	type job struct {
		part  int
		first int // number of its first file
	}
	var jobs []job
	for i, p := range s.Parts {
		for first := 0; first < p.Count; first += p.PerDir {
			jobs = append(jobs, job{i, first})
		}
	}
	prose := newProse(seed)
	sums := make([]int64, runtime.GOMAXPROCS(0))
	g, ctx := errgroup.WithContext(context.Background())
	for w := range sums {
		g.Go(func() error {
			m := maker{prose: prose, chacha: rand.NewChaCha8([32]byte{byte(w)})}
			for i := w; i < len(jobs) && ctx.Err() == nil; i += len(sums) {
				n, err := m.directory(dir, s.Parts[jobs[i].part], jobs[i].first, seed+uint64(jobs[i].part)<<32)
				if err != nil {
					return err
				}
				sums[w] += n
			}
			return nil
		})
	}
	err := g.Wait()
	for _, p := range s.Parts {
		if err == nil {
			err = os.Chtimes(filepath.Join(dir, p.Dir), stamp, stamp)
		}
	}
	var total int64
	for _, n := range sums {
		total += n
	}
	return total, err
}

// maker is one worker.
type maker struct {
	prose  []byte
	chacha *rand.ChaCha8
	buf    []byte
}

// directory makes the files of one directory, the first of which has the number first.
func (m *maker) directory(root string, p Part, first int, seed uint64) (total int64, err error) {
	dir := filepath.Join(root, p.Dir, fmt.Sprintf("%04d", first/p.PerDir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	at, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer at.Close()
	for i := first; i < min(first+p.PerDir, p.Count); i++ {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		size := p.Min + r.Int64N(p.Max-p.Min+1)
		if err := m.file(at, fmt.Sprintf("f%07d%s", i, p.Ext), size, p.Fill, r); err != nil {
			return total, err
		}
		total += size
	}
	t := stamp.Add(time.Duration(first) * time.Second)
	return total, os.Chtimes(dir, t, t)
}

// block is how much of a file is made at a time.
const block = 1 << 20

func (m *maker) file(at *os.Root, name string, size int64, fill Filling, r *rand.Rand) error {
	f, err := at.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	var key [32]byte
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	m.chacha.Seed(key)
	for done := int64(0); done < size && err == nil; {
		m.buf = m.fill(m.buf[:0], int(min(block, size-done)), fill, r)
		if done == 0 && fill == JPEG {
			copy(m.buf, "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
		}
		_, err = f.Write(m.buf)
		done += int64(len(m.buf))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	t := stamp.Add(time.Duration(r.Int64N(int64(1000 * time.Hour))))
	return at.Chtimes(name, t, t)
}

// fill appends n bytes to dst.
func (m *maker) fill(dst []byte, n int, fill Filling, r *rand.Rand) []byte {
	const alternate = 4 << 10
	for len(dst) < n {
		switch left := n - len(dst); {
		case fill == Text:
			dst = m.text(dst, left, r)
		case fill == Half && len(dst)/alternate%2 == 1:
			dst = m.text(dst, min(left, alternate), r)
		case fill == Half:
			dst = m.random(dst, min(left, alternate))
		default:
			dst = m.random(dst, left)
		}
	}
	return dst
}

func (m *maker) random(dst []byte, n int) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	m.chacha.Read(dst[at:])
	return dst
}

// text appends n bytes in pieces from anywhere in the prose, each with a number before it.
func (m *maker) text(dst []byte, n int, r *rand.Rand) []byte {
	end := len(dst) + n
	for len(dst) < end {
		dst = fmt.Appendf(dst, "%d ", r.Uint32())
		piece := 40 + r.IntN(120)
		from := r.IntN(len(m.prose) - piece)
		dst = append(dst, m.prose[from:from+piece]...)
		dst = append(dst, '\n')
	}
	return dst[:end]
}

// newProse makes 256 KiB of words.
func newProse(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0x70726f7365))
	words := make([][]byte, 3000)
	for i := range words {
		w := make([]byte, 2+r.IntN(9))
		for j := range w {
			w[j] = "etaoinshrdlucmfwypvbgkjqxz"[min(r.IntN(26), r.IntN(26))]
		}
		words[i] = append(w, ' ')
	}
	b := make([]byte, 0, 256<<10)
	for len(b) < 256<<10-16 {
		b = append(b, words[min(r.IntN(len(words)), r.IntN(len(words)))]...)
	}
	return b
}
