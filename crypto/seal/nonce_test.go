//go:build nonceoracle

package seal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/crypto/nonce"
)

// TestC3EveryRecord: the oracle sees one line for each record of each blob, and no repeat
// when the same plaintext is sealed again for the same place.
func TestC3EveryRecord(t *testing.T) {
	name := filepath.Join(t.TempDir(), "oracle")
	t.Setenv("DECANT_NONCE_ORACLE", name)
	k, want := NewKey(), 0
	for range 20 {
		for _, n := range lengths {
			Seal(nil, &k, []byte("context"), pattern(n))
			want += n/RecordSize + 1
		}
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if lines, repeats, err := nonce.Repeats(f); err != nil || lines != want || repeats != 0 {
		t.Errorf("%d lines, %d repeats, %v; want %d lines", lines, repeats, err, want)
	}
}
