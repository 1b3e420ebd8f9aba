package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/proto/id"
)

// TestAgain loses packs of an epoch after it was committed, with and without another epoch begun, and has them
// sent again: the epoch that follows is whole.
func TestAgain(t *testing.T) {
	for _, begun := range []bool{false, true} {
		t.Run(fmt.Sprint("begun ", begun), func(t *testing.T) {
			w := newWorld(t)
			w.fill()
			first, err := w.send(1, id.Commit{1})
			if err != nil {
				t.Fatal(err)
			}
			memory := w.store.(*Memory)
			refs, err := Held(w.j, KeptStored) // nobody misses padding
			if err != nil {
				t.Fatal(err)
			}
			if begun {
				w.write("photos/new.jpg", random(400_000))
				w.scan(2)
			}
			var lost []manifest.PackRef
			for _, i := range mrand.Perm(len(refs))[:3] {
				lost = append(lost, refs[i])
				if err := memory.Delete(context.Background(), refs[i].Blob); err != nil {
					t.Fatal(err)
				}
			}
			var missing *MissingError
			if _, err := w.receive(first); !errors.As(err, &missing) || !errors.Is(err, ErrIntegrity) || len(missing.Packs) != 3 {
				t.Fatalf("3 packs are gone: %v", err)
			}
			n, err := Again(w.j, 1, append(lost, manifest.PackRef{Index: 1 << 20}))
			if err != nil || n == 0 {
				t.Fatalf("%d packs taken back, %v", n, err)
			}
			if n, err := Again(w.j, 1, lost); n != 0 || err != nil {
				t.Fatalf("once more: %d, %v", n, err)
			}
			second, err := w.send(2, id.Commit{1})
			if err != nil || second == nil {
				t.Fatalf("the epoch that makes good: %v, %v", second, err)
			}
			w.check(second)
		})
	}
}

// TestAccept stages packs that are delivered with a note, and refuses those whose note or bytes are not right.
func TestAccept(t *testing.T) {
	w := newWorld(t)
	w.fill()
	delivered := map[id.Blob][2][]byte{} // note, blob
	route := &Route{Name: func() string { return "local" }, Kept: KeptDelivered, Slots: 1, Put: func(_ context.Context, name id.Blob, note, blob []byte) error {
		delivered[name] = [2][]byte{bytes.Clone(note), bytes.Clone(blob)}
		return nil
	}}
	w.routes = NewRoutes(route)
	root, err := w.send(1, id.Commit{1})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range delivered { // what is read by name is kept, as a desk keeps it
		note, err := ParseNote(name, d[0])
		if err != nil || note.Ref.Padding {
			t.Fatalf("note %+v, %v", note, err)
		}
		if note.Manifest {
			if err := w.store.Put(t.Context(), name, d[1]); err != nil {
				t.Fatal(err)
			}
			delete(delivered, name)
		}
	}
	s := &sink{}
	d, err := NewDownloader(DownloadConfig{Journal: w.journal("r"), Store: w.store, Keys: w.keys, Session: w.sid, Class: w.class, Sink: s})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range delivered {
		note, _ := ParseNote(name, x[0])
		other := note.Ref
		other.Index++
		if err := d.Accept(&other, bytes.Clone(x[1])); !errors.Is(err, ErrIntegrity) {
			t.Errorf("a pack for another place: %v", err)
		}
		spoiled := bytes.Clone(x[1])
		spoiled[len(spoiled)-1] ^= 1
		if err := d.Accept(&note.Ref, spoiled); !errors.Is(err, ErrIntegrity) {
			t.Errorf("a spoiled pack: %v", err)
		}
		for range 2 { // told twice
			if err := d.Accept(&note.Ref, bytes.Clone(x[1])); err != nil {
				t.Error(err)
			}
		}
		if !d.Staged(&note.Ref) {
			t.Error("an accepted pack is not staged")
		}
	}
	refs, err := FetchManifest(t.Context(), w.store, w.keys, root, key.Limits{}, func(*manifest.Page, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(refs) != len(delivered) {
		t.Errorf("%d packs listed, %d delivered: nobody is left to count padding for", len(refs), len(delivered))
	}
	ch := make(chan manifest.PackRef, len(refs))
	for _, r := range refs {
		ch <- r
	}
	close(ch)
	if err := d.Fetch(t.Context(), ch); err != nil {
		t.Errorf("everything is staged, and yet: %v", err)
	}
	for _, b := range [][]byte{nil, make([]byte, noteBytes), append([]byte{1}, make([]byte, noteBytes)...)} {
		if _, err := ParseNote(id.Blob{}, b); !errors.Is(err, ErrIntegrity) {
			t.Errorf("note of %d bytes: %v", len(b), err)
		}
	}
}
