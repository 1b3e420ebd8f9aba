package transfer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source/folder"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// both reads from either of two stores.
type both struct {
	BlobStore
	other BlobStore
}

func (b both) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	out, err := b.BlobStore.Get(ctx, name, dst)
	if errors.Is(err, wire.NotFound) {
		return b.other.Get(ctx, name, dst)
	}
	return out, err
}

// TestSecondStore sends an epoch to one store and the next to another, as when a folder completes what a server has a part of: the
// manifest of the second is there alone, even if nothing was new, and content stays where it is.
func TestSecondStore(t *testing.T) {
	for _, changed := range []bool{false, true} {
		w := newWorld(t)
		w.fill()
		first := w.mustSend(1, id.Commit{1})
		before, err := Held(w.j, KeptStored)
		if err != nil || len(before) == 0 {
			t.Fatal(err)
		}
		if changed {
			w.write("photos/new.jpg", random(900_000))
		}
		second := &Memory{}
		root, u := w.rescan(second, 2)
		if root == nil || len(root.ManifestPacks) == 0 || root.Epoch != first.Epoch+1 {
			t.Fatalf("changed %v: %+v", changed, root)
		}
		for i := range root.ManifestPacks {
			if _, err := second.Get(t.Context(), root.ManifestPacks[i].Blob, nil); err != nil {
				t.Errorf("a manifest pack is not in the second store: %v", err)
			}
		}
		after, err1 := Held(w.j, KeptStored)
		there, err2 := Held(w.j, KeptFolder)
		if len(after) != len(before) || (len(there) > 0) != changed || err1 != nil || err2 != nil {
			t.Errorf("changed %v: %d packs are held in the first store, %d in the second", changed, len(after), len(there))
		}
		if u.Delivered() {
			t.Error("nothing went to the other device itself")
		}
		if lost, err := Lost(t.Context(), w.j, w.store); lost != 0 || err != nil {
			t.Errorf("the first store has lost %d packs of its own, %v", lost, err)
		}
		w.store = both{second, w.store}
		w.check(root)
	}
}

// rescan sends an epoch to another store, whether anything is new or not.
func (w *world) rescan(store BlobStore, epoch uint64) (*manifest.Root, *Uploader) {
	w.t.Helper()
	src, err := folder.New([]string{w.root})
	if err != nil {
		w.t.Fatal(err)
	}
	defer src.Close()
	res, err := Rescan(w.t.Context(), src, w.j, epoch, func(item.Loss) {})
	if err != nil || !res.Changed {
		w.t.Fatalf("%+v, %v", res, err)
	}
	u, err := NewUploader(UploadConfig{Source: src, Journal: w.j, Store: store, Keeps: KeptFolder, Keys: w.keys, Session: w.sid, Class: w.class, Streams: 2})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := u.Content(w.t.Context(), epoch); err != nil {
		w.t.Fatal(err)
	}
	root, err := u.Manifest(w.t.Context(), epoch, true, id.Commit{1})
	if err != nil {
		w.t.Fatal(err)
	}
	return root, u
}

// TestPaddingIsNotMissed removes everything that nobody can open: the receiver does without.
func TestPaddingIsNotMissed(t *testing.T) {
	for more := range 16 { // how full packs get is chance: a collection in four fills a bucket without any padding
		w := newWorld(t)
		w.fill()
		for i := range more {
			w.write(fmt.Sprintf("more/%d.bin", i), random(w.class.BlobSize()))
		}
		root := w.mustSend(1, id.Commit{1})
		n := 0
		for _, ref := range w.refs() {
			if ref.Padding {
				n++
				if err := w.store.Delete(t.Context(), ref.Blob); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n > 0 {
			w.check(root)
			return
		}
	}
	t.Fatal("there is never any padding")
}
