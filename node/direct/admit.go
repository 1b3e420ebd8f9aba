package direct

import (
	"context"
	"fmt"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Open is the sender's: wire.Forbidden.
func (d *Desk) Open(context.Context, remote.Offer) (time.Time, error) {
	return time.Time{}, notMine("open")
}

// open makes the sender's session known. A device that is not admitted has one offer,
// which becomes the session when it is. To open again what is open is no error.
func (d *Desk) open(caller id.Peer, o *remote.Offer) (*record, error) {
	if o.Class.BlobSize() == 0 || o.Blobs == 0 || o.Expiry < 0 || o.Session.IsZero() {
		return nil, wire.Malformed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before, err := d.vacancy(caller, o)
	if err != nil || before != nil && before.State != 0 {
		return before, err
	}
	now := d.cfg.Now()
	r := &record{ID: o.Session, Sender: caller, State: remote.Opened, Class: o.Class, Blobs: o.Blobs, Created: now.UnixMilli(),
		Expires: now.Add(lifeOf(o.Expiry)).UnixMilli()}
	if before != nil {
		r.Admitted, r.Card = true, before.Card
	}
	if err := d.keep(r, nil); err != nil {
		return nil, err
	}
	kill.Point(kill.ReceiverDeskOpened)
	return r, nil
}

func lifeOf(asked time.Duration) time.Duration {
	if asked == 0 {
		return life
	}
	return min(asked, maxLife)
}

// vacancy finds what an offer would open: the session to which its sender was admitted,
// what it has opened before, or nothing yet. The caller holds mu.
func (d *Desk) vacancy(caller id.Peer, o *remote.Offer) (*record, error) {
	before := d.offers[caller]
	if s := d.session; s != nil {
		if s.Sender != caller || s.ID != o.Session { // there is one session for one sender
			return nil, wire.Forbidden
		}
		before = s
	}
	switch {
	case before == nil && !d.roomForOffer():
		return nil, wire.QuotaCount
	case before == nil || before.ID != o.Session:
		return nil, nil
	case before.State == remote.Done:
		return nil, wire.Done
	case before.State != 0 && before.Class != o.Class:
		return nil, wire.Conflict
	}
	return before, nil
}

// roomForOffer reports whether a stranger may leave an offer. Those are forgotten that
// are older than any code. The caller holds mu.
func (d *Desk) roomForOffer() bool {
	if len(d.offers) < maxOffers {
		return true
	}
	old := map[string][]byte{}
	for _, o := range d.offers {
		if age := d.cfg.Now().UnixMilli() - o.Created; age < 0 || age > plateLife.Milliseconds() {
			old[o.key()] = nil
		}
	}
	if len(old) == 0 || d.put(old) != nil {
		return false
	}
	for p, o := range d.offers {
		if _, ok := old[o.key()]; ok {
			delete(d.offers, p)
		}
	}
	return true
}

// Admit lets one sender in, with one session, for good: once this device has proved who
// it is (docs/SPEC.md section 6). What it has opened becomes the session; nobody else is
// served any more. It is durable when nil is returned. The same again is no error, and
// anything else wire.Conflict.
func (d *Desk) Admit(sender id.Peer, sid id.Session) error {
	if sender.IsZero() || sender == d.cfg.Device || sid.IsZero() {
		return wire.Fail(wire.Malformed, "admit")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.session; s != nil {
		if s.Sender != sender || s.ID != sid {
			return wire.Fail(wire.Conflict, "admit")
		}
		return nil
	}
	r := &record{ID: sid, Sender: sender, Created: d.cfg.Now().UnixMilli()}
	if o := d.offers[sender]; o != nil && o.ID == sid {
		*r = *o
	}
	r.Admitted = true
	kv := map[string][]byte{}
	for _, o := range d.offers {
		kv[o.key()] = nil
	}
	if err := d.keep(r, kv); err != nil {
		return fmt.Errorf("admit: %w", err)
	}
	clear(d.offers)
	kill.Point(kill.ReceiverDeskAdmitted)
	return nil
}

// Admitted returns whom Admit let in.
func (d *Desk) Admitted() (sender id.Peer, sid id.Session, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == nil {
		return sender, sid, false
	}
	return d.session.Sender, d.session.ID, true
}
