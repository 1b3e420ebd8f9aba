package key

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"slices"
)

// Sizes in bytes of the key-agreement material.
const (
	XWingSize    = 1216 // X-Wing public key: ML-KEM-768 encapsulation key ‖ X25519 public key
	XWingEncSize = 1120 // X-Wing encapsulation: ML-KEM-768 ciphertext ‖ X25519 public key
	BoxSize      = 32   // X25519 public key of nacl/box
	ExchangeSize = 64   // private: X-Wing seed ‖ X25519 scalar
)

// Exchange is a device's pair of private keys for key agreement: X-Wing (HPKE, the outer
// layer of a grant) and X25519 (nacl/box, the inner one). The two are drawn
// independently, and neither is ever converted from the device key.
type Exchange struct {
	_     [0]func() // not comparable
	bytes [ExchangeSize]byte
	xwing hpke.PrivateKey
	box   *ecdh.PrivateKey
}

// NewExchange draws fresh keys. It fails only if the platform lacks the algorithms.
func NewExchange() (*Exchange, error) {
	var b [ExchangeSize]byte
	rand.Read(b[:])
	return ParseExchange(b[:])
}

// ParseExchange restores keys from the 64 bytes that Bytes returned.
func ParseExchange(b []byte) (*Exchange, error) {
	if len(b) != ExchangeSize {
		return nil, fmt.Errorf("exchange key: %w", ErrKey)
	}
	e := &Exchange{bytes: [ExchangeSize]byte(b)}
	var err error
	if e.xwing, err = hpke.MLKEM768X25519().NewPrivateKey(e.bytes[:32]); err != nil {
		return nil, fmt.Errorf("exchange key: %w", ErrKey)
	}
	if e.box, err = ecdh.X25519().NewPrivateKey(e.bytes[32:]); err != nil {
		return nil, fmt.Errorf("exchange key: %w", ErrKey)
	}
	return e, nil
}

// Bytes returns a copy of the secret, for the device's own journal and for nothing else.
func (e *Exchange) Bytes() []byte { return slices.Clone(e.bytes[:]) }

// XWing returns the X-Wing private key, for opening a grant.
func (e *Exchange) XWing() hpke.PrivateKey { return e.xwing }

// Box returns a copy of the nacl/box private key, for sealing and opening a grant.
func (e *Exchange) Box() *[32]byte { b := [32]byte(e.bytes[32:]); return &b }

// Equal reports, in constant time, whether both are the same keys.
func (e *Exchange) Equal(o *Exchange) bool {
	return subtle.ConstantTimeCompare(e.bytes[:], o.bytes[:]) == 1
}

// Format, String and LogValue say that this is an exchange key and no more.
func (e *Exchange) Format(s fmt.State, v rune) { redactedExchange.Format(s, v) }
func (e *Exchange) String() string             { return string(redactedExchange) }
func (e *Exchange) LogValue() slog.Value       { return redactedExchange.LogValue() }

// CheckXWing refuses X-Wing public keys of a wrong length, whose ML-KEM part is not
// canonical (FIPS 203, 7.2) or whose X25519 part CheckX25519 refuses. The error wraps ErrKey.
func CheckXWing(pub []byte) error {
	if len(pub) != XWingSize || CheckX25519(pub[XWingSize-32:]) != nil {
		return fmt.Errorf("X-Wing key: %w", ErrKey)
	}
	if _, err := hpke.MLKEM768X25519().NewPublicKey(pub); err != nil {
		return fmt.Errorf("X-Wing key: %w", ErrKey)
	}
	return nil
}

// probe is a scalar for finding points of low order; any does, because clamping makes
// every X25519 scalar a multiple of the cofactor.
var probe = func() *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		panic("key: X25519 refused a scalar")
	}
	return k
}()

// fieldPrime is 2²⁵⁵ - 19, little-endian.
var fieldPrime = func() (p [32]byte) {
	for i := range p {
		p[i] = 0xff
	}
	p[0], p[31] = 0xed, 0x7f
	return
}()

// CheckX25519 refuses X25519 public keys of a wrong length, in a non-canonical encoding
// (not below 2²⁵⁵-19, or with the top bit set) and of low order. The error wraps ErrKey.
// Not constant time: for public values only.
func CheckX25519(pub []byte) error {
	if len(pub) == 32 && below(pub, fieldPrime[:]) {
		if q, err := ecdh.X25519().NewPublicKey(pub); err == nil {
			if _, err = probe.ECDH(q); err == nil { // all zero: low order
				return nil
			}
		}
	}
	return fmt.Errorf("X25519 key: %w", ErrKey)
}

// below reports whether little-endian a < b, both of the same length.
func below(a, b []byte) bool {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
