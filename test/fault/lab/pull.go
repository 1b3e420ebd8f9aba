//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/natlab"
)

// twice is the bar of R-21: the part of the sealed bytes that may leave the old device a second time.
const twice = 0.01

// pull takes away one way after the other from two devices in one LAN. At a quarter the new device is in another network, where
// nothing but the relay and the server's store leads; at half the server is gone too, and both devices are killed. Then all are
// started again.
func pull(ctx context.Context, w *world) error {
	bytes := w.size(4096)
	source, err := w.collection(bytes)
	if err != nil {
		return err
	}
	lan, err := w.lab.Home(natlab.Symmetric, natlab.Cable{})
	if err != nil {
		return err
	}
	away, err := w.lab.Home(natlab.Symmetric, natlab.Cable{})
	if err != nil {
		return err
	}
	var devices [2]*natlab.Device
	for i := range devices {
		if devices[i], err = lan.Device(natlab.Cable{}); err != nil {
			return err
		}
	}
	if err := errors.Join(lan.BlockUDP(true), away.BlockUDP(true)); err != nil { // no hole is punched
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	before, err := sentFrom(devices[0])
	if err != nil {
		return err
	}
	t, err := w.begin(ctx, source, devices[0], devices[1])
	if err != nil {
		return err
	}
	cut, err := w.takeAway(ctx, t, devices, away, bytes)
	if err != nil {
		return err
	}
	if err := t.again(ctx, devices); err != nil {
		return err
	}
	second := t.sender
	r, err := t.end()
	if err != nil {
		return err
	}
	after, err := sentFrom(devices[0])
	if err != nil {
		return err
	}
	return w.tellPull(bytes, after-before, cut, second.Wait(), r)
}

// takeAway pulls the LAN and the relay and kills both devices, and returns what the sender had said by then.
func (w *world) takeAway(ctx context.Context, t *transfer, devices [2]*natlab.Device, away *natlab.Home, bytes int64) (*env.Result, error) {
	until := func(part int64) error {
		_, err := t.sender.WaitFor(ctx, "a part of the collection", func(e env.Event) bool { return e.Progress != nil && e.Progress.BytesDone >= bytes*part/4 })
		return err
	}
	if err := until(1); err != nil {
		return nil, err
	}
	if err := devices[1].Move(away, natlab.Cable{}); err != nil {
		return nil, err
	}
	if err := until(2); err != nil {
		return nil, err
	}
	if err := w.server.Down(); err != nil {
		return nil, err
	}
	t.sender.Kill()
	t.receiver.Kill()
	return t.sender.Wait(), w.server.Up()
}

// again starts both devices as a person does after a crash.
func (t *transfer) again(ctx context.Context, devices [2]*natlab.Device) (err error) {
	if t.receiver, err = devices[1].Start(ctx, t.device("new", "receive", "--yes", "--to", filepath.Join(t.at, "to"))); err != nil {
		return err
	}
	t.sender, err = devices[0].Start(ctx, t.device("old", "send", t.source))
	return err
}

// tellPull prints what it came to. Nothing that the journal had may be read again; what left the device beyond the sealed bytes was
// under way when something was pulled, or is what carries them (TLS, TCP).
func (w *world) tellPull(bytes, sent int64, first, second *env.Result, r *result) error {
	had := int64(0) // at least
	for _, e := range first.Events {
		if e.Progress != nil {
			had = max(had, e.Progress.BytesDone)
		}
	}
	sealed := first.WireBytes() + r.sealed
	again := second.Outcome().Read - (bytes - had)
	more := float64(sent)/float64(sealed) - 1
	fmt.Printf("## The LAN, then the relay, then both devices: %d MiB\n\n", bytes>>20)
	fmt.Println("| | |\n|---|---:|")
	fmt.Printf("| before the kill: routes | %s |\n", (&result{routes: routesOf(first)}).shares())
	fmt.Printf("| after it: routes | %s |\n", r.shares())
	fmt.Printf("| content that was noted when both died | %s |\n", size(had))
	fmt.Printf("| read and hashed again of that | %s |\n", size(max(again, 0)))
	fmt.Printf("| sealed bytes that are kept somewhere | %s |\n", size(sealed))
	fmt.Printf("| bytes out of the old device, TLS, the relay's framing and all messages included | %s |\n", size(sent))
	fmt.Printf("| more than the sealed bytes | %.2f %% |\n", 100*more)
	if had < bytes/4 {
		return errors.New("both died before half was sent")
	}
	if again > 0 {
		return fmt.Errorf("%d bytes were read again that were sent", again)
	}
	if w.strict && more > twice {
		return fmt.Errorf("%.2f %% more than the sealed bytes left the device", 100*more)
	}
	return nil
}

// headers is what Ethernet, IPv4 and TCP with timestamps put before each packet.
const headers = 14 + 20 + 32

// sentFrom is how many bytes a device has sent since it is there, on whatever interface, without the headers of packets.
func sentFrom(d *natlab.Device) (sum int64, err error) {
	var text []byte
	err = d.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, counts, ok := strings.Cut(lines.Text(), ":")
		f := strings.Fields(counts)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 10 {
			continue
		}
		n, err1 := strconv.ParseInt(f[8], 10, 64) // transmitted bytes
		packets, err2 := strconv.ParseInt(f[9], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		sum += n - headers*packets
	}
	return sum, nil
}
