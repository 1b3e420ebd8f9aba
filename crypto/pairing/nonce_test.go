//go:build nonceoracle

package pairing

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/crypto/nonce"
)

// TestC3Message3: a device that makes message 3 again, after a crash, takes another nonce.
func TestC3Message3(t *testing.T) {
	name := filepath.Join(t.TempDir(), "oracle")
	t.Setenv("DECANT_NONCE_ORACLE", name)
	w := newWorld(t)
	o, m1, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	_, m2, err := AnswerNew(w.params, w.new.card, m1)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if o, err = ParseOld(o.Bytes()); err != nil {
			t.Fatal(err)
		}
		p, err := o.Finish(m2)
		if err != nil {
			t.Fatal(err)
		}
		p.Message3([]byte("grant"))
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if lines, repeats, err := nonce.Repeats(f); err != nil || lines != 50 || repeats != 0 {
		t.Errorf("%d lines, %d repeats, %v", lines, repeats, err)
	}
}
