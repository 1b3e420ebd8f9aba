//go:build linux

package natlab

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// TestMeter: what two homes send each other is counted by who sent it, to whom, and by what; it begins anew with Meter.
func TestMeter(t *testing.T) {
	t.Parallel()
	l := Test(t)
	server := public(t, l, Cable{})
	known := udp(t, server, 9000)
	h := home(t, l, PortRestricted, Cable{})
	dev := device(t, h, Cable{})
	from := udp(t, dev, 7000)
	must(t, l.Meter())
	if flows, err := l.Flows(); err != nil || len(flows) != 0 {
		t.Fatalf("before anything was sent: %v, %v", flows, err)
	}
	for range 3 {
		say(t, from, at(server, known), "1234567890")
		hear(t, known)
	}
	const size = 1 << 20
	sink := make(chan int64, 1)
	conn := dial(t, dev, accept(t, server, func(c net.Conn) {
		n, _ := io.Copy(io.Discard, c)
		sink <- n
	}))
	_, err := conn.Write(make([]byte, size))
	must(t, err)
	must(t, conn.Close())
	if n := <-sink; n != size {
		t.Fatalf("%d bytes arrived", n)
	}
	flows, err := l.Flows()
	must(t, err)
	datagrams := Flow{From: netip.AddrPortFrom(h.Addr(), 7000), To: at(server, known), UDP: true, Packets: 3, Bytes: 3 * (20 + 8 + 10)}
	var tcp Flow
	for _, f := range flows {
		switch {
		case f.UDP && f != datagrams:
			t.Errorf("%+v, want %+v", f, datagrams)
		case !f.UDP && f.From.Addr() == h.Addr():
			tcp = f
		}
	}
	if len(flows) != 3 || tcp.To.Addr() != server.Addr() || tcp.Bytes < size || tcp.Bytes > size*11/10 {
		t.Errorf("%+v", flows)
	}
	must(t, l.Meter())
	say(t, from, at(server, known), "1234567890")
	hear(t, known)
	flows, err = l.Flows()
	must(t, err)
	for _, f := range flows {
		if f.UDP && f.Packets != 1 || f.Bytes >= size {
			t.Errorf("counted before: %+v", f)
		}
	}
}
