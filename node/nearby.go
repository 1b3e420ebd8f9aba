package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/decant-dev/decant/node/direct"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// noteNameplate is the key of the nameplate in what a device announces while it shows a code.
const noteNameplate = "n"

// endpoint opens this device's presence on the network for one transfer. server may be zero.
func (n *Node) endpoint(who *identity, server id.Server, handler *direct.Desk, allow func(id.Peer) bool) (*link.Endpoint, error) {
	cfg := link.EndpointConfig{Device: who.device, Allow: allow, Relay: server, Local: true, Loopback: n.cfg.Loopback, Logger: n.cfg.Log}
	if handler != nil {
		cfg.Handler = handler
	}
	ep, err := link.NewEndpoint(cfg)
	if err != nil {
		return nil, fmt.Errorf("direct route: %w", err)
	}
	return ep, nil
}

// deskStore is the desk's small state in the transfer's journal.
type deskStore struct{ j *journal.Journal }

const deskPrefix = "d/"

func (s deskStore) Get(key string) ([]byte, error) {
	v, err := s.j.Get([]byte(deskPrefix + key))
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

func (s deskStore) Put(kv map[string][]byte) error {
	b := s.j.Batch()
	for k, v := range kv {
		if v == nil {
			b.Delete([]byte(deskPrefix + k))
		} else {
			b.Put([]byte(deskPrefix+k), v)
		}
	}
	return b.Commit()
}

func (s deskStore) Each(prefix string, fn func(key string, value []byte) error) error {
	return s.j.Each([]byte(deskPrefix+prefix), func(k, v []byte) error { return fn(string(k[len(deskPrefix):]), v) })
}

// presence is the receiver's side of the direct route: its desk, and where it is found.
type presence struct {
	r    *receiving
	desk *direct.Desk
	ep   *link.Endpoint

	mu       sync.Mutex           // guards target, intake and taking
	target   *folder.Target       // nil until it is open
	intake   *transfer.Downloader // takes content in; nil while none is wanted
	taking   chan struct{}        // closed when intake is set
	inFlight sync.WaitGroup       // of deliver with intake

	announced func() // ends the announcement
}

// appear opens the desk and makes this device findable.
func (r *receiving) appear() (err error) {
	p := &presence{r: r, taking: make(chan struct{})}
	p.desk, err = direct.New(direct.Config{Device: r.id.device.Peer(), Store: deskStore{r.t.j}, Spool: filepath.Join(r.t.dir, "spool"),
		Caller: link.PeerFrom, Deliver: p.deliver, Ready: p.ready, Checkpoint: p.checkpoint, Free: p.free, Boot: transfer.BootID(), Now: r.n.cfg.Now})
	if err != nil {
		return err
	}
	if p.ep, err = r.n.endpoint(r.id, r.server, p.desk, p.allow); err != nil {
		p.desk.Close()
		return err
	}
	r.near = p
	return nil
}

// allow lets anybody in who may yet pair, and only the sender afterwards.
func (p *presence) allow(peer id.Peer) bool {
	sender, _, ok := p.desk.Admitted()
	return !ok || peer == sender
}

// open tells the desk where content goes.
func (p *presence) open(t *folder.Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = t
}

// announce tells the network nearby that this device is here, and under which nameplate.
func (p *presence) announce(nameplate uint32) {
	if p.announced != nil {
		p.announced()
	}
	note := map[string]string{}
	if nameplate > 0 {
		note[noteNameplate] = strconv.FormatUint(uint64(nameplate), 10)
	}
	stop, err := p.ep.Announce(note)
	if err != nil { // no multicast here: addresses and links still work
		p.r.n.cfg.Log.Info("no announcement", "err", err)
		stop = nil
	}
	p.announced = stop
}

// admit lets the sender in that has proved itself.
func (p *presence) admit() error {
	if err := p.desk.Admit(p.r.st.Peer, p.r.st.Session); err != nil {
		return err
	}
	p.ep.Recheck()
	p.announce(0)
	return nil
}

// address is what a link says of where this device is.
func (p *presence) address() id.Server {
	self := id.Server{Peer: p.r.id.device.Peer(), Host: "localhost", Port: id.DefaultPort}
	for _, a := range p.ep.Addrs() {
		if at, err := netip.ParseAddrPort(a); err == nil {
			self.Host, self.Port = at.Addr().String(), at.Port()
			break
		}
	}
	return self
}

func (p *presence) close() {
	if p == nil {
		return
	}
	if p.announced != nil {
		p.announced()
	}
	p.desk.Close()
	p.ep.Close()
}

// take has the desk hand content to d until the returned function is called.
func (p *presence) take(d *transfer.Downloader) (stop func()) {
	p.mu.Lock()
	p.intake = d
	close(p.taking)
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.intake, p.taking = nil, make(chan struct{})
		p.mu.Unlock()
		p.inFlight.Wait()
	}
}

// ready waits until content is wanted: the person has said yes, and everything is not here yet.
func (p *presence) ready(ctx context.Context, note []byte) error {
	if n, err := transfer.ParseNote(id.Blob{}, note); err == nil && n.Manifest {
		return nil
	}
	p.mu.Lock()
	taking := p.taking
	p.mu.Unlock()
	select {
	case <-taking:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deliver takes in one pack from the sender. What is read by name, and content whose place
// is not known yet, is kept sealed.
func (p *presence) deliver(_ context.Context, name id.Blob, note, blob []byte) (keep bool, err error) {
	n, err := transfer.ParseNote(name, note)
	if err != nil || n.Ref.Padding {
		return false, wire.Fail(wire.Malformed, "note")
	}
	if n.Manifest {
		return true, nil
	}
	p.mu.Lock()
	d := p.intake
	if d != nil {
		p.inFlight.Add(1)
	}
	p.mu.Unlock()
	if d == nil {
		return false, wire.Fail(wire.Busy, "deliver")
	}
	defer p.inFlight.Done()
	if err := p.r.viaDesk(); err != nil {
		return false, err
	}
	switch err := d.Accept(&n.Ref, blob); {
	case errors.Is(err, folder.ErrUnplanned), errors.Is(err, folder.ErrPieces):
		return true, nil // of an epoch whose pages are not here yet, or a file that has outgrown the catalog
	case errors.Is(err, transfer.ErrIntegrity):
		return false, wire.Fail(wire.Malformed, "pack")
	case errors.Is(err, folder.ErrNoSpace):
		return false, wire.Fail(wire.NoSpace, "pack")
	default:
		return false, err
	}
}

// viaDesk notes, durably and once, that packs came to the desk: the sender can be asked for
// them again, which a server never can.
func (r *receiving) viaDesk() error {
	r.desked.Lock()
	defer r.desked.Unlock()
	if r.delivered {
		return nil
	}
	err := r.t.j.Batch().Put(keyDelivered, []byte{1}).Commit()
	r.delivered = err == nil
	return err
}

// wasDelivered reports whether packs ever came to the desk.
func (r *receiving) wasDelivered() bool {
	r.desked.Lock()
	defer r.desked.Unlock()
	if !r.delivered {
		_, err := r.t.j.Get(keyDelivered)
		r.delivered = err == nil
	}
	return r.delivered
}

// keyDelivered is apart from the state, which the main run alone writes.
var keyDelivered = []byte("m/delivered")

func (p *presence) checkpoint(context.Context) error {
	p.mu.Lock()
	d := p.intake
	if d != nil {
		p.inFlight.Add(1)
	}
	p.mu.Unlock()
	if d == nil {
		return nil // nothing is under way; what a power cut takes of earlier packs is asked for again
	}
	defer p.inFlight.Done()
	return d.Checkpoint()
}

// free is what the target has room for, unknown before the target is open.
func (p *presence) free() uint64 {
	p.mu.Lock()
	t := p.target
	p.mu.Unlock()
	if t == nil {
		return math.MaxInt64
	}
	free, err := t.Free()
	if err != nil {
		return 0
	}
	return uint64(max(0, free-spaceReserve))
}

// appendAddrs encodes addresses for an Addresses envelope: each behind its length in one byte.
func appendAddrs(dst []byte, addrs []string) []byte {
	for _, a := range addrs[:min(len(addrs), link.MaxAddrs)] {
		if len(a) <= link.MaxAddrLen {
			dst = append(append(dst, byte(len(a))), a...)
		}
	}
	return dst
}

// parseAddrs decodes what appendAddrs made.
func parseAddrs(b []byte) (addrs []string, ok bool) {
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n || len(addrs) == link.MaxAddrs {
			return nil, false
		}
		addrs = append(addrs, string(b[1:1+n]))
		b = b[1+n:]
	}
	return addrs, true
}

// tellAddrs posts where this device is found, sealed, now and whenever that has changed, until ctx ends.
func (n *Node) tellAddrs(ctx context.Context, h *hub, ep *link.Endpoint, seal func([]byte) ([]byte, error), scope id.Scope, to id.Peer, moved func()) {
	var told []string
	for {
		var again <-chan time.Time // nil: the other device has been told
		if addrs := ep.Addrs(); !slices.Equal(addrs, told) {
			if body, err := seal(appendAddrs(nil, addrs)); err == nil && h.post(ctx, scope, to, body, grace) == nil {
				told = addrs
			} else {
				again = time.After(retryPause)
			}
		}
		select {
		case <-ep.Changed():
			moved()
		case <-again:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, addrsApart) {
			return
		}
	}
}

// addrsApart is the least time between two messages about addresses: interfaces come and go in bursts.
const addrsApart = 300 * time.Millisecond

// pause waits, and is false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reach is the sender's side of the direct route to one receiver.
type reach struct {
	dial *link.PeerDialer
	ctl  *remote.Remote // waits for as long as it takes
	data *remote.Remote // notices soon that nothing moves: other routes may be up

	mu    sync.Mutex
	addrs []string
}

// dataStall is how long nothing may move on the direct route. A pack on a slow one may take as long as it needs. It is longer than
// TCP waits when it loses the same segment three times at a round trip of 800 ms; package link finds a dead way out sooner.
const dataStall = 15 * time.Second

// reachPeer prepares the direct route to a peer. It does no I/O.
func (n *Node) reachPeer(who *identity, ep *link.Endpoint, peer id.Peer) (*reach, error) {
	x := &reach{dial: ep.Dial(peer)}
	var err error
	cfg := remote.Config{Device: who.device, Transport: x.dial, FirstContact: -1}
	ctl, away := cfg, false
	ctl.Notice = func(x remote.Notice) { // one call at a time
		switch {
		case x.Retrying && wire.StatusOf(x.Err) == wire.Internal: // not reached: a desk that is not ready yet says Busy
			away = true
			n.notice("device-away", "")
		case !x.Retrying && away:
			away = false
			n.notice("device-back", "")
		}
	}
	if x.ctl, err = remote.New(ctl); err != nil {
		return nil, err
	}
	cfg.Stall = dataStall
	x.data, err = remote.New(cfg)
	return x, err
}

// hint adds addresses at which the peer may be.
func (x *reach) hint(addrs []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, a := range addrs {
		x.addrs = slices.DeleteFunc(x.addrs, func(b string) bool { return a == b })
	}
	x.addrs = append(slices.Clone(addrs), x.addrs...)
	x.addrs = x.addrs[:min(len(x.addrs), link.MaxAddrs)]
	x.dial.SetAddrs(x.addrs)
}

// route is the direct route for packs of a session.
func (x *reach) route(sid id.Session, slots int) *transfer.Route {
	blobs := x.data.Session(sid)
	return &transfer.Route{Name: x.name, Put: blobs.Deliver, Kept: transfer.KeptDelivered, Slots: slots, Via: x.dial.Via,
		Near: func() bool { return x.dial.Path() == link.PathLocal }, Doubted: x.dial.Doubted}
}

func (x *reach) name() string {
	switch x.dial.Path() {
	case link.PathLocal:
		return "local"
	case link.PathRelayed:
		return "relayed"
	}
	return "direct"
}

func (x *reach) close() {
	x.dial.Close()
	x.ctl.Close()
	x.data.Close()
}

// browse looks for devices nearby that match, and gives the addresses of each, until ctx ends.
func (n *Node) browse(ctx context.Context, match func(link.Found) bool, found func(link.Found)) {
	err := link.Browse(ctx, func(f link.Found) {
		if match(f) {
			found(f)
		}
	})
	if err != nil {
		n.cfg.Log.Info("can't look for devices nearby", "err", err)
	}
}

// findNearby waits for a device nearby that announces a nameplate.
func (n *Node) findNearby(ctx context.Context, match func(link.Found) bool) (link.Found, error) {
	n.stage(item.StageLooking)
	ctx, cancel := context.WithTimeoutCause(ctx, codeLife, ErrNobodyNearby)
	defer cancel()
	got := make(chan link.Found, 1)
	go n.browse(ctx, match, func(f link.Found) {
		select {
		case got <- f:
		default:
		}
	})
	select {
	case f := <-got:
		return f, nil
	case <-ctx.Done():
		return link.Found{}, context.Cause(ctx)
	}
}

// deskNameplate is the lowest nameplate that a desk draws; a server's are lower.
const deskNameplate = 10_000

// lostPacks encodes which packs a receiver asks for again, as payloads of Again envelopes.
func lostPacks(refs []manifest.PackRef) (parts [][]byte, err error) {
	for part := range slices.Chunk(refs, maxAnnounced) {
		list, err := manifest.AppendPackList(nil, part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, list)
	}
	return parts, nil
}
