//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/impair"
	"github.com/decant-dev/decant/test/natlab"
)

const (
	calm        = 12 << 20        // bytes out of the phone between two moves: some packs get through
	going       = 128 << 10       // bytes by which it is going again: more than handshakes take
	goingWithin = 3 * time.Second // the bar of R-14
)

// phone is the old device, its two networks, and which of them it is in.
type phone struct {
	*natlab.Device
	homes [2]*natlab.Home
	links [2]*impair.Link
	in    int
}

// move is something that happens to a phone; there is a path when it returns.
type move struct {
	name string
	make func(context.Context, *phone) error
}

var moveList = []move{
	{"another address in the same network", func(_ context.Context, p *phone) error { return p.Renumber() }},
	{"the router forgets its mappings", func(_ context.Context, p *phone) error { return p.homes[p.in].Forget() }},
	{"the router has another public address", func(_ context.Context, p *phone) error {
		return errors.Join(p.homes[p.in].Renumber(), p.homes[p.in].Forget())
	}},
	{"the router becomes a symmetric NAT", func(_ context.Context, p *phone) error { return p.homes[p.in].SetNAT(natlab.Symmetric) }},
	{"the router becomes port-restricted again", func(_ context.Context, p *phone) error { return p.homes[p.in].SetNAT(natlab.PortRestricted) }},
	{"the interface is down for 5 s", func(ctx context.Context, p *phone) error {
		return errors.Join(p.Down(), wait(ctx, 5*time.Second), p.Up())
	}},
	{"nothing passes for 10 s", func(ctx context.Context, p *phone) error {
		p.links[p.in].Cut()
		defer p.links[p.in].Restore()
		return wait(ctx, 10*time.Second)
	}},
	{"another network", func(_ context.Context, p *phone) error {
		p.in = 1 - p.in
		return p.Move(p.homes[p.in], natlab.Cable{})
	}},
}

// moves takes a phone through all of moveList, again and again until everything is sent, and prints how long it took to
// go on each time.
func moves(ctx context.Context, w *world) error {
	bytes := w.size(160)
	source, err := w.collection(bytes)
	if err != nil {
		return err
	}
	p, other, err := w.phone()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	t, err := w.begin(ctx, source, p.Device, other)
	if err != nil {
		return err
	}
	took, err := p.wander(ctx, t.sender, w.diary())
	if err != nil {
		return err
	}
	r, failure := t.end()
	fmt.Printf("## A phone that moves: %d MiB at 20 Mbit/s\n\n", bytes>>20)
	fmt.Println("| what happens | times | going again after, median s | worst s |")
	fmt.Println("|---|---:|---:|---:|")
	var all []time.Duration
	for _, m := range moveList {
		if ds := took[m.name]; len(ds) > 0 {
			all = append(all, ds...)
			fmt.Printf("| %s | %d | %s | %s |\n", m.name, len(ds), seconds(quantile(ds, 0.5)), seconds(quantile(ds, 1)))
		}
	}
	if failure != nil {
		return fmt.Errorf("after %d moves: %w", len(all), failure)
	}
	if len(all) == 0 {
		return errors.New("everything was sent before anything happened")
	}
	p95 := quantile(all, 0.95)
	wire, repeated, said, err := p.spent(r.sealed)
	if err != nil {
		return err
	}
	fmt.Printf("\nall %d: p95 %s s; %s; %s s altogether; %s sealed, out of the phone went %.3f of that: TCP repeated %.3f, programs said %.3f; %s a move\n", len(all),
		seconds(p95), r.shares(), seconds(r.all), size(r.sealed), wire, repeated, said, size(int64((said-1)*float64(r.sealed))/int64(len(all))))
	if w.strict && p95 > goingWithin {
		return fmt.Errorf("going again takes %v at p95, and may take %v", p95, goingWithin)
	}
	return nil
}

// phone makes a phone in the first of two networks, and the other device in a third.
func (w *world) phone() (p *phone, other *natlab.Device, err error) {
	p = &phone{}
	for i, rtt := range []time.Duration{20 * ms, 60 * ms} {
		p.links[i] = impair.Both(w.seed+uint64(i), impair.Profile{Delay: rtt / 2, Rate: 20 * mbit})
		if p.homes[i], err = w.lab.Home(natlab.PortRestricted, natlab.Cable{Link: p.links[i]}); err != nil {
			return nil, nil, err
		}
	}
	if p.Device, err = p.homes[0].Device(natlab.Cable{}); err != nil {
		return nil, nil, err
	}
	h, err := w.lab.Home(natlab.PortRestricted, natlab.Cable{})
	if err != nil {
		return nil, nil, err
	}
	other, err = h.Device(natlab.Cable{})
	return p, other, err
}

// wander makes moves until the sender has sent everything, and returns how long each took to go on.
func (p *phone) wander(ctx context.Context, sender *env.Process, note func(time.Time, string, time.Duration)) (map[string][]time.Duration, error) {
	ctx, over := context.WithCancel(ctx)
	defer over()
	go func() {
		sender.WaitFor(ctx, "the end", func(e env.Event) bool { return e.Stage == "waiting" || e.Result != nil || e.Error != nil })
		over()
	}()
	took := map[string][]time.Duration{}
	for i := 0; p.sends(ctx, calm); i++ {
		m := moveList[i%len(moveList)]
		if err := m.make(ctx, p); err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		began := time.Now()
		if p.sends(ctx, going) {
			took[m.name] = append(took[m.name], time.Since(began))
			note(began, m.name, time.Since(began))
		}
	}
	return took, nil
}

// diary returns what writes down each move beside the logs, if those are wanted.
func (w *world) diary() func(at time.Time, move string, took time.Duration) {
	if w.logs == "" {
		return func(time.Time, string, time.Duration) {}
	}
	var b strings.Builder
	return func(at time.Time, move string, took time.Duration) {
		fmt.Fprintf(&b, "%s %s: %s s\n", at.UTC().Format(time.RFC3339Nano), move, seconds(took))
		os.WriteFile(filepath.Join(w.logs, fmt.Sprintf("%02d-moves.txt", w.runs)), []byte(b.String()), 0o600)
	}
}

// sends waits until that many bytes more have left the phone's network, or reports false when ctx has ended.
func (p *phone) sends(ctx context.Context, bytes int64) bool {
	line := p.links[p.in].Up
	for target := line.Stats().Bytes + bytes; line.Stats().Bytes < target; {
		if wait(ctx, 10*ms) != nil {
			return false
		}
	}
	return true
}

// spent says what left both networks, as parts of so many sealed bytes: all of it, headers and repetitions included; what the kernel repeated over TCP;
// and what programs said, the packs that a move broke off included.
func (p *phone) spent(sealed int64) (all, repeated, said float64, err error) {
	segments, err := counter(p.Device, "Tcp", "RetransSegs")
	wire := p.links[0].Up.Stats().Bytes + p.links[1].Up.Stats().Bytes
	of := func(n int64) float64 { return float64(n) / float64(sealed) }
	return of(wire), of(segments * frame), of(wire-segments*frame) * payload, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quantile returns the smallest of ds, which has at least one element, that no more than the part 1-q of them exceed.
func quantile(ds []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[int(math.Ceil(q*float64(len(s))))-1]
}
