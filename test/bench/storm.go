//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/natlab"
)

// Of storm: in how many homes the devices are (a server bears 4,096 connections of one address), how long a device's poll waits, what a device
// may ask (adversity R-18) until it is back, and when the last must be.
const (
	homes    = 5
	pollFor  = 10 * time.Second
	patience = 2*time.Minute + pollFor // of a device that isn't back
	mayAsk   = 5
	backLast = time.Minute
)

// report is what one home's devices tell, as a line of JSON. Times are in milliseconds since 1970.
type report struct {
	Up     bool    // all devices watch their sessions
	Back   []int64 // when each device was answered again
	Asked  []int64 // how many requests each had sent from the first failure on until then
	Failed int64   // calls that ended with an error, which no device may see
}

// storm has o.storm devices in several homes watch a session each, kills the server, starts it again, and tells when all are
// back and what they asked (adversity R-18).
func storm(ctx context.Context, o options) error {
	work, err := os.MkdirTemp(o.dirs[0], "decant-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	bin, err := env.Binary(env.Plain)
	if err != nil {
		return err
	}
	lab, err := natlab.New()
	if err != nil {
		return err
	}
	defer lab.Close()
	at, err := lab.Public(natlab.Cable{})
	if err != nil {
		return err
	}
	var srv *env.Server
	err = at.Do(func() (err error) {
		srv, err = env.StartServer(ctx, bin, filepath.Join(work, "server"), env.ServerOptions{Args: []string{"--listen", at.Addr().String() + ":4410",
			"--ballast", "1MiB", "--watermark", "1MiB", "--max-subnet-sessions", fmt.Sprint(o.storm)}})
		return err
	})
	if err != nil {
		return err
	}
	defer srv.Close()
	started := time.Now()
	members, err := startMembers(ctx, lab, srv.Address, o.storm)
	if err != nil {
		return err
	}
	for _, m := range members {
		if _, err := m.next(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "%d devices are there after %.0f s\n", o.storm, time.Since(started).Seconds())
	began := time.Now()
	srv.Kill()
	if err := at.Do(srv.Start); err != nil {
		return err
	}
	up := time.Since(began)
	var back, asked times
	var failed int64
	for _, m := range members {
		r, err := m.next(ctx)
		if err != nil {
			return err
		}
		failed += r.Failed
		for i := range r.Back {
			back.add(time.UnixMilli(r.Back[i]).Sub(began))
			asked.add(time.Duration(r.Asked[i]))
		}
	}
	b, a := back.sorted(), asked.sorted()
	fmt.Printf("\n## %d devices lose their server, which is back after %.2f s\n\n", o.storm, up.Seconds())
	fmt.Printf("| | median | p99 | last |\n|---|---:|---:|---:|\n")
	fmt.Printf("| seconds until a device is answered | %.1f | %.1f | %.1f |\n", quantile(b, 0.5).Seconds(), quantile(b, 0.99).Seconds(), quantile(b, 1).Seconds())
	fmt.Printf("| requests of a device until then | %d | %d | %d |\n", quantile(a, 0.5), quantile(a, 0.99), quantile(a, 1))
	fmt.Printf("\ndevices back: %d; calls that failed: %d\n", len(b), failed)
	if len(b) != o.storm || failed > 0 || quantile(b, 1) > backLast || quantile(a, 1) > mayAsk {
		return errors.New("the bar is missed")
	}
	return nil
}

// home is a process with some of the devices.
type home struct {
	*env.Process
	seen int // reports
}

func startMembers(ctx context.Context, lab *natlab.Lab, address string, n int) (all []*home, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for i := range homes {
		at, err := lab.Public(natlab.Cable{})
		if err != nil {
			return nil, err
		}
		share := n / homes
		if i == 0 {
			share += n % homes
		}
		p, err := at.Start(ctx, env.Command{Path: self, Args: []string{"-storm-member", fmt.Sprint(share), "-storm-server", address}, Stderr: os.Stderr})
		if err != nil {
			return nil, err
		}
		all = append(all, &home{Process: p})
	}
	return all, nil
}

// next returns the home's next report.
func (h *home) next(ctx context.Context) (r report, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	n := 0
	e, err := h.WaitFor(ctx, "a report", func(e env.Event) bool {
		if strings.HasPrefix(e.Raw, "{") {
			n++
		}
		return n > h.seen
	})
	if err != nil {
		return r, err
	}
	h.seen++
	return r, json.Unmarshal([]byte(e.Raw), &r)
}

// member is o.member devices, each with a session that it watches. It reports when all do, and again when all have been answered after the
// server's death.
func member(ctx context.Context, o options) error {
	address, err := id.ParseServer(o.server)
	if err != nil {
		return err
	}
	ds := make([]*watcher, o.member)
	if err := each(o.member, func(i int) (err error) {
		ds[i], err = newWatcher(ctx, address)
		return err
	}); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, d := range ds {
		wg.Go(func() { d.watch(ctx) })
	}
	for _, d := range ds { // each has asked
		<-d.asking
	}
	for _, d := range ds {
		d.up.Store(true)
	}
	out := bufio.NewWriter(os.Stdout)
	if err := errors.Join(json.NewEncoder(out).Encode(report{Up: true}), out.Flush()); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
	}
	r := report{}
	for _, d := range ds {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.err != nil {
			r.Failed++
			fmt.Fprintln(os.Stderr, d.err)
			continue
		}
		if d.back.IsZero() {
			continue
		}
		r.Back = append(r.Back, d.back.UnixMilli())
		r.Asked = append(r.Asked, d.asked.Load())
	}
	return errors.Join(json.NewEncoder(out).Encode(r), out.Flush())
}

// watcher is a device that waits for messages of its session. It counts its requests as their carrier.
type watcher struct {
	*remote.Remote
	dialer *link.Dialer
	sid    id.Session
	asking chan struct{} // closed when the first poll is under way
	once   sync.Once
	up     atomic.Bool  // all devices are there: from now on a new connection is one that replaces a lost one
	lost   atomic.Bool  // the connection has broken
	asked  atomic.Int64 // since then

	mu   sync.Mutex // guards back and err
	back time.Time
	err  error
}

func newWatcher(ctx context.Context, server id.Server) (*watcher, error) {
	w := &watcher{sid: id.NewSession(), asking: make(chan struct{})}
	device := key.NewDevice()
	var err error
	if w.dialer, err = link.NewDialer(link.DialConfig{Device: device, Server: server, Carrier: link.Fast, Conns: 1}); err != nil {
		return nil, err
	}
	if w.Remote, err = remote.New(remote.Config{Device: device, Server: server, Transport: w}); err != nil {
		return nil, err
	}
	_, err = w.Open(ctx, remote.Offer{Session: w.sid, Class: wire.ClassS, Blobs: 1, Expiry: time.Hour})
	return w, err
}

// RoundTrip implements http.RoundTripper.
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.lost.Load() {
		w.asked.Add(1)
	}
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if !c.Reused && w.up.Load() && w.lost.CompareAndSwap(false, true) { // it lost the old one between two polls
			w.asked.Add(1)
		}
	}}))
	if strings.HasSuffix(r.URL.Path, "/Fetch") {
		w.once.Do(func() { close(w.asking) })
	}
	resp, err := w.dialer.RoundTrip(r)
	if err != nil {
		w.lost.Store(true)
		return resp, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost.Load() && w.back.IsZero() {
		w.back = time.Now().Add(-pollFor) // the server has had the poll for so long
	}
	return resp, nil
}

// watch polls until an answer came after a poll that broke off.
func (w *watcher) watch(ctx context.Context) {
	box := w.Mailbox(w.sid.Scope())
	for !w.ended() {
		if _, _, err := box.Fetch(ctx, 0, pollFor); err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
		}
	}
}

func (w *watcher) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil || !w.back.IsZero()
}
