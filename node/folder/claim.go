package folder

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"math"
	"slices"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// maxClaims is how many claims a session may have; beyond that someone is at play.
const maxClaims = 64

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
