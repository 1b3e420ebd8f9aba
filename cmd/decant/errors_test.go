package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
)

// TestEveryEngineErrorHasWords reads the engine's errors from its source, so that a new one is not forgotten here.
func TestEveryEngineErrorHasWords(t *testing.T) {
	src, err := os.ReadFile("../../node/node.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\t(Err\w+) += errors\.New\("(.*?)"\)`).FindAllStringSubmatch(string(src), -1)
	if len(found) < 20 {
		t.Fatalf("only %d errors found in node.go", len(found))
	}
	words := map[string]bool{}
	for _, p := range problems {
		words[p.err.Error()] = true
	}
	for _, f := range found {
		if !words[f[2]] {
			t.Errorf("node.%s has no words", f[1])
		}
	}
}

func TestEveryProblemHasASentenceAHintAndACode(t *testing.T) {
	names := map[string]bool{}
	for _, p := range problems {
		if p.text == "" || p.hint == "" || p.code == ui.OK || p.code == ui.Usage || names[p.name] {
			t.Errorf("%s: %+v", p.name, p)
		}
		if strings.HasSuffix(p.text, ".") || strings.Contains(p.text, "%") {
			t.Errorf("%s: %q is not a sentence without its full stop", p.name, p.text)
		}
		names[p.name] = true
		got := explain(t.Context(), fmt.Errorf("deep: %w", p.err))
		if got.Name != p.name || got.Code != p.code {
			t.Errorf("%v is explained as %s, want %s", p.err, got.Name, p.name)
		}
	}
}

func TestExplain(t *testing.T) {
	stopped, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	for _, c := range []struct {
		ctx  context.Context
		err  error
		name string
		code ui.Code
	}{
		{stopped, context.Canceled, "interrupted", ui.Paused},
		{stopped, node.ErrIntegrity, "integrity", ui.Alarm}, // an alarm is not drowned by ^C
		{stopped, node.ErrPaused, "paused", ui.Paused},
		{t.Context(), &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "no-space", ui.NoSpace},
		{t.Context(), &os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, "permission", ui.Failed},
		{t.Context(), ui.ErrNobody, "nobody", ui.Usage},
		{t.Context(), errors.New("what"), "failed", ui.Failed},
	} {
		if got := explain(c.ctx, c.err); got.Name != c.name || got.Code != c.code {
			t.Errorf("%v: %s, %d, want %s, %d", c.err, got.Name, got.Code, c.name, c.code)
		}
	}
}

func TestFlagValues(t *testing.T) {
	for in, want := range map[string]string{"14d": "14d", "36h": "36h0m0s", "24h": "1d", "30d": "30d"} {
		var d days
		if err := d.Set(in); err != nil || d.String() != want {
			t.Errorf("%q: %s, %v", in, d.String(), err)
		}
	}
	for _, in := range []string{"", "d", "0d", "31d", "-1d", "1w", "999999999999999999999d", "9223372036854775807d"} {
		var d days
		if d.Set(in) == nil {
			t.Errorf("%q is taken as %s", in, d.String())
		}
	}
	for in, want := range map[string]size{"200GB": 200e9, "256MiB": 256 << 20, "1000": 1000, "1 TB": 1e12, "0": 0, "5kb": 5000} {
		var z size
		if err := z.Set(in); err != nil || z != want {
			t.Errorf("%q: %d, %v", in, z, err)
		}
	}
	for _, in := range []string{"", "GB", "1.5GB", "-1", "1XB", "99999999TB", "1GBGB"} {
		var z size
		if z.Set(in) == nil {
			t.Errorf("%q is taken as %d", in, z)
		}
	}
}
