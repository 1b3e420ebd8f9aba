package seal

import (
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

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// KeySize is the length in bytes of a Key and of a MasterKey.
const KeySize = 32

// ErrKey is returned for key bytes of a wrong length.
var ErrKey = errors.New("key of wrong length")

// Key seals blobs for one purpose. It can't be compared with == and never prints itself.
// Copies are cheap and safe.
type Key struct {
	_ [0]func() // not comparable
	k [KeySize]byte
}

// KeyFromBytes makes a key of 32 uniformly random or derived bytes, which are copied.
func KeyFromBytes(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, ErrKey
	}
	return Key{k: [KeySize]byte(b)}, nil
}

// NewKey draws a fresh key, such as a device's journal key.
func NewKey() (k Key) { rand.Read(k.k[:]); return }

// Bytes returns a copy of the secret, for the device's own storage and for nothing else.
func (k *Key) Bytes() []byte { return slices.Clone(k.k[:]) }

// Equal reports, in constant time, whether both are the same key.
func (k *Key) Equal(o *Key) bool { return subtle.ConstantTimeCompare(k.k[:], o.k[:]) == 1 }

// MasterKey is the root of a session's bulk keys. The sender draws it; the grant carries
// it to the receiver. It can't be compared with == and never prints itself.
type MasterKey struct {
	_ [0]func() // not comparable
	k [KeySize]byte
}

// NewMasterKey draws a fresh master key.
func NewMasterKey() *MasterKey { m := new(MasterKey); rand.Read(m.k[:]); return m }

// MasterKeyFromBytes restores a master key from the 32 bytes that Bytes returned.
func MasterKeyFromBytes(b []byte) (*MasterKey, error) {
	if len(b) != KeySize {
		return nil, ErrKey
	}
	return &MasterKey{k: [KeySize]byte(b)}, nil
}

// Bytes returns a copy of the secret, for the grant and the device's own journal.
func (m *MasterKey) Bytes() []byte { return slices.Clone(m.k[:]) }

// Equal reports, in constant time, whether both are the same key.
func (m *MasterKey) Equal(o *MasterKey) bool { return subtle.ConstantTimeCompare(m.k[:], o.k[:]) == 1 }

// Keys are the bulk keys of one session, one per purpose (SPEC 2.4).
type Keys struct {
	Pack     Key // content packs
	Manifest Key // manifest packs and roots
	Mailbox  Key // envelopes between the two devices
}

// Schedule derives the session's keys. They depend on the session and on the sender's
// card, so that a master key carried into another session opens nothing there.
func Schedule(mk *MasterKey, sid id.Session, sender id.CardHash) (*Keys, error) {
	salt := sha256.Sum256(label.LV(label.Root, sid[:], sender[:]))
	prk, err := hkdf.Extract(sha512.New, mk.k[:], salt[:])
	if err != nil {
		return nil, fmt.Errorf("deriving session keys: %w", err)
	}
	keys := new(Keys)
	for _, d := range []struct {
		to *Key
		l  label.Label
	}{{&keys.Pack, label.Pack}, {&keys.Manifest, label.Manifest}, {&keys.Mailbox, label.Mailbox}} {
		b, err := hkdf.Expand(sha512.New, prk, string(d.l), KeySize)
		if err != nil {
			return nil, fmt.Errorf("deriving session keys: %w", err)
		}
		d.to.k = [KeySize]byte(b)
	}
	return keys, nil
}

// Format, String and LogValue say that this is a key and no more. They stand on the value
// so that a Key inside another struct is covered too.
func (Key) Format(s fmt.State, _ rune)       { io.WriteString(s, "key (redacted)") }
func (Key) String() string                   { return "key (redacted)" }
func (Key) LogValue() slog.Value             { return slog.StringValue("key (redacted)") }
func (MasterKey) Format(s fmt.State, _ rune) { io.WriteString(s, "master key (redacted)") }
func (MasterKey) String() string             { return "master key (redacted)" }
func (MasterKey) LogValue() slog.Value       { return slog.StringValue("master key (redacted)") }
