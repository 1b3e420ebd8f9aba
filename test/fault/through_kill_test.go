package fault

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// reached reads the points that processes reached from here on, by side, in the order of the list.
func reached(t *testing.T, trace, side string) (out []kill.Name) {
	t.Helper()
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	seen := strings.Fields(string(text))
	for _, n := range kill.All {
		if strings.HasPrefix(string(n), side+"/") && slices.Contains(seen, string(n)) {
			out = append(out, n)
		}
	}
	return out
}

// keep copies what both devices and the stick hold, and restore brings it back.
func (c *crossing) keep() (restore func()) {
	c.t.Helper()
	dirs := []string{"old", "new", "stick", "to"}
	for _, d := range dirs {
		copyRegular(c.t, c.w.Path(d), c.w.Path("kept", d))
	}
	return func() {
		c.t.Helper()
		for _, d := range dirs {
			if err := os.RemoveAll(c.w.Path(d)); err != nil {
				c.t.Fatal(err)
			}
			copyRegular(c.t, c.w.Path("kept", d), c.w.Path(d))
		}
		c.sent, c.received = nil, nil
	}
}

func copyRegular(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, regular{os.DirFS(from)}); err != nil {
		t.Fatal(err)
	}
}

// TestR1FolderKills kills the sender and the receiver at every point that they reach from where a folder takes over from the direct
// route, one of each in a run. All come to the same end, no nonce is used twice, and no more than what was under way is put twice.
func TestR1FolderKills(t *testing.T) {
	c := newCrossing(t, "direct")
	oracle, trace := c.w.Path("nonces"), c.w.Path("trace")
	c.env = []string{"DECANT_NONCE_ORACLE=" + oracle}
	c.begin("5")
	restore := c.keep()
	c.env = append(c.env, "DECANT_KILL_TRACE="+trace)
	c.put()
	if err := c.take().Err(); err != nil {
		t.Fatal(err)
	}
	c.whole()
	_, quiet := c.told(0)
	old, young := reached(t, trace, "sender"), reached(t, trace, "receiver")
	for _, must := range []kill.Name{kill.SenderFolder, kill.SenderPackPut, kill.SenderRoot, kill.SenderCommitted, kill.SenderAcked, kill.ReceiverFolder, kill.ReceiverEpoch, kill.ReceiverStaged, kill.ReceiverPosted} {
		if !slices.Contains(old, must) && !slices.Contains(young, must) {
			t.Errorf("%s was not reached", must)
		}
	}
	c.env = c.env[:1]
	for i := range max(len(old), len(young)) {
		c.kill = map[string]string{"sender": string(old[i%len(old)]), "receiver": string(young[i%len(young)])}
		t.Run(filepath.Base(c.kill["sender"])+" and "+filepath.Base(c.kill["receiver"]), func(t *testing.T) {
			outer := c.t
			c.t = t
			defer func() { c.t = outer }()
			restore()
			c.through(quiet)
		})
	}
	noNonceTwice(t, oracle, 200)
}

// through goes on over the stick with deaths, and to the end.
func (c *crossing) through(quiet int64) {
	c.t.Helper()
	c.put()
	if err := c.take().Err(); err != nil {
		c.t.Fatalf("receive from the stick: %v", err)
	}
	asked, err := env.Survive(c.w.Ctx, func(life int) (env.Command, error) {
		d := c.device("old", "receipt")
		if env.Killed(c.sent) == 0 && life == 0 { // a point that comes only here
			d.Env = append(d.Env, env.KillEnv(c.kill["sender"]))
		}
		return d, nil
	})
	if err != nil {
		c.t.Fatalf("receipt: %v", err)
	}
	if env.Killed(c.sent)+env.Killed(asked) != 1 || env.Killed(c.received) != 1 {
		c.t.Errorf("%d senders and %d receivers died, want one of each", env.Killed(c.sent)+env.Killed(asked), env.Killed(c.received))
	}
	if err := corpus.Compare(c.src, filepath.Join(c.to, "src")); err != nil {
		c.t.Error(err)
	}
	if !c.w.Must(c.device("old", "receipt")).Outcome().SafeWipe {
		c.t.Error("the sender is not told that it may be wiped")
	}
	if _, wire := c.told(0); wire > quiet+(streams+3)*blobSize { // what was under way, a manifest again, and a step of the padding
		c.t.Errorf("%d bytes were put, %d without a death", wire, quiet)
	}
}
