package apply

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/proto/id"
)

// FuzzDest sends two items with any names into a target that holds links out of it, on
// any kind of file system, through plan, staging, apply and undo. Outside nothing may
// change, inside nothing that was there, and undo leaves no trace.
func FuzzDest(f *testing.F) {
	for _, p := range []string{"../../.ssh/authorized_keys", "a/../../b", `..\..\x`, "%2e%2e/x", "....//", "/etc/x", "C:x", "~/x", "a\x00.jpg", "\n",
		"out/x", "out", "dir/out/x", "CON", "aux.", "file:stream", "\u202egpj.exe", "caf\xe9", "e\u0301", "keep", "dir/keep", "DIR/KEEP", "keep/x",
		".decant-01000000/tree/x", "book.vcf", "dir", "x (2)", "a/b/c/d"} {
		f.Add(p, "x", "content", uint8(0))
		f.Add("x", p, "BEGIN:VCARD\nEND:VCARD\n", uint8(7))
	}
	f.Fuzz(func(t *testing.T, a, b, content string, fsKind uint8) {
		if len(content) > 1<<16 {
			return
		}
		base := t.TempDir()
		outside, target := filepath.Join(base, "outside"), filepath.Join(base, "target")
		for p, c := range map[string]string{"outside/f": "outside", "target/keep": "keep", "target/dir/keep": "keep", "target/book.vcf": "BEGIN:VCARD\nFN:x\nEND:VCARD\n"} {
			check(t, os.MkdirAll(filepath.Dir(filepath.Join(base, p)), 0o755))
			check(t, os.WriteFile(filepath.Join(base, p), []byte(c), 0o644))
		}
		check(t, os.Symlink(outside, filepath.Join(target, "out")))
		check(t, os.Symlink("../../outside", filepath.Join(target, "dir", "out")))
		w := &world{t: t, dir: base}
		pretend := func(c *folder.Caps) {
			c.CaseSensitive, c.WindowsNames, c.AnyBytes = fsKind&1 == 0, fsKind&2 != 0, fsKind&4 == 0
		}
		var err error
		w.target, err = folder.Open(target, id.Session{1}, folder.Options{Pretend: pretend})
		check(t, err)
		defer w.target.Close()
		before, out := w.tree(true), snapshot(t, outside)

		items := []item.Item{
			{Ordinal: 0, Kind: item.File, Form: item.FormFile, Path: a, Size: int64(len(content)), Perm: 0o644, ModTime: when},
			{Ordinal: 1, Kind: item.File, Form: item.FormFile, Path: b, Size: int64(len(content)), Perm: 0o644, ModTime: when},
		}
		pages := func(yield func([]item.Item, error) bool) { yield(items, nil) }
		ctx, log := context.Background(), NewMemLog()
		plan, err := preview.Build(ctx, w.target, pages, preview.MemStore{}, preview.Options{})
		if err == nil {
			s := w.target.NewStager(plan)
			check(t, s.Write(0, 0, 0, []byte(content)))
			check(t, s.Write(1, 0, 0, []byte(content)))
			if st, err := Settle(ctx, plan, s, pages, SettleOptions{}); err != nil || !st.OK() {
				t.Fatalf("settling: %+v, %v", st, err)
			}
			check(t, s.Close())
			sum, err := Apply(ctx, plan, log, Options{})
			check(t, err)
			if sum.FailedCount != 0 || sum.Items() != 2 {
				t.Fatalf("%+v", sum)
			}
			for p, c := range map[string]string{"keep": "keep", "dir/keep": "keep"} {
				if got := w.content(p); got != c {
					t.Fatalf("%s holds %q", p, got)
				}
			}
			u, err := Undo(ctx, plan, log)
			check(t, err)
			if u.RefusedCount != 0 {
				t.Fatalf("%+v", u)
			}
		}
		if got := w.tree(true); got != before {
			t.Fatalf("the target has changed: %s", diff(before, got))
		}
		if got := snapshot(t, outside); got != out {
			t.Fatalf("something outside has changed: %s", diff(out, got))
		}
		if names, _ := os.ReadDir(base); len(names) != 2 {
			t.Fatalf("beside the target: %v", names)
		}
	})
}

// snapshot describes a directory without directories in it.
func snapshot(t *testing.T, dir string) string {
	var b bytes.Buffer
	names, err := os.ReadDir(dir)
	check(t, err)
	for _, n := range names {
		fi, err := n.Info()
		check(t, err)
		c, err := os.ReadFile(filepath.Join(dir, n.Name()))
		check(t, err)
		b.WriteString(n.Name() + " " + fi.Mode().String() + " " + fi.ModTime().String() + " " + string(c) + "\n")
	}
	fi, err := os.Stat(dir)
	check(t, err)
	return b.String() + fi.ModTime().String()
}

// FuzzReceipt: what parses encodes to the same bytes, whoever signed it.
func FuzzReceipt(f *testing.F) {
	d := key.NewDevice()
	f.Add(SignReceipt(d, exampleReceipt()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseReceipt(b, d.Peer()); err == nil && !bytes.Equal(b, SignReceipt(d, exampleReceipt())) {
			t.Fatal("forged")
		}
		if len(b) < receiptHead+key.SignatureSize {
			return
		}
		body := b[:len(b)-key.SignatureSize] // as if the device had signed it
		signed := append(bytes.Clone(body), d.Sign(label.Receipt, body)...)
		r, err := ParseReceipt(signed, d.Peer())
		if err != nil {
			return
		}
		if again := SignReceipt(d, r); !bytes.Equal(again, signed) {
			t.Fatalf("%x parses and encodes to %x", signed, again)
		}
		if r.At.After(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Fatalf("%+v", r)
		}
	})
}

// FuzzRecords: damaged records of our own journal are refused, never a panic.
func FuzzRecords(f *testing.F) {
	r := undoRecord{Units: []unitAction{{"a", "a (2)", ident{1, 2, 3, 4, true}}}, Touched: []touched{{"", 5}},
		Moves: []moveAction{{1, "b", ident{1, 2, 3, 4, false}}}, Merges: []mergeAction{{2, "c", ident{}, ident{}}}}
	f.Add(r.encode())
	f.Add((&Outcomes{Of: []item.Outcome{1, 2}, Why: []item.Reason{0, 3}, Finals: map[int]string{1: "x"}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeUndo(b); err == nil {
			if again, err := decodeUndo(r.encode()); err != nil || !r.equal(again) {
				t.Fatalf("%x does not survive", b)
			}
		}
		if o, err := decodeOutcomes(b); err == nil {
			if _, err := decodeOutcomes(o.encode()); err != nil {
				t.Fatalf("%x does not survive", b)
			}
		}
	})
}
