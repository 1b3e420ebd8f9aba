package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/apply"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// Limits and defaults of a sending.
const (
	defaultExpiry = 14 * 24 * time.Hour
	maxExpiry     = 30 * 24 * time.Hour
	smallLimit    = 16 << 20 // bytes below which a collection goes in packs of class S
	smallItems    = 20_000   // and items: their pages must fit small packs too
	announceEvery = 16       // packs
	announceApart = 2 * time.Second
)

// sending is one call of Send.
type sending struct {
	n        *Node
	t        *transferDir
	opts     SendOptions
	meta     meta
	secrets  secrets
	st       state
	id       *identity
	server   id.Server
	remote   *remote.Remote          // nil without a server
	hub      *hub                    // nil before it is known who holds the session
	ep       *link.Endpoint          // nil before the direct route is wanted
	reach    *reach                  // nil before the receiver is known
	cache    *cacheOfSender          // nil without one
	expected atomic.Pointer[id.Peer] // whose connections ep takes
	routes   *transfer.Routes        // nil: stored alone
	told     atomic.Pointer[remote.Root]
	keys     *seal.Keys
	scanned  *transfer.Scanned
	up       *transfer.Uploader
	pending  []manifest.PackRef // durable, not yet announced
	muted    time.Time          // no announcements before
	last     time.Time          // of the announcements
	posts    int                // how many there were
	losses   atomic.Int64       // in this run, beyond those of the scan

	through      string // a folder that completes what was begun elsewhere
	cacheGone    bool   // a cache was looked for, and is not to be in this run
	noCacheRoute func() // takes the cache out of routes
	introduced   bool   // cache and receiver have been told of each other

	direct     bool           // the direct route is being looked for, or in use
	background sync.WaitGroup // what serves it
	result     SendResult

	incarnation [16]byte // of the server
}

// Send sends a collection, or goes on sending it: every step is taken from where the
// journal says the last run stopped. It returns when the other device's receipt is
// here, or, with Ticket or NoWait, when everything is stored.
func (n *Node) Send(ctx context.Context, opts SendOptions) (*SendResult, error) {
	opts.Ticket = opts.Ticket || opts.Folder != ""
	res, err := n.send(ctx, opts)
	if errors.Is(err, errReceived) {
		opts.New = true
		res, err = n.send(ctx, opts)
	}
	return res, err
}

// errReceived ends a transfer that the other device has applied, if the collection has
// changed since: that can only go in a new one.
var errReceived = errors.New("the other device has what was sent before")

func (n *Node) send(ctx context.Context, opts SendOptions) (*SendResult, error) {
	s := &sending{n: n, opts: opts}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	defer s.t.close()
	ctx, cancel, err := n.pausable(ctx, s.t)
	if err != nil {
		return nil, err
	}
	defer cancel()
	err = s.run(ctx)
	if s.completes() {
		err = explainFolder(err)
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrPaused) {
		s.st.Paused = true
		return nil, errors.Join(ErrPaused, s.t.save(&s.st))
	}
	return &s.result, s.t.ended(&s.st, n.explain(err))
}

// open finds the transfer to go on with, or begins one.
func (s *sending) open(ctx context.Context) (err error) {
	if s.opts.Session.IsZero() && !s.opts.New {
		if err := s.find(ctx); err != nil || s.t != nil {
			return err
		}
	}
	if !s.opts.Session.IsZero() {
		if s.t, err = s.n.openSession(roleSender, s.opts.Session); err != nil {
			return err
		}
		if err := s.load(); err != nil {
			return err
		}
		return s.mayComplete()
	}
	return s.begin()
}

// find looks for a transfer of the same paths that is not over.
func (s *sending) find(ctx context.Context) error {
	want, err := absolute(s.opts.Paths)
	if err != nil {
		return err
	}
	sources, err := absolutePlaces(s.opts.Sources)
	if err != nil {
		return err
	}
	through, err := folderPath(s.opts.Folder)
	if err != nil {
		return err
	}
	s.t, err = s.n.unfinished(ctx, roleSender, func(m *meta, st *state) bool {
		here := m.Ticket == s.opts.Ticket && m.Folder == through
		return !st.State.Finished() && len(st.Receipt) == 0 && (here || completable(m, st, through)) && slices.Equal(m.Paths, want) && slices.Equal(m.Sources, sources) && m.Placeless == s.opts.Placeless
	}, func(st *TransferStatus) bool {
		return slices.Equal(st.Paths, want) && slices.Equal(st.Sources, sources)
	})
	if err != nil || s.t == nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	return s.mayComplete()
}

func absolute(paths []string) ([]string, error) {
	out := make([]string, len(paths))
	for i, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		out[i] = abs
	}
	return out, nil
}

// load reads what an earlier run left.
func (s *sending) load() (err error) {
	defer func() {
		if err != nil {
			s.t.close()
		}
	}()
	if s.meta, s.st, s.secrets, err = s.t.recall(); err != nil {
		return err
	}
	return s.derive()
}

func (s *sending) derive() (err error) {
	if s.id, err = s.secrets.identity(s.meta.Card); err != nil {
		return err
	}
	if s.server, err = parseServer(s.meta.Server); err != nil {
		return err
	}
	mk, err := seal.MasterKeyFromBytes(s.secrets.Master)
	if err != nil {
		return err
	}
	if s.keys, err = seal.Schedule(mk, s.st.Session, s.id.cardHash); err != nil {
		return err
	}
	if !s.st.Committed {
		return nil
	}
	var kept keptRoot
	if err := s.t.j.GetJSON(rootKey(s.st.Epoch), &kept); err != nil {
		return err
	}
	s.told.Store(kept.root())
	return nil
}

// begin makes a new transfer: keys and options are durable before anything else happens.
func (s *sending) begin() error {
	if len(s.opts.Paths)+len(s.opts.Sources) == 0 {
		return ErrNothingToSend
	}
	sources, err := absolutePlaces(s.opts.Sources)
	if err != nil {
		return err
	}
	server := s.n.cfg.Server
	if s.n.cfg.Route == RouteDirect || s.opts.Folder != "" {
		server = id.Server{}
	}
	if server.IsZero() && s.opts.Folder == "" && (s.opts.Ticket || s.n.cfg.Route == RouteStored) {
		return errors.New("node: no server is set")
	}
	folder, err := folderPath(s.opts.Folder)
	if err != nil {
		return err
	}
	paths, err := absolute(s.opts.Paths)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return err
		}
	}
	expiry := s.opts.Expiry
	if expiry == 0 {
		expiry = defaultExpiry
	}
	if expiry < 0 || expiry > maxExpiry {
		return fmt.Errorf("node: expiry must be at most %d days", maxExpiry/(24*time.Hour))
	}
	secrets, card, err := s.n.newIdentity(key.Sender)
	if err != nil {
		return err
	}
	secrets.Master = seal.NewMasterKey().Bytes()
	if s.opts.Ticket {
		share := pairing.NewShare()
		secrets.Ticket, secrets.Share = pairing.NewTicket().Bytes(), share[:]
	}
	s.secrets = *secrets
	s.meta = meta{Version: metaVersion, Role: roleSender, Created: s.n.cfg.Now(), Card: card,
		Paths: paths, Sources: sources, Ticket: s.opts.Ticket, Expiry: expiry, Folder: folder, Placeless: s.opts.Placeless}
	if !server.IsZero() {
		s.meta.Server = server.String()
	}
	s.st = state{State: session.New, Session: id.NewSession(), Open: id.NewRequest()}
	if s.t, err = s.n.open(s.n.dirOf(roleSender, s.st.Session[:])); err != nil {
		return err
	}
	err = s.t.j.Batch().PutJSON(keyMeta, &s.meta).PutSecretJSON(keySecrets, &s.secrets).PutJSON(keyState, &s.st).Commit()
	if err == nil {
		err = s.derive()
	}
	if err != nil {
		s.t.close()
		return err
	}
	kill.Point(kill.SenderSession)
	return nil
}

func (s *sending) run(ctx context.Context) error {
	s.result.Session = s.st.Session
	s.n.event(item.Event{Type: "session", Session: &item.SessionNotice{ID: s.st.Session.String()}})
	if err := s.t.unpause(s.n, &s.st); err != nil {
		return err
	}
	if s.st.State.Finished() {
		return s.over()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.disconnect()
	defer s.background.Wait()
	defer cancel()
	if err := s.connect(ctx); err != nil {
		return err
	}
	s.result.Folder, s.result.Delivered = s.throughFolder(), s.st.Home == homeDirect
	received, err := s.received(ctx)
	if err != nil {
		return err
	}
	if !received {
		if err := s.rejoin(ctx); err != nil {
			return err
		}
	}
	if received && !s.opts.Session.IsZero() {
		return s.finish(ctx)
	}
	roots, err := s.gather(ctx)
	if err != nil {
		return err
	}
	src, err := s.source(roots)
	if err != nil {
		return err
	}
	defer src.Close()
	if received {
		return s.afterReceipt(ctx, src)
	}
	for {
		if err := s.send(ctx, src); err != nil {
			return err
		}
		if s.meta.Ticket || s.opts.NoWait || s.completes() {
			return s.countElsewhere()
		}
		if err := s.await(ctx); !errors.Is(err, errAgain) {
			return err
		}
	}
}

// send scans and uploads. An epoch that an earlier run began is finished with what that
// run had found; then another scan looks for what has come since, and makes it another epoch.
func (s *sending) send(ctx context.Context, src source.Source) error {
	if err := s.takeOut(ctx); err != nil {
		return err
	}
	for sent := false; ; sent = true {
		more, err := s.scan(ctx, src, sent)
		if err != nil {
			return err
		}
		if err := s.openSession(ctx); err != nil {
			return err
		}
		if !more {
			if s.meta.Ticket && !sent {
				return s.pair(ctx) // shows the ticket again
			}
			return nil
		}
		if err := s.pair(ctx); err != nil {
			return err
		}
		if err := s.joinCache(ctx); err != nil {
			return err
		}
		err = s.upload(ctx, src)
		if errors.Is(err, errCacheLost) {
			_, err = s.account(ctx, false)
			if err == nil {
				continue
			}
		}
		if err != nil || !s.scanned.Earlier {
			return err
		}
	}
}

// received looks whether the receipt for what was committed last is here, or at the
// server: then nothing may be added to this transfer, because nobody would fetch it.
func (s *sending) received(ctx context.Context) (bool, error) {
	if len(s.st.Receipt) == 0 && s.st.State == session.Stored && (s.st.Home != homeDirect || s.completes()) {
		s.n.stage(item.StageConnecting)
		box, err := s.hub.inbox(s.st.Session.Scope()), errAgain
		for errors.Is(err, errAgain) { // the receipt may be behind it, or elsewhere
			err = s.fetchReceipt(ctx, box, 0)
		}
		if err != nil && !(s.completes() && wire.StatusOf(err) == wire.NotFound) { // the folder has not seen the session yet
			return false, err
		}
	}
	return len(s.st.Receipt) > 0, nil
}

// afterReceipt finishes, and says with errReceived if something has changed since.
func (s *sending) afterReceipt(ctx context.Context, src source.Source) error {
	s.n.stage(item.StageScanning)
	res, err := transfer.Scan(ctx, src, s.t.j, s.st.Epoch+1, s.n.loss)
	if err != nil {
		return err
	}
	s.result.Unchanged, s.result.Epoch = !res.Changed, s.st.Epoch
	s.fill(res)
	if err := s.finish(ctx); err != nil || !res.Changed {
		return err
	}
	return errReceived
}

// over reports on a transfer that is finished already.
func (s *sending) over() error {
	if s.st.State == session.Over {
		return ErrSessionOver
	}
	s.n.notice("already-sent", "")
	return s.showReceipt()
}

// scan finds what there is to send. The epoch that is worked at is the one that is not
// yet committed; if the last one is, another scan tells whether anything has changed since.
func (s *sending) scan(ctx context.Context, src source.Source, sent bool) (more bool, err error) {
	s.n.stage(item.StageScanning)
	epoch := max(s.st.Epoch, 1)
	again := s.st.Committed && s.st.Epoch >= 1
	if again {
		epoch++
	}
	scan := transfer.Scan
	if there, err := s.manifestThere(ctx); err != nil {
		return false, err
	} else if again && !there {
		scan = transfer.Rescan
	}
	res, err := scan(ctx, src, s.t.j, epoch, s.n.loss)
	if err != nil {
		return false, err
	}
	if again && !res.Changed {
		if !sent {
			s.n.notice("already-sent", "")
			s.result.Unchanged, s.result.Epoch = true, s.st.Epoch
			s.fill(res)
		}
		return false, nil
	}
	if res.Total.Items == 0 {
		return false, ErrNothingToSend
	}
	if again {
		s.st.Epoch, s.st.Committed = epoch, false
		if err := s.t.move(&s.st, session.Changed); err != nil {
			return false, err
		}
	}
	s.scanned = res
	s.fill(res)
	return true, nil
}

func (s *sending) fill(res *transfer.Scanned) {
	s.result.Sent = res.Kinds
	s.result.Losses = res.Losses
}

// lost is told of what could not be read, from any goroutine.
func (s *sending) lost(l item.Loss) {
	if l.Reason.LeftBehind() {
		s.losses.Add(1)
	}
	s.n.loss(l)
}

// packsFor reckons how many blobs a collection takes at most.
func packsFor(res *transfer.Scanned, class wire.Class) uint64 {
	plain := int64(pack.PlainSize(class))
	need := (res.ToRead.Bytes+res.Total.Items*64)/(plain*9/10) + 8
	return pack.Padme(uint64(need + need/8))
}

// openSession makes the session known to the server.
func (s *sending) openSession(ctx context.Context) error {
	if s.hub == nil {
		return nil // who holds it shows when the code is there
	}
	s.n.stage(item.StageConnecting)
	home := s.hub.home()
	if s.completes() {
		return s.openInFolder(ctx, home)
	}
	hello, err := home.Hello(ctx)
	if errors.Is(err, remote.ErrUnreachable) && s.mayGoWithout() {
		s.n.notice("server-unreachable", "")
		return nil
	}
	if err != nil {
		return err
	}
	s.incarnation = hello.Incarnation
	if s.st.State != session.New && s.st.OpenedAt == s.homeName() {
		return s.afterRestore(ctx)
	}
	// The offer must be the same if it has to be repeated after a crash.
	var offer remote.Offer
	err = s.t.j.GetSecretJSON(keyOffer, &offer)
	if errors.Is(err, journal.ErrNotFound) {
		if offer, err = s.offer(hello); err == nil {
			err = s.t.j.Batch().PutSecretJSON(keyOffer, &offer).Commit()
		}
	}
	if err != nil {
		return err
	}
	s.st.Class = uint8(offer.Class)
	expires, err := home.Open(ctx, offer)
	if err != nil {
		return err
	}
	s.st.Expires, s.st.Server, s.st.OpenedAt = expires, hello.Incarnation, s.homeName()
	s.st.Items = s.scanned.Total
	if s.st.State != session.New { // it was opened elsewhere before the code told who holds it
		return s.t.save(&s.st)
	}
	if err := s.t.move(&s.st, session.Opened); err != nil {
		return err
	}
	kill.Point(kill.SenderOpened)
	return nil
}

// afterRestore brings a server that was restored from a backup to where this device knows
// that it was: root and pin are told again. Packs that it has lost end the session, since the
// other device could never complete it; the next run begins another.
func (s *sending) afterRestore(ctx context.Context) error {
	if s.st.Server == s.incarnation || s.st.Home == homeDirect { // a desk asks for what it has lost
		return nil
	}
	lost, err := transfer.Lost(ctx, s.t.j, s.hub.home().Session(s.st.Session))
	if err != nil {
		return err
	}
	if lost > 0 {
		return fmt.Errorf("%w: the server was restored from a backup and has lost %d packs", ErrSessionOver, lost)
	}
	if s.st.Committed {
		var kept keptRoot
		if err := s.t.j.GetJSON(rootKey(s.st.Epoch), &kept); err != nil {
			return err
		}
		if err := s.hub.home().Commit(ctx, s.st.Session, kept.root()); err != nil {
			return err
		}
	}
	if s.st.Pinned {
		s.st.Pinned = false
		if err := s.pin(ctx); err != nil {
			return err
		}
	}
	s.st.Server = s.incarnation
	return s.t.save(&s.st)
}

var keyOffer = []byte("m/offer")

// offer says what the session will need.
func (s *sending) offer(hello *remote.Hello) (offer remote.Offer, err error) {
	class := wire.ClassL
	if s.scanned.Total.Bytes < smallLimit && s.scanned.Total.Items < smallItems {
		class = wire.ClassS
	}
	size := uint64(class.BlobSize())
	blobs := packsFor(s.scanned, class)
	if room := blobs * size; room > hello.MaxSessionBytes || room > hello.FreeBytes {
		return offer, ErrServerFull
	}
	most := min(hello.MaxSessionBytes, hello.FreeBytes) / size
	offer = remote.Offer{Request: s.st.Open, Session: s.st.Session, Class: class, Blobs: min(blobs+blobs/2+64, most), Expiry: s.meta.Expiry}
	if s.meta.Ticket {
		offer.Ticket, err = s.ticketOffer(hello)
	}
	return offer, err
}

// ticketOffer makes what the server keeps for whoever has the ticket.
func (s *sending) ticketOffer(hello *remote.Hello) (*remote.Ticket, error) {
	t, err := pairing.TicketFromBytes(s.secrets.Ticket)
	if err != nil {
		return nil, err
	}
	k, err := t.Key(s.secrets.Share)
	if err != nil {
		return nil, err
	}
	mk, err := seal.MasterKeyFromBytes(s.secrets.Master)
	if err != nil {
		return nil, err
	}
	notAfter := s.n.cfg.Now().Add(min(s.meta.Expiry, hello.MaxExpiry)).UTC().Truncate(time.Second)
	g := &grant.Grant{MK: mk, Session: s.st.Session, SenderCard: s.id.cardHash, NotAfter: notAfter}
	sealed, err := grant.SealTicket(g, s.id.device, s.meta.Card, k)
	if err != nil {
		return nil, err
	}
	return &remote.Ticket{Locator: t.Locator(), ClaimKey: t.ClaimPublic(), Share: [32]byte(s.secrets.Share), Grant: sealed}, nil
}

// pair gives the keys away: by a code, once; by a ticket, whenever it is asked for.
func (s *sending) pair(ctx context.Context) error {
	if s.meta.Ticket {
		if s.opts.ShowTicket != nil {
			t, err := pairing.TicketFromBytes(s.secrets.Ticket)
			if err != nil {
				return err
			}
			uri := "" // a folder has none
			if !s.throughFolder() {
				uri = t.URI(s.server)
			}
			s.opts.ShowTicket(t.Words(), uri)
		}
		return nil
	}
	if s.st.Granted {
		return nil
	}
	return s.pairOld(ctx)
}

// pin confirms the receiver to the server and, signed, to the receiver.
func (s *sending) pin(ctx context.Context) error {
	if s.st.Pinned || s.st.Peer.IsZero() {
		return nil
	}
	p := grant.SignPin(s.id.device, grant.Pin{Session: s.st.Session, Receiver: s.st.Peer, ReceiverCard: key.HashCard(s.st.PeerCard), Incarnation: s.incarnation})
	if err := s.hub.home().Pin(ctx, s.st.Session, s.st.Peer, p); err != nil {
		return err
	}
	kill.Point(kill.SenderPinned)
	s.st.Pinned = true
	s.introduce(ctx)
	s.n.event(item.Event{Type: "session", Session: &item.SessionNotice{ID: s.st.Session.String(), Peer: s.st.Peer.Short()}})
	if s.st.State == session.Open {
		return s.t.move(&s.st, session.Granted)
	}
	return s.t.save(&s.st)
}

// upload puts what the epoch wants: the catalog, the content, the manifest.
func (s *sending) upload(ctx context.Context, src source.Source) (err error) {
	epoch := max(s.st.Epoch, 1)
	if err := s.goDirect(ctx); err != nil {
		return err
	}
	s.introduce(ctx)
	m := &meter{n: s.n, t: s.t, stage: item.StageSending, total: s.scanned.ToRead, route: s.routeInUse}
	s.up, err = transfer.NewUploader(transfer.UploadConfig{Source: src, Journal: s.t.j, Store: s.hub.home().Session(s.st.Session), Keys: s.keys,
		Session: s.st.Session, Class: wire.Class(s.st.Class), Workers: s.n.cfg.Workers, Streams: s.streams(), Routes: s.routes, Keeps: s.keeps(),
		Durable: s.announce, Progress: func(items, bytes, wire, _ int64) { m.report(items, bytes, wire) }, Loss: s.lost})
	if err != nil {
		return err
	}
	defer func() {
		s.result.WireBytes, s.result.Read, s.result.Packs = s.up.WireBytes(), s.up.BytesRead(), s.up.Packs()
		s.result.Delivered = s.result.Delivered || s.up.Delivered()
		s.result.Cached = s.unsettled()
	}()
	if !s.st.Committed && s.st.Epoch == 0 {
		if err := s.commit(ctx, 0, false); err != nil {
			return err
		}
	}
	s.n.stage(item.StageSending)
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	if s.st.Epoch < epoch {
		s.st.Epoch, s.st.Committed = epoch, false
		if err := s.t.save(&s.st); err != nil {
			return err
		}
	}
	if err := s.up.Content(ctx, epoch); err != nil {
		return err
	}
	if err := s.flushAnnouncements(ctx); err != nil {
		return err
	}
	if err := s.commit(ctx, epoch, true); err != nil {
		return err
	}
	s.result.Epoch, s.result.Losses = epoch, s.scanned.Losses+s.losses.Load()
	return nil
}

// keptRoot is a sealed root in the journal: what was sealed is what is committed, also after a crash.
type keptRoot struct {
	Epoch     uint64    `json:"epoch"`
	Final     bool      `json:"final"`
	Commit    id.Commit `json:"commit"`
	Sealed    []byte    `json:"sealed"`
	Signature []byte    `json:"signature"`
	Before    id.Commit `json:"before"`
}

func (k *keptRoot) root() *remote.Root {
	return &remote.Root{Epoch: k.Epoch, Final: k.Final, Sealed: k.Sealed, Signature: k.Signature, Before: k.Before}
}

func rootKey(epoch uint64) []byte { return fmt.Appendf(nil, "m/root/%d", epoch) }

// commit makes an epoch's manifest durable, then its root, then the fact.
func (s *sending) commit(ctx context.Context, epoch uint64, final bool) error {
	var kept keptRoot
	err := s.t.j.GetJSON(rootKey(epoch), &kept)
	if errors.Is(err, journal.ErrNotFound) {
		err = s.sealRoot(ctx, epoch, final, &kept)
	}
	if err != nil {
		return err
	}
	if err := s.tellRoot(ctx, kept.root()); err != nil && !errors.Is(err, errElsewhere) { // then another epoch follows
		return err
	}
	s.told.Store(kept.root())
	if epoch == 0 {
		kill.Point(kill.SenderCatalog)
	} else {
		kill.Point(kill.SenderCommitted)
	}
	s.st.Epoch, s.st.Commit, s.st.Committed, s.st.Final = epoch, kept.Commit, true, final
	event := session.Cataloged
	if final {
		event = session.Committed
	}
	if err := s.t.move(&s.st, event); err != nil {
		return err
	}
	if final {
		kill.Point(kill.SenderSent)
	}
	return nil
}

func (s *sending) sealRoot(ctx context.Context, epoch uint64, final bool, kept *keptRoot) error {
	root, err := s.up.Manifest(ctx, epoch, final, s.st.Commit)
	if err != nil {
		return err
	}
	kill.Point(kill.SenderPages)
	sealed, commit, err := manifest.SealRoot(s.keys, root)
	if err != nil {
		return err
	}
	*kept = keptRoot{Epoch: epoch, Final: final, Commit: commit, Sealed: sealed, Signature: manifest.SignCommit(s.id.device, commit), Before: root.Prev}
	if err := s.t.j.Batch().PutJSON(rootKey(epoch), kept).Commit(); err != nil {
		return err
	}
	kill.Point(kill.SenderRoot)
	return nil
}

// announce is called for each durable pack: a receiver that is there already need not
// wait for the manifest. Announcements leave every announceEvery packs or announceApart, whatever is in them.
func (s *sending) announce(ctx context.Context, ref manifest.PackRef) error {
	s.pending = append(s.pending, ref)
	if len(s.pending) < announceEvery && time.Since(s.last) < announceApart*time.Duration(1+s.posts/256) { // a session has so many posts
		return nil
	}
	if s.meta.Ticket && s.st.Peer.IsZero() {
		if err := s.confirmClaim(ctx); err != nil {
			return err
		}
	}
	return s.flushAnnouncements(ctx)
}

// catchUp announces what an earlier run had put.
func (s *sending) catchUp(ctx context.Context) error {
	if s.st.Peer.IsZero() || s.completes() { // a folder's root names them
		return nil
	}
	refs, err := transfer.Refs(s.t.j)
	if err != nil {
		return err
	}
	s.pending = refs
	return s.flushAnnouncements(ctx)
}

// confirmClaim looks whether somebody has claimed the ticket while this device is
// online, tells the person, and pins the claimer: from then on announcements go there.
// Whoever claims holds the ticket, or is the server's invention; the latter reads nothing.
func (s *sending) confirmClaim(ctx context.Context) error {
	st, err := s.hub.home().Status(ctx, s.st.Session)
	if err != nil || st.Receiver.IsZero() {
		return err
	}
	card, err := key.ParseCard(st.ReceiverCard)
	if err != nil || card.Role != key.Receiver || card.Peer != st.Receiver {
		return nil
	}
	s.st.Peer, s.st.PeerCard = card.Peer, slices.Clone(st.ReceiverCard)
	s.n.notice("claimed-by", card.Peer.Short())
	if err := s.pin(ctx); err != nil {
		return err
	}
	return s.goDirect(ctx)
}

// maxAnnounced is how many references one envelope holds.
const maxAnnounced = 1000

func (s *sending) flushAnnouncements(ctx context.Context) error {
	defer func() { s.last, s.posts = time.Now(), s.posts+1 }()
	if s.st.Peer.IsZero() {
		s.pending = s.pending[:0] // nobody is there; the manifest will say it
		return nil
	}
	if s.routes != nil { // a server that is away must not hold up what goes directly; the manifest names it all
		if s.n.cfg.Now().Before(s.muted) {
			s.pending = s.pending[:0]
			return nil
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, announcePatience, errMuted)
		defer cancel()
	}
	err := s.postAnnouncements(ctx)
	if context.Cause(ctx) == errMuted {
		s.muted, err = s.n.cfg.Now().Add(15*announcePatience), nil
	}
	s.pending = s.pending[:0]
	return err
}

// Announcements beside a direct route may take so long, and are left out for a while after one took longer.
const announcePatience = 5 * time.Second

var errMuted = errors.New("no announcements for now")

func (s *sending) postAnnouncements(ctx context.Context) error {
	for part := range slices.Chunk(s.pending, maxAnnounced) {
		slices.SortFunc(part, func(a, b manifest.PackRef) int { return int(a.Index) - int(b.Index) })
		list, err := manifest.AppendPackList(nil, part)
		if err != nil {
			return err
		}
		body, err := session.SealEnvelope(s.keys, s.st.Session, s.id.device.Peer(), s.st.Peer, session.Announce, list)
		if err != nil {
			return err
		}
		err = s.hub.post(ctx, s.st.Session.Scope(), s.st.Peer, body, 0)
		if wire.StatusOf(err) == wire.QuotaCount {
			break // the receiver is away: what is in the manifest needs no announcement
		}
		if err != nil {
			return err
		}
		kill.Point(kill.SenderAnnounced)
	}
	return nil
}

// errAgain says that the receiver has lost packs: what they held is to be sent again.
var errAgain = errors.New("the other device asks for packs again")

// await waits for the receipt, confirms it and finishes the session. The error is errAgain if
// another epoch must come first.
func (s *sending) await(ctx context.Context) error {
	if len(s.st.Receipt) == 0 {
		s.n.stage(item.StageWaiting)
		box := s.hub.inbox(s.st.Session.Scope())
		for len(s.st.Receipt) == 0 {
			if err := s.minded(ctx); err != nil {
				return err
			}
			if err := s.fetchReceipt(ctx, box, fetchWait); err != nil {
				return err
			}
		}
	}
	return s.finish(ctx)
}

// fetchReceipt looks once into the mailbox; if there is a valid receipt, it is in the journal when it returns.
func (s *sending) fetchReceipt(ctx context.Context, box *inbox, wait time.Duration) error {
	ms, _, err := box.fetch(ctx, wait)
	if err != nil {
		return err
	}
	for i := range ms {
		if s.acceptReceipt(&ms[i]) {
			if err := s.t.move(&s.st, session.AllDone); err != nil {
				return err
			}
			kill.Point(kill.SenderReceipt)
			s.courtesy(ctx, box, ms[i].Sequence)
			return nil
		}
	}
	for i := range ms { // whoever asks again may have found the packs since: a receipt counts more
		if again, err := s.acceptAgain(&ms[i]); err != nil {
			return err
		} else if again {
			if err := box.ack(ctx, ms[i].Sequence); err != nil {
				return err
			}
			return errAgain
		}
	}
	return nil
}

// courtesy acknowledges a message that goes with the session anyway: whoever keeps it may be gone already.
func (s *sending) courtesy(ctx context.Context, box *inbox, sequence uint64) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_ = box.ack(ctx, sequence)
}

// acceptAgain takes packs that the receiver has lost out of the journal, so that the next
// scan finds what they held wanting. The pinned receiver can make us send again what it
// could have had before, and no more.
func (s *sending) acceptAgain(m *wire.Message) (bool, error) {
	unknown := s.meta.Ticket && s.st.Peer.IsZero() // whoever could open the grant, as with receipts
	if m.From != s.st.Peer && !unknown || !s.st.Committed || !s.st.Final {
		return false, nil
	}
	purpose, payload, err := session.OpenEnvelope(s.keys, s.st.Session, m.From, s.id.device.Peer(), m.Body)
	if err != nil || purpose != session.Again {
		return false, nil
	}
	refs, err := manifest.DecodePackList(payload)
	if err != nil {
		return false, nil
	}
	n, err := transfer.Again(s.t.j, s.st.Epoch, refs)
	if n > 0 {
		kill.Point(kill.SenderAgain)
		s.n.notice("asked-again", strconv.Itoa(n))
	}
	return n > 0, err
}

// acceptReceipt verifies a message as the receipt for a final epoch: from the pinned
// receiver, or in a ticket session from whoever could open the grant. One for an epoch before
// the last ends the transfer too, since the receiver takes nothing more, but allows nothing.
func (s *sending) acceptReceipt(m *wire.Message) bool {
	purpose, payload, err := session.OpenEnvelope(s.keys, s.st.Session, m.From, s.id.device.Peer(), m.Body)
	if err != nil || purpose != session.Receipt {
		return false
	}
	cardBytes, raw, err := session.ParseReceipt(payload)
	if err != nil {
		return false
	}
	card, err := key.ParseCard(cardBytes)
	if err != nil || card.Role != key.Receiver || card.Peer != m.From {
		return false
	}
	if (s.st.Granted || s.st.Pinned) && !bytes.Equal(cardBytes, s.st.PeerCard) {
		return false
	}
	r, err := apply.ParseReceipt(raw, card.Peer)
	if err != nil || r.Session != s.st.Session || !s.st.Committed || !s.st.Final || !s.committed(r.Epoch, r.Commit) || !s.accounted(r) {
		return false
	}
	s.st.Peer, s.st.PeerCard, s.st.Receipt = card.Peer, slices.Clone(cardBytes), slices.Clone(raw)
	return true
}

// committed reports whether this device has committed a final epoch as c.
func (s *sending) committed(epoch uint64, c id.Commit) bool {
	if epoch == s.st.Epoch {
		return c == s.st.Commit
	}
	var kept keptRoot
	err := s.t.j.GetJSON(rootKey(epoch), &kept)
	return err == nil && epoch < s.st.Epoch && kept.Final && kept.Commit == c
}

// accounted reports whether a receipt says of every item of its epoch what became of it.
func (s *sending) accounted(r *apply.Receipt) bool {
	var kept keptRoot
	if err := s.t.j.GetJSON(rootKey(r.Epoch), &kept); err != nil {
		return false
	}
	root, _, err := manifest.OpenRoot(s.keys, s.st.Session, kept.Epoch, kept.Sealed)
	if err != nil {
		return false
	}
	left := map[item.Kind]int64{}
	for _, t := range root.Totals {
		left[t.Kind] = int64(t.Items - t.Removed)
	}
	for i := range r.Kinds {
		for o := item.Moved; o <= item.Failed; o++ {
			left[r.Kinds[i].Kind] -= r.Kinds[i].Of(o).Items
		}
	}
	for _, n := range left {
		if n != 0 {
			return false
		}
	}
	return true
}

// finish confirms the receipt and lets the server forget the session.
func (s *sending) finish(ctx context.Context) error {
	if s.st.State != session.Done {
		ack := grant.SignAck(s.id.device, grant.Ack{Session: s.st.Session, ReceiptHash: receiptHash(s.st.Receipt)})
		kill.Point(kill.SenderAcked)
		if err := s.confirm(ctx, ack); err != nil {
			return err
		}
		kill.Point(kill.SenderFinished)
		if err := s.t.move(&s.st, session.Confirmed); err != nil {
			return err
		}
	}
	if err := s.t.forgetRecords(); err != nil {
		return err
	}
	s.n.stage(item.StageDone)
	return s.showReceipt()
}

// confirm tells whoever holds the session that the receipt is here. A receiver without a server may
// have heard it and gone before its answer came: then nobody is left who could answer, and the receipt is what counts.
func (s *sending) confirm(ctx context.Context, ack []byte) error {
	bounded := ctx
	if s.st.Home == homeDirect {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, grace)
		defer cancel()
	}
	if s.cache != nil {
		s.background.Go(func() {
			short, cancel := context.WithTimeout(ctx, others)
			defer cancel()
			_ = s.cache.remote.Finish(short, s.st.Session, ack) // else it hears it from the server
		})
	}
	err := s.hub.finish(bounded, s.st.Session, ack)
	if err == nil || bounded.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

func (s *sending) showReceipt() error {
	r, err := s.st.receipt(s.st.Peer)
	s.result.Receipt = r
	return err
}
