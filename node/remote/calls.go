package remote

import (
	"context"
	"fmt"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
)

// Hello is what a server says of itself.
type Hello struct {
	Version         uint32
	Incarnation     [16]byte // changes when the server's state was restored from a backup
	Time            time.Time
	MaxSessionBytes uint64
	MaxExpiry       time.Duration
	Cache           bool   // it brings sessions to the servers that its operator named (SPEC 7.9)
	FreeBytes       uint64 // what a new session can have now, rounded down to a power of two
}

// Hello asks for the server's limits. Call it first. A server of another version is
// wire.Version1.
func (r *Remote) Hello(ctx context.Context) (*Hello, error) {
	var resp serverpb.HelloResponse
	return answer("hello", r.call(ctx, "hello", serverpbconnect.DecantHelloProcedure,
		&serverpb.HelloRequest{Version: wire.Version}, &resp, 0), &resp, helloFromWire)
}

// Nameplate is a number that a person can say, with a mailbox scope for pairing.
type Nameplate struct {
	Number  uint32
	Scope   id.Scope
	Expires time.Time
}

// Allocate draws a nameplate; this device owns it.
func (r *Remote) Allocate(ctx context.Context) (*Nameplate, error) {
	rid := id.NewRequest()
	var resp serverpb.AllocateResponse
	return answer("allocate", r.call(ctx, "allocate", serverpbconnect.DecantAllocateProcedure,
		&serverpb.AllocateRequest{RequestId: rid[:]}, &resp, 0), &resp, nameplateFromWire)
}

// Resolve finds the scope and the owner of a nameplate; wire.NotFound if it is not in use.
func (r *Remote) Resolve(ctx context.Context, number uint32) (id.Scope, id.Peer, error) {
	return r.resolve(ctx, &serverpb.ResolveRequest{Nameplate: number})
}

// ResolveScope finds the owner of a pairing scope that a link names.
func (r *Remote) ResolveScope(ctx context.Context, scope id.Scope) (id.Peer, error) {
	got, owner, err := r.resolve(ctx, &serverpb.ResolveRequest{Scope: scope[:]})
	if err == nil && got != scope {
		err = fmt.Errorf("resolve: %w", errFields)
	}
	return owner, err
}

func (r *Remote) resolve(ctx context.Context, req *serverpb.ResolveRequest) (id.Scope, id.Peer, error) {
	var resp serverpb.ResolveResponse
	err := r.call(ctx, "resolve", serverpbconnect.DecantResolveProcedure, req, &resp, 0)
	if err != nil {
		return id.Scope{}, id.Peer{}, err
	}
	var d decoder
	scope, owner := id.Scope(d.bytes16(resp.Scope)), id.Peer(d.bytes32(resp.Owner))
	if d.bad {
		return id.Scope{}, id.Peer{}, fmt.Errorf("resolve: %w", errFields)
	}
	return scope, owner, nil
}

// Release gives a nameplate back before it expires.
func (r *Remote) Release(ctx context.Context, scope id.Scope) error {
	return r.call(ctx, "release", serverpbconnect.DecantReleaseProcedure, &serverpb.ReleaseRequest{Scope: scope[:]}, &serverpb.ReleaseResponse{}, 0)
}

// Offer asks for a new session.
type Offer struct {
	Request id.Request // zero: a fresh one. Kept by a caller that may have to ask again after a crash
	Session id.Session
	Class   wire.Class
	Blobs   uint64 // upper bound that room is asked for
	Expiry  time.Duration
	Ticket  *Ticket // nil in code mode
	Permit  []byte  // to a cache, which gets neither the share nor the grant of Ticket
}

// Ticket is what the server keeps of a ticket.
type Ticket struct {
	Locator  id.Locator
	ClaimKey [32]byte // Ed25519 public key derived from the ticket
	Share    [32]byte // released once, on a valid claim
	Grant    []byte   // at most wire.MaxGrant, sealed
}

// Open creates a session with this device as its sender, and tells when it expires.
func (r *Remote) Open(ctx context.Context, o Offer) (time.Time, error) {
	var resp serverpb.OpenResponse
	if err := r.call(ctx, "open", serverpbconnect.DecantOpenProcedure, offerToWire(&o, o.request()), &resp, 0); err != nil {
		return time.Time{}, err
	}
	var d decoder
	t := d.time(resp.ExpiresUnixMs)
	if d.bad {
		return time.Time{}, fmt.Errorf("open: %w", errFields)
	}
	return t, nil
}

// Claim makes this device a session's receiver.
type Claim struct {
	Session   id.Session // set exactly one of Session
	Locator   id.Locator // and Locator
	Signature []byte     // with a Locator: 64 bytes by the ticket's claim key
	Card      []byte     // at most wire.MaxCard
}

// Claimed is a session that this device may receive.
type Claimed struct {
	Session id.Session
	Sender  id.Peer
	Class   wire.Class
	Expires time.Time
	Share   []byte // 32 bytes in a ticket session, else nil
	Grant   []byte // sealed; in a ticket session
}

// Claim claims a session. wire.NotPinned means that the sender has not confirmed this device yet.
func (r *Remote) Claim(ctx context.Context, c Claim) (*Claimed, error) {
	var resp serverpb.ClaimResponse
	return answer("claim", r.call(ctx, "claim", serverpbconnect.DecantClaimProcedure, claimToWire(&c, id.NewRequest()), &resp, 0), &resp, claimedFromWire)
}

// Pin confirms the receiver of a session that this device sends; pin is the signed statement for it.
func (r *Remote) Pin(ctx context.Context, sid id.Session, receiver id.Peer, pin []byte) error {
	return r.call(ctx, "pin", serverpbconnect.DecantPinProcedure,
		&serverpb.PinRequest{Session: sid[:], Receiver: receiver[:], Pin: pin}, &serverpb.PinResponse{}, 0)
}

// Root is one epoch's sealed root.
type Root struct {
	Epoch     uint64
	Final     bool
	Sealed    []byte    // at most wire.MaxRoot
	Signature []byte    // 64 bytes by the sender, over the commit
	Before    id.Commit // of the epoch before: told to a cache, and by it
}

// Commit stores an epoch's root. The same root again is no error.
func (r *Remote) Commit(ctx context.Context, sid id.Session, root *Root) error {
	return r.call(ctx, "commit", serverpbconnect.DecantCommitProcedure, &serverpb.CommitRequest{Session: sid[:], Epoch: root.Epoch,
		Final: root.Final, Root: root.Sealed, Signature: root.Signature, Before: root.Before[:]}, &serverpb.CommitResponse{}, 0)
}

// GetRoot returns the newest root whose epoch is at least minEpoch, waiting up to wait
// (at most wire.MaxWait) for it. It is nil, without an error, if there is none by then.
func (r *Remote) GetRoot(ctx context.Context, sid id.Session, minEpoch uint64, wait time.Duration) (*Root, error) {
	wait = clampWait(wait)
	var resp serverpb.GetRootResponse
	err := r.call(ctx, "get root", serverpbconnect.DecantGetRootProcedure,
		&serverpb.GetRootRequest{Session: sid[:], MinEpoch: minEpoch, WaitMs: uint32(wait.Milliseconds())}, &resp, wait)
	return answer("get root", err, &resp, func(m *serverpb.GetRootResponse) (*Root, error) { return rootFromWire(m, minEpoch) })
}

// State is a session's state on the server.
type State uint8

// The states; the numbers are those of the wire.
const (
	Opened  State = 1
	Sealed  State = 2
	Done    State = 3
	Expired State = 4
	Revoked State = 5
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"unknown", "open", "sealed", "done", "expired", "revoked"}[min(s, 6)%6]
}

// Status is where a session stands, as the server tells it.
type Status struct {
	State        State
	Committed    bool   // a root is there
	Epoch        uint64 // of the newest root; meaningful if Committed
	Final        bool   // the newest root is the last
	Sender       id.Peer
	Receiver     id.Peer // zero while unclaimed
	Pinned       bool
	ReceiverCard []byte // told to the sender only
	Pin          []byte // told to the receiver only
	Blobs        uint64
	Expires      time.Time
}

// Status asks where a session stands.
func (r *Remote) Status(ctx context.Context, sid id.Session) (*Status, error) {
	var resp serverpb.StatusResponse
	return answer("status", r.call(ctx, "status", serverpbconnect.DecantStatusProcedure,
		&serverpb.StatusRequest{Session: sid[:]}, &resp, 0), &resp, statusFromWire)
}

// Finish completes a session that this device sends: the server deletes what it keeps
// and hands ack to the receiver.
func (r *Remote) Finish(ctx context.Context, sid id.Session, ack []byte) error {
	return r.call(ctx, "finish", serverpbconnect.DecantFinishProcedure, &serverpb.FinishRequest{Session: sid[:], Ack: ack}, &serverpb.FinishResponse{}, 0)
}

// Revoke ends a session without a receipt and deletes what the server keeps of it.
func (r *Remote) Revoke(ctx context.Context, sid id.Session) error {
	return r.call(ctx, "revoke", serverpbconnect.DecantRevokeProcedure, &serverpb.RevokeRequest{Session: sid[:]}, &serverpb.RevokeResponse{}, 0)
}

// answer converts a call's answer, unless the call failed.
func answer[M any, T any](op string, err error, m *M, from func(*M) (*T, error)) (*T, error) {
	if err != nil {
		return nil, err
	}
	v, err := from(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return v, nil
}

func (o *Offer) request() id.Request {
	if o.Request == (id.Request{}) {
		return id.NewRequest()
	}
	return o.Request
}
