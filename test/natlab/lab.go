//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/decant-dev/decant/test/env"
)

// Lab is an internet with homes and machines. Its methods may be called from any goroutine.
type Lab struct {
	internet *Namespace

	mu     sync.Mutex // guards what follows
	spaces []*Namespace
	wires  []*wire
	joined int  // places on the internet so far
	plugs  int  // cables so far
	parts  bool // there is a table for Part
}

// New makes an internet without anybody. It fails where the caller is not root, or root may not do this.
func New() (*Lab, error) {
	internet, err := newNamespace()
	if err != nil {
		return nil, err
	}
	l := &Lab{internet: internet, spaces: []*Namespace{internet}}
	if err := internet.sysctl("net.ipv4.ip_forward", "1"); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Test makes a lab that ends with the test, or skips the test where there can't be one.
func Test(tb testing.TB) *Lab {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("only root can make network namespaces")
	}
	for _, program := range []string{"ip", "tc", "nft", "setpriv"} {
		env.Program(tb, program)
	}
	l, err := New()
	if errors.Is(err, errNoNamespace) { // such as root in a container
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.Close)
	return l
}

// Close kills what runs in the lab and takes it apart.
func (l *Lab) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.wires {
		w.close()
	}
	for _, n := range l.spaces {
		n.close()
	}
	l.spaces, l.wires = nil, nil
}

// Part makes the internet lose, without a word, whatever two of its addresses send each other, until Unite. Other paths
// stay: two homes that are parted may still reach a server both.
func (l *Lab) Part(a, b netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.canPart(); err != nil {
		return err
	}
	return l.parted("add", "pairs", a, b)
}

// PartTCP is Part for TCP alone, and for good: between the two there is only UDP then.
func (l *Lab) PartTCP(a, b netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.canPart(); err != nil {
		return err
	}
	return l.parted("add", "parted", a, b)
}

// Unite ends what Part began.
func (l *Lab) Unite(a, b netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parted("delete", "pairs", a, b)
}

// canPart makes the table for Part and PartTCP. The caller holds mu.
func (l *Lab) canPart() error {
	if l.parts {
		return nil
	}
	err := l.internet.run(partRules, "nft", "-f", "-")
	l.parts = err == nil
	return err
}

const partRules = `table ip parts {
	set pairs { typeof ip saddr . ip daddr; }
	set parted { typeof ip saddr . ip daddr; }
	chain forward {
		type filter hook forward priority filter
		ip saddr . ip daddr @pairs drop
		meta l4proto tcp ip saddr . ip daddr @parted drop
	}
}
`

func (l *Lab) parted(verb, set string, a, b netip.Addr) error {
	return l.internet.run(fmt.Sprintf("%s element ip parts %s { %v . %v, %v . %v }\n", verb, set, a, b, b, a), "nft", "-f", "-")
}

func (l *Lab) namespace() (*Namespace, error) {
	n, err := newNamespace()
	if err == nil {
		l.mu.Lock()
		l.spaces = append(l.spaces, n)
		l.mu.Unlock()
	}
	return n, err
}

// join gives a namespace a public address, on an interface of that name.
func (l *Lab) join(n *Namespace, name string, c Cable) (*attachment, error) {
	l.mu.Lock()
	l.joined++
	place := byte(l.joined)
	l.mu.Unlock()
	if place > 250 {
		return nil, errors.New("natlab: the internet is full")
	}
	gateway := netip.AddrFrom4([4]byte{11, 0, place, 1})
	next := gateway
	a := &attachment{Namespace: n, name: name, gateway: gateway, next: func() netip.Addr {
		next = next.Next()
		return next
	}}
	port, err := l.plug(n, name, l.internet, c)
	if err != nil {
		return nil, err
	}
	err = l.internet.ip(fmt.Sprintf("addr add %v/24 dev %s", gateway, port), "link set "+port+" up")
	return a, errors.Join(err, a.Renumber())
}

// Public adds a machine that is on the internet itself, such as a server.
func (l *Lab) Public(c Cable) (*Device, error) {
	n, err := l.namespace()
	if err != nil {
		return nil, err
	}
	a, err := l.join(n, "eth0", c)
	return &Device{a}, err
}

// Home adds a home: a router that is joined to the internet, and the LAN behind it.
func (l *Lab) Home(nat NAT, uplink Cable) (*Home, error) {
	n, err := l.namespace()
	if err != nil {
		return nil, err
	}
	a, err := l.join(n, "wan", uplink)
	if err != nil {
		return nil, err
	}
	h := &Home{attachment: a, lab: l, nat: nat, last: lanGateway}
	for range 8 { // the first devices' addresses are easily told from a router's
		h.last = h.last.Next()
	}
	err = n.ip("link add lan type bridge", fmt.Sprintf("addr add %v/24 dev lan", lanGateway), "link set lan up")
	return h, errors.Join(err,
		n.sysctlIfThere("net.bridge.bridge-nf-call-iptables", "0"), // frames within the LAN are none of the NAT's business
		n.sysctl("net.ipv4.ip_forward", "1"), h.apply())
}
