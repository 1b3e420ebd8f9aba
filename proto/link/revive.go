package link

import (
	"context"
	"net"
	"time"
)

// A server's fast lane is looked at while requests are under way. When no byte moves, new connections are tried; once one
// works, those on which the system still waits to repeat what got lost end, and their requests are made again on the new one.
// A server that only takes its time is left alone: nothing is unacknowledged then.
const (
	reviveEvery = 500 * time.Millisecond // between looks
	reviveAfter = 2                      // looks without a byte
	reviveLasts = 5 * time.Second        // one of them
	redialEvery = 1500 * time.Millisecond
)

// revive looks after the connections until ctx ends.
func (d *Dialer) revive(ctx context.Context) {
	tick := time.NewTicker(reviveEvery)
	defer tick.Stop()
	var moved uint64
	for silent := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := d.moved.Load()
		if now != moved || d.inflight.Load() == 0 {
			moved, silent = now, 0
			continue
		}
		if silent++; silent >= reviveAfter && len(d.stuck(nil)) > 0 {
			d.replace(ctx)
		}
	}
}

// replace opens a new connection, which is the next request's, and ends those that are still stuck then.
func (d *Dialer) replace(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reviveLasts)
	defer cancel()
	c, err := d.connect(ctx)
	if err != nil {
		return
	}
	d.setSpare(c)
	for _, c := range d.stuck(c) {
		c.abort()
	}
}

// acks is what the system knows of a connection with something under way that is not acknowledged yet.
type acks struct {
	alive bool // something was acknowledged lately
	stuck bool // it has been repeated in vain, and it will be long until it is repeated again
}

const (
	longWait  = 1500 * time.Millisecond // until then is long
	lossyPart = 12                      // where more than one segment in so many gets lost all along, silence says little,
	lossyWait = 5 * time.Second         // and has to last so long
)

// stuck lists the connections on which what was written is repeated in vain, unless something is acknowledged on another: after
// an outage the system waits about as long as that lasted, on all of them. The connection fresh says nothing of the others.
func (d *Dialer) stuck(fresh *conn) (out []*conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		if c == fresh {
			continue
		}
		s := ackState(c.raw.Conn)
		if s.alive {
			return nil
		}
		if s.stuck {
			out = append(out, c)
		}
	}
	return out
}

// setSpare keeps c for the next request that needs a connection.
func (d *Dialer) setSpare(c *conn) {
	d.mu.Lock()
	old := d.spare
	d.spare, d.since = c, time.Now()
	d.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// takeSpare returns the connection that setSpare kept, if there is one and it is not old.
func (d *Dialer) takeSpare() *conn {
	d.mu.Lock()
	c, fresh := d.spare, time.Since(d.since) < maxSpare
	d.spare = nil
	d.mu.Unlock()
	if c != nil && !fresh {
		c.Close()
		c = nil
	}
	return c
}

// redialer dials again every redialEvery while earlier attempts last, and takes the first connection: what is sent while
// there is no path is repeated by the system ever more slowly.
type redialer struct{ net.Dialer }

// DialContext is net.Dialer's.
func (r *redialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	start := func() {
		go func() {
			c, err := r.Dialer.DialContext(ctx, network, address)
			results <- result{c, err}
		}()
	}
	start()
	tick := time.NewTicker(redialEvery)
	defer tick.Stop()
	var first result
	for running, over := 1, false; running > 0; {
		select {
		case x := <-results:
			running--
			switch {
			case first.c != nil && x.c != nil:
				x.c.Close()
			case first.c == nil && (x.c != nil || first.err == nil):
				first = x
			}
			if !over { // refused, or there: others would fare no better
				over = true
				cancel()
			}
		case <-tick.C:
			if !over && ctx.Err() == nil {
				running++
				start()
			}
		}
	}
	return first.c, first.err
}
