package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/apply"
	routefolder "github.com/decant-dev/decant/node/folder"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// spaceReserve is what must stay free on the target beyond what is staged.
const spaceReserve = 16 << 20

// ackWait is how long a receiver that was paired by a code, whose sender is waiting
// with it, waits to be told that its receipt has arrived.
const ackWait = 10 * time.Second

// deskAckWait is the same where the receiver's own desk is all that the sender can ask.
const deskAckWait = 2 * time.Minute

// receiving is one call of Receive.
type receiving struct {
	n       *Node
	t       *transferDir
	opts    ReceiveOptions
	meta    meta
	secrets secrets
	st      state
	id      *identity
	server  id.Server
	remote  *remote.Remote // nil without a server
	near    *presence      // nil without the direct route
	through string         // a folder that completes what was begun elsewhere
	folder  *inFolder      // that, or the one of an earlier run if it is at hand
	hub     *hub           // once the session is known
	caches  caches
	news    announcements
	keys    *seal.Keys
	limits  key.Limits
	target  *folder.Target
	plan    *preview.Plan
	stager  *folder.Stager
	root    *manifest.Root
	refs    []manifest.PackRef
	result  ReceiveResult

	desked    sync.Mutex // guards delivered
	delivered bool       // packs have come to the desk
}

// Receive fetches a collection, or goes on fetching it: every step is taken from where
// the journal says the last run stopped. It returns when everything is applied and the
// receipt is on its way.
func (n *Node) Receive(ctx context.Context, opts ReceiveOptions) (*ReceiveResult, error) {
	r := &receiving{n: n, opts: opts}
	if err := r.open(ctx); err != nil {
		return nil, n.explain(err)
	}
	defer r.t.close()
	ctx, cancel, err := n.pausable(ctx, r.t)
	if err != nil {
		return nil, err
	}
	defer cancel()
	err = r.run(ctx)
	if r.through != "" {
		err = explainFolder(err)
	}
	if r.target != nil {
		r.target.Close()
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrPaused) {
		r.st.Paused = true
		return nil, errors.Join(ErrPaused, r.t.save(&r.st))
	}
	return &r.result, r.t.ended(&r.st, n.explain(err))
}

func (r *receiving) open(ctx context.Context) (err error) {
	if !r.opts.Session.IsZero() {
		if r.t, err = r.n.openSession(roleReceiver, r.opts.Session); err != nil {
			return err
		}
		if err := r.load(); err != nil {
			return err
		}
		return r.mayComplete()
	}
	if !r.opts.New {
		if err := r.find(ctx); err != nil || r.t != nil {
			return err
		}
	}
	return r.begin(ctx)
}

// find looks for an unfinished transfer into the same directory.
func (r *receiving) find(ctx context.Context) error {
	to, err := filepath.Abs(r.opts.To)
	if err != nil {
		return err
	}
	from, err := folderPath(r.opts.Folder)
	if err != nil {
		return err
	}
	r.t, err = r.n.unfinished(ctx, roleReceiver, func(m *meta, st *state) bool {
		unfinished := !st.State.Finished() && (st.State != session.Applied || !st.Posted || st.Home == homeDirect)
		here := m.Folder == from && m.Ticket == (r.opts.AskTicket != nil)
		adopted := from != "" && m.Folder == "" && !st.Session.IsZero()
		return unfinished && m.To == to && (here || adopted)
	}, func(st *TransferStatus) bool { return st.To == to })
	if err != nil || r.t == nil {
		return err
	}
	if err := r.load(); err != nil {
		return err
	}
	return r.mayComplete()
}

func (r *receiving) load() (err error) {
	defer func() {
		if err != nil {
			r.t.close()
		}
	}()
	if r.meta, r.st, r.secrets, err = r.t.recall(); err != nil {
		return err
	}
	return r.derive()
}

func (r *receiving) derive() (err error) {
	if r.id, err = r.secrets.identity(r.meta.Card); err != nil {
		return err
	}
	if r.server, err = parseServer(r.meta.Server); err != nil {
		return err
	}
	card, err := key.ParseCard(r.meta.Card)
	if err != nil {
		return err
	}
	r.limits = card.Limits
	if len(r.secrets.Master) == 0 {
		return nil
	}
	mk, err := seal.MasterKeyFromBytes(r.secrets.Master)
	if err != nil {
		return err
	}
	r.keys, err = seal.Schedule(mk, r.st.Session, key.HashCard(r.st.PeerCard))
	return err
}

// begin makes a new transfer. A ticket is asked for first: it may name the server.
func (r *receiving) begin(ctx context.Context) error {
	if r.opts.To == "" {
		return errors.New("node: no directory to receive into")
	}
	to, err := filepath.Abs(r.opts.To)
	if err != nil {
		return err
	}
	server := r.n.cfg.Server
	var ticket *pairing.Ticket
	if r.opts.AskTicket != nil {
		text, err := r.opts.AskTicket(ctx)
		if err != nil {
			return err
		}
		if t, srv, err := pairing.ParseTicketURI(text); err == nil {
			ticket, server = t, srv
		} else if ticket, err = pairing.ParseTicket(text); err != nil {
			return fmt.Errorf("%w: %v", ErrMalformed, err)
		}
	}
	if r.n.cfg.Route == RouteDirect && ticket == nil {
		server = id.Server{}
	}
	if server.IsZero() && r.opts.Folder == "" && (ticket != nil || r.n.cfg.Route == RouteStored) {
		return errors.New("node: no server is set")
	}
	secrets, card, err := r.n.newIdentity(key.Receiver)
	if err != nil {
		return err
	}
	if ticket != nil {
		secrets.Ticket = ticket.Bytes()
	}
	r.secrets = *secrets
	into, err := absolutePlaces(r.opts.Into)
	if err != nil {
		return err
	}
	r.meta = meta{Version: metaVersion, Role: roleReceiver, Created: r.n.cfg.Now(), Card: card, Ticket: ticket != nil, To: to, Into: into, Region: r.opts.Region}
	if r.meta.Folder, err = folderPath(r.opts.Folder); err != nil {
		return err
	}
	if r.meta.Folder == "" && !server.IsZero() {
		r.meta.Server = server.String()
	}
	r.st = state{State: session.New, Open: id.NewRequest(), ReadBack: r.opts.ReadBack}
	tag := id.NewSession()
	if r.t, err = r.n.open(r.n.dirOf(roleReceiver, tag[:8])); err != nil {
		return err
	}
	err = r.t.j.Batch().PutJSON(keyMeta, &r.meta).PutSecretJSON(keySecrets, &r.secrets).PutJSON(keyState, &r.st).Commit()
	if err == nil {
		err = r.derive()
	}
	if err != nil {
		r.t.close()
		return err
	}
	kill.Point(kill.ReceiverSession)
	return nil
}

func (r *receiving) run(ctx context.Context) (err error) {
	r.result.To, r.result.Session = r.meta.To, r.st.Session
	if err := r.t.unpause(r.n, &r.st); err != nil {
		return err
	}
	switch r.st.State {
	case session.Over:
		return ErrSessionOver
	case session.Done, session.Undone:
		return r.showReceipt()
	}
	r.n.stage(item.StageConnecting)
	if err := r.connect(ctx); err != nil {
		return err
	}
	defer r.disconnect()
	if r.keys == nil {
		if err := r.getGrant(ctx); err != nil {
			return err
		}
	}
	r.result.Session = r.st.Session
	stop, err := r.meet(ctx)
	if err != nil {
		return err
	}
	defer stop()
	r.n.event(item.Event{Type: "session", Session: &item.SessionNotice{ID: r.st.Session.String(), Peer: r.st.Peer.Short()}})
	if r.st.State != session.Applied {
		if err := r.receive(ctx); err != nil {
			return err
		}
	}
	return r.handOver(ctx)
}

// getGrant gets the master key, by code or by ticket, and claims the session.
func (r *receiving) getGrant(ctx context.Context) error {
	if r.meta.Ticket {
		return r.claimTicket(ctx)
	}
	if err := r.pairNew(ctx); err != nil {
		return err
	}
	return nil
}

func (r *receiving) claimTicket(ctx context.Context) error {
	t, err := pairing.TicketFromBytes(r.secrets.Ticket)
	if err != nil {
		return err
	}
	claim, err := r.ticketClaim()
	if err != nil {
		return err
	}
	claimed, err := r.opening().Claim(ctx, claim)
	if claimed != nil && errors.Is(err, routefolder.ErrDenied) { // a folder that is read-only here: nobody will hear of it
		r.n.notice("folder-read-only", "")
		err = nil
	}
	if err != nil {
		switch wire.StatusOf(err) {
		case wire.NotFound, wire.Expired, wire.Revoked, wire.Done:
			if r.meta.Folder != "" {
				return ErrWrongTicket // or it has not come yet, in a folder that some program copies
			}
			return errors.Join(ErrWrongTicket, r.t.move(&r.st, session.Ended)) // the next run asks for another
		}
		return err
	}
	kill.Point(kill.ReceiverClaimed)
	k, err := t.Key(claimed.Share)
	if err != nil {
		return ErrInterferedWith
	}
	g, card, err := grant.OpenTicket(claimed.Grant, k, claimed.Session)
	if err != nil {
		return ErrInterferedWith
	}
	r.st.Class, r.st.Expires = uint8(claimed.Class), claimed.Expires
	return r.adopt(g, card)
}

// adopt makes an opened grant durable.
func (r *receiving) adopt(g *grant.Grant, senderCard []byte) error {
	card, err := key.ParseCard(senderCard)
	if err != nil || card.Role != key.Sender || key.HashCard(senderCard) != g.SenderCard {
		return ErrInterferedWith
	}
	if g.Expired(r.n.cfg.Now()) {
		return ErrSessionOver
	}
	r.secrets.Master = g.MK.Bytes()
	r.st.Session, r.st.Peer, r.st.PeerCard = g.Session, card.Peer, slices.Clone(senderCard)
	r.st.Epoch, r.st.Commit = g.Epoch, g.Commit
	if r.st.State, err = session.Next(r.st.State, session.Granted); err != nil {
		return err
	}
	err = r.t.j.Batch().PutSecretJSON(keySecrets, &r.secrets).PutJSON(keyState, &r.st).Delete([]byte(keyPairing)).Commit()
	if err != nil {
		return err
	}
	kill.Point(kill.ReceiverGranted)
	return r.derive()
}

// receive brings everything into the target.
func (r *receiving) receive(ctx context.Context) error {
	if r.st.Class == 0 && r.folder == nil { // by code: the sender has pinned us, or is about to
		claimed, err := r.hub.home().Claim(ctx, remote.Claim{Session: r.st.Session, Card: r.meta.Card})
		if err != nil {
			return err
		}
		r.st.Class, r.st.Expires = uint8(claimed.Class), claimed.Expires
		if err := r.t.save(&r.st); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.meta.To, 0o777); err != nil {
		return err
	}
	var err error
	if r.target, err = folder.Open(r.meta.To, r.st.Session, folder.Options{}); err != nil {
		return err
	}
	if r.near != nil {
		r.near.open(r.target)
	}
	if r.st.State == session.Staged {
		if r.plan, err = preview.Load(r.target, &numbered{j: r.t.j, tag: tagPlan}, preview.Options{}); err != nil {
			return err
		}
		return r.finish(ctx)
	}
	r.n.stage(item.StageWaiting)
	if err := r.latest(ctx, 0); err != nil {
		return err
	}
	if err := r.decide(ctx); err != nil {
		return err
	}
	if err := r.fetch(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

// finish puts what is staged where the person wants it, and signs the receipt.
func (r *receiving) finish(ctx context.Context) error {
	if err := r.prepareDelivery(ctx); err != nil {
		return err
	}
	return r.apply(ctx)
}

// latest waits for the newest root from an epoch on, verifies it with all of its
// manifest, and keeps the pages.
func (r *receiving) latest(ctx context.Context, least uint64) error {
	for sealed := false; ; {
		root, err := r.hub.getRoot(ctx, r.st.Session, max(least, r.st.Epoch), fetchWait)
		if errors.Is(err, remote.ErrOlder) {
			r.n.notice("rollback-alarm", "")
		}
		if err != nil {
			return err
		}
		if root == nil {
			if r.through != "" { // others may answer while it is away
				if _, err := r.folder.Status(ctx, r.st.Session); err != nil {
					return err
				}
			}
			continue
		}
		if err = r.adoptRoot(ctx, root); err == nil {
			return nil
		}
		if least, err = r.brought(ctx, err, root.Epoch, &sealed); err != nil {
			return err
		}
	}
}

func (r *receiving) adoptRoot(ctx context.Context, got *remote.Root) error {
	root, commit, err := manifest.OpenRoot(r.keys, r.st.Session, got.Epoch, got.Sealed)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	if err := manifest.VerifyCommit(r.st.Peer, commit, got.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	if err := root.Follows(r.st.Epoch, r.st.Commit, commit); err != nil {
		r.n.notice("rollback-alarm", "")
		return fmt.Errorf("%w: %w", ErrRollback, err)
	}
	r.st.Class = uint8(root.Class) // what the server said of it was a word; this is signed
	if err := r.keepPages(ctx, root); err != nil {
		return err
	}
	r.root = root
	r.st.Epoch, r.st.Commit, r.st.Final = root.Epoch, commit, root.Final
	if err := r.t.save(&r.st); err != nil {
		return err
	}
	kill.Point(kill.ReceiverEpoch)
	return nil
}

func pagesPrefix(epoch uint64) []byte { return binary.BigEndian.AppendUint64([]byte("P"), epoch) }

// keepPages fetches and verifies a manifest and keeps its pages in the journal. Pages
// of an attempt that failed are removed with the next.
func (r *receiving) keepPages(ctx context.Context, root *manifest.Root) error {
	b := r.t.j.Batch().DeletePrefix([]byte("P"))
	size := 0
	refs, err := transfer.FetchManifest(ctx, r.hub.store(r.st.Session), r.keys, root, r.limits, func(p *manifest.Page, chunk []byte) error {
		b.Put(binary.BigEndian.AppendUint64(pagesPrefix(root.Epoch), uint64(p.First)), chunk)
		if size += len(chunk); size < 4<<20 {
			return nil
		}
		err := b.Commit()
		b, size = r.t.j.Batch(), 0
		return err
	})
	if err != nil {
		if errors.Is(err, context.Canceled) || wireError(err) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	r.refs = refs
	return b.Commit()
}

// wireError reports whether err is about reaching the server rather than about what it gave.
func wireError(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) || errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrStalled)
}

// pages yields the manifest's pages of an epoch from the journal.
func (r *receiving) pages(epoch uint64) preview.Pages {
	return journalPages(r.t.j, epoch)
}

func journalPages(j *journal.Journal, epoch uint64) iter.Seq2[[]item.Item, error] {
	stop := errors.New("stop")
	return func(yield func([]item.Item, error) bool) {
		var p manifest.Page
		err := j.Each(pagesPrefix(epoch), func(_, v []byte) error {
			if err := p.DecodeInto(v); err != nil {
				return err
			}
			if !yield(p.Items, nil) {
				return stop
			}
			return nil
		})
		if err != nil && err != stop {
			yield(nil, err)
		}
	}
}

// numbered is a family of journal records: plan pages, undo records, outcomes.
type numbered struct {
	j   *journal.Journal
	tag byte
}

func (s *numbered) key(page int) []byte {
	return binary.BigEndian.AppendUint32([]byte{s.tag}, uint32(page))
}

// Put implements preview.Store: durable when it returns.
func (s *numbered) Put(page int, b []byte) error {
	return s.j.Batch().Put(s.key(page), b).Commit()
}

// Get implements preview.Store.
func (s *numbered) Get(page int) ([]byte, error) {
	b, err := s.j.Get(s.key(page))
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

// Tags of the receiver's journal.
const (
	tagPlan    = 'L'
	tagUndo    = 'U'
	tagOutcome = 'O'
)

// undoLog is apply.Log in the journal.
type undoLog struct{ undo, outcomes numbered }

func newUndoLog(j *journal.Journal) *undoLog {
	return &undoLog{numbered{j: j, tag: tagUndo}, numbered{j: j, tag: tagOutcome}}
}

func (l *undoLog) PutUndo(page int, b []byte) error    { return l.undo.Put(page, b) }
func (l *undoLog) Undo(page int) ([]byte, error)       { return l.undo.Get(page) }
func (l *undoLog) PutOutcome(page int, b []byte) error { return l.outcomes.Put(page, b) }
func (l *undoLog) Outcome(page int) ([]byte, error)    { return l.outcomes.Get(page) }

// decide plans the root and lets the person say what of it is wanted.
func (r *receiving) decide(ctx context.Context) (err error) {
	store := &numbered{j: r.t.j, tag: tagPlan}
	if r.st.Accepted > 0 {
		if r.plan, err = preview.Load(r.target, store, preview.Options{}); err != nil {
			return err
		}
		return r.plan.Extend(ctx, r.pages(r.root.Epoch))
	}
	choice := Choice{}
	for {
		if r.plan, err = preview.Build(ctx, r.target, r.pages(r.root.Epoch), store, preview.Options{Kinds: choice.Kinds}); err != nil {
			return err
		}
		if choice.Apply {
			break
		}
		if r.opts.Confirm == nil {
			return ErrDeclined
		}
		kinds := choice.Kinds
		if choice, err = r.opts.Confirm(ctx, r.preview()); err != nil {
			return err
		}
		if !choice.Apply {
			return r.decline(ctx)
		}
		if slices.Equal(kinds, choice.Kinds) {
			break
		}
	}
	if !r.plan.Preview().Fits(spaceReserve) {
		return ErrNoSpace
	}
	r.st.Accepted, r.st.Kinds = 1+r.root.Epoch, choice.Kinds
	if err := r.t.move(&r.st, session.Accepted); err != nil {
		return err
	}
	kill.Point(kill.ReceiverPlanned)
	return nil
}

// decline leaves the target as it was. The transfer can be taken up again later.
func (r *receiving) decline(context.Context) error {
	if err := r.target.RemoveStaging(); err != nil {
		return errors.Join(ErrDeclined, err)
	}
	return ErrDeclined
}

// preview turns the plan's summary into the command's form.
func (r *receiving) preview() *Preview {
	s := r.plan.Preview()
	p := &Preview{Session: r.st.Session, Final: r.root.Final, From: r.st.From, Peer: r.st.Peer.Short(), Kinds: map[string]KindPreview{},
		Need: s.SpaceNeeded, Free: s.SpaceFree, RenameCount: s.RenamedCount}
	for i := range s.Kinds {
		k := &s.Kinds[i]
		p.Kinds[k.Kind] = KindPreview{Total: k.Total(), New: k.New, Same: k.Same, Conflict: k.Conflict, Merge: k.Merge, Lost: k.Lost}
	}
	for _, l := range s.Losses {
		p.Losses = append(p.Losses, previewLoss(l))
	}
	for _, n := range s.LossCounts {
		p.LossCount += n
	}
	for _, n := range s.Renamed {
		p.Renamed = append(p.Renamed, Renamed{Path: n.From, Dest: n.To})
	}
	return p
}

// sink adapts the stager to transfer.Sink.
type sink struct {
	*folder.Stager
	t *folder.Target
}

func (s sink) Sync() error { return s.t.Sync() }

// fetch stages all content. If the sender is still at it, packs are taken as they are
// announced until the final root says what there is.
func (r *receiving) fetch(ctx context.Context) error {
	r.n.stage(item.StageReceiving)
	r.stager = r.target.NewStager(r.plan)
	defer r.stager.Close()
	m := &meter{n: r.n, t: r.t, stage: item.StageReceiving, total: r.expected()}
	store := &nearby{stores: stores{r.hub, r.st.Session}}
	store.far.Store(r.folder == nil)
	d, err := transfer.NewDownloader(transfer.DownloadConfig{Journal: r.t.j, Store: store, Keys: r.keys,
		Session: r.st.Session, Class: wire.Class(r.st.Class), Sink: sink{r.stager, r.target}, Progress: m.report})
	if err != nil {
		return err
	}
	if r.near != nil {
		defer r.near.take(d)()
	}
	defer func() { r.result.WireBytes += d.WireBytes() }()
	for !r.root.Final {
		if err := r.early(ctx, d); err != nil {
			return err
		}
		if err := r.plan.Extend(ctx, r.pages(r.root.Epoch)); err != nil {
			return err
		}
		m.total = r.expected()
	}
	if r.folder != nil {
		if err := r.fetchNear(ctx, d, store); err != nil {
			return err
		}
	}
	sealed := false
	for missing := int64(math.MaxInt64); ; {
		err := d.Fetch(ctx, each(ctx, r.refs))
		if err != nil {
			var newest uint64
			if newest, err = r.brought(ctx, err, r.root.Epoch, &sealed); err == nil {
				if newest > r.root.Epoch {
					if err := r.goOn(ctx, newest); err != nil {
						return err
					}
					m.total = r.expected()
				}
				continue
			}
		}
		var gone *transfer.MissingError
		if r.fromFolder() && (errors.As(err, &gone) || errors.Is(err, remote.ErrUnreachable)) {
			if r.askServer(ctx) {
				continue
			}
			return r.askThrough(ctx, d, err)
		}
		if errors.As(err, &gone) && !r.wasDelivered() && r.st.Via != "" {
			return fmt.Errorf("%w: %v", ErrIncomplete, err)
		}
		if errors.As(err, &gone) && r.wasDelivered() {
			if err := r.askAgain(ctx, gone.Packs); err != nil {
				return err
			}
			m.total, sealed = r.expected(), false
			continue
		}
		if err != nil {
			return err
		}
		settled, err := apply.Settle(ctx, r.plan, r.stager, r.pages(r.root.Epoch), apply.SettleOptions{})
		if err != nil {
			return err
		}
		if settled.OK() {
			break
		}
		n, err := r.forget(d, settled.Missing)
		if err != nil {
			return err
		}
		if n == 0 || settled.MissingItems >= missing {
			return fmt.Errorf("%w: %d items are not in the packs", ErrIntegrity, settled.MissingItems)
		}
		missing = settled.MissingItems
	}
	if err := r.target.Sync(); err != nil {
		return err
	}
	return r.t.move(&r.st, session.Complete)
}

// askAgain asks the sender for packs that came from it directly and are not here any more, since
// this machine lost power or somebody removed what was staged, and waits for the epoch that has them.
func (r *receiving) askAgain(ctx context.Context, packs []manifest.PackRef) error {
	parts, err := lostPacks(packs)
	if err != nil {
		return err
	}
	r.n.notice("asked-again", "")
	for _, list := range parts {
		body, err := r.envelope(session.Again)(list)
		if err != nil {
			return err
		}
		if err := r.hub.post(ctx, r.st.Session.Scope(), r.st.Peer, body, grace); err != nil {
			return err
		}
	}
	r.n.stage(item.StageWaiting)
	if err := r.goOn(ctx, r.root.Epoch+1); err != nil {
		return err
	}
	r.n.stage(item.StageReceiving)
	return nil
}

// goOn takes over an epoch that replaces the one whose packs were being staged.
func (r *receiving) goOn(ctx context.Context, epoch uint64) error {
	if err := r.latest(ctx, epoch); err != nil {
		return err
	}
	return r.plan.Extend(ctx, r.pages(r.root.Epoch))
}

// envelope seals payloads to the sender.
func (r *receiving) envelope(p session.Purpose) func([]byte) ([]byte, error) {
	return func(payload []byte) ([]byte, error) {
		return session.SealEnvelope(r.keys, r.st.Session, r.id.device.Peer(), r.st.Peer, p, payload)
	}
}

// forget has items fetched again whose staged content was lost, by whatever hand. It
// returns the number of packs that hold something of them.
func (r *receiving) forget(d *transfer.Downloader, items []item.Ordinal) (int, error) {
	slices.Sort(items)
	for _, o := range items {
		p, err := r.plan.Place(o)
		if err == nil {
			err = r.stager.Discard(o, &p)
		}
		if err != nil {
			return 0, err
		}
	}
	return d.Forget(items)
}

// expected is what the progress line counts towards.
func (r *receiving) expected() (t item.Tally) {
	for i := range r.root.Totals {
		k := &r.root.Totals[i]
		t.Items += int64(k.Items - k.Dirs - k.Records - min(k.Lost, k.Items-k.Dirs-k.Records))
		t.Bytes += int64(k.Bytes)
	}
	return t
}

// each sends refs until the context ends.
func each(ctx context.Context, refs []manifest.PackRef) <-chan manifest.PackRef {
	ch := make(chan manifest.PackRef)
	go func() {
		defer close(ch)
		for _, ref := range refs {
			select {
			case ch <- ref:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch
}

// early stages announced packs until the next root is there, and takes that over.
func (r *receiving) early(ctx context.Context, d *transfer.Downloader) error {
	ch := make(chan manifest.PackRef)
	g, gctx := errgroup.WithContext(ctx)
	listen, stop := context.WithCancel(gctx)
	var next *remote.Root
	g.Go(func() (err error) {
		defer stop()
		for next == nil && err == nil {
			next, err = r.hub.getRoot(gctx, r.st.Session, r.root.Epoch+1, fetchWait)
		}
		return err
	})
	g.Go(func() error {
		defer close(ch)
		r.news.pass(listen, ch)
		return nil
	})
	g.Go(func() error {
		err := d.Fetch(gctx, ch)
		if errors.Is(err, folder.ErrUnplanned) || errors.Is(err, folder.ErrPieces) {
			return nil // of an epoch whose pages are not here yet, or a file that has outgrown the catalog: fetched again when they are
		}
		return err
	})
	if err := g.Wait(); err != nil && next == nil {
		return err
	}
	for sealed := false; ; {
		err := r.adoptRoot(ctx, next)
		if err == nil {
			return nil
		}
		newest, err := r.brought(ctx, err, next.Epoch, &sealed)
		if err != nil {
			return err
		}
		if newest > next.Epoch {
			return r.latest(ctx, newest)
		}
	}
}

// apply moves what is staged into place and signs the receipt.
func (r *receiving) apply(ctx context.Context) (err error) {
	r.n.stage(item.StageApplying)
	m := &meter{n: r.n, t: r.t, stage: item.StageApplying}
	log := newUndoLog(r.t.j)
	sum, err := apply.Apply(ctx, r.plan, log, apply.Options{Progress: func(items, bytes int64) { m.report(items, bytes, 0) }})
	if err != nil {
		return err
	}
	for _, l := range sum.Losses {
		r.n.loss(summaryLoss(l))
	}
	for _, l := range sum.Failed {
		r.n.loss(summaryLoss(l))
	}
	if err := r.deliver(ctx); err != nil {
		return err
	}
	kill.Point(kill.ReceiverAllDone)
	level := apply.Synced
	if r.st.ReadBack {
		v, err := readBack(ctx, r.t.j, r.plan, log)
		if err != nil {
			return err
		}
		if v.Count > 0 {
			return fmt.Errorf("%w: %d items differ when read back", ErrIntegrity, v.Count)
		}
		level = apply.ReadBack
	}
	receipt := apply.NewReceipt(sum, r.st.Session, r.st.Epoch, r.st.Commit, level, r.n.cfg.Now())
	r.st.Receipt = apply.SignReceipt(r.id.device, receipt)
	if err := r.t.move(&r.st, session.AllDone); err != nil {
		return err
	}
	kill.Point(kill.ReceiverReceipt)
	return nil
}

// handOver posts the receipt until the sender has confirmed it (rule R2), and cleans up.
func (r *receiving) handOver(ctx context.Context) error {
	body, err := r.envelope(session.Receipt)(session.AppendReceipt(nil, r.meta.Card, r.st.Receipt))
	if err != nil {
		return err
	}
	acked, told := false, true
	if r.folder != nil {
		told, acked = r.leave(ctx, body)
	} else if err := r.hub.post(ctx, r.st.Session.Scope(), r.st.Peer, body, grace); err != nil {
		if errors.Is(err, routefolder.ErrDenied) {
			told = false // the folder is read-only here
		} else if acked = wire.StatusOf(err) == wire.Done; !acked && !hasEnded(err) {
			return err // if it is over, nobody is left to be told
		}
	}
	kill.Point(kill.ReceiverPosted)
	r.st.Posted = told || acked || r.folder == nil
	r.result.Pending = !r.st.Posted
	if err := r.t.save(&r.st); err != nil {
		return err
	}
	wait := ackWait
	switch {
	case (r.meta.Ticket || r.through != "") && !acked: // the sender is most likely away
		wait = 0
	case r.st.Home == homeDirect: // nobody else keeps the receipt for it
		wait = deskAckWait
	}
	if told || acked {
		if err := r.awaitAck(ctx, wait); err != nil {
			return err
		}
	}
	if r.target == nil { // an earlier run has applied, and may not have come to this
		if r.target, err = folder.Open(r.meta.To, r.st.Session, folder.Options{}); err != nil {
			r.target = nil // the person has moved it: there is nothing to tidy
		}
	}
	if r.target != nil {
		if err := r.target.Tidy(); err != nil {
			return err
		}
		kill.Point(kill.ReceiverCleaned)
	}
	r.n.stage(item.StageDone)
	return r.showReceipt()
}

// awaitAck looks whether the sender has confirmed the receipt. That it has not yet is no error.
func (r *receiving) awaitAck(ctx context.Context, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	box := r.hub.inbox(r.st.Session.Scope())
	for {
		_, ack, err := box.fetch(ctx, max(time.Until(deadline), 0))
		if err != nil {
			if hasEnded(err) {
				return nil // over; what there was to confirm is gone
			}
			return err
		}
		if len(ack) > 0 {
			a, err := grant.ParseAck(ack, r.st.Peer)
			if err == nil && a.Session == r.st.Session && a.ReceiptHash == receiptHash(r.st.Receipt) {
				r.result.Acked = true
				return r.t.move(&r.st, session.Confirmed)
			}
			return ErrInterferedWith
		}
		if time.Until(deadline) <= 0 {
			return nil
		}
	}
}

func (r *receiving) showReceipt() (err error) {
	r.result.Receipt, err = parseReceipt(r.st.Receipt, r.id.device.Peer())
	r.result.Acked = r.st.State == session.Done
	return err
}
