//go:build linux

package fault

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
	"github.com/decant-dev/decant/test/natlab"
)

var (
	allPartings = flag.Bool("partition.all", false, "cut every set of paths at every state, not all three and one other set")
	partings    = flag.Int("partition.schedules", 0, "run this `number` of transfers during which random paths are cut at random points, for random times")
	partingSeed = flag.Uint64("partition.seed", 1, "of -partition.schedules")
)

// triangle is a lab with a server, and corners in which pairs of devices live, each behind a router of its own.
type triangle struct {
	lab     *natlab.Lab
	bin     string
	dir     string
	src     string
	server  *natlab.Device
	address string
	corners chan *corner // those that are free
}

// corner is an old device and a new one.
type corner struct {
	homes   [2]*natlab.Home
	devices [2]*natlab.Device
}

// The two of a corner.
const (
	theOld = iota
	theNew
)

// paths are what can be cut: the old device from the server, the new one from it, and the two from each other.
type paths [3]bool

var allPaths = [...]string{"old–server", "new–server", "old–new"}

// String names what is cut.
func (p paths) String() string {
	var names []string
	for i, cut := range p {
		if cut {
			names = append(names, allPaths[i])
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

const sideBySide = 6 // transfers

func newTriangle(t *testing.T) *triangle {
	t.Helper()
	w := &triangle{lab: natlab.Test(t), dir: t.TempDir(), corners: make(chan *corner, sideBySide)}
	w.src = source(t, w.dir)
	var err error
	if w.bin, err = env.Binary(env.Faulty); err != nil {
		t.Fatal(err)
	}
	if w.server, err = w.lab.Public(natlab.Cable{}); err != nil {
		t.Fatal(err)
	}
	p, err := w.server.Start(t.Context(), env.Command{Path: w.bin, Args: []string{"serve", "--data", filepath.Join(w.dir, "server"),
		"--host", w.server.Addr().String(), "--ballast", "1MiB", "--watermark", "1MiB"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	line, err := p.WaitFor(ctx, "the server's address", func(e env.Event) bool { return strings.Contains(e.Raw, "@") })
	if err != nil {
		t.Fatal(err)
	}
	w.address = strings.TrimSpace(line.Raw)
	for range sideBySide {
		c := &corner{}
		for i := range c.homes {
			if c.homes[i], err = w.lab.Home(natlab.PortRestricted, natlab.Cable{}); err == nil {
				c.devices[i], err = c.homes[i].Device(natlab.Cable{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.corners <- c
	}
	return w
}

// ends are the addresses between which a path lies.
func (w *triangle) ends(c *corner, path int) (a, b netip.Addr) {
	server := w.server.Addr()
	return [...]netip.Addr{c.homes[theOld].Addr(), c.homes[theNew].Addr(), c.homes[theOld].Addr()}[path],
		[...]netip.Addr{server, server, c.homes[theNew].Addr()}[path]
}

// part cuts paths, or heals them.
func (w *triangle) part(c *corner, p paths, cut bool) error {
	do := w.lab.Unite
	if cut {
		do = w.lab.Part
	}
	var err error
	for i, concerned := range p {
		if concerned {
			err = errors.Join(err, do(w.ends(c, i)))
		}
	}
	return err
}

// parting is paths that are cut when a process has come to a point, and for how long.
type parting struct {
	point string // "sender/…" or "receiver/…", with a visit
	cut   paths
	lasts time.Duration
}

func (p parting) side() int {
	if strings.HasPrefix(p.point, "sender/") {
		return theOld
	}
	return theNew
}

// passage is one transfer with partings.
type passage struct {
	*corner
	w   *triangle
	dir string
	ran [2]*env.Process
}

// run takes a collection through partings, one after the other, in the order in which the processes come to them, and demands
// that everything arrives and that the old device is never told to be wiped before.
func (w *triangle) run(t *testing.T, all ...parting) {
	t.Helper()
	c := <-w.corners
	defer func() { w.corners <- c }()
	p := &passage{corner: c, w: w, dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var stops [2][]string
	for _, x := range all {
		stops[x.side()] = append(stops[x.side()], x.point)
	}
	p.begin(t, ctx, theNew, "", stops[theNew], "receive", "--yes", "--to", p.path("to"))
	code, err := p.ran[theNew].WaitFor(ctx, "a code", func(e env.Event) bool { return e.Pairing != nil && e.Pairing.Code != "" })
	if err != nil {
		t.Fatal(err)
	}
	p.begin(t, ctx, theOld, code.Pairing.Code, stops[theOld], "send", "--code-fd", "3", w.src)
	for _, x := range all {
		if err := p.undergo(t, ctx, x); err != nil {
			t.Fatalf("%s, %v cut: %v", x.point, x.cut, err)
		}
	}
	p.arrive(t)
}

func (p *passage) path(name string) string { return filepath.Join(p.dir, name) }

func (p *passage) command(side int, args ...string) env.Command {
	state := p.path([...]string{"old", "new"}[side])
	return env.Command{Path: p.w.bin, Env: []string{"DECANT_ROUTE=auto"},
		Args: append([]string{"--json", "--server", p.w.address, "--state", state, "--log", state + ".log"}, args...)}
}

func (p *passage) begin(t *testing.T, ctx context.Context, side int, secret string, stops []string, args ...string) {
	t.Helper()
	c := p.command(side, args...)
	c.Secret, c.Env = secret, append(c.Env, env.StopEnv(stops...))
	var err error
	if p.ran[side], err = p.devices[side].Start(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.ran[side].Kill)
}

// undergo waits until a process stops at the parting's point, cuts the paths, lets it go on, and heals them after a while.
func (p *passage) undergo(t *testing.T, ctx context.Context, x parting) (err error) {
	t.Helper()
	stopped := p.ran[x.side()]
	if err := stopped.Stopped(ctx); err != nil {
		return err
	}
	if err := p.w.part(p.corner, x.cut, true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.w.part(p.corner, x.cut, false)) }()
	stopped.Signal(syscall.SIGCONT)
	underway := time.After(min(time.Second, x.lasts/2)) // what had been sent when the paths were cut
	over := time.After(x.lasts)                         // the parting itself
	for early := false; ; {
		select {
		case <-underway:
			early = !p.mayWipe(t) // the receipt is not with the old device yet
		case <-over:
			if isolated := x.cut[0] && x.cut[2]; isolated && early && p.mayWipe(t) {
				t.Errorf("%s: the old device reaches nobody, and may be wiped", x.point)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mayWipe asks the old device. Where it says yes, everything must have arrived.
func (p *passage) mayWipe(t *testing.T) bool {
	t.Helper()
	if p.ran[theOld] == nil {
		return false
	}
	q, err := env.Start(t.Context(), p.command(theOld, "status"))
	if err != nil {
		t.Error(err)
		return false
	}
	for _, tr := range q.Wait().Outcome().Transfers {
		if tr.SafeWipe {
			if err := corpus.Compare(p.w.src, p.path("to/src")); err != nil {
				t.Errorf("the old device may be wiped: %v", err)
			}
			return true
		}
	}
	return false
}

// arrive waits for both, and looks at what they came to.
func (p *passage) arrive(t *testing.T) {
	t.Helper()
	healed := time.Now()
	late := time.AfterFunc(patience, func() { // it says then where it hangs
		p.ran[theOld].Signal(syscall.SIGQUIT)
		p.ran[theNew].Signal(syscall.SIGQUIT)
	})
	defer late.Stop()
	sent, received := p.ran[theOld].Wait(), p.ran[theNew].Wait()
	if err := errors.Join(sent.Err(), received.Err()); err != nil {
		for i, r := range []*env.Result{sent, received} {
			name := []string{"old", "new"}[i]
			t.Errorf("%s: exit code %d\n%s\n%s", name, r.Exit, tail(p.path(name+".log")), r.Stderr)
		}
		t.Fatal(err)
	}
	t.Logf("complete %v after the last healing", time.Since(healed).Round(10*time.Millisecond))
	if r := sent.Outcome().Receipt; r == nil || !r.SafeWipe {
		t.Errorf("the sender has no receipt that allows to wipe: %+v", r)
	}
	if err := corpus.Compare(p.w.src, p.path("to/src")); err != nil {
		t.Error(err)
	}
}

// handoff are the states of a transfer at which paths are cut: before pairing, after the claim, uploading, sealed, receiving,
// applied, receipt made and posted, receipt verified.
var handoff = []string{
	string(kill.SenderGuess), string(kill.ReceiverGranted), string(kill.SenderPackPut) + ":3", string(kill.SenderCommitted),
	string(kill.ReceiverStaged) + ":2", string(kill.ReceiverAllDone), string(kill.ReceiverPosted), string(kill.SenderReceipt),
}

// TestR21Partition cuts sets of paths at every state of a transfer, and heals them: everything arrives without anybody's doing, and
// the old device may be wiped only then.
func TestR21Partition(t *testing.T) {
	w := newTriangle(t)
	t.Run("cut", func(t *testing.T) {
		for i, point := range handoff {
			const every = 1<<len(allPaths) - 1
			for set := range every + 1 {
				if !*allPartings && set != every && set != 1+i%(every-1) {
					continue
				}
				x := parting{point: point, cut: paths{set&1 != 0, set&2 != 0, set&4 != 0}, lasts: 2 * time.Second}
				if (i+set)%2 == 0 {
					x.lasts = 7 * time.Second // longer than a way in doubt lives
				}
				t.Run(fmt.Sprintf("%s/%v", strings.ReplaceAll(point, "/", " "), x.cut), func(t *testing.T) {
					t.Parallel()
					w.run(t, x)
				})
			}
		}
	})
}

// TestR21RandomPartitions cuts random paths two or three times in one transfer, at random visits of random points.
func TestR21RandomPartitions(t *testing.T) {
	if *partings == 0 {
		t.Skip("runs with -partition.schedules N")
	}
	w := newTriangle(t)
	r := rand.New(rand.NewPCG(*partingSeed, 0x21))
	t.Run("schedule", func(t *testing.T) {
		for i := range *partings {
			var all []parting
			for j := 0; j < len(handoff); j += 1 + r.IntN(4) { // a transfer comes to them in this order
				all = append(all, parting{point: handoff[j], cut: paths{r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0},
					lasts: 100*time.Millisecond + time.Duration(r.Int64N(int64(20*time.Second)))})
			}
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				w.run(t, all...)
			})
		}
	})
}
