//go:build linux

package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/decant-dev/decant/test/env"
)

// events reads lines as a process of the command writes them.
func events(t *testing.T, lines ...string) *env.Result {
	t.Helper()
	r := &env.Result{}
	for _, line := range lines {
		e := env.Event{Raw: line}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		r.Events = append(r.Events, e)
	}
	return r
}

// TestResult reads a transfer that began on one route, went on over another, and sent its manifest in a stage of its own.
func TestResult(t *testing.T) {
	typed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sent := events(t,
		`{"time":"2026-01-02T03:04:06Z","type":"stage","stage":"sending"}`,
		`{"time":"2026-01-02T03:04:07Z","type":"progress","progress":{"wire_bytes":100,"route":"relayed"}}`,
		`{"time":"2026-01-02T03:04:08Z","type":"progress","progress":{"wire_bytes":400,"route":"direct + stored"}}`,
		`{"time":"2026-01-02T03:04:09Z","type":"progress","progress":{"wire_bytes":100,"route":"direct + stored"}}`,
		`{"time":"2026-01-02T03:04:15Z","type":"result","result":{"wire_bytes":500}}`)
	received := events(t,
		`{"time":"2026-01-02T03:04:06Z","type":"progress","progress":{"wire_bytes":0,"route":"direct"}}`,
		`{"time":"2026-01-02T03:04:07.5Z","type":"progress","progress":{"wire_bytes":1,"route":"direct"}}`)
	r := newResult(typed, sent, received)
	if r.first != 2500*time.Millisecond || r.moving != 9*time.Second || r.all != 10*time.Second || r.met != 2*time.Second || r.sealed != 500 {
		t.Errorf("%+v", r)
	}
	if r.shares() != "direct + stored 80 %, relayed 20 %" || !r.went("direct") || !r.went("relayed") || r.went("local") {
		t.Errorf("routes: %s", r.shares())
	}
}

func TestQuantile(t *testing.T) {
	var ds []time.Duration
	for i := 20; i > 0; i-- {
		ds = append(ds, time.Duration(i))
	}
	if a, b, c := quantile(ds, 0.5), quantile(ds, 0.95), quantile(ds[:1], 0.95); a != 10 || b != 19 || c != 20 {
		t.Errorf("%d %d %d", a, b, c)
	}
}
