package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// The names in a session's directory, which is named by the session (SPEC 11.3).
const (
	offerName  = "offer"
	ticketName = "ticket"
	endName    = "end"
	blobsDir   = "blobs"
	rootsDir   = "roots"
	pinsDir    = "pins"
	claimsDir  = "claims"
	mailDir    = "mail"
)

// Session is the blob store of one session in a folder. It is safe for concurrent use.
type Session struct {
	f     *Folder
	sid   id.Session
	box   Mailbox
	sweep sync.Once // of files that an earlier process left half-written

	changing sync.Mutex // held while the session's records are compared and changed
	naming   sync.Mutex // held while a blob's name is looked for and given

	mu      sync.Mutex      // guards the rest
	offer   *offer          // once it was read: it never changes
	settled map[string]bool // directories whose entries this process has synced
}

// view is a session's directory, open, with what was found there. Close it.
type view struct {
	*place
	offer *offer
	ack   []byte // not nil once the sender has finished
}

// enter opens the session's directory. Without an offer there is no session.
func (s *Session) enter(ctx context.Context) (*view, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tree, err := s.f.tree()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wire.NotFound
	}
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	r, err := step(tree.Root, s.sid.String())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wire.NotFound
	}
	if err != nil {
		return nil, err
	}
	v := &view{place: &place{Root: r, device: tree.device, sweep: &s.sweep}}
	if v.offer, err = s.offered(v.place); err == nil {
		v.ack, err = v.read(endName, kindEnd)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return v, nil
}

func (s *Session) offered(p *place) (*offer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offer != nil {
		return s.offer, nil
	}
	body, err := p.read(offerName, kindOffer)
	if err != nil {
		return nil, err
	}
	if s.offer = parseOffer(s.sid, body); s.offer == nil {
		return nil, wire.NotFound
	}
	return s.offer, nil
}

// live is enter for a session that has not ended.
func (s *Session) live(ctx context.Context) (*view, error) {
	v, err := s.enter(ctx)
	if err == nil && v.ack != nil {
		v.Close()
		return nil, wire.Done
	}
	return v, err
}

// own is live for the session's sender.
func (s *Session) own(ctx context.Context) (*view, error) {
	v, err := s.enter(ctx)
	switch {
	case err != nil:
		return nil, err
	case v.device != v.offer.sender:
		err = wire.Forbidden
	case v.ack != nil:
		err = wire.Done
	default:
		return v, nil
	}
	v.Close()
	return nil, err
}

// Open creates a session with this device as its sender, and tells until when it is meant to be there: nothing in a folder
// ends by itself. The same offer again is no error, another for the same session or locator is wire.Conflict. A file system
// without room for the blobs that it announces is wire.NoSpace, a folder of 4,096 sessions wire.QuotaCount.
func (f *Folder) Open(ctx context.Context, o remote.Offer) (time.Time, error) {
	t, err := f.openSession(ctx, &o)
	return t, fail("open", err)
}

func (f *Folder) openSession(ctx context.Context, o *remote.Offer) (time.Time, error) {
	want, err := f.offerOf(o)
	if err != nil {
		return time.Time{}, err
	}
	s := f.Session(o.Session)
	s.changing.Lock()
	defer s.changing.Unlock()
	v, err := s.enter(ctx)
	if err == nil {
		defer v.Close()
		return v.offer.expiry(), v.again(want, o.Ticket)
	}
	if !errors.Is(err, wire.NotFound) {
		return time.Time{}, err
	}
	return want.expiry(), f.begin(o, want)
}

func (f *Folder) offerOf(o *remote.Offer) (*offer, error) {
	if o.Session.IsZero() || o.Class.BlobSize() == 0 || o.Blobs == 0 || o.Expiry < 0 {
		return nil, wire.Malformed
	}
	if o.Blobs > maxBlobs {
		return nil, wire.QuotaSpace
	}
	expiry := o.Expiry
	if expiry == 0 {
		expiry = usualExpiry
	}
	out := &offer{sender: f.cfg.Device, class: o.Class, blobs: o.Blobs, expires: time.Now().Add(min(expiry, maxExpiry)).UnixMilli()}
	if t := o.Ticket; t != nil {
		if len(t.Grant) > wire.MaxGrant {
			return nil, wire.TooLarge
		}
		out.ticket, out.locator, out.claimKey = true, t.Locator, t.ClaimKey
	}
	return out, nil
}

// again checks a repeated offer against the one that is there.
func (v *view) again(want *offer, t *remote.Ticket) error {
	switch {
	case v.ack != nil:
		return wire.Done
	case !v.offer.same(want):
		return wire.Conflict
	case t == nil:
		return nil
	}
	return v.keep(ticketName, kindTicket, t.Share[:], t.Grant)
}

// begin writes a new session: what the offer refers to, and then the offer, which makes the session be there.
func (f *Folder) begin(o *remote.Offer, want *offer) error {
	tree, err := f.tree()
	if err != nil {
		return err
	}
	defer tree.Close()
	if err := f.room(tree, want); err != nil {
		return err
	}
	if want.ticket {
		if err := tree.keep(ticketsDir+"/"+want.locator.String(), kindLocator, o.Session[:]); err != nil {
			return err
		}
	}
	if err := tree.ensure(want.dirs(o.Session.String())...); err != nil {
		return err
	}
	r, err := step(tree.Root, o.Session.String())
	if err != nil {
		return err
	}
	p := &place{Root: r, device: f.cfg.Device, sweep: &f.Session(o.Session).sweep}
	defer p.Close()
	if t := o.Ticket; t != nil {
		if err := p.keep(ticketName, kindTicket, t.Share[:], t.Grant); err != nil {
			return err
		}
	}
	return p.keep(offerName, kindOffer, want.parts(o.Session)...)
}

// room checks that the folder can take one more session, and the file system its blobs.
func (f *Folder) room(tree *place, want *offer) error {
	names, err := tree.list(".")
	if err != nil {
		return err
	}
	if len(names) >= maxEntries {
		return wire.QuotaCount
	}
	free, err := freeBytes(f.cfg.Dir)
	if err == nil && free < want.blobs*uint64(want.class.BlobSize()) { // not the reserve too: what Hello told must be enough
		err = wire.NoSpace
	}
	return err
}

// Commit stores an epoch's root. The same root again is no error; what else is refused is as with the server.
func (f *Folder) Commit(ctx context.Context, sid id.Session, root *remote.Root) error {
	return fail("commit", f.commit(ctx, sid, root))
}

func (f *Folder) commit(ctx context.Context, sid id.Session, root *remote.Root) error {
	switch {
	case len(root.Sealed) > wire.MaxRoot:
		return wire.TooLarge
	case len(root.Sealed) == 0, len(root.Signature) != 64:
		return wire.Malformed
	}
	s := f.Session(sid)
	s.changing.Lock()
	defer s.changing.Unlock()
	v, err := s.own(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	now, err := v.root()
	if err != nil {
		return err
	}
	if now != nil {
		switch {
		case root.Epoch < now.Epoch:
			return wire.StaleEpoch
		case root.Epoch > now.Epoch && now.Final && !root.Final:
			return wire.WrongState
		}
	}
	if err := v.keep(numbered(rootsDir, root.Epoch), kindRoot, rootParts(root)...); err != nil {
		return err
	}
	return v.removeBelow(rootsDir, root.Epoch)
}

func (v *view) root() (*remote.Root, error) {
	r, _, err := newest(v.place, rootsDir, kindRoot, parseRoot)
	return r, err
}

// GetRoot returns the newest root whose epoch is at least minEpoch, waiting up to wait (at most wire.MaxWait) for it. It is
// nil, without an error, if there is none by then.
func (f *Folder) GetRoot(ctx context.Context, sid id.Session, minEpoch uint64, wait time.Duration) (*remote.Root, error) {
	var out *remote.Root
	err := poll(ctx, wait, func() (bool, error) {
		v, err := f.Session(sid).live(ctx)
		if err != nil {
			return false, err
		}
		defer v.Close()
		out, err = v.root()
		if out != nil && out.Epoch < minEpoch {
			out = nil
		}
		return out != nil, err
	})
	return out, fail("get root", err)
}

// Status asks where a session stands, from what can be seen. Blobs are not counted.
func (f *Folder) Status(ctx context.Context, sid id.Session) (*remote.Status, error) {
	st, err := f.status(ctx, sid)
	return st, fail("status", err)
}

func (f *Folder) status(ctx context.Context, sid id.Session) (*remote.Status, error) {
	v, err := f.Session(sid).enter(ctx)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	st := &remote.Status{State: remote.Opened, Sender: v.offer.sender, Expires: v.offer.expiry()}
	if v.ack != nil {
		st.State = remote.Done
		return st, nil
	}
	root, err := v.root()
	if err != nil {
		return nil, err
	}
	if root != nil {
		st.Committed, st.Epoch, st.Final = true, root.Epoch, root.Final
	}
	if st.Final {
		st.State = remote.Sealed
	}
	to, err := v.receiver()
	if err != nil {
		return nil, err
	}
	st.Receiver, st.Pinned = to.peer, to.pin != nil
	if to.claim != nil && v.device == v.offer.sender {
		st.ReceiverCard = to.claim.card
	}
	if to.pin != nil && v.device == to.peer {
		st.Pin = to.pin.statement
	}
	return st, nil
}

// Finish completes a session that this device sends: the ack is there for the receiver, and all but that and the offer is
// deleted. On a medium that keeps what was deleted, or was copied, that is no erasure. The same ack again is no error.
func (f *Folder) Finish(ctx context.Context, sid id.Session, ack []byte) error {
	return fail("finish", f.finish(ctx, sid, ack))
}

func (f *Folder) finish(ctx context.Context, sid id.Session, ack []byte) error {
	if len(ack) > maxStatement {
		return wire.TooLarge
	}
	s := f.Session(sid)
	s.changing.Lock()
	defer s.changing.Unlock()
	v, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	if v.device != v.offer.sender {
		return wire.Forbidden
	}
	if err := v.keep(endName, kindEnd, ack); err != nil {
		return err
	}
	return errors.Join(f.forget(v.offer), v.clear())
}

// forget removes the way from a ticket to its session.
func (f *Folder) forget(o *offer) error {
	if !o.ticket {
		return nil
	}
	tree, err := f.tree()
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.remove(ticketsDir + "/" + o.locator.String())
}

// clear removes what nobody needs once the session is over, the ticket's share first.
func (v *view) clear() error {
	for _, name := range [...]string{ticketName, claimsDir, pinsDir, rootsDir, mailDir, blobsDir, tempDir} {
		if err := v.RemoveAll(name); err != nil {
			return err
		}
	}
	return v.syncDir(".")
}

// dirs are the directories of a session below its own.
func (o *offer) dirs(of string) []string {
	var out []string
	for _, d := range [...]string{tempDir, rootsDir, pinsDir, claimsDir, mailDir, blobsDir} {
		out = append(out, of+"/"+d)
	}
	if o.spread() {
		for i := range 256 {
			out = append(out, fmt.Sprintf("%s/%s/%02x", of, blobsDir, i))
		}
	}
	return out
}
