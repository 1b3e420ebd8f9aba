package transfer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/folder"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// scan scans an epoch and leaves it at that, as a process that dies then does.
func (w *world) scan(epoch uint64) *Scanned {
	w.t.Helper()
	src, err := folder.New([]string{w.root})
	if err != nil {
		w.t.Fatal(err)
	}
	defer src.Close()
	res, err := Scan(context.Background(), src, w.j, epoch, func(item.Loss) {})
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func (w *world) mustSend(epoch uint64, prev id.Commit) *manifest.Root {
	w.t.Helper()
	root, err := w.send(epoch, prev)
	if err != nil {
		w.t.Fatal(err)
	}
	return root
}

func (w *world) remove(names ...string) {
	w.t.Helper()
	for _, n := range names {
		if err := os.RemoveAll(filepath.Join(w.root, n)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// items returns the items of a manifest, which it verifies.
func (w *world) items(root *manifest.Root) (items []item.Item) {
	w.t.Helper()
	_, err := FetchManifest(context.Background(), w.store, w.keys, root, key.Limits{}, func(p *manifest.Page, _ []byte) error {
		for i := range p.Items {
			items = append(items, manifest.Clone(&p.Items[i]))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return items
}

// TestSmallFilesGrow lets files that were small when they were scanned grow before they are read: beyond what a small
// file may have, beyond a chunk, and all of them a little.
func TestSmallFilesGrow(t *testing.T) {
	for _, class := range []wire.Class{wire.ClassS, wire.ClassL} {
		w := newWorld(t)
		w.class = class
		for i := range 40 {
			w.write(fmt.Sprintf("%02d", i), random(30_000))
		}
		w.scan(1)
		for i := range 40 {
			w.write(fmt.Sprintf("%02d", i), random(60_000+1000*i))
		}
		w.write("07", random(1_900_000))
		w.write("13", random(1<<20))
		w.write("14", random(1<<20-1))
		w.write("21", random(9_000_000))
		w.write("22", nil)
		w.check(w.mustSend(1, id.Commit{1}))
	}
}

// attributed gives every file attributes, whatever the file system of the test can do.
type attributed struct {
	source.Source
	attrs []item.XAttr
}

func (a *attributed) ReadSmall(path string, buf []byte) (int, source.Stat, error) {
	n, st, err := a.Source.ReadSmall(path, buf)
	st.HasXAttrs = true
	return n, st, err
}

type attributedFile struct {
	source.File
	attrs []item.XAttr
}

func (a *attributed) Open(path string) (source.File, error) {
	f, err := a.Source.Open(path)
	return &attributedFile{f, a.attrs}, err
}

func (f *attributedFile) XAttrs() ([]item.XAttr, []string, error) { return f.attrs, nil, nil }

// TestManyAttributes has more bytes of attributes than fit the manifest page that the scan had thought of.
func TestManyAttributes(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.write(fmt.Sprintf("%02d", i), []byte("x"))
	}
	src, err := folder.New([]string{w.root})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	attrs := []item.XAttr{{Name: "user.a", Value: random(30_000)}, {Name: "user.b", Value: random(30_000)}}
	root, err := w.sendFrom(&attributed{src, attrs}, 1, id.Commit{1})
	if err != nil {
		t.Fatal(err)
	}
	w.check(root)
	for _, it := range w.items(root) {
		if it.Form == item.FormFile && (len(it.XAttrs) != 2 || !bytes.Equal(it.XAttrs[1].Value, attrs[1].Value)) {
			t.Errorf("%s has lost its attributes", it.Path)
		}
	}
}

func card(uid string) string {
	return "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:" + uid + "\r\nFN:" + uid + "\r\nEND:VCARD\r\n"
}

// live returns what of a manifest is no tombstone, files by path and records by identity.
func live(items []item.Item) (names []string) {
	for _, it := range items {
		switch {
		case it.Lost != item.ReasonNone || it.Form == item.FormDir:
		case it.Form == item.FormRecord:
			names = append(names, string(it.Identity[1:]))
		default:
			names = append(names, it.Path)
		}
	}
	slices.Sort(names)
	return names
}

func (w *world) wantLive(root *manifest.Root, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := live(w.items(root)); !slices.Equal(got, want) {
		w.t.Errorf("the manifest has %q, want %q", got, want)
	}
}

// TestContainerChanges changes an address book between epochs, and between the scan and the reading.
func TestContainerChanges(t *testing.T) {
	w := newWorld(t)
	const name = "stuff/book.vcf"
	w.write("book.vcf", []byte(card("a")+card("b")+card("c")))
	w.write("other.vcf", []byte(card("x")))
	root := w.mustSend(1, id.Commit{1})
	w.wantLive(root, name, "a", "b", "c", "stuff/other.vcf", "x")

	w.write("book.vcf", []byte(card("b")+card("d")))
	root = w.mustSend(2, id.Commit{2})
	w.check(root)
	w.wantLive(root, name, "b", "d", "stuff/other.vcf", "x")

	w.write("book.vcf", []byte(card("d")+card("e")+card("f")))
	w.scan(3)
	w.write("book.vcf", []byte(card("e"))) // shorter than the records that the scan has found
	root = w.mustSend(3, id.Commit{3})
	w.check(root)
	w.wantLive(root, name, "stuff/other.vcf", "x") // the file travels; what is in it is said next time

	root = w.mustSend(4, id.Commit{4})
	w.check(root)
	w.wantLive(root, name, "e", "stuff/other.vcf", "x")
	if root, err := w.send(5, id.Commit{5}); err != nil || root != nil {
		t.Errorf("nothing has changed: root %v, %v", root, err)
	}
}

func TestContainerEmptiedOrGone(t *testing.T) {
	w := newWorld(t)
	w.write("book.vcf", []byte(card("a")))
	w.write("gone.vcf", []byte(card("b")))
	w.write("f", []byte("x"))
	w.scan(1)
	w.write("book.vcf", nil)
	w.remove("gone.vcf")
	root := w.mustSend(1, id.Commit{1})
	w.items(root)
}

// TestUnchangedScanLeavesNoTrace scans twice without going on in between, as a process that dies behind the first does.
func TestUnchangedScanLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	w.write("a", []byte("a"))
	w.mustSend(1, id.Commit{1})
	if res := w.scan(2); res.Changed {
		t.Fatal("nothing had changed")
	}
	w.write("b", []byte("b"))
	if res := w.scan(2); !res.Changed {
		t.Error("a file has come since the last scan, which had found nothing")
	}
	w.check(w.mustSend(2, id.Commit{2}))
}
