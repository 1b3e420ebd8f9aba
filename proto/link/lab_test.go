//go:build linux

package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/natlab"
)

// The tests in this file run endpoints as processes in an internet of network namespaces, with a relay on it.

// labRole says which part this process plays; the test process itself has none.
const labRole = "DECANT_LINK_LAB"

func TestMain(m *testing.M) {
	role := strings.Fields(os.Getenv(labRole))
	if len(role) == 0 {
		os.Exit(m.Run())
	}
	map[string]func(args []string){"relay": labRelay, "receiver": labReceiver, "sender": labSender}[role[0]](role[1:])
}

const relayDevice = labDevice("relay")

var labLog = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))

// labRelay relays for everybody, and keeps one text for each name, as mailboxes do with sealed addresses.
func labRelay([]string) {
	var texts sync.Map
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil && len(b) > 0 {
			texts.Store(r.URL.Path, b)
		}
		if b, ok := texts.Load(r.URL.Path); ok {
			w.Write(b.([]byte))
		}
	})
	_, err := link.Listen(link.Config{Device: relayDevice, Handler: h, Listen: ":4410", Logger: labLog, Relay: &link.RelayConfig{
		Reserve: func(id.Peer) bool { return true }, Allow: func(_, _ id.Peer) bool { return true }}})
	labCheck(err)
	fmt.Println("listening")
	select {}
}

// labEndpoint opens an endpoint that tells the other device its addresses through the relay, as engines do, and gives
// learnt the other's.
func labEndpoint(args []string, h http.Handler, learnt func(e *link.Endpoint, addrs []string)) *link.Endpoint {
	me, server := labDevice(args[1]), id.Server{Peer: relayDevice.Peer(), Host: args[0], Port: id.DefaultPort}
	e, err := link.NewEndpoint(link.EndpointConfig{Device: me, Handler: h, Local: true, Logger: labLog, Relay: server})
	labCheck(err)
	mail, err := link.NewDialer(link.DialConfig{Device: me, Server: server, Timeout: time.Second})
	labCheck(err)
	text := func(name, body string) string {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, link.BaseURL+"/"+name, strings.NewReader(body))
		labCheck(err)
		resp, err := mail.RoundTrip(r)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	go func() {
		for last := ""; ; time.Sleep(200 * time.Millisecond) {
			text(args[1], strings.Join(e.Addrs(), " "))
			if now := text(args[2], ""); now != last && now != "" {
				last = now
				learnt(e, strings.Fields(now))
			}
		}
	}()
	return e
}

// labReceiver serves, and keeps a connection to the sender up. Its arguments are the relay's address, itself, the sender.
func labReceiver(args []string) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	labEndpoint(args, h, func(e *link.Endpoint, addrs []string) { e.Reach(labDevice(args[2]).Peer(), addrs) })
	select {}
}

// labBody is what a request carries, in bytes.
const labBody = 16 << 10

// labSender begins a request every 50 ms, for ever, and says of each that succeeds when it began and ended and which way
// there is then. Its arguments are the relay's address, itself, the receiver.
func labSender(args []string) {
	dialer := make(chan *link.PeerDialer, 1)
	e := labEndpoint(args, nil, func(_ *link.Endpoint, addrs []string) {
		d := <-dialer
		dialer <- d
		d.SetAddrs(addrs)
	})
	d := e.Dial(labDevice(args[2]).Peer())
	dialer <- d
	body := strings.Repeat("x", labBody)
	for ; ; time.Sleep(50 * time.Millisecond) {
		go func() {
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "POST", link.BaseURL+"/", strings.NewReader(body))
			labCheck(err)
			resp, err := d.RoundTrip(r)
			if err != nil {
				labLog.Info("failed", "err", err)
				return
			}
			resp.Body.Close()
			fmt.Println("done", began.UnixMicro(), time.Now().UnixMicro(), d.Path())
		}()
	}
}

func labCheck(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play starts a role in a machine of the lab.
func play(t *testing.T, where *natlab.Device, role ...string) *env.Process {
	t.Helper()
	p, err := where.Start(t.Context(), env.Command{Path: os.Args[0], Env: []string{labRole + "=" + strings.Join(role, " ")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s:\n%s", role[0], p.Wait().Stderr)
		}
	})
	return p
}

// said waits until p says a line that is as wanted, and returns it.
func said(t *testing.T, p *env.Process, within time.Duration, what string, is func(line string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	e, err := p.WaitFor(ctx, what, func(e env.Event) bool { return is(e.Raw) })
	if err != nil {
		t.Fatal(err)
	}
	return e.Raw
}

// asked waits for the first request of a sender that began after the given time and was answered, with a way of that kind
// or of any, and tells how long after that time the answer was there.
func asked(t *testing.T, sender *env.Process, after time.Time, within time.Duration, way ...link.Path) time.Duration {
	t.Helper()
	var end int64
	said(t, sender, within, fmt.Sprint("a request that is answered ", way), func(line string) bool {
		var began int64
		var path string
		if n, _ := fmt.Sscanf(line, "done %d %d %s", &began, &end, &path); n != 3 || began < after.UnixMicro() {
			return false
		}
		return len(way) == 0 || path == way[0].String()
	})
	return time.UnixMicro(end).Sub(after)
}

func ok[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// labRelayOn starts a relay on the internet.
func labRelayOn(t *testing.T, lab *natlab.Lab) string {
	t.Helper()
	d := ok(lab.Public(natlab.Cable{}))(t)
	said(t, play(t, d, "relay"), time.Minute, "the relay listens", func(line string) bool { return line == "listening" })
	return d.Addr().String()
}

// TestR15HolePunching: devices behind every pair of NATs talk through the relay, and directly where theory allows it, by QUIC
// and by TCP each where the other can't pass. What the internet itself has counted must agree. How long it took is logged:
// the bar of 5 s is the command's that prints the table (test/fault/lab nat).
func TestR15HolePunching(t *testing.T) {
	t.Parallel()
	lab := natlab.Test(t)
	if err := lab.Meter(); err != nil {
		t.Fatal(err)
	}
	relay := labRelayOn(t, lab)
	kinds := []natlab.NAT{natlab.FullCone, natlab.PortRestricted, natlab.Symmetric}
	for _, a := range kinds {
		for _, b := range kinds {
			for _, by := range []string{"quic", "tcp"} {
				t.Run(fmt.Sprintf("%v and %v by %s", a, b, by), func(t *testing.T) {
					t.Parallel()
					labPair(t, lab, relay, a, b, by == "quic")
				})
			}
		}
	}
}

// labPair has two devices talk, over only one transport unless through the relay.
func labPair(t *testing.T, lab *natlab.Lab, relay string, a, b natlab.NAT, quic bool) {
	homes := [2]*natlab.Home{ok(lab.Home(a, natlab.Cable{}))(t), ok(lab.Home(b, natlab.Cable{}))(t)}
	old, young := ok(homes[0].Device(natlab.Cable{}))(t), ok(homes[1].Device(natlab.Cable{}))(t)
	var err error
	if quic {
		err = lab.PartTCP(homes[0].Addr(), homes[1].Addr())
	} else {
		err = errors.Join(homes[0].BlockUDP(true), homes[1].BlockUDP(true))
	}
	if err != nil {
		t.Fatal(err)
	}
	me, you := fmt.Sprintf("sender-%v-%v-%v", a, b, quic), fmt.Sprintf("receiver-%v-%v-%v", a, b, quic)
	began := time.Now()
	play(t, young, "receiver", relay, you, me)
	s := play(t, old, "sender", relay, me, you)
	t.Log("any path after", asked(t, s, began, labPatience))
	want := link.PathRelayed
	if natlab.Punchable(a, b) {
		want = link.PathDirect
		t.Log("direct after", asked(t, s, began, labPatience, want))
	}
	const enough = 8 * labBody
	counted := func() labCount { return labCounted(t, lab, homes, relay) }
	for before := counted(); ; {
		asked(t, s, time.Now(), labPatience, want)
		now := counted().less(before)
		if now.way(want, quic) >= enough {
			t.Logf("%v, %v: %+v", want, time.Since(began).Round(time.Millisecond), now)
			return
		}
		if time.Since(began) > 3*labPatience {
			t.Fatalf("requests are answered %v, and over the internet went %+v", want, now)
		}
	}
}

const labPatience = 3 * time.Minute

// labCount is how many bytes the internet has passed on from one home to the other.
type labCount struct{ quic, tcp, up, down int64 } // straight, by either transport; to the relay; from it

func labCounted(t *testing.T, lab *natlab.Lab, homes [2]*natlab.Home, relay string) (n labCount) {
	t.Helper()
	from, to := homes[0].Addr(), homes[1].Addr()
	for _, f := range ok(lab.Flows())(t) {
		at := f.From.Addr() == from && f.To.Addr() == to
		switch {
		case at && f.UDP:
			n.quic += f.Bytes
		case at:
			n.tcp += f.Bytes
		case f.From.Addr() == from && f.To.Addr().String() == relay:
			n.up += f.Bytes
		case f.From.Addr().String() == relay && f.To.Addr() == to:
			n.down += f.Bytes
		}
	}
	return n
}

func (n labCount) less(o labCount) labCount {
	return labCount{n.quic - o.quic, n.tcp - o.tcp, n.up - o.up, n.down - o.down}
}

// way is what took the given way, and for certain nothing else did.
func (n labCount) way(p link.Path, quic bool) int64 {
	switch {
	case p == link.PathRelayed:
		return min(n.up, n.down)
	case quic:
		return n.quic
	}
	return n.tcp
}

// TestR14Lab: whatever changes between two devices that talk directly, a request that begins once there is a way again is
// answered. The bar is 3 s; on a loaded machine the test allows more, and logs what it took.
func TestR14Lab(t *testing.T) {
	t.Parallel()
	lab := natlab.Test(t)
	relay := labRelayOn(t, lab)
	for i, who := range []string{"sender", "receiver"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			homes := [2]*natlab.Home{ok(lab.Home(natlab.PortRestricted, natlab.Cable{}))(t), ok(lab.Home(natlab.PortRestricted, natlab.Cable{}))(t)}
			devices := [2]*natlab.Device{ok(homes[0].Device(natlab.Cable{}))(t), ok(homes[1].Device(natlab.Cable{}))(t)}
			me, you := "sender-moves-"+who, "receiver-moves-"+who
			play(t, devices[1], "receiver", relay, you, me)
			s := play(t, devices[0], "sender", relay, me, you)
			asked(t, s, time.Now(), time.Minute, link.PathDirect)
			labChanges(t, s, devices[i], homes[i])
		})
	}
}

// labChanges changes the network of d and looks what it does to requests.
func labChanges(t *testing.T, sender *env.Process, d *natlab.Device, h *natlab.Home) {
	t.Helper()
	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"another address in the LAN", d.Renumber},
		{"another public address", h.Renumber},
		{"a router that forgets", h.Forget},
		{"a network that was down", func() error {
			if err := d.Down(); err != nil {
				return err
			}
			time.Sleep(2 * time.Second) // the outage
			return d.Up()
		}},
		{"another kind of NAT", func() error { return h.SetNAT(natlab.FullCone) }},
	} {
		asked(t, sender, time.Now(), time.Minute)
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", change.what, asked(t, sender, time.Now(), time.Minute))
	}
}
