package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

func testKeys(t testing.TB) *seal.Keys {
	t.Helper()
	mk, err := seal.MasterKeyFromBytes(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := seal.Schedule(mk, id.Session{1}, id.CardHash{2})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func validRoot() *manifest.Root {
	c := valid()
	c.sum()
	return &c.root
}

func TestRootRoundTrip(t *testing.T) {
	keys, root := testKeys(t), validRoot()
	sealed, commit, err := manifest.SealRoot(keys, root)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != seal.Size(16<<10) {
		t.Errorf("sealed root of %d bytes", len(sealed))
	}
	got, again, err := manifest.OpenRoot(keys, root.Session, root.Epoch, sealed)
	if err != nil || again != commit || !reflect.DeepEqual(got, root) {
		t.Errorf("opened %+v, %v\nwant %+v", got, err, root)
	}
	if items, bytes := got.Items(), got.Bytes(); items != 11 || bytes != 300+1<<20+7+5+9 {
		t.Errorf("%d items, %d bytes", items, bytes)
	}
}

func TestRootOfTheLargestManifestFits(t *testing.T) {
	c := valid()
	millions(c, manifest.MaxItems)
	c.root.Epoch, c.root.Final, c.root.Prev = 0, false, id.Commit{}
	c.root.ManifestPacks = nil
	for i := range 200 {
		c.root.ManifestPacks = append(c.root.ManifestPacks, packRef(uint32(i), 0))
	}
	sealed, _, err := manifest.SealRoot(testKeys(t), &c.root)
	if err != nil || len(sealed) > wire.MaxRoot {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
	t.Logf("%d pages: %d bytes sealed", len(c.root.Pages), len(sealed))
}

func TestE4E5E8RootsThatAreNotTheOne(t *testing.T) {
	keys, root := testKeys(t), validRoot()
	sealed, _, err := manifest.SealRoot(keys, root)
	if err != nil {
		t.Fatal(err)
	}
	open := func(name string, sid id.Session, epoch uint64, b []byte) {
		if r, _, err := manifest.OpenRoot(keys, sid, epoch, b); !errors.Is(err, manifest.ErrRoot) || r != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	open("other session", id.Session{2}, root.Epoch, sealed)
	open("other epoch", root.Session, root.Epoch+1, sealed)
	open("cut off", root.Session, root.Epoch, sealed[:len(sealed)-1])
	open("extended", root.Session, root.Epoch, append(bytes.Clone(sealed), 0))
	open("empty", root.Session, root.Epoch, nil)
	open("endless", root.Session, root.Epoch, make([]byte, wire.MaxRoot+1))
	for _, i := range []int{0, 23, 24, 55, 56, len(sealed) - 1} {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		open(fmt.Sprintf("bit flipped at %d", i), root.Session, root.Epoch, b)
	}
	plain := func(name string, size int, change func([]byte)) {
		enc, err := root.Append(make([]byte, 4, size))
		if err != nil {
			t.Fatal(err)
		}
		enc[3], enc[2] = byte(len(enc)-4), byte((len(enc)-4)>>8)
		enc = append(enc, make([]byte, size-len(enc))...)
		change(enc)
		context := label.LV(label.RootBlob, root.Session[:], label.U64(root.Epoch))
		b := seal.Seal(nil, &keys.Manifest, context, enc)
		if name == "" {
			if _, _, err := manifest.OpenRoot(keys, root.Session, root.Epoch, b); err != nil {
				t.Fatalf("the forger of this test forges nothing: %v", err)
			}
			return
		}
		open(name, root.Session, root.Epoch, b)
	}
	plain("", 16<<10, func([]byte) {})
	plain("padded further than need be", 32<<10, func([]byte) {})
	plain("padded to no power of two", 20<<10, func([]byte) {})
	plain("padding of ones", 16<<10, func(b []byte) { b[len(b)-1] = 1 })
	plain("length beyond the end", 16<<10, func(b []byte) { b[0] = 1 })
	plain("another version", 16<<10, func(b []byte) { b[4] = 2 })
	plain("another session inside", 16<<10, func(b []byte) { b[5] = 2 })
	plain("another epoch inside", 16<<10, func(b []byte) { b[21] = 3 })
}

func TestA8E8Rollback(t *testing.T) {
	root := validRoot() // epoch 2 after the root {3}
	this := id.Commit{8}
	for name, c := range map[string]struct {
		epoch uint64
		last  id.Commit
		ok    bool
	}{
		"first root seen":       {0, id.Commit{}, true},
		"same root again":       {2, this, true},
		"next after its prev":   {1, id.Commit{3}, true},
		"one left out":          {0, id.Commit{5}, true},
		"older":                 {3, id.Commit{9}, false},
		"same epoch, other":     {2, id.Commit{9}, false},
		"next, of another past": {1, id.Commit{4}, false},
	} {
		if err := root.Follows(c.epoch, c.last, this); (err == nil) != c.ok || err != nil && !errors.Is(err, manifest.ErrRollback) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommitBindsEverything(t *testing.T) {
	base := manifest.CommitOf(id.Session{1}, 1, id.Commit{1}, []byte("root"))
	for name, c := range map[string]id.Commit{
		"session": manifest.CommitOf(id.Session{2}, 1, id.Commit{1}, []byte("root")),
		"epoch":   manifest.CommitOf(id.Session{1}, 2, id.Commit{1}, []byte("root")),
		"prev":    manifest.CommitOf(id.Session{1}, 1, id.Commit{2}, []byte("root")),
		"root":    manifest.CommitOf(id.Session{1}, 1, id.Commit{1}, []byte("roots")),
	} {
		if c == base {
			t.Errorf("the commit does not bind the %s", name)
		}
	}
	d := key.NewDevice()
	sig := manifest.SignCommit(d, base)
	if err := manifest.VerifyCommit(d.Peer(), base, sig); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"other commit": manifest.VerifyCommit(d.Peer(), id.Commit{1}, sig),
		"other device": manifest.VerifyCommit(key.NewDevice().Peer(), base, sig),
		"no signature": manifest.VerifyCommit(d.Peer(), base, nil),
		"other use":    manifest.VerifyCommit(d.Peer(), base, d.Sign(label.Receipt, label.LV(label.Manifest, base[:]))),
	} {
		if !errors.Is(err, manifest.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRootRefusesOtherEncodings(t *testing.T) {
	good, err := validRoot().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := manifest.DecodeRoot(good[:n]); err == nil {
			t.Errorf("cut to %d bytes it is accepted", n)
		}
	}
	if _, err := manifest.DecodeRoot(append(bytes.Clone(good), 0)); !errors.Is(err, manifest.ErrEncoding) {
		t.Errorf("trailing byte: %v", err)
	}
	// The epoch is the varint behind version and session: 2 as one byte, then as two.
	long := append(bytes.Clone(good[:17]), append([]byte{0x82, 0x00}, good[18:]...)...)
	if _, err := manifest.DecodeRoot(long); !errors.Is(err, manifest.ErrEncoding) {
		t.Errorf("longer varint: %v", err)
	}
	flags := bytes.Clone(good)
	flags[18] |= 2
	if _, err := manifest.DecodeRoot(flags); !errors.Is(err, manifest.ErrEncoding) {
		t.Errorf("unknown flag: %v", err)
	}
}

func TestEmptyCollection(t *testing.T) {
	root := &manifest.Root{Session: id.Session{1}, Epoch: 1, Final: true, Class: wire.ClassS, Prev: id.Commit{1}}
	keys := testKeys(t)
	sealed, _, err := manifest.SealRoot(keys, root)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := manifest.OpenRoot(keys, root.Session, 1, sealed)
	if err != nil {
		t.Fatal(err)
	}
	v, err := manifest.NewValidator(got, key.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(); err != nil {
		t.Error(err)
	}
	if err := v.Page(&manifest.Page{Kind: item.File}); !errors.Is(err, manifest.ErrOrder) {
		t.Errorf("a page of it: %v", err)
	}
}
