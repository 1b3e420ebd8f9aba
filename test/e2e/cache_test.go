package e2e

import (
	"os"
	"slices"
	"testing"

	"github.com/decant-dev/decant/test/env"
)

func noticed(r *env.Result, code string) bool {
	return slices.ContainsFunc(r.Events, func(e env.Event) bool { return e.Notice != nil && e.Notice.Code == code })
}

// TestCacheTicket leaves a collection with a cache and is gone; the server gets it from there, and the new device from the
// server. Nothing in the cache's files holds a canary (C-1).
func TestCacheTicket(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	cache := w.StartCache(env.ServerOptions{})
	canaries := env.NewCanaries(64)
	src := collection(t, w, "src", canaries)
	sent := w.Must(w.Device("old", "send", "--ticket", "--cache", cache.Address, src))
	if o := sent.Outcome(); !o.Cached || o.Losses != 0 || o.Packs == 0 {
		t.Errorf("sent: %+v", o)
	}
	canaries.Watch(sent.Ticket())
	hits, searched, err := canaries.SearchTree(cache.Dir)
	must(t, err)
	if len(hits) > 0 || searched < 100<<10 {
		t.Errorf("C-1: %v in %d bytes", hits, searched)
	}
	received := w.Must(w.ReceiveTicket(sent.Ticket(), w.Path("to")))
	same(t, src, w.Path("to", "src"))
	if r := received.Outcome().Receipt; r == nil || r.Outcome("failed").Items != 0 || r.Outcome("moved").Items == 0 {
		t.Errorf("receipt: %+v", r)
	}
	if got := w.Must(w.Device("old", "receipt")); !got.Outcome().SafeWipe {
		t.Errorf("C-5: not safe to wipe with a receipt: %s", got.Stderr)
	}
}

// TestCacheNearReceiver has a cache whose server can't be reached from it: what the new device gets can only come from the cache.
func TestCacheNearReceiver(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	cache := w.StartDetachedCache(env.ServerOptions{})
	src := collection(t, w, "src", nil)
	receive := w.Device("new", "receive", "--yes", "--to", w.Path("to"))
	receive.Args = append([]string{"--route", "stored"}, receive.Args...)
	p := w.Start(receive)
	send := w.Device("old", "send", "--code-fd", "3", "--cache", cache.Address, "--route", "stored", src)
	send.Secret = w.Code(p)
	sent := w.Must(send)
	received := p.Wait()
	must(t, received.Err())
	same(t, src, w.Path("to", "src"))
	if !noticed(received, "cache-near") {
		t.Error("the new device did not find the cache")
	}
	if r := sent.Outcome().Receipt; r == nil || !r.SafeWipe {
		t.Errorf("the sender has no receipt: %+v", r)
	}
}

// TestCacheVanishes loses a cache with all that it has before any of it is at the server. The old device finds that out when it is asked
// again, and sends what is lost.
func TestCacheVanishes(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	cache := w.StartDetachedCache(env.ServerOptions{})
	src := collection(t, w, "src", nil)
	send := w.Device("old", "send", "--ticket", "--cache", cache.Address, src)
	sent := w.Must(send)
	if !sent.Outcome().Cached {
		t.Fatalf("sent: %+v", sent.Outcome())
	}
	cache.Kill()
	must(t, os.RemoveAll(cache.Dir))
	again := w.Must(send)
	if o := again.Outcome(); o.Cached || o.Read == 0 || !noticed(again, "cache-lost") {
		t.Errorf("sent again: %+v", o)
	}
	w.Must(w.ReceiveTicket(sent.Ticket(), w.Path("to")))
	same(t, src, w.Path("to", "src"))
}

// TestNoCacheThere goes on without a cache that is a server, or brings nothing to this server, or is not there.
func TestNoCacheThere(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	other := env.NewInside(t, w.Path("other"), nil, nil)
	bin, err := env.Binary(env.Plain)
	must(t, err)
	foreign, err := env.StartCache(w.Ctx, bin, w.Path("foreign"), env.ServerOptions{Args: []string{"--ballast", "1MiB", "--watermark", "1MiB", other.Address.String()}})
	must(t, err)
	t.Cleanup(foreign.Close)
	for notice, at := range map[string]string{"no-cache": w.Server.Via(w.Proxy.Address), "cache-refused": foreign.Address,
		"cache-unreachable": w.Server.Via("127.0.0.1:9")} {
		src := w.Write("src-"+notice, map[string]string{"a": notice})
		sent := w.Must(w.Device("old-"+notice, "send", "--ticket", "--cache", at, src))
		if sent.Outcome().Cached || !noticed(sent, notice) {
			t.Errorf("%s: %+v\n%s", notice, sent.Outcome(), sent.Stderr)
		}
	}
}
