package api

import (
	"context"
	"math/bits"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/rendezvous"
)

// calls implements the control calls: each parses its message, asks the rendezvous, and builds the answer.
type calls struct{ h *Handler }

var _ serverpbconnect.DecantHandler = calls{}

// result builds what Connect wants to have.
func result[T any](h *Handler, doing string, msg *T, err error) (*connect.Response[T], error) {
	if err == nil {
		return connect.NewResponse(msg), nil
	}
	e := connect.NewError(connect.CodeUnknown, nil)
	e.Meta().Set(wire.StatusHeader, strconv.Itoa(int(h.refusal(err, doing))))
	return nil, e
}

// fields notes whether a field of the message had the wrong length.
type fields struct{ bad bool }

// fixed copies a field that has exactly one length.
func fixed[T ~[16]byte | ~[32]byte](f *fields, b []byte) (out T) {
	if len(b) != len(out) {
		f.bad = true
		return out
	}
	return T(b)
}

func (f *fields) atMost(b []byte, limit int) []byte {
	f.bad = f.bad || len(b) > limit
	return b
}

func (f *fields) err() error {
	if f.bad {
		return wire.Malformed
	}
	return nil
}

// wait converts a wait in milliseconds, cut to the longest.
func wait(ms uint32) time.Duration { return min(time.Duration(ms)*time.Millisecond, wire.MaxWait) }

func (c calls) Hello(ctx context.Context, r *connect.Request[serverpb.HelloRequest]) (*connect.Response[serverpb.HelloResponse], error) {
	if r.Msg.Version != wire.Version {
		return result[serverpb.HelloResponse](c.h, "Hello", nil, wire.Version1)
	}
	limits, room := c.h.Sessions.Limits(), c.h.Sessions.Room()
	if room > 0 {
		room = 1 << (bits.Len64(room) - 1)
	}
	return result(c.h, "Hello", &serverpb.HelloResponse{
		Version:          wire.Version,
		Incarnation:      c.h.Incarnation[:],
		TimeUnixMs:       c.h.Now().UnixMilli(),
		MaxSessionBytes:  limits.SessionBytes,
		MaxExpirySeconds: int64(limits.MaxExpiry / time.Second),
		FreeBytes:        room,
		Cache:            c.h.Cache,
	}, nil)
}

func (c calls) Allocate(ctx context.Context, r *connect.Request[serverpb.AllocateRequest]) (*connect.Response[serverpb.AllocateResponse], error) {
	var f fields
	rid := fixed[id.Request](&f, r.Msg.RequestId)
	if f.bad {
		return result[serverpb.AllocateResponse](c.h, "Allocate", nil, f.err())
	}
	caller := who(ctx)
	n, expires, err := c.h.Sessions.Allocate(caller.peer, rid, c.h.Sessions.Subnet(caller.addr))
	return result(c.h, "Allocate", &serverpb.AllocateResponse{Nameplate: n.Number, Scope: n.Scope[:], ExpiresUnixMs: expires}, err)
}

func (c calls) Resolve(ctx context.Context, r *connect.Request[serverpb.ResolveRequest]) (*connect.Response[serverpb.ResolveResponse], error) {
	n, err := c.resolve(r.Msg)
	return result(c.h, "Resolve", &serverpb.ResolveResponse{Scope: n.Scope[:], Owner: n.Owner[:]}, err)
}

// resolve takes a nameplate or, from a link, its scope.
func (c calls) resolve(m *serverpb.ResolveRequest) (rendezvous.Nameplate, error) {
	if len(m.Scope) == 0 {
		return c.h.Sessions.Resolve(m.Nameplate)
	}
	var f fields
	scope := fixed[id.Scope](&f, m.Scope)
	if f.bad || m.Nameplate != 0 {
		return rendezvous.Nameplate{}, wire.Malformed
	}
	return c.h.Sessions.ResolveScope(scope)
}

func (c calls) Release(ctx context.Context, r *connect.Request[serverpb.ReleaseRequest]) (*connect.Response[serverpb.ReleaseResponse], error) {
	var f fields
	scope := fixed[id.Scope](&f, r.Msg.Scope)
	err := f.err()
	if err == nil {
		err = c.h.Sessions.Release(who(ctx).peer, scope)
	}
	return result(c.h, "Release", &serverpb.ReleaseResponse{}, err)
}

func (c calls) Open(ctx context.Context, r *connect.Request[serverpb.OpenRequest]) (*connect.Response[serverpb.OpenResponse], error) {
	caller := who(ctx)
	req, err := openFromWire(r.Msg)
	if err != nil {
		return result[serverpb.OpenResponse](c.h, "Open", nil, err)
	}
	req.Subnet = c.h.Sessions.Subnet(caller.addr)
	expires, err := c.h.Sessions.Open(caller.peer, req)
	return result(c.h, "Open", &serverpb.OpenResponse{ExpiresUnixMs: expires}, err)
}

func openFromWire(m *serverpb.OpenRequest) (*rendezvous.OpenRequest, error) {
	var f fields
	out := &rendezvous.OpenRequest{
		ID:       fixed[id.Request](&f, m.RequestId),
		Session:  fixed[id.Session](&f, m.Session),
		Declared: m.DeclaredBlobs,
	}
	const longest = 100 * 365 * 24 * 3600
	f.bad = f.bad || m.SizeClass > 255 || m.ExpirySeconds < 0 || m.ExpirySeconds > longest || out.Session.IsZero()
	out.Class, out.Expiry = wire.Class(m.SizeClass), time.Duration(m.ExpirySeconds)*time.Second
	if t := m.Ticket; t != nil {
		out.Offer = &rendezvous.Offer{
			Locator:  fixed[id.Locator](&f, t.Locator),
			ClaimKey: fixed[[32]byte](&f, t.ClaimKey),
			Grant:    f.atMost(t.Grant, wire.MaxGrant),
		}
		if len(m.Permit) == 0 || len(t.Share) > 0 {
			out.Offer.Share = fixed[[32]byte](&f, t.Share)
		}
	}
	if len(m.Permit) > 0 {
		out.Permit = f.atMost(m.Permit, wire.MaxPermit)
	}
	return out, f.err()
}

func (c calls) Claim(ctx context.Context, r *connect.Request[serverpb.ClaimRequest]) (*connect.Response[serverpb.ClaimResponse], error) {
	req, err := claimFromWire(r.Msg)
	if err != nil {
		return result[serverpb.ClaimResponse](c.h, "Claim", nil, err)
	}
	got, err := c.h.Sessions.Claim(who(ctx).peer, req)
	s := got.Session
	return result(c.h, "Claim", &serverpb.ClaimResponse{Session: s.ID[:], Sender: s.Sender[:], SizeClass: uint32(s.Class),
		ExpiresUnixMs: got.Expires, Share: got.Share, Grant: got.Grant}, err)
}

func claimFromWire(m *serverpb.ClaimRequest) (*rendezvous.ClaimRequest, error) {
	var f fields
	out := &rendezvous.ClaimRequest{ID: fixed[id.Request](&f, m.RequestId), Card: f.atMost(m.Card, wire.MaxCard)}
	if len(m.Session) > 0 {
		out.Session = fixed[id.Session](&f, m.Session)
		f.bad = f.bad || len(m.Locator) > 0 || len(m.Signature) > 0
		return out, f.err()
	}
	l := fixed[id.Locator](&f, m.Locator)
	out.Locator, out.Signature = &l, m.Signature
	f.bad = f.bad || len(m.Signature) != 64
	return out, f.err()
}

func (c calls) Pin(ctx context.Context, r *connect.Request[serverpb.PinRequest]) (*connect.Response[serverpb.PinResponse], error) {
	var f fields
	sid, receiver := fixed[id.Session](&f, r.Msg.Session), fixed[id.Peer](&f, r.Msg.Receiver)
	pin := f.atMost(r.Msg.Pin, wire.MaxCard)
	err := f.err()
	if err == nil {
		err = c.h.Sessions.Pin(who(ctx).peer, sid, receiver, pin)
	}
	return result(c.h, "Pin", &serverpb.PinResponse{}, err)
}

func (c calls) Commit(ctx context.Context, r *connect.Request[serverpb.CommitRequest]) (*connect.Response[serverpb.CommitResponse], error) {
	var f fields
	sid, root := fixed[id.Session](&f, r.Msg.Session), f.atMost(r.Msg.Root, wire.MaxRoot)
	f.bad = f.bad || len(r.Msg.Signature) != 64
	out := rendezvous.Root{Epoch: r.Msg.Epoch, Final: r.Msg.Final, Root: root, Signature: r.Msg.Signature}
	if by := who(ctx); c.h.Cache || by.permit != nil {
		out.Before = fixed[id.Commit](&f, r.Msg.Before)
	}
	err := f.err()
	if err == nil {
		err = c.commit(who(ctx), sid, out)
	}
	return result(c.h, "Commit", &serverpb.CommitResponse{}, err)
}

func (c calls) commit(by identity, sid id.Session, r rendezvous.Root) error {
	if by.permit != nil {
		return c.h.Sessions.CommitFromCache(by.peer, by.permit, sid, r)
	}
	err := c.h.Sessions.Commit(by.peer, sid, r)
	if err == nil {
		c.h.Kept(sid, id.Blob{})
	}
	return err
}

func (c calls) GetRoot(ctx context.Context, r *connect.Request[serverpb.GetRootRequest]) (*connect.Response[serverpb.GetRootResponse], error) {
	var f fields
	sid := fixed[id.Session](&f, r.Msg.Session)
	if f.bad {
		return result[serverpb.GetRootResponse](c.h, "GetRoot", nil, f.err())
	}
	root, found, err := c.h.Sessions.GetRoot(ctx, who(ctx).peer, sid, r.Msg.MinEpoch, wait(r.Msg.WaitMs))
	return result(c.h, "GetRoot", &serverpb.GetRootResponse{Found: found, Epoch: root.Epoch, Final: root.Final, Root: root.Root,
		Signature: root.Signature}, err)
}

func (c calls) Status(ctx context.Context, r *connect.Request[serverpb.StatusRequest]) (*connect.Response[serverpb.StatusResponse], error) {
	var f fields
	sid := fixed[id.Session](&f, r.Msg.Session)
	if f.bad {
		return result[serverpb.StatusResponse](c.h, "Status", nil, f.err())
	}
	got, err := c.status(who(ctx), sid)
	s := got.Session
	out := &serverpb.StatusResponse{State: serverpb.State(s.State), Epoch: s.Epoch, Committed: s.Committed, Final: s.Final,
		Sender: s.Sender[:], Pinned: s.Pinned, ReceiverCard: got.Card, Pin: got.Pin,
		Blobs: uint64(c.h.Blobs.Stored(sid)), ExpiresUnixMs: got.Expires}
	if !s.Receiver.IsZero() {
		out.Receiver = s.Receiver[:]
	}
	return result(c.h, "Status", out, err)
}

func (c calls) status(by identity, sid id.Session) (rendezvous.Status, error) {
	if by.permit != nil {
		return c.h.Sessions.StatusForCache(by.peer, by.permit, sid)
	}
	return c.h.Sessions.Status(by.peer, sid)
}

func (c calls) Finish(ctx context.Context, r *connect.Request[serverpb.FinishRequest]) (*connect.Response[serverpb.FinishResponse], error) {
	var f fields
	sid, ack := fixed[id.Session](&f, r.Msg.Session), f.atMost(r.Msg.Ack, wire.MaxCard)
	err := f.err()
	if err == nil {
		err = c.h.Sessions.Finish(who(ctx).peer, sid, ack)
	}
	return result(c.h, "Finish", &serverpb.FinishResponse{}, err)
}

func (c calls) Revoke(ctx context.Context, r *connect.Request[serverpb.RevokeRequest]) (*connect.Response[serverpb.RevokeResponse], error) {
	var f fields
	sid := fixed[id.Session](&f, r.Msg.Session)
	err := f.err()
	if err == nil {
		err = c.h.Sessions.Revoke(who(ctx).peer, sid)
	}
	return result(c.h, "Revoke", &serverpb.RevokeResponse{}, err)
}

func (c calls) Has(ctx context.Context, r *connect.Request[serverpb.HasRequest]) (*connect.Response[serverpb.HasResponse], error) {
	present, err := c.has(ctx, r.Msg)
	return result(c.h, "Has", &serverpb.HasResponse{Present: present}, err)
}

func (c calls) has(ctx context.Context, m *serverpb.HasRequest) ([]byte, error) {
	var f fields
	sid := fixed[id.Session](&f, m.Session)
	if f.bad || len(m.Names) > wire.MaxHas {
		return nil, wire.Malformed
	}
	names := make([]id.Blob, len(m.Names))
	for i, n := range m.Names {
		names[i] = fixed[id.Blob](&f, n)
	}
	if f.bad {
		return nil, wire.Malformed
	}
	session, _, err := c.h.enter(ctx, sid, rendezvous.Look)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	has, err := session.Has(names)
	if err != nil {
		return nil, err
	}
	out := make([]byte, (len(has)+7)/8)
	for i, yes := range has {
		if yes {
			out[i/8] |= 1 << (i % 8)
		}
	}
	return out, nil
}

func (c calls) Post(ctx context.Context, r *connect.Request[serverpb.PostRequest]) (*connect.Response[serverpb.PostResponse], error) {
	var f fields
	rid, scope, to := fixed[id.Request](&f, r.Msg.RequestId), fixed[id.Scope](&f, r.Msg.Scope), fixed[id.Peer](&f, r.Msg.To)
	if f.bad {
		return result[serverpb.PostResponse](c.h, "Post", nil, f.err())
	}
	sequence, err := c.h.Sessions.Post(who(ctx).peer, rid, scope, to, r.Msg.Body)
	return result(c.h, "Post", &serverpb.PostResponse{Sequence: sequence}, err)
}

func (c calls) Fetch(ctx context.Context, r *connect.Request[serverpb.FetchRequest]) (*connect.Response[serverpb.FetchResponse], error) {
	var f fields
	scope := fixed[id.Scope](&f, r.Msg.Scope)
	if f.bad {
		return result[serverpb.FetchResponse](c.h, "Fetch", nil, f.err())
	}
	list, ack, err := c.h.Sessions.Fetch(ctx, who(ctx).peer, scope, r.Msg.After, wait(r.Msg.WaitMs))
	out := &serverpb.FetchResponse{Ack: ack}
	for _, m := range list {
		out.Messages = append(out.Messages, &serverpb.Envelope{Sequence: m.Sequence, From: m.From[:], Body: m.Body})
	}
	return result(c.h, "Fetch", out, err)
}

func (c calls) Ack(ctx context.Context, r *connect.Request[serverpb.AckRequest]) (*connect.Response[serverpb.AckResponse], error) {
	var f fields
	scope := fixed[id.Scope](&f, r.Msg.Scope)
	err := f.err()
	if err == nil {
		err = c.h.Sessions.Ack(who(ctx).peer, scope, r.Msg.UpTo)
	}
	return result(c.h, "Ack", &serverpb.AckResponse{}, err)
}
