//go:build nonceoracle

package grant

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/nonce"
)

// TestC3Boxes: every box of a grant, between the same two devices, has its own nonce.
func TestC3Boxes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "oracle")
	t.Setenv("DECANT_NONCE_ORACLE", name)
	from, to := newParty(t, key.Sender), newParty(t, key.Receiver)
	g := newGrant(from, to)
	for range 50 {
		if _, err := Seal(g, from.d, from.e, to.card); err != nil {
			t.Fatal(err)
		}
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
