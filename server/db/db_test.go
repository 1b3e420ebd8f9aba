package db

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/proto/id"
)

func open(t *testing.T) *DB {
	t.Helper()
	d, err := Open("db", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestAfter(t *testing.T) {
	for _, c := range []struct{ prefix, want []byte }{
		{[]byte("a"), []byte("b")}, {[]byte{1, 0xff}, []byte{2}}, {[]byte{0xff, 0xff}, nil},
	} {
		if got := After(c.prefix); !bytes.Equal(got, c.want) {
			t.Errorf("After(%x) = %x, want %x", c.prefix, got, c.want)
		}
	}
}

// TestDeletePrefix removes few and many keys of one scope and none of its neighbours'.
func TestDeletePrefix(t *testing.T) {
	for _, count := range []int{0, 1, pointDeletes, pointDeletes + 1, 5 * pointDeletes} {
		d := open(t)
		scope, other := id.NewScope(), id.NewScope()
		b := d.Batch()
		for i := range count {
			b.Set(MessageKey(scope, id.Peer{}, uint64(i)), nil)
		}
		b.Set(MessageKey(other, id.Peer{}, 1), nil)
		b.Set(MailboxKey(scope), []byte{1})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		b = d.Batch()
		if err := b.DeletePrefix(MessagePrefix(scope)); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		left := 0
		if err := d.Each([]byte{0}, []byte{0xff}, true, func([]byte, []byte) (bool, error) { left++; return true, nil }); err != nil {
			t.Fatal(err)
		}
		if left != 2 {
			t.Errorf("of %d keys and 2 others %d are left", count, left)
		}
	}
}

// TestExpiryOrder: expiry rows come in the order of time, and ExpiredBefore cuts behind its millisecond.
func TestExpiryOrder(t *testing.T) {
	d := open(t)
	b := d.Batch()
	times := []int64{500, 3, 70_000_000_000_000, 499, 501}
	for _, ms := range times {
		b.Set(ExpiryKey(ms, ExpireSession, id.NewScope()), nil)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	var got []int64
	err := d.Each(AllExpiries(), ExpiredBefore(500), true, func(k, _ []byte) (bool, error) {
		ms, what, _ := ParseExpiryKey(k)
		if what != ExpireSession {
			t.Errorf("what = %d", what)
		}
		got = append(got, ms)
		return true, nil
	})
	if err != nil || !slices.Equal(got, []int64{3, 499, 500}) {
		t.Errorf("expired: %v, %v", got, err)
	}
}

// TestGetCopies: a value is nil only if there is none, and is the caller's.
func TestGetCopies(t *testing.T) {
	d := open(t)
	b := d.Batch()
	b.Set(MetaKey("empty"), nil)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if v, err := d.Get(MetaKey("empty")); err != nil || v == nil || len(v) != 0 {
		t.Errorf("empty value: %v, %v", v, err)
	}
	if v, err := d.Get(MetaKey("none")); err != nil || v != nil {
		t.Errorf("no value: %v, %v", v, err)
	}
}
