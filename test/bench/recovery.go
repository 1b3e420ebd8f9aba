//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
)

// Of recovery: what is stored of each session, how many devices are at work when the server is killed, and for how long
// they were.
const (
	rowsPerSession = 10
	atWork         = 8
	workFor        = time.Second
)

// recovery kills a server that holds o.recovery sessions of ten blobs each while devices are at work, starts it again, and tells how
// long it takes until it listens and until a device that has never been there has its first answer (adversity R-2).
func recovery(ctx context.Context, o options) error {
	work, err := os.MkdirTemp(o.dirs[0], "decant-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	bin, err := env.Binary(env.Plain)
	if err != nil {
		return err
	}
	dir := filepath.Join(work, "server")
	if err := (crowd{sessions: o.recovery, blobs: rowsPerSession, expires: 24 * time.Hour}).fill(filepath.Join(dir, "data")); err != nil {
		return err
	}
	srv, err := env.StartServer(ctx, bin, dir, env.ServerOptions{Args: []string{"--max-subnet-sessions", fmt.Sprint(o.recovery)}})
	if err != nil {
		return err
	}
	defer srv.Close()
	address, err := id.ParseServer(srv.Address)
	if err != nil {
		return err
	}
	var ready, first, cpu times
	for range o.runs {
		if err := killAtWork(ctx, srv, address); err != nil {
			return err
		}
		began := time.Now()
		if err := srv.Start(); err != nil {
			return err
		}
		ready.add(time.Since(began))
		if err := hello(ctx, address); err != nil {
			return err
		}
		first.add(time.Since(began))
		used, err := processorTime(srv.Process().PID())
		if err != nil {
			return err
		}
		cpu.add(used)
	}
	m, err := resident(srv.Process().PID())
	if err != nil {
		return err
	}
	fmt.Printf("\n## A server with %d sessions and %d blobs, killed %d times with %d devices at work, on %s\n\n", o.recovery,
		o.recovery*rowsPerSession, o.runs, atWork, fileSystem(o.dirs[0]))
	fmt.Printf("| from its start until | median s | p99 s |\n|---|---:|---:|\n")
	for _, row := range []struct {
		what string
		of   *times
	}{{"it listens", &ready}, {"the first answer", &first}, {"the same, processor time", &cpu}} {
		s := row.of.sorted()
		fmt.Printf("| %s | %.2f | %.2f |\n", row.what, quantile(s, 0.5).Seconds(), quantile(s, 0.99).Seconds())
	}
	fmt.Printf("\nresident: %.0f MiB, peak %.0f MiB\n", m.now, m.peak)
	return nil
}

// killAtWork kills the server in the middle of what some devices do.
func killAtWork(ctx context.Context, srv *env.Server, address id.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	failed := make(chan error, atWork)
	for range atWork {
		wg.Go(func() {
			for {
				s, err := newSession(ctx, address, wire.ClassS)
				if s != nil {
					s.Close()
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	select {
	case <-time.After(workFor):
	case err := <-failed:
		cancel()
		return errors.Join(err, ctx.Err())
	}
	srv.Kill()
	cancel()
	return nil
}

// hello is a new device's first call.
func hello(ctx context.Context, server id.Server) error {
	r, err := remote.New(remote.Config{Device: key.NewDevice(), Server: server, Carrier: link.Fast})
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Hello(ctx)
	return err
}

// processorTime is what a process has used so far, to a hundredth of a second.
func processorTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte(") ")) // behind the name
	fields := strings.Fields(string(rest))
	var user, system int64
	if len(fields) < 13 {
		return 0, errors.New("/proc is not as expected")
	}
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, err
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}
