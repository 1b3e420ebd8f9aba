package env

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// KillEnv makes a process of the build Faulty kill itself at a point, "NAME" or "NAME:N".
func KillEnv(points ...string) string { return KillLives(points) }

// StopEnv makes a process of the build Faulty stop itself at such a point, until it gets SIGCONT; see Process.Stopped.
func StopEnv(points ...string) string { return "DECANT_STOP=" + strings.Join(points, ",") }

// KillLives is KillEnv for a process that is to die more than once: the points of its first life, of its second, and so on.
func KillLives(lives ...[]string) string {
	var parts []string
	for _, points := range lives {
		parts = append(parts, strings.Join(points, ","))
	}
	return killVariable + strings.Join(parts, ";")
}

const killVariable = "DECANT_KILL="

// life returns the environment of a process that has died so often: what KillEnv or KillLives added for that life, or nothing.
func life(env []string, deaths int) (out []string) {
	for _, e := range env {
		points, kill := strings.CutPrefix(e, killVariable)
		if kill {
			lives := strings.Split(points, ";")
			if deaths >= len(lives) {
				continue
			}
			e = killVariable + lives[deaths]
		}
		out = append(out, e)
	}
	return out
}

// KeepAlive starts the server again whenever it dies, without the kill points of its earlier lives, until
// stop is called. stop returns how often that was.
func (s *Server) KeepAlive() (stop func() (deaths int, err error)) {
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		for err == nil {
			select {
			case <-ctx.Done():
				return
			case <-s.proc.Load().Done():
			}
			s.deaths++
			err = s.Start()
		}
	})
	return func() (int, error) {
		cancel()
		wg.Wait()
		return s.deaths, err
	}
}

// maxLives is how often one command is run at most before it counts as never getting anywhere.
const maxLives = 12

// Survive runs a command again and again until it succeeds. next gives each run's command; of its kill points a run gets those
// of the life that it is, after so many deaths. Runs that end with one of the exit codes in again are repeated too, others fail.
func Survive(ctx context.Context, next func(life int) (Command, error), again ...int) ([]*Result, error) {
	return SurviveWatching(ctx, next, func(*Process) {}, again...)
}

// SurviveWatching is Survive for a caller that wants to see each process while it runs. watch must not block.
func SurviveWatching(ctx context.Context, next func(life int) (Command, error), watch func(*Process), again ...int) (runs []*Result, err error) {
	deaths := 0
	for run := range maxLives {
		c, err := next(run)
		if err != nil {
			return runs, err
		}
		c.Env = life(c.Env, deaths)
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
			deaths++
		case r.Err() == nil:
			return runs, nil
		case !slices.Contains(again, r.Exit):
			return runs, r.Err()
		}
	}
	return runs, fmt.Errorf("not done after %d runs: %w", maxLives, runs[len(runs)-1].Err())
}
