package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// Backoff with full jitter: the n-th repetition comes after a random part of
// min(backoffCap, backoffBase·2ⁿ), so devices that lost a server together come back
// spread out. While the server can't be reached only one operation of a Remote tries
// at a time; when it gets through, the others follow within eight bases. A long poll lets
// the next try while it lasts: its answer may be most of a minute in coming from a server that is back.
const (
	backoffBase = 200 * time.Millisecond
	backoffCap  = 30 * time.Second

	// patient is how long the other side must have waited before it said later, for the
	// count of repetitions to begin anew: its waiting was pause enough.
	patient = 5 * time.Second

	// quiet is how long an operation may be in trouble before anybody is told: a
	// connection that died idle is replaced without a word.
	quiet = time.Second
)

// retrier repeats the operations of one Remote.
type retrier struct {
	first, later time.Duration // limits before and after the first answer; 0 is none
	notice       func(Notice)
	probe        chan struct{} // holds the token of the one operation that tries while the server is away

	mu       sync.Mutex    // guards the rest
	answered bool          // the server has answered once
	up       chan struct{} // nil while the server answers; closed when it does again
	failed   int           // probes in vain since it is away
	kicked   chan struct{} // closed and replaced by kick
	troubled int           // operations being repeated that have been told about
}

// outcome is what an error means for the next step.
type outcome int

const (
	final   outcome = iota // repeating can't help
	refused                // the server answers, and says later
	lost                   // the server was not reached, or the exchange broke
)

func outcomeOf(err error) outcome {
	var refusal *wire.Error
	switch {
	case errors.As(err, &refusal):
		// NotPinned is retryable too, but it ends when a person at the other device
		// acts, perhaps days later: the caller decides how to wait for that.
		if refusal.Status.Retryable() && refusal.Status != wire.NotPinned {
			return refused
		}
		return final
	case errors.Is(err, ErrAnswer), errors.Is(err, link.ErrWrongServer), errors.Is(err, link.ErrKeyType), errors.Is(err, link.ErrClosed):
		return final
	}
	return lost
}

// kick makes what waits try soon, as if nothing had failed before: the network is another one, or back.
func (r *retrier) kick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = 0
	if r.kicked != nil {
		close(r.kicked)
		r.kicked = nil
	}
}

// kicks returns a channel that the next kick closes.
func (r *retrier) kicks() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kicked == nil {
		r.kicked = make(chan struct{})
	}
	return r.kicked
}

// do calls attempt until it succeeds, fails for good, ctx ends or the limit is over.
// extra, for which the server may wait before it answers, is added to the limit.
func (r *retrier) do(ctx context.Context, extra time.Duration, attempt func(context.Context) error) (err error) {
	start := time.Now()
	var told, token bool
	defer func() {
		if told {
			r.calm(err == nil || wireStatus(err))
		}
	}()
	for n := 0; ; n++ {
		limit, began := r.limit(extra), time.Now()
		probed := token
		if token && extra > 0 {
			<-r.probe
			token = false
		}
		err = r.try(ctx, start, limit, attempt)
		if token {
			<-r.probe
			token = false
		}
		out := outcomeOf(err)
		if err == nil || out == refused || out == final && wireStatus(err) {
			r.reached()
		}
		if err == nil || out == final {
			return err
		}
		if cerr := ctx.Err(); cerr != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		if limit > 0 && time.Since(start) >= limit {
			return r.gaveUp(err)
		}
		if !told && (n > 0 || time.Since(start) > quiet) {
			told = true
			r.trouble(err)
		}
		var up <-chan struct{}
		switch {
		case out == lost:
			up = r.away(probed)
		case time.Since(began) >= patient:
			n = 0
		}
		kicked := r.kicks()
		if token, err = r.pause(ctx, n, up, kicked, start, limit, err); err != nil {
			return err
		}
		select {
		case <-kicked:
			n = -1
		default:
		}
	}
}

// try runs one attempt, which may not outlast the limit.
func (r *retrier) try(ctx context.Context, start time.Time, limit time.Duration, attempt func(context.Context) error) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, start.Add(limit))
		defer cancel()
	}
	return attempt(ctx)
}

// pause waits before repetition n. With up, a channel of away, it returns with the
// token that lets this operation alone try, or without it once the server answered
// another one. A kick cuts the wait short.
func (r *retrier) pause(ctx context.Context, n int, up, kicked <-chan struct{}, start time.Time, limit time.Duration, last error) (token bool, err error) {
	var over <-chan time.Time // nil: no limit
	if limit > 0 {
		t := time.NewTimer(time.Until(start.Add(limit)))
		defer t.Stop()
		over = t.C
	}
	timer := time.NewTimer(jitter(n))
	defer timer.Stop()
	var try chan<- struct{}
	if up != nil { // the token first, then the wait, so that the waits don't add up to a stream
		timer.Stop()
		try = r.probe
	}
	for {
		select {
		case try <- struct{}{}:
			token, try = true, nil
			timer.Reset(jitter(max(n, r.failures())))
			continue
		case <-up:
			// Back. The spread still grows with n at first, so that an operation which fails
			// on its own account does not spin.
			if token {
				<-r.probe
			}
			token, up, try = false, nil, nil
			timer.Reset(jitter(min(n, 3)))
			continue
		case <-kicked:
			if kicked, n = nil, 0; try == nil { // what waits for the token does so
				timer.Reset(jitter(0))
			}
			continue
		case <-timer.C:
			return token, nil
		case <-ctx.Done():
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), last)
		case <-over:
			err = r.gaveUp(last)
		}
		if token {
			<-r.probe
		}
		return false, err
	}
}

func jitter(n int) time.Duration {
	return rand.N(min(backoffCap, backoffBase<<min(n, 20)))
}

func wireStatus(err error) bool {
	var e *wire.Error
	return errors.As(err, &e)
}

func (r *retrier) limit(extra time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.first
	if r.answered {
		limit = r.later
	}
	if limit > 0 {
		limit += extra
	}
	return limit
}

func (r *retrier) gaveUp(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// reached notes that the server answered, and lets the waiting operations go on.
func (r *retrier) reached() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = true
	if r.up != nil {
		close(r.up)
		r.up = nil
	}
}

// away notes that the server was not reached, by the operation that probed or by
// another. The channel closes when it is again.
func (r *retrier) away(probed bool) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up == nil {
		r.up, r.failed = make(chan struct{}), 0
	}
	if probed {
		r.failed++
	}
	return r.up
}

func (r *retrier) failures() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *retrier) trouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.troubled++; r.troubled == 1 && r.notice != nil {
		r.notice(Notice{Retrying: true, Err: err})
	}
}

// calm notes that an operation in trouble has ended, well or not.
func (r *retrier) calm(well bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.troubled--; r.troubled == 0 && well && r.notice != nil {
		r.notice(Notice{})
	}
}
