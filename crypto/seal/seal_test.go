package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// lengths around every boundary of the record layout.
var lengths = []int{0, 1, 15, 16, 17, RecordSize - 1, RecordSize, RecordSize + 1, 2*RecordSize - 1, 2 * RecordSize, 5*RecordSize + 77}

func random(n int) []byte { b := make([]byte, n); rand.Read(b); return b }

func TestRoundTrip(t *testing.T) {
	k := NewKey()
	for _, n := range lengths {
		plain := random(n)
		prefix := []byte("prefix")
		blob := Seal(slices.Clone(prefix), &k, []byte("context"), plain)
		if !bytes.HasPrefix(blob, prefix) {
			t.Fatalf("%d bytes: Seal did not append", n)
		}
		blob = blob[len(prefix):]
		if len(blob) != Size(n) || PlainSize(len(blob)) != n {
			t.Errorf("%d bytes: blob of %d, Size %d, PlainSize %d", n, len(blob), Size(n), PlainSize(len(blob)))
		}
		got, err := Open(slices.Clone(prefix), &k, []byte("context"), blob)
		if err != nil || !bytes.Equal(got, append(slices.Clone(prefix), plain...)) {
			t.Errorf("%d bytes: Open: %v", n, err)
		}
		want, err := CommitmentOf(blob)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenWith(nil, &k, []byte("context"), blob, want); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: OpenWith: %v", n, err)
		}
		got, err = Open(blob[:0], &k, []byte("context"), blob)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: Open in place: %v", n, err)
		}
	}
}

func TestSizes(t *testing.T) {
	if got := PlainSize(wire.BlobSizeS); got != 261832 {
		t.Errorf("class S holds %d bytes, want 261832", got)
	}
	if got := PlainSize(wire.BlobSizeL); got != 4206520 {
		t.Errorf("class L holds %d bytes, want 4206520", got)
	}
	valid := map[int]int{}
	for n := range 3 * RecordSize {
		valid[Size(n)] = n
	}
	for sealed := -1; sealed < Size(3*RecordSize-1); sealed++ {
		want, ok := valid[sealed]
		if !ok {
			want = -1
		}
		if got := PlainSize(sealed); got != want {
			t.Fatalf("PlainSize(%d) = %d, want %d", sealed, got, want)
		}
	}
}

func TestOpenWithRefusesAnotherCommitment(t *testing.T) {
	k, context := NewKey(), []byte("pack 7")
	older, newer := Seal(nil, &k, context, []byte("older")), Seal(nil, &k, context, []byte("newer"))
	want, err := CommitmentOf(newer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWith(nil, &k, context, older, want); !errors.Is(err, ErrOpen) {
		t.Errorf("an older blob for the same context: %v", err)
	}
	if _, err := OpenWith(nil, &k, context, newer, id.Commitment{}); !errors.Is(err, ErrOpen) {
		t.Errorf("no commitment: %v", err)
	}
}

// What Open writes before it fails must not stay in the caller's buffer.
func TestNoPlaintextOnFailure(t *testing.T) {
	k := NewKey()
	for _, n := range []int{100, RecordSize, 2 * RecordSize, 4*RecordSize + 30, 5 * RecordSize / 2} {
		plain := bytes.Repeat([]byte("canary"), n/6+1)[:n]
		for _, inPlace := range []bool{false, true} {
			blob := Seal(nil, &k, nil, plain)
			blob[len(blob)-1] ^= 1
			dst := make([]byte, 0, len(plain))
			if inPlace {
				dst = blob[:0]
			}
			got, err := Open(dst, &k, nil, blob)
			if got != nil || !errors.Is(err, ErrOpen) {
				t.Fatalf("%d bytes, in place %v: got %d bytes, %v", n, inPlace, len(got), err)
			}
			if bytes.Contains(dst[:cap(dst)], []byte("canary")) {
				t.Errorf("%d bytes, in place %v: plaintext left behind", n, inPlace)
			}
		}
	}
}

// E-11: a wrong commitment is refused before a byte is decrypted. In place, decrypting
// would show: the blob would have changed.
func TestE11CommitmentBeforeDecryption(t *testing.T) {
	k := NewKey()
	blob := Seal(nil, &k, []byte("context"), random(3*RecordSize))
	for name, f := range map[string]func(b []byte) (*Key, []byte){
		"commitment": func(b []byte) (*Key, []byte) { b[saltSize] ^= 1; return &k, []byte("context") },
		"salt":       func(b []byte) (*Key, []byte) { b[0] ^= 1; return &k, []byte("context") },
		"key":        func(b []byte) (*Key, []byte) { k := NewKey(); return &k, []byte("context") },
		"context":    func(b []byte) (*Key, []byte) { return &k, []byte("another") },
	} {
		work := slices.Clone(blob)
		key, context := f(work)
		before := slices.Clone(work)
		if got, err := Open(work[:0], key, context, work); err != ErrOpen || got != nil {
			t.Errorf("wrong %s: %d bytes, %v", name, len(got), err)
		}
		if !bytes.Equal(work, before) {
			t.Errorf("wrong %s: decrypted all the same", name)
		}
	}
}

func TestOverlapPanics(t *testing.T) {
	k := NewKey()
	buf := make([]byte, Size(2*RecordSize)+100)
	blob := Seal(nil, &k, nil, make([]byte, 2*RecordSize))
	copy(buf, blob)
	for name, f := range map[string]func(){
		"seal": func() { Seal(buf[:0], &k, nil, buf[50:60]) },
		"open": func() { Open(buf[:1], &k, nil, buf[:len(blob)]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic on overlap", name)
				}
			}()
			f()
		}()
	}
}

// Two seals of the same bytes share neither salt, commitment nor ciphertext (A14).
func TestFreshSalt(t *testing.T) {
	k := NewKey()
	a, b := Seal(nil, &k, nil, []byte("same")), Seal(nil, &k, nil, []byte("same"))
	for _, part := range [][2]int{{0, 24}, {24, 56}, {56, len(a)}} {
		if bytes.Equal(a[part[0]:part[1]], b[part[0]:part[1]]) {
			t.Errorf("bytes %v equal in two seals", part)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k, mk := NewKey(), NewMasterKey()
	for _, secret := range []any{k, &k, mk, *mk, Keys{Pack: k}, &Keys{Pack: k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			s := fmt.Sprintf(verb, secret)
			if !bytes.Contains([]byte(s), []byte("redacted")) {
				t.Errorf("%s of %T prints %q", verb, secret, s)
			}
		}
	}
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "a", k, "b", &k, "c", mk, "d", *mk, "e", k.String()+mk.String())
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "a", k, "b", &k, "c", mk, "d", *mk)
	if got := strings.Count(out.String(), "redacted"); got != 10 {
		t.Errorf("%d redactions in the logs, want 10:\n%s", got, out.String())
	}
	if reflect.TypeOf(k).Comparable() || reflect.TypeOf(*mk).Comparable() {
		t.Error("keys can be compared with ==")
	}
}

func TestRestore(t *testing.T) {
	k, mk := NewKey(), NewMasterKey()
	k2, err := KeyFromBytes(k.Bytes())
	if err != nil || !k2.Equal(&k) {
		t.Errorf("key: %v", err)
	}
	mk2, err := MasterKeyFromBytes(mk.Bytes())
	if err != nil || !mk2.Equal(mk) {
		t.Errorf("master key: %v", err)
	}
	other := NewKey()
	if other.Equal(&k) || NewMasterKey().Equal(mk) {
		t.Error("different keys are equal")
	}
	for _, n := range []int{0, 31, 33, 64} {
		if _, err := KeyFromBytes(make([]byte, n)); err != ErrKey {
			t.Errorf("key of %d bytes: %v", n, err)
		}
		if _, err := MasterKeyFromBytes(make([]byte, n)); err != ErrKey {
			t.Errorf("master key of %d bytes: %v", n, err)
		}
	}
	for n := range HeaderSize + TagSize {
		if _, err := CommitmentOf(make([]byte, n)); err != ErrOpen {
			t.Errorf("commitment of %d bytes: %v", n, err)
		}
	}
}
