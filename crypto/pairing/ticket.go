package pairing

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

// Sizes of a ticket.
const (
	TicketSize  = 16 // bytes
	TicketWords = 12 // words: 128 bits and a checksum of 4
	ShareSize   = 32 // bytes of the server's share

	ticketPrefix = "decant-ticket:v1#"
	maxTicket    = 256 // bytes of typed text
)

// ErrTicket is returned, wrapped with the reason, for text that is no ticket. The reason
// repeats nothing of what was typed.
var ErrTicket = errors.New("not a ticket")

// Ticket lets whoever holds it receive a session while the server still has its share of
// the key: 128 random bits, never chosen by a person. It can't be compared with == and
// prints itself only through Words and URI.
type Ticket struct {
	_ [0]func() // not comparable
	t [TicketSize]byte
}

// NewTicket draws a ticket.
func NewTicket() *Ticket { t := new(Ticket); rand.Read(t.t[:]); return t }

// TicketFromBytes restores a ticket from the 16 bytes that Bytes returned.
func TicketFromBytes(b []byte) (*Ticket, error) {
	if len(b) != TicketSize {
		return nil, ErrTicket
	}
	return &Ticket{t: [TicketSize]byte(b)}, nil
}

// Bytes returns a copy of the secret, for the device's own journal and for nothing else.
func (t *Ticket) Bytes() []byte { return slices.Clone(t.t[:]) }

// Equal reports, in constant time, whether both are the same ticket.
func (t *Ticket) Equal(o *Ticket) bool { return subtle.ConstantTimeCompare(t.t[:], o.t[:]) == 1 }

// Words returns the ticket as twelve words, in the form of a 128-bit BIP-39 mnemonic: the
// bits of the ticket and the first four of its SHA-256, cut into elevens.
func (t *Ticket) Words() string {
	sum := sha256.Sum256(t.t[:])
	bits := append(t.Bytes(), sum[0])
	words := make([]string, TicketWords)
	for i := range words {
		n := 0
		for j := range wordBits {
			at := i*wordBits + j
			n = n<<1 | int(bits[at/8]>>(7-at%8)&1)
		}
		words[i] = wordList[n]
	}
	return strings.Join(words, " ")
}

// ParseTicket reads twelve words as a person types them, in the way of ParseCode. It
// finds 15 of 16 typing errors; the others find no session. The error is ErrTicket.
func ParseTicket(s string) (*Ticket, error) {
	f, ok := split(s, TicketWords, maxTicket)
	if !ok {
		return nil, fmt.Errorf("%w: want %d words", ErrTicket, TicketWords)
	}
	var bits [TicketSize + 1]byte
	for i, w := range f {
		n, ok := lookup(w)
		if !ok {
			return nil, fmt.Errorf("%w: word %d is not on the list", ErrTicket, i+1)
		}
		for j := range wordBits {
			at := i*wordBits + j
			bits[at/8] |= byte(n>>(wordBits-1-j)&1) << (7 - at%8)
		}
	}
	t := &Ticket{t: [TicketSize]byte(bits[:TicketSize])}
	if sum := sha256.Sum256(t.t[:]); bits[TicketSize]>>4 != sum[0]>>4 {
		return nil, fmt.Errorf("%w: a word is wrong or two are swapped", ErrTicket)
	}
	return t, nil
}

// URI returns the ticket with its server as text for a QR code. The ticket is in the
// fragment only.
func (t *Ticket) URI(server id.Server) string {
	return encodeURI(ticketPrefix, append(appendServer(nil, server), t.t[:]...))
}

// ParseTicketURI reads the one text that URI gives, and nothing else. The error is ErrTicket.
func ParseTicketURI(s string) (*Ticket, id.Server, error) {
	b, ok := decodeURI(s, ticketPrefix)
	if !ok {
		return nil, id.Server{}, ErrTicket
	}
	server, rest, ok := cutServer(b)
	if !ok || len(rest) != TicketSize {
		return nil, id.Server{}, ErrTicket
	}
	t := &Ticket{t: [TicketSize]byte(rest)}
	if t.URI(server) != s {
		return nil, id.Server{}, ErrTicket
	}
	return t, server, nil
}

// Locator finds the session on the server, and is all of the ticket that the server sees
// before a claim.
func (t *Ticket) Locator() id.Locator { return id.Locator(t.expand("locator", id.Size)) }

// ClaimKey is the key that signs claims. It is derived from the ticket and from nothing else.
func (t *Ticket) ClaimKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(t.expand("claim", ed25519.SeedSize))
}

// ClaimPublic is what the sender registers at the server with the ticket's locator.
func (t *Ticket) ClaimPublic() [32]byte {
	return [32]byte(t.ClaimKey().Public().(ed25519.PublicKey))
}

// NewShare draws the share that the server keeps until a valid claim.
func NewShare() (s [ShareSize]byte) { rand.Read(s[:]); return }

// Key derives the key of the ticket grant from the ticket and the server's share. Neither
// gives it alone.
func (t *Ticket) Key(share []byte) (*seal.Key, error) {
	if len(share) != ShareSize {
		return nil, fmt.Errorf("%w: share of a wrong length", ErrTicket)
	}
	k, err := seal.KeyFromBytes(derive(append(t.expand("key", 32), share...), label.LV(label.TicketGr), 32))
	return &k, err
}

// SignClaim signs the claim of this device, with this card, to the ticket's session. The
// server checks it with key.VerifyClaim.
func SignClaim(t *Ticket, peer id.Peer, card id.CardHash) []byte {
	return key.SignWith(t.ClaimKey(), label.Claim, key.ClaimMessage(t.Locator(), peer, card))
}

// expand derives one of the ticket's keys.
func (t *Ticket) expand(purpose string, n int) []byte {
	return derive(t.t[:], label.LV(label.Ticket, []byte(purpose)), n)
}

// derive is HKDF-SHA-512 with the salt SHA-256(LV(label.Ticket)).
func derive(secret, info []byte, n int) []byte {
	salt := sha256.Sum256(label.LV(label.Ticket))
	b, err := hkdf.Key(sha512.New, secret, salt[:], string(info), n)
	if err != nil {
		panic("pairing: HKDF refused its arguments")
	}
	return b
}

// Format, String and LogValue say that this is a ticket and no more.
func (Ticket) Format(s fmt.State, _ rune) { io.WriteString(s, "ticket (redacted)") }
func (Ticket) String() string             { return "ticket (redacted)" }
func (Ticket) LogValue() slog.Value       { return slog.StringValue("ticket (redacted)") }
