// Package crypto is only this page: the key hierarchy of Decant, protocol version 1.
// docs/SPEC.md sections 2, 3, 5 and 6 are the full text.
//
//	DK   Ed25519 device key            key.Device      signs card, manifest, grant, pin, claim, receipt, ack, revoke
//	XK   X-Wing key pair (HPKE)        key.Exchange    outer layer of the grant
//	BK   X25519 key pair (nacl/box)    key.Exchange    inner layer of the grant
//	MK   32 random bytes, per session  seal.MasterKey  chosen by the sender; root of all bulk keys
//	 ├── K_pack  chunked-encryption of content packs
//	 ├── K_man   chunked-encryption of manifest packs and roots
//	 └── K_ctl   chunked-encryption of mailbox envelopes
//	T    128-bit ticket                pairing.Ticket  locator, claim key and K_T come from it by HKDF
//
// label: LV and every label · key: roles, cards, signatures · seal: blobs ·
// grant: how MK reaches the receiver · pairing: code, link and ticket ·
// nonce: the test build's record of every nonce used.
//
// The server may import key and label and nothing else below this folder.
package crypto
