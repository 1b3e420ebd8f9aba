package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// keeper is a service that answers Finish after a while, or only when the caller has had enough.
type keeper struct {
	service
	after time.Duration // 0: never
	err   error
}

func (k *keeper) Finish(ctx context.Context, _ id.Session, _ []byte) error {
	if k.after == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(k.after)
	return k.err
}

// TestFinish: once the session's home has ended it, the receiver may be gone, and its desk is not waited for; the home is.
func TestFinish(t *testing.T) {
	refused := wire.Fail(wire.Forbidden, "finish")
	for _, x := range []struct {
		name       string
		home, desk keeper
		within     time.Duration
		err        error
	}{
		{"both", keeper{after: time.Millisecond}, keeper{after: 2 * time.Millisecond}, 10 * time.Millisecond, nil},
		{"the desk is gone", keeper{after: time.Millisecond}, keeper{}, 2 * others, nil},
		{"the server is slow", keeper{after: grace - time.Second}, keeper{after: time.Millisecond}, grace, nil},
		{"the server is away", keeper{}, keeper{after: time.Millisecond}, grace + time.Second, nil},
		{"it was over", keeper{after: time.Millisecond, err: wire.Fail(wire.Done, "finish")}, keeper{}, 2 * others, nil},
		{"both refuse", keeper{after: time.Millisecond, err: refused}, keeper{after: time.Millisecond, err: errors.New("no")}, others, refused},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := newHub(&x.home, &x.desk).finish(t.Context(), id.Session{}, nil)
				if !errors.Is(err, x.err) {
					t.Errorf("error %v, want %v", err, x.err)
				}
				if took := time.Since(began); took > x.within {
					t.Errorf("took %v, may take %v", took, x.within)
				}
			})
		})
	}
}
