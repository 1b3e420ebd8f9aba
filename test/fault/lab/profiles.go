//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/decant-dev/decant/test/impair"
	"github.com/decant-dev/decant/test/natlab"
)

// profile is a cell of the matrix of R-12: what the old device's home has for a link. The new device's is good.
type profile struct {
	name  string
	rtt   time.Duration
	loss  float64
	rate  int64 // bytes a second
	bytes int64 // of the collection
	flaps bool
}

const (
	kbit = 1000 / 8
	mbit = 1000 * kbit
	ms   = time.Millisecond
)

var matrix = []profile{
	{name: "clean, near, fast", rtt: 20 * ms, rate: 100 * mbit, bytes: 64 << 20},
	{name: "clean, far, fast", rtt: 300 * ms, rate: 100 * mbit, bytes: 64 << 20},
	{name: "clean, near, slow", rtt: 100 * ms, rate: 5 * mbit, bytes: 8 << 20},
	{name: "clean, satellite", rtt: 800 * ms, rate: 5 * mbit, bytes: 8 << 20},
	{name: "clean, worst", rtt: 800 * ms, rate: 250 * kbit, bytes: 512 << 10},
	{name: "1 %, near, fast", rtt: 20 * ms, loss: 0.01, rate: 100 * mbit, bytes: 32 << 20},
	{name: "1 %, slow", rtt: 100 * ms, loss: 0.01, rate: 5 * mbit, bytes: 8 << 20},
	{name: "5 %, slow", rtt: 100 * ms, loss: 0.05, rate: 5 * mbit, bytes: 4 << 20},
	{name: "10 %, far", rtt: 300 * ms, loss: 0.10, rate: 5 * mbit, bytes: 2 << 20},
	{name: "10 %, worst", rtt: 800 * ms, loss: 0.10, rate: 250 * kbit, bytes: 512 << 10},
	{name: "flapping", rtt: 20 * ms, rate: 5 * mbit, bytes: 16 << 20, flaps: true},
}

// The flapping link is up and down within these.
var (
	flapUp   = impair.Span{Min: 5 * time.Second, Max: 15 * time.Second}
	flapDown = impair.Span{Min: 2 * time.Second, Max: 10 * time.Second}
)

func (p profile) impairment() impair.Profile {
	return impair.Profile{Delay: p.rtt / 2, Rate: p.rate, Loss: p.loss}
}

// profiles prints the table of bad links. Beside the goodput stand the sealed bytes that it takes, padding included, as a part
// of the rate, and what one plain TCP connection got over the same link just before.
func profiles(ctx context.Context, w *world) error {
	fmt.Println("## The old device's link")
	fmt.Println("\n| profile | round trip | loss | rate | collection | route | moving s | all s | goodput | sealed, of the rate | one TCP connection | on the wire, of sealed |")
	fmt.Println("|---|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|")
	failed := 0
	for _, p := range matrix {
		if !strings.Contains(p.name, w.only) {
			continue
		}
		if err := w.profile(ctx, p); err != nil {
			failed++
			fmt.Printf("| %s | %v | %.0f %% | %s | %s | **failed**: %s | | | | | | |\n", p.name, p.rtt, p.loss*100, bits(p.rate), size(p.bytes), oneLine(err))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d profiles failed", failed)
	}
	return nil
}

// profile runs one transfer and prints its row.
func (w *world) profile(ctx context.Context, p profile) error {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	source, err := w.collection(p.bytes)
	if err != nil {
		return err
	}
	link := impair.Both(w.seed, p.impairment())
	var devices [2]*natlab.Device
	for i, c := range []natlab.Cable{{Link: link}, {}} {
		h, err := w.lab.Home(natlab.PortRestricted, c)
		if err != nil {
			return err
		}
		if devices[i], err = h.Device(natlab.Cable{}); err != nil {
			return err
		}
	}
	if p.flaps {
		flapping, stop := context.WithCancel(ctx)
		defer stop()
		go link.Flap(flapping, w.seed, flapUp, flapDown)
	}
	plain, err := w.plainTCP(devices[0])
	if err != nil {
		return err
	}
	before := link.Up.Stats().Bytes
	r, err := w.pair(ctx, source, devices)
	if err != nil {
		return err
	}
	wire := link.Up.Stats().Bytes - before
	fmt.Printf("| %s | %v | %.0f %% | %s | %s | %s | %s | %s | %s | %.2f | %s | %.2f |\n", p.name, p.rtt, p.loss*100, bits(p.rate), size(p.bytes), r.shares(),
		seconds(r.moving), seconds(r.all), perSecond(p.bytes, r.moving), float64(r.content())/r.moving.Seconds()/float64(p.rate), plain,
		float64(wire)/float64(r.sealed))
	return nil
}

// plainTCP is what one connection to the server's machine carries in ten seconds, its slow start included.
func (w *world) plainTCP(from *natlab.Device) (string, error) {
	const span = 10 * time.Second
	out, in, err := connect(from, w.server)
	if err != nil {
		return "", err
	}
	defer out.Close()
	defer in.Close()
	in.SetDeadline(time.Now().Add(span))
	out.SetDeadline(time.Now().Add(span))
	go io.Copy(out, zeros{})
	n, _ := io.Copy(io.Discard, in)
	return perSecond(n, span), nil
}

func bits(bytesPerSecond int64) string {
	return fmt.Sprintf("%g Mbit/s", float64(bytesPerSecond)/mbit)
}

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// oneLine is the first line of an error, so that it fits into a table.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
