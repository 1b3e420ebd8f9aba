package link

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
)

func prober(t *testing.T, s id.Server) *Prober {
	t.Helper()
	p, err := NewProber(newDevice(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func probeContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestProbe: each way is tried by itself, and what the server shows is told: whether it relays and where it sees the device.
func TestProbe(t *testing.T) {
	relay := &RelayConfig{Reserve: func(id.Peer) bool { return false }, Allow: func(_, _ id.Peer) bool { return false }}
	for name, cfg := range map[string]Config{"plain": {}, "relay": {Relay: relay}} {
		t.Run(name, func(t *testing.T) {
			cfg.Handler = http.NotFoundHandler()
			p, ctx := prober(t, listen(t, cfg).Server()), probeContext(t)
			if err := p.Fast(ctx); err != nil {
				t.Fatal("fast:", err)
			}
			for way, try := range map[string]func(context.Context) (*Sight, error){"quic": p.QUIC, "tcp": p.TCP} {
				s, err := try(ctx)
				if err != nil {
					t.Fatal(way, err)
				}
				if !s.Relays != (cfg.Relay == nil) || s.Relays != s.Seen.IsValid() {
					t.Errorf("%s: %+v", way, s)
				}
				if s.Relays && (!s.Own || !s.PortKept || !s.Seen.Addr().IsLoopback()) {
					t.Errorf("%s: no address is translated on this machine, and yet %+v", way, s)
				}
			}
		})
	}
}

// TestProbeWrongServer: on every way another identity is told apart from a server that does not answer.
func TestProbeWrongServer(t *testing.T) {
	s := listen(t, Config{Handler: http.NotFoundHandler()}).Server()
	got := s.Peer
	s.Peer = newDevice().Peer()
	p, ctx := prober(t, s), probeContext(t)
	for way, try := range map[string]func(context.Context) error{"fast": p.Fast,
		"quic": func(ctx context.Context) error { _, err := p.QUIC(ctx); return err },
		"tcp":  func(ctx context.Context) error { _, err := p.TCP(ctx); return err }} {
		var w *WrongServerError
		if err := try(ctx); !errors.As(err, &w) || w.Got != got {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// TestProbeFastOnly: a server without libp2p is reached on the fast lane, and on nothing else.
func TestProbeFastOnly(t *testing.T) {
	p := prober(t, listen(t, Config{Handler: http.NotFoundHandler(), FastOnly: true}).Server())
	if err := p.Fast(probeContext(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := p.QUIC(ctx); err == nil {
		t.Error("QUIC answers where nobody listens")
	}
	if _, err := p.TCP(probeContext(t)); err == nil {
		t.Error("libp2p answers where nobody listens")
	}
}

// TestProbeMulticast: every interface is either one that works or one that lacks it.
func TestProbeMulticast(t *testing.T) {
	before, want := []string{"?"}, []string(nil)
	var m *Multicast
	for !slices.Equal(before, want) { // again if interfaces came or went meanwhile
		before = must(interfaceNames())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		m = must(ProbeMulticast(ctx, newDevice()))
		cancel()
		want = must(interfaceNames())
	}
	if len(m.Works)+len(m.Lacks) != len(want) {
		t.Errorf("of %q %q work and %q lack", want, m.Works, m.Lacks)
	}
	if len(m.Works) == 0 {
		t.Skip("no interface of this machine has multicast")
	}
}

// TestProbeMulticastElsewhere: an answer of another device, or on one interface, vouches for no other.
func TestProbeMulticastElsewhere(t *testing.T) {
	a := testAdvert(t)
	msg, err := a.pack(nil, adTTL)
	if err != nil {
		t.Fatal(err)
	}
	f := newFinder(a.peer, []string{"one", "two"})
	f.hear(nil, segment{name: "one", index: 1}, msg, netip.AddrPort{})
	if m := f.result(); len(m.Works) != 1 || m.Works[0] != "one" || len(m.Lacks) != 1 || m.Lacks[0] != "two" {
		t.Errorf("%+v", m)
	}
	f = newFinder(newDevice().Peer(), []string{"one"})
	f.hear(nil, segment{name: "one", index: 1}, msg, netip.AddrPort{})
	if m := f.result(); len(m.Works) != 0 {
		t.Errorf("another device's answer counts: %+v", m)
	}
}
