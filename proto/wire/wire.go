// Package wire holds what both ends of the device-server protocol agree on and that
// is not a message: the version, status codes, HTTP paths and headers, and the limits
// that are checked before a byte is parsed (docs/SPEC.md section 7). Both node and
// server import it; it holds no key and no format of what is inside a blob.
package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/decant-dev/decant/proto/id"
)

// Version is the protocol version. There is exactly one suite of primitives per version.
const Version = 1

// Blob sizes. Every blob of a session has the size of its class (SPEC 3.3).
const (
	BlobSizeS = 256 << 10         // class S: collections under 16 MiB
	BlobSizeL = 4<<20 + 16<<10    // class L: room for four raw 1 MiB frames and the table
	MaxRoot   = 1 << 20           // bytes of a sealed root
	MaxBody   = 64 << 10          // bytes of one mailbox message
	MaxGrant  = 8 << 10           // bytes of a sealed grant
	MaxCard   = 4 << 10           // bytes of a signed card
	MaxRPC    = MaxRoot + 64<<10  // bytes of one control request or answer
	MaxHas    = 4096              // names in one Has request
	MaxFetch  = 64                // messages in one Fetch answer
	MaxNote   = 128               // bytes of the note beside a blob that is put to a desk
	MaxPermit = 256               // bytes of a permit, decoded
	MaxWait   = 50 * time.Second  // longest long-poll
	IdleLimit = 120 * time.Second // a connection on which nothing moved for this long is closed
)

// Class is a session's blob size class. The numbers are on the wire.
type Class uint8

// The classes.
const (
	ClassS Class = 1
	ClassL Class = 2
)

// BlobSize returns the size in bytes of every blob of the class, or 0 for an unknown class.
func (c Class) BlobSize() int {
	switch c {
	case ClassS:
		return BlobSizeS
	case ClassL:
		return BlobSizeL
	}
	return 0
}

// Message is one mailbox message, as the device that it is for gets it.
type Message struct {
	Sequence uint64  // ascending within the mailbox
	From     id.Peer // as the connection that posted it proved
	Body     []byte  // at most MaxBody
}

// HTTP surface (SPEC 7.1). Control calls are Connect unary calls with protobuf bodies
// below /decant.v1.Decant/; blobs are raw bodies.
const (
	BlobPath     = "/decant/1/blob/" // + session hex + "/" + blob hex: PUT, GET, DELETE
	StatusHeader = "Decant-Status"   // decimal Status on every answer that is not a success
	NoteHeader   = "Decant-Note"     // of a PUT to a desk: base64url without padding, at most MaxNote bytes decoded
	PermitHeader = "Decant-Permit"   // of a cache's requests to a server: base64url without padding (SPEC 7.9)
	ProtocolID   = "/decant/http/1"  // libp2p protocol of the HTTP/1.1 streams
	ALPN         = "decant/1"        // TLS ALPN of the fast lane
)

// Status is the reason of a refusal. A server sends the number and no text (adversity E-15).
// Families of a hundred; append only.
type Status uint16

// The codes.
const (
	OK Status = 0

	// 1xx the request
	Malformed  Status = 101 // could not be parsed, or a field is out of range
	TooLarge   Status = 102
	Version1   Status = 103 // another protocol version is required
	Conflict   Status = 104 // same name or request ID, other content
	NotFound   Status = 105 // no such session, blob, nameplate or ticket: never tells which
	Forbidden  Status = 106 // this device is not a party to the session
	WrongState Status = 107 // the session is not in a state that allows it

	// 2xx the session
	Expired        Status = 201
	Revoked        Status = 202
	Done           Status = 203 // completed and deleted
	AlreadyClaimed Status = 204 // another device holds the claim
	NotPinned      Status = 205 // claimed, but the sender has not confirmed this device yet
	StaleEpoch     Status = 206

	// 3xx the server
	Busy       Status = 301 // try again later
	QuotaSpace Status = 302 // the session's or subnet's quota is used up
	NoSpace    Status = 303 // the server's disk is below its watermark
	QuotaCount Status = 304 // too many sessions, nameplates or messages
	Internal   Status = 305
	Draining   Status = 306 // draining: try again
)

var statusNames = map[Status]string{OK: "ok", Malformed: "malformed", TooLarge: "too-large", Version1: "version", Conflict: "conflict",
	NotFound: "not-found", Forbidden: "forbidden", WrongState: "wrong-state", Expired: "expired", Revoked: "revoked", Done: "done",
	AlreadyClaimed: "already-claimed", NotPinned: "not-pinned", StaleEpoch: "stale-epoch", Busy: "busy", QuotaSpace: "quota-space",
	NoSpace: "no-space", QuotaCount: "quota-count", Internal: "internal", Draining: "draining"}

// String returns the code's name.
func (s Status) String() string {
	if n, ok := statusNames[s]; ok {
		return n
	}
	return fmt.Sprintf("status(%d)", uint16(s))
}

// Known reports whether s is a code of this version.
func (s Status) Known() bool { _, ok := statusNames[s]; return ok }

// Retryable reports whether the same request may succeed later without anything else changing.
func (s Status) Retryable() bool {
	switch s {
	case Busy, Internal, Draining, NotPinned:
		return true
	}
	return false
}

// HTTP returns the HTTP status that carries s.
func (s Status) HTTP() int {
	switch s {
	case OK:
		return 200
	case NotFound:
		return 404
	case Forbidden:
		return 403
	case Conflict, WrongState, AlreadyClaimed, NotPinned, StaleEpoch:
		return 409
	case Expired, Revoked, Done:
		return 410
	case TooLarge:
		return 413
	case QuotaCount, Busy:
		return 429
	case Version1:
		return 426
	case Internal:
		return 500
	case Draining:
		return 503
	case NoSpace, QuotaSpace:
		return 507
	}
	return 400
}

// Error is a refusal. Compare with errors.Is(err, wire.NotFound) or StatusOf.
type Error struct {
	Status Status
	Op     string // what was being done, set by the side that returns it to a caller; never from the network
}

// Error implements error.
func (e *Error) Error() string {
	if e.Op == "" {
		return e.Status.String()
	}
	return e.Op + ": " + e.Status.String()
}

// Is makes errors.Is(err, &wire.Error{Status: s}) and errors.Is(err, s) work.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case *Error:
		return t.Status == e.Status
	case Status:
		return t == e.Status
	}
	return false
}

// Error makes a Status usable as a sentinel in errors.Is.
func (s Status) Error() string { return s.String() }

// Fail returns an *Error.
func Fail(s Status, op string) error { return &Error{Status: s, Op: op} }

// StatusOf returns the status inside err, OK for nil and Internal for an error that holds none.
func StatusOf(err error) Status {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	var s Status
	if errors.As(err, &s) {
		return s
	}
	return Internal
}
