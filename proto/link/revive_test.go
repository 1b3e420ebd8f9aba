package link

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestR14Redial: a dial whose first packets got lost is made again beside, and the first connection counts; a refusal is told
// at once.
func TestR14Redial(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	var tries atomic.Int32
	var r redialer
	r.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		if tries.Add(1) == 1 {
			<-ctx.Done() // nothing answers to this one
			return ctx.Err()
		}
		return nil
	}
	c, err := r.DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := tries.Load(); n != 2 {
		t.Errorf("%d dials, want 2", n)
	}
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if c, err := r.DialContext(ctx, "tcp", at); err == nil {
		c.Close()
		t.Error("a connection to nobody")
	}
	if n := tries.Load(); n != 3 {
		t.Errorf("%d dials after a refusal, want 1", n-2)
	}
}

// TestSpare: a connection that was opened ahead of need serves the next request, once, if it is not old.
func TestSpare(t *testing.T) {
	t.Parallel()
	s := listen(t, Config{Handler: echo})
	d := dialer(t, DialConfig{Server: s.Server(), Carrier: Fast})
	c, err := d.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.setSpare(c)
	if got, err := d.dialFast(t.Context()); err != nil || got != net.Conn(c) {
		t.Fatalf("not the spare one: %v", err)
	}
	d.setSpare(c)
	d.mu.Lock()
	d.since = d.since.Add(-maxSpare)
	d.mu.Unlock()
	if d.takeSpare() != nil {
		t.Fatal("an old one")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.conns) != 0 {
		t.Fatalf("%d connections are left", len(d.conns))
	}
}
