//go:build linux

// Command lab runs whole transfers (decant serve, receive, send) between network
// namespaces of package natlab and prints what came of them as Markdown. It needs root
// and the programs that package natlab names.
//
//	go run ./test/fault/lab nat           every pair of NATs: route, time to the first byte, throughput
//	go run ./test/fault/lab -no-udp nat   the same where routers drop UDP
//	go run ./test/fault/lab profiles      bad links, flapping ones too: goodput
//	go run ./test/fault/lab moves         a phone whose address, router or network changes: time to go on
//	go run ./test/fault/lab links         two devices in one LAN of 1 Gbit/s and of 100 Mbit/s
//	go run ./test/fault/lab pull          the LAN goes, then the relay, then both devices are killed: what is sent and read twice
//	go run ./test/fault/lab both          a path to the other device and one to the server, each with a rate of its own
//
// Every collection that arrives is compared with what was sent. With -strict the command
// fails where the bars are missed: direct where theory allows it and relayed within five
// seconds elsewhere, going again within three seconds, 95 % of a link's payload, 90 % of
// two paths together, less than 1 % more than the sealed bytes out of a device from which everything is pulled.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/natlab"
)

type options struct {
	kinds  []natlab.NAT
	mebi   int
	noUDP  bool
	strict bool
	only   string
	limit  time.Duration
	seed   uint64
	bin    string
	route  string
	logs   string
}

var tables = map[string]func(context.Context, *world) error{"nat": nats, "profiles": profiles, "moves": moves, "links": links, "both": both, "pull": pull}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run() error {
	o, name, err := parse()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer env.RemoveBinaries()
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer w.close()
	return tables[name](ctx, w)
}

func parse() (o options, name string, err error) {
	kinds := flag.String("kinds", "full-cone,port-restricted,symmetric", "NATs for the table of pairs, separated by commas; there is address-restricted too")
	flag.IntVar(&o.mebi, "mib", 0, "size of the collection in MiB, where a table has one size (default its own)")
	flag.BoolVar(&o.noUDP, "no-udp", false, "routers drop UDP")
	flag.BoolVar(&o.strict, "strict", false, "fail where a bar is missed")
	flag.StringVar(&o.only, "only", "", "only the profiles whose name contains this `text`")
	flag.DurationVar(&o.limit, "limit", 10*time.Minute, "for each transfer")
	flag.Uint64Var(&o.seed, "seed", 1, "of collections and chances")
	flag.StringVar(&o.bin, "bin", "", "the decant to run (default: built from this tree)")
	flag.StringVar(&o.route, "route", "auto", "which ways devices take: auto, stored, direct")
	flag.StringVar(&o.logs, "logs", "", "`directory` for the logs and events of all processes")
	flag.Parse()
	if name = flag.Arg(0); tables[name] == nil || flag.NArg() != 1 {
		return o, "", errors.New("want one of nat, profiles, moves, links, both, pull")
	}
	for kind := range strings.SplitSeq(*kinds, ",") {
		n, ok := kindNamed(kind)
		if !ok {
			return o, "", fmt.Errorf("there is no NAT %q", kind)
		}
		o.kinds = append(o.kinds, n)
	}
	return o, name, nil
}

func kindNamed(name string) (natlab.NAT, bool) {
	for _, n := range natlab.NATs {
		if n.String() == name {
			return n, true
		}
	}
	return 0, false
}
