package remote

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowConn is a connection of which the other end acknowledges so many bytes a second.
type slowConn struct {
	net.Conn
	queued atomic.Int64
}

func (c *slowConn) Queued() (int, bool) { return int(c.queued.Load()), true }

// TestWatchWaitsForAcknowledgements lets a request leave a slow link over many times the stall, and then nothing come back.
func TestWatchWaitsForAcknowledgements(t *testing.T) {
	const stall, rate = 5 * time.Second, 8 << 10
	for _, c := range []struct {
		name     string
		queued   int64 // when the request is written
		stuck    int64 // of them, for ever
		conn     bool  // it can tell
		from, to time.Duration
	}{
		{"a slow link", 40 * rate, 0, true, 45 * time.Second, 50 * time.Second}, // 40 s, then one more look
		{"a dead link", 40 * rate, 40 * rate, true, stall, stall},
		{"a link that dies", 40 * rate, 20 * rate, true, 25 * time.Second, 30 * time.Second},
		{"nothing queued", 0, 0, true, stall, stall},
		{"a connection that can't tell", 0, 0, false, stall + 32*time.Second, stall + 32*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				w := newWatch(stall, cancel)
				if conn := new(slowConn); c.conn {
					conn.queued.Store(c.queued)
					go func() {
						for n := c.queued; n > c.stuck; n = conn.queued.Add(-rate) {
							time.Sleep(time.Second)
						}
					}()
					w.on(conn)
				}
				began := time.Now()
				w.expect(0, buffered)
				<-ctx.Done()
				if took := time.Since(began); took < c.from || took > c.to || context.Cause(ctx) != ErrStalled {
					t.Errorf("it barks after %v (%v), want %v to %v", took, context.Cause(ctx), c.from, c.to)
				}
			})
		})
	}
}

// TestWatchAfterAnswer gives an answer's body no more than the stall, whatever had been queued.
func TestWatchAfterAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		w := newWatch(time.Second, cancel)
		conn := new(slowConn)
		conn.queued.Store(100)
		w.on(conn)
		w.expect(time.Minute, 100)
		conn.queued.Store(0)
		began := time.Now()
		w.answered()
		<-ctx.Done()
		if took := time.Since(began); took != time.Second {
			t.Errorf("it barks after %v", took)
		}
	})
}
