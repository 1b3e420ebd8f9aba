package server_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	pathpkg "path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// lived is a server's files after some sessions, and what was promised.
type lived struct {
	fs     *vfs.MemFS
	trails []trail
}

// newLived runs sessions; the server is then stopped in order, or killed.
func newLived(t *testing.T, stop bool) *lived {
	t.Helper()
	mem := vfs.NewCrashableMem()
	w := prepare(t, server.Config{Dir: "state", FS: mem})
	w.direct = true
	w.open()
	h := &history{}
	mustNot(t, h.live(w, rand.New(rand.NewPCG(1, 1)), 6, func() bool { return false }))
	if stop {
		w.stop()
		return &lived{mem, h.copy()}
	}
	killed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
	w.stop()
	return &lived{killed, h.copy()}
}

// copy is the same files again, to be damaged.
func (l *lived) copy(t *testing.T) *vfs.MemFS {
	t.Helper()
	to := vfs.NewMem()
	mustNot(t, to.MkdirAll("state", 0o700))
	for _, p := range l.files(t) {
		mustNot(t, to.MkdirAll(pathpkg.Dir(p), 0o700))
		f, err := to.Create(p, vfs.WriteCategoryUnspecified)
		mustNot(t, err)
		_, err = f.Write(read(t, l.fs, p))
		mustNot(t, err)
		mustNot(t, f.Close())
	}
	return to
}

// files lists the database's and the blobs' files.
func (l *lived) files(t *testing.T) (list []string) {
	t.Helper()
	var walk func(dir string)
	walk = func(dir string) {
		names, err := l.fs.List(dir)
		mustNot(t, err)
		slices.Sort(names)
		for _, n := range names {
			p := pathpkg.Join(dir, n)
			info, err := l.fs.Stat(p)
			mustNot(t, err)
			switch {
			case info.IsDir():
				walk(p)
			case n != "LOCK":
				list = append(list, p)
			}
		}
	}
	walk("state")
	return list
}

func read(t *testing.T, fs vfs.FS, p string) []byte {
	t.Helper()
	info, err := fs.Stat(p)
	mustNot(t, err)
	f, err := fs.Open(p)
	mustNot(t, err)
	defer f.Close()
	b := make([]byte, info.Size())
	if len(b) > 0 {
		_, err = f.ReadAt(b, 0)
		mustNot(t, err)
	}
	return b
}

func write(t *testing.T, fs vfs.FS, p string, b []byte) {
	t.Helper()
	f, err := fs.Create(p, vfs.WriteCategoryUnspecified)
	mustNot(t, err)
	_, err = f.Write(b)
	mustNot(t, err)
	mustNot(t, f.Close())
}

// What a server made of damaged files.
const (
	refused  = "refused to open"
	whole    = "everything is there"
	noticed  = "what is damaged is refused or gone by its row"
	forgot   = "opened with something forgotten"
	panicked = "panicked"
)

// open opens a server on damaged files and compares it with what was promised. The database may give up at any time, in any goroutine.
func (l *lived) open(t *testing.T, fs vfs.FS) (verdict string, why error) {
	type answer struct {
		verdict string
		why     error
	}
	done := make(chan answer, 2)
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
		verdict, why := l.served(t, fs, fatal)
		done <- answer{verdict, why}
	}()
	a := <-done
	return a.verdict, a.why
}

func (l *lived) served(t *testing.T, fs vfs.FS, fatal func(string)) (verdict string, why error) {
	w := prepare(t, server.Config{Dir: "state", FS: fs, Fatal: fatal})
	w.direct = true
	s, err := server.New(w.config)
	if err != nil {
		return refused, err
	}
	w.Server, w.handler = s, authenticated(s.Handler())
	err = kept(w, ownDevices(slices.Clone(l.trails)), l.trails)
	if e := s.Close(); e != nil && err == nil {
		return noticed, e
	}
	switch {
	case err == nil:
		return whole, nil
	case wire.StatusOf(err) == wire.Internal: // the call that needs it fails, and says so
		return noticed, err
	}
	return forgot, err
}

// ends are the ways to damage the last n bytes of a file.
var ends = []struct {
	name string
	do   func(rng *rand.Rand, b []byte, n int) []byte
}{
	{"cut", func(_ *rand.Rand, b []byte, n int) []byte { return b[:len(b)-n] }},
	{"zeros", func(_ *rand.Rand, b []byte, n int) []byte { clear(b[len(b)-n:]); return b }},
	{"garbled", func(rng *rand.Rand, b []byte, n int) []byte {
		for i := len(b) - n; i < len(b); i++ {
			b[i] = byte(rng.Uint32())
		}
		return b
	}},
}

// TestR7DamagedEnds cuts, zeroes and garbles the last 1 to 8,192 bytes of every file that a server has left. After an orderly
// stop, nothing is ever silently missing; after a kill, only what stood at the end of the log (docs/OPERATIONS.md "Bit rot"). -tails N: so many.
func TestR7DamagedEnds(t *testing.T) {
	n := *tails
	if n == 0 {
		n = 120
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for _, stop := range []bool{true, false} {
		l := newLived(t, stop)
		files, verdicts := l.files(t), map[string]int{}
		for i := range n / 2 {
			p := files[i%len(files)]
			how := ends[rng.IntN(len(ends))]
			fs := l.copy(t)
			b := read(t, fs, p)
			if len(b) == 0 {
				continue
			}
			size := min(1+rng.IntN(8192), len(b))
			write(t, fs, p, how.do(rng, b, size))
			verdict, why := l.open(t, fs)
			verdicts[verdict]++
			log := !stop && strings.HasSuffix(p, ".log")
			blob := strings.HasPrefix(p, "state/blobs")
			if verdict == panicked || verdict == forgot && !log && !blob {
				t.Errorf("stopped in order %v, last %d bytes of %s %s: %s: %v", stop, size, p, how.name, verdict, why)
			}
		}
		t.Logf("stopped in order %v: %v", stop, verdicts)
		if verdicts[refused] == 0 {
			t.Error("no damage was noticed")
		}
	}
}

// TestR8EveryFlip flips one bit at a time: of blobs, which a single scrub, or whoever asks for the blob, must find; and of the files of a
// stopped server's database, over which it refuses to open, or fails where it reads, or all is there. Nothing changed is ever given out.
// -flips N: so many, a fiftieth of them in the database.
func TestR8EveryFlip(t *testing.T) {
	n := *flips
	if n == 0 {
		n = 600
	}
	flipBlobs(t, n)
	l := newLived(t, true)
	rng := rand.New(rand.NewPCG(8, 8))
	files := slices.DeleteFunc(l.files(t), func(p string) bool { return !strings.HasPrefix(p, "state/db/") })
	verdicts := map[string]int{}
	for range n / 50 {
		p := files[rng.IntN(len(files))]
		fs := l.copy(t)
		b := read(t, fs, p)
		if len(b) == 0 {
			continue
		}
		at := rng.IntN(len(b))
		b[at] ^= 1 << rng.IntN(8)
		write(t, fs, p, b)
		verdict, why := l.open(t, fs)
		verdicts[verdict]++
		if verdict == panicked || verdict == forgot {
			t.Errorf("byte %d of %s: %s: %v", at, p, verdict, why)
		}
	}
	t.Logf("the database: %v", verdicts)
}

// flipBlobs flips a bit of each blob of some sessions, has half of them found by who asks and the others by a scrub.
func flipBlobs(t *testing.T, n int) {
	t.Helper()
	const perRound = 200 // in one segment
	fs := vfs.NewMem()
	w := startDirect(t, server.Config{Dir: "state", FS: fs})
	d := w.device()
	rng := rand.New(rand.NewPCG(8, 1))
	blob := blobOf(id.NewBlob())
	asked, scrubbed := 0, 0
	for done := 0; done < n; done += perRound {
		sid, names := id.NewSession(), make([]id.Blob, perRound)
		d.must(d.open(sid, perRound))
		for i := range names {
			names[i] = id.NewBlob()
			d.must(d.put(sid, names[i], blob))
		}
		f, err := fs.OpenReadWrite("state/blobs/"+sid.String()[:2]+"/"+sid.String()+"-0", vfs.WriteCategoryUnspecified)
		mustNot(t, err)
		for i := range names {
			at := int64(i)*wire.BlobSizeS + rng.Int64N(wire.BlobSizeS)
			b := make([]byte, 1)
			_, err := f.ReadAt(b, at)
			mustNot(t, err)
			_, err = f.WriteAt([]byte{b[0] ^ 1<<rng.IntN(8)}, at)
			mustNot(t, err)
		}
		mustNot(t, f.Close())
		for _, i := range rng.Perm(perRound)[:perRound/2] {
			if w.givesOut(d, sid, names[i]) {
				t.Fatal("a changed blob was given out")
			}
			asked++
		}
		_, damaged, err := w.Scrub(t.Context(), func(int64) error { return nil })
		mustNot(t, err)
		if scrubbed += int(damaged); damaged != perRound-perRound/2 {
			t.Fatalf("one scrub found %d of %d", damaged, perRound-perRound/2)
		}
		_, err = call(d, "Revoke", &serverpb.RevokeRequest{Session: sid[:]}, &serverpb.RevokeResponse{})
		d.must(err)
		w.sweep()
	}
	t.Logf("blobs: %d bits flipped, %d found by who asked, %d by a scrub, 0 silent", asked+scrubbed, asked, scrubbed)
}

// givesOut reports whether a blob leaves the server whole. What is found damaged on the way ends the connection early.
func (w *world) givesOut(d *device, sid id.Session, name id.Blob) (whole bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	s, body := d.raw(http.MethodGet, path(sid, name), nil)
	return s == wire.OK && len(body) >= wire.BlobSizeS
}
