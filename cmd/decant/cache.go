package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/cache"
	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/server"
	"github.com/spf13/cobra"
)

// cachePort is the default port of a cache: a server may run on the same machine.
const cachePort = id.DefaultPort + 10

type cacheFlags struct {
	servers []id.Server
	listen  string
	hosts   []string
	data    string

	fastOnly  bool
	session   size
	subnet    size
	watermark size
	ballast   size
}

func (a *app) cacheCmd() *cobra.Command {
	o := cacheFlags{ballast: 256 << 20}
	cmd := &cobra.Command{
		Use:   "cache [PEERID@HOST:PORT]...",
		Short: "Run a cache: take collections at LAN speed and bring them to the server",
		Long: `Runs a cache on a machine near the old devices, for a server that is far away or
behind a slow link. It takes sealed collections as fast as the local network
carries them, so that an old device may leave, and brings them to their server by
itself. New devices nearby fetch from it what it still has. Like the server it
holds no key and can read nothing; what it loses, an old device that is still
there sends again.

It brings collections to the servers named here (default: the one of --server,
$DECANT_SERVER or decant use) and to no others. Devices use it with
send --cache ADDRESS, or after decant use --cache ADDRESS. The addresses are printed
on stdout, one a line. It may be killed at any time and goes on when it is
started again.`,
		Example: `  decant cache --data /var/lib/decant-cache
  decant send --cache PEERID@192.168.1.5:4420 ~/Pictures`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, argv []string) error { return a.runCache(cmd.Context(), argv, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", ":"+strconv.Itoa(cachePort), "`address` to listen on")
	f.StringArrayVar(&o.hosts, "host", nil, "`name` or address by which devices reach this machine; may be repeated (default: its interfaces' addresses)")
	f.StringVar(&o.data, "data", "", "`directory` for sealed blobs and state (default $STATE_DIRECTORY, then "+cacheHelp+")")
	f.BoolVar(&o.fastOnly, "fast-only", false, "listen on TCP only, without libp2p and QUIC")
	f.Var(&o.session, "max-session", "most that one transfer may store (default 1TiB)")
	f.Var(&o.subnet, "max-subnet", "most that the transfers of one subnet may store together (default: half of the disk)")
	f.Var(&o.watermark, "watermark", "free space below which nothing new is taken (default: a tenth of the disk)")
	f.Var(&o.ballast, "ballast", "space held back so that a full disk can still be emptied")
	cmd.MarkFlagDirname("data")
	return cmd
}

// cacheHelp is the cache's default directory as help texts call it.
const cacheHelp = "$XDG_STATE_HOME/decant-cache"

func (a *app) runCache(ctx context.Context, argv []string, o cacheFlags) error {
	for _, text := range argv {
		srv, err := id.ParseServer(text)
		if err != nil {
			return usage(serverHint, "%q is not an address of the form PEERID@HOST:PORT", text)
		}
		o.servers = append(o.servers, srv)
	}
	if len(o.servers) == 0 {
		srv, err := a.findServer()
		if err != nil {
			return err
		}
		if srv.IsZero() {
			return usage("name the server that collections are to be brought to: decant cache PEERID@HOST:PORT", "no server is set")
		}
		o.servers = append(o.servers, srv)
	}
	for _, h := range o.hosts {
		if !validHost(h) {
			return usage("for example --host 192.168.1.5", "--host %q is neither a name nor an address", h)
		}
	}
	log, err := a.serverLog()
	if err != nil {
		return err
	}
	if o.data == "" {
		if o.data, err = cacheDir(); err != nil {
			return err
		}
	}
	a.interrupted = "finishing what is under way, at most ten seconds; press again to stop at once"
	c, err := startCache(o, linkCarrier(a.carrier), log, func(message string) {
		a.screen.Say("the database can't go on: %s", message)
		os.Exit(int(ui.Failed))
	})
	if err != nil {
		return serveProblem(err, serveFlags{data: o.data})
	}
	a.announceCache(c.addresses(o.hosts), o.servers)
	notify("READY=1")
	a.showWaiting(ctx, c.cache)
	notify("STOPPING=1")
	if err := c.Close(); err != nil {
		return err
	}
	a.screen.Say("stopped")
	return nil
}

func linkCarrier(c carrier) link.Carrier {
	switch node.Carrier(c) {
	case node.CarrierFast:
		return link.Fast
	case node.CarrierLibp2p:
		return link.Libp2p
	}
	return link.Auto
}

func cacheDir() (string, error) {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	dir, err := defaultState()
	return dir + "-cache", err
}

// announceCache prints where the cache is, one address a line, so that a script can read the first.
func (a *app) announceCache(addresses []string, servers []id.Server) {
	a.screen.Emit(ui.Event{Type: "serving", Serving: &ui.Serving{Addresses: addresses}})
	if a.screen.JSON() {
		return
	}
	for _, s := range servers {
		a.screen.Say("bringing collections to the server at %s", s.HostPort())
	}
	a.screen.Say("devices reach this cache as")
	a.screen.Data(addresses...)
	a.screen.Say("on each old device, with the line that it can reach: decant send --cache PEERID@HOST:PORT PATH…")
}

// showWaiting says what waits to be brought, when that begins and ends and every minute between, until ctx ends.
func (a *app) showWaiting(ctx context.Context, c *cache.Cache) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	var was cache.Waiting
	var said time.Time
	for {
		w := c.Waiting()
		changed := (w.Sessions > 0) != (was.Sessions > 0) || (w.Trouble > 0) != (was.Trouble > 0)
		if changed || w.Sessions > 0 && time.Since(said) >= time.Minute {
			was, said = w, time.Now()
			a.screen.Emit(ui.Event{Type: "waiting", Waiting: &ui.Waiting{Transfers: w.Sessions, Kept: w.Kept, Bytes: w.Bytes, Trouble: w.Trouble}})
			if !a.screen.JSON() {
				a.screen.Say("%s", waitingLine(w))
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

func waitingLine(w cache.Waiting) string {
	line := "everything is at the server"
	if w.Sessions > 0 {
		line = fmt.Sprintf("%s of %s wait to be brought to the server", ui.Bytes(w.Bytes), ui.Plural(int64(w.Sessions), "transfer"))
	}
	if w.Trouble > 0 {
		line += "; the server can't be reached, or takes nothing"
	}
	return line
}

// runningCache is a cache that runs in this process.
type runningCache struct {
	cache *cache.Cache
	running
}

// startCache opens the state and the carriers. The cache works until Close.
func startCache(o cacheFlags, carrier link.Carrier, log *slog.Logger, fatal func(string)) (*runningCache, error) {
	dev, err := serverKey(filepath.Join(o.data, "server.key"))
	if err != nil {
		return nil, err
	}
	c, err := cache.New(cache.Config{Dir: o.data, Device: dev, Servers: o.servers, Carrier: carrier, Caller: link.PeerFrom, Logger: log, Fatal: fatal,
		Watermark: uint64(o.watermark), Ballast: uint64(o.ballast), Limits: server.Limits{SessionBytes: uint64(o.session), SubnetBytes: uint64(o.subnet)}})
	if err != nil {
		return nil, err
	}
	l, err := link.Listen(link.Config{Device: dev, Handler: c.Handler(), Listen: o.listen, FastOnly: o.fastOnly, Logger: log})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &runningCache{cache: c, running: running{link: l}}, nil
}

// Close finishes what is under way and closes everything.
func (c *runningCache) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := c.cache.Drain(ctx)
	if e := c.link.Shutdown(ctx); !errors.Is(e, http.ErrServerClosed) && !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, c.cache.Close())
}

// findCache looks for a sender's cache in the flag, the environment and the configuration. "none" is none.
func (a *app) findCache() (id.Server, error) {
	text, from := a.cache, "--cache"
	if text == "" {
		text, from = os.Getenv("DECANT_CACHE"), "$DECANT_CACHE"
	}
	if text == "" {
		var err error
		if text, err = rememberedCache(); err != nil {
			return id.Server{}, err
		}
		from = "the remembered cache"
	}
	if text = strings.TrimSpace(text); text == "" || text == "none" {
		return id.Server{}, nil
	}
	at, err := id.ParseServer(text)
	if err != nil {
		return at, usage("`decant cache` prints its address when it starts", "%s is not an address of the form PEERID@HOST:PORT", from)
	}
	return at, nil
}

// rememberCache keeps the cache that send uses, or forgets it.
func (a *app) rememberCache() error {
	path, err := cacheFile()
	if err != nil {
		return err
	}
	if a.cache == "none" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("configuration: %w", err)
		}
		a.screen.Say("no cache is remembered any more")
		return nil
	}
	at, err := a.findCache()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := writeWhole(path, []byte(at.String()+"\n")); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	a.screen.Say("send now goes through the cache at %s", at.HostPort())
	return nil
}

// cacheFile holds the remembered cache's address on one line.
func cacheFile() (string, error) {
	path, err := serverFile()
	return filepath.Join(filepath.Dir(path), "cache"), err
}

// rememberedCache is empty if there is none.
func rememberedCache() (string, error) {
	path, err := cacheFile()
	if err != nil {
		return "", nil // no home, no configuration
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", nil // a transfer works without; another user's configuration is not ours
	}
	if err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
