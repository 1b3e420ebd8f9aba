package fault

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
	"github.com/decant-dev/decant/test/impair"
)

var leave = flag.Bool("leave", false, "measure after what time the old device may leave, with and without a cache")

// TestLeave measures how long the old device is needed where the server is behind 20 Mbit/s: 48 MiB that can't be compressed, by
// ticket, with a cache on the near side of the slow link and without one; and that all of it arrives.
func TestLeave(t *testing.T) {
	if !*leave {
		t.Skip("runs with -leave")
	}
	w := env.NewWorld(t, env.WorldOptions{Limit: 5 * time.Minute})
	line := impair.NewLink(1, impair.Profile{Delay: 20 * time.Millisecond, Rate: 20e6 / 8}, impair.Profile{Delay: 20 * time.Millisecond})
	slow, err := impair.Listen("127.0.0.1:0", w.Server.HostPort(), line)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slow.Close)
	far := w.Server.Via(slow.Address())
	src := filepath.Join(w.Dir, "src")
	if _, err := corpus.Generate(src, corpus.Spec{Name: "src", Parts: []corpus.Part{{Dir: "a", Ext: ".jpg", Count: 48, PerDir: 48, Min: 1 << 20, Max: 1 << 20, Fill: corpus.Random}}}, 3); err != nil {
		t.Fatal(err)
	}
	cache := w.StartCacheAt(slow.Address(), env.ServerOptions{})
	for _, at := range []string{"none", cache.Address} {
		old, young := "old-"+at[:4], "new-"+at[:4]
		c := w.Device(old, "send", "--ticket", "--cache", at, src)
		c.Args[slices.Index(c.Args, "--server")+1] = far
		began := time.Now()
		sent := w.Must(c)
		left := time.Since(began)
		to := filepath.Join(w.Dir, young+"-to")
		receive := w.Device(young, "receive", "--ticket", "--ticket-fd", "3", "--yes", "--to", to)
		receive.Secret = sent.Ticket()
		w.Must(receive)
		if err := corpus.Compare(src, filepath.Join(to, "src")); err != nil {
			t.Error(err)
		}
		t.Logf("cache %-5v: may leave after %.1f s; received after %.1f s; %d bytes went", at != "none", left.Seconds(), time.Since(began).Seconds(), sent.Outcome().WireBytes)
	}
}
