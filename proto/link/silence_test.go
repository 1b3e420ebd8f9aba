package link_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/test/impair"
)

// labDevice is the same device whoever makes it.
type labDevice string

func (d labDevice) Ed25519() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(d))
	return ed25519.NewKeyFromSeed(seed[:])
}
func (d labDevice) Peer() id.Peer { return id.Peer(d.Ed25519().Public().(ed25519.PublicKey)) }

// pairOn makes a receiver and a sender's dialer to it on loopback, through a proxy for each link.
func pairOn(t *testing.T, h http.Handler, links ...*impair.Link) *link.PeerDialer {
	t.Helper()
	receiver, err := link.NewEndpoint(link.EndpointConfig{Device: labDevice("receiver"), Handler: h, Listen: "127.0.0.1:0", Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receiver.Close() })
	sender, err := link.NewEndpoint(link.EndpointConfig{Device: labDevice("sender"), Listen: "127.0.0.1:0", Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sender.Close() })
	var addrs []string
	for _, l := range links {
		p, err := impair.Listen("127.0.0.1:0", receiver.Addrs()[0], l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		addrs = append(addrs, p.Address())
	}
	d := sender.Dial(labDevice("receiver").Peer())
	d.SetAddrs(addrs)
	return d
}

func ask(ctx context.Context, d *link.PeerDialer, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, link.BaseURL+path, strings.NewReader("x"))
	if err != nil {
		return err
	}
	resp, err := d.RoundTrip(r)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// TestSilence: a path that swallows everything is noticed by the silence of a request under way; that request ends, and
// the next goes another way.
func TestSilence(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 10)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/wait" { // a long poll
			begun <- struct{}{}
			<-r.Context().Done()
		}
	})
	first, second := impair.Both(1, impair.Profile{}), impair.Both(2, impair.Profile{})
	d := pairOn(t, h, first, second)
	if err := ask(t.Context(), d, "/"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- ask(t.Context(), d, "/wait") }()
	<-begun
	first.Cut() // the first address has 250 ms' start, so this is the way
	cut := time.Now()
	if err := <-ended; err == nil {
		t.Fatal("an answer through a cut link")
	}
	t.Log("given up after", time.Since(cut))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ask(ctx, d, "/") != nil && ctx.Err() == nil {
	}
	if ctx.Err() != nil {
		t.Fatal("the other link is not found")
	}
	t.Log("going again after", time.Since(cut))
}

// TestR13Flapping: a link that goes and comes again carries requests again each time, and a long poll that is only quiet
// is left alone.
func TestR13Flapping(t *testing.T) {
	t.Parallel()
	quiet := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/wait" {
			select {
			case <-quiet:
			case <-r.Context().Done():
			}
		}
	})
	l := impair.Both(1, impair.Profile{Delay: 20 * time.Millisecond})
	d := pairOn(t, h, l)
	polled := make(chan error, 1)
	go func() { polled <- ask(t.Context(), d, "/wait") }()
	time.AfterFunc(4*time.Second, func() { close(quiet) }) // the way is in doubt by then, and proved
	if err := <-polled; err != nil {
		t.Fatalf("a quiet long poll: %v", err)
	}
	for range 3 {
		l.Cut()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the outage
		ask(ctx, d, "/")
		cancel()
		l.Restore()
		back := time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		for ask(ctx, d, "/") != nil && ctx.Err() == nil {
		}
		if ctx.Err() != nil {
			t.Fatal("no request works any more")
		}
		cancel()
		t.Log("going again after", time.Since(back))
	}
}
