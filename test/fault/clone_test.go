package fault

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/test/env"
)

// TestC3ClonedSender kills a sender in the middle, copies its state as a restored virtual machine would have it, and lets both
// go on. They have the same keys and believe the same; still no nonce is used twice.
func TestC3ClonedSender(t *testing.T) {
	oracle := filepath.Join(t.TempDir(), "nonces")
	w := env.NewWorld(t, env.WorldOptions{Build: env.Faulty, Server: env.ServerOptions{Args: []string{"--fast-only"}}})
	src := source(t, w.Dir)
	send := func(name string, more ...string) env.Command {
		c := w.Device(name, "send", "--ticket", src)
		c.Env = append(more, "DECANT_NONCE_ORACLE="+oracle)
		return c
	}
	if r := w.Run(send("old", env.KillEnv("sender/pack-noted:3"))); r.Exit != env.ExitKilled {
		t.Fatalf("exit code %d, %v", r.Exit, r.Err())
	}
	if err := os.CopyFS(w.Path("clone"), regular{os.DirFS(w.Path("old"))}); err != nil {
		t.Fatal(err)
	}
	w.Must(send("old"))
	w.Run(send("clone")) // whatever comes of it
	noNonceTwice(t, oracle, 300)
}

// TestP4GuessesAcrossKills types wrong words for one code again and again, while the receiver dies between counting an attempt
// and answering it. Nobody learns more than three times whether a guess was right.
func TestP4GuessesAcrossKills(t *testing.T) {
	for _, killed := range []string{"", "receiver/guess", "receiver/guess:2"} {
		t.Run(strings.ReplaceAll("killed at "+killed, "/", " "), func(t *testing.T) { t.Parallel(); guesses(t, killed) })
	}
}

func guesses(t *testing.T, killed string) {
	w := env.NewWorld(t, env.WorldOptions{Build: env.Faulty, Server: env.ServerOptions{Args: []string{"--fast-only"}}})
	src := source(t, w.Dir)
	codes := &board{more: make(chan struct{})}
	receiving, cancel := context.WithCancel(w.Ctx)
	defer cancel()
	ended := make(chan struct{})
	var lives atomic.Int64
	go func() {
		defer close(ended)
		surviveShowing(&env.World{Ctx: receiving}, codes, func(int) env.Command {
			lives.Add(1)
			c := w.Device("new", "receive", "--yes", "--to", w.Path("to"))
			if killed != "" {
				c.Env = []string{env.KillEnv(killed)}
			}
			return c
		})
	}()
	shown := codes.newest(w)
	code, err := pairing.ParseCode(shown)
	if err != nil {
		t.Fatal(err)
	}
	answered := 0
	for i := range 4 {
		c := w.Device("guesser"+string(rune('0'+i)), "send", "--code-fd", "3", src)
		c.Secret = pairing.NewCode(code.Nameplate).String()
		ctx, stop := context.WithTimeout(w.Ctx, 5*time.Second)
		p, err := env.Start(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		r := p.Wait()
		stop()
		if r.Exit == env.ExitOK {
			t.Fatal("a wrong code was taken")
		}
		if r.ErrorName() == "wrong-code" {
			answered++
		}
	}
	lived := lives.Load()
	cancel()
	<-ended
	if answered == 0 || answered > 3 {
		t.Errorf("%d wrong guesses were answered", answered)
	}
	if killed != "" && lived < 2 {
		t.Errorf("the receiver never died at %s", killed)
	}
	if _, err := os.Stat(w.Path("to", "src")); err == nil {
		t.Error("something was written")
	}
}
