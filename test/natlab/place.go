//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
)

var lanGateway = netip.AddrFrom4([4]byte{192, 168, 1, 1})

// attachment is the interface by which a namespace reaches the rest. All networks are /24.
type attachment struct {
	*Namespace
	name string // of the interface

	mu      sync.Mutex // guards what follows
	gateway netip.Addr
	next    func() netip.Addr // draws an address of the network that nobody has had
	addr    netip.Addr
}

// Addr returns the present address.
func (a *attachment) Addr() netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addr
}

// Renumber gives the interface an address that nobody has had, and takes the old one away.
func (a *attachment) Renumber() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addr = a.next()
	return a.ip("addr flush dev "+a.name, fmt.Sprintf("addr add %v/24 dev %s", a.addr, a.name), "link set "+a.name+" up", a.route())
}

// Down takes the interface down, as a person who switches the network off. It keeps its address.
func (a *attachment) Down() error { return a.ip("link set " + a.name + " down") }

// Up ends what Down began.
func (a *attachment) Up() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ip("link set "+a.name+" up", a.route())
}

func (a *attachment) route() string {
	return fmt.Sprintf("route replace default via %v dev %s", a.gateway, a.name)
}

// Device is a machine on which programs run, at home or on the internet itself.
type Device struct {
	*attachment
}

// Move takes the device's cable out and puts it into another home, where it gets another
// address: a phone that leaves one network for another.
func (d *Device) Move(to *Home, c Cable) error {
	if err := d.ip("link del " + d.name); err != nil {
		return err
	}
	if err := to.plug(d.Namespace, d.name, c); err != nil {
		return err
	}
	d.mu.Lock()
	d.gateway, d.next = lanGateway, to.address
	d.mu.Unlock()
	return d.Renumber()
}

// Home is a router and the LAN behind it. Addr is its public address. Down and Up are
// about its way to the internet; the LAN stays. What a cone has noted survives Renumber,
// and what is under way is lost: Forget belongs to it.
type Home struct {
	*attachment
	lab *Lab

	lan      sync.Mutex // guards what follows
	nat      NAT
	blockUDP bool
	caps     int
	last     netip.Addr // of the LAN
}

// Device adds a device to the LAN.
func (h *Home) Device(c Cable) (*Device, error) {
	n, err := h.lab.namespace()
	if err != nil {
		return nil, err
	}
	if err := h.plug(n, "eth0", c); err != nil {
		return nil, err
	}
	d := &Device{&attachment{Namespace: n, name: "eth0", gateway: lanGateway, next: h.address}}
	return d, d.Renumber()
}

// plug joins an interface of n to the LAN.
func (h *Home) plug(n *Namespace, name string, c Cable) error {
	port, err := h.lab.plug(n, name, h.Namespace, c)
	if err != nil {
		return err
	}
	return h.ip("link set "+port+" master lan", "link set "+port+" up")
}

// address draws an address of the LAN.
func (h *Home) address() netip.Addr {
	h.lan.Lock()
	defer h.lan.Unlock()
	h.last = h.last.Next()
	return h.last
}

// SetNAT makes the router one of another kind, which begins with no mappings.
func (h *Home) SetNAT(nat NAT) error {
	h.lan.Lock()
	h.nat = nat
	h.lan.Unlock()
	return h.Forget()
}

// BlockUDP makes the router drop all UDP, or pass it again. It forgets all mappings.
func (h *Home) BlockUDP(block bool) error {
	h.lan.Lock()
	h.blockUDP = block
	h.lan.Unlock()
	return h.Forget()
}

// Forget makes the router forget every mapping, as one that was switched off and on.
func (h *Home) Forget() error {
	if err := h.apply(); err != nil {
		return err
	}
	return h.Do(forgetConnections)
}

// Cap limits what leaves the home for one address to a rate in bytes a second, Ethernet
// headers included, beside what leaves for others: two paths of different capacity. Each
// address can be capped once, and the home's own cable must have no Rate.
func (h *Home) Cap(to netip.Addr, rate int64) error {
	h.lan.Lock()
	defer h.lan.Unlock()
	h.caps++
	class := fmt.Sprintf("1:%d", h.caps)
	tc := func(args string) error { return h.run("", "tc", strings.Fields(args)...) }
	var err error
	if h.caps == 1 {
		err = tc("qdisc add dev wan root handle 1: htb")
	}
	return errors.Join(err,
		tc(fmt.Sprintf("class add dev wan parent 1: classid %s htb rate %dbps burst %d quantum 15140", class, rate, max(rate/100, 64<<10))),
		tc(fmt.Sprintf("filter add dev wan parent 1: protocol ip u32 match ip dst %v/32 flowid %s", to, class)))
}

// apply replaces the router's rules, and with them what they have noted.
func (h *Home) apply() error {
	h.lan.Lock()
	defer h.lan.Unlock()
	return h.run(h.nat.rules(h.blockUDP), "nft", "-f", "-")
}
