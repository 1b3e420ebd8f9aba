package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
)

// idleFor is how long the watchers are left alone before the memory is read: longer than a poll, so that every one of them
// has asked again.
const idleFor = wire.MaxWait + 10*time.Second

// idle opens sessions from as many devices of their own, each of which waits for messages over a connection of its own, and
// tells what the server holds of memory for them.
func idle(ctx context.Context, o options) error {
	work, err := os.MkdirTemp(o.dirs[0], "decant-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	bin, err := env.Binary(env.Plain)
	if err != nil {
		return err
	}
	srv, err := env.StartServer(ctx, bin, filepath.Join(work, "server"),
		env.ServerOptions{Args: []string{"--max-subnet-sessions", fmt.Sprint(o.idle)}})
	if err != nil {
		return err
	}
	defer srv.Close()
	empty, err := resident(srv.Process().PID())
	if err != nil {
		return err
	}
	address, err := id.ParseServer(srv.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	var waiting atomic.Int64
	opening := make(chan struct{}, 8) // at a time
	for range o.idle {
		g.Go(func() error { return watch(ctx, address, opening, &waiting) })
	}
	began := time.Now()
	for int(waiting.Load()) < o.idle && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "%d sessions opened in %.1f s\n", waiting.Load(), time.Since(began).Seconds())
	select {
	case <-ctx.Done():
	case <-time.After(idleFor):
	}
	full, err := resident(srv.Process().PID())
	if err != nil {
		return err
	}
	cancel()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Printf("\n## %d idle sessions, each watched over a connection of its own\n\n", o.idle)
	fmt.Printf("| server's resident memory | now MiB | peak MiB |\n|---|---:|---:|\n| before | %.0f | %.0f |\n| watched for %v | %.0f | %.0f |\n",
		empty.now, empty.peak, idleFor, full.now, full.peak)
	return nil
}

// watch opens a session and waits for messages until ctx ends.
func watch(ctx context.Context, server id.Server, opening chan struct{}, waiting *atomic.Int64) error {
	r, err := remote.New(remote.Config{Device: key.NewDevice(), Server: server, Carrier: link.Fast, Conns: 1})
	if err != nil {
		return err
	}
	defer r.Close()
	select {
	case opening <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	sid := id.NewSession()
	_, err = r.Open(ctx, remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 1, Expiry: time.Hour})
	<-opening
	if err != nil {
		return err
	}
	waiting.Add(1)
	for box := r.Mailbox(sid.Scope()); ; {
		if _, _, err := box.Fetch(ctx, 0, wire.MaxWait); err != nil {
			return err
		}
	}
}

// memory is a process's resident set in MiB.
type memory struct{ now, peak float64 }

func resident(pid int) (m memory, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, text, _ := strings.Cut(s.Text(), ":")
		var kb float64
		switch fmt.Sscan(text, &kb); name {
		case "VmRSS":
			m.now = kb / 1024
		case "VmHWM":
			m.peak = kb / 1024
		}
	}
	return m, nil
}
