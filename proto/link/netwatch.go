package link

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// lookInterval is how often this device's addresses are looked at. Not every system tells of a change, and looking costs
// tens of microseconds.
const lookInterval = time.Second

// settling is how long is waited after an event, since changes come in bursts: an address goes, another comes, then a route.
const settling = 30 * time.Millisecond

// localAddrs returns this device's addresses, sorted, zones included.
//
// Android refuses the list of interfaces to apps. There the addresses that the routing table would send from are
// returned; that is what another device can use. (The known work-around reaches into package net and needs a linker flag.)
func localAddrs() []netip.Addr {
	var out []netip.Addr
	nets, err := net.InterfaceAddrs()
	if err != nil {
		out = routedAddrs()
	}
	for _, n := range nets {
		if ipn, ok := n.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(ipn.IP); ok {
				out = append(out, a.Unmap())
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// routedAddrs asks the routing table for the addresses that packets to the internet and to neighbours leave from. A
// connected UDP socket sends nothing.
func routedAddrs() (out []netip.Addr) {
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9", "224.0.0.251:5353"} {
		c, err := net.Dial("udp", to)
		if err != nil {
			continue
		}
		if a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); a.IsValid() && !a.IsUnspecified() {
			out = append(out, a)
		}
		c.Close()
	}
	return out
}

// watchAddrs calls changed with this device's addresses each time they, or where packets would leave from, are others than
// before, until ctx ends. An interface that is down keeps its addresses, but nothing is sent from them.
func watchAddrs(ctx context.Context, changed func([]netip.Addr)) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	events := make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { netEvents(ctx, events) })
	addrs, routed := localAddrs(), routedAddrs()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-events:
			time.Sleep(settling)
			select {
			case <-events:
			default:
			}
		}
		nextAddrs, nextRouted := localAddrs(), routedAddrs()
		if !slices.Equal(nextAddrs, addrs) || !slices.Equal(nextRouted, routed) {
			addrs, routed = nextAddrs, nextRouted
			changed(addrs)
		}
	}
}
