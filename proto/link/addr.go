package link

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// What a device is told about where another one is.
const (
	MaxAddrs   = 16  // addresses that are told or believed at a time
	MaxAddrLen = 128 // bytes of one
)

// Path says which way requests to a peer take.
type Path uint8

// The paths.
const (
	PathNone    Path = iota // no way is known
	PathLocal               // a connection within a private network, or on this machine
	PathDirect              // a connection over public addresses, hole-punched ones included
	PathRelayed             // through the relay
)

// String returns the path's name.
func (p Path) String() string {
	switch p {
	case PathNone:
		return "none"
	case PathLocal:
		return "local"
	case PathDirect:
		return "direct"
	case PathRelayed:
		return "relayed"
	}
	return "unknown"
}

// hint is one place where a peer may be. IP:PORT stands for the three of a listener: the fast lane at TCP PORT, QUIC at
// UDP PORT, libp2p's TCP at PORT+1. A multiaddr is a place of libp2p alone, as behind a NAT, which maps each port anew.
type hint struct {
	at   netip.AddrPort // invalid: libp2p alone
	host []ma.Multiaddr // at least one
}

var errHint = errors.New("neither IP:PORT nor an address of libp2p over TCP or QUIC")

// parseHint reads what Endpoint.Addrs writes, and nothing else: no names, no zones, no relays.
func parseHint(s string) (hint, error) {
	if len(s) == 0 || len(s) > MaxAddrLen {
		return hint{}, errHint
	}
	if s[0] != '/' {
		at, err := netip.ParseAddrPort(s)
		if err != nil || at.Port() == 0 || at.Port() == 65535 || at.Addr().Zone() != "" {
			return hint{}, errHint
		}
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		return hint{at: at, host: hostAddrs(at.Addr(), at.Port())}, nil
	}
	m, err := ma.NewMultiaddr(s)
	if err != nil || !plain(m) {
		return hint{}, errHint
	}
	return hint{host: []ma.Multiaddr{m}}, nil
}

// plain reports whether m is /ip/tcp or /ip/udp/quic-v1 and no more.
func plain(m ma.Multiaddr) bool {
	codes := make([]int, 0, 3)
	for _, c := range m {
		codes = append(codes, c.Protocol().Code)
	}
	if len(codes) < 2 || codes[0] != ma.P_IP4 && codes[0] != ma.P_IP6 {
		return false
	}
	return len(codes) == 2 && codes[1] == ma.P_TCP || len(codes) == 3 && codes[1] == ma.P_UDP && codes[2] == ma.P_QUIC_V1
}

// same reports whether h and o are the same place.
func (h hint) same(o hint) bool { return h.at == o.at && h.host[0].Equal(o.host[0]) }

// addr is the hint's IP address.
func (h hint) addr() netip.Addr {
	if h.at.IsValid() {
		return h.at.Addr()
	}
	return multiIP(h.host[0])
}

// multiIP is the IP address that m begins with; invalid without one.
func multiIP(m ma.Multiaddr) netip.Addr {
	ip, err := manet.ToIP(m)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// relayed reports whether m leads through a relay.
func relayed(m ma.Multiaddr) bool {
	_, err := m.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// policy says which addresses are dialled and told. What another side names, sealed or not, passes it: nobody makes this
// device knock at its own services, or at those of a network that it did not mean.
type policy struct {
	local    bool // private networks
	loopback bool // this machine
}

// translations are ranges that hide an IPv4 address, perhaps one that the policy forbids.
var translations = []netip.Prefix{
	netip.MustParsePrefix("::/96"),        // IPv4-compatible, deprecated
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64, RFC 6052
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), // Teredo
	netip.MustParsePrefix("2002::/16"), // 6to4
}

var (
	sharedNet   = netip.MustParsePrefix("100.64.0.0/10") // carrier-grade NAT, overlay networks: not private to netip
	thisNet     = netip.MustParsePrefix("0.0.0.0/8")
	reservedNet = netip.MustParsePrefix("240.0.0.0/4") // broadcast included
)

// allows reports whether a may be dialled.
func (p policy) allows(a netip.Addr) bool {
	a = a.Unmap()
	switch {
	case !a.IsValid() || a.Zone() != "":
		return false
	case a.IsLoopback():
		return p.loopback
	case !a.IsGlobalUnicast() || thisNet.Contains(a) || reservedNet.Contains(a):
		return false
	case private(a):
		return p.local
	}
	for _, t := range translations {
		if t.Contains(a) {
			return false
		}
	}
	return true
}

// private reports whether a belongs to a network that is not the internet, this machine included.
func private(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || sharedNet.Contains(a)
}

// pathTo is the path of a direct connection to a.
func pathTo(a netip.Addr) Path {
	if private(a) {
		return PathLocal
	}
	return PathDirect
}

// hints parses at most MaxAddrs addresses and keeps those that p allows.
func (p policy) hints(addrs []string) []hint {
	var out []hint
	for _, s := range addrs[:min(len(addrs), MaxAddrs)] {
		if h, err := parseHint(s); err == nil && p.allows(h.addr()) {
			out = append(out, h)
		}
	}
	return out
}

// hostAddrs are the libp2p addresses of a listener whose fast lane is at ip, port.
func hostAddrs(ip netip.Addr, port uint16) []ma.Multiaddr {
	return []ma.Multiaddr{multiaddr(ip, "udp", port, "/quic-v1"), multiaddr(ip, "tcp", port+1, "")}
}

func multiaddr(ip netip.Addr, transport string, port uint16, rest string) ma.Multiaddr {
	family := "/ip4/"
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		family = "/ip6/"
	}
	m, err := ma.NewMultiaddr(family + ip.String() + "/" + transport + "/" + strconv.Itoa(int(port)) + rest)
	if err != nil {
		panic(fmt.Sprintf("link: address of an IP and a port does not parse: %v", err))
	}
	return m
}
