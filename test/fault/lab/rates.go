//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/decant-dev/decant/test/natlab"
)

// payload is the part of a cable's rate that TCP's payload can have: 1,448 bytes of a frame of 1,514.
const payload = 1448.0 / 1514

var errBar = errors.New("a bar is missed")

// links prints how much of a cable's payload the sealed bytes of a transfer between two devices in one LAN get.
func links(ctx context.Context, w *world) error {
	const bar = 0.95
	fmt.Println("## Two devices in one LAN")
	fmt.Println("\n| cable | collection | route | all s | goodput | sealed, of the payload rate | 1 plain TCP connection | 4 of them | CPU s, both | repeated |")
	fmt.Println("|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")
	var missed error
	for _, row := range []struct {
		rate int64
		mebi int
	}{{1000 * mbit, 1024}, {100 * mbit, 128}} {
		h, err := w.lab.Home(natlab.PortRestricted, natlab.Cable{})
		if err != nil {
			return err
		}
		var devices [2]*natlab.Device
		for i := range devices {
			if devices[i], err = h.Device(natlab.Cable{Rate: row.rate}); err != nil {
				return err
			}
		}
		peers, err := w.peers(ctx, row.mebi, devices)
		if err != nil {
			return err
		}
		before, err := counter(devices[0], "Tcp", "RetransSegs")
		if err != nil {
			return err
		}
		bytes, r, err := w.measured(ctx, row.mebi, devices)
		if err != nil {
			return err
		}
		after, err := counter(devices[0], "Tcp", "RetransSegs")
		if err != nil {
			return err
		}
		of := func(bytes int64, d time.Duration) float64 {
			return float64(bytes) / d.Seconds() / (payload * float64(row.rate))
		}
		part := of(r.content(), r.moving)
		fmt.Printf("| %s | %s | %s | %s | %s | %.3f | %.3f | %.3f | %.1f | %d |\n", bits(row.rate), size(bytes), r.shares(), seconds(r.all), perSecond(bytes, r.moving),
			part, of(bytes, peers[0]), of(bytes, peers[1]), r.cpu.Seconds(), after-before)
		if w.strict && part < bar {
			missed = errBar
		}
	}
	return missed
}

// both prints how much of two paths together the sealed bytes of a transfer get.
func both(ctx context.Context, w *world) error {
	const bar = 0.9
	fmt.Println("## A path to the other device and one to the server")
	fmt.Println("\n| to the device | to the server | collection | routes | all s | goodput | sealed, of both together | CPU s, both |")
	fmt.Println("|---:|---:|---:|---|---:|---:|---:|---:|")
	var missed error
	for _, row := range []struct{ direct, stored int64 }{{20 * mbit, 20 * mbit}, {40 * mbit, 10 * mbit}, {10 * mbit, 40 * mbit}} {
		if !strings.Contains(fmt.Sprintf("%s + %s", bits(row.direct), bits(row.stored)), w.only) {
			continue
		}
		homes, devices, err := w.two(natlab.Cable{})
		if err != nil {
			return err
		}
		if err := errors.Join(homes[0].Cap(homes[1].Addr(), row.direct), homes[0].Cap(w.server.Addr(), row.stored)); err != nil {
			return err
		}
		bytes, r, err := w.measured(ctx, 64, devices)
		if err != nil {
			return err
		}
		part := float64(r.content()) / r.moving.Seconds() / (payload * float64(row.direct+row.stored))
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %.2f | %.1f |\n", bits(row.direct), bits(row.stored), size(bytes), r.shares(), seconds(r.all),
			perSecond(bytes, r.moving), part, r.cpu.Seconds())
		if w.strict && part < bar {
			missed = errBar
		}
	}
	return missed
}

// measured sends a collection of that many MiB, if the command line says nothing else.
func (w *world) measured(ctx context.Context, mebi int, devices [2]*natlab.Device) (int64, *result, error) {
	bytes := w.size(mebi)
	source, err := w.collection(bytes)
	if err != nil {
		return 0, nil, err
	}
	r, err := w.pair(ctx, source, devices)
	return bytes, r, err
}

// peers is what as many bytes as measured sends take over one plain TCP connection between the devices, and over four.
func (w *world) peers(ctx context.Context, mebi int, devices [2]*natlab.Device) (took [2]time.Duration, err error) {
	for i, conns := range []int{1, conns} {
		if took[i], err = plain(ctx, devices[0], devices[1], w.size(mebi), conns); err != nil {
			return took, err
		}
	}
	return took, nil
}
