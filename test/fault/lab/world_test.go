//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/natlab"
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

// TestNoTime: cells that no time was left for are neither begun nor failures; a person who ends the table is told so.
func TestNoTime(t *testing.T) {
	w := &world{options: options{ways: ways, rates: []float64{5, 100}, rtts: []time.Duration{20 * ms}, losses: []float64{0}, parallel: 2, within: time.Nanosecond}}
	if err := grid(t.Context(), w); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if o := w.cell(ctx, w.cells()[0]); !errors.Is(o.err, errTime) {
		t.Error(o.err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if o := w.cell(ctx, w.cells()[0]); !errors.Is(o.err, context.Canceled) {
		t.Error(o.err)
	}
	if err := grid(ctx, w); err == nil {
		t.Error("a table that was broken off is no failure")
	}
}

// TestPlain sends over plain TCP connections within a namespace and loses nothing.
func TestPlain(t *testing.T) {
	lab := natlab.Test(t)
	var ends [2]*natlab.Device
	for i := range ends {
		d, err := lab.Public(natlab.Cable{})
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = d
	}
	if took, err := plain(t.Context(), ends[0], ends[1], 8<<20, 4); err != nil || took <= 0 {
		t.Error(took, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plain(ctx, ends[0], ends[1], 8<<20, 4); err == nil {
		t.Error("a transfer that was ended worked")
	}
}
