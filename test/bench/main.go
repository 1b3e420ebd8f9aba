// Command bench measures Decant against the tools that a person would use instead: it
// makes the corpora, sends and receives each of them through a server on loopback as
// whole processes, with real files and real fsync, interleaved with restic (backup and
// restore with a local repository) and rsync (an unencrypted daemon on loopback), and
// prints medians, CPU time, peak memory and ratios as Markdown.
//
//	go run ./test/bench                               every corpus but the million, on the temporary directory
//	go run ./test/bench -corpus small -n 5 -dir /dev/shm,/var/tmp
//	go run ./test/bench -direct                       without a server, against rsync over ssh
//	go run ./test/bench -corpus million -peers none   a million tiny items: memory
//	go run ./test/bench -fill /var/tmp/fill           on a virtual machine that gives free memory back to its host
//	go run ./test/bench -records                      contacts and messages as data: gathered, sent, merged, imported again, undone
//	go run ./test/bench -idle 2000                    the memory of a server that 2,000 idle sessions watch
//	go run ./test/bench -recovery 100000 -n 20        the time that a killed server with so many sessions takes to be back
//	go run ./test/bench -expiry 100000                what so many sessions leave that expire at once, and a death in the sweep
//	go run ./test/bench -slow 2000                    what so many slow strangers cost honest devices
//	go run ./test/bench -storm 5000                   a server's restart under so many devices (Linux, as root)
//
// docs/ARCHITECTURE.md keeps the figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

type options struct {
	corpora                       []corpus.Spec
	dirs                          []string
	tools                         []string
	runs                          int
	scale                         float64
	profile                       string
	carrier                       string
	seed                          uint64
	idle                          int
	recovery, expiry, slow, storm int
	member                        int
	server                        string
	fill                          *filler
	direct                        bool
	records                       bool
	self                          string // Decant among the tools
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := parse()
	if err != nil {
		return err
	}
	defer o.fill.remove()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer env.RemoveBinaries()
	if o.idle > 0 {
		return idle(ctx, o)
	}
	if o.records {
		return records(ctx, o)
	}
	if o.recovery+o.expiry+o.slow+o.storm+o.member > 0 {
		return hard(ctx, o)
	}
	for _, dir := range o.dirs {
		if err := measure(ctx, o, dir); err != nil {
			return err
		}
	}
	return nil
}

func parse() (o options, err error) {
	names := flag.String("corpus", "large,handset,small", "corpora, separated by commas: "+corpusNames())
	dirs := flag.String("dir", os.TempDir(), "where everything lies; several directories, separated by commas, are measured one after the other")
	peers := flag.String("peers", "", "tools to compare with, separated by commas: restic, rsync, rsync-ssh (default restic,rsync; with -direct rsync-ssh)")
	decant := flag.Bool("decant", true, "measure Decant itself")
	flag.BoolVar(&o.direct, "direct", false, "from device to device, without a server")
	flag.BoolVar(&o.records, "records", false, "instead: 10,000 contacts and 200,000 messages, as data")
	flag.IntVar(&o.runs, "n", 3, "runs of each; medians are printed")
	flag.Float64Var(&o.scale, "scale", 1, "part of each corpus")
	flag.StringVar(&o.profile, "profile", "", "`directory` for a CPU profile of each process of the last run")
	flag.StringVar(&o.carrier, "carrier", "auto", "how devices reach the server: auto, fast, libp2p")
	flag.Uint64Var(&o.seed, "seed", 1, "of the corpora")
	flag.IntVar(&o.idle, "idle", 0, "instead: the server's memory with this `number` of sessions that are watched and do nothing")
	flag.IntVar(&o.recovery, "recovery", 0, "instead: kill a server that holds this `number` of sessions -n times, and measure until it is back")
	flag.IntVar(&o.expiry, "expiry", 0, "instead: let this `number` of sessions expire at once")
	flag.IntVar(&o.slow, "slow", 0, "instead: let this `number` of strangers, and a quarter as many that don't read, be slow")
	flag.IntVar(&o.storm, "storm", 0, "instead: restart a server under this `number` of devices")
	flag.IntVar(&o.member, "storm-member", 0, "for -storm itself: be this `number` of its devices")
	flag.StringVar(&o.server, "storm-server", "", "for -storm itself: at this `address`")
	fill := flag.String("fill", "", "sparse `file` to make on a disk, whose page cache fills free memory before each run: for a virtual machine that gives free memory back to its host")
	flag.Parse()
	if *fill != "" {
		if o.fill, err = newFiller(*fill); err != nil {
			return o, err
		}
	}
	for name := range strings.SplitSeq(*names, ",") {
		i := slices.IndexFunc(corpus.All, func(s corpus.Spec) bool { return s.Name == name })
		if i < 0 {
			return o, fmt.Errorf("there is no corpus %q: want %s", name, corpusNames())
		}
		o.corpora = append(o.corpora, corpus.All[i].Scaled(o.scale))
	}
	for dir := range strings.SplitSeq(*dirs, ",") {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return o, err
		}
		o.dirs = append(o.dirs, abs)
	}
	switch {
	case *peers == "" && o.direct:
		*peers = "rsync-ssh"
	case *peers == "":
		*peers = "restic,rsync"
	}
	o.self = "decant"
	if o.direct {
		o.self = "direct"
	}
	if *decant {
		o.tools = append(o.tools, o.self)
	}
	for name := range strings.SplitSeq(*peers, ",") {
		if name != "none" {
			o.tools = append(o.tools, name)
		}
	}
	return o, nil
}

func corpusNames() string {
	var names []string
	for _, s := range corpus.All {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// measure runs every tool over every corpus below dir and prints a table for each corpus.
func measure(ctx context.Context, o options, dir string) error {
	work, err := os.MkdirTemp(dir, "decant-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, spec := range o.corpora {
		source := filepath.Join(work, spec.Name)
		bytes, err := corpus.Generate(source, spec, o.seed)
		if err != nil {
			return err
		}
		fmt.Printf("\n## %s on %s: %s, %.1f MB; %d processors, %d runs\n\n", spec.Name, fileSystem(dir), count(spec), float64(bytes)/1e6,
			runtime.NumCPU(), o.runs)
		rs, err := compare(ctx, o, source, work)
		if err != nil {
			return err
		}
		printTable(rs, o.self)
		if err := tidy(dir, source); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes what a run has made, at once where it takes memory. On a disk it stays
// until the end: ext4 passes over inodes that were freed in the last minutes, one by one, and the
// next run would pay for this one's removal.
func tidy(dir, path string) error {
	if fileSystem(dir) != "tmpfs" {
		return nil
	}
	return os.RemoveAll(path)
}

func count(s corpus.Spec) string {
	n := 0
	for _, p := range s.Parts {
		n += p.Count
	}
	if n == 1 {
		return "one file"
	}
	return fmt.Sprintf("%d files", n)
}

// compare runs the tools in turn, so that a machine that slows down slows all of them.
func compare(ctx context.Context, o options, source, work string) (map[string][]phase, error) {
	rs := map[string][]phase{}
	for i := range o.runs {
		for _, name := range o.tools {
			tool, ok := tools[name]
			if !ok {
				return nil, fmt.Errorf("there is no tool %q", name)
			}
			at := filepath.Join(work, fmt.Sprintf("%s-%s-%d", filepath.Base(source), name, i))
			if err := os.MkdirAll(at, 0o700); err != nil {
				return nil, err
			}
			syscall.Sync()
			if err := o.fill.fill(); err != nil {
				return nil, err
			}
			phases, err := tool(ctx, o, source, at, i)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			for _, p := range phases {
				p.tool = name
				key := name + " " + p.name
				rs[key] = append(rs[key], p)
				fmt.Fprintf(os.Stderr, "%-24s %8.3f s, CPU %8.3f s, %6d KiB\n", key, p.wall.Seconds(), p.cpu.Seconds(), p.peakKB)
			}
			if err := tidy(work, at); err != nil {
				return nil, err
			}
		}
	}
	return rs, nil
}
