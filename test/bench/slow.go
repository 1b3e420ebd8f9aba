//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
)

// Of slow: how long honest devices are measured alone and beside the strangers, and how many there are.
const (
	quietFor  = 20 * time.Second // before, and again after
	slowFor   = 40 * time.Second
	honest    = 8
	thinkTime = 20 * time.Millisecond // between two calls of an honest device
)

// A stranger's ways to be slow.
const (
	inHandshake   = "TLS handshake"
	inMultistream = "multistream"
	inHeader      = "header"
	inBody        = "body"
	notReading    = "not reading"
)

// How long a stranger may hold a connection (adversity R-17), and what this machine's
// scheduling may add.
const (
	holdLimit = 30 * time.Second
	holdSlack = 2 * time.Second
)

// slow has o.slow strangers send a byte in five seconds, in equal parts in every phase of a connection, and a quarter as many read nothing of
// what they have asked for, all from the same moment on. It tells what that costs honest devices, in time, and the server, in
// memory, and how long a stranger lasts (adversity R-17).
func slow(ctx context.Context, o options) error {
	work, err := os.MkdirTemp(o.dirs[0], "decant-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	bin, err := env.Binary(env.Plain)
	if err != nil {
		return err
	}
	srv, err := env.StartServer(ctx, bin, filepath.Join(work, "server"), env.ServerOptions{Args: []string{"--ballast", "1MiB", "--watermark", "1MiB"}})
	if err != nil {
		return err
	}
	defer srv.Close()
	address, err := id.ParseServer(srv.Address)
	if err != nil {
		return err
	}
	if _, err := measureHonest(ctx, address, 3*time.Second); err != nil { // warm
		return err
	}
	calm, err := resident(srv.Process().PID())
	if err != nil {
		return err
	}
	alone, err := measureHonest(ctx, address, quietFor)
	if err != nil {
		return err
	}
	a, err := prepareAttack(ctx, address, o.slow)
	if err != nil {
		return err
	}
	close(a.begin)
	beside, err := measureHonest(ctx, address, slowFor)
	open := a.open.Load()
	m, err2 := resident(srv.Process().PID())
	a.stop()
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	after, err := measureHonest(ctx, address, quietFor)
	if err != nil {
		return err
	}
	for what, t := range after {
		alone[what].list = append(alone[what].list, t.list...)
	}
	fmt.Printf("\n## %d slow strangers and %d that don't read, of whom %d were there; %v\n\n", o.slow, o.slow/4, a.came.Load(), slowFor)
	fmt.Printf("| honest devices | calls | median ms | p99 ms | longest ms | alone p99 ms | ratio |\n|---|---:|---:|---:|---:|---:|---:|\n")
	missed := false
	for _, what := range calls {
		b, q := beside[what].sorted(), alone[what].sorted()
		p, p0 := quantile(b, 0.99), quantile(q, 0.99)
		fmt.Printf("| %s | %d | %.1f | %.1f | %.1f | %.1f | %.2f |\n", what, len(b), ms(quantile(b, 0.5)), ms(p), ms(quantile(b, 1)), ms(p0), ms(p)/ms(p0))
		missed = missed || p >= 2*p0
	}
	fmt.Printf("\n| strangers | cut | longest s |\n|---|---:|---:|\n")
	for _, way := range ways {
		held := a.held[way].sorted()
		fmt.Printf("| %s | %d | %.1f |\n", way, len(held), quantile(held, 1).Seconds())
		missed = missed || len(held) == 0 || quantile(held, 1) > holdLimit+holdSlack
	}
	if busy, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Printf("\nload of the machine: %s", busy)
	}
	fmt.Printf("\nconnections of strangers at the end: %d; the server's resident memory: %.0f MiB before, %.0f at the end, %.0f at most\n", open, calm.now, m.now, m.peak)
	if missed || m.peak-calm.now > 128 {
		return errors.New("the bar is missed")
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// calls are what honest devices do, in turn.
var calls = []string{"Hello", "Post", "Fetch", "PUT", "GET"}

// measureHonest has honest devices do what devices do, and collects how long each call takes.
func measureHonest(ctx context.Context, address id.Server, long time.Duration) (map[string]*times, error) {
	took := map[string]*times{}
	for _, what := range calls {
		took[what] = &times{}
	}
	until := time.Now().Add(long)
	err := each(honest, func(int) error {
		s, err := newSession(ctx, address, wire.ClassS)
		if err != nil {
			return err
		}
		defer s.Close()
		for time.Now().Before(until) {
			if err := s.behave(ctx, took); err != nil {
				return err
			}
		}
		return s.Revoke(ctx, s.sid)
	})
	return took, err
}

// behave makes each call once.
func (s *sessionOf) behave(ctx context.Context, took map[string]*times) error {
	box := s.Mailbox(s.sid.Scope())
	var last uint64
	for i, call := range []func() error{
		func() error { _, err := s.Hello(ctx); return err },
		func() error { return box.Post(ctx, s.device.Peer(), []byte("message")) },
		func() error {
			got, _, err := box.Fetch(ctx, 0, 0)
			if err == nil && len(got) > 0 {
				last = got[len(got)-1].Sequence
			}
			return err
		},
		func() error {
			name := id.NewBlob()
			err := s.Session(s.sid).Put(ctx, name, s.blob)
			s.name = name
			return err
		},
		func() error { return s.check(ctx) },
	} {
		began := time.Now()
		if err := call(); err != nil {
			return fmt.Errorf("%s: %w", calls[i], err)
		}
		took[calls[i]].add(time.Since(began))
		time.Sleep(thinkTime) // a device's own work
	}
	if err := box.Ack(ctx, last); err != nil {
		return err
	}
	return s.Session(s.sid).Delete(ctx, s.name)
}

// attack is strangers at work.
type attack struct {
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	begin      chan struct{} // closed when they may
	came, open atomic.Int64
	held       map[string]*times // how long the server bore each connection from then on
}

// Of those who don't read: a device has so many connections at most, in sessions that bear so many blobs on their way.
const (
	connsOfOne = 60
	perSession = 15
)

// prepareAttack connects those whose handshake is not what they are slow in: the handshakes themselves are not what is measured.
func prepareAttack(ctx context.Context, address id.Server, n int) (*attack, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &attack{cancel: cancel, begin: make(chan struct{}), held: map[string]*times{}}
	for _, way := range ways {
		a.held[way] = &times{}
	}
	fast := address.HostPort()
	other := net.JoinHostPort(address.Host, strconv.Itoa(int(address.Port)+1))
	own, err := ownSessions(ctx, address, n/4)
	if err != nil {
		cancel()
		return nil, err
	}
	err = each(n+n/4, func(i int) error {
		way, who := ways[i%4], own[i%len(own)]
		if i >= n {
			way, who = notReading, own[(i-n)/perSession]
		}
		switch way {
		case inHandshake:
			a.come(ctx, way, nil, func() (net.Conn, error) { return dial(ctx, fast) }, "\x16\x03\x01\x06\x00\x01\x00", false)
			return nil
		case inMultistream:
			a.come(ctx, way, nil, func() (net.Conn, error) { return dial(ctx, other) }, "\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n", false)
			return nil
		}
		c, err := who.ready(ctx, fast)
		if err != nil {
			return err
		}
		switch way {
		case inHeader:
			a.come(ctx, way, c, nil, "POST / HTTP/1.1\r\nHost: decant\r\nX: ", false)
		case inBody:
			put := fmt.Sprintf("PUT %s%s/%s HTTP/1.1\r\nHost: decant\r\nContent-Length: %d\r\n\r\n", wire.BlobPath, who.sid, id.NewBlob(), wire.BlobSizeL)
			a.come(ctx, way, c, func() (net.Conn, error) { _, err := io.WriteString(c, put); return c, err }, "", false)
		default:
			get := fmt.Sprintf("GET %s%s/%s HTTP/1.1\r\nHost: decant\r\n\r\n", wire.BlobPath, who.sid, who.name)
			a.come(ctx, way, c, nil, strings.Repeat(get, 4), true)
		}
		return nil
	})
	return a, err
}

// ways are a stranger's, those that dribble first.
var ways = []string{inHandshake, inMultistream, inHeader, inBody, notReading}

// owner is a stranger with a session of its own.
type owner struct {
	*stranger
	sid  id.Session
	name id.Blob
}

// ownSessions opens as many sessions as n who don't read need, each with a blob of class L.
func ownSessions(ctx context.Context, address id.Server, n int) ([]owner, error) {
	own := make([]owner, (n+perSession-1)/perSession)
	err := each(len(own), func(i int) error {
		s, err := newSession(ctx, address, wire.ClassL)
		if err != nil {
			return err
		}
		defer s.Close()
		who, err := newStranger(s.device)
		own[i] = owner{who, s.sid, s.name}
		return err
	})
	return own, err
}

// ready connects and has one request answered, so that the server waits for the next.
func (s *stranger) ready(ctx context.Context, at string) (net.Conn, error) {
	c, err := s.connect(ctx, at)
	if err != nil {
		return nil, err
	}
	if _, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: decant\r\n\r\n"); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return c, errors.Join(err, resp.Body.Close())
}

// come is one stranger: with a connection that is there, or one that connect makes, when all begin. What it says goes out at once, or a byte in five
// seconds and then for ever.
func (a *attack) come(ctx context.Context, way string, c net.Conn, connect func() (net.Conn, error), say string, atOnce bool) {
	a.wg.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-a.begin:
		}
		began := time.Now()
		if connect != nil {
			var err error
			if c, err = connect(); err != nil {
				return
			}
		}
		defer c.Close()
		a.came.Add(1)
		a.open.Add(1)
		defer a.open.Add(-1)
		hang(ctx, c, say, atOnce)
		if ctx.Err() == nil {
			a.held[way].add(time.Since(began))
		}
	})
}

// hang speaks, and returns when the server has had enough.
func hang(ctx context.Context, c net.Conn, say string, atOnce bool) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if atOnce {
		if _, err := io.WriteString(c, say); err == nil {
			untilCut(ctx, c)
		}
		return
	}
	go func() {
		for i := 0; ; i++ {
			b := byte('x')
			if i < len(say) {
				b = say[i]
			}
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(5 * time.Second):
			}
		}
	}()
	_, _ = io.Copy(io.Discard, c)
	c.Close()
}

// stop sends the strangers home.
func (a *attack) stop() {
	a.cancel()
	a.wg.Wait()
}
