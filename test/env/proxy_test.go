package env

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// echo answers every line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func say(c net.Conn, text string) (string, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	b := make([]byte, len(text))
	n, err := io.ReadFull(c, b)
	return string(b[:n]), err
}

func TestProxyRecordsBothWays(t *testing.T) {
	p, err := StartProxy(echo(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, p)
	for _, text := range []string{"first", "second"} {
		if got, err := say(c, text); err != nil || got != text {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	c.Close()
	p.Close()
	for _, name := range []string{"0001-to-server", "0001-from-server"} {
		if b, err := os.ReadFile(filepath.Join(p.Dir, name)); err != nil || !bytes.Equal(b, []byte("firstsecond")) {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}

func TestProxyLosesAnAnswerThatWasGiven(t *testing.T) {
	p, err := StartProxy(echo(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	lose := func(turn int64) bool { return turn == 2 }
	p.Lose.Store(&lose)
	c := dial(t, p)
	if got, err := say(c, "kept"); err != nil || got != "kept" {
		t.Fatalf("got %q, %v", got, err)
	}
	if got, err := say(c, "lost"); err == nil {
		t.Fatalf("the second answer came: %q", got)
	}
	if up, down := p.Bytes(); up != 8 || down != 8 || p.Lost() != 1 {
		t.Errorf("%d bytes up, %d down, %d lost: the server should have answered twice", up, down, p.Lost())
	}
	if got, err := say(dial(t, p), "again"); err != nil || got != "again" {
		t.Errorf("a new connection gets %q, %v", got, err)
	}
}

func TestProxyCutsConnections(t *testing.T) {
	p, err := StartProxy(echo(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := dial(t, p)
	if _, err := say(c, "x"); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if got, err := say(c, "y"); err == nil {
		t.Errorf("a cut connection answers %q", got)
	}
}
