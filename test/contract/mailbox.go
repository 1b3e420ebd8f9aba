package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Box is a mailbox, as node/transfer declares it.
type Box interface {
	Post(ctx context.Context, to id.Peer, body []byte) error
	Fetch(ctx context.Context, after uint64, wait time.Duration) (ms []wire.Message, ack []byte, err error)
	Ack(ctx context.Context, upTo uint64) error
}

// Ends are the two devices of one scope, each with its own mailbox.
type Ends struct {
	A, B         Box
	PeerA, PeerB id.Peer
}

// Mailbox runs the suite. open makes empty mailboxes of an open session that end with the test.
func Mailbox(t *testing.T, open func(t *testing.T) Ends) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(*testing.T, Ends)
	}{
		{"messages arrive in order", inOrder},
		{"each device has its own", apart},
		{"a message stays until it is acknowledged", staysUntilAcked},
		{"sizes", sizes},
		{"fetch gives a part of many", inParts},
		{"fetch waits", waits},
		{"a wait ends with its context", waitEnds},
		{"many at once", postsAtOnce},
	} {
		for _, way := range []string{"", ", the other way"} {
			t.Run(part.name+way, func(t *testing.T) {
				e := open(t)
				if way != "" {
					e = Ends{A: e.B, B: e.A, PeerA: e.PeerB, PeerB: e.PeerA}
				}
				part.run(t, e)
			})
		}
	}
}

// post sends from A to B.
func (e *Ends) post(t *testing.T, body string) {
	t.Helper()
	if err := e.A.Post(t.Context(), e.PeerB, []byte(body)); err != nil {
		t.Fatalf("post: %v", err)
	}
}

func fetch(t *testing.T, b Box, after uint64, wait time.Duration) []wire.Message {
	t.Helper()
	ms, ack, err := b.Fetch(t.Context(), after, wait)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	if ack != nil {
		t.Fatal("fetch: the ack of a session that goes on")
	}
	for _, m := range ms {
		if m.Sequence <= after {
			t.Fatalf("fetch: message %d after %d", m.Sequence, after)
		}
		after = m.Sequence
	}
	return ms
}

func bodies(ms []wire.Message) []string {
	out := make([]string, len(ms))
	for i := range ms {
		out[i] = string(ms[i].Body)
	}
	return out
}

// expect fails the test unless B's messages above after are these, and from A.
func (e *Ends) expect(t *testing.T, after uint64, want ...string) []wire.Message {
	t.Helper()
	ms := fetch(t, e.B, after, 0)
	if !slices.Equal(bodies(ms), want) {
		t.Fatalf("fetch after %d: %q, want %q", after, bodies(ms), want)
	}
	for _, m := range ms {
		if m.From != e.PeerA {
			t.Fatalf("fetch: from %v, want %v", m.From, e.PeerA)
		}
	}
	return ms
}

func inOrder(t *testing.T, e Ends) {
	e.expect(t, 0)
	for _, body := range []string{"one", "two", "three"} {
		e.post(t, body)
	}
	ms := e.expect(t, 0, "one", "two", "three")
	e.expect(t, ms[0].Sequence, "two", "three")
	e.expect(t, ms[2].Sequence)
	e.expect(t, ^uint64(0))
	e.post(t, "four")
	e.expect(t, ms[2].Sequence, "four")
}

func apart(t *testing.T, e Ends) {
	e.post(t, "to B")
	back := Ends{A: e.B, B: e.A, PeerA: e.PeerB, PeerB: e.PeerA}
	back.expect(t, 0)
	back.post(t, "to A")
	ms := back.expect(t, 0, "to A")
	if err := e.A.Ack(t.Context(), ms[0].Sequence+100); err != nil {
		t.Fatal(err)
	}
	back.expect(t, 0)
	e.expect(t, 0, "to B")
}

func staysUntilAcked(t *testing.T, e Ends) {
	for _, body := range []string{"one", "two", "three"} {
		e.post(t, body)
	}
	ms := e.expect(t, 0, "one", "two", "three")
	e.expect(t, 0, "one", "two", "three")
	for range 2 { // again, as after an answer that was lost
		if err := e.B.Ack(t.Context(), ms[1].Sequence); err != nil {
			t.Fatal(err)
		}
		e.expect(t, 0, "three")
	}
	if err := e.B.Ack(t.Context(), ms[2].Sequence); err != nil {
		t.Fatal(err)
	}
	e.expect(t, 0)
	e.post(t, "four") // numbers are never used twice
	e.expect(t, ms[2].Sequence, "four")
}

func sizes(t *testing.T, e Ends) {
	large := bytes.Repeat([]byte("x"), wire.MaxBody)
	for _, body := range [][]byte{[]byte("y"), large} {
		if err := e.A.Post(t.Context(), e.PeerB, body); err != nil {
			t.Fatalf("post of %d bytes: %v", len(body), err)
		}
	}
	e.expect(t, 0, "y", string(large))
	if err := e.A.Post(t.Context(), e.PeerB, append(large, 'x')); !errors.Is(err, wire.TooLarge) {
		t.Fatalf("post of %d bytes: %v, want too large", len(large)+1, err)
	}
	e.expect(t, 0, "y", string(large))
}

func inParts(t *testing.T, e Ends) {
	const n = wire.MaxFetch + 10
	for i := range n {
		e.post(t, fmt.Sprint(i))
	}
	after, next := uint64(0), 0
	for next < n {
		ms := fetch(t, e.B, after, 0)
		if len(ms) == 0 || len(ms) > wire.MaxFetch {
			t.Fatalf("fetch: %d messages, of which %d are left", len(ms), n-next)
		}
		for _, m := range ms {
			if string(m.Body) != fmt.Sprint(next) {
				t.Fatalf("fetch: %q, want %d", m.Body, next)
			}
			next++
		}
		after = ms[len(ms)-1].Sequence
	}
	e.expect(t, after)
}

func waits(t *testing.T, e Ends) {
	e.post(t, "there already")
	after := fetch(t, e.B, 0, wire.MaxWait)[0].Sequence
	got := make(chan error, 1)
	go func() {
		ms, _, err := e.B.Fetch(t.Context(), after, wire.MaxWait)
		if err == nil && !slices.Equal(bodies(ms), []string{"later"}) {
			err = fmt.Errorf("%q", bodies(ms))
		}
		got <- err
	}()
	e.post(t, "later")
	if err := <-got; err != nil {
		t.Fatalf("fetch that waited: %v", err)
	}
	const wait = 50 * time.Millisecond
	began := time.Now()
	if ms := fetch(t, e.B, ^uint64(0)-1, wait); len(ms) != 0 {
		t.Fatalf("fetch: %q after all", bodies(ms))
	}
	if took := time.Since(began); took < wait {
		t.Fatalf("fetch waited %v, want %v", took, wait)
	}
}

func waitEnds(t *testing.T, e Ends) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := e.B.Fetch(ctx, 0, wire.MaxWait); err == nil {
		t.Fatal("fetch: no error from a context that ended")
	}
	e.post(t, "after all")
	e.expect(t, 0, "after all")
}

func postsAtOnce(t *testing.T, e Ends) {
	const posters, each = 4, 10
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				if err := e.A.Post(t.Context(), e.PeerB, []byte{byte(p), byte(i)}); err != nil {
					t.Errorf("post: %v", err)
				}
			}
		})
	}
	wg.Wait()
	next := [posters]byte{}
	ms := fetch(t, e.B, 0, 0)
	if len(ms) != posters*each {
		t.Fatalf("%d messages, want %d", len(ms), posters*each)
	}
	for _, m := range ms { // each poster's are in its order
		if p := m.Body[0]; m.Body[1] != next[p] {
			t.Fatalf("poster %d: message %d, want %d", p, m.Body[1], next[p])
		}
		next[m.Body[0]]++
	}
}
