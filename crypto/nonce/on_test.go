//go:build nonceoracle

package nonce

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestC3Record: concurrent calls lose no line, and a repeat is found.
func TestC3Record(t *testing.T) {
	name := filepath.Join(t.TempDir(), "oracle")
	t.Setenv("DECANT_NONCE_ORACLE", name)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			Record([]byte{byte(i)}, slices.Values([][]byte{{1}, {2}, {3}}))
		})
	}
	wg.Wait()
	check := func(wantLines, wantRepeats int) {
		t.Helper()
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines, repeats, err := Repeats(f)
		if err != nil || lines != wantLines || repeats != wantRepeats {
			t.Errorf("%d lines, %d repeats, %v; want %d and %d", lines, repeats, err, wantLines, wantRepeats)
		}
	}
	check(24, 0)
	Record([]byte{3}, slices.Values([][]byte{{2}}))
	check(25, 1)
}
