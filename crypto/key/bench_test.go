package key

import (
	"testing"

	"github.com/decant-dev/decant/crypto/label"
)

// What a server or a device spends on a stranger's card or signature.

func BenchmarkParseCard(b *testing.B) {
	card, err := SignCard(fixedDevice(b, 1), fixedExchange(b, 2), Receiver, Limits{}, testNotAfter, "phone")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ParseCard(card); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	d, msg := fixedDevice(b, 1), make([]byte, 100)
	sig := d.Sign(label.Pin, msg)
	for b.Loop() {
		if err := Verify(d.Peer(), label.Pin, msg, sig); err != nil {
			b.Fatal(err)
		}
	}
}
