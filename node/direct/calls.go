package direct

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// Generated types stop in this file.

// call is one control call.
type call struct {
	limit    int64 // bytes of a request
	admitted bool  // for the admitted sender only; one who is about to be admitted waits
	serve    func(d *Desk, ctx context.Context, caller id.Peer, body []byte) (proto.Message, error)
}

// calls are those of the server protocol that a sender needs.
var calls = map[string]call{
	"Hello":   {limit: 64, serve: parsed(hello)},
	"Resolve": {limit: 64, serve: parsed(resolve)},
	"Open":    {limit: wire.MaxGrant + 1<<10, serve: parsed(open)},
	"Pin":     {limit: wire.MaxCard + 1<<10, serve: parsed(pin)},
	"Status":  {limit: 64, serve: parsed(status)},
	"Post":    {limit: wire.MaxBody + 1<<10, serve: parsed(post)},
	"Fetch":   {limit: 128, serve: parsed(fetch)},
	"Ack":     {limit: 128, serve: parsed(ack)},
	"Commit":  {limit: wire.MaxRoot + 1<<10, admitted: true, serve: parsed(commit)},
	"Finish":  {limit: wire.MaxCard + 1<<10, admitted: true, serve: parsed(finish)},
	"Has":     {limit: wire.MaxHas*(id.Size+2) + 1<<10, admitted: true, serve: parsed(has)},
}

// request is a call being answered.
type request struct {
	context.Context
	desk   *Desk
	caller id.Peer
	fields fields
}

// parsed turns a function of a request message into a call.
func parsed[Q any, M interface {
	*Q
	proto.Message
}](answer func(*request, M) (proto.Message, error)) func(*Desk, context.Context, id.Peer, []byte) (proto.Message, error) {
	return func(d *Desk, ctx context.Context, caller id.Peer, body []byte) (proto.Message, error) {
		m := M(new(Q))
		if proto.Unmarshal(body, m) != nil {
			return nil, wire.Malformed
		}
		return answer(&request{Context: ctx, desk: d, caller: caller}, m)
	}
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

// waitOf converts a wait in milliseconds, cut to the longest.
func waitOf(ms uint32) time.Duration { return min(time.Duration(ms)*time.Millisecond, wire.MaxWait) }

func hello(r *request, m *serverpb.HelloRequest) (proto.Message, error) {
	if m.Version != wire.Version {
		return nil, wire.Version1
	}
	h := r.desk.hello(r.caller)
	return &serverpb.HelloResponse{Version: h.Version, Incarnation: h.Incarnation[:], TimeUnixMs: h.Time.UnixMilli(),
		MaxSessionBytes: h.MaxSessionBytes, MaxExpirySeconds: int64(h.MaxExpiry / time.Second), FreeBytes: h.FreeBytes}, nil
}

func resolve(r *request, m *serverpb.ResolveRequest) (proto.Message, error) {
	var scope id.Scope
	if len(m.Scope) > 0 {
		scope = fixed[id.Scope](&r.fields, m.Scope)
	}
	if r.fields.bad || (len(m.Scope) > 0) == (m.Nameplate != 0) {
		return nil, wire.Malformed
	}
	scope, err := r.desk.resolve(m.Nameplate, scope)
	if err != nil {
		return nil, err
	}
	return &serverpb.ResolveResponse{Scope: scope[:], Owner: r.desk.cfg.Device[:]}, nil
}

// open ignores a ticket: the desk has no use for what a server keeps of it.
func open(r *request, m *serverpb.OpenRequest) (proto.Message, error) {
	const longest = 100 * 365 * 24 * 3600
	fixed[id.Request](&r.fields, m.RequestId)
	o := remote.Offer{Session: fixed[id.Session](&r.fields, m.Session), Class: wire.Class(m.SizeClass), Blobs: m.DeclaredBlobs}
	if r.fields.bad || m.SizeClass > 255 || m.ExpirySeconds < 0 || m.ExpirySeconds > longest {
		return nil, wire.Malformed
	}
	o.Expiry = time.Duration(m.ExpirySeconds) * time.Second
	s, err := r.desk.open(r.caller, &o)
	if err != nil {
		return nil, err
	}
	return &serverpb.OpenResponse{ExpiresUnixMs: s.Expires}, nil
}

func pin(r *request, m *serverpb.PinRequest) (proto.Message, error) {
	sid, receiver := fixed[id.Session](&r.fields, m.Session), fixed[id.Peer](&r.fields, m.Receiver)
	statement := r.fields.atMost(m.Pin, maxStatement)
	if r.fields.bad {
		return nil, wire.Malformed
	}
	return &serverpb.PinResponse{}, r.desk.pin(r.caller, sid, receiver, statement)
}

// maxStatement is the most bytes of a pin or an ack.
const maxStatement = wire.MaxCard

func status(r *request, m *serverpb.StatusRequest) (proto.Message, error) {
	sid := fixed[id.Session](&r.fields, m.Session)
	if r.fields.bad {
		return nil, wire.Malformed
	}
	s, err := r.desk.status(r.caller, sid)
	if err != nil {
		return nil, err
	}
	return &serverpb.StatusResponse{State: serverpb.State(s.State), Epoch: s.Epoch, Committed: s.Committed, Final: s.Final,
		Sender: s.Sender[:], Receiver: s.Receiver[:], Pinned: s.Pinned, ReceiverCard: s.ReceiverCard, Pin: s.Pin, Blobs: s.Blobs,
		ExpiresUnixMs: s.Expires.UnixMilli()}, nil
}

func commit(r *request, m *serverpb.CommitRequest) (proto.Message, error) {
	sid, sealed := fixed[id.Session](&r.fields, m.Session), r.fields.atMost(m.Root, wire.MaxRoot)
	if r.fields.bad || len(sealed) == 0 || len(m.Signature) != 64 {
		return nil, wire.Malformed
	}
	root := &remote.Root{Epoch: m.Epoch, Final: m.Final, Sealed: sealed, Signature: m.Signature}
	return &serverpb.CommitResponse{}, r.desk.commit(r, r.caller, sid, root)
}

func finish(r *request, m *serverpb.FinishRequest) (proto.Message, error) {
	sid, ack := fixed[id.Session](&r.fields, m.Session), r.fields.atMost(m.Ack, maxStatement)
	if r.fields.bad {
		return nil, wire.Malformed
	}
	return &serverpb.FinishResponse{}, r.desk.finish(r.caller, sid, ack)
}

func has(r *request, m *serverpb.HasRequest) (proto.Message, error) {
	sid := fixed[id.Session](&r.fields, m.Session)
	if r.fields.bad || len(m.Names) > wire.MaxHas {
		return nil, wire.Malformed
	}
	names := make([]id.Blob, len(m.Names))
	for i, n := range m.Names {
		names[i] = fixed[id.Blob](&r.fields, n)
	}
	if r.fields.bad {
		return nil, wire.Malformed
	}
	if _, err := r.desk.active(r.caller, sid); err != nil {
		return nil, err
	}
	there, err := r.desk.has(r, names)
	if err != nil {
		return nil, err
	}
	bits := make([]byte, (len(there)+7)/8)
	for i, yes := range there {
		if yes {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return &serverpb.HasResponse{Present: bits}, nil
}

// post lets a sender wait that is about to be admitted to the scope.
func post(r *request, m *serverpb.PostRequest) (proto.Message, error) {
	rid, scope, to := fixed[id.Request](&r.fields, m.RequestId), fixed[id.Scope](&r.fields, m.Scope), fixed[id.Peer](&r.fields, m.To)
	if r.fields.bad {
		return nil, wire.Malformed
	}
	if r.desk.offered(r.caller, scope) {
		if err := r.desk.awaitAdmission(r, r.caller); err != nil {
			return nil, err
		}
	}
	sequence, err := r.desk.post(r.caller, rid, scope, to, m.Body)
	if err != nil {
		return nil, err
	}
	return &serverpb.PostResponse{Sequence: sequence}, nil
}

func fetch(r *request, m *serverpb.FetchRequest) (proto.Message, error) {
	scope := fixed[id.Scope](&r.fields, m.Scope)
	if r.fields.bad {
		return nil, wire.Malformed
	}
	ms, ack, err := r.desk.fetch(r, r.caller, scope, m.After, waitOf(m.WaitMs))
	if err != nil {
		return nil, err
	}
	out := &serverpb.FetchResponse{Ack: ack, Messages: make([]*serverpb.Envelope, len(ms))}
	for i := range ms {
		out.Messages[i] = &serverpb.Envelope{Sequence: ms[i].Sequence, From: slices.Clone(ms[i].From[:]), Body: ms[i].Body}
	}
	return out, nil
}

func ack(r *request, m *serverpb.AckRequest) (proto.Message, error) {
	scope := fixed[id.Scope](&r.fields, m.Scope)
	if r.fields.bad {
		return nil, wire.Malformed
	}
	return &serverpb.AckResponse{}, r.desk.ack(r.caller, scope, m.UpTo)
}
