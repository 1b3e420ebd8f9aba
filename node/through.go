package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/kill"
	routefolder "github.com/decant-dev/decant/node/folder"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// A folder can complete what was begun with a server or with the other device itself. The session is opened there too, under
// the same keys, and a run of the sender that names a folder puts all packs into it that neither the server nor the other device
// has. Three rules keep the places apart:
//
//   - A root is where its whole manifest is. Where the last root's is not, the run makes another epoch, so that whoever has the
//     folder alone can see what there is, and what of it is missing.
//   - What a pack's note says of where it is, is asked again: packs that are gone from the folder, or are in another one, are
//     sent again.
//   - What the receiver finds nowhere it asks for through the folder, and the next run of the sender puts it there.

// viaPatience is how long a server is waited for beside a folder.
const viaPatience = 3 * time.Second

// completable reports whether a transfer that began elsewhere can go on through a folder: the other device has the keys, or
// the ticket opens them.
func completable(m *meta, st *state, through string) bool {
	return through != "" && m.Folder == "" && st.State != session.New && (m.Ticket || st.Granted)
}

// mayComplete takes over the folder of this run, if it is not the one that the transfer began in.
func (s *sending) mayComplete() (err error) {
	defer func() {
		if err != nil {
			s.t.close()
		}
	}()
	through, err := folderPath(s.opts.Folder)
	if err != nil || through == "" || through == s.meta.Folder {
		return err
	}
	switch {
	case s.meta.Folder != "":
		return ErrOtherFolder
	case !completable(&s.meta, &s.st, through):
		return ErrNotPaired
	}
	s.through = through
	return nil
}

// completes reports whether this run's packs go through a folder that the session was not begun in.
func (s *sending) completes() bool { return s.through != "" }

// throughFolder reports whether this run's packs go through a folder.
func (s *sending) throughFolder() bool { return s.completes() || s.meta.Folder != "" }

// keeps is what the packs of this run's store are noted as.
func (s *sending) keeps() transfer.Kept {
	if s.completes() {
		return transfer.KeptFolder
	}
	return transfer.KeptStored
}

// connectFolder opens the folder, and has the server beside it if that answers soon.
func (s *sending) connectFolder(ctx context.Context) error {
	f, err := routefolder.Open(routefolder.Config{Dir: s.through, Device: s.id.device.Peer(), Create: true})
	if err != nil {
		return err
	}
	s.hub = newHub(&rooted{inFolder{f}, s.manifestOf})
	if s.server.IsZero() || s.st.Home == homeDirect {
		return nil
	}
	if s.remote, err = s.n.dialWithin(s.id, s.server, viaPatience); err != nil {
		return err
	}
	if _, err := s.remote.Hello(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.n.notice("server-unreachable", "")
		s.remote.Close()
		s.remote = nil
		return nil
	}
	s.hub.add(&rooted{asked{s.remote}, s.manifestOf})
	return nil
}

// joinFolder adds the folder that has completed the session before, if it is at hand: the receipt may be in it.
func (s *sending) joinFolder(ctx context.Context) {
	if s.st.Via == "" || s.completes() || s.hub == nil {
		return
	}
	f, err := routefolder.Open(routefolder.Config{Dir: s.st.Via, Device: s.id.device.Peer()})
	if err != nil {
		return
	}
	if _, err := f.Status(ctx, s.st.Session); err == nil {
		s.hub.add(&rooted{inFolder{f}, s.manifestOf})
	}
}

// openInFolder has the folder hold the session too.
func (s *sending) openInFolder(ctx context.Context, home service) error {
	hello, err := home.Hello(ctx)
	if err != nil {
		return err
	}
	offer, err := s.folderOffer(hello)
	if err != nil {
		return err
	}
	if _, err := home.Open(ctx, offer); err != nil {
		return err
	}
	s.st.Via = s.through
	if err := s.t.save(&s.st); err != nil {
		return err
	}
	kill.Point(kill.SenderFolder)
	if s.st.Peer.IsZero() {
		return nil
	}
	p := grant.SignPin(s.id.device, grant.Pin{Session: s.st.Session, Receiver: s.st.Peer, ReceiverCard: key.HashCard(s.st.PeerCard), Incarnation: hello.Incarnation})
	return home.Pin(ctx, s.st.Session, s.st.Peer, p)
}

// folderOffer is the session's offer for what is left, which must be the same each time for the same folder.
func (s *sending) folderOffer(hello *remote.Hello) (offer remote.Offer, err error) {
	kept := []byte("m/offer/" + hex.EncodeToString(hello.Incarnation[:]))
	if err = s.t.j.GetSecretJSON(kept, &offer); !errors.Is(err, journal.ErrNotFound) {
		return offer, err
	}
	if err = s.t.j.GetSecretJSON(keyOffer, &offer); err != nil {
		return offer, err
	}
	blobs, err := s.blobsLeft()
	if err != nil {
		return offer, err
	}
	most := min(hello.MaxSessionBytes, hello.FreeBytes) / uint64(offer.Class.BlobSize())
	if blobs > most {
		return offer, ErrFolderFull
	}
	offer.Blobs = min(blobs+blobs/2+64, most)
	return offer, s.t.j.Batch().PutSecretJSON(kept, &offer).Commit()
}

// blobsLeft reckons how many blobs the epoch that is worked at still takes, at most.
func (s *sending) blobsLeft() (uint64, error) {
	if s.scanned == nil { // nothing has changed, and nothing is missing
		return 1, nil
	}
	most, have := packsFor(s.scanned, wire.Class(s.st.Class)), uint64(0)
	refs, err := transfer.Refs(s.t.j)
	for i := range refs {
		if refs[i].Epoch == max(s.st.Epoch, 1) {
			have++
		}
	}
	return max(most-min(most, have), 8), err
}

// rooted is a service that is told of a root only where it has the whole manifest. Elsewhere a receiver that
// finds the root could not even see what there is.
type rooted struct {
	service
	manifest func(*remote.Root) ([]id.Blob, error)
}

// errElsewhere says that a root's manifest is not where the root was to be told.
var errElsewhere = errors.New("the manifest is elsewhere")

// Commit implements service. The error is errElsewhere for a root whose manifest is not there.
func (r *rooted) Commit(ctx context.Context, sid id.Session, root *remote.Root) error {
	names, err := r.manifest(root)
	if err != nil {
		return err
	}
	lacks, err := lacking(ctx, r.Session(sid), names)
	if err != nil {
		return err
	}
	if len(lacks) > 0 {
		return errElsewhere
	}
	return r.service.Commit(ctx, sid, root)
}

// lacking returns those of names that a store has not. A session that is not there has none.
func lacking(ctx context.Context, store transfer.BlobStore, names []id.Blob) (out []id.Blob, err error) {
	for part := range slices.Chunk(names, wire.MaxHas) {
		has, err := store.Has(ctx, part)
		if wire.StatusOf(err) == wire.NotFound {
			return names, nil
		}
		if err == nil && len(has) != len(part) {
			err = remote.ErrAnswer
		}
		if err != nil {
			return nil, err
		}
		for i, there := range has {
			if !there {
				out = append(out, part[i])
			}
		}
	}
	return out, nil
}

// manifestOf names the packs of a root's manifest.
func (s *sending) manifestOf(r *remote.Root) (names []id.Blob, err error) {
	root, _, err := manifest.OpenRoot(s.keys, s.st.Session, r.Epoch, r.Sealed)
	if err != nil {
		return nil, err
	}
	for i := range root.ManifestPacks {
		names = append(names, root.ManifestPacks[i].Blob)
	}
	return names, nil
}

// manifestThere reports whether the folder of this run has the manifest of the last root.
func (s *sending) manifestThere(ctx context.Context) (bool, error) {
	told := s.told.Load()
	if !s.completes() || told == nil {
		return true, nil
	}
	names, err := s.manifestOf(told)
	if err != nil {
		return false, err
	}
	lacks, err := lacking(ctx, s.hub.home().Session(s.st.Session), names)
	return len(lacks) == 0, err
}

// takeOut takes packs out of the journal that this run has to send again: those that the folder had and has not any more, and,
// if all is to be in one place, those that another place has. An epoch whose root is sealed must be over before.
func (s *sending) takeOut(ctx context.Context) error {
	if !s.completes() && !(s.opts.Whole && s.st.Via != "") {
		return nil
	}
	var kept keptRoot
	if err := s.t.j.GetJSON(rootKey(s.st.Epoch), &kept); err == nil && !s.st.Committed {
		if err := s.commit(ctx, s.st.Epoch, kept.Final); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, journal.ErrNotFound) {
		return err
	}
	refs, err := s.lostInFolder(ctx)
	if err != nil {
		return err
	}
	if s.opts.Whole {
		more, err := s.elsewhere()
		if err != nil {
			return err
		}
		refs = append(refs, more...)
	}
	last := s.st.Epoch
	if !s.st.Committed && last > 0 {
		last--
	}
	n, err := transfer.Again(s.t.j, last, refs)
	if n > 0 {
		kill.Point(kill.SenderAgain)
		s.n.cfg.Log.Info("packs are sent again", "packs", n)
	}
	return err
}

// lostInFolder returns the packs of content that are noted as being in a folder, and are not in that of this run.
func (s *sending) lostInFolder(ctx context.Context) ([]manifest.PackRef, error) {
	refs, err := transfer.Held(s.t.j, transfer.KeptFolder)
	if err != nil || !s.completes() {
		return nil, err
	}
	names := make([]id.Blob, len(refs))
	for i := range refs {
		names[i] = refs[i].Blob
	}
	lost, err := lacking(ctx, s.hub.home().Session(s.st.Session), names)
	gone := make(map[id.Blob]bool, len(lost))
	for _, name := range lost {
		gone[name] = true
	}
	return slices.DeleteFunc(refs, func(r manifest.PackRef) bool { return !gone[r.Blob] }), err
}

// elsewhere returns the packs of content that this run's place has not, and another than the other device has, a cache among them.
func (s *sending) elsewhere() ([]manifest.PackRef, error) {
	if !s.completes() {
		return transfer.Held(s.t.j, transfer.KeptFolder)
	}
	refs, err := transfer.Held(s.t.j, transfer.KeptStored)
	if err != nil {
		return nil, err
	}
	cached, err := transfer.Held(s.t.j, transfer.KeptCached)
	return append(refs, cached...), err
}

// countElsewhere says in the result how many packs of content are in another place only.
func (s *sending) countElsewhere() error {
	if s.st.Via == "" {
		return nil
	}
	refs, err := s.elsewhere()
	s.result.Elsewhere = int64(len(refs))
	return err
}

// mayComplete takes over the folder of this run, if the transfer was not begun in it.
func (r *receiving) mayComplete() (err error) {
	defer func() {
		if err != nil {
			r.t.close()
		}
	}()
	through, err := folderPath(r.opts.Folder)
	if err != nil || through == "" || through == r.meta.Folder {
		return err
	}
	switch {
	case r.meta.Folder != "":
		return ErrOtherFolder
	case r.keys == nil:
		return ErrNotPaired
	}
	r.through = through
	return nil
}

// connectFolder joins the folder that completes the transfer, and prepares the ways beside it, of which none is waited for.
func (r *receiving) connectFolder(ctx context.Context) (err error) {
	f, err := routefolder.Open(routefolder.Config{Dir: r.through, Device: r.id.device.Peer()})
	if err != nil {
		return err
	}
	at, err := f.Status(ctx, r.st.Session)
	if wire.StatusOf(err) == wire.NotFound {
		return ErrOtherFolder
	}
	if err != nil {
		return err
	}
	if err := r.claimIn(ctx, f); err != nil {
		return err
	}
	r.folder, r.st.Via = &inFolder{f}, r.through
	if err := r.t.save(&r.st); err != nil {
		return err
	}
	kill.Point(kill.ReceiverFolder)
	if !r.server.IsZero() && r.st.Home != homeDirect {
		if r.remote, err = r.n.dialWithin(r.id, r.server, viaPatience); err != nil {
			return err
		}
	}
	if r.n.cfg.Route != RouteStored {
		if err := r.appear(); err != nil {
			r.n.cfg.Log.Info("no direct route", "err", err)
		}
	}
	return r.notOlder(ctx, at)
}

// claimIn tells the folder whose the session is. It decides nothing: this device has the keys.
func (r *receiving) claimIn(ctx context.Context, f *routefolder.Folder) error {
	claim := remote.Claim{Session: r.st.Session, Card: r.meta.Card}
	if r.meta.Ticket {
		var err error
		if claim, err = r.ticketClaim(); err != nil {
			return err
		}
	}
	claimed, err := f.Claim(ctx, claim)
	if claimed != nil && r.st.Class == 0 {
		r.st.Class, r.st.Expires = uint8(claimed.Class), claimed.Expires // the root says it again, signed
	}
	switch {
	case errors.Is(err, routefolder.ErrDenied):
		r.n.notice("folder-read-only", "")
		return nil
	case wire.StatusOf(err) == wire.NotPinned, wire.StatusOf(err) == wire.Done: // a receiver without a claim reads all the same
		return nil
	}
	return err
}

// notOlder refuses a folder that was written before what this device has seen, unless the server is there, which may have the rest.
func (r *receiving) notOlder(ctx context.Context, at *remote.Status) error {
	if at.State == remote.Done || at.Committed && at.Epoch >= r.st.Epoch || r.st.Commit == (id.Commit{}) {
		return nil
	}
	if r.remote != nil {
		if _, err := r.remote.Hello(ctx); err == nil {
			return nil
		}
	}
	return ErrFolderOlder
}

// joinFolder adds the folder that has completed the session before, if it is at hand.
func (r *receiving) joinFolder(ctx context.Context) {
	if r.st.Via == "" || r.through != "" {
		return
	}
	f, err := routefolder.Open(routefolder.Config{Dir: r.st.Via, Device: r.id.device.Peer()})
	if err != nil {
		return
	}
	if _, err := f.Status(ctx, r.st.Session); err == nil {
		r.folder = &inFolder{f}
	}
}

// nearby is a store that asks the server only once it is told to: what a folder and the desk have need not come
// from afar, and a server that is away must not keep it from being taken.
type nearby struct {
	stores
	far    atomic.Bool
	rotten atomic.Bool // what the folder still has is damaged
}

// Get implements transfer.BlobStore.
func (n *nearby) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	far, rotten := n.far.Load(), n.rotten.Load()
	if far && !rotten {
		return n.stores.Get(ctx, name, dst)
	}
	err := error(wire.Fail(wire.NotFound, "get pack"))
	homes, _ := n.h.all()
	for _, home := range slices.Backward(homes) {
		if _, server := home.(asked); server && !far || rotten && isFolder(home) {
			continue
		}
		got, failed := home.Session(n.sid).Get(ctx, name, dst)
		if failed == nil {
			n.h.gave(name, home)
		}
		if failed == nil || ctx.Err() != nil || wire.StatusOf(failed) != wire.NotFound && isFolder(home) {
			return got, failed
		}
		if wire.StatusOf(failed) != wire.NotFound {
			err = failed
		}
	}
	return dst, err
}

// fetchNear stages what the folder and the desk have. What is missing after that may be at the server; so may what a stick has kept
// badly.
func (r *receiving) fetchNear(ctx context.Context, d *transfer.Downloader, store *nearby) error {
	err := d.Fetch(ctx, each(ctx, r.refs))
	var gone *transfer.MissingError
	switch {
	case errors.As(err, &gone):
	case errors.Is(err, transfer.ErrIntegrity):
		r.n.notice("packs-damaged", "")
		store.rotten.Store(true)
	default:
		return err
	}
	store.far.Store(true)
	return nil
}

// fromFolder reports whether this run takes packs from a folder that the person named, now or at first.
func (r *receiving) fromFolder() bool { return r.through != "" || r.meta.Folder != "" }

// askServer reaches the server for a transfer that began in a folder on this device, and elsewhere on the other: the ticket opens
// it there too. It is true when the server has let this device in, once.
func (r *receiving) askServer(ctx context.Context) bool {
	if r.through != "" || r.remote != nil || r.n.cfg.Server.IsZero() || r.n.cfg.Route == RouteDirect {
		return false
	}
	claim, err := r.ticketClaim()
	if err != nil {
		return false
	}
	if r.remote, err = r.n.dialWithin(r.id, r.n.cfg.Server, viaPatience); err != nil {
		return false
	}
	if _, err = r.remote.Claim(ctx, claim); err != nil {
		r.n.cfg.Log.Info("the server does not know this transfer", "status", wire.StatusOf(err).String())
		return false
	}
	r.hub.add(asked{r.remote})
	return true
}

// ticketClaim is what a device shows that holds the ticket.
func (r *receiving) ticketClaim() (remote.Claim, error) {
	t, err := pairing.TicketFromBytes(r.secrets.Ticket)
	if err != nil {
		return remote.Claim{}, err
	}
	return remote.Claim{Locator: t.Locator(), Signature: pairing.SignClaim(t, r.id.device.Peer(), r.id.cardHash), Card: r.meta.Card}, nil
}

// explainFolder turns what a folder says into an error of this package: neither its end nor its being full is the session's.
func explainFolder(err error) error {
	switch wire.StatusOf(err) {
	case wire.NoSpace, wire.QuotaSpace, wire.QuotaCount:
		return fmt.Errorf("%w: %v", ErrFolderFull, err)
	case wire.NotFound, wire.Done, wire.Expired, wire.Revoked:
		return fmt.Errorf("%w: %v", ErrOtherFolder, err)
	}
	return err
}

// askThrough ends the run because packs are nowhere to be found now, and asks the sender for them through the folder.
func (r *receiving) askThrough(ctx context.Context, d *transfer.Downloader, why error) error {
	var packs []manifest.PackRef
	for i := range r.refs {
		if ref := &r.refs[i]; !ref.Padding && !d.Staged(ref) {
			packs = append(packs, *ref)
		}
	}
	parts, err := lostPacks(packs)
	if err != nil {
		return err
	}
	r.n.notice("packs-elsewhere", strconv.Itoa(len(packs)))
	at := r.hub.home()
	if r.folder != nil {
		at = *r.folder
	}
	box := at.Mailbox(r.st.Session.Scope())
	for _, list := range parts {
		body, err := r.envelope(session.Again)(list)
		if err != nil {
			return err
		}
		if err := box.Post(ctx, r.st.Peer, body); err != nil {
			r.n.cfg.Log.Info("the folder takes no message", "err", err)
			break
		}
	}
	return fmt.Errorf("%w: %v", ErrIncomplete, why)
}

// leave puts a message where the sender will find it: the folder, and the server if that answers. told says that one of them has
// taken it, over that the session has ended there.
func (r *receiving) leave(ctx context.Context, body []byte) (told, over bool) {
	askAll(ctx, r.hub, func(ctx context.Context, s service) (struct{}, error) {
		return struct{}{}, s.Mailbox(r.st.Session.Scope()).Post(ctx, r.st.Peer, body)
	}, func(a reply[struct{}]) (time.Duration, bool) {
		if _, own := a.from.(atDesk); own {
			return 0, false
		}
		told = told || a.err == nil
		over = over || wire.StatusOf(a.err) == wire.Done
		return grace, told || over
	})
	if !told && !over {
		r.n.notice("receipt-pending", "")
	}
	return told, over
}
