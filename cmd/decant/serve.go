package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/server"
	"github.com/spf13/cobra"
)

// drainTime is how long requests that are under way may take once the server is told to stop.
const drainTime = 10 * time.Second

type serveFlags struct {
	listen    string
	hosts     []string
	data      string
	witness   string
	metrics   string
	fastOnly  bool
	expiry    days
	session   size
	subnet    size
	sessions  int
	watermark size
	ballast   size
}

func (a *app) serveCmd() *cobra.Command {
	o := serveFlags{ballast: 256 << 20, expiry: days(14 * 24 * time.Hour)}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: `Runs the server that keeps sealed collections until they are fetched. It can
read none of them: it holds no key. Its own key, made at the first start, is its
identity: devices that know its address accept no other machine in its place, so
keep DIR/server.key with the backups.

The addresses for the devices are printed on stdout, one a line. The port is used
for TCP and for UDP (QUIC), the next one for libp2p over TCP. SIGTERM ends
it within ten seconds; it may be killed at any time without losing what it has
acknowledged. Under systemd use Type=notify and StateDirectory=.`,
		Example: `  decant serve --listen :4410 --data /var/lib/decant --host decant.example.org
  decant serve --metrics 127.0.0.1:9410 --max-session 200GB --watermark 50GB`,
		Args:              args(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", ":"+strconv.Itoa(id.DefaultPort), "`address` to listen on")
	f.StringArrayVar(&o.hosts, "host", nil, "`name` or address by which devices reach this machine; may be repeated (default: its interfaces' addresses)")
	f.StringVar(&o.data, "data", "", "`directory` for sealed blobs and state (default $STATE_DIRECTORY, then "+serverHelp+")")
	f.StringVar(&o.witness, "witness", "", "`file` by which a server restored from a backup is recognised; best on another volume")
	f.StringVar(&o.metrics, "metrics", "", "serve Prometheus metrics and /healthz at this `address`; answers anyone, so keep it local")
	f.BoolVar(&o.fastOnly, "fast-only", false, "listen on TCP only, without libp2p and QUIC")
	f.Var(&o.expiry, "expiry", "how long a transfer is kept if its sender says nothing, at most 30d")
	f.Var(&o.session, "max-session", "most that one transfer may store (default 1TiB)")
	f.Var(&o.subnet, "max-subnet", "most that the transfers of one subnet may store together (default: half of the disk)")
	f.IntVar(&o.sessions, "max-subnet-sessions", 0, "most transfers of one subnet at a time (default 2000)")
	f.Var(&o.watermark, "watermark", "free space below which nothing new is taken (default: a tenth of the disk)")
	f.Var(&o.ballast, "ballast", "space held back so that a full disk can still be emptied")
	cmd.MarkFlagDirname("data")
	return cmd
}

// serverHelp is the server's default directory as help texts call it.
const serverHelp = "$XDG_STATE_HOME/decant-server"

func (a *app) serve(ctx context.Context, o serveFlags) error {
	log, err := a.serverLog()
	if err != nil {
		return err
	}
	if o.data == "" {
		if o.data, err = a.serverDir(); err != nil {
			return err
		}
	}
	for _, h := range o.hosts {
		if !validHost(h) {
			return usage("for example --host decant.example.org", "--host %q is neither a name nor an address", h)
		}
	}
	a.interrupted = "finishing what is under way, at most ten seconds; press again to stop at once"
	s, err := startServer(o, log, func(message string) {
		a.screen.Say("the database can't go on: %s", message)
		os.Exit(int(ui.Failed))
	})
	if err != nil {
		return serveProblem(err, o)
	}
	metrics, err := s.serveMetrics(o.metrics)
	if err != nil {
		return errors.Join(serveProblem(err, o), s.Close())
	}
	a.announce(s.addresses(o.hosts), metrics)
	notify("READY=1")
	<-ctx.Done()
	notify("STOPPING=1")
	if err := s.Close(); err != nil {
		return err
	}
	a.screen.Say("stopped")
	return nil
}

// validHost accepts an IP address, with or without brackets, and a DNS name in ASCII.
func validHost(h string) bool {
	if _, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
		return true
	}
	return h != "" && len(h) < 256 && strings.Trim(h, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// announce prints where the server is, one address a line, so that a script can read the first.
func (a *app) announce(addresses []string, metrics string) {
	a.screen.Emit(ui.Event{Type: "serving", Serving: &ui.Serving{Addresses: addresses, Metrics: metrics}})
	if a.screen.JSON() {
		return
	}
	a.screen.Say("serving; devices reach this server as")
	a.screen.Data(addresses...)
	if len(addresses) == 1 {
		a.screen.Say("on each device, once: decant use %s", addresses[0])
	} else {
		a.screen.Say("on each device, once, with the line that it can reach: decant use PEERID@HOST:PORT")
	}
	if metrics != "" {
		a.screen.Say("metrics are at http://%s/metrics", metrics)
	}
}

func (a *app) serverLog() (*slog.Logger, error) {
	if a.log != "" {
		return a.logger()
	}
	level := slog.LevelInfo
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.screen.Writer(), &slog.HandlerOptions{Level: level})), nil
}

// serverDir lies beside a device's directory: one machine may be both.
func (a *app) serverDir() (string, error) {
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir, nil
	}
	dir, err := defaultState()
	return dir + "-server", err
}

// running is a server that runs in this process.
type running struct {
	server  *server.Server
	link    *link.Server
	metrics *http.Server // nil if there is none
}

// startServer opens the state and the carriers. The server serves until Close.
func startServer(o serveFlags, log *slog.Logger, fatal func(string)) (*running, error) {
	dev, err := serverKey(filepath.Join(o.data, "server.key"))
	if err != nil {
		return nil, err
	}
	srv, err := server.New(server.Config{Dir: o.data, Self: dev.Peer(), Caller: link.PeerFrom, Logger: log, Witness: o.witness,
		Watermark: uint64(o.watermark), Ballast: uint64(o.ballast), Fatal: fatal,
		Limits: server.Limits{SessionBytes: uint64(o.session), SubnetBytes: uint64(o.subnet), SubnetSessions: o.sessions, Expiry: time.Duration(o.expiry)}})
	if err != nil {
		return nil, err
	}
	relay := &link.RelayConfig{Reserve: srv.RelayReserve, Allow: srv.RelayAllow, Account: srv.RelayAccount, Gauge: srv.RelayGauge}
	if o.fastOnly { // circuits are libp2p's
		relay = nil
	}
	l, err := link.Listen(link.Config{Device: dev, Handler: srv.Handler(), Listen: o.listen, FastOnly: o.fastOnly, Logger: log, Relay: relay})
	if err != nil {
		return nil, errors.Join(err, srv.Close())
	}
	return &running{server: srv, link: l}, nil
}

// Close finishes what is under way and closes everything.
func (s *running) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := s.server.Drain(ctx)
	if s.metrics != nil {
		err = errors.Join(err, s.metrics.Close())
	}
	return errors.Join(err, s.link.Shutdown(ctx), s.server.Close())
}

// serveMetrics returns the address that it listens on, "" if addr is.
func (s *running) serveMetrics(addr string) (string, error) {
	if addr == "" {
		return "", nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	s.metrics = &http.Server{Handler: s.server.MetricsHandler(), ReadHeaderTimeout: 10 * time.Second}
	go s.metrics.Serve(ln)
	return ln.Addr().String(), nil
}

// addresses are what a device may be told: the hosts that the operator names, or
// the address that is listened on, or those of all interfaces.
func (s *running) addresses(hosts []string) (out []string) {
	srv := s.link.Server()
	if at := s.link.Addr(); len(hosts) == 0 && at.IP.IsUnspecified() {
		hosts = interfaceHosts()
	}
	if len(hosts) == 0 {
		hosts = []string{srv.Host}
	}
	for _, h := range hosts {
		srv.Host = strings.Trim(h, "[]")
		out = append(out, srv.String())
	}
	return out
}

// interfaceHosts lists the addresses of this machine that another one could
// reach, IPv4 first; the loopback address only if there is no other.
func interfaceHosts() (out []string) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var v6, loop []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		switch ip := p.Addr().Unmap(); {
		case ip.IsLoopback():
			loop = append(loop, ip.String())
		case !ip.IsGlobalUnicast():
		case ip.Is4():
			out = append(out, ip.String())
		default:
			v6 = append(v6, ip.String())
		}
	}
	if out = append(out, v6...); len(out) == 0 {
		return loop
	}
	return out
}

// serverKey reads the server's key, or makes it at the first start: 32 bytes, whole or not at all, and never over another that a
// second process has just made.
func serverKey(path string) (*key.Device, error) {
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeServerKey(path); err == nil {
			seed, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("server key: %w", err)
	}
	dev, err := key.DeviceFromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("server key %s: %w", path, err)
	}
	return dev, nil
}

func makeServerKey(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	seed := make([]byte, 32)
	rand.Read(seed)
	fresh := path + "." + rand.Text()
	if err := writeWhole(fresh, seed); err != nil {
		return err
	}
	defer os.Remove(fresh)
	if err := os.Link(fresh, path); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(fresh, path) // a file system without links
}

func serveProblem(err error, o serveFlags) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &ui.Problem{Name: "address-in-use", Text: "another program listens there: " + err.Error(), Code: ui.Failed, Err: err,
			Hint: "choose another address with --listen (or --metrics); port 0 draws a free one"}
	case errors.Is(err, syscall.EACCES) && strings.Contains(err.Error(), "listen"):
		return &ui.Problem{Name: "permission", Text: "listening there is not allowed: " + err.Error(), Code: ui.Failed, Err: err, Hint: "choose a port above 1023"}
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EWOULDBLOCK):
		return &ui.Problem{Name: "busy", Text: "another server uses " + show.Name(o.data), Code: ui.TryAgain, Err: err, Hint: "one directory serves one process; name another with --data"}
	}
	return err
}

// notify tells systemd how far the service is; without systemd it does nothing.
func notify(state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	c, err := net.Dial("unixgram", socket)
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(state))
}

// size is a flag for a number of bytes: "200GB", "256MiB", "1000".
type size uint64

var sizeUnits = map[string]uint64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}

// Set implements pflag.Value.
func (z *size) Set(s string) error {
	digits := strings.TrimRight(s, "BbKkMmGgTtIi ")
	unit, known := sizeUnits[strings.ToUpper(strings.TrimSpace(s[len(digits):]))]
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || !known || n > (1<<62)/unit {
		return errors.New("want a size like 200GB or 256MiB")
	}
	*z = size(n * unit)
	return nil
}

// String implements pflag.Value.
func (z *size) String() string {
	for _, u := range []string{"TiB", "GiB", "MiB"} {
		if m := sizeUnits[strings.ToUpper(u)]; *z > 0 && uint64(*z)%m == 0 {
			return strconv.FormatUint(uint64(*z)/m, 10) + u
		}
	}
	if *z == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(*z), 10)
}

// Type implements pflag.Value.
func (z *size) Type() string { return "size" }
