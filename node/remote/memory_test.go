package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
)

type device struct{ key ed25519.PrivateKey }

func newDevice() device {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	return device{k}
}

func (d device) Ed25519() ed25519.PrivateKey { return d.key }
func (d device) Peer() id.Peer               { return id.Peer(d.key.Public().(ed25519.PublicKey)) }

// memory is a server that keeps blobs, messages and one session in memory. It speaks
// the protocol through connect's own handlers; who may do what is not its business.
type memory struct {
	serverpbconnect.UnimplementedDecantHandler
	owner id.Peer

	mu      sync.Mutex // guards the rest
	blobs   map[string][]byte
	seen    map[string]uint64 // sequence number by request ID of a Post
	mail    map[id.Peer][]*serverpb.Envelope
	next    uint64
	session serverpb.StatusResponse
	root    *serverpb.CommitRequest
	offer   *serverpb.OpenRequest
	ack     []byte
	rids    [][]byte // request IDs in order of arrival
}

func newMemory() *memory {
	return &memory{blobs: map[string][]byte{}, seen: map[string]uint64{}, mail: map[id.Peer][]*serverpb.Envelope{}}
}

func (m *memory) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(serverpbconnect.NewDecantHandler(m))
	mux.HandleFunc(wire.BlobPath+"{session}/{blob}", m.blob)
	return mux
}

// refuse answers a blob request with a status.
func refuse(w http.ResponseWriter, s wire.Status) {
	w.Header().Set(wire.StatusHeader, strconv.Itoa(int(s)))
	w.WriteHeader(s.HTTP())
}

// refusalOf answers a control call with a status.
func refusalOf(s wire.Status) error {
	err := connect.NewError(connect.CodeFailedPrecondition, nil)
	err.Meta().Set(wire.StatusHeader, strconv.Itoa(int(s)))
	return err
}

func (m *memory) blob(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("session") + "/" + r.PathValue("blob")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.blobs[name]
	switch {
	case r.Method == http.MethodPut && ok && !bytes.Equal(old, body):
		refuse(w, wire.Conflict)
	case r.Method == http.MethodPut:
		m.blobs[name] = body
	case !ok:
		refuse(w, wire.NotFound)
	case r.Method == http.MethodDelete:
		delete(m.blobs, name)
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(old)))
		w.Write(old)
	}
}

var epoch0 = time.UnixMilli(1_800_000_000_000)

func (m *memory) Hello(context.Context, *connect.Request[serverpb.HelloRequest]) (*connect.Response[serverpb.HelloResponse], error) {
	return connect.NewResponse(&serverpb.HelloResponse{Version: wire.Version, Incarnation: make([]byte, 16), TimeUnixMs: epoch0.UnixMilli(),
		MaxSessionBytes: 1 << 40, MaxExpirySeconds: 30 * 86400, FreeBytes: 1 << 30}), nil
}

func (m *memory) Allocate(_ context.Context, r *connect.Request[serverpb.AllocateRequest]) (*connect.Response[serverpb.AllocateResponse], error) {
	return connect.NewResponse(&serverpb.AllocateResponse{Nameplate: 7, Scope: r.Msg.RequestId, ExpiresUnixMs: epoch0.UnixMilli()}), nil
}

func (m *memory) Resolve(_ context.Context, r *connect.Request[serverpb.ResolveRequest]) (*connect.Response[serverpb.ResolveResponse], error) {
	if len(r.Msg.Scope) == 16 {
		return connect.NewResponse(&serverpb.ResolveResponse{Scope: r.Msg.Scope, Owner: m.owner[:]}), nil
	}
	if r.Msg.Nameplate != 7 {
		return nil, refusalOf(wire.NotFound)
	}
	return connect.NewResponse(&serverpb.ResolveResponse{Scope: make([]byte, 16), Owner: m.owner[:]}), nil
}

func (m *memory) Release(context.Context, *connect.Request[serverpb.ReleaseRequest]) (*connect.Response[serverpb.ReleaseResponse], error) {
	return connect.NewResponse(&serverpb.ReleaseResponse{}), nil
}

func (m *memory) Open(ctx context.Context, r *connect.Request[serverpb.OpenRequest]) (*connect.Response[serverpb.OpenResponse], error) {
	p, _ := link.PeerFrom(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offer = r.Msg
	m.session = serverpb.StatusResponse{State: serverpb.State_STATE_OPEN, Sender: p[:], ExpiresUnixMs: epoch0.Add(time.Hour).UnixMilli()}
	return connect.NewResponse(&serverpb.OpenResponse{ExpiresUnixMs: m.session.ExpiresUnixMs}), nil
}

func (m *memory) Claim(ctx context.Context, r *connect.Request[serverpb.ClaimRequest]) (*connect.Response[serverpb.ClaimResponse], error) {
	p, _ := link.PeerFrom(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.session.Receiver) != 0 && !bytes.Equal(m.session.Receiver, p[:]) {
		return nil, refusalOf(wire.AlreadyClaimed)
	}
	m.session.Receiver, m.session.ReceiverCard = p[:], r.Msg.Card
	return connect.NewResponse(&serverpb.ClaimResponse{Session: m.offer.Session, Sender: m.session.Sender, SizeClass: m.offer.SizeClass,
		ExpiresUnixMs: m.session.ExpiresUnixMs, Share: m.offer.GetTicket().GetShare(), Grant: m.offer.GetTicket().GetGrant()}), nil
}

func (m *memory) Pin(_ context.Context, r *connect.Request[serverpb.PinRequest]) (*connect.Response[serverpb.PinResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session.Pinned, m.session.Pin = true, r.Msg.Pin
	return connect.NewResponse(&serverpb.PinResponse{}), nil
}

func (m *memory) Commit(_ context.Context, r *connect.Request[serverpb.CommitRequest]) (*connect.Response[serverpb.CommitResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.root = r.Msg
	m.session.Committed, m.session.Epoch, m.session.Final = true, r.Msg.Epoch, r.Msg.Final
	if r.Msg.Final {
		m.session.State = serverpb.State_STATE_SEALED
	}
	return connect.NewResponse(&serverpb.CommitResponse{}), nil
}

func (m *memory) GetRoot(_ context.Context, r *connect.Request[serverpb.GetRootRequest]) (*connect.Response[serverpb.GetRootResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.root == nil || m.root.Epoch < r.Msg.MinEpoch {
		return connect.NewResponse(&serverpb.GetRootResponse{}), nil
	}
	return connect.NewResponse(&serverpb.GetRootResponse{Found: true, Epoch: m.root.Epoch, Final: m.root.Final, Root: m.root.Root, Signature: m.root.Signature}), nil
}

func (m *memory) Status(context.Context, *connect.Request[serverpb.StatusRequest]) (*connect.Response[serverpb.StatusResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session.State == 0 {
		return nil, refusalOf(wire.NotFound)
	}
	return connect.NewResponse(&serverpb.StatusResponse{State: m.session.State, Epoch: m.session.Epoch, Committed: m.session.Committed,
		Final: m.session.Final, Sender: m.session.Sender, Receiver: m.session.Receiver, Pinned: m.session.Pinned,
		ReceiverCard: m.session.ReceiverCard, Pin: m.session.Pin, Blobs: uint64(len(m.blobs)), ExpiresUnixMs: m.session.ExpiresUnixMs}), nil
}

func (m *memory) Finish(_ context.Context, r *connect.Request[serverpb.FinishRequest]) (*connect.Response[serverpb.FinishResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session.State, m.ack = serverpb.State_STATE_DONE, r.Msg.Ack
	return connect.NewResponse(&serverpb.FinishResponse{}), nil
}

func (m *memory) Revoke(context.Context, *connect.Request[serverpb.RevokeRequest]) (*connect.Response[serverpb.RevokeResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session.State = serverpb.State_STATE_REVOKED
	return connect.NewResponse(&serverpb.RevokeResponse{}), nil
}

func (m *memory) Has(_ context.Context, r *connect.Request[serverpb.HasRequest]) (*connect.Response[serverpb.HasResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]byte, (len(r.Msg.Names)+7)/8)
	for i, n := range r.Msg.Names {
		if _, ok := m.blobs[id.Session(r.Msg.Session).String()+"/"+id.Blob(n).String()]; ok {
			out[i/8] |= 1 << (i % 8)
		}
	}
	return connect.NewResponse(&serverpb.HasResponse{Present: out}), nil
}

func (m *memory) Post(ctx context.Context, r *connect.Request[serverpb.PostRequest]) (*connect.Response[serverpb.PostResponse], error) {
	from, _ := link.PeerFrom(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rids = append(m.rids, r.Msg.RequestId)
	if _, ok := m.seen[string(r.Msg.RequestId)]; !ok {
		m.next++
		m.seen[string(r.Msg.RequestId)] = m.next
		to := id.Peer(r.Msg.To)
		m.mail[to] = append(m.mail[to], &serverpb.Envelope{Sequence: m.next, From: from[:], Body: r.Msg.Body})
	}
	return connect.NewResponse(&serverpb.PostResponse{Sequence: m.seen[string(r.Msg.RequestId)]}), nil
}

func (m *memory) Fetch(ctx context.Context, r *connect.Request[serverpb.FetchRequest]) (*connect.Response[serverpb.FetchResponse], error) {
	p, _ := link.PeerFrom(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	resp := &serverpb.FetchResponse{Ack: m.ack}
	for _, e := range m.mail[p] {
		if e.Sequence > r.Msg.After {
			resp.Messages = append(resp.Messages, e)
		}
	}
	return connect.NewResponse(resp), nil
}

func (m *memory) Ack(ctx context.Context, r *connect.Request[serverpb.AckRequest]) (*connect.Response[serverpb.AckResponse], error) {
	p, _ := link.PeerFrom(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.mail[p]) > 0 && m.mail[p][0].Sequence <= r.Msg.UpTo {
		m.mail[p] = m.mail[p][1:]
	}
	return connect.NewResponse(&serverpb.AckResponse{}), nil
}

// serve starts h behind the real carriers.
func serve(t testing.TB, cfg link.Config) *link.Server {
	t.Helper()
	if cfg.Device == nil {
		cfg.Device = newDevice()
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	s, err := link.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// open makes a Remote that ends with the test.
func open(t testing.TB, cfg Config) *Remote {
	t.Helper()
	if cfg.Device == nil {
		cfg.Device = newDevice()
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
