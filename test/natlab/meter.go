//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Flow is what one side of a connection, or of an exchange of datagrams, has sent over the internet.
type Flow struct {
	From, To netip.AddrPort // as the internet sees them, outside of all homes
	UDP      bool           // not TCP
	Packets  int64
	Bytes    int64 // with IP headers, without Ethernet's
}

// meterRules count what the internet passes on, after Part has had its say. What a home's own cable loses on its way out is
// not in it, what the other home's loses or its router refuses is.
const meterRules = `add table ip metering
delete table ip metering
table ip metering {
	set passed { typeof meta l4proto . ip saddr . th sport . ip daddr . th dport; flags dynamic; size 65535; }
	chain forward {
		type filter hook forward priority filter + 10
		meta l4proto { tcp, udp } update @passed { meta l4proto . ip saddr . th sport . ip daddr . th dport counter }
	}
}
`

// Meter makes the internet count from now on, and from nothing, what everybody sends to everybody else: the kernel's word, not
// a program's, for which way something went.
func (l *Lab) Meter() error { return l.internet.run(meterRules, "nft", "-f", "-") }

// Flows returns what was counted since Meter, in no order.
func (l *Lab) Flows() ([]Flow, error) {
	list, err := l.internet.output("", "nft", "--numeric", "list", "set", "ip", "metering", "passed")
	if err != nil {
		return nil, err
	}
	return parseFlows(list)
}

// parseFlows reads nft's list of elements: protocol . address . port . address . port counter packets n bytes n.
func parseFlows(list string) (flows []Flow, err error) {
	_, elements, _ := strings.Cut(list, "elements = {")
	elements, _, _ = strings.Cut(elements, "}")
	for element := range strings.SplitSeq(elements, ",") {
		w := strings.Fields(strings.ReplaceAll(element, " . ", " "))
		if len(w) == 0 { // there are none
			continue
		}
		f, err := parseFlow(w)
		if err != nil {
			return nil, fmt.Errorf("natlab: nft lists the flow %q: %w", element, err)
		}
		flows = append(flows, f)
	}
	return flows, nil
}

func parseFlow(w []string) (f Flow, err error) {
	if len(w) != 10 || w[5] != "counter" || w[6] != "packets" || w[8] != "bytes" {
		return f, errors.New("not as it was asked for")
	}
	var errs [4]error
	f.From, errs[0] = netip.ParseAddrPort(w[1] + ":" + w[2])
	f.To, errs[1] = netip.ParseAddrPort(w[3] + ":" + w[4])
	f.UDP = w[0] == "17" || w[0] == "udp"
	f.Packets, errs[2] = strconv.ParseInt(w[7], 10, 64)
	f.Bytes, errs[3] = strconv.ParseInt(w[9], 10, 64)
	return f, errors.Join(errs[:]...)
}
