package redteam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/test/env"
)

// TestP1ThreeGuesses: after three answered guesses the code is dead, and the next run shows another.
func TestP1ThreeGuesses(t *testing.T) {
	w := newWorld(t)
	tap := w.tap(nil)
	j, r := w.journey(), w.rogue()
	at := r.find(j.code().code)
	for range 3 {
		a, err := r.ask(at, at.wrong())
		w.must(err)
		w.wants(r.answer(at, a), pairing.ErrMismatch)
	}
	_, err := r.ask(at, at.code) // even the right words are too late
	w.must(err)
	<-j.receiving
	w.wants(j.gotErr, node.ErrCodeUsedUp)
	if n := tap.answers(at.owner); n != 3 {
		t.Errorf("%d guesses were answered", n)
	}
	j = w.journey()
	if next := j.code().code; next == at.code.String() {
		t.Error("the dead code is shown again")
	}
	j.stop()
	<-j.receiving
	w.empty("to")
}

// TestP1HonestWithinTheBudget: a stranger's wrong guesses leave the honest device what remains of the three, and the person's
// own wrong codes do too.
func TestP1HonestWithinTheBudget(t *testing.T) {
	for strangers := range 3 {
		t.Run(fmt.Sprintf("%d by strangers", strangers), func(t *testing.T) {
			w := newWorld(t)
			src := w.collection()
			j, r := w.journey(), w.rogue()
			at := r.find(j.code().code)
			for range strangers {
				a, err := r.ask(at, at.wrong())
				w.must(err)
				w.wants(r.answer(at, a), pairing.ErrMismatch)
			}
			j.send(src)
			j.typed <- at.code.String()
			j.arrives(src)
		})
	}
	for wrong := 1; wrong < 3; wrong++ {
		t.Run(fmt.Sprintf("%d by the person", wrong), func(t *testing.T) {
			w := newWorld(t)
			src := w.collection()
			j := w.journey()
			at := w.rogue().find(j.code().code)
			j.send(src)
			j.typed <- "what is this"
			for range wrong {
				j.typed <- at.wrong().String()
			}
			j.typed <- at.code.String()
			j.arrives(src)
			if !j.old.said.has("attempt-failed wrong") || !j.old.said.has("attempt-failed malformed") {
				t.Errorf("the person was told %v", j.old.said.list)
			}
		})
	}
}

// TestRT15ParallelGuesses lets fifty messages 1 of five devices arrive at once.
func TestRT15ParallelGuesses(t *testing.T) {
	w := newWorld(t)
	tap := w.tap(nil)
	j := w.journey()
	at := w.rogue().find(j.code().code)
	rogues := make([]*rogue, 5)
	var wg sync.WaitGroup
	for i := range rogues {
		rogues[i] = w.rogue()
		for range 10 {
			wg.Go(func() {
				if _, err := rogues[i].ask(at, at.wrong()); err != nil && !gone(err) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	<-j.receiving
	w.wants(j.gotErr, node.ErrCodeUsedUp)
	if n := tap.answers(at.owner); n != 3 {
		t.Errorf("%d guesses were answered", n)
	}
}

// killable returns the path of the build that can be killed. Tests call it before anything that has only so much time: on a slow machine
// building takes longer than all that follows.
func killable(t *testing.T) string {
	t.Helper()
	bin, err := env.Binary(env.Faulty)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// receiver is a process of the build that can be killed.
func (w *world) receiver(ctx context.Context, points ...string) *env.Process {
	w.t.Helper()
	c := env.Command{Path: killable(w.t), Args: []string{"--json", "--server", w.address.String(), "--carrier", "fast", "--state", w.path("new"),
		"receive", "--yes", "--to", w.path("to")}}
	if len(points) > 0 {
		c.Env = []string{env.KillEnv(points...)}
	}
	p, err := env.Start(ctx, c)
	w.must(err)
	w.t.Cleanup(p.Kill)
	return p
}

func codeOf(t *testing.T, ctx context.Context, p *env.Process) string {
	t.Helper()
	e, err := p.WaitFor(ctx, "a code", func(e env.Event) bool { return e.Pairing != nil && e.Pairing.Code != "" })
	if err != nil {
		t.Fatal(err)
	}
	return e.Pairing.Code
}

// TestP2KilledAfterCounting kills the receiver each time that it has counted a guess and not yet answered. What it owes is
// answered by its next life, at no further cost; no more than three guesses are ever answered.
func TestP2KilledAfterCounting(t *testing.T) {
	killable(t)
	w := newWorld(t)
	tap := w.tap(nil)
	ctx, r := w.context(), w.rogue()
	p := w.receiver(ctx, "receiver/guess")
	at := r.find(codeOf(t, ctx, p))
	lives := 0
	for life := range 6 {
		if _, err := r.ask(at, at.wrong()); err != nil {
			t.Fatal(err)
		}
		res := p.Wait()
		if res.Exit != env.ExitKilled {
			break
		}
		lives++
		p = w.receiver(ctx, "receiver/guess")
		if code := codeOf(t, ctx, p); code != at.code.String() {
			if life < 2 {
				t.Errorf("after %d guesses the code is another", life+1)
			}
			break
		}
	}
	p.Kill()
	if n := tap.answers(at.owner); n < 2 || n > 3 || lives != 3 {
		t.Errorf("%d guesses were answered by %d lives", n, lives)
	}
}

// TestP2KilledAtAnyTime kills the receiver as soon as a guess reaches it, which is before, while or after it counts.
func TestP2KilledAtAnyTime(t *testing.T) {
	killable(t)
	w := newWorld(t)
	tap := w.tap(nil)
	ctx, r := w.context(), w.rogue()
	p := w.receiver(ctx)
	at := r.find(codeOf(t, ctx, p))
	newest := uint64(0) // message that the receiver has been shown
	reached := make(chan struct{}, 100)
	w.layer.tell(func(x *exchange) {
		if x.call == "Fetch" && x.caller == at.owner {
			edit(x, func(m *serverpb.FetchResponse) {
				for _, e := range m.Messages {
					if e.Sequence > newest {
						newest = e.Sequence
						reached <- struct{}{}
					}
				}
			})
		}
	})
	for range 5 {
		if _, err := r.ask(at, at.wrong()); err != nil {
			if gone(err) {
				break
			}
			t.Fatal(err)
		}
		select {
		case <-reached:
		case <-p.Done(): // the code is used up
		}
		p.Kill()
		p = w.receiver(ctx)
		if codeOf(t, ctx, p) != at.code.String() {
			break
		}
	}
	p.Kill()
	if n := tap.answers(at.owner); n > 3 {
		t.Errorf("%d guesses were answered", n)
	}
}

// TestP2TypedCodeIsSpentOnce kills the sender between typing a code and handing the keys over. What is typed into its later
// lives is not looked at: one message 1 leaves it, and the exchange that was begun succeeds.
func TestP2TypedCodeIsSpentOnce(t *testing.T) {
	bin := killable(t)
	w := newWorld(t)
	src := w.collection()
	tap := w.tap(nil)
	j := w.journey()
	at := w.rogue().find(j.code().code)
	typed := at.code.String()
	for _, point := range []string{"sender/guess", "sender/paired", ""} {
		c := env.Command{Path: bin, Secret: typed, Args: []string{"--json", "--server", w.address.String(), "--carrier", "fast",
			"--state", w.path("old"), "send", "--code-fd", "3", src}}
		if point != "" {
			c.Env = []string{env.KillEnv(point)}
		}
		p, err := env.Start(w.context(), c)
		w.must(err)
		res := p.Wait()
		if point == "" && res.Err() != nil || point != "" && res.Exit != env.ExitKilled {
			t.Fatalf("%q: exit code %d, %v", point, res.Exit, res.Err())
		}
		typed = at.wrong().String()
	}
	<-j.receiving
	w.must(j.gotErr)
	w.arrived(src, "to")
	first := map[string]bool{}
	tap.count(func(p posted) bool {
		if p.to == at.owner && len(p.body) > 9 && p.body[9] == 1 {
			first[string(p.body)] = true
		}
		return false
	})
	if len(first) != 1 {
		t.Errorf("%d different messages 1 left the sender", len(first))
	}
}

// TestP3ExpiredCode types a code that was never given out, and one of a device that has left: both are said to have expired.
func TestP3ExpiredCode(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	tap := w.tap(nil)
	e := w.open("old")
	typed := []string{pairing.NewCode(99).String(), pairing.NewCode(999_999_999).String()}
	_, err := e.Send(w.context(), node.SendOptions{Paths: []string{src}, AskCode: func(_ context.Context, attempt int) (string, error) {
		if attempt == len(typed) {
			return "", errGiveUp
		}
		return typed[attempt], nil
	}})
	w.wants(err, errGiveUp)
	if !e.said.has("attempt-failed expired") {
		t.Errorf("the person was told %v", e.said.list)
	}
	if n := tap.count(func(posted) bool { return true }); n != 0 {
		t.Errorf("%d messages were posted", n)
	}
}

// TestRT15StrictParsing: what is no code, in the ways that matter, is refused before anything is sent.
func TestRT15StrictParsing(t *testing.T) {
	w := newWorld(t)
	src := w.collection()
	e := w.open("old")
	good := pairing.NewCode(7).String()
	typed := []string{"", "7", "7 abandon", "abandon abandon abandon", "07" + good[1:], "-7" + good[1:], good + "-abandon", good + "\x00",
		"7-\u0430bandon-ability-able", "7--abandon-ability-able", "99999999999" + good[1:], string(bytes.Repeat([]byte("a"), 10<<20))}
	asked := 0
	_, err := e.Send(w.context(), node.SendOptions{Paths: []string{src}, AskCode: func(_ context.Context, attempt int) (string, error) {
		if asked = attempt; attempt == len(typed) {
			return "", errGiveUp
		}
		return typed[attempt], nil
	}})
	if !errors.Is(err, errGiveUp) || asked != len(typed) {
		t.Errorf("asked %d times, %v", asked, err)
	}
	if e.said.has("attempt-failed wrong") || e.said.has("attempt-failed expired") {
		t.Errorf("something of it was sent: %v", e.said.list)
	}
}
