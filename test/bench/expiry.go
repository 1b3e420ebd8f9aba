//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
	"github.com/decant-dev/decant/test/env"
)

// Of expiry: how many sessions stay, each with a blob of class S, when the others expire, after the server has started, and what one may leave in the
// database.
const (
	liveSessions = 2000
	expireIn     = 45 * time.Second // and a millisecond each: they must still live when the server starts
	tombstoneMax = 256              // bytes
)

// expiry lets o.expiry sessions expire at once on a server that serves others meanwhile and dies in the middle of the sweep, and tells
// whether the disk comes back to what it was, and whether anything was lost that had not expired (adversity R-25).
func expiry(ctx context.Context, o options) error {
	work, err := os.MkdirTemp(o.dirs[0], "decant-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	bin, err := env.Binary(env.Faulty)
	if err != nil {
		return err
	}
	metricsAt, err := freeAddress()
	if err != nil {
		return err
	}
	dir := filepath.Join(work, "server")
	data := filepath.Join(dir, "data")
	srv, err := env.StartServer(ctx, bin, dir, env.ServerOptions{Args: []string{"--ballast", "1MiB", "--watermark", "1MiB",
		"--metrics", metricsAt, "--max-subnet-sessions", fmt.Sprint(2 * liveSessions)}})
	if err != nil {
		return err
	}
	defer srv.Close()
	address, err := id.ParseServer(srv.Address)
	if err != nil {
		return err
	}
	live, err := newSessions(ctx, address, wire.ClassS, liveSessions)
	if err != nil {
		return err
	}
	before, err := freshlyMeasured(srv, data)
	if err != nil {
		return err
	}
	if err := (crowd{sessions: o.expiry, blobs: 1, body: 4 << 10, expires: expireIn + time.Duration(o.expiry)*time.Millisecond}).fill(data); err != nil {
		return err
	}
	full, err := measureRoom(data)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d sessions are there\n", o.expiry)
	srv.Env = []string{env.KillEnv(fmt.Sprintf("%s:%d", kill.ServerBlobsRemoved, o.expiry/3))}
	if err := srv.Start(); err != nil {
		return err
	}
	began := time.Now()
	revive := srv.KeepAlive()
	l := startLoad(ctx, live)
	err = untilSwept(ctx, data, before.files, metricsAt)
	took := time.Since(began)
	asked, failed := l.stop()
	deaths, reviveErr := revive()
	if err = errors.Join(err, reviveErr); err != nil {
		return err
	}
	srv.Env = nil
	lost := lostOf(ctx, live)
	after, err := freshlyMeasured(srv, data)
	if err != nil {
		return err
	}
	fmt.Printf("\n## %d sessions expire beside %d that stay, on %s\n\n", o.expiry, liveSessions, fileSystem(o.dirs[0]))
	fmt.Printf("| MiB | before | with them | swept | of what it was |\n|---|---:|---:|---:|---:|\n")
	for _, row := range []struct {
		what string
		of   func(room) int64
	}{{"blobs", func(r room) int64 { return r.blobs }}, {"the rest, with a tombstone each", func(r room) int64 { return r.rest }}} {
		b, a := row.of(before), row.of(after)
		fmt.Printf("| %s | %.1f | %.1f | %.1f | %.4f |\n", row.what, mib(b), mib(row.of(full)), mib(a), float64(a)/float64(b))
	}
	tombstone := float64(after.rest-before.rest) / float64(o.expiry)
	fmt.Printf("\nswept %.0f s after the start, deaths in the sweep: %d\nmeanwhile blobs were fetched %d times, %d failed or differed\nblobs lost of those that stay: %d\na tombstone takes %.0f bytes for thirty days\n",
		took.Seconds(), deaths, asked, failed, lost, tombstone)
	last, err := afterTombstones(ctx, srv, data, metricsAt, o.expiry+liveSessions)
	if err != nil {
		return err
	}
	fmt.Printf("after those thirty days, when all is over: %d blob files, %.1f MiB of the rest\n", last.files, mib(last.rest))
	if lost > 0 || failed > 0 || deaths != 1 || before.files != after.files || before.blobs != after.blobs || tombstone > tombstoneMax ||
		last.files > 0 || last.rest > before.rest {
		return errors.New("the bar is missed")
	}
	return nil
}

// tombstoneLife is a little more than the life of a tombstone (docs/SPEC.md section 7.6).
const tombstoneLife = 31 * 24 * time.Hour

// afterTombstones tells what is left of sessions, blobs and tombstones when the time of all is over. Those that stayed have expired by then, and
// have tombstones of their own. The server is stopped, before and afterwards.
func afterTombstones(ctx context.Context, srv *env.Server, data, metrics string, sessions int) (room, error) {
	if err := advance(data, tombstoneLife); err != nil {
		return room{}, err
	}
	if err := srv.Start(); err != nil {
		return room{}, err
	}
	for {
		select {
		case <-ctx.Done():
			return room{}, ctx.Err()
		case <-time.After(time.Second):
		}
		over, err := metric(metrics, "decant_sweep_expired_total")
		if err != nil {
			return room{}, err
		}
		if _, files, err := used(filepath.Join(data, "blobs")); err != nil || (files == 0 && over >= float64(sessions)) {
			if err != nil {
				return room{}, err
			}
			return freshlyMeasured(srv, data)
		}
	}
}

// advance sets the clock of a stopped server forward.
func advance(data string, by time.Duration) (err error) {
	d, err := db.Open(filepath.Join(data, "db"), db.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	passed := time.Duration(0)
	c, err := db.NewClock(d, func() time.Time { return time.Now().Add(passed) })
	if err != nil {
		return err
	}
	passed = by // while it runs: a clock that was off goes on by a day at most
	return c.Keep(d)
}

// room is what a server's data take on the disk in bytes.
type room struct {
	blobs, rest int64
	files       int // of blobs
}

func measureRoom(data string) (r room, err error) {
	if r.blobs, r.files, err = used(filepath.Join(data, "blobs")); err != nil {
		return r, err
	}
	all, _, err := used(data)
	r.rest = all - r.blobs
	return r, err
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// freshlyMeasured stops the server and tells what its data take, after one more start: room that the database has for logs of its own past is not
// what is asked for.
func freshlyMeasured(srv *env.Server, data string) (room, error) {
	if err := again(srv); err != nil {
		return room{}, err
	}
	if _, err := srv.Stop(); err != nil {
		return room{}, err
	}
	return measureRoom(data)
}

// again stops the server and starts it.
func again(srv *env.Server) error {
	if _, err := srv.Stop(); err != nil {
		return err
	}
	return srv.Start()
}

// untilSwept waits until only the sessions that stay, and so many blob files, are left.
func untilSwept(ctx context.Context, data string, files int, metrics string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		sessions, err := metric(metrics, "decant_sessions")
		if err != nil || sessions > liveSessions { // between two lives it tells nothing
			continue
		}
		_, n, err := used(filepath.Join(data, "blobs"))
		if err != nil || n == files {
			return err
		}
		if n < files || sessions < liveSessions {
			return fmt.Errorf("%v sessions with %d blob files are left, and %d should stay with %d", sessions, n, liveSessions, files)
		}
	}
}

// metric reads a number that the server tells about itself.
func metric(at, name string) (v float64, err error) {
	resp, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return strconv.ParseFloat(rest, 64)
		}
	}
	return 0, fmt.Errorf("the server tells no %s", name)
}

// freeAddress finds a port of loopback that is free now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// load is devices that fetch their blobs again and again.
type load struct {
	cancel        context.CancelFunc
	wg            sync.WaitGroup
	asked, failed atomic.Int64
}

func startLoad(ctx context.Context, live []*sessionOf) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel}
	for w := range 4 {
		l.wg.Go(func() {
			for i := w; ; i = (i + 4) % len(live) {
				err := live[i].check(ctx)
				if ctx.Err() != nil {
					return
				}
				l.asked.Add(1)
				if err != nil {
					l.failed.Add(1)
					fmt.Fprintln(os.Stderr, strings.TrimSpace(err.Error()))
				}
			}
		})
	}
	return l
}

func (l *load) stop() (asked, failed int64) {
	l.cancel()
	l.wg.Wait()
	return l.asked.Load(), l.failed.Load()
}

// lostOf counts the sessions whose blob doesn't come back as it was.
func lostOf(ctx context.Context, live []*sessionOf) int64 {
	var lost atomic.Int64
	_ = each(len(live), func(i int) error {
		if live[i].check(ctx) != nil {
			lost.Add(1)
		}
		return nil
	})
	return lost.Load()
}
