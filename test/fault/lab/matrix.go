//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/test/impair"
	"github.com/decant-dev/decant/test/natlab"
)

// cell is one of the matrix of R-12: what the old device's link does, and which way the packs take.
type cell struct {
	way  string // "direct", "relay" or "stored"
	rtt  time.Duration
	loss float64
	rate int64 // bytes a second
}

// ways are what a cell's packs can take: directly between two devices of one LAN, without a server; through the server's
// relay or its store, whatever is better, between two symmetric NATs; over the server's store alone.
var ways = []string{"direct", "relay", "stored"}

const (
	conns       = 4    // packs in flight at once, each on a connection of its own
	cleanBar    = 0.85 // of the rate, where nothing is lost
	lossyBar    = 0.8  // of what the formula of Mathis et al. gives so many connections, but no more than of the rate
	wasteBar    = 0.01 // of the sealed bytes may leave a second time
	smallest    = 256 << 10
	largest     = 64 << 20
	parallelFor = 10 * mbit // slower cells run side by side
)

// cells lists what the flags select.
func (o *options) cells() (out []cell) {
	for _, way := range o.ways {
		for _, rate := range o.rates {
			for _, rtt := range o.rtts {
				for _, loss := range o.losses {
					out = append(out, cell{way, rtt, loss, int64(rate * mbit)})
				}
			}
		}
	}
	return out
}

// reference is the goodput in bytes a second that the cell's bar is a part of: the rate, or what lost packets leave of it.
func (c cell) reference() float64 {
	return min(float64(c.rate), conns*impair.Mathis(c.rtt, c.loss))
}

func (c cell) bar() float64 {
	if c.loss > 0 {
		return lossyBar
	}
	return cleanBar
}

// bytes is the size of the collection, so that it takes about that long at half the reference.
func (c cell) bytes(span time.Duration) int64 {
	n := int64(c.reference() * span.Seconds() / 2)
	return min(max(n, smallest), largest) &^ (64<<10 - 1)
}

// outcome is what came of a cell.
type outcome struct {
	cell
	size  int64 // of the collection
	took  *result
	waste float64 // sealed bytes that left more than once, and everything else that was said, as a part of the sealed bytes
	err   error
}

// goodput is the sealed bytes a second while sending, as a part of the reference.
func (o *outcome) goodput() float64 {
	return float64(o.took.content()) / o.took.moving.Seconds() / o.reference()
}

// grid runs the cells of the matrix and prints them: first slow ones, side by side because they hardly need a processor, then each of the others
// alone. What the flag -within leaves no time for is in the table as such.
func grid(ctx context.Context, w *world) error {
	if w.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.within)
		defer cancel()
	}
	cells := w.cells()
	outcomes := make([]outcome, len(cells))
	for _, slow := range []bool{true, false} {
		g := new(errgroup.Group)
		g.SetLimit(1)
		if slow {
			g.SetLimit(w.parallel)
		}
		for i, c := range cells {
			if slow != (c.rate <= parallelFor) {
				continue
			}
			g.Go(func() error {
				outcomes[i] = w.cell(ctx, c)
				fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), outcomes[i].row())
				return nil
			})
		}
		g.Wait()
	}
	return w.print(outcomes)
}

// errTime is that of a cell that was not begun, or was cut off, because the time for the whole table was over.
var errTime = errors.New("no time was left for it")

func (w *world) print(outcomes []outcome) error {
	fmt.Println("## The matrix: the old device's link, both ways alike")
	fmt.Println("\nGoodput is of the sealed bytes, from the beginning of sending to the receipt at the old device; the reference is the rate,")
	fmt.Printf("or what the formula of Mathis et al. gives %d connections, if that is less.\n", conns)
	fmt.Println("\n| way | rate | round trip | loss | collection | sealed | route | moving s | all s | goodput | reference | of it | bar | said twice, and aside |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")
	failed, left, slow, wasteful := 0, 0, 0, 0
	for i := range outcomes {
		o := &outcomes[i]
		fmt.Println(o.row())
		switch {
		case errors.Is(o.err, errTime):
			left++
		case o.err != nil:
			failed++
		case o.goodput() < o.bar():
			slow++
		}
		if o.err == nil && o.waste > wasteBar {
			wasteful++
		}
	}
	fmt.Printf("\n%d cells: %d complete and equal byte for byte, %d failed, %d left out for want of time; goodput below the bar in %d, more than %.0f %% said twice or aside in %d\n",
		len(outcomes), len(outcomes)-failed-left, failed, left, slow, wasteBar*100, wasteful)
	if failed > 0 || w.strict && slow > 0 {
		return errBar
	}
	return nil
}

func (o *outcome) row() string {
	head := fmt.Sprintf("| %s | %s | %v | %.0f %% | %s |", o.way, bits(o.rate), o.rtt, o.loss*100, size(o.size))
	if o.err != nil {
		return head + " | **failed**: " + oneLine(o.err) + " | | | | | | | |"
	}
	r := o.took
	return fmt.Sprintf("%s %s | %s | %s | %s | %s | %s | %.2f | %.2f | %.3f |", head, size(r.sealed), r.shares(), seconds(r.moving), seconds(r.all),
		perSecond(r.content(), r.moving), perSecond(int64(o.reference()), time.Second), o.goodput(), o.bar(), o.waste)
}

// cell runs one transfer.
func (w *world) cell(ctx context.Context, c cell) (o outcome) {
	o = outcome{cell: c, size: c.bytes(w.span)}
	if w.mebi > 0 {
		o.size = int64(w.mebi) << 20
	}
	defer func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && o.err != nil {
			o.err = errTime
		}
	}()
	if o.err = ctx.Err(); o.err != nil {
		return o
	}
	var source string
	if source, o.err = w.collection(o.size); o.err != nil {
		return o
	}
	link := impair.Both(w.seed, impair.Profile{Delay: c.rtt / 2, Rate: c.rate, Loss: c.loss})
	var devices [2]*natlab.Device
	if devices, o.err = w.ends(c.way, link); o.err != nil {
		return o
	}
	in := *w
	in.route = map[string]string{"direct": "direct", "relay": "auto", "stored": "stored"}[c.way]
	if o.took, o.err = in.pair(ctx, source, devices); o.err == nil {
		o.waste, o.err = waste(devices[0], link, o.took.sealed)
	}
	return o
}

// ends makes two devices, the first of which has the link.
func (w *world) ends(way string, link *impair.Link) (devices [2]*natlab.Device, err error) {
	if way == "direct" {
		h, err := w.lab.Home(natlab.PortRestricted, natlab.Cable{})
		if err != nil {
			return devices, err
		}
		for i, c := range []natlab.Cable{{Link: link}, {}} {
			if devices[i], err = h.Device(c); err != nil {
				return devices, err
			}
		}
		return devices, nil
	}
	for i, c := range []natlab.Cable{{Link: link}, {}} {
		h, err := w.lab.Home(natlab.Symmetric, c)
		if err != nil {
			return devices, err
		}
		if devices[i], err = h.Device(natlab.Cable{}); err != nil {
			return devices, err
		}
	}
	return devices, nil
}

// frame is what an Ethernet frame of TCP is beyond its payload of 1,448 bytes.
const frame = 1514

// waste reckons what has left the device beyond so many sealed bytes: what was on the line, without the segments that the
// kernel says it repeated and without headers. Control messages and acknowledgements are in it, and QUIC's repetitions.
func waste(from *natlab.Device, link *impair.Link, sealed int64) (float64, error) {
	repeated, err := counter(from, "Tcp", "RetransSegs")
	if err != nil {
		return 0, err
	}
	said := float64(link.Up.Stats().Bytes-repeated*frame) * payload
	return math.Max(0, said/float64(sealed)-1), nil
}

// counter reads one of the kernel's counters of a device's network (proc_net_snmp).
func counter(d *natlab.Device, protocol, name string) (int64, error) {
	var b []byte
	err := d.Do(func() (err error) {
		b, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		return 0, err
	}
	var names []string
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) == 0 || fields[0] != protocol+":" {
			continue
		}
		if names == nil { // the first of the two lines
			names = fields
			continue
		}
		for i, n := range names {
			if n == name && i < len(fields) {
				return strconv.ParseInt(fields[i], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("lab: the kernel does not count %s %s", protocol, name)
}
