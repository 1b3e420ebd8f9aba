package impair

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute

// echo answers TCP connections and UDP packets with what they say, on one port of loopback.
func echo(t *testing.T) (address string, lastUDP *atomic.Pointer[net.UDPAddr]) {
	t.Helper()
	l, udp, err := listenBoth("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lastUDP = &atomic.Pointer[net.UDPAddr]{}
	t.Cleanup(func() { l.Close(); udp.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.(*net.TCPConn).CloseWrite()
			}()
		}
	}()
	go func() {
		buf := make([]byte, maxPacket)
		for {
			n, from, err := udp.ReadFromUDP(buf)
			if err != nil {
				return
			}
			lastUDP.Store(from)
			udp.WriteToUDP(buf[:n], from)
		}
	}()
	return l.Addr().String(), lastUDP
}

func listen(t *testing.T, target string, link *Link) *Proxy {
	t.Helper()
	p, err := Listen("127.0.0.1:0", target, link)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, network string, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial(network, p.Address())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// ask writes one message and reads the echo.
func ask(t *testing.T, c net.Conn, what string) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(what))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != what {
		t.Fatalf("the echo of %q is %q: %v", what, got, err)
	}
	return time.Since(began)
}

func TestTCPThroughTheProxy(t *testing.T) {
	target, _ := echo(t)
	link := Both(1, Profile{Delay: 30 * time.Millisecond})
	p := listen(t, target, link)
	began := time.Now()
	c := dial(t, "tcp", p)
	ask(t, c, "first")
	if took := time.Since(began); took < 120*time.Millisecond {
		t.Errorf("the first answer came after %v: less than two round trips of 60 ms", took)
	}
	if took := ask(t, c, "second"); took < 60*time.Millisecond {
		t.Errorf("the second answer came after %v: less than a round trip", took)
	}
	sent := noise(4 << 20)
	go func() {
		c.Write(sent)
		c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(sent), err)
	}
	if up, down := link.Up.Stats().Bytes, link.Down.Stats().Bytes; up != down || up != int64(len(sent)+len("firstsecond")) {
		t.Errorf("%d bytes up, %d down", up, down)
	}
}

func TestResetAndRefuse(t *testing.T) {
	target, _ := echo(t)
	p := listen(t, target, Both(1, Profile{}))
	c := dial(t, "tcp", p)
	ask(t, c, "there")
	p.Reset()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading ends with %v, want a reset", err)
	}
	p.Refuse(true)
	refused(t, p)
	p.Refuse(false)
	ask(t, dial(t, "tcp", p), "again")
}

// refused demands that a new connection is reset, when it is made or when it is read.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection ends with %v, want a reset", err)
	}
}

func TestResetIsPassedOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := listen(t, l.Addr().String(), Both(1, Profile{}))
	c := dial(t, "tcp", p)
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	abort(far.(*net.TCPConn))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading ends with %v, want a reset", err)
	}
}

func TestNoTarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	refused(t, listen(t, nobody, Both(1, Profile{})))
}

// TestBlackHole cuts the link under a connection: nothing comes, nothing ends, and afterwards it goes on.
func TestBlackHole(t *testing.T) {
	target, _ := echo(t)
	link := Both(1, Profile{})
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			c := dial(t, network, listen(t, target, link))
			ask(t, c, "before")
			link.Cut()
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			io.WriteString(c, "lost?")
			if _, err := c.Read(make([]byte, 5)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("through a cut link: %v", err)
			}
			link.Restore()
			c.SetReadDeadline(time.Now().Add(patience))
			if network == "tcp" {
				if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
					t.Fatalf("what was under way is lost: %v", err)
				}
			}
			ask(t, c, "after")
		})
	}
}

func TestUDPFlowsAndRebinding(t *testing.T) {
	target, last := echo(t)
	p := listen(t, target, Both(1, Profile{Delay: 20 * time.Millisecond}))
	a, b := dial(t, "udp", p), dial(t, "udp", p)
	if took := ask(t, a, "a"); took < 40*time.Millisecond {
		t.Errorf("an echo after %v: less than a round trip of 40 ms", took)
	}
	first := last.Load().Port
	ask(t, b, "b")
	if last.Load().Port == first {
		t.Error("two senders look like one")
	}
	ask(t, a, "a")
	if last.Load().Port != first {
		t.Error("one sender looks like two")
	}
	if err := p.Rebind(); err != nil {
		t.Fatal(err)
	}
	ask(t, a, "a")
	if last.Load().Port == first {
		t.Error("after rebinding the sender has its old port")
	}
}

// TestUDPLoss sends packets over a way up that loses half of them, and then ends until one comes back: the order stays, so
// everything else is back by then or lost.
func TestUDPLoss(t *testing.T) {
	target, _ := echo(t)
	c := dial(t, "udp", listen(t, target, NewLink(3, Profile{Loss: 0.5}, Profile{})))
	const count = 200
	for range count {
		io.WriteString(c, "x")
	}
	back := 0
	for buf := make([]byte, 10); ; {
		io.WriteString(c, "end")
		c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.Read(buf)
		for ; err == nil && n == 1; n, err = c.Read(buf) {
			back++
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if back < 65 || back > 135 {
		t.Errorf("%d of %d packets came back at a loss of a half", back, count)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	target, _ := echo(t)
	p := listen(t, target, Both(1, Profile{Delay: time.Hour}))
	c, u := dial(t, "tcp", p), dial(t, "udp", p)
	io.WriteString(c, "x")
	io.WriteString(u, "x")
	p.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on")
	}
	if p.Rebind() == nil {
		t.Error("a closed proxy rebinds")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Address()); err == nil {
		c.Close()
		t.Error("the proxy still listens")
	}
}
