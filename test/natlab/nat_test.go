//go:build linux

package natlab

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// TestNATs looks at each kind from outside, as a STUN test would (RFC 5780).
func TestNATs(t *testing.T) {
	type behaviour struct{ otherAddress, otherPort, samePort bool }
	want := map[NAT]behaviour{
		FullCone:          {otherAddress: true, otherPort: true, samePort: true},
		AddressRestricted: {otherPort: true, samePort: true},
		PortRestricted:    {samePort: true},
		Symmetric:         {},
	}
	for _, nat := range NATs {
		t.Run(nat.String(), func(t *testing.T) {
			t.Parallel()
			l := Test(t)
			one, two := public(t, l, Cable{}), public(t, l, Cable{})
			h := home(t, l, nat, Cable{})
			dev := udp(t, device(t, h, Cable{}), 7000)
			known, port, addr, second := udp(t, one, 0), udp(t, one, 0), udp(t, two, 0), udp(t, two, 0)

			say(t, dev, at(one, known), "hello")
			_, mapped := hear(t, known)
			if mapped.Addr() != h.Addr() {
				t.Fatalf("seen as %v behind %v", mapped, h.Addr())
			}
			got := behaviour{}
			for range 3 { // the order of packets from different senders is not certain
				say(t, port, mapped, "other port")
				say(t, addr, mapped, "other address")
				say(t, known, mapped, "known")
			}
			for heard := 0; heard < 3; {
				switch what, _ := hear(t, dev); what {
				case "known":
					heard++
				case "other port":
					got.otherPort = true
				case "other address":
					got.otherAddress = true
				}
			}
			say(t, dev, at(two, second), "hello")
			_, again := hear(t, second)
			got.samePort = again == mapped
			if got != want[nat] {
				t.Errorf("%v behaves as %+v, want %+v", nat, got, want[nat])
			}
		})
	}
}

// TestPunching has devices behind every pair of NATs meet by UDP: those meet for which Punchable says so, and no others.
func TestPunching(t *testing.T) {
	t.Parallel()
	l := Test(t)
	server := public(t, l, Cable{})
	rendezvous := udp(t, server, 0)
	var homes [2]*Home
	var devices [2]*Device
	for i := range homes {
		homes[i] = home(t, l, FullCone, Cable{})
		devices[i] = device(t, homes[i], Cable{})
	}
	for i, a := range NATs {
		for _, b := range NATs[i:] {
			must(t, homes[0].SetNAT(a))
			must(t, homes[1].SetNAT(b))
			var sockets [2]*net.UDPConn
			var seen [2]netip.AddrPort
			for i, d := range devices {
				sockets[i] = udp(t, d, 0)
				say(t, sockets[i], at(server, rendezvous), "")
				_, seen[i] = hear(t, rendezvous)
			}
			rounds := 8 // enough to be sure that they don't
			if Punchable(a, b) {
				rounds = 200 // or fewer, as soon as they do
			}
			if met := punch(t, sockets, seen, rounds); met != Punchable(a, b) || Punchable(a, b) != Punchable(b, a) {
				t.Errorf("%v and %v: met: %v, punchable: %v", a, b, met, Punchable(a, b))
			}
		}
	}
}

// punch sends from both sides to where the other was seen, and to where packets came from, until each has heard the other.
func punch(t *testing.T, sockets [2]*net.UDPConn, seen [2]netip.AddrPort, rounds int) bool {
	t.Helper()
	for range rounds {
		say(t, sockets[0], seen[1], "")
		say(t, sockets[1], seen[0], "")
		heard := 0
		for i, c := range sockets {
			must(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
			_, from, err := c.ReadFromUDPAddrPort(make([]byte, 100))
			if err == nil {
				seen[1-i] = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
				heard++
			} else if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if heard == 2 {
			return true
		}
	}
	return false
}

// TestPunchingByTCP opens a connection from both ends at once through the strictest NATs that keep the port (RFC 5128, 3.4).
func TestPunchingByTCP(t *testing.T) {
	t.Parallel()
	l := Test(t)
	server := accept(t, public(t, l, Cable{}), mirror)
	homes := [2]*Home{home(t, l, PortRestricted, Cable{}), home(t, l, PortRestricted, Cable{})}
	var g errgroup.Group
	for i, h := range homes {
		d := device(t, h, Cable{})
		g.Go(func() error {
			dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{Port: 7000}, Control: reusePort}
			return d.Do(func() error {
				c, err := dialer.Dial("tcp4", server.String()) // claims the port at the router
				if err != nil {
					return err
				}
				c.Close()
				met, err := dialer.Dial("tcp4", netip.AddrPortFrom(homes[1-i].Addr(), 7000).String())
				if err != nil {
					return err
				}
				defer met.Close()
				met.SetDeadline(time.Now().Add(patience))
				if _, err := met.Write([]byte{1}); err != nil {
					return err
				}
				_, err = met.Read(make([]byte, 1))
				return err
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func reusePort(_, _ string, c syscall.RawConn) (err error) {
	e := c.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	return errors.Join(err, e)
}

// TestForgetting takes away what a router knows, by itself and with its kind.
func TestForgetting(t *testing.T) {
	t.Parallel()
	l := Test(t)
	server := public(t, l, Cable{})
	known := udp(t, server, 0)
	h := home(t, l, FullCone, Cable{})
	dev := udp(t, device(t, h, Cable{}), 7000)
	let := func(in bool) {
		t.Helper()
		to := netip.AddrPortFrom(h.Addr(), 7000)
		if in {
			say(t, dev, at(server, known), "")
			_, to = hear(t, known)
		}
		say(t, known, to, "")
		dev.SetReadDeadline(time.Now().Add(patience))
		if !in {
			dev.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		}
		_, _, err := dev.ReadFromUDPAddrPort(make([]byte, 100))
		if in != (err == nil) {
			t.Errorf("let in: %v, want %v", err == nil, in)
		}
	}
	let(false)
	let(true)
	must(t, h.Forget())
	let(false)
	let(true)
	must(t, h.SetNAT(Symmetric))
	let(false)
	let(true)
	must(t, h.BlockUDP(true))
	let(false)
	must(t, h.BlockUDP(false))
	let(true)
}
