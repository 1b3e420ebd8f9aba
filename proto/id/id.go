// Package id holds the identifiers that cross package and machine boundaries:
// sessions, blobs, requests, device identities and server addresses. It imports
// no other package of Decant and no networking code. The encodings are those of
// docs/SPEC.md section 1.
//
// Every type is a small fixed-size array: values are comparable, usable as map
// keys and safe to copy. Nothing here is secret.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/mr-tron/base58"
)

// Size is the length in bytes of session IDs, blob names, request IDs, scopes and locators.
const Size = 16

// ErrInvalid is returned by every parser of this package, wrapped with what was being parsed.
var ErrInvalid = errors.New("malformed identifier")

// Session names one transfer session (SPEC 1). The sender draws it at random.
type Session [Size]byte

// Blob names one stored blob: 16 random bytes per upload attempt (SPEC 3.5).
type Blob [Size]byte

// Request makes a control request idempotent for the session's life (SPEC 7.2).
type Request [Size]byte

// Scope addresses a set of mailboxes: a session ID, or the scope of a nameplate.
type Scope [Size]byte

// Locator finds a ticket's session on the server without revealing the ticket (SPEC 6.3).
type Locator [Size]byte

// CardHash identifies a device card: SHA-256(LV("decant/1/card", card)).
type CardHash [32]byte

// Commit identifies one epoch's root: SHA-256(LV("decant/1/commit", …)) (SPEC 4.4).
type Commit [32]byte

// Commitment is the 32-byte key commitment inside a sealed blob (SPEC 3.4).
type Commitment [32]byte

// NewSession, NewBlob, NewRequest draw fresh random identifiers.
func NewSession() (s Session) { rand.Read(s[:]); return }
func NewBlob() (b Blob)       { rand.Read(b[:]); return }
func NewRequest() (r Request) { rand.Read(r[:]); return }
func NewScope() (s Scope)     { rand.Read(s[:]); return }

func (s Session) String() string    { return hex.EncodeToString(s[:]) }
func (b Blob) String() string       { return hex.EncodeToString(b[:]) }
func (r Request) String() string    { return hex.EncodeToString(r[:]) }
func (s Scope) String() string      { return hex.EncodeToString(s[:]) }
func (l Locator) String() string    { return hex.EncodeToString(l[:]) }
func (c CardHash) String() string   { return hex.EncodeToString(c[:]) }
func (c Commit) String() string     { return hex.EncodeToString(c[:]) }
func (c Commitment) String() string { return hex.EncodeToString(c[:]) }

// Short is a fingerprint for logs: the first four bytes in hex.
func (s Session) Short() string { return hex.EncodeToString(s[:4]) }

// Scope is the mailbox scope of a session.
func (s Session) Scope() Scope { return Scope(s) }

// MarshalText and UnmarshalText are String and ParseSession, for JSON.
func (s Session) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Session) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSession(string(text))
	return err
}

// IsZero reports whether the identifier was never set.
func (s Session) IsZero() bool { return s == Session{} }

// ParseSession parses 32 hexadecimal digits.
func ParseSession(s string) (Session, error) {
	return parseHex[Session](s, "session ID")
}

// ParseBlob parses 32 lower-case hexadecimal digits.
func ParseBlob(s string) (Blob, error) {
	return parseHex[Blob](s, "blob name")
}

func parseHex[T Session | Blob](s, what string) (out T, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != Size || strings.ToLower(s) != s {
		return out, fmt.Errorf("%s: %w", what, ErrInvalid)
	}
	return T(b), nil
}

// Peer is a device's or server's identity: its Ed25519 public key. Its text form
// is libp2p's peer ID ("12D3Koo…"), which for Ed25519 is the key itself inside an
// identity multihash, so no other key type can be expressed.
type Peer [32]byte

// peerPrefix is the identity multihash (0x00, length 0x24) of a protobuf
// PublicKey{Type: Ed25519 (0x08 0x01), Data: 32 bytes (0x12 0x20)}.
var peerPrefix = [6]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// Bytes returns the binary libp2p peer ID (38 bytes, freshly allocated).
func (p Peer) Bytes() []byte { return append(peerPrefix[:6:6], p[:]...) }

// String returns the libp2p text form.
func (p Peer) String() string { return base58.Encode(p.Bytes()) }

// Short is a fingerprint for logs and screens: the last six characters of the text form.
func (p Peer) Short() string { s := p.String(); return s[len(s)-6:] }

// IsZero reports whether the identity was never set.
func (p Peer) IsZero() bool { return p == Peer{} }

// PeerFromBytes parses a binary libp2p peer ID; only Ed25519 identities are accepted.
func PeerFromBytes(b []byte) (Peer, error) {
	if len(b) != 38 || [6]byte(b[:6]) != peerPrefix {
		return Peer{}, fmt.Errorf("peer ID: %w", ErrInvalid)
	}
	return Peer(b[6:]), nil
}

// ParsePeer parses the text form "12D3Koo…".
func ParsePeer(s string) (Peer, error) {
	if len(s) > 64 {
		return Peer{}, fmt.Errorf("peer ID: %w", ErrInvalid)
	}
	b, err := base58.Decode(s)
	if err != nil {
		return Peer{}, fmt.Errorf("peer ID: %w", ErrInvalid)
	}
	return PeerFromBytes(b)
}

// Server is a server's pinned identity and address. Its text form is PEERID@HOST:PORT.
// HOST:PORT is the TCP address of the fast lane; libp2p listens on UDP PORT (QUIC) and TCP PORT+1.
type Server struct {
	Peer Peer
	Host string // DNS name or IP address, without brackets
	Port uint16
}

// DefaultPort is used where a server address names no port.
const DefaultPort = 4410

// String returns PEERID@HOST:PORT.
func (s Server) String() string { return s.Peer.String() + "@" + s.HostPort() }

// HostPort returns HOST:PORT, with brackets around an IPv6 address.
func (s Server) HostPort() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// IsZero reports whether no server is set.
func (s Server) IsZero() bool { return s == Server{} }

// ParseServer parses PEERID@HOST[:PORT].
func ParseServer(s string) (Server, error) {
	peer, addr, ok := strings.Cut(s, "@")
	if !ok || len(s) > 512 {
		return Server{}, fmt.Errorf("server address (want PEERID@HOST:PORT): %w", ErrInvalid)
	}
	p, err := ParsePeer(peer)
	if err != nil {
		return Server{}, err
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		host, portText = strings.Trim(addr, "[]"), strconv.Itoa(DefaultPort)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || host == "" || strings.ContainsAny(host, "/@ \t\r\n") {
		return Server{}, fmt.Errorf("server address (want PEERID@HOST:PORT): %w", ErrInvalid)
	}
	return Server{Peer: p, Host: host, Port: uint16(port)}, nil
}
