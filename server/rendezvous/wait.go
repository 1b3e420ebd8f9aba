package rendezvous

import (
	"context"
	"sync"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// hub wakes those who wait for something to change in a scope. A waiter costs a map entry and a channel shared
// with the scope's other waiters; it has no goroutine beside its request's own.
type hub struct {
	max, maxScope int

	mu      sync.Mutex // guards the rest
	scopes  map[id.Scope]*bell
	waiters int
	closed  bool
}

type bell struct {
	rung    chan struct{} // closed by the next change
	waiters int
}

// notify wakes the scope's waiters. Call it after the commit.
func (h *hub) notify(s id.Scope) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b := h.scopes[s]; b != nil {
		close(b.rung)
		b.rung = make(chan struct{})
	}
}

// close wakes everybody and lets nobody wait any more.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, b := range h.scopes {
		close(b.rung)
		b.rung = make(chan struct{})
	}
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiters
}

// poll calls try until it reports that it found something or fails, for at most wait: at once, and again after each
// change in the scope. When the time is over, or the hub closes, it returns nil.
func (h *hub) poll(ctx context.Context, s id.Scope, wait time.Duration, try func() (bool, error)) error {
	if wait <= 0 {
		_, err := try()
		return err
	}
	b, err := h.enter(s)
	if err != nil {
		return err
	}
	defer h.leave(s, b)
	timer := time.NewTimer(min(wait, wire.MaxWait))
	defer timer.Stop()
	for {
		rung, closed := h.listen(b)
		found, err := try()
		if found || err != nil || closed {
			return err
		}
		select {
		case <-rung:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *hub) enter(s id.Scope) (*bell, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.scopes[s]
	if h.waiters >= h.max || b != nil && b.waiters >= h.maxScope {
		return nil, wire.Busy
	}
	if b == nil {
		b = &bell{rung: make(chan struct{})}
		h.scopes[s] = b
	}
	b.waiters++
	h.waiters++
	return b, nil
}

func (h *hub) leave(s id.Scope, b *bell) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiters--
	if b.waiters--; b.waiters == 0 {
		delete(h.scopes, s)
	}
}

func (h *hub) listen(b *bell) (rung chan struct{}, closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return b.rung, h.closed
}
