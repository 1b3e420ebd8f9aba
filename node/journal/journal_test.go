package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/decant-dev/decant/crypto/seal"
)

func TestBatchAndSecrets(t *testing.T) {
	dir, key := t.TempDir(), seal.NewKey()
	j, err := Open(dir, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("the master key of this transfer")
	err = j.Batch().Put([]byte("a/1"), []byte("one")).Put([]byte("a/2"), []byte("two")).Put([]byte("b"), []byte("other")).
		PutSecret([]byte("s"), secret).PutJSON([]byte("j"), map[string]int{"x": 7}).Commit()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Note([]byte("a/3"), []byte("three")); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().IsRegular() {
			if b, _ := os.ReadFile(p); bytes.Contains(b, secret) {
				t.Errorf("%s holds the secret in the clear", filepath.Base(p))
			}
		}
		return nil
	})

	if j, err = Open(dir, key, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := j.GetSecret([]byte("s")); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("secret: %q, %v", got, err)
	}
	var v map[string]int
	if err := j.GetJSON([]byte("j"), &v); err != nil || v["x"] != 7 {
		t.Errorf("json: %v, %v", v, err)
	}
	var keys []string
	if err := j.Each([]byte("a/"), func(k, _ []byte) error { keys = append(keys, string(k)); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(keys) != "[a/1 a/2 a/3]" {
		t.Errorf("keys %v", keys)
	}
	if err := j.Batch().DeletePrefix([]byte("a/")).Delete([]byte("b")).Commit(); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"a/1", "a/3", "b"} {
		if _, err := j.Get([]byte(k)); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", k, err)
		}
	}
	if has, err := j.Has([]byte("s")); err != nil || !has {
		t.Errorf("the secret was deleted too: %v", err)
	}
	j.Close()

	if j, err = Open(dir, seal.NewKey(), nil); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := j.GetSecret([]byte("s")); err == nil {
		t.Error("a secret opened under another key")
	}
}

func TestLockKeepsOthersOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); err == nil {
		t.Error("locked twice")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Lock(path); err != nil {
		t.Fatalf("after unlocking: %v", err)
	}
	l.Close()
}

func TestUpperBound(t *testing.T) {
	for _, c := range []struct{ prefix, want []byte }{
		{[]byte("a"), []byte("b")}, {[]byte{1, 0xff}, []byte{2}}, {[]byte{0xff, 0xff}, nil}, {[]byte("s\x00\x00"), []byte("s\x00\x01")},
	} {
		if got := upperBound(c.prefix); !bytes.Equal(got, c.want) {
			t.Errorf("upperBound(%x) = %x, want %x", c.prefix, got, c.want)
		}
	}
}

// TestR3JournalPowerCut takes clones of a crashing file system while batches are
// committed, with none, some and all of the unsynced data, and opens every one: each
// batch that Commit returned for is there, and each that is there is whole.
func TestR3JournalPowerCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fs := vfs.NewCrashableMem()
	j, err := OpenOn(fs, "journal", seal.NewKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	type clone struct {
		fs    *vfs.MemFS
		acked int
	}
	var clones []clone
	const perBatch = 7
	for n := range *cuts {
		b := j.Batch()
		for i := range perBatch {
			b.Put(fmt.Appendf(nil, "%06d/%d", n, i), bytes.Repeat([]byte{byte(n)}, rng.IntN(3000)))
		}
		for _, percent := range []int{0, 10, 50, 90, 100}[n%2:] { // before this batch is asked for
			clones = append(clones, clone{fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), n})
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		j.Note([]byte("note"), []byte("never counted upon"))
	}
	defer j.Close()
	for i, c := range clones {
		checkClone(t, i, c.fs, c.acked, perBatch)
	}
	t.Logf("%d clones opened", len(clones))
}

func checkClone(t *testing.T, i int, fs *vfs.MemFS, acked, perBatch int) {
	t.Helper()
	j, err := OpenOn(fs, "journal", seal.NewKey(), nil)
	if err != nil {
		t.Fatalf("clone %d does not open: %v", i, err)
	}
	defer j.Close()
	found := map[int]int{}
	err = j.Each([]byte("0"), func(k, _ []byte) error {
		var n, at int
		fmt.Sscanf(string(k), "%06d/%d", &n, &at)
		found[n]++
		return nil
	})
	if err != nil {
		t.Fatalf("clone %d: %v", i, err)
	}
	for n := range acked {
		if found[n] != perBatch {
			t.Fatalf("clone %d: batch %d of %d acknowledged has %d of %d records", i, n, acked, found[n], perBatch)
		}
	}
	for n, records := range found {
		if records != perBatch {
			t.Fatalf("clone %d: batch %d is there in part: %d of %d", i, n, records, perBatch)
		}
	}
}

// TestNoteSurvivesKill: what the operating system has of the journal while it is open, which is
// what a kill leaves, holds every note; and a crash of the machine keeps every batch, whatever notes
// came before, between and after.
func TestNoteSurvivesKill(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	key := seal.NewKey()
	j, err := Open(filepath.Join(dir, "j"), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range 100 {
		if err := j.Note([]byte{'g', byte(i)}, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(copied, "j"), os.DirFS(filepath.Join(dir, "j"))); err != nil {
		t.Fatal(err)
	}
	k, err := Open(filepath.Join(copied, "j"), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for i := range 100 {
		if v, err := k.Get([]byte{'g', byte(i)}); err != nil || v[0] != byte(i) {
			t.Fatalf("note %d: %v, %v", i, v, err)
		}
	}
}

// TestSyncsThatCount crashes the machine between notes and batches written by several goroutines.
func TestSyncsThatCount(t *testing.T) {
	disk := vfs.NewCrashableMem()
	key := seal.NewKey()
	j, err := OpenOn(disk, "j", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	clones := map[*vfs.MemFS][]byte{} // with the batches that were durable before
	var durable []byte
	for g := range 4 {
		wg.Go(func() {
			for i := range 30 {
				name := byte(g*30 + i)
				if err := j.Note([]byte{'g', name}, bytes.Repeat([]byte{name}, 500)); err != nil {
					t.Error(err)
				}
				if err := j.Batch().Put([]byte{'b', name}, []byte{name}).Commit(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				durable = append(durable, name)
				if i%10 == 0 {
					clones[disk.CrashClone(vfs.CrashCloneCfg{})] = bytes.Clone(durable)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for clone, names := range clones {
		k, err := OpenOn(clone, "j", key, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if _, err := k.Get([]byte{'b', name}); err != nil {
				t.Errorf("of %d durable batches one is gone: %v", len(names), err)
			}
		}
		k.Close()
	}
}
