package node

import (
	"context"
	"errors"
	"time"

	routefolder "github.com/decant-dev/decant/node/folder"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// connect finds who holds the session, as far as that is known yet: the server, the
// folder, or the receiver's desk.
func (s *sending) connect(ctx context.Context) (err error) {
	defer func() {
		if err == nil {
			s.joinFolder(ctx)
		}
	}()
	switch {
	case s.completes():
		return s.connectFolder(ctx)
	case s.meta.Folder != "":
		f, err := routefolder.Open(routefolder.Config{Dir: s.meta.Folder, Device: s.id.device.Peer(), Create: true})
		if err != nil {
			return err
		}
		s.hub = newHub(inFolder{f})
	case s.st.Home == homeDirect || s.server.IsZero():
		if s.st.Peer.IsZero() {
			return nil
		}
		return s.meetAt(ctx, &oldPairing{Direct: true, Owner: s.st.Peer})
	default:
		return s.connectServer(ctx)
	}
	return nil
}

func (s *sending) connectServer(ctx context.Context) (err error) {
	without := s.n.cfg.Route == RouteAuto && (s.mayGoWithout() || s.st.State == session.New && !s.meta.Ticket)
	if s.remote, err = s.n.dial(s.id, s.server, without); err != nil {
		return err
	}
	s.hub = newHub(asked{s.remote})
	if s.st.State != session.New || s.meta.Ticket || s.n.cfg.Route == RouteStored {
		return nil
	}
	if _, err := s.remote.Hello(ctx); errors.Is(err, remote.ErrUnreachable) {
		s.n.notice("server-unreachable", "")
		s.remote.Close()
		s.remote, s.hub = nil, nil // the other device may be near
	}
	return nil
}

func (s *sending) disconnect() {
	if s.reach != nil {
		s.reach.close()
	}
	if s.ep != nil {
		s.ep.Close()
	}
	if s.cache != nil {
		s.cache.remote.Close()
	}
	if s.remote != nil {
		s.remote.Close()
	}
}

// homeName is what state.OpenedAt has for the session's home.
func (s *sending) homeName() string {
	if s.st.Home != "" {
		return s.st.Home
	}
	return "home"
}

// mayGoWithout reports whether a transfer can go on while its server is away: the receiver
// is known, and can be reached otherwise.
func (s *sending) mayGoWithout() bool {
	return s.n.cfg.Route != RouteStored && s.meta.Folder == "" && s.st.State != session.New && s.st.Granted
}

// meetAt makes sure that the session's home is where the pairing takes place.
func (s *sending) meetAt(ctx context.Context, p *oldPairing) error {
	if !p.Direct || s.reach != nil && s.reach.dial.Peer() == p.Owner {
		return nil
	}
	if err := s.reachReceiver(ctx, p.Owner, id.Server{}); err != nil {
		return err
	}
	s.reach.hint(p.At)
	s.hub = newHub(asked{s.reach.ctl})
	s.st.Home = homeDirect
	return nil
}

// reachReceiver opens this device's presence and looks for the receiver in the background.
func (s *sending) reachReceiver(ctx context.Context, peer id.Peer, relay id.Server) (err error) {
	if s.reach != nil {
		s.reach.close()
		s.reach = nil
	}
	s.expected.Store(&peer)
	if s.ep == nil {
		allow := func(p id.Peer) bool { return p == *s.expected.Load() }
		if s.ep, err = s.n.endpoint(s.id, relay, nil, allow); err != nil {
			return err
		}
	}
	x, err := s.n.reachPeer(s.id, s.ep, peer)
	if err != nil {
		return err
	}
	s.reach = x
	s.background.Go(func() {
		s.n.browse(ctx, func(f link.Found) bool { return f.Peer == peer }, func(f link.Found) { x.hint(f.Addrs) })
	})
	return nil
}

// goDirect prepares the routes for packs, and opens the direct one once the receiver is known.
func (s *sending) goDirect(ctx context.Context) error {
	if s.n.cfg.Route == RouteStored && s.cache == nil || s.throughFolder() {
		return nil
	}
	if s.routes == nil {
		s.routes = transfer.NewRoutes()
		if s.st.Home != homeDirect {
			blobs := s.hub.home().Session(s.st.Session)
			s.routes.Prefer(&transfer.Route{Name: func() string { return "stored" }, Kept: transfer.KeptStored, Slots: s.n.cfg.Streams, Via: s.server.Peer.String,
				Put: func(ctx context.Context, name id.Blob, _, blob []byte) error { return blobs.Put(ctx, name, blob) }})
		}
	}
	if s.cache != nil && s.noCacheRoute == nil {
		s.noCacheRoute = s.routes.Prefer(s.cacheRoute())
	}
	switch {
	case s.n.cfg.Route == RouteStored:
		return nil
	case s.direct || s.st.Peer.IsZero(): // a ticket may be claimed later
		return nil
	case s.st.Home == homeDirect:
		s.routes.Prefer(s.reach.route(s.st.Session, s.n.cfg.Streams))
	default:
		if err := s.reachReceiver(ctx, s.st.Peer, s.server); err != nil {
			s.n.cfg.Log.Info("no direct route", "err", err)
			return nil
		}
		s.background.Go(func() { s.joinDesk(ctx) })
		s.background.Go(func() { s.listen(ctx) })
		s.background.Go(func() {
			s.n.tellAddrs(ctx, s.hub, s.ep, s.envelope(session.Addrs), s.st.Session.Scope(), s.reach.dial.Peer(), s.moved)
		})
	}
	s.direct = true
	s.background.Go(func() { s.watchPath(ctx) })
	return nil
}

// joinDesk has the receiver's desk hold the session too, and then packs go there first.
func (s *sending) joinDesk(ctx context.Context) {
	var offer remote.Offer
	if err := s.t.j.GetSecretJSON(keyOffer, &offer); err != nil {
		return
	}
	offer.Ticket = nil
	for {
		_, err := s.reach.ctl.Hello(ctx)
		if err == nil {
			_, err = s.reach.ctl.Open(ctx, offer)
		}
		if err == nil {
			break
		}
		s.n.cfg.Log.Info("the other device does not take packs", "status", wire.StatusOf(err).String())
		if !pause(ctx, deskPause) {
			return
		}
	}
	if root := s.told.Load(); root != nil {
		if err := s.reach.ctl.Commit(ctx, offer.Session, root); err != nil {
			s.n.cfg.Log.Info("the other device does not take the root", "status", wire.StatusOf(err).String())
		}
	}
	s.hub.add(asked{s.reach.ctl})
	s.routes.Prefer(s.reach.route(offer.Session, s.n.cfg.Streams))
}

// deskPause is between two attempts at a desk that refuses: it may not have admitted this device yet.
const deskPause = 500 * time.Millisecond

// watchPath tries resting routes again when the way to the receiver has changed.
func (s *sending) watchPath(ctx context.Context) {
	x, routes := s.reach, s.routes
	for {
		select {
		case <-x.dial.Changed():
			x.data.Kick()
			x.ctl.Kick()
			routes.Kick()
		case <-ctx.Done():
			return
		}
	}
}

// moved is called when this device's network has changed.
func (s *sending) moved() {
	s.reach.dial.Kick()
	s.routes.Kick()
}

// listen reads where the receiver is, until ctx or the session ends. All else stays for await.
func (s *sending) listen(ctx context.Context) {
	sid := s.result.Session
	x, box, peer := s.reach, s.hub.inbox(sid.Scope()), s.reach.dial.Peer()
	for {
		ms, _, err := box.fetch(ctx, fetchWait)
		if hasEnded(err) || err != nil && !pause(ctx, retryPause) {
			return
		}
		for i := range ms {
			purpose, payload, err := session.OpenEnvelope(s.keys, sid, ms[i].From, s.id.device.Peer(), ms[i].Body)
			if err != nil || purpose != session.Addrs || ms[i].From != peer {
				continue
			}
			if addrs, ok := parseAddrs(payload); ok {
				x.hint(addrs)
			}
		}
	}
}

// envelope seals payloads to the receiver.
func (s *sending) envelope(p session.Purpose) func([]byte) ([]byte, error) {
	sid, to := s.st.Session, s.st.Peer
	return func(payload []byte) ([]byte, error) {
		return session.SealEnvelope(s.keys, sid, s.id.device.Peer(), to, p, payload)
	}
}

// streams is how many packs are put at once: enough for two routes if there may be two, and two that wait, so that it shows when
// neither takes more.
func (s *sending) streams() int {
	if s.routes == nil {
		return s.n.cfg.Streams
	}
	return 2*s.n.cfg.Streams + 2
}

func (s *sending) routeInUse() string {
	if s.routes == nil {
		return s.storeName()
	}
	return s.routes.InUse()
}

func (s *sending) storeName() string {
	if s.throughFolder() {
		return "folder"
	}
	return "stored"
}
