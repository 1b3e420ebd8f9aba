package env

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// KillEnv makes a process of the build Faulty kill itself at a point, "NAME" or "NAME:N".
func KillEnv(points ...string) string { return "DECANT_KILL=" + strings.Join(points, ",") }

// withoutKill leaves out what KillEnv added: a process that has died once lives on.
func withoutKill(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, "DECANT_KILL=") })
}

// KeepAlive starts the server again whenever it dies, without its kill points, until
// stop is called. stop returns how often that was.
func (s *Server) KeepAlive() (stop func() (deaths int, err error)) {
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	var deaths int
	var err error
	wg.Go(func() {
		for err == nil {
			select {
			case <-ctx.Done():
				return
			case <-s.proc.Load().Done():
			}
			deaths++
			s.Env = withoutKill(s.Env)
			err = s.Start()
		}
	})
	return func() (int, error) {
		cancel()
		wg.Wait()
		return deaths, err
	}
}

// maxLives is how often one command is run at most before it counts as never getting anywhere.
const maxLives = 12

// Survive runs a command again and again until it succeeds. next gives each run's command; once a run was killed, the kill
// points are left out of it. Runs that end with one of the exit codes in again are repeated too, others fail.
func Survive(ctx context.Context, next func(life int) (Command, error), again ...int) ([]*Result, error) {
	return SurviveWatching(ctx, next, func(*Process) {}, again...)
}

// SurviveWatching is Survive for a caller that wants to see each process while it runs. watch must not block.
func SurviveWatching(ctx context.Context, next func(life int) (Command, error), watch func(*Process), again ...int) (runs []*Result, err error) {
	killed := false
	for life := range maxLives {
		c, err := next(life)
		if err != nil {
			return runs, err
		}
		if killed {
			c.Env = withoutKill(c.Env)
		}
		p, err := Start(ctx, c)
		if err != nil {
			return runs, err
		}
		watch(p)
		r := p.Wait()
		runs = append(runs, r)
		switch {
		case ctx.Err() != nil:
			return runs, fmt.Errorf("%w: %s", ctx.Err(), r.Stderr)
		case r.Exit == ExitKilled:
			killed = true
		case r.Err() == nil:
			return runs, nil
		case !slices.Contains(again, r.Exit):
			return runs, r.Err()
		}
	}
	return runs, fmt.Errorf("not done after %d runs: %w", maxLives, runs[len(runs)-1].Err())
}
