//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/decant-dev/decant/test/natlab"
)

// relayedWithin is how soon the first byte has to arrive where no direct path can be had.
const relayedWithin = 5 * time.Second

// uplink is what a home has in the table of pairs: 100 Mbit/s.
var uplink = natlab.Cable{Rate: 12_500_000}

// nats prints the table of NAT pairs.
func nats(ctx context.Context, w *world) error {
	bytes := w.size(32)
	source, err := w.collection(bytes)
	if err != nil {
		return err
	}
	homes, devices, err := w.two(uplink)
	if err != nil {
		return err
	}
	udp := "UDP passes"
	if w.noUDP {
		udp = "UDP is dropped"
	}
	fmt.Printf("## Pairs of NATs: %d MiB, 100 Mbit/s for each home, %s\n\n", bytes>>20, udp)
	fmt.Println("| old device behind | new device behind | by UDP, in theory | route | first pack to the device s | first byte s | all s | throughput |")
	fmt.Println("|---|---|---|---|---:|---:|---:|---:|")
	missed := 0
	for _, a := range w.kinds {
		for _, b := range w.kinds {
			for i, kind := range []natlab.NAT{a, b} {
				if err := homes[i].SetNAT(kind); err != nil {
					return err
				}
			}
			r, err := w.pair(ctx, source, devices)
			if err != nil {
				missed++
				fmt.Printf("| %v | %v | %s | **failed**: %s | | | | |\n", a, b, w.theory(a, b), oneLine(err))
				continue
			}
			if w.strict && !w.good(a, b, r) {
				missed++
			}
			fmt.Printf("| %v | %v | %s | %s | %s | %s | %s | %s |\n", a, b, w.theory(a, b), r.shares(), seconds(r.met), seconds(r.first), seconds(r.all), perSecond(bytes, r.moving))
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d pairs are not as they should be", missed, len(w.kinds)*len(w.kinds))
	}
	return nil
}

// two makes two homes with a device each.
func (w *world) two(c natlab.Cable) (homes [2]*natlab.Home, devices [2]*natlab.Device, err error) {
	for i := range homes {
		if homes[i], err = w.lab.Home(natlab.PortRestricted, c); err != nil {
			return homes, devices, err
		}
		if err = homes[i].BlockUDP(w.noUDP); err != nil {
			return homes, devices, err
		}
		if devices[i], err = homes[i].Device(natlab.Cable{}); err != nil {
			return homes, devices, err
		}
	}
	return homes, devices, nil
}

func (w *world) theory(a, b natlab.NAT) string {
	if natlab.Punchable(a, b) && !w.noUDP {
		return "direct"
	}
	return "relayed"
}

// good says whether a pair meets the bar.
func (w *world) good(a, b natlab.NAT, r *result) bool {
	return r.went("direct") || w.theory(a, b) == "relayed" && r.went("relayed") && r.first <= relayedWithin
}
