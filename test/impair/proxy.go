package impair

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy passes TCP connections and UDP packets on to one target, over one link. Its
// methods may be called from any goroutine.
type Proxy struct {
	link   *Link
	target string
	l      net.Listener
	udp    *net.UDPConn
	refuse atomic.Bool
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[*net.TCPConn]struct{}
	flows map[netip.AddrPort]*flow
}

// Listen opens a proxy at an address, HOST:PORT, for TCP and UDP both; port 0 draws one
// that is free for both. target is a HOST:PORT too and need not answer yet.
func Listen(address, target string, link *Link) (*Proxy, error) {
	l, udp, err := listenBoth(address)
	if err != nil {
		return nil, err
	}
	p := &Proxy{link: link, target: target, l: l, udp: udp, conns: map[*net.TCPConn]struct{}{}, flows: map[netip.AddrPort]*flow{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	p.wg.Go(p.packets)
	return p, nil
}

func listenBoth(address string) (l net.Listener, udp *net.UDPConn, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	for range 20 { // a port that is free for TCP need not be for UDP
		if l, err = net.Listen("tcp", address); err != nil {
			return nil, nil, err
		}
		number := l.Addr().(*net.TCPAddr).Port
		var at *net.UDPAddr
		if at, err = net.ResolveUDPAddr("udp", net.JoinHostPort(host, strconv.Itoa(number))); err == nil {
			if udp, err = net.ListenUDP("udp", at); err == nil {
				return l, udp, nil
			}
		}
		l.Close()
		if port != "0" {
			break
		}
	}
	return nil, nil, fmt.Errorf("impair: %w", err)
}

// Address returns where the proxy listens.
func (p *Proxy) Address() string { return p.l.Addr().String() }

// Reset ends every TCP connection with RST, on both sides. New ones are taken.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		abort(c)
	}
}

// Refuse makes the proxy end new TCP connections with RST, until it is called with false.
// Those that are there go on: Reset ends them.
func (p *Proxy) Refuse(refuse bool) { p.refuse.Store(refuse) }

// Close ends everything.
func (p *Proxy) Close() {
	p.cancel()
	p.l.Close()
	p.udp.Close()
	p.Reset()
	p.mu.Lock()
	for _, f := range p.flows {
		f.far.Load().Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
		}
	}
}

// abort ends a connection with RST.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// enter notes a connection so that Reset finds it; leave takes it out again and closes it.
func (p *Proxy) enter(c *net.TCPConn) (leave func()) {
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	if p.ctx.Err() != nil { // Close has passed
		abort(c)
	}
	return func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
		c.Close()
	}
}

// serve carries one connection to its end.
func (p *Proxy) serve(near *net.TCPConn) {
	defer p.enter(near)()
	if p.refuse.Load() || !pause(p.ctx, p.link.connect()) {
		abort(near)
		return
	}
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		abort(near)
		return
	}
	far := c.(*net.TCPConn)
	defer p.enter(far)()
	for _, c := range []*net.TCPConn{near, far} { // what the lines have not taken shall wait at its sender, as without a proxy
		c.SetReadBuffer(2 * largest)
	}
	ctx, fail := context.WithCancel(p.ctx)
	defer fail()
	defer context.AfterFunc(ctx, func() { abort(near); abort(far) })()
	var both sync.WaitGroup
	carry := func(line *Line, dst, src *net.TCPConn) {
		both.Go(func() {
			if newStream(line, p.link.roundTrip).carry(ctx, fail, dst, src); ctx.Err() == nil {
				dst.CloseWrite()
			}
		})
	}
	carry(p.link.Up, far, near)
	carry(p.link.Down, near, far)
	both.Wait()
}
