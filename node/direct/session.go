package direct

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// party returns the session sid for a caller that may know of it: its sender, admitted
// or not yet, or the receiver once the sender is admitted. The caller holds mu.
func (d *Desk) party(caller id.Peer, sid id.Session) (*record, error) {
	if s := d.session; s != nil {
		switch {
		case caller != s.Sender && caller != d.cfg.Device:
			return nil, wire.Forbidden
		case s.ID != sid:
			return nil, wire.NotFound
		}
		return s, nil
	}
	if o := d.offers[caller]; o != nil && o.ID == sid {
		return o, nil
	}
	return nil, wire.NotFound
}

// opened is party for a session that the sender has opened here and that goes on.
func (d *Desk) opened(caller id.Peer, sid id.Session) (*record, error) {
	r, err := d.party(caller, sid)
	switch {
	case err != nil:
		return nil, err
	case r.State == 0:
		return nil, wire.NotFound
	case r.State == remote.Done:
		return nil, wire.Done
	}
	return r, nil
}

// notMine refuses what only a sender may ask for.
func notMine(op string) error { return wire.Fail(wire.Forbidden, op) }

// Claim keeps the receiver's card for the sender. Only a session that the sender has
// opened can be claimed, and only by its ID: wire.NotFound.
func (d *Desk) Claim(_ context.Context, c remote.Claim) (*remote.Claimed, error) {
	if len(c.Card) > wire.MaxCard {
		return nil, wire.Fail(wire.TooLarge, "claim")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.opened(d.cfg.Device, c.Session)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	if !bytes.Equal(s.Card, c.Card) {
		r := *s
		r.Card = slices.Clone(c.Card)
		if err := d.keep(&r, nil); err != nil {
			return nil, fmt.Errorf("claim: %w", err)
		}
		kill.Point(kill.ReceiverDeskClaimed)
	}
	return &remote.Claimed{Session: s.ID, Sender: s.Sender, Class: s.Class, Expires: time.UnixMilli(s.Expires)}, nil
}

// Pin is the sender's: wire.Forbidden.
func (d *Desk) Pin(context.Context, id.Session, id.Peer, []byte) error { return notMine("pin") }

// pin keeps the sender's statement that the receiver is this device.
func (d *Desk) pin(caller id.Peer, sid id.Session, receiver id.Peer, pin []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.opened(caller, sid)
	if err != nil {
		return err
	}
	if receiver != d.cfg.Device {
		return wire.Forbidden
	}
	if s.Pinned && bytes.Equal(s.Pin, pin) {
		return nil
	}
	r := *s
	r.Pinned, r.Pin = true, slices.Clone(pin)
	if err := d.keep(&r, nil); err != nil {
		return err
	}
	kill.Point(kill.ReceiverDeskPinned)
	return nil
}

// Commit is the sender's: wire.Forbidden.
func (d *Desk) Commit(context.Context, id.Session, *remote.Root) error { return notMine("commit") }

// commit stores an epoch's root. A final one says that everything is here, so all that
// was delivered is made durable before it.
func (d *Desk) commit(ctx context.Context, caller id.Peer, sid id.Session, root *remote.Root) error {
	if same, err := d.committable(caller, sid, root); same || err != nil {
		return err
	}
	if root.Final {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.opened(caller, sid)
	if err != nil {
		return err
	}
	if same, err := d.follows(s, root); same || err != nil {
		return err
	}
	r := *s
	r.Committed, r.Epoch, r.Final = true, root.Epoch, root.Final
	if root.Final {
		r.State = remote.Sealed
	}
	if err := d.keep(&r, map[string][]byte{keyRoot: encodeRoot(root)}); err != nil {
		return err
	}
	d.root = root
	kill.Point(kill.ReceiverDeskCommitted)
	return nil
}

func (d *Desk) committable(caller id.Peer, sid id.Session, root *remote.Root) (same bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.opened(caller, sid)
	if err != nil {
		return false, err
	}
	return d.follows(s, root)
}

// follows reports whether root may come after what is committed, or is the same. These are
// the server's rules. The caller holds mu.
func (d *Desk) follows(s *record, root *remote.Root) (same bool, err error) {
	switch {
	case !s.Committed:
		return false, nil
	case root.Epoch < s.Epoch:
		return false, wire.StaleEpoch
	case root.Epoch > s.Epoch && s.Final && !root.Final: // a complete collection is only ever replaced by a complete one
		return false, wire.WrongState
	case root.Epoch > s.Epoch:
		return false, nil
	case root.Final != s.Final || !bytes.Equal(encodeRoot(root), encodeRoot(d.root)):
		return false, wire.Conflict
	}
	return true, nil
}

// GetRoot returns the newest root whose epoch is at least minEpoch, waiting up to wait
// (at most wire.MaxWait) for it. It is nil, without an error, if there is none by then.
// The root must not be changed.
func (d *Desk) GetRoot(ctx context.Context, sid id.Session, minEpoch uint64, wait time.Duration) (root *remote.Root, err error) {
	_, err = d.poll(ctx, min(wait, wire.MaxWait), func() (bool, error) {
		s, err := d.party(d.cfg.Device, sid)
		switch {
		case err != nil:
			return false, err
		case s.State == remote.Done:
			return false, wire.Done
		case s.Committed && s.Epoch >= minEpoch:
			root = d.root
		}
		return root != nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("get root: %w", err)
	}
	return root, nil
}

// Status tells where the session stands; wire.NotFound before the sender has opened it.
func (d *Desk) Status(_ context.Context, sid id.Session) (*remote.Status, error) {
	st, err := d.status(d.cfg.Device, sid)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return st, nil
}

func (d *Desk) status(caller id.Peer, sid id.Session) (*remote.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.party(caller, sid)
	if err != nil {
		return nil, err
	}
	if s.State == 0 {
		return nil, wire.NotFound
	}
	st := &remote.Status{State: s.State, Committed: s.Committed, Epoch: s.Epoch, Final: s.Final, Sender: s.Sender,
		Receiver: d.cfg.Device, Pinned: s.Pinned, Blobs: uint64(d.spool.len()), Expires: time.UnixMilli(s.Expires)}
	if caller == s.Sender {
		st.ReceiverCard = s.Card
	} else {
		st.Pin = s.Pin
	}
	return st, nil
}

// Finish is the sender's: wire.Forbidden.
func (d *Desk) Finish(context.Context, id.Session, []byte) error { return notMine("finish") }

// finish ends the session. The ack stays for the receiver; messages, root and spool go.
func (d *Desk) finish(caller id.Peer, sid id.Session, ack []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.party(caller, sid)
	switch {
	case err != nil:
		return err
	case s.State == 0:
		return wire.NotFound
	case s.State == remote.Done && bytes.Equal(s.Ack, ack):
		return nil
	case s.State == remote.Done:
		return wire.Conflict
	}
	r := *s
	r.State, r.Ack, r.Card, r.Pin = remote.Done, slices.Clone(ack), nil, nil
	kv, err := d.mailOf(sid.Scope())
	if err != nil {
		return err
	}
	kv[keyRoot] = nil
	if err := d.keep(&r, kv); err != nil {
		return err
	}
	kill.Point(kill.ReceiverDeskFinished)
	delete(d.boxes, sid.Scope())
	d.root = nil
	return d.spool.clear()
}
