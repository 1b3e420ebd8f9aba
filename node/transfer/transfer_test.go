package transfer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/folder"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// bench is one sender with a memory store.
type world struct {
	t      testing.TB
	root   string
	dir    string // of the journal
	sid    id.Session
	keys   *seal.Keys
	store  BlobStore
	class  wire.Class
	read   int64
	j      *journal.Journal
	routes *Routes // nil: store alone
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, root: filepath.Join(t.TempDir(), "stuff"), dir: filepath.Join(t.TempDir(), "journal"), sid: id.NewSession(), store: &Memory{}, class: wire.ClassS}
	var err error
	if w.keys, err = seal.Schedule(seal.NewMasterKey(), w.sid, id.CardHash{1}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.root, 0o755); err != nil {
		t.Fatal(err)
	}
	w.j = w.journal("sender")
	return w
}

func (w *world) journal(name string) *journal.Journal {
	j, err := journal.Open(filepath.Join(w.dir, name), seal.NewKey(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { j.Close() })
	return j
}

func (w *world) write(name string, data []byte) {
	w.t.Helper()
	p := filepath.Join(w.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// send runs one epoch and returns its root, nil if nothing had changed.
func (w *world) send(epoch uint64, prev id.Commit) (*manifest.Root, error) {
	w.t.Helper()
	src, err := folder.New([]string{w.root})
	if err != nil {
		w.t.Fatal(err)
	}
	defer src.Close()
	return w.sendFrom(src, epoch, prev)
}

func (w *world) sendFrom(src source.Source, epoch uint64, prev id.Commit) (*manifest.Root, error) {
	return w.sendFromTo(context.Background(), src, w.store, epoch, prev)
}

// sendOver is send to another store, until the context ends.
func (w *world) sendOver(ctx context.Context, store BlobStore, epoch uint64) (*manifest.Root, error) {
	src, err := folder.New([]string{w.root})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return w.sendFromTo(ctx, src, store, epoch, id.Commit{1})
}

func (w *world) sendFromTo(ctx context.Context, src source.Source, store BlobStore, epoch uint64, prev id.Commit) (*manifest.Root, error) {
	res, err := Scan(ctx, src, w.j, epoch, func(item.Loss) {})
	if err != nil || !res.Changed {
		return nil, err
	}
	u, err := NewUploader(UploadConfig{Source: src, Journal: w.j, Store: store, Keys: w.keys, Session: w.sid, Class: w.class, Workers: 3, Streams: 2, Routes: w.routes})
	if err != nil {
		return nil, err
	}
	defer func() { w.read += u.BytesRead() }()
	if err := u.Content(ctx, epoch); err != nil {
		return nil, err
	}
	return u.Manifest(ctx, epoch, true, prev)
}

// sink keeps what it is given, by ordinal and revision.
type sink struct {
	mu   sync.Mutex
	data map[item.Ordinal]map[uint32]map[int64][]byte
}

func (s *sink) Write(o item.Ordinal, rev uint32, off int64, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = map[item.Ordinal]map[uint32]map[int64][]byte{}
	}
	if s.data[o] == nil {
		s.data[o] = map[uint32]map[int64][]byte{}
	}
	if s.data[o][rev] == nil {
		s.data[o][rev] = map[int64][]byte{}
	}
	s.data[o][rev][off] = bytes.Clone(data)
	return nil
}

func (s *sink) Note(item.Ordinal, uint32, int64, int64) error { return nil }

func (s *sink) Sync() error { return nil }

func (s *sink) content(it *item.Item) []byte {
	out := make([]byte, it.Size)
	for off, b := range s.data[it.Ordinal][it.Revision] {
		copy(out[off:], b)
	}
	return out
}

// receive fetches everything that root names and returns it by path.
func (w *world) receive(root *manifest.Root) (map[string][]byte, error) {
	w.t.Helper()
	ctx := context.Background()
	var items []item.Item
	refs, err := FetchManifest(ctx, w.store, w.keys, root, key.Limits{}, func(p *manifest.Page, _ []byte) error {
		for i := range p.Items {
			items = append(items, manifest.Clone(&p.Items[i]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := &sink{}
	d, err := NewDownloader(DownloadConfig{Journal: w.journal(fmt.Sprintf("r%d-%x", root.Epoch, id.NewBlob())), Store: w.store, Keys: w.keys, Session: w.sid, Class: w.class, Sink: s})
	if err != nil {
		return nil, err
	}
	ch := make(chan manifest.PackRef)
	go func() {
		defer close(ch)
		for _, i := range mrand.Perm(len(refs)) { // in any order
			ch <- refs[i]
		}
	}()
	if err := d.Fetch(ctx, ch); err != nil {
		return nil, err
	}
	got := map[string][]byte{}
	for i := range items {
		if it := &items[i]; it.HasContent() {
			got[it.Path] = s.content(it)
		}
	}
	return got, nil
}

func (w *world) check(root *manifest.Root) {
	w.t.Helper()
	got, err := w.receive(root)
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	err = filepath.Walk(w.root, func(p string, fi os.FileInfo, err error) error {
		if err != nil || !fi.Mode().IsRegular() {
			return err
		}
		want, err := os.ReadFile(p)
		rel, _ := filepath.Rel(filepath.Dir(w.root), p)
		if g, ok := got[rel]; err == nil && (!ok || !bytes.Equal(g, want)) {
			w.t.Errorf("%s: got %d bytes (there: %v), want %d", rel, len(g), ok, len(want))
		}
		n++
		return err
	})
	if err != nil || n != len(got) {
		w.t.Errorf("%d files sent, %d arrived (%v)", n, len(got), err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func (w *world) fill() {
	for i := range 300 {
		w.write(fmt.Sprintf("small/%d/%d.txt", i%7, i), bytes.Repeat([]byte(fmt.Sprintf("line %d\n", i)), i))
	}
	w.write("photos/a.jpg", random(700_000))
	w.write("photos/b.jpg", random(3_300_000))
	w.write("big.bin", random(2<<20))
	w.write("text.log", bytes.Repeat([]byte("the same again and again\n"), 200_000))
	w.write("empty", nil)
	w.write("contacts.vcf", []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nFN:A\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:3.0\r\nUID:b\r\nFN:B\r\nEND:VCARD\r\n"))
}

func TestRoundTrip(t *testing.T) {
	for _, class := range []wire.Class{wire.ClassS, wire.ClassL} {
		w := newWorld(t)
		w.class = class
		w.fill()
		root, err := w.send(1, id.Commit{1})
		if err != nil {
			t.Fatal(err)
		}
		w.check(root)
	}
}

func TestLaterEpochs(t *testing.T) {
	w := newWorld(t)
	w.fill()
	if _, err := w.send(1, id.Commit{1}); err != nil {
		t.Fatal(err)
	}
	w.read = 0
	root, err := w.send(2, id.Commit{2})
	if err != nil || root != nil {
		t.Fatalf("unchanged collection: root %v, %v", root, err)
	}
	w.write("photos/b.jpg", random(1_500_000)) // changed
	w.write("photos/0.jpg", random(100_000))   // new, first of its kind
	w.write("small/3/new.txt", []byte("new"))
	w.write("contacts.vcf", []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:c\r\nFN:C\r\nEND:VCARD\r\n"))
	for _, p := range []string{"small/0/7.txt", "text.log"} {
		if err := os.Remove(filepath.Join(w.root, p)); err != nil {
			t.Fatal(err)
		}
	}
	if root, err = w.send(2, id.Commit{2}); err != nil {
		t.Fatal(err)
	}
	w.check(root)
	if w.read > 1_700_000 {
		t.Errorf("read %d bytes: unchanged files were read again", w.read)
	}
	w.write("small/0/7.txt", []byte("back again"))
	if root, err = w.send(3, id.Commit{3}); err != nil {
		t.Fatal(err)
	}
	w.check(root)
}

// failing is a store that dies after some puts, as a process does.
type failing struct {
	BlobStore
	mu   sync.Mutex
	left int
}

var errDied = errors.New("died")

func (f *failing) Put(ctx context.Context, name id.Blob, blob []byte) error {
	f.mu.Lock()
	f.left--
	dead := f.left < 0
	f.mu.Unlock()
	if dead {
		return errDied
	}
	return f.BlobStore.Put(ctx, name, blob)
}

// TestResume kills the upload after every number of packs and goes on: no file that is
// durable is read again, and at most one pack a stream is put twice.
func TestResume(t *testing.T) {
	w := newWorld(t)
	w.fill()
	memory := w.store
	var total int64
	filepath.Walk(w.root, func(_ string, fi os.FileInfo, err error) error {
		if fi.Mode().IsRegular() {
			total += fi.Size()
		}
		return nil
	})
	runs := 0
	for left := 1; ; left += 3 {
		w.store = &failing{BlobStore: memory, left: left}
		root, err := w.send(1, id.Commit{1})
		if err == nil {
			w.store = memory
			w.check(root)
			break
		}
		if !errors.Is(err, errDied) {
			t.Fatal(err)
		}
		runs++
	}
	if runs < 3 {
		t.Fatalf("only %d runs died", runs)
	}
	// A run that dies loses what its readers had in hand: up to a pack each, and a pack each stream.
	if most := total + int64(runs)*(3+3+2)*10*wire.BlobSizeS; w.read > most {
		t.Errorf("read %d bytes of %d in %d runs", w.read, total, runs)
	}
}

// changing is a source whose file changes while it is read.
type changing struct {
	source.Source
	mu    sync.Mutex
	path  string
	local string
	times int
}

type changingFile struct {
	source.File
	c *changing
}

func (c *changing) Open(path string) (source.File, error) {
	f, err := c.Source.Open(path)
	if path != c.path || err != nil {
		return f, err
	}
	return &changingFile{f, c}, nil
}

func (f *changingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if f.c.times > 0 && off > 0 {
		f.c.times--
		size := 2_500_000 + f.c.times%1000 // another one each time: a change within a tick of the clock shows in nothing else
		if err := overwrite(f.c.local, random(size)); err != nil {
			panic(err)
		}
	}
	return n, err
}

// overwrite replaces a file's bytes in place; it is never empty in between, which would be a content like any other.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(data)))
}

func TestFileChangesWhileRead(t *testing.T) {
	for times, kept := range map[int]bool{1: true, 2: true, 1 << 20: false} {
		w := newWorld(t)
		w.write("a.txt", []byte("a"))
		w.write("b.bin", random(3_000_000))
		src, err := folder.New([]string{w.root})
		if err != nil {
			t.Fatal(err)
		}
		root, err := w.sendFrom(&changing{Source: src, path: "stuff/b.bin", local: filepath.Join(w.root, "b.bin"), times: times}, 1, id.Commit{1})
		src.Close()
		if err != nil {
			t.Fatal(err)
		}
		if kept {
			w.check(root)
			continue
		}
		got, err := w.receive(root)
		if err != nil || len(got) != 1 {
			t.Errorf("%d files arrived, %v; the one that kept changing must be a loss", len(got), err)
		}
		if root.Totals[0].Lost != 1 {
			t.Errorf("totals %+v: want one lost", root.Totals)
		}
	}
}
