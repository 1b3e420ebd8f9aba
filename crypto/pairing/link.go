package pairing

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// MaxURI is the length in bytes of the longest text that ParseLink and ParseTicketURI look at.
const MaxURI = 1024

// linkPrefix stands in front of a link's fragment. Everything is in the fragment, which no
// browser and no proxy sends anywhere.
const linkPrefix = "decant:v1#"

// ErrLink is returned for text that is not exactly a link. It repeats nothing of it.
var ErrLink = errors.New("not a decant link")

// Link is what the new device shows as a QR code or passes on as text, instead of a code:
// where to meet, which card will answer, and a secret of 128 bits.
type Link struct {
	Server id.Server
	Scope  id.Scope
	Card   id.CardHash
	Secret [16]byte
}

// NewLink makes a link with a fresh secret.
func NewLink(server id.Server, scope id.Scope, card id.CardHash) Link {
	l := Link{Server: server, Scope: scope, Card: card}
	rand.Read(l.Secret[:])
	return l
}

// String returns the link itself, secret and all: for a screen, not for a log.
func (l Link) String() string {
	b := appendServer(nil, l.Server)
	b = append(append(append(b, l.Scope[:]...), l.Card[:]...), l.Secret[:]...)
	return encodeURI(linkPrefix, b)
}

// LogValue keeps the secret out of logs.
func (l Link) LogValue() slog.Value { return slog.StringValue("link (redacted)") }

// ParseLink reads a link: the one text that String gives, and nothing else. The error is ErrLink.
func ParseLink(s string) (Link, error) {
	b, ok := decodeURI(s, linkPrefix)
	if !ok {
		return Link{}, ErrLink
	}
	server, rest, ok := cutServer(b)
	if !ok || len(rest) != id.Size+32+16 {
		return Link{}, ErrLink
	}
	l := Link{Server: server, Scope: id.Scope(rest), Card: id.CardHash(rest[id.Size:]), Secret: [16]byte(rest[id.Size+32:])}
	if l.String() != s {
		return Link{}, ErrLink
	}
	return l, nil
}

// Params are the inputs of the exchange for this link. It is the same exchange as for a
// code, with the secret in place of the words and the new device's card pinned.
func (l Link) Params() Params {
	return Params{
		PRS:     label.LV(label.Code, l.Secret[:]),
		Server:  l.Server.Peer,
		Scope:   l.Scope,
		Card:    l.Card,
		Channel: label.LV(label.CI, []byte("link"), l.Scope[:], l.Card[:]),
	}
}

func encodeURI(prefix string, b []byte) string {
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// decodeURI takes the prefix and the base64 off. The caller encodes again and compares,
// which refuses what a lenient decoder would let pass.
func decodeURI(s, prefix string) ([]byte, bool) {
	if len(s) > MaxURI {
		return nil, false
	}
	frag, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return nil, false
	}
	b, err := base64.RawURLEncoding.DecodeString(frag)
	return b, err == nil
}

// maxHost is the length in bytes of the longest host; id.ParseServer takes none as long.
const maxHost = 512

// appendServer writes peer (32) ‖ port (2) ‖ length of host (2) ‖ host.
func appendServer(b []byte, s id.Server) []byte {
	if len(s.Host) > maxHost {
		panic(fmt.Sprintf("pairing: server host of %d bytes", len(s.Host)))
	}
	b = append(b, s.Peer[:]...)
	b = binary.BigEndian.AppendUint16(b, s.Port)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Host)))
	return append(b, s.Host...)
}

// cutServer reads what appendServer wrote, and only addresses that id.ParseServer takes.
func cutServer(b []byte) (s id.Server, rest []byte, ok bool) {
	const head = 32 + 2 + 2
	if len(b) < head {
		return s, nil, false
	}
	end := head + int(binary.BigEndian.Uint16(b[34:]))
	if len(b) < end || end > head+maxHost {
		return s, nil, false
	}
	s = id.Server{Peer: id.Peer(b), Port: binary.BigEndian.Uint16(b[32:]), Host: string(b[head:end])}
	again, err := id.ParseServer(s.String())
	return s, b[end:], err == nil && again == s && key.CheckPeer(s.Peer) == nil && printable(s.Host)
}

// printable reports whether s is visible ASCII: a host is shown to a person before it is dialled.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
