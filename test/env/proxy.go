package env

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands between devices and a server as a TCP connection that it passes on
// byte by byte. What it does beside that can be changed while it runs.
type Proxy struct {
	Address string // where devices connect
	Dir     string // if not empty, every byte is recorded in files below it, one for each connection and direction

	// Rate limits each direction of each connection, in bytes a second; 0 is no limit.
	Rate atomic.Int64
	// Lose is asked at each turn, when the server begins to answer on a connection (turns count from 1 over the
	// proxy's life); true swallows the answer, which the server has given, and cuts the connection.
	Lose atomic.Pointer[func(turn int64) bool]

	target string
	l      net.Listener
	turns  atomic.Int64
	lost   atomic.Int64
	up     atomic.Int64
	down   atomic.Int64

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]struct{}
	count int
	wg    sync.WaitGroup
}

// StartProxy listens on loopback and passes everything on to target, a HOST:PORT that need not answer yet.
func StartProxy(target, dir string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	p := &Proxy{Address: l.Addr().String(), Dir: dir, target: target, l: l, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Turns is how often the server has begun to answer.
func (p *Proxy) Turns() int64 { return p.turns.Load() }

// Lost is how many answers were swallowed.
func (p *Proxy) Lost() int64 { return p.lost.Load() }

// Bytes returns how many bytes went to the server and came from it.
func (p *Proxy) Bytes() (up, down int64) { return p.up.Load(), p.down.Load() }

// Cut ends every connection; new ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Close ends every connection and takes no more.
func (p *Proxy) Close() {
	p.l.Close()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.wg.Go(func() { p.serve(c) })
		}
	}
}

// enter notes a connection so that Cut finds it; the result takes it out again and closes it.
func (p *Proxy) enter(c net.Conn) (leave func()) {
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
		c.Close()
	}
}

func (p *Proxy) serve(device net.Conn) {
	defer p.enter(device)()
	server, err := net.DialTimeout("tcp", p.target, 10*time.Second)
	if err != nil {
		return
	}
	defer p.enter(server)()
	upLog, downLog, err := p.logs()
	if err != nil {
		return
	}
	defer upLog.Close()
	defer downLog.Close()
	t := &turn{}
	var wg sync.WaitGroup
	wg.Go(func() {
		p.pass(server, device, upLog, &p.up, func() bool { t.asked(); return false })
		closeWrite(server)
	})
	wg.Go(func() {
		p.pass(device, server, downLog, &p.down, func() bool { return t.answered() && p.lose() })
		closeWrite(device)
	})
	wg.Wait()
}

// turn notices when one side begins to answer the other.
type turn struct {
	mu      sync.Mutex
	waiting bool
}

func (t *turn) asked() {
	t.mu.Lock()
	t.waiting = true
	t.mu.Unlock()
}

func (t *turn) answered() (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, t.waiting = t.waiting, false
	return first
}

func (p *Proxy) lose() bool {
	n := p.turns.Add(1)
	f := p.Lose.Load()
	if f == nil || !(*f)(n) {
		return false
	}
	p.lost.Add(1)
	return true
}

// pass copies until the end of one side. Where stop says so, the bytes just read are swallowed and both sides are cut.
func (p *Proxy) pass(dst, src net.Conn, log io.Writer, count *atomic.Int64, stop func() bool) {
	buf := make([]byte, 64<<10)
	for {
		rate := p.Rate.Load()
		n := len(buf)
		if rate > 0 {
			n = int(min(int64(n), max(rate/50, 1)))
		}
		n, err := src.Read(buf[:n])
		if n > 0 {
			count.Add(int64(n))
			log.Write(buf[:n])
			if stop() {
				dst.Close()
				src.Close()
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				src.Close()
				return
			}
			if rate > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			}
		}
		if err != nil {
			return
		}
	}
}

func closeWrite(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.CloseWrite()
	}
}

// logs opens the two files of a connection, or a sink where nothing is recorded.
func (p *Proxy) logs() (up, down io.WriteCloser, err error) {
	if p.Dir == "" {
		return sink{}, sink{}, nil
	}
	p.mu.Lock()
	p.count++
	n := p.count
	p.mu.Unlock()
	if up, err = os.Create(filepath.Join(p.Dir, fmt.Sprintf("%04d-to-server", n))); err != nil {
		return nil, nil, err
	}
	if down, err = os.Create(filepath.Join(p.Dir, fmt.Sprintf("%04d-from-server", n))); err != nil {
		up.Close()
		return nil, nil, err
	}
	return up, down, nil
}

type sink struct{}

func (sink) Write(b []byte) (int, error) { return len(b), nil }
func (sink) Close() error                { return nil }
