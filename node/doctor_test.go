package node

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// doctorServer starts a real server that ends with the test. change may be nil.
func doctorServer(t *testing.T, change func(*link.Config)) id.Server {
	t.Helper()
	s, err := server.New(server.Config{Dir: t.TempDir(), Caller: link.PeerFrom, Watermark: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	cfg := link.Config{Device: key.NewDevice(), Handler: s.Handler(), Listen: "127.0.0.1:0",
		Relay: &link.RelayConfig{Reserve: s.RelayReserve, Allow: s.RelayAllow}}
	if change != nil {
		change(&cfg)
	}
	l, err := link.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Server()
}

// examined opens an engine that uses the stored route alone and returns what its doctor finds.
func examined(t *testing.T, cfg Config, o DoctorOptions) map[Finding]Check {
	t.Helper()
	cfg.Route, cfg.Loopback = RouteStored, true // a test may run without a network
	if cfg.StateDir == "" {
		cfg.StateDir = filepath.Join(t.TempDir(), "state")
	}
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	d, err := n.Doctor(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[Finding]Check{}
	for _, c := range d.Checks {
		out[c.Finding] = c
	}
	return out
}

// wantFindings checks levels: whatever is bad and not listed is an error too.
func wantFindings(t *testing.T, got map[Finding]Check, want map[Finding]Level) {
	t.Helper()
	for f, l := range want {
		if got[f].Level != l {
			t.Errorf("%s is %q, want %q", f, got[f].Level, l)
		}
	}
	for f, c := range got {
		if c.Level == LevelBad && want[f] != LevelBad {
			t.Errorf("%s is bad: %+v", f, c)
		}
	}
}

// TestDoctorServer: all is well, and what the server says of itself is told.
func TestDoctorServer(t *testing.T) {
	t.Parallel()
	s := doctorServer(t, nil)
	got := examined(t, Config{Server: s}, DoctorOptions{})
	wantFindings(t, got, map[Finding]Level{ServerSet: LevelOK, FastReached: LevelOK, QUICReached: LevelOK, TCPReached: LevelOK, ServerVersion: LevelOK,
		ServerLimits: LevelOK, ServerRoom: LevelOK, ClockAgrees: LevelOK, Relays: LevelOK, SeenAs: LevelOK, StatePrivate: LevelOK, TransfersNone: LevelOK, NearbyOff: LevelNote})
	if l := got[ServerLimits]; l.Bytes <= 0 || l.Span < time.Hour {
		t.Errorf("limits: %+v", l)
	}
	if got[Relays].Detail != s.HostPort() {
		t.Errorf("relay at %q", got[Relays].Detail)
	}
}

// TestDoctorNoServer: without a server the stored route is impossible, and the others are not.
func TestDoctorNoServer(t *testing.T) {
	t.Parallel()
	wantFindings(t, examined(t, Config{}, DoctorOptions{}), map[Finding]Level{ServerNeeded: LevelBad})
	n := &Node{cfg: Config{Route: RouteAuto}}
	if c := n.examineServer(t.Context()); len(c) != 1 || c[0].Finding != ServerUnset || c[0].Level != LevelNote {
		t.Errorf("%+v", c)
	}
}

// TestDoctorFastOnly: a server without libp2p will do, unless libp2p is what the person wants.
func TestDoctorFastOnly(t *testing.T) {
	t.Parallel()
	s := doctorServer(t, func(c *link.Config) { c.FastOnly, c.Relay = true, nil })
	wantFindings(t, examined(t, Config{Server: s}, DoctorOptions{}),
		map[Finding]Level{FastReached: LevelOK, QUICFails: LevelNote, TCPFails: LevelNote, RelayUnknown: LevelNote, ServerVersion: LevelOK})
	a := attempts{quic: attempt{err: io.EOF}, tcp: attempt{err: io.EOF}}
	if _, ok := a.usable(CarrierLibp2p); ok {
		t.Error("libp2p is usable where nothing listens")
	}
	if c, ok := a.usable(CarrierAuto); !ok || c != link.Fast {
		t.Error("the fast lane is not usable")
	}
}

// TestDoctorUDPBlocked: behind something that passes TCP only, it is UDP that is blamed.
func TestDoctorUDPBlocked(t *testing.T) {
	t.Parallel()
	s := doctorServer(t, func(c *link.Config) { c.Relay = nil })
	s.Port = tcpOnly(t, s.Port)
	got := examined(t, Config{Server: s}, DoctorOptions{})
	wantFindings(t, got, map[Finding]Level{FastReached: LevelOK, UDPBlocked: LevelNote, TCPReached: LevelOK, RelaysNot: LevelNote, ServerVersion: LevelOK})
	if _, ok := got[QUICFails]; ok {
		t.Error("QUIC is blamed")
	}
}

// tcpOnly forwards two TCP ports to port and port+1 of this machine, and returns the first.
func tcpOnly(t *testing.T, port uint16) uint16 {
	t.Helper()
	for range 50 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := a.Addr().(*net.TCPAddr).Port
		b, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+1)))
		if err != nil {
			a.Close()
			continue
		}
		for i, l := range []net.Listener{a, b} {
			go forward(l, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)+i)))
			t.Cleanup(func() { l.Close() })
		}
		return uint16(first)
	}
	t.Fatal("no two free ports beside each other")
	return 0
}

func forward(l net.Listener, to string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			in.Close()
			continue
		}
		var once sync.Once
		end := func() { once.Do(func() { in.Close(); out.Close() }) }
		go func() { io.Copy(in, out); end() }()
		go func() { io.Copy(out, in); end() }()
	}
}

// TestDoctorServerGone: nobody answers, or somebody else does.
func TestDoctorServerGone(t *testing.T) {
	t.Parallel()
	s := doctorServer(t, nil)
	answers := s.Peer
	s.Peer = key.NewDevice().Peer()
	got := examined(t, Config{Server: s}, DoctorOptions{})
	wantFindings(t, got, map[Finding]Level{ServerOther: LevelBad})
	if got[ServerOther].Detail != answers.Short() {
		t.Errorf("the other one is %q, want %q", got[ServerOther].Detail, answers.Short())
	}
	s.Port = tcpOnly(t, 1) // no answer behind either port
	wantFindings(t, examined(t, Config{Server: s}, DoctorOptions{}), map[Finding]Level{ServerUnreachable: LevelBad})
	s.Host = "name.invalid"
	wantFindings(t, examined(t, Config{Server: s}, DoctorOptions{}), map[Finding]Level{ServerUnknown: LevelBad})
}

// TestDoctorVersion: a server that wants another version.
func TestDoctorVersion(t *testing.T) {
	t.Parallel()
	s := doctorServer(t, func(c *link.Config) {
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(wire.StatusHeader, strconv.Itoa(int(wire.Version1)))
			w.WriteHeader(http.StatusBadRequest)
		})
	})
	wantFindings(t, examined(t, Config{Server: s}, DoctorOptions{}), map[Finding]Level{VersionDiffers: LevelBad})
}

// TestDoctorClock: a clock that is off by more than two minutes, either way.
func TestDoctorClock(t *testing.T) {
	t.Parallel()
	s := doctorServer(t, func(c *link.Config) { c.FastOnly, c.Relay = true, nil })
	for off, want := range map[time.Duration]Finding{time.Hour: ClockAhead, -time.Hour: ClockBehind} {
		n := &Node{cfg: Config{Server: s, Now: func() time.Time { return time.Now().Add(off) }}}
		checks := n.askServer(t.Context(), key.NewDevice(), link.Fast)
		c := checks[len(checks)-1]
		if c.Finding != want || c.Level != LevelNote || c.Span < 55*time.Minute || c.Span > 65*time.Minute {
			t.Errorf("%v off: %+v", off, c)
		}
	}
	for off, want := range map[time.Duration]Finding{0: ClockAgrees, clockTolerance: ClockAgrees, -clockTolerance: ClockAgrees,
		clockTolerance + 1: ClockAhead, -clockTolerance - 1: ClockBehind} {
		if got := clockCheck(off).Finding; got != want {
			t.Errorf("%v off: %s, want %s", off, got, want)
		}
	}
}

// TestDoctorNAT: what the relay sees says which NAT there is.
func TestDoctorNAT(t *testing.T) {
	at := netip.MustParseAddrPort("198.51.100.7:4000")
	for want, s := range map[Finding]link.Sight{SeenAs: {Own: true, PortKept: true}, SeenByNAT: {PortKept: true}, SeenByRewritingNAT: {}} {
		s.Relays, s.Seen = true, at
		checks := (&attempts{quic: attempt{sight: &s}, tcp: attempt{err: io.EOF}}).relay(id.Server{})
		if c := checks[len(checks)-1]; c.Finding != want || c.Detail != "198.51.100.7" {
			t.Errorf("%+v, want %s", c, want)
		}
	}
}

// TestDoctorNearby: no multicast is bad only where nothing else finds the other device.
func TestDoctorNearby(t *testing.T) {
	one, two := []string{"eth0"}, []string{"tun0"}
	for _, c := range []struct {
		m      link.Multicast
		needed bool
		want   Finding
		level  Level
		list   []string
	}{
		{link.Multicast{Works: one}, true, NearbyWorks, LevelOK, one},
		{link.Multicast{Works: one, Lacks: two}, true, NearbyPartly, LevelNote, two},
		{link.Multicast{Lacks: two}, false, NearbyFails, LevelNote, two},
		{link.Multicast{Lacks: two}, true, NearbyMissing, LevelBad, two},
		{link.Multicast{}, true, NearbyMissing, LevelBad, nil},
	} {
		if got := nearbyCheck(&c.m, c.needed); got.Finding != c.want || got.Level != c.level || !slices.Equal(got.List, c.list) {
			t.Errorf("%+v, %v: %+v", c.m, c.needed, got)
		}
	}
}

// TestDoctorState: others must not look into the directory that holds keys.
func TestDoctorState(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs permission bits")
	}
	dir := filepath.Join(t.TempDir(), "state")
	got := examined(t, Config{StateDir: dir}, DoctorOptions{})
	if got[StatePrivate].Level != LevelOK || got[StateFree].Bytes <= 0 {
		t.Errorf("%+v", got)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	wantFindings(t, examined(t, Config{StateDir: dir}, DoctorOptions{}), map[Finding]Level{StateOpen: LevelBad, ServerNeeded: LevelBad})
	left, err := os.ReadDir(filepath.Join(dir, "transfers"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDoctorTarget: the target is tried and left as it was; one that does not exist is not made.
func TestDoctorTarget(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string][]Finding{dir: {TargetFree, TargetLow, TargetFull}, filepath.Join(dir, "a", "b"): {TargetNew, TargetLow, TargetFull},
		file: {TargetNoDir}, filepath.Join(file, "below"): {TargetNoDir}} {
		if c := examineTarget(to)[0]; !slices.Contains(want, c.Finding) || c.Finding != TargetNoDir && c.Bytes <= 0 || c.Detail != to {
			t.Errorf("%s: %+v", to, c)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if after, err := os.Stat(dir); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the target's time was %v, is %v, %v", before.ModTime(), after.ModTime(), err)
	}
	if os.Geteuid() > 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir, 0o700)
		if c := examineTarget(dir)[0]; c.Finding != TargetDenied || c.Level != LevelBad {
			t.Errorf("%+v", c)
		}
	}
}

// TestDoctorLosses: each thing that a file system lacks is named.
func TestDoctorLosses(t *testing.T) {
	all := folder.Caps{CaseSensitive: true, XAttrs: true, Perms: true, TimeStep: 1}
	if lost := lostIn(&all, true); len(lost) > 0 {
		t.Errorf("nothing is lost, and yet %q", lost)
	}
	fat := folder.Caps{WindowsNames: true, TimeStep: 2e9}
	if lost := lostIn(&fat, false); !slices.Equal(lost, []string{LostCase, LostNames, LostLongNames, LostXAttrs, LostPerms, LostTimes}) {
		t.Errorf("FAT loses %q", lost)
	}
}

// TestDoctorHangs: what hangs is given up and said to, and the rest is told in order.
func TestDoctorHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		began := time.Now()
		var told []Finding
		d, err := diagnose(t.Context(), []examination{
			{"one", func(context.Context) []Check { return []Check{{Finding: TargetFree}} }},
			{"dead", func(context.Context) []Check { <-release; return nil }},
			{"patient", func(ctx context.Context) []Check { <-ctx.Done(); return []Check{{Finding: FastFails}} }},
		}, func(c Check) { told = append(told, c.Finding) })
		if err != nil || !slices.Equal(told, []Finding{TargetFree, TookTooLong, FastFails}) || len(d.Checks) != 3 || d.Checks[1].Name != "dead" || d.Count(LevelBad) != 1 {
			t.Errorf("%v, %+v, %v", told, d, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestDoctorEnds: the context ends it, though something hangs.
func TestDoctorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, cause := make(chan struct{}), errors.New("enough")
		defer close(release)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		began := time.Now()
		_, err := diagnose(ctx, []examination{{"dead", func(context.Context) []Check { <-release; return nil }}}, nil)
		if !errors.Is(err, cause) || time.Since(began) > 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
