package impair

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
)

const (
	maxFlows  = 4096
	maxPacket = 64 << 10
)

// flow is what one address sends through the proxy by UDP: the target sees each flow as a
// sender of its own. Flows live as long as the proxy; packets of more than maxFlows senders
// are lost.
type flow struct {
	far  atomic.Pointer[net.UDPConn] // to the target
	up   func([]byte)                // delivers to the target
	down func([]byte)                // delivers to the sender
}

// Rebind gives every UDP flow another source port toward the target, as a NAT does that
// has forgotten its mappings. What the target still sends to the old ports is lost.
func (p *Proxy) Rebind() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return net.ErrClosed
	}
	for _, f := range p.flows {
		old := f.far.Load()
		if err := p.bind(f); err != nil {
			return err
		}
		old.Close()
	}
	return nil
}

// packets takes what comes by UDP.
func (p *Proxy) packets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := p.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as a port that an earlier answer did not reach
			continue
		}
		if f := p.flow(from); f != nil {
			p.link.Up.Send(buf[:n], f.up)
		}
	}
}

// flow returns the flow of a sender, nil if there can't be one.
func (p *Proxy) flow(from netip.AddrPort) *flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flows[from]; f != nil {
		return f
	}
	if len(p.flows) >= maxFlows || p.ctx.Err() != nil {
		return nil
	}
	f := &flow{}
	f.up = func(b []byte) { f.far.Load().Write(b) } // an error is a lost packet
	f.down = func(b []byte) { p.udp.WriteToUDPAddrPort(b, from) }
	if p.bind(f) != nil {
		return nil
	}
	p.flows[from] = f
	return f
}

// bind gives a flow a new socket and starts what reads from it, until it is closed.
func (p *Proxy) bind(f *flow) error {
	at, err := net.ResolveUDPAddr("udp", p.target)
	if err != nil {
		return err
	}
	far, err := net.DialUDP("udp", nil, at)
	if err != nil {
		return err
	}
	f.far.Store(far)
	p.wg.Go(func() {
		buf := make([]byte, maxPacket)
		for {
			n, err := far.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				p.link.Down.Send(buf[:n], f.down)
			}
		}
	})
	return nil
}
