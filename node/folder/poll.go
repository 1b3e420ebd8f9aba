package folder

import (
	"context"
	"time"

	"github.com/decant-dev/decant/proto/wire"
)

// A folder calls nobody: who waits looks again, soon at first.
const (
	firstLook = 250 * time.Millisecond
	laterLook = 2 * time.Second
)

// poll calls try until it reports that it found something or fails, for at most wait; the last time when that is over.
func poll(ctx context.Context, wait time.Duration, try func() (bool, error)) error {
	end := time.Now().Add(min(wait, wire.MaxWait))
	for pause := firstLook; ; pause = min(2*pause, laterLook) {
		found, err := try()
		left := time.Until(end)
		if found || err != nil || left <= 0 {
			return err
		}
		timer := time.NewTimer(min(pause, left))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
