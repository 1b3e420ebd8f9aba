// Package key holds a device's keys and what they sign: the Ed25519 device key, the
// key-agreement pairs, and the card that carries their public halves (docs/SPEC.md
// section 2).
//
// Private keys can't be compared with ==, print as "(redacted)" under every verb and
// in every log, and leave the package only through Seed, Bytes and Ed25519, which say
// what they are for. All methods are safe for concurrent use; nothing here changes
// after it was made. Public keys that have no business in an honest device (small
// order, not canonical) are refused wherever they are parsed or used.
package key

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"

	"filippo.io/edwards25519"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// SignatureSize is the length in bytes of a signature.
const SignatureSize = ed25519.SignatureSize

// ErrSignature is returned for every signature that does not verify. It does not say why.
var ErrSignature = errors.New("signature does not verify")

// ErrKey is returned, wrapped with what was being parsed, for key material that is malformed or weak.
var ErrKey = errors.New("malformed or weak key")

// Device is a device's identity: an Ed25519 private key.
type Device struct {
	_    [0]func() // not comparable
	priv ed25519.PrivateKey
	peer id.Peer
}

// NewDevice draws a fresh device key.
func NewDevice() *Device {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic("key: random source failed") // crypto/rand does not fail
	}
	return newDevice(priv)
}

// DeviceFromSeed restores a device key from the 32 bytes that Seed returned.
func DeviceFromSeed(seed []byte) (*Device, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("device key: %w", ErrKey)
	}
	return newDevice(ed25519.NewKeyFromSeed(seed)), nil
}

func newDevice(priv ed25519.PrivateKey) *Device {
	return &Device{priv: priv, peer: id.Peer(priv.Public().(ed25519.PublicKey))}
}

// Seed returns a copy of the secret, for the device's own journal and for nothing else.
func (d *Device) Seed() []byte { return d.priv.Seed() }

// Ed25519 returns the private key for the transport's identity (proto/link). The caller must not change it.
func (d *Device) Ed25519() ed25519.PrivateKey { return d.priv }

// Peer returns the public identity.
func (d *Device) Peer() id.Peer { return d.peer }

// Equal reports, in constant time, whether both are the same key.
func (d *Device) Equal(o *Device) bool { return subtle.ConstantTimeCompare(d.priv, o.priv) == 1 }

// Sign signs msg for one purpose: Ed25519ctx with the label as its context, so that the
// signature is worth nothing for any other purpose. The result is freshly allocated.
func (d *Device) Sign(l label.Label, msg []byte) []byte { return SignWith(d.priv, l, msg) }

// SignWith is Device.Sign for a key that is not a device's, such as a ticket's claim key.
func SignWith(priv ed25519.PrivateKey, l label.Label, msg []byte) []byte {
	sig, err := priv.Sign(nil, msg, &ed25519.Options{Context: string(l)})
	if err != nil {
		panic("key: label unfit for Ed25519ctx") // labels are constants of 1 to 255 bytes
	}
	return sig
}

// Verify checks a signature made by Sign. Beside forgeries it refuses public keys and R
// values of small order, keys in a non-canonical encoding, and S not below the group
// order, so that a signature has one form and binds to one key. The error is ErrSignature,
// and how long it takes does not depend on what is wrong with a signature (adversity E-10).
func Verify(p id.Peer, l label.Label, msg, sig []byte) error {
	if len(sig) != SignatureSize || CheckPeer(p) != nil {
		return ErrSignature
	}
	unfit := smallOrder(sig[:32])
	if _, err := new(edwards25519.Scalar).SetCanonicalBytes(sig[32:]); err != nil {
		unfit = true // VerifyWithOptions would say so at once; below the order it is as slow as ever
		sig = append([]byte(nil), sig...)
		sig[SignatureSize-1] &= 0x0f
	}
	// VerifyWithOptions itself refuses a non-canonical R, which it compares as bytes.
	err := ed25519.VerifyWithOptions(p[:], msg, sig, &ed25519.Options{Hash: crypto.Hash(0), Context: string(l)})
	if err != nil || unfit {
		return ErrSignature
	}
	return nil
}

// CheckPeer refuses identities that are not the canonical encoding of a point of large
// order. The error wraps ErrKey.
func CheckPeer(p id.Peer) error {
	q, err := new(edwards25519.Point).SetBytes(p[:])
	if err != nil || id.Peer(q.Bytes()) != p || q.MultByCofactor(q).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return fmt.Errorf("device identity: %w", ErrKey)
	}
	return nil
}

// smallOrder reports whether b is no point at all, or one of order 1, 2, 4 or 8. It takes as long for the one as for the other.
func smallOrder(b []byte) bool {
	q, err := new(edwards25519.Point).SetBytes(b)
	if err != nil {
		q = edwards25519.NewIdentityPoint()
	}
	return q.MultByCofactor(q).Equal(edwards25519.NewIdentityPoint()) == 1
}

// Format, String and LogValue say that this is a device key and no more.
func (d *Device) Format(s fmt.State, v rune) { redactedDevice.Format(s, v) }
func (d *Device) String() string             { return string(redactedDevice) }
func (d *Device) LogValue() slog.Value       { return redactedDevice.LogValue() }
