package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/id"
	"github.com/spf13/cobra"
)

// app is one run of the program: the global flags and what the commands share.
type app struct {
	screen  *ui.Screen
	started bool    // a command is running: errors are no longer cobra's
	code    ui.Code // of a command that worked: OK or LeftBehind

	server  string
	cache   string
	state   string
	carrier carrier
	route   route
	label   string
	log     string
	json    bool
	verbose bool

	interrupted string // what the first signal says

	asking    sync.Mutex        // guards passwords, and asks for one at a time
	passwords map[string]string // that were typed, by what they are for
}

const longHelp = `Decant moves a whole collection (photos, files, address books, calendars) from
an old device to a new one. Both encrypt. Where both are awake they talk
directly; a server in the middle keeps what one has sent until the other fetches
it, and can read none of it. On one network no server is needed.

    new$ decant receive --to DIR      shows a code, then a preview; y applies
    old$ decant send PATH…            asks for the code and sends

Where the new device does not exist yet:

    old$ decant send --ticket PATH…   shows twelve words, sends, may be switched off
    new$ decant receive --ticket --to DIR

Without any network, on a stick:

    old$ decant send --to folder:/media/stick PATH…
    new$ decant receive --from folder:/media/stick --to DIR

Exit codes:
    0  done
    1  failed
    2  the command line makes no sense, or something it needs is missing
    3  done, but something was lost, failed, refused or differs; it is listed
    4  the code, ticket or identity was refused
    5  not now: the server can't be reached or has no room, or the transfer is
       not ready; trying again helps
    6  there is not enough space on this device
    7  paused, interrupted or declined; resume continues
    8  alarm: something does not verify, or someone interferes; trying again
       does not help`

func (a *app) rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:                        "decant",
		Short:                      "Move a whole collection from an old device to a new one",
		Long:                       longHelp,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.NoArgs,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			a.started = true
			a.screen.Configure(a.json, a.verbose)
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", "", "the server as `PEERID@HOST:PORT` (default $DECANT_SERVER, then what decant use remembered)")
	f.StringVar(&a.cache, "cache", "", "for send: a cache nearby as `PEERID@HOST:PORT`, or none (default $DECANT_CACHE, then what decant use remembered)")
	f.StringVar(&a.state, "state", "", "`directory` for keys and journals (default $DECANT_STATE, then "+stateHelp+")")
	f.Var(&a.carrier, "carrier", "how to reach the server (default auto)")
	f.Var(&a.route, "route", "which ways to take: auto is the server, and directly between the devices where that is possible; "+
		"direct is without a server, on one network (default $DECANT_ROUTE, then auto)")
	f.StringVar(&a.label, "label", "", "`name` of this device, shown on the other one")
	f.BoolVar(&a.json, "json", false, "write events to stdout, one JSON object a line")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say more, with a log on stderr")
	f.StringVar(&a.log, "log", "", "append a log without names and secrets to this `file`")
	root.RegisterFlagCompletionFunc("carrier", cobra.FixedCompletions([]string{"auto", "fast", "libp2p"}, cobra.ShellCompDirectiveNoFileComp))
	root.RegisterFlagCompletionFunc("route", cobra.FixedCompletions([]string{"auto", "stored", "direct"}, cobra.ShellCompDirectiveNoFileComp))
	root.RegisterFlagCompletionFunc("server", cobra.NoFileCompletions)
	root.RegisterFlagCompletionFunc("cache", cobra.NoFileCompletions)
	root.RegisterFlagCompletionFunc("label", cobra.NoFileCompletions)
	root.MarkPersistentFlagDirname("state")

	root.AddGroup(&cobra.Group{ID: "move", Title: "Moving:"}, &cobra.Group{ID: "care", Title: "Looking after a transfer:"},
		&cobra.Group{ID: "other", Title: "Other:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("move", a.sendCmd(), a.receiveCmd(), a.importCmd(), a.serveCmd(), a.cacheCmd(), a.demoCmd())
	add("care", a.statusCmd(), a.pauseCmd(), a.resumeCmd(), a.receiptCmd(), a.verifyCmd(), a.reportCmd(), a.undoCmd())
	add("other", a.useCmd(), a.doctorCmd(), a.versionCmd())
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("see `"+cmd.CommandPath()+" --help`", "%v", err)
	})
	return root
}

// args wraps a check of the arguments so that its error is a usage error; missing says what lacks if there are none.
func args(check cobra.PositionalArgs, missing ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		switch {
		case err == nil:
			return nil
		case len(args) == 0 && len(missing) > 0:
			return usage("see `"+cmd.CommandPath()+" --help`", "%s", missing[0])
		}
		return usage("see `"+cmd.CommandPath()+" --help`", "that is too much: usage: %s", cmd.UseLine())
	}
}

// signals returns a context that the first SIGINT, SIGTERM or SIGHUP cancels. The
// second ends the process at once: everything durable is safe at any instant.
func (a *app) signals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-c:
			}
			if n > 0 {
				os.Exit(int(ui.Paused))
			}
			cancel(errInterrupted)
			if a.interrupted != "" {
				a.screen.Say("%s", a.interrupted)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(c)
		close(done)
		cancel(nil)
	}
}

// carrier is a flag.
type carrier node.Carrier

// Set implements pflag.Value.
func (c *carrier) Set(s string) error {
	switch s {
	case "auto":
		*c = carrier(node.CarrierAuto)
	case string(node.CarrierFast), string(node.CarrierLibp2p):
		*c = carrier(s)
	default:
		return errors.New("want auto, fast or libp2p")
	}
	return nil
}

// String implements pflag.Value.
func (c *carrier) String() string { return string(*c) }

// Type implements pflag.Value.
func (c *carrier) Type() string { return "auto|fast|libp2p" }

// route is a flag.
type route struct {
	node.Route
	set bool
}

// Set implements pflag.Value.
func (r *route) Set(s string) error {
	switch s {
	case "auto":
		r.Route = node.RouteAuto
	case string(node.RouteStored), string(node.RouteDirect):
		r.Route = node.Route(s)
	default:
		return errors.New("want auto, stored or direct")
	}
	r.set = true
	return nil
}

// String implements pflag.Value.
func (r *route) String() string { return string(r.Route) }

// Type implements pflag.Value.
func (r *route) Type() string { return "auto|stored|direct" }

// stateHelp is the default state directory as help texts call it.
const stateHelp = "$XDG_STATE_HOME/decant"

// stateDir is where keys and journals lie.
func (a *app) stateDir() (string, error) {
	if a.state != "" {
		return a.state, nil
	}
	if dir := os.Getenv("DECANT_STATE"); dir != "" {
		return dir, nil
	}
	return defaultState()
}

// defaultState is where state lies if nothing else is said.
func defaultState() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "decant"), nil
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		dir, err := os.UserConfigDir()
		return filepath.Join(dir, "decant"), noState(err)
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "decant"), noState(err)
}

func noState(err error) error {
	if err == nil {
		return nil
	}
	return usage("name one with --state DIR", "there is no place for keys and journals: %v", err)
}

// config turns the global flags into the engine's configuration. The server may
// be zero: links, tickets and unfinished transfers know theirs.
func (a *app) config() (node.Config, error) {
	dir, err := a.stateDir()
	if err != nil {
		return node.Config{}, err
	}
	if text := os.Getenv("DECANT_ROUTE"); text != "" && !a.route.set {
		if err := a.route.Set(text); err != nil {
			return node.Config{}, usage("", "$DECANT_ROUTE: %v", err)
		}
	}
	cfg := node.Config{StateDir: dir, Carrier: node.Carrier(a.carrier), Route: a.route.Route, Label: a.label, Events: a.screen.Event, Fatal: stateFailed,
		Loopback: os.Getenv("DECANT_LOOPBACK") != "", Password: a.askPassword}
	if len(a.label) > 64 {
		return cfg, usage("", "--label is longer than 64 bytes")
	}
	if cfg.Server, err = a.findServer(); err != nil {
		return cfg, err
	}
	if cfg.Cache, err = a.findCache(); err != nil {
		return cfg, err
	}
	cfg.Log, err = a.logger()
	return cfg, err
}

// findServer looks for the server in the flag, the environment and the configuration.
func (a *app) findServer() (id.Server, error) {
	text, from := a.server, "--server"
	if text == "" {
		text, from = os.Getenv("DECANT_SERVER"), "$DECANT_SERVER"
	}
	if text == "" {
		var err error
		if text, err = rememberedServer(); err != nil {
			return id.Server{}, err
		}
		from = "the remembered server"
	}
	if text == "" {
		return id.Server{}, nil
	}
	srv, err := id.ParseServer(strings.TrimSpace(text))
	if err != nil {
		return srv, usage(serverHint, "%s is not an address of the form PEERID@HOST:PORT", from)
	}
	return srv, nil
}

const serverHint = "`decant serve` prints its address when it starts; `decant use PEERID@HOST:PORT` remembers it"

// logger writes to --log, or with --verbose to stderr. Its text is the engine's, which leaves out names and secrets.
func (a *app) logger() (*slog.Logger, error) {
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	if a.log != "" {
		f, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		return slog.New(slog.NewTextHandler(f, level)), nil
	}
	if a.verbose {
		return slog.New(slog.NewTextHandler(a.screen.Writer(), level)), nil
	}
	return slog.New(slog.DiscardHandler), nil
}
