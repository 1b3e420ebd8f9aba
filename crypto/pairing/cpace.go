package pairing

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"

	"filippo.io/edwards25519/field"
)

// CPace-X25519-SHA512 of draft-irtf-cfrg-cpace-20, initiator-responder: the functions of
// the draft under its own names, checked against its test vectors. exchange.go makes a
// protocol of them.

// dsi is G_X25519.DSI.
const dsi = "CPace255"

var errWeakPoint = errors.New("pairing: weak point")

// lvCat is lv_cat: every string behind its length as LEB128.
func lvCat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.AppendUvarint(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}

// generatorString pads so that the password fills the first hash block whatever its length.
func generatorString(prs, ci, sid []byte) []byte {
	pad := max(0, sha512.BlockSize-1-len(lvCat(prs))-len(lvCat([]byte(dsi))))
	return lvCat([]byte(dsi), prs, make([]byte, pad), ci, sid)
}

// generator is calculate_generator: the u coordinate of the point to which the password maps.
func generator(prs, ci, sid []byte) []byte {
	sum := sha512.Sum512(generatorString(prs, ci, sid))
	u, err := new(field.Element).SetBytes(sum[:32]) // ignores the top bit, as decodeUCoordinate does
	if err != nil {
		panic("pairing: field element of 32 bytes refused")
	}
	return elligator2(u).Bytes()
}

// elligator2 is map_to_curve_elligator2 of RFC 9380 for curve25519, without the v
// coordinate: x1 = -A/(1+2u²), and x1 or -x1-A, whichever is on the curve. 1+2u² is never
// zero, because -1/2 is no square. Constant time.
func elligator2(u *field.Element) *field.Element {
	one := new(field.Element).One()
	a := new(field.Element).Mult32(one, 486662)

	x1 := new(field.Element).Square(u)
	x1.Add(x1, x1).Add(x1, one).Invert(x1)
	x1.Multiply(x1, a).Negate(x1)

	gx := new(field.Element).Add(x1, a) // x1³ + A·x1² + x1 = ((x1 + A)·x1 + 1)·x1
	gx.Multiply(gx, x1).Add(gx, one).Multiply(gx, x1)
	_, square := new(field.Element).SqrtRatio(gx, one)

	x2 := new(field.Element).Negate(x1)
	x2.Subtract(x2, a)
	return new(field.Element).Select(x1, x2, square)
}

// sampleScalar is sample_scalar.
func sampleScalar() *ecdh.PrivateKey {
	var b [32]byte
	rand.Read(b[:])
	return scalar(b[:])
}

func scalar(b []byte) *ecdh.PrivateKey {
	y, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		panic("pairing: scalar of 32 bytes refused")
	}
	return y
}

// scalarMultVfy is scalar_mult_vfy, with an error in place of the neutral element.
func scalarMultVfy(y *ecdh.PrivateKey, point []byte) ([]byte, error) {
	p, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil, errWeakPoint
	}
	k, err := y.ECDH(p) // refuses an all-zero result
	if err != nil {
		return nil, errWeakPoint
	}
	return k, nil
}

// transcript is transcript_ir.
func transcript(ya, ada, yb, adb []byte) []byte {
	return append(lvCat(ya, ada), lvCat(yb, adb)...)
}

// isk is the intermediate session key.
func isk(sid, k, transcript []byte) []byte {
	sum := sha512.Sum512(append(lvCat([]byte(dsi+"_ISK"), sid, k), transcript...))
	return sum[:]
}
