//go:build linux

package natlab

import (
	"fmt"
	"strings"
)

// NAT is how a home's router translates addresses. All of them keep a device's port where
// it is free (RFC 4787), but Symmetric; none sends a packet of its own LAN back into it.
type NAT int

// The kinds, in the words of RFC 3489; in those of RFC 4787 the mapping does not depend
// on the endpoint but in Symmetric, and the filtering does, more from kind to kind.
const (
	FullCone          NAT = iota // whoever sends to a device's public port reaches it
	AddressRestricted            // whoever has an address that the device has sent to from that port
	PortRestricted               // whoever has an address and port that the device has sent to from that port
	Symmetric                    // the same, and each destination sees another port
)

// NATs lists the kinds.
var NATs = []NAT{FullCone, AddressRestricted, PortRestricted, Symmetric}

// String implements fmt.Stringer.
func (n NAT) String() string {
	switch n {
	case FullCone:
		return "full-cone"
	case AddressRestricted:
		return "address-restricted"
	case PortRestricted:
		return "port-restricted"
	case Symmetric:
		return "symmetric"
	}
	panic("natlab: there is no such NAT")
}

// Punchable says whether two devices behind such NATs can meet directly, in theory and by
// UDP: the one whose port nobody can tell must be let in by address alone.
func Punchable(a, b NAT) bool {
	return !(a == Symmetric && b >= PortRestricted || b == Symmetric && a >= PortRestricted)
}

// memory is how long a cone remembers a mapping that nothing leaves through.
const memory = "2m"

// rules are the NAT's rules for a router whose interfaces are lan and wan. Linux alone
// makes a port-restricted NAT. For the two that let in more, outbound packets note in a
// map which device holds a public port, and whom it has spoken to. What comes unasked is
// dropped without an answer and leaves no trace: a trace would take the port from the
// device's own packet to that sender and so break every punch.
func (n NAT) rules(blockUDP bool) string {
	masquerade, inbound := "masquerade", ""
	switch n {
	case FullCone:
		inbound = "dnat ip to meta l4proto . th dport map @inside"
	case AddressRestricted:
		inbound = "meta l4proto . ip saddr . th dport @spoken dnat ip to meta l4proto . th dport map @inside"
	case Symmetric:
		masquerade = "masquerade fully-random"
	}
	var b strings.Builder
	fmt.Fprint(&b, `add table ip lab
delete table ip lab
table ip lab {
	map inside { typeof meta l4proto . th sport : ip saddr . th sport; flags dynamic,timeout; timeout `, memory, `; size 65535; }
	set spoken { typeof meta l4proto . ip saddr . th dport; flags dynamic,timeout; timeout `, memory, `; size 65535; }
	chain input { type filter hook input priority filter; iifname wan ct state established,related accept; iifname wan drop; }
	chain forward {
		type filter hook forward priority filter; policy drop
`)
	if blockUDP {
		fmt.Fprintln(&b, "\t\tmeta l4proto udp drop")
	}
	fmt.Fprint(&b, `		ct state established,related accept
		iifname lan oifname wan accept
		iifname wan ct status dnat accept
	}
	chain outbound { type nat hook postrouting priority srcnat; oifname wan `, masquerade, `; }
`)
	if inbound != "" {
		fmt.Fprint(&b, `	chain learn {
		type filter hook postrouting priority srcnat + 10
		oifname wan meta l4proto { tcp, udp } ct direction original update @inside { meta l4proto . th sport : ct original ip saddr . ct original proto-src } update @spoken { meta l4proto . ip daddr . th sport }
	}
	chain inbound { type nat hook prerouting priority dstnat; iifname wan `, inbound, `; }
`)
	}
	fmt.Fprintln(&b, "}")
	return b.String()
}
