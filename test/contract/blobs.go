package contract

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Store is a blob store, as node/transfer declares it, of a session of class S.
type Store interface {
	Put(ctx context.Context, name id.Blob, blob []byte) error
	Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error)
	Has(ctx context.Context, names []id.Blob) ([]bool, error)
	Delete(ctx context.Context, names ...id.Blob) error
}

// BlobStore runs the suite. open makes an empty store that ends with the test.
func BlobStore(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"what was put is there", putIsThere},
		{"names are written once", writtenOnce},
		{"get appends", getAppends},
		{"what is not there", absent},
		{"has answers in order", hasInOrder},
		{"has takes any number of names", hasMany},
		{"delete", deleted},
		{"a blob is the caller's again", notRetained},
		{"many at once", manyAtOnce},
		{"one name from many", oneNameAtOnce},
		{"a call that is cancelled", cancelledPut},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

// Blob returns a random blob of class S.
func Blob() []byte {
	b := make([]byte, wire.BlobSizeS)
	rand.Read(b)
	return b
}

func put(t *testing.T, s Store, name id.Blob, blob []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, blob); err != nil {
		t.Fatalf("put: %v", err)
	}
}

// holds fails the test unless the store has exactly this blob under the name.
func holds(t *testing.T, s Store, name id.Blob, blob []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), name, nil)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if !bytes.Equal(got, blob) {
		t.Fatal("get: other bytes than were put")
	}
	if !has(t, s, name)[0] {
		t.Fatal("has: not there")
	}
}

// lacks fails the test if the store has anything under the name.
func lacks(t *testing.T, s Store, name id.Blob) {
	t.Helper()
	if _, err := s.Get(t.Context(), name, nil); !errors.Is(err, wire.NotFound) {
		t.Fatalf("get: %v, want not found", err)
	}
	if has(t, s, name)[0] {
		t.Fatal("has: there")
	}
}

func has(t *testing.T, s Store, names ...id.Blob) []bool {
	t.Helper()
	out, err := s.Has(t.Context(), names)
	if err != nil {
		t.Fatalf("has: %v", err)
	}
	if len(out) != len(names) {
		t.Fatalf("has: %d answers for %d names", len(out), len(names))
	}
	return out
}

func putIsThere(t *testing.T, s Store) {
	name, blob := id.NewBlob(), Blob()
	put(t, s, name, blob)
	holds(t, s, name, blob)
	put(t, s, name, blob) // as after an answer that was lost
	holds(t, s, name, blob)
}

func writtenOnce(t *testing.T, s Store) {
	name, blob := id.NewBlob(), Blob()
	put(t, s, name, blob)
	for _, at := range []int{0, len(blob) / 2, len(blob) - 1} {
		other := bytes.Clone(blob)
		other[at] ^= 1
		if err := s.Put(t.Context(), name, other); !errors.Is(err, wire.Conflict) {
			t.Fatalf("put of other bytes, from byte %d on: %v, want conflict", at, err)
		}
	}
	holds(t, s, name, blob)
}

func getAppends(t *testing.T, s Store) {
	name, blob := id.NewBlob(), Blob()
	put(t, s, name, blob)
	head := []byte("what was there before")
	for _, room := range []int{0, 100, len(blob), 2 * len(blob)} {
		dst := slices.Grow(bytes.Clone(head), room)
		got, err := s.Get(t.Context(), name, dst)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, slices.Concat(head, blob)) {
			t.Fatalf("get into a slice with room for %d bytes: not appended", room)
		}
	}
	got, err := s.Get(t.Context(), id.NewBlob(), bytes.Clone(head))
	if !errors.Is(err, wire.NotFound) || !bytes.Equal(got, head) {
		t.Fatalf("get of what is not there: %q, %v", got, err)
	}
}

func absent(t *testing.T, s Store) {
	lacks(t, s, id.NewBlob())
	put(t, s, id.NewBlob(), Blob())
	lacks(t, s, id.NewBlob())
	if out := has(t, s); len(out) != 0 {
		t.Fatalf("has of no names: %v", out)
	}
}

func hasInOrder(t *testing.T, s Store) {
	names := make([]id.Blob, 11)
	want := make([]bool, len(names))
	for i := range names {
		names[i] = id.NewBlob()
		if want[i] = i%3 != 1; want[i] {
			put(t, s, names[i], Blob())
		}
	}
	if got := has(t, s, names...); !slices.Equal(got, want) {
		t.Fatalf("has: %v, want %v", got, want)
	}
	slices.Reverse(names)
	slices.Reverse(want)
	if got := has(t, s, append(names, names[0])...); !slices.Equal(got, append(want, want[0])) {
		t.Fatalf("has, the other way round: %v, want %v", got, want)
	}
}

func hasMany(t *testing.T, s Store) {
	names := make([]id.Blob, wire.MaxHas+3)
	for i := range names {
		names[i] = id.NewBlob()
	}
	last := len(names) - 1
	put(t, s, names[last], Blob())
	for i, yes := range has(t, s, names...) {
		if yes != (i == last) {
			t.Fatalf("has: name %d of %d: %v", i, len(names), yes)
		}
	}
}

func deleted(t *testing.T, s Store) {
	keep, gone, blob := id.NewBlob(), id.NewBlob(), Blob()
	put(t, s, keep, blob)
	put(t, s, gone, Blob())
	for range 2 { // one that is not there is no error
		if err := s.Delete(t.Context(), gone, id.NewBlob()); err != nil {
			t.Fatal(err)
		}
		lacks(t, s, gone)
	}
	holds(t, s, keep, blob)
	other := Blob()
	put(t, s, gone, other) // the name is free again
	holds(t, s, gone, other)
	if err := s.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func notRetained(t *testing.T, s Store) {
	name, blob := id.NewBlob(), Blob()
	kept := bytes.Clone(blob)
	put(t, s, name, blob)
	clear(blob)
	got, err := s.Get(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	holds(t, s, name, kept)
}

func manyAtOnce(t *testing.T, s Store) {
	const workers, each = 4, 5
	names := make([][each]id.Blob, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				names[w][i] = id.NewBlob()
				if err := putAndCheck(t.Context(), s, names[w][i]); err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for w := range names {
		if slices.Contains(has(t, s, names[w][:]...), false) {
			t.Fatalf("worker %d: a blob is gone", w)
		}
	}
}

func putAndCheck(ctx context.Context, s Store, name id.Blob) error {
	blob := Blob()
	if err := s.Put(ctx, name, blob); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	got, err := s.Get(ctx, name, nil)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if !bytes.Equal(got, blob) {
		return errors.New("get: other bytes")
	}
	return nil
}

func oneNameAtOnce(t *testing.T, s Store) {
	const workers = 4
	name := id.NewBlob()
	blobs := [workers][]byte{}
	errs := [workers]error{}
	var wg sync.WaitGroup
	for w := range workers {
		blobs[w] = Blob()
		wg.Go(func() { errs[w] = s.Put(t.Context(), name, blobs[w]) })
	}
	wg.Wait()
	winner := slices.Index(errs[:], nil)
	if winner < 0 {
		t.Fatalf("nobody won: %v", errs)
	}
	for w, err := range errs {
		if w != winner && !errors.Is(err, wire.Conflict) {
			t.Fatalf("workers %d and %d: %v, want conflict", winner, w, err)
		}
	}
	holds(t, s, name, blobs[winner])
}

// cancelledPut demands that a call whose context is over has its effect or none, and
// that the store goes on.
func cancelledPut(t *testing.T, s Store) {
	name, blob := id.NewBlob(), Blob()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, name, blob); err == nil {
		holds(t, s, name, blob)
	}
	put(t, s, name, blob)
	holds(t, s, name, blob)
	if got, err := s.Get(ctx, name, nil); err == nil && !bytes.Equal(got, blob) {
		t.Fatal("get: no error and other bytes")
	}
}
