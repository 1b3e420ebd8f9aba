//go:build linux

package natlab

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/decant-dev/decant/test/impair"
)

// TestComingAndGoing takes a device through all that happens to a phone: it is seen from where it should be.
func TestComingAndGoing(t *testing.T) {
	t.Parallel()
	l := Test(t)
	server := accept(t, public(t, l, Cable{}), mirror)
	first, second := home(t, l, PortRestricted, Cable{}), home(t, l, Symmetric, Cable{Link: impair.Both(1, impair.Profile{})})
	phone, neighbour := device(t, first, Cable{}), device(t, first, Cable{Link: impair.Both(2, impair.Profile{})})
	seen := func(d *Device, behind *Home) {
		t.Helper()
		if got := seenAs(t, d, server); got != behind.Addr().String() {
			t.Errorf("seen as %s, want %v", got, behind.Addr())
		}
	}
	seen(phone, first)
	seen(neighbour, first)
	if got := seenAs(t, phone, accept(t, neighbour, mirror)); got != phone.Addr().String() {
		t.Errorf("within the LAN seen as %s, want %v", got, phone.Addr())
	}

	must(t, phone.Down())
	if err := phone.Do(func() error {
		c, err := net.DialTimeout("tcp4", server.String(), patience)
		if err == nil {
			c.Close()
		}
		return err
	}); err == nil {
		t.Error("a device that is down reaches the server")
	}
	must(t, phone.Up())
	seen(phone, first)

	before := phone.Addr()
	must(t, phone.Renumber())
	if phone.Addr() == before {
		t.Error("renumbering changes nothing")
	}
	seen(phone, first)

	before = first.Addr()
	must(t, first.Renumber())
	if first.Addr() == before {
		t.Error("renumbering changes nothing")
	}
	seen(phone, first)

	must(t, neighbour.Move(second, Cable{}))
	seen(neighbour, second)
	must(t, phone.Move(second, Cable{Link: impair.Both(3, impair.Profile{})}))
	seen(phone, second)
}

// sink tells when each connection's bytes are all there.
func sink(t *testing.T, d *Device) (at netip.AddrPort, all <-chan time.Time) {
	t.Helper()
	c := make(chan time.Time, 1)
	return accept(t, d, func(conn net.Conn) {
		io.Copy(io.Discard, conn)
		c <- time.Now()
	}), c
}

// pour sends for a second at a rate. It may take longer on a slow machine, and never less, but for what the queue lets through at once.
func pour(t *testing.T, from *Device, to netip.AddrPort, all <-chan time.Time, rate int) {
	t.Helper()
	c := dial(t, from, to)
	began := time.Now()
	_, err := c.Write(make([]byte, rate))
	must(t, err)
	must(t, c.Close())
	if took := (<-all).Sub(began); took < 900*time.Millisecond || took > patience {
		t.Errorf("%d bytes at as many a second took %v", rate, took)
	}
}

// TestRate sends through a cable of 20 Mbit/s.
func TestRate(t *testing.T) {
	t.Parallel()
	const rate = 2_500_000
	l := Test(t)
	at, all := sink(t, public(t, l, Cable{}))
	pour(t, device(t, home(t, l, PortRestricted, Cable{Rate: rate}), Cable{}), at, all, rate)
}

// TestCap has a home from which two others are reached at different rates.
func TestCap(t *testing.T) {
	t.Parallel()
	l := Test(t)
	h := home(t, l, PortRestricted, Cable{})
	d := device(t, h, Cable{})
	for _, rate := range []int{2_500_000, 1_000_000} {
		other := public(t, l, Cable{})
		at, all := sink(t, other)
		must(t, h.Cap(other.Addr(), int64(rate)))
		pour(t, d, at, all, rate)
	}
}

// TestWire puts a bad link into a home's cable: the round trip is as long as it should be, and TCP gets everything through.
func TestWire(t *testing.T) {
	t.Parallel()
	l := Test(t)
	link := impair.Both(1, impair.Profile{Delay: 20 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, Corrupt: 0.01})
	server := accept(t, public(t, l, Cable{}), func(c net.Conn) { io.Copy(c, c) })
	began := time.Now()
	c := dial(t, device(t, home(t, l, PortRestricted, Cable{Link: link}), Cable{}), server)
	if took := time.Since(began); took < 40*time.Millisecond {
		t.Errorf("a connection within %v over a round trip of 40 ms", took)
	}
	sent := bytes.Repeat([]byte("decant"), 30_000)
	go func() {
		c.Write(sent)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(sent), err)
	}
	if s := link.Up.Stats(); s.Lost == 0 || s.Duplicated == 0 || s.Reordered == 0 || s.Corrupted == 0 || s.Bytes < int64(len(sent)) {
		t.Errorf("the link did nothing: %+v", s)
	}
}

// TestCutWire cuts a link for a while.
func TestCutWire(t *testing.T) {
	t.Parallel()
	l := Test(t)
	link := impair.Both(1, impair.Profile{})
	server := public(t, l, Cable{})
	known := udp(t, server, 0)
	dev := udp(t, device(t, home(t, l, PortRestricted, Cable{Link: link}), Cable{}), 0)
	say(t, dev, at(server, known), "before")
	hear(t, known)
	link.Cut()
	say(t, dev, at(server, known), "lost")
	// The frame is on the wire when write returns, and read from it some time later.
	for link.Up.Stats().Dropped == 0 {
		known.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, _, err := known.ReadFromUDPAddrPort(make([]byte, 10)); err == nil {
			t.Fatal("a cut link carries packets")
		}
	}
	link.Restore()
	known.SetReadDeadline(time.Now().Add(patience))
	say(t, dev, at(server, known), "after")
	if what, _ := hear(t, known); what != "after" {
		t.Errorf("heard %q", what)
	}
}

// TestPartingTCP leaves two homes nothing but UDP for each other; what each does with a third place stays.
func TestPartingTCP(t *testing.T) {
	t.Parallel()
	l := Test(t)
	one, two, server := public(t, l, Cable{}), public(t, l, Cable{}), public(t, l, Cable{})
	there, elsewhere := accept(t, two, mirror), accept(t, server, mirror)
	at1, at2 := udp(t, one, 0), udp(t, two, 0)
	dial(t, one, there)
	must(t, l.PartTCP(one.Addr(), two.Addr()))
	err := one.Do(func() error {
		c, err := net.DialTimeout("tcp4", there.String(), 200*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err == nil {
		t.Error("TCP passes")
	}
	say(t, at1, at(two, at2), "hello")
	hear(t, at2)
	dial(t, one, elsewhere)
}

// TestParting cuts two homes off each other while both reach a third place.
func TestParting(t *testing.T) {
	t.Parallel()
	l := Test(t)
	server := public(t, l, Cable{})
	one, two := public(t, l, Cable{}), public(t, l, Cable{})
	at1, at2, at3 := udp(t, one, 0), udp(t, two, 0), udp(t, server, 0)
	heard := func(within time.Duration) bool {
		say(t, at1, at(two, at2), "hello")
		at2.SetReadDeadline(time.Now().Add(within))
		_, _, err := at2.ReadFromUDPAddrPort(make([]byte, 100))
		return err == nil
	}
	for _, parted := range []bool{false, true, false} {
		within := patience
		if parted {
			within = 200 * time.Millisecond
			must(t, l.Part(one.Addr(), two.Addr()))
		}
		say(t, at1, at(server, at3), "hello")
		hear(t, at3)
		if h := heard(within); h == parted {
			t.Errorf("parted: %v, and what was said was heard: %v", parted, h)
		}
		if parted {
			must(t, l.Unite(two.Addr(), one.Addr()))
		}
	}
}
