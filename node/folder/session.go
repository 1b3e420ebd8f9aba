package folder

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
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

// maxClaims is how many claims a session may have; beyond that someone is at play.
const maxClaims = 64

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

// located returns the session of a ticket's locator.
func (f *Folder) located(l id.Locator) (id.Session, error) {
	tree, err := f.tree()
	if errors.Is(err, fs.ErrNotExist) {
		err = wire.NotFound
	}
	if err != nil {
		return id.Session{}, err
	}
	defer tree.Close()
	body, err := tree.read(ticketsDir+"/"+l.String(), kindLocator)
	if err == nil && len(body) != id.Size {
		err = wire.NotFound
	}
	if err != nil {
		return id.Session{}, err
	}
	return id.Session(body), nil
}

// Claim makes this device a session's receiver, as the server would: by locator with a proof that it holds the ticket, or by
// session once it is pinned. Nobody is there to decide between two devices that claim before either sees the other: then the
// sender's pin does, and until then the lower peer. A folder that can't be written gives what the receiver needs all the
// same, beside ErrDenied: the transfer can go on, and no one will hear of it.
func (f *Folder) Claim(ctx context.Context, c remote.Claim) (*remote.Claimed, error) {
	out, err := f.claim(ctx, &c)
	return out, fail("claim", err)
}

func (f *Folder) claim(ctx context.Context, c *remote.Claim) (*remote.Claimed, error) {
	if len(c.Card) > wire.MaxCard {
		return nil, wire.TooLarge
	}
	own := &claim{peer: f.cfg.Device, card: c.Card}
	sid := c.Session
	if sid.IsZero() {
		found, err := f.located(c.Locator)
		if err != nil {
			return nil, err
		}
		sid, own.signature = found, c.Signature
	}
	s := f.Session(sid)
	s.changing.Lock()
	defer s.changing.Unlock()
	v, err := s.live(ctx)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if c.Session.IsZero() && (v.offer.locator != c.Locator || !own.proved(v.offer)) {
		return nil, wire.NotFound
	}
	out, err := v.claimed(sid)
	if err != nil {
		return nil, err
	}
	if err := v.take(own); err != nil {
		if isDenied(err) {
			return out, err
		}
		return nil, err
	}
	return out, nil
}

// take writes a claim, unless the session is another device's.
func (v *view) take(own *claim) error {
	now, err := v.receiver()
	switch {
	case err != nil:
		return err
	case own.peer == v.offer.sender:
		return wire.Forbidden
	case now.peer.IsZero() && own.signature == nil:
		return wire.NotPinned
	case !now.peer.IsZero() && now.peer != own.peer:
		return wire.AlreadyClaimed
	case now.claim != nil && now.claim.covers(own):
		return nil
	}
	name := claimsDir + "/" + hex.EncodeToString(own.peer[:])
	if err := v.create(name, frame(kindClaim, own.parts()...)); err != nil {
		return err
	}
	now, err = v.receiver()
	if err == nil && now.peer != own.peer { // both came at once
		err = errors.Join(wire.AlreadyClaimed, v.remove(name))
	}
	return err
}

// covers reports whether a claim says what another one does.
func (c *claim) covers(o *claim) bool {
	return bytes.Equal(c.card, o.card) && (o.signature == nil || bytes.Equal(c.signature, o.signature))
}

// claimed is what the session's receiver gets to know.
func (v *view) claimed(sid id.Session) (*remote.Claimed, error) {
	out := &remote.Claimed{Session: sid, Sender: v.offer.sender, Class: v.offer.class, Expires: v.offer.expiry()}
	if !v.offer.ticket {
		return out, nil
	}
	body, err := v.read(ticketName, kindTicket)
	if err != nil {
		return nil, err
	}
	if out.Share, out.Grant = parseTicket(body); out.Share == nil {
		return nil, wire.NotFound
	}
	return out, nil
}

// party is what a folder knows of a session's receiver.
type party struct {
	peer  id.Peer // zero: nobody
	pin   *pin
	claim *claim
}

// receiver is the device that the newest pin names; without one, in a ticket session, the lowest of those that proved a claim.
func (v *view) receiver() (party, error) {
	pin, _, err := v.pinned()
	if err != nil {
		return party{}, err
	}
	if pin != nil {
		c, err := v.claimOf(hex.EncodeToString(pin.receiver[:]))
		return party{pin.receiver, pin, c}, err
	}
	if !v.offer.ticket {
		return party{}, nil
	}
	names, err := v.list(claimsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return party{}, err
	}
	if len(names) > maxClaims {
		return party{}, wire.QuotaCount
	}
	slices.Sort(names)
	for _, name := range names {
		c, err := v.claimOf(name)
		if err != nil {
			return party{}, err
		}
		if c != nil && c.proved(v.offer) {
			return party{c.peer, nil, c}, nil
		}
	}
	return party{}, nil
}

// claimOf reads the claim of that name, nil if there is none.
func (v *view) claimOf(name string) (*claim, error) {
	peer, ok := unhex(name, 32)
	if !ok {
		return nil, nil
	}
	body, err := v.read(claimsDir+"/"+name, kindClaim)
	if err != nil || body == nil {
		return nil, err
	}
	return parseClaim(id.Peer(peer), body), nil
}

func (v *view) pinned() (*pin, uint64, error) {
	return newest(v.place, pinsDir, kindPin, func(_ uint64, body []byte) *pin { return parsePin(body) })
}

func (v *view) root() (*remote.Root, error) {
	r, _, err := newest(v.place, rootsDir, kindRoot, parseRoot)
	return r, err
}

// Pin confirms the receiver of a session that this device sends, whoever had claimed.
func (f *Folder) Pin(ctx context.Context, sid id.Session, receiver id.Peer, statement []byte) error {
	return fail("pin", f.pin(ctx, sid, &pin{receiver, statement}))
}

func (f *Folder) pin(ctx context.Context, sid id.Session, want *pin) error {
	s := f.Session(sid)
	s.changing.Lock()
	defer s.changing.Unlock()
	v, err := s.own(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	switch {
	case want.receiver.IsZero(), want.receiver == v.offer.sender:
		return wire.Malformed
	case len(want.statement) > maxStatement:
		return wire.TooLarge
	}
	now, highest, err := v.pinned()
	switch {
	case err != nil:
		return err
	case now != nil && now.receiver == want.receiver && bytes.Equal(now.statement, want.statement):
		return v.syncDir(pinsDir)
	case highest == math.MaxUint64:
		return wire.Conflict // no number is left; nobody honest was here
	}
	if err := v.create(numbered(pinsDir, highest+1), frame(kindPin, want.receiver[:], want.statement)); err != nil {
		return err
	}
	return v.removeBelow(pinsDir, highest+1)
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
