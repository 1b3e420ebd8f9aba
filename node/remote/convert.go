package remote

import (
	"fmt"
	"math"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// Generated types stop in this file and at the calls. Everything from the server is
// checked: lengths, ranges, and what must agree with what was asked.

const (
	maxNote   = 4096                               // bytes of a pin or an ack
	maxUnixMs = 253_402_300_799_999                // the end of the year 9999
	maxExpiry = math.MaxInt64 / int64(time.Second) // what a time.Duration holds
)

var errFields = fmt.Errorf("%w: field out of range", ErrAnswer)

// decoder converts fields and remembers whether one was wrong.
type decoder struct{ bad bool }

func (d *decoder) check(ok bool) {
	if !ok {
		d.bad = true
	}
}

func (d *decoder) bytes16(b []byte) (out [16]byte) {
	d.check(len(b) == len(out))
	copy(out[:], b)
	return out
}

func (d *decoder) bytes32(b []byte) (out [32]byte) {
	d.check(len(b) == len(out))
	copy(out[:], b)
	return out
}

// upTo passes b on, nil if it is empty.
func (d *decoder) upTo(b []byte, limit int) []byte {
	d.check(len(b) <= limit)
	if len(b) == 0 {
		return nil
	}
	return b
}

func (d *decoder) time(ms int64) time.Time {
	d.check(ms >= 0 && ms <= maxUnixMs)
	return time.UnixMilli(ms)
}

func (d *decoder) class(n uint32) wire.Class {
	c := wire.Class(n)
	d.check(uint32(c) == n && c.BlobSize() != 0)
	return c
}

// done returns v, unless a field was wrong.
func done[T any](d *decoder, v *T) (*T, error) {
	if d.bad {
		return nil, errFields
	}
	return v, nil
}

func helloFromWire(m *serverpb.HelloResponse) (*Hello, error) {
	if m.Version != wire.Version && m.Version != 0 {
		return nil, wire.Fail(wire.Version1, "")
	}
	var d decoder
	d.check(m.Version != 0)
	d.check(m.MaxExpirySeconds >= 0 && m.MaxExpirySeconds <= maxExpiry)
	return done(&d, &Hello{Version: m.Version, Incarnation: d.bytes16(m.Incarnation), Time: d.time(m.TimeUnixMs),
		Cache: m.Cache, MaxSessionBytes: m.MaxSessionBytes, MaxExpiry: time.Duration(m.MaxExpirySeconds) * time.Second, FreeBytes: m.FreeBytes})
}

func nameplateFromWire(m *serverpb.AllocateResponse) (*Nameplate, error) {
	var d decoder
	return done(&d, &Nameplate{Number: m.Nameplate, Scope: id.Scope(d.bytes16(m.Scope)), Expires: d.time(m.ExpiresUnixMs)})
}

func offerToWire(o *Offer, rid id.Request) *serverpb.OpenRequest {
	req := &serverpb.OpenRequest{RequestId: rid[:], Session: o.Session[:], SizeClass: uint32(o.Class), DeclaredBlobs: o.Blobs,
		ExpirySeconds: int64(o.Expiry / time.Second)}
	if t := o.Ticket; t != nil {
		req.Ticket = &serverpb.TicketOffer{Locator: t.Locator[:], ClaimKey: t.ClaimKey[:], Share: t.Share[:], Grant: t.Grant}
	}
	if req.Permit = o.Permit; o.Permit != nil && req.Ticket != nil {
		req.Ticket.Share, req.Ticket.Grant = nil, nil
	}
	return req
}

func claimToWire(c *Claim, rid id.Request) *serverpb.ClaimRequest {
	req := &serverpb.ClaimRequest{RequestId: rid[:], Signature: c.Signature, Card: c.Card}
	if c.Session.IsZero() {
		req.Locator = c.Locator[:]
	} else {
		req.Session = c.Session[:]
	}
	return req
}

func claimedFromWire(m *serverpb.ClaimResponse) (*Claimed, error) {
	var d decoder
	d.check(len(m.Share) == 0 || len(m.Share) == 32)
	return done(&d, &Claimed{Session: id.Session(d.bytes16(m.Session)), Sender: id.Peer(d.bytes32(m.Sender)), Class: d.class(m.SizeClass),
		Expires: d.time(m.ExpiresUnixMs), Share: d.upTo(m.Share, 32), Grant: d.upTo(m.Grant, wire.MaxGrant)})
}

func rootFromWire(m *serverpb.GetRootResponse, minEpoch uint64) (*Root, error) {
	if !m.Found {
		return nil, nil
	}
	if m.Epoch < minEpoch {
		return nil, ErrOlder
	}
	var d decoder
	d.check(len(m.Root) > 0 && len(m.Signature) == 64)
	return done(&d, &Root{Epoch: m.Epoch, Final: m.Final, Sealed: d.upTo(m.Root, wire.MaxRoot), Signature: m.Signature})
}

func statusFromWire(m *serverpb.StatusResponse) (*Status, error) {
	var d decoder
	d.check(m.State >= serverpb.State_STATE_OPEN && m.State <= serverpb.State_STATE_REVOKED)
	d.check(m.Committed || !m.Final)
	d.check(m.State != serverpb.State_STATE_SEALED || m.Final)
	d.check(len(m.Receiver) != 0 || !m.Pinned)
	s := &Status{State: State(m.State), Committed: m.Committed, Epoch: m.Epoch, Final: m.Final, Sender: id.Peer(d.bytes32(m.Sender)),
		Pinned: m.Pinned, ReceiverCard: d.upTo(m.ReceiverCard, wire.MaxCard), Pin: d.upTo(m.Pin, maxNote), Blobs: m.Blobs, Expires: d.time(m.ExpiresUnixMs)}
	if len(m.Receiver) != 0 {
		s.Receiver = id.Peer(d.bytes32(m.Receiver))
	}
	return done(&d, s)
}

func fetchFromWire(m *serverpb.FetchResponse, after uint64) ([]wire.Message, []byte, error) {
	var d decoder
	d.check(len(m.Messages) <= wire.MaxFetch)
	if d.bad {
		return nil, nil, errFields
	}
	msgs := make([]wire.Message, len(m.Messages))
	for i, e := range m.Messages {
		d.check(e.Sequence > after)
		after = e.Sequence
		msgs[i] = wire.Message{Sequence: e.Sequence, From: id.Peer(d.bytes32(e.From)), Body: d.upTo(e.Body, wire.MaxBody)}
	}
	ack := d.upTo(m.Ack, maxNote)
	if d.bad {
		return nil, nil, errFields
	}
	return msgs, ack, nil
}
