package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// crashing is a store whose machine loses power at one of its puts, before or after the blob is durable: what the
// journal's disk holds then is kept, and nothing works any more.
type crashing struct {
	BlobStore
	mu   sync.Mutex
	left int
	disk *vfs.MemFS
	kept *vfs.MemFS
}

func (c *crashing) Put(ctx context.Context, name id.Blob, blob []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left > 0 {
		return c.BlobStore.Put(ctx, name, blob)
	}
	if c.left == 0 {
		if mrand.IntN(2) == 0 {
			c.BlobStore.Put(ctx, name, blob)
		}
		c.kept = c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: mrand.IntN(101), RNG: mrand.New(mrand.NewPCG(1, 2))})
	}
	return errDied
}

// TestPowerCutsWhileSending loses power again and again in the middle of a large file and of many small ones, and goes
// on with what the disk has kept: the transfer ends, whole, and reads little more than once.
func TestPowerCutsWhileSending(t *testing.T) {
	w := newWorld(t)
	w.write("large.bin", random(5_000_000))
	for i := range 400 {
		w.write(fmt.Sprintf("small/%03d", i), random(5000))
	}
	w.write("book.vcf", []byte(card("a")+card("b")))
	const total = 5_000_000 + 400*5000
	memory, key := w.store, seal.NewKey()
	disk := vfs.NewCrashableMem()
	cuts := 0
	for left := 2; ; left += 2 {
		j, err := journal.OpenOn(disk, "journal", key, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &crashing{BlobStore: memory, left: left, disk: disk}
		w.store, w.j = c, j
		root, err := w.send(1, id.Commit{1})
		j.Close()
		if err == nil {
			w.store = memory
			w.check(root)
			break
		}
		if !errors.Is(err, errDied) {
			t.Fatal(err)
		}
		disk = c.kept
		cuts++
	}
	if cuts < 4 {
		t.Fatalf("only %d cuts", cuts)
	}
	if most := int64(total + cuts*(3+3+2+1)*wire.BlobSizeS); w.read > most {
		t.Errorf("read %d bytes of %d with %d cuts", w.read, total, cuts)
	}
}

// TestManyPages has several pages of a kind, epochs that touch some of them, and deaths in between.
func TestManyPages(t *testing.T) {
	old := maxPageItems
	maxPageItems = 16
	defer func() { maxPageItems = old }()
	w := newWorld(t)
	memory := w.store
	for i := range 150 {
		w.write(fmt.Sprintf("d%d/%03d.txt", i%4, i), random(i%7*100))
		w.write(fmt.Sprintf("d%d/%03d.jpg", i%4, i), random(2000))
		w.write(fmt.Sprintf("books/%03d.vcf", i), []byte(card(fmt.Sprint(i))+card(fmt.Sprint(-i))))
	}
	v := &device{w: w}
	for epoch := uint64(1); epoch < 7; epoch++ {
		var root *manifest.Root
		err := errDied
		for left := 0; errors.Is(err, errDied); left++ {
			w.store = &failing{BlobStore: memory, left: left}
			root, err = w.send(epoch, id.Commit{1})
		}
		if err != nil || root == nil {
			t.Fatalf("epoch %d: %v, %v", epoch, root, err)
		}
		w.store = memory
		w.check(root)
		records := map[item.Ordinal]int{}
		for _, it := range w.items(root) {
			if it.Form == item.FormRecord && it.Lost == item.ReasonNone {
				records[it.Container]++
			}
		}
		for o, n := range records {
			if n != 2 || len(records) != 150 {
				t.Fatalf("epoch %d: %d of 150 books have records, book %d has %d of 2", epoch, len(records), o, n)
			}
		}
		if epoch > 1 {
			v.settle(root)
		}
		for range 12 {
			i := mrand.IntN(150)
			name := fmt.Sprintf("d%d/%03d.%s", mrand.IntN(4), i, []string{"txt", "jpg"}[mrand.IntN(2)])
			switch mrand.IntN(3) {
			case 0:
				w.remove(name)
			default:
				w.write(name, random(mrand.IntN(3000)))
			}
			w.write(fmt.Sprintf("books/%03d.vcf", i), []byte(card(fmt.Sprint(i))+card(fmt.Sprint(mrand.Int()))))
		}
	}
}

// counting is a store that counts what is fetched, and hangs or spoils some of it.
type counting struct {
	BlobStore
	mu    sync.Mutex
	gets  int
	bad   func(id.Blob, []byte) ([]byte, error)
	stuck chan struct{} // not nil: every put and get waits for the end of its context, and says here that it does
}

func (c *counting) wait(ctx context.Context) error {
	if c.stuck == nil {
		return nil
	}
	select {
	case c.stuck <- struct{}{}:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (c *counting) Put(ctx context.Context, name id.Blob, blob []byte) error {
	if err := c.wait(ctx); err != nil {
		return err
	}
	return c.BlobStore.Put(ctx, name, blob)
}

func (c *counting) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	if err := c.wait(ctx); err != nil {
		return dst, err
	}
	c.mu.Lock()
	c.gets++
	c.mu.Unlock()
	b, err := c.BlobStore.Get(ctx, name, dst)
	if c.bad != nil && err == nil {
		return c.bad(name, b)
	}
	return b, err
}

func (w *world) downloader(j *journal.Journal, store BlobStore, s Sink) *Downloader {
	w.t.Helper()
	d, err := NewDownloader(DownloadConfig{Journal: j, Store: store, Keys: w.keys, Session: w.sid, Class: w.class, Sink: s, Streams: 2})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func feed(refs []manifest.PackRef) <-chan manifest.PackRef {
	ch := make(chan manifest.PackRef, len(refs))
	for _, r := range refs {
		ch <- r
	}
	close(ch)
	return ch
}

func (w *world) refs() []manifest.PackRef {
	w.t.Helper()
	refs, err := Refs(w.j)
	if err != nil {
		w.t.Fatal(err)
	}
	return refs
}

// noting remembers what it was told that earlier processes have written.
type noting struct {
	sink
	syncs int
	noted int64
}

func (n *noting) Note(_ item.Ordinal, _ uint32, _, length int64) error { n.noted += length; return nil }
func (n *noting) Sync() error                                          { n.syncs++; return nil }

// TestPowerCutWhileReceiving shows which notes count after the process has died, and after the machine has: those of
// this boot, and those written behind a sync of the target.
func TestPowerCutWhileReceiving(t *testing.T) {
	w := newWorld(t)
	w.write("f", random(3_000_000))
	w.mustSend(1, id.Commit{1})
	refs := w.refs()
	j := w.journal("receiver")
	store := &counting{BlobStore: w.store}
	boot := [16]byte{1}
	defer func(old func() [16]byte) { bootID = old }(bootID)
	bootID = func() [16]byte { return boot }

	run := func(refs []manifest.PackRef, checkpoint bool) (gets int, s *noting) {
		t.Helper()
		store.gets, s = 0, new(noting)
		d := w.downloader(j, store, s)
		if err := d.Fetch(t.Context(), feed(refs)); err != nil {
			t.Fatal(err)
		}
		if checkpoint {
			if err := d.Checkpoint(); err != nil || s.syncs != 1 {
				t.Fatalf("%v, %d syncs", err, s.syncs)
			}
		}
		return store.gets, s
	}
	if n, _ := run(refs[:4], true); n != 4 {
		t.Fatalf("%d packs fetched", n)
	}
	if n, _ := run(refs[:8], false); n != 4 {
		t.Errorf("after the process died %d packs of 4 were fetched", n)
	}
	if n, s := run(refs[:8], false); n != 0 || s.noted == 0 {
		t.Errorf("nothing was missing, but %d packs were fetched and %d bytes were known", n, s.noted)
	}
	boot = [16]byte{2}
	if n, _ := run(refs[:8], false); n != 4 {
		t.Errorf("after the machine died %d packs were fetched, want the 4 behind the checkpoint", n)
	}
	boot = [16]byte{} // a system that does not tell: only checkpoints count
	if n, _ := run(refs[:8], false); n != 4 {
		t.Errorf("where boots can't be told apart %d packs were fetched, want 4", n)
	}
}

// TestBadPacks has blobs that are gone, changed, cut, or another's: all others are staged, the failure is one of
// integrity, and what is good again later is taken by the same Downloader.
func TestBadPacks(t *testing.T) {
	w := newWorld(t)
	w.write("f", random(3_000_000))
	w.mustSend(1, id.Commit{1})
	refs := w.refs()
	store := &counting{BlobStore: w.store}
	whole := func(name id.Blob) []byte {
		b, err := w.store.Get(t.Context(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, bad := range map[string]func(id.Blob, []byte) ([]byte, error){
		"gone":    func(n id.Blob, b []byte) ([]byte, error) { return b[:0], wire.Fail(wire.NotFound, "get") },
		"changed": func(n id.Blob, b []byte) ([]byte, error) { b[len(b)/2] ^= 1; return b, nil },
		"cut":     func(n id.Blob, b []byte) ([]byte, error) { return b[:len(b)-16], nil },
		"empty":   func(n id.Blob, b []byte) ([]byte, error) { return b[:0], nil },
		"another": func(n id.Blob, b []byte) ([]byte, error) { return append(b[:0], whole(refs[0].Blob)...), nil },
	} {
		s := new(sink)
		d := w.downloader(w.journal("r-"+name), store, s)
		store.bad = func(n id.Blob, b []byte) ([]byte, error) {
			if n == refs[3].Blob || n == refs[5].Blob {
				return bad(n, b)
			}
			return b, nil
		}
		if err := d.Fetch(t.Context(), feed(refs)); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%s: %v", name, err)
		}
		for i := range refs {
			if got, want := d.Staged(&refs[i]), i != 3 && i != 5; got != want {
				t.Errorf("%s: pack %d staged: %v", name, i, got)
			}
		}
		store.bad = nil
		if err := d.Fetch(t.Context(), feed(refs)); err != nil || !d.Staged(&refs[3]) {
			t.Errorf("%s: a second time %v", name, err)
		}
	}
}

// TestForget fetches again what was staged and is gone.
func TestForget(t *testing.T) {
	w := newWorld(t)
	w.write("a", random(1_000_000))
	w.write("b", random(1_000_000))
	root := w.mustSend(1, id.Commit{1})
	store := &counting{BlobStore: w.store}
	j, refs := w.journal("receiver"), w.refs()
	d := w.downloader(j, store, new(sink))
	if err := d.Fetch(t.Context(), feed(refs)); err != nil {
		t.Fatal(err)
	}
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	var b item.Item
	for _, it := range w.items(root) {
		if it.Path == "stuff/b" {
			b = it
		}
	}
	n, err := d.Forget([]item.Ordinal{b.Ordinal})
	if err != nil || n == 0 || n == len(refs) {
		t.Fatalf("%d of %d packs forgotten, %v", n, len(refs), err)
	}
	store.gets = 0
	s := new(sink)
	d = w.downloader(j, store, s)
	if err := d.Fetch(t.Context(), feed(refs)); err != nil || store.gets != n {
		t.Errorf("%d packs fetched, want %d, %v", store.gets, n, err)
	}
	if want, _ := os.ReadFile(filepath.Join(w.root, "b")); !bytes.Equal(s.content(&b), want) {
		t.Error("the content did not come again")
	}
}

// TestCancel ends uploads and downloads that hang, and finds no goroutine left behind.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.write("large", random(4_000_000))
	for i := range 200 {
		w.write(fmt.Sprint(i), random(3000))
	}
	before := runtime.NumGoroutine()
	stop := errors.New("stop")
	hang := func(work func(context.Context, BlobStore) error) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		store := &counting{BlobStore: w.store, stuck: make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- work(ctx, store) }()
		<-store.stuck
		cancel(stop)
		select {
		case err := <-done:
			if !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
				t.Errorf("ends with %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("does not end")
		}
		for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<16)
				t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
			}
		}
	}
	send := func(ctx context.Context, store BlobStore) error {
		_, err := w.sendOver(ctx, store, 1)
		return err
	}
	hang(send)
	root := w.mustSend(1, id.Commit{1})
	refs := w.refs()
	j := w.journal("receiver")
	before = runtime.NumGoroutine()
	hang(func(ctx context.Context, store BlobStore) error {
		ch := make(chan manifest.PackRef, len(refs))
		for _, r := range refs {
			ch <- r // and never closed
		}
		return w.downloader(j, store, new(sink)).Fetch(ctx, ch)
	})
	w.check(root)
	if slices.ContainsFunc(refs, func(r manifest.PackRef) bool { return r.Epoch != 1 }) {
		t.Error("a pack of another epoch")
	}
}

// TestLost counts the packs, manifest packs among them, that a store has forgotten.
func TestLost(t *testing.T) {
	w := newWorld(t)
	w.write("f", random(3_000_000))
	root := w.mustSend(1, id.Commit{1})
	for want, forget := range [][]id.Blob{nil, {w.refs()[2].Blob}, {root.ManifestPacks[0].Blob, w.refs()[2].Blob}} {
		if err := w.store.Delete(t.Context(), forget...); err != nil {
			t.Fatal(err)
		}
		if got, err := Lost(t.Context(), w.j, w.store); err != nil || got != want {
			t.Errorf("%d packs lost, want %d, %v", got, want, err)
		}
	}
}
