package key

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fixedDevice(t testing.TB, n byte) *Device {
	t.Helper()
	d, err := DeviceFromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fixedExchange(t testing.TB, n byte) *Exchange {
	t.Helper()
	e, err := ParseExchange(bytes.Repeat([]byte{n}, ExchangeSize))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRestore(t *testing.T) {
	d := NewDevice()
	if d2, err := DeviceFromSeed(d.Seed()); err != nil || !d2.Equal(d) || d2.Peer() != d.Peer() {
		t.Errorf("device: %v", err)
	}
	e, err := NewExchange()
	if err != nil {
		t.Fatal(err)
	}
	if e2, err := ParseExchange(e.Bytes()); err != nil || !e2.Equal(e) {
		t.Errorf("exchange: %v", err)
	}
	if NewDevice().Equal(d) || fixedExchange(t, 1).Equal(e) {
		t.Error("different keys are equal")
	}
	for n := range 130 {
		if _, err := DeviceFromSeed(make([]byte, n)); (err == nil) != (n == 32) || err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("seed of %d bytes: %v", n, err)
		}
		if _, err := ParseExchange(make([]byte, n)); (err == nil) != (n == ExchangeSize) || err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("exchange of %d bytes: %v", n, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	d, e := fixedDevice(t, 0x61), fixedExchange(t, 0x61)
	for _, secret := range []any{d, e, struct{ D *Device }{d}, []*Exchange{e}} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			fmt.Fprintf(&out, verb+"\n", secret)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", secret)
		j, _ := json.Marshal(secret)
		out.Write(j)
		for _, leak := range []string{"aaaaaaaa", "61616161", "97 97 97", "YWFhYWFh"} {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%T prints %q in\n%s", secret, leak, out.String())
			}
		}
	}
	for _, v := range []any{Device{}, Exchange{}} {
		if reflect.TypeOf(v).Comparable() {
			t.Errorf("%T can be compared with ==", v)
		}
	}
}

// smallOrderPoints are all encodings, canonical or not, of the eight points of small order.
var smallOrderPoints = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

// lowOrderX25519 are the twelve encodings of points of low order on the curve and its
// twist, as in the vectors of CPace.
var lowOrderX25519 = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"d9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	"4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
}

func TestRT13WeakPeers(t *testing.T) {
	for _, p := range smallOrderPoints {
		if err := CheckPeer(id.Peer(unhex(t, p))); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", p, err)
		}
	}
	// y = p+3, y = 2²⁵⁵-1: not canonical, whatever their order. y = 2 is on no point.
	for _, p := range []string{
		"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0200000000000000000000000000000000000000000000000000000000000000",
	} {
		if err := CheckPeer(id.Peer(unhex(t, p))); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if err := CheckPeer(NewDevice().Peer()); err != nil {
		t.Errorf("an honest peer: %v", err)
	}
}

func TestRT13LowOrderX25519(t *testing.T) {
	for _, p := range lowOrderX25519 {
		if err := CheckX25519(unhex(t, p)); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", p, err)
		}
	}
	base := append([]byte{9}, make([]byte, 31)...)
	if err := CheckX25519(base); err != nil {
		t.Errorf("the base point: %v", err)
	}
	high := slices.Clone(base)
	high[31] |= 0x80
	above := slices.Clone(fieldPrime[:])
	above[0] += 9 // the base point again, plus p
	for _, p := range [][]byte{high, above, nil, base[:31], append(base, 0)} {
		if err := CheckX25519(p); !errors.Is(err, ErrKey) {
			t.Errorf("%x: %v", p, err)
		}
	}
}

func TestRT13XWingKeys(t *testing.T) {
	good := fixedExchange(t, 5).XWing().PublicKey().Bytes()
	if err := CheckXWing(good); err != nil {
		t.Fatal(err)
	}
	coefficient := slices.Clone(good)
	coefficient[0], coefficient[1] = 0x01, coefficient[1]&0xf0|0x0d // 3329 = q itself
	for name, b := range map[string][]byte{"short": good[1:], "long": append(slices.Clone(good), 0), "coefficient q": coefficient} {
		if err := CheckXWing(b); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range lowOrderX25519 {
		if err := CheckXWing(slices.Concat(good[:XWingSize-32], unhex(t, p))); !errors.Is(err, ErrKey) {
			t.Errorf("X25519 part %s: %v", p, err)
		}
	}
}

// withLargeS adds the group order to S: the same signature to a careless verifier.
func withLargeS(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return slices.Concat(sig[:32], sum)
}

// withSmallR makes a signature whose R is the neutral element. It satisfies the
// verification equation.
func withSmallR(t testing.TB, seed []byte, l label.Label, msg []byte) []byte {
	t.Helper()
	a := sha512.Sum512(seed)
	s, err := new(edwards25519.Scalar).SetBytesWithClamping(a[:32])
	if err != nil {
		t.Fatal(err)
	}
	r := edwards25519.NewIdentityPoint().Bytes()
	pub := new(edwards25519.Point).ScalarBaseMult(s).Bytes()
	dom2 := slices.Concat([]byte("SigEd25519 no Ed25519 collisions\x00"), []byte{byte(len(l))}, []byte(l))
	h := sha512.Sum512(slices.Concat(dom2, r, pub, msg))
	k, err := new(edwards25519.Scalar).SetUniformBytes(h[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(r, new(edwards25519.Scalar).Multiply(k, s).Bytes()...)
}

func TestRT13Signatures(t *testing.T) {
	d, msg := fixedDevice(t, 1), []byte("message")
	sig := d.Sign(label.Pin, msg)
	if err := Verify(d.Peer(), label.Pin, msg, sig); err != nil {
		t.Fatal(err)
	}
	refuse := func(name string, p id.Peer, l label.Label, msg, sig []byte) {
		t.Helper()
		if err := Verify(p, l, msg, sig); err != ErrSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, l := range label.All {
		if l != label.Pin {
			refuse(string(l), d.Peer(), l, msg, sig)
		}
	}
	refuse("another message", d.Peer(), label.Pin, []byte("massage"), sig)
	refuse("another device", fixedDevice(t, 2).Peer(), label.Pin, msg, sig)
	refuse("S not below the order", d.Peer(), label.Pin, msg, withLargeS(sig))
	refuse("plain Ed25519", d.Peer(), label.Pin, msg, ed25519.Sign(d.Ed25519(), msg))
	for n := range SignatureSize * 8 {
		bad := slices.Clone(sig)
		bad[n/8] ^= 1 << (n % 8)
		refuse(fmt.Sprintf("bit %d", n), d.Peer(), label.Pin, msg, bad)
	}
	for _, n := range []int{0, 1, 32, 63, 65, 128} {
		refuse(fmt.Sprintf("%d bytes", n), d.Peer(), label.Pin, msg, append(sig, sig...)[:n])
	}
	small := withSmallR(t, d.Seed(), label.Pin, msg)
	peer := d.Peer()
	if err := ed25519.VerifyWithOptions(peer[:], msg, small, &ed25519.Options{Hash: crypto.Hash(0), Context: string(label.Pin)}); err != nil {
		t.Fatalf("the forged R does not even satisfy the equation: %v", err)
	}
	refuse("R of small order", peer, label.Pin, msg, small)

	// Under a key of small order, S = 0 and R = neutral signs half or an eighth of all messages.
	for _, p := range smallOrderPoints {
		for n := range 32 {
			refuse("key "+p, id.Peer(unhex(t, p)), label.Pin, []byte{byte(n)}, append(edwards25519.NewIdentityPoint().Bytes(), make([]byte, 32)...))
		}
	}
}

func TestClaimBindsEveryField(t *testing.T) {
	d := fixedDevice(t, 9)
	locator, peer, card := id.Locator{1}, NewDevice().Peer(), id.CardHash{3}
	sig := d.Sign(label.Claim, ClaimMessage(locator, peer, card))
	if err := VerifyClaim(d.Peer(), locator, peer, card, sig); err != nil {
		t.Fatal(err)
	}
	locator2, peer2, card2, pub2 := locator, peer, card, [32]byte(fixedDevice(t, 8).Peer())
	locator2[15]++
	peer2[31]++
	card2[31]++
	for name, err := range map[string]error{
		"locator":   VerifyClaim(d.Peer(), locator2, peer, card, sig),
		"peer":      VerifyClaim(d.Peer(), locator, peer2, card, sig),
		"card":      VerifyClaim(d.Peer(), locator, peer, card2, sig),
		"claim key": VerifyClaim(pub2, locator, peer, card, sig),
		"weak key":  VerifyClaim([32]byte{1}, locator, peer, card, sig),
		"signature": VerifyClaim(d.Peer(), locator, peer, card, sig[:63]),
		"label":     VerifyClaim(d.Peer(), locator, peer, card, d.Sign(label.Pin, ClaimMessage(locator, peer, card))),
	} {
		if err != ErrSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
}
