package link

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/proto/id"
)

// lane is a server's fast lane over in-memory connections, for tests in a synctest
// bubble: TLS, HTTP and all limits are the real ones, only the clock is not.
type lane struct {
	*Server
	t *testing.T
}

func newLane(t *testing.T, h http.HandlerFunc) *lane {
	s, err := newServer(Config{Device: newDevice(), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	s.wg.Go(func() { s.http.Serve(s.queue) })
	return &lane{s, t}
}

// close ends the lane, as Server.Close does for one with addresses.
func (l *lane) close() {
	l.cancel()
	l.http.Close()
	l.wg.Wait()
}

// connect gives the client's end of a connection that has sent nothing.
func (l *lane) connect() net.Conn {
	client, server := net.Pipe()
	a := netip.MustParseAddr("192.0.2.1")
	if !l.counter.add(a) {
		l.t.Fatal("refused")
	}
	l.wg.Go(func() { l.welcome(server, a) })
	return client
}

// dial gives an established connection.
func (l *lane) dial() *conn {
	raw := l.connect()
	ident, err := newIdentity(newDevice())
	if err != nil {
		l.t.Fatal(err)
	}
	b := &batch{Conn: raw}
	c, peer, err := ident.handshake(l.t.Context(), b, l.ident.self)
	if err != nil {
		l.t.Fatal(err)
	}
	return &conn{Conn: c, raw: b, peer: peer}
}

// cut waits until the server closes c and tells after how long.
func cut(c net.Conn) time.Duration {
	start := time.Now()
	io.Copy(io.Discard, c)
	c.Close()
	return time.Since(start)
}

// dribble sends b for ever, one byte in every 5 s, until the connection is gone.
func dribble(c net.Conn, b byte) {
	for {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(5 * time.Second) // the bubble's clock
	}
}

// TestR17Slowloris: in every phase of a connection somebody who sends 1 B in 5 s, or
// nothing, is cut within 30 s, and an honest device beside a hundred of them is served.
func TestR17Slowloris(t *testing.T) {
	phases := map[string]struct {
		begin string // sent after the handshake; empty: attack the handshake itself
		most  time.Duration
	}{
		"handshake": {"", 10 * time.Second},
		"header":    {"POST / HTTP/1.1\r\nHost: decant\r\nX: ", 10 * time.Second},
		"body":      {"POST / HTTP/1.1\r\nHost: decant\r\nContent-Length: 100000\r\n\r\n", 30 * time.Second},
		"unread":    {"POST /unread HTTP/1.1\r\nHost: decant\r\nContent-Length: 100000\r\n\r\n", 30 * time.Second},
		"answered":  {"POST /answered HTTP/1.1\r\nHost: decant\r\nContent-Length: 100000\r\n\r\n", 30 * time.Second},
	}
	for name, phase := range phases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLane(t, func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/answered":
						w.WriteHeader(http.StatusInsufficientStorage)
						w.(http.Flusher).Flush()
					case "/":
						echo(w, r)
					}
				})
				defer l.close()
				var wg sync.WaitGroup
				const attackers = 100
				for range attackers {
					var c net.Conn
					if phase.begin == "" {
						c = l.connect()
						wg.Go(func() { dribble(c, 22) })
					} else {
						c = l.dial()
						if _, err := io.WriteString(c, phase.begin); err != nil {
							t.Fatal(err)
						}
						wg.Go(func() { dribble(c, 'x') })
					}
					wg.Go(func() {
						if d := cut(c); d > phase.most {
							t.Errorf("cut after %v, want %v at most", d, phase.most)
						}
					})
				}
				synctest.Wait()
				if n := l.Conns(); n != attackers {
					t.Errorf("%d connections before the cut, want %d", n, attackers)
				}
				if got := ask(t, l.dial(), "honest"); !strings.HasSuffix(got, " honest") {
					t.Errorf("honest device got %q", got)
				}
				wg.Wait()
				time.Sleep(time.Minute)
				if n := l.Conns(); n > 1 {
					t.Errorf("%d connections are still counted", n)
				}
			})
		})
	}
}

// ask posts body on c, once.
func ask(t *testing.T, c net.Conn, body string) string {
	t.Helper()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: decant\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestR17StalledReader: a device that takes no byte of an answer is cut within 30 s, one
// that takes it slowly gets it all.
func TestR17StalledReader(t *testing.T) {
	const size = 1 << 20
	for name, slow := range map[string]bool{"stalled": false, "slow": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wrote error
				var took time.Duration
				l := newLane(t, func(w http.ResponseWriter, r *http.Request) {
					start := time.Now()
					w.Header().Set("Content-Length", fmt.Sprint(size))
					_, wrote = w.Write(make([]byte, size))
					took = time.Since(start)
				})
				c := l.dial()
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: decant\r\n\r\n")
				if slow {
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					for n := 0; n < size; {
						m, err := resp.Body.Read(make([]byte, 16<<10))
						if n += m; err != nil && n < size {
							t.Fatalf("after %d bytes: %v", n, err)
						}
						time.Sleep(5 * time.Second)
					}
				} else {
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				if slow && (wrote != nil || took < 4*time.Minute) {
					t.Errorf("slow reader: %v after %v", wrote, took)
				}
				if !slow && (wrote == nil || took > 31*time.Second) {
					t.Errorf("stalled reader: %v after %v", wrote, took)
				}
				c.raw.Close()
				l.close()
			})
		})
	}
}

// TestSlowHonestBody: a body that makes progress may take hours.
func TestSlowHonestBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces, size = 1000, 4 << 10
		l := newLane(t, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			time.Sleep(10 * time.Minute) // a handler may take its time: no deadline is left over
			fmt.Fprint(w, n, err, r.Context().Err())
		})
		defer l.close()
		c := l.dial()
		defer c.Close()
		start := time.Now()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: decant\r\nContent-Length: %d\r\n\r\n", pieces*size)
		for range pieces {
			if _, err := c.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if want := fmt.Sprint(pieces*size, nil, nil); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		if d := time.Since(start); d < 2*time.Hour {
			t.Fatalf("only %v passed", d)
		}
	})
}

// TestIdle: a connection between requests lives for the idle limit, and one that waits
// in a long poll as long as the handler.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			time.Sleep(5 * time.Minute)
			if r.Context().Err() != nil {
				t.Error("the long poll lost its connection")
			}
		})
		defer l.close()
		c := l.dial()
		ask(t, c, "poll")
		if d := cut(c); d < 119*time.Second || d > 121*time.Second {
			t.Fatalf("idle connection closed after %v", d)
		}
	})
}

// TestLimits: 500 devices behind one address have eight connections each, and neither a
// subnet, nor an identity, nor everybody together gets more than their share.
func TestLimits(t *testing.T) {
	nat := netip.MustParseAddr("203.0.113.7")
	c := newCounter(DefaultLimits())
	for i := range 500 * 8 {
		if !c.add(nat) || !c.addPeer(id.Peer{byte(i % 500), byte(i % 500 >> 8)}) {
			t.Fatalf("connection %d of an office refused", i)
		}
	}
	small := DefaultLimits()
	small.Conns, small.PerSubnet, small.PerPeer = 5, 3, 2
	for _, group := range [][]string{
		{"127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"},
		{"::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:ff::1", "2001:db8:0:2::9"},
		{"fe80::1%a", "fe80::1%b", "fe80::2%c", "fe80::3"},
	} {
		c := newCounter(small)
		for i, a := range group {
			if got, want := c.add(netip.MustParseAddr(a)), i < 3; got != want {
				t.Errorf("%s as number %d: %v", a, i, got)
			}
		}
		c.remove(netip.MustParseAddr(group[0]))
		if !c.add(netip.MustParseAddr(group[3])) {
			t.Errorf("%s after one left: refused", group[3])
		}
		for i := range 4 { // others, up to the total
			if got, want := c.add(netip.MustParseAddr(fmt.Sprintf("198.51.100.%d", i))), i < 2; got != want {
				t.Errorf("other %d: %v", i, got)
			}
		}
	}
	p := id.Peer{1}
	d := newCounter(small)
	for i, want := range []bool{true, true, false} {
		if d.addPeer(p) != want {
			t.Errorf("connection %d of one identity: %v", i, !want)
		}
	}
	if !d.addPeer(id.Peer{2}) {
		t.Error("connection of another identity")
	}
}

// TestLimitsHold: the limits bind on real sockets of both carriers, on loopback too,
// which libp2p's defaults exempt.
func TestLimitsHold(t *testing.T) {
	for _, carrier := range []Carrier{Fast, Libp2p} {
		t.Run(carrier.String(), func(t *testing.T) {
			s := listen(t, Config{Handler: echo, Limits: Limits{PerSubnet: 3}})
			var dialers []*Dialer
			for range 3 {
				d := dialer(t, DialConfig{Server: s.Server(), Carrier: carrier})
				// A slow machine dials QUIC and TCP, and both count until one is closed.
				within(t, "a connection below the limit", func() bool { _, err := post(t.Context(), d, nil); return err == nil })
				dialers = append(dialers, d)
			}
			over := dialer(t, DialConfig{Server: s.Server(), Carrier: carrier})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := post(ctx, over, nil); err == nil || ctx.Err() != nil {
				t.Fatalf("fourth connection of one address: %v", err)
			}
			dialers[0].Close()
			for { // the server notices
				if _, err := post(ctx, over, nil); err == nil {
					break
				} else if ctx.Err() != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestRT17ConnRate: one address can't make a listener run handshakes without end, and is let in again a little later.
func TestRT17ConnRate(t *testing.T) {
	s := listen(t, Config{Handler: echo, Limits: Limits{PerSubnet: 20}})
	try := func() error {
		d := dialer(t, DialConfig{Server: s.Server(), Carrier: Fast})
		defer d.Close()
		_, err := post(t.Context(), d, nil)
		return err
	}
	began, admitted := time.Now(), 0
	for range 60 {
		if try() == nil {
			admitted++
		}
	}
	// Twenty at once, and two more a second, which on a slow machine may be all of them.
	if most := 21 + int(2*time.Since(began).Seconds()); admitted < 20 || admitted > most {
		t.Fatalf("%d of 60 admitted, want 20 to %d", admitted, most)
	}
	within(t, "let in again", func() bool { return try() == nil })
}

// TestHeaderMax: a header beyond the limit is refused before it is read whole.
func TestHeaderMax(t *testing.T) {
	s := listen(t, Config{Handler: echo})
	d := dialer(t, DialConfig{Server: s.Server()})
	r, err := http.NewRequestWithContext(t.Context(), "POST", BaseURL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X", strings.Repeat("x", 16<<10))
	resp, err := d.RoundTrip(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatal(resp.Status)
	}
}

// TestPanic: a handler's panic costs its own connection only.
func TestPanic(t *testing.T) {
	var first atomic.Bool
	s := listen(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(false, true) {
			panic("boom")
		}
		echo(w, r)
	})})
	d := dialer(t, DialConfig{Server: s.Server()})
	if _, err := post(t.Context(), d, bytes.NewReader([]byte("x"))); err == nil {
		t.Fatal("no error")
	}
	if _, err := post(t.Context(), d, bytes.NewReader([]byte("x"))); err != nil {
		t.Fatal(err)
	}
}
