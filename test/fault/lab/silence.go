//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/decant-dev/decant/test/env"
)

// errSilent is why a transfer was ended that stood still.
var errSilent = errors.New("neither device said anything for as long as -silence allows")

// hear ends a transfer of which nothing was heard for as long as the flag -silence says, by SIGQUIT, so that both processes leave
// where each of their goroutines stands: in the logs' directory, or on standard error.
// The function that it returns ends the watch, and says whether it came to that.
func (t *transfer) hear(ctx context.Context) (heard func() error) {
	if t.w.silence == 0 {
		return func() error { return nil }
	}
	ctx, stop := context.WithCancel(ctx)
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	for _, p := range []*env.Process{t.sender, t.receiver} {
		go p.WaitFor(ctx, "", func(env.Event) bool {
			last.Store(time.Now().UnixNano())
			return false
		})
	}
	done := make(chan error, 1)
	go func() { done <- t.listen(ctx, &last) }()
	return func() error {
		stop()
		return <-done
	}
}

// listen returns when ctx has ended, or with an error when both processes have.
func (t *transfer) listen(ctx context.Context, last *atomic.Int64) error {
	for {
		left := t.w.silence - time.Since(time.Unix(0, last.Load()))
		if left <= 0 {
			break
		}
		if wait(ctx, left) != nil {
			return nil
		}
	}
	for name, p := range map[string]*env.Process{"old": t.sender, "new": t.receiver} {
		p.Signal(syscall.SIGQUIT)
		text := p.Wait().Stderr
		if t.w.logs == "" {
			fmt.Fprintf(os.Stderr, "%s device:\n%s\n", name, text)
		} else if err := os.WriteFile(filepath.Join(t.w.logs, t.name+"-"+name+"-stood.txt"), []byte(text), 0o600); err != nil {
			return errors.Join(errSilent, err)
		}
	}
	return errSilent
}
