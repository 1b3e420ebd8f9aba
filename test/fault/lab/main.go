//go:build linux

// Command lab runs whole transfers (decant serve, receive, send) between network
// namespaces of package natlab and prints what came of them as Markdown. It needs root
// and the programs that package natlab names.
//
//	go run ./test/fault/lab nat           every pair of NATs: route, time to the first byte, throughput
//	go run ./test/fault/lab -no-udp nat   the same where routers drop UDP
//	go run ./test/fault/lab profiles      bad links, flapping ones too: goodput
//	go run ./test/fault/lab matrix        loss by round trip by rate by way: complete, goodput, what was sent twice
//	go run ./test/fault/lab -ways direct -rates 0.25 -rtts 800ms -losses 0.1 -mib 4 matrix
//	                                      the worst cell alone, with 4 MiB
//	go run ./test/fault/lab -within 20m -rtts 20ms,800ms -losses 0,0.1 matrix
//	                                      the 36 cells at its edges
//	go run ./test/fault/lab moves         a phone whose address, router or network changes: time to go on
//	go run ./test/fault/lab -dir /dev/shm links
//	                                      two devices in one LAN of 1 Gbit/s and of 100 Mbit/s, beside plain TCP on the same cables
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
	"slices"
	"strconv"
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
	dir    string

	silence time.Duration

	// Of the matrix.
	ways     []string
	rates    []float64 // Mbit/s
	rtts     []time.Duration
	losses   []float64
	span     time.Duration
	parallel int
	within   time.Duration // 0: no bound
}

var tables = map[string]func(context.Context, *world) error{"nat": nats, "profiles": profiles, "moves": moves, "links": links, "both": both, "pull": pull, "matrix": grid}

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
	flag.StringVar(&o.only, "only", "", "only the profiles, or the pairs of paths (\"40 Mbit/s + 10 Mbit/s\"), whose name contains this `text`")
	flag.DurationVar(&o.limit, "limit", 10*time.Minute, "for each transfer")
	flag.Uint64Var(&o.seed, "seed", 1, "of collections and chances")
	flag.StringVar(&o.bin, "bin", "", "the decant to run (default: built from this tree)")
	flag.StringVar(&o.route, "route", "auto", "which ways devices take: auto, stored, direct")
	flag.StringVar(&o.logs, "logs", "", "`directory` for the logs and events of all processes")
	flag.StringVar(&o.dir, "dir", "", "`directory` for collections and what both devices keep; one on tmpfs leaves the disk out, which both of them share (default: the usual one for temporary files)")
	flag.DurationVar(&o.silence, "silence", 0, "end a transfer with SIGQUIT of which nothing is heard for so long, to see where it stands (default: never)")
	list := func(name, all, usage string, take func(string) error) { // the last one given counts
		flag.Func(name, usage+", separated by commas (default "+all+")", take)
		must(take(all))
	}
	list("ways", strings.Join(ways, ","), "ways of the matrix", items(&o.ways, func(s string) (string, error) {
		if !slices.Contains(ways, s) {
			return "", fmt.Errorf("there is no way %q", s)
		}
		return s, nil
	}))
	list("rates", "0.25,5,100", "rates of the matrix in Mbit/s", items(&o.rates, number))
	list("rtts", "20ms,100ms,300ms,800ms", "round trips of the matrix", items(&o.rtts, time.ParseDuration))
	list("losses", "0,0.01,0.05,0.1", "parts of the packets that the matrix loses", items(&o.losses, number))
	flag.DurationVar(&o.span, "span", 20*time.Second, "about how long a cell of the matrix takes at half of what it could do; -mib overrides it")
	flag.DurationVar(&o.within, "within", 0, "for the whole matrix: cells that it leaves no time for are said to be left out (default: no bound)")
	flag.IntVar(&o.parallel, "parallel", 6, "slow cells of the matrix at once")
	flag.Parse()
	if name = flag.Arg(0); tables[name] == nil || flag.NArg() != 1 {
		return o, "", errors.New("want one of nat, profiles, matrix, moves, links, both, pull")
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

// items is a flag's function that reads a list.
func items[T any](into *[]T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		*into = nil
		for s := range strings.SplitSeq(text, ",") {
			v, err := parse(s)
			if err != nil {
				return err
			}
			*into = append(*into, v)
		}
		return nil
	}
}

func number(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

func must(err error) {
	if err != nil {
		panic("lab: " + err.Error())
	}
}

func kindNamed(name string) (natlab.NAT, bool) {
	for _, n := range natlab.NATs {
		if n.String() == name {
			return n, true
		}
	}
	return 0, false
}
