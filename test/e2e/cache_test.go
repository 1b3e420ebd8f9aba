package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/cache"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
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

// lyingCache is a cache inside the test's process that never reaches the server and gives every reader something else than it
// was given; blobs with a byte changed, and roots too if it lies about those.
func lyingCache(t *testing.T, w *env.World, roots bool) (address string, leave func()) {
	t.Helper()
	device := key.NewDevice()
	home, err := id.ParseServer(w.Server.Via("127.0.0.1:9"))
	must(t, err)
	c, err := cache.New(cache.Config{Dir: w.Path("liar"), Device: device, Servers: []id.Server{home}, Caller: link.PeerFrom, Watermark: 1 << 20})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	l, err := link.Listen(link.Config{Device: device, Listen: "127.0.0.1:0", FastOnly: true, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		blob, root := r.Method == http.MethodGet, roots && strings.HasSuffix(r.URL.Path, "/GetRoot")
		if !blob && !root {
			c.Handler().ServeHTTP(rw, r)
			return
		}
		rec := httptest.NewRecorder()
		c.Handler().ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		if len(body) > 1000 {
			body[len(body)/2] ^= 1
		}
		maps.Copy(rw.Header(), rec.Header())
		rw.WriteHeader(rec.Code)
		_, _ = rw.Write(body)
	})})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Server().String(), func() { l.Close() }
}

// TestCacheLies has a cache that gives the new device garbage, and brings nothing to the server. The new device takes none of it; and when the
// old one is asked again, without the cache, everything arrives.
func TestCacheLies(t *testing.T) {
	for _, roots := range []bool{false, true} {
		t.Run(fmt.Sprintf("roots %v", roots), func(t *testing.T) {
			t.Parallel()
			w := env.NewWorld(t, env.WorldOptions{})
			at, leave := lyingCache(t, w, roots)
			src := collection(t, w, "src", nil)
			receive := w.Device("new", "receive", "--yes", "--to", w.Path("to"))
			receive.Args = append([]string{"--route", "stored"}, receive.Args...)
			p := w.Start(receive)
			send := w.Device("old", "send", "--no-wait", "--code-fd", "3", "--cache", at, "--route", "stored", src)
			send.Secret = w.Code(p)
			sent := w.Must(send)
			if !sent.Outcome().Cached {
				t.Fatalf("sent: %+v", sent.Outcome())
			}
			sign := map[bool]string{false: "waiting-for-cache", true: "cache-near"}[roots]
			_, err := p.WaitFor(w.Ctx, sign, func(e env.Event) bool { return e.Notice != nil && e.Notice.Code == sign })
			must(t, err)
			if _, err := os.Stat(w.Path("to", "src")); err == nil {
				t.Error("something was applied")
			}
			leave()
			again := w.Must(w.Device("old", "send", "--route", "stored", src))
			received := p.Wait()
			must(t, received.Err())
			same(t, src, w.Path("to", "src"))
			if r := again.Outcome().Receipt; r == nil || !r.SafeWipe {
				t.Errorf("the sender has no receipt: %+v", again.Outcome())
			}
		})
	}
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
