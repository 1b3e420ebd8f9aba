package key

import (
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// ClaimMessage is what a ticket's claim key signs (SPEC 6.3): this device, with this card,
// claims the session behind the locator.
func ClaimMessage(locator id.Locator, peer id.Peer, card id.CardHash) []byte {
	return label.LV(label.Claim, locator[:], peer[:], card[:])
}

// VerifyClaim checks a claim against the claim key that the sender registered with the
// ticket. It lives here because the server needs it and may not know what a ticket is.
// The error is ErrSignature.
func VerifyClaim(claimPub [32]byte, locator id.Locator, peer id.Peer, card id.CardHash, sig []byte) error {
	return Verify(id.Peer(claimPub), label.Claim, ClaimMessage(locator, peer, card), sig)
}
