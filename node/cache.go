package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// A cache takes packs and roots in the server's place and brings them there (SPEC 7.9). The sender gives it nothing but
// what is sealed, and believes it only as far as the server confirms: while packs are noted as KeptCached the sender, if it is there,
// looks whether the server has them, and sends again what neither has.

const (
	// cacheContact is how long a cache is looked for before the transfer goes on without it.
	cacheContact = 5 * time.Second
	// cachePatience is how long one that answered before is asked again.
	cachePatience = 20 * time.Second
	// cacheLook is between two looks whether the server has got what the cache has.
	cacheLook = 30 * time.Second
	// cacheIdle is how long a sender that is there waits for a cache that brings nothing.
	cacheIdle = 10 * time.Minute
)

// cacheOfSender is the cache as its sender sees it.
type cacheOfSender struct {
	at     id.Server
	remote *remote.Remote

	looked time.Time // at the server, for what it has got
	blobs  uint64    // that it had then
	moved  time.Time // when that was last more than before
}

// dialCache prepares the way to a cache. It does no I/O.
func (n *Node) dialCache(who *identity, at id.Server) (*remote.Remote, error) {
	carrier := link.Auto
	switch n.cfg.Carrier {
	case CarrierFast:
		carrier = link.Fast
	case CarrierLibp2p:
		carrier = link.Libp2p
	}
	return remote.New(remote.Config{Device: who.device, Server: at, Carrier: carrier, Conns: n.cfg.Streams + 4, FirstContact: cacheContact,
		MaxElapsed: cachePatience, Stall: dataStall})
}

// cacheAt is where this transfer's cache is: where packs of it are, or else what is configured.
func (s *sending) cacheAt() (id.Server, error) {
	if s.st.Cache != "" {
		return id.ParseServer(s.st.Cache)
	}
	return s.n.cfg.Cache, nil
}

// joinCache has the cache hold the session too, if there is one. Without it the transfer goes on.
func (s *sending) joinCache(ctx context.Context) error {
	at, err := s.cacheAt()
	if err != nil || at.IsZero() || s.cache != nil || s.cacheGone || s.remote == nil || s.throughFolder() || s.st.Home == homeDirect || s.st.State == session.New {
		return err
	}
	r, err := s.n.dialCache(s.id, at)
	if err != nil {
		return err
	}
	if err := s.openAtCache(ctx, r, at); err != nil {
		r.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.cacheGone = true
		s.n.cfg.Log.Info("no cache", "err", err)
		s.n.notice(cacheTrouble(err), at.HostPort())
		return nil
	}
	s.cache = &cacheOfSender{at: at, remote: r, moved: time.Now()}
	if s.st.Cache == at.String() {
		return nil
	}
	s.st.Cache = at.String()
	return s.t.save(&s.st)
}

// errNoCache says that whoever answers there is a server.
var errNoCache = errors.New("this is no cache")

func cacheTrouble(err error) string {
	switch wire.StatusOf(err) {
	case wire.Forbidden:
		return "cache-refused"
	case wire.NoSpace, wire.QuotaSpace, wire.QuotaCount:
		return "cache-full"
	}
	if errors.Is(err, errNoCache) {
		return "no-cache"
	}
	return "cache-unreachable"
}

func (s *sending) openAtCache(ctx context.Context, r *remote.Remote, at id.Server) error {
	hello, err := r.Hello(ctx)
	if err != nil {
		return err
	}
	if !hello.Cache {
		return errNoCache
	}
	var offer remote.Offer
	if err := s.t.j.GetSecretJSON(keyOffer, &offer); err != nil {
		return err
	}
	offer.Permit = key.SignPermit(s.id.device, key.Permit{Session: s.st.Session, Cache: at.Peer, Server: s.server.Peer, NotAfter: s.st.Expires})
	if _, err := r.Open(ctx, offer); err != nil {
		return err
	}
	if s.st.Pinned {
		return s.pinAt(ctx, r)
	}
	return nil
}

// pinAt tells a cache who may read.
func (s *sending) pinAt(ctx context.Context, r *remote.Remote) error {
	p := grant.SignPin(s.id.device, grant.Pin{Session: s.st.Session, Receiver: s.st.Peer, ReceiverCard: key.HashCard(s.st.PeerCard), Incarnation: s.incarnation})
	return r.Pin(ctx, s.st.Session, s.st.Peer, p)
}

// introduce tells cache and receiver of each other, once both are known. What fails costs the receiver the cache, and no more.
func (s *sending) introduce(ctx context.Context) {
	if s.cache == nil || s.introduced || !s.st.Pinned {
		return
	}
	s.introduced = true
	r, at := s.cache.remote, s.cache.at.String()
	seal, scope, to := s.envelope(session.Cache), s.st.Session.Scope(), s.st.Peer
	s.background.Go(func() {
		err := s.pinAt(ctx, r)
		if err == nil {
			var body []byte
			if body, err = seal([]byte(at)); err == nil {
				err = s.hub.post(ctx, scope, to, body, grace)
			}
		}
		if err != nil {
			s.n.cfg.Log.Info("cache not told", "err", err)
		}
	})
}

// cacheRoute is the way for packs into the cache. Both it and the receiver may be in one network with this device,
// and what goes to the server meanwhile only takes from the link that the cache needs.
func (s *sending) cacheRoute() *transfer.Route {
	blobs := s.cache.remote.Session(s.st.Session)
	return &transfer.Route{Name: func() string { return "cache" }, Kept: transfer.KeptCached, Slots: s.n.cfg.Streams, Near: func() bool { return true },
		Put: func(ctx context.Context, name id.Blob, _, blob []byte) error { return blobs.Put(ctx, name, blob) }}
}

// tellRoot commits a root where the packs that it names are: if some went to a cache it is the cache that brings it to the server,
// behind them.
func (s *sending) tellRoot(ctx context.Context, root *remote.Root) error {
	if s.throughFolder() || s.up == nil || !s.up.Cached() { // a root that an earlier run sealed may be told before anything is put
		return s.hub.commit(ctx, s.st.Session, root)
	}
	if s.cache == nil {
		return errCacheLost
	}
	if err := s.cache.remote.Commit(ctx, s.st.Session, root); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.n.cfg.Log.Warn("the cache takes no root", "err", err)
		s.leaveCache()
		return errCacheLost
	}
	homes, _ := s.hub.all()
	for _, desk := range homes[1:] {
		s.background.Go(func() { _ = desk.Commit(ctx, s.st.Session, root) }) // it hears of the root from the server too
	}
	return nil
}

// errCacheLost says that packs went to a cache that is not there any more: account finds out which must be sent again.
var errCacheLost = errors.New("the cache is gone")

// leaveCache goes on without the cache, for the rest of this run.
func (s *sending) leaveCache() {
	s.cacheGone = true
	if s.cache != nil {
		s.n.notice("cache-unreachable", s.cache.at.HostPort())
		s.cache.remote.Close()
		s.cache = nil
	}
	if s.noCacheRoute != nil {
		s.noCacheRoute()
		s.noCacheRoute = nil
	}
}

// account finds out what has become of the packs that went to the cache: those at the server are noted as stored there, those that
// neither has are to be sent again. trusted says that what the cache claims to have counts.
func (s *sending) account(ctx context.Context, trusted bool) (again bool, err error) {
	packs, err := transfer.InCache(s.t.j)
	if err != nil || len(packs) == 0 {
		return false, err
	}
	if packs, err = transfer.Landed(ctx, s.t.j, s.hub.home().Session(s.st.Session), packs); err != nil || len(packs) == 0 {
		return false, err
	}
	if trusted && s.cache != nil {
		lost, err := transfer.Lacking(ctx, s.cache.remote.Session(s.st.Session), packs)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err == nil && len(lost) == 0 {
			return false, nil
		}
		if err == nil {
			packs = lost
		} else {
			s.leaveCache()
		}
	}
	return true, s.sendAgain(packs)
}

// sendAgain takes packs out of the journal that are nowhere any more. An epoch whose root exists was perhaps told to somebody: it counts as
// committed, and the next one replaces it.
func (s *sending) sendAgain(packs []transfer.Cached) error {
	if !s.st.Committed {
		var kept keptRoot
		err := s.t.j.GetJSON(rootKey(s.st.Epoch), &kept)
		if err == nil {
			s.st.Commit, s.st.Committed, s.st.Final = kept.Commit, true, kept.Final
			err = s.t.save(&s.st)
		} else if errors.Is(err, journal.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	last := s.st.Epoch
	if !s.st.Committed && last > 0 {
		last--
	}
	n, err := transfer.LostInCache(s.t.j, last, packs)
	if err != nil {
		return err
	}
	kill.Point(kill.SenderCacheLost)
	s.n.notice("cache-lost", fmt.Sprint(n))
	return nil
}

// rejoin takes up what an earlier run gave to a cache, before anything is scanned. What is lost the scan finds wanting.
func (s *sending) rejoin(ctx context.Context) error {
	if s.st.Cache == "" || s.remote == nil || s.throughFolder() || s.st.State == session.New {
		return nil
	}
	packs, err := transfer.InCache(s.t.j)
	if err != nil || len(packs) == 0 {
		return err
	}
	hello, err := s.remote.Hello(ctx)
	if err != nil {
		if errors.Is(err, remote.ErrUnreachable) && s.mayGoWithout() {
			return nil
		}
		return err
	}
	s.incarnation = hello.Incarnation
	if err := s.joinCache(ctx); err != nil {
		return err
	}
	_, err = s.account(ctx, true)
	return err
}

// minded looks, while this device waits for the receipt, whether the server gets what the cache has. The error is errAgain if some of it
// must be sent again.
func (s *sending) minded(ctx context.Context) error {
	if s.st.Cache == "" || s.remote == nil || s.throughFolder() || s.cache != nil && time.Since(s.cache.looked) < cacheLook {
		return nil
	}
	packs, err := transfer.InCache(s.t.j)
	if err != nil || len(packs) == 0 {
		return err
	}
	st, err := s.remote.Status(ctx, s.st.Session)
	if err != nil {
		return nil // the next look, or the mailbox, says what there is to be said
	}
	there := st.Committed && st.Epoch >= s.st.Epoch
	if c := s.cache; c != nil {
		if c.looked = time.Now(); st.Blobs > c.blobs {
			c.blobs, c.moved = st.Blobs, c.looked
		}
		if !there && time.Since(c.moved) < cacheIdle {
			if _, err = c.remote.Status(ctx, s.st.Session); err == nil {
				return nil // it is at it
			}
		}
	}
	again, err := s.account(ctx, s.cache != nil && !there && time.Since(s.cache.moved) < cacheIdle)
	if err != nil {
		return err
	}
	if again {
		s.leaveCache()
		return errAgain
	}
	if there {
		s.n.notice("cache-brought", "")
	}
	return nil
}

// unsettled reports whether some packs are, as far as this device knows, in the cache only.
func (s *sending) unsettled() bool {
	packs, err := transfer.InCache(s.t.j)
	return err == nil && slices.ContainsFunc(packs, func(p transfer.Cached) bool { return !p.Ref.Padding })
}
