package journal

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/crypto/seal"
)

var (
	cuts  = flag.Int("cuts", 80, "batches before which the power is cut, four or five times each (adversity R-3)")
	tails = flag.Int("tails", 240, "ends of the journal's files to damage (adversity R-7)")
	flips = flag.Int("flips", 240, "bits of the journal's files to flip (adversity R-8)")
)

// lived is a journal's files after some batches, of which all were durable.
type lived struct {
	fs   *vfs.MemFS
	key  seal.Key
	rows map[string][]byte
}

// newLived writes batches; the journal is then closed, or its process killed.
func newLived(t *testing.T, closed bool) *lived {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	mem := vfs.NewCrashableMem()
	l := &lived{mem, seal.NewKey(), map[string][]byte{}}
	j, err := OpenOn(mem, "journal", l.key, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		b := j.Batch()
		for i := range 5 {
			k, v := fmt.Sprintf("%03d/%d", n, i), make([]byte, rng.IntN(2000))
			for i := range v {
				v[i] = byte(rng.Uint32())
			}
			l.rows[k] = v
			if i == 0 {
				b.PutSecret([]byte(k), v)
			} else {
				b.Put([]byte(k), v)
			}
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if !closed {
		l.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return l
}

// damaged is the same files, of which one went through change, and its name. Nil if there was nothing to change.
func (l *lived) damaged(t *testing.T, rng *rand.Rand, change func([]byte) []byte) (*vfs.MemFS, string) {
	t.Helper()
	names, err := l.fs.List("journal")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "LOCK" })
	slices.Sort(names)
	victim := names[rng.IntN(len(names))]
	to := vfs.NewMem()
	if err := to.MkdirAll("journal", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b := l.read(t, "journal/"+n)
		if n == victim {
			if len(b) == 0 {
				return nil, n
			}
			b = change(b)
		}
		f, err := to.Create("journal/"+n, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(b)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return to, victim
}

func (l *lived) read(t *testing.T, path string) []byte {
	t.Helper()
	info, err := l.fs.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, info.Size())
	if len(b) > 0 {
		_, err = f.ReadAt(b, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a journal made of damaged files.
const (
	refused  = "refused to open"
	whole    = "everything is there"
	noticed  = "what is damaged is refused where it is read"
	forgot   = "opened with the last batches forgotten"
	torn     = "opened with a part of a batch, or a gap"
	changed  = "gave out what was never written"
	panicked = "panicked"
)

// open opens the journal on damaged files and compares what it gives. The store may give up at any time, in any goroutine.
func (l *lived) open(fs vfs.FS) (verdict string, why error) {
	type answer struct {
		verdict string
		why     error
	}
	done := make(chan answer, 4)
	fatal := func(m string) {
		done <- answer{refused, errors.New(m)}
		runtime.Goexit()
	}
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- answer{panicked, fmt.Errorf("%v", p)}
			}
		}()
		verdict, why := l.compared(fs, fatal)
		done <- answer{verdict, why}
	}()
	a := <-done
	return a.verdict, a.why
}

func (l *lived) compared(fs vfs.FS, fatal func(string)) (string, error) {
	j, err := OpenOn(fs, "journal", l.key, fatal)
	if err != nil {
		return refused, err
	}
	defer j.Close()
	batches := map[int]int{}
	err = j.Each([]byte("0"), func(k, v []byte) error {
		want, ok := l.rows[string(k)]
		if strings.HasSuffix(string(k), "/0") {
			if v, err = j.GetSecret(k); err != nil {
				return err
			}
		}
		if !ok || !bytes.Equal(v, want) {
			return errChanged
		}
		var n, i int
		fmt.Sscanf(string(k), "%d/%d", &n, &i)
		batches[n]++
		return nil
	})
	switch {
	case errors.Is(err, errChanged):
		return changed, err
	case err != nil:
		return noticed, err
	}
	for n := range len(batches) {
		if batches[n] != 5 {
			return torn, fmt.Errorf("batch %d of %d has %d of 5 records", n, len(batches), batches[n])
		}
	}
	if len(batches) < len(l.rows)/5 {
		return forgot, fmt.Errorf("%d of %d batches", len(batches), len(l.rows)/5)
	}
	return whole, nil
}

var errChanged = errors.New("another value")

// ends are the ways to damage the last n bytes of a file.
var ends = []func(rng *rand.Rand, b []byte, n int) []byte{
	func(_ *rand.Rand, b []byte, n int) []byte { return b[:len(b)-n] },
	func(_ *rand.Rand, b []byte, n int) []byte { clear(b[len(b)-n:]); return b },
	func(rng *rand.Rand, b []byte, n int) []byte {
		for i := len(b) - n; i < len(b); i++ {
			b[i] = byte(rng.Uint32())
		}
		return b
	},
}

// TestR7JournalEnds cuts, zeroes and garbles the last 1 to 8,192 bytes of every file that a device's journal has left. What was closed is never
// silently less; of a killed device's log the last batches may be, which is what a torn write looks like.
func TestR7JournalEnds(t *testing.T) {
	for _, closed := range []bool{true, false} {
		l, rng, verdicts := newLived(t, closed), rand.New(rand.NewPCG(7, 7)), map[string]int{}
		for range *tails / 2 {
			how, size := ends[rng.IntN(len(ends))], 1+rng.IntN(8192)
			fs, name := l.damaged(t, rng, func(b []byte) []byte { return how(rng, b, min(size, len(b))) })
			if fs == nil {
				continue
			}
			verdict, why := l.open(fs)
			verdicts[verdict]++
			killed := !closed && strings.HasSuffix(name, ".log")
			if verdict == panicked || verdict == torn || verdict == changed || verdict == forgot && !killed {
				t.Errorf("closed %v, last %d bytes of %s: %s: %v", closed, size, name, verdict, why)
			}
		}
		t.Logf("closed %v: %v", closed, verdicts)
		if verdicts[refused] == 0 {
			t.Error("no damage was noticed")
		}
	}
}

// TestR8JournalFlips flips one bit at a time of a closed journal's files: it refuses to open, or refuses what it reads, or has everything.
func TestR8JournalFlips(t *testing.T) {
	l, rng, verdicts := newLived(t, true), rand.New(rand.NewPCG(8, 8)), map[string]int{}
	for range *flips {
		fs, name := l.damaged(t, rng, func(b []byte) []byte { b[rng.IntN(len(b))] ^= 1 << rng.IntN(8); return b })
		if fs == nil {
			continue
		}
		verdict, why := l.open(fs)
		verdicts[verdict]++
		if verdict != refused && verdict != noticed && verdict != whole {
			t.Errorf("a bit of %s: %s: %v", name, verdict, why)
		}
	}
	t.Log(verdicts)
	if verdicts[refused]+verdicts[noticed] == 0 {
		t.Error("no damage was noticed")
	}
}
