// Package label holds the domain-separation labels of protocol version 1 and the
// length-prefixed encoding LV that every hash, MAC, KDF and signature input uses
// (docs/SPEC.md section 2). All labels stand in the one table below; a test checks
// that no label is a prefix of another.
package label

import "encoding/binary"

// Label is one purpose, "decant/1/<purpose>".
type Label string

// The labels of protocol version 1. All is this table in one slice.
const (
	Card     Label = "decant/1/card"
	Root     Label = "decant/1/root"        // salt of the key schedule
	Pack     Label = "decant/1/pack"        // K_pack and the pack context
	Manifest Label = "decant/1/manifest"    // K_man, the manifest-pack context and the manifest signature
	RootBlob Label = "decant/1/sealed-root" // context of a sealed root
	Mailbox  Label = "decant/1/mailbox"     // K_ctl and the envelope context
	Commit   Label = "decant/1/commit"
	Grant    Label = "decant/1/grant"
	Pin      Label = "decant/1/pin"
	Claim    Label = "decant/1/claim"
	Receipt  Label = "decant/1/receipt"
	Ack      Label = "decant/1/ack"
	Revoke   Label = "decant/1/revoke"
	Permit   Label = "decant/1/permit"    // what a cache may do at a server
	Code     Label = "decant/1/code"      // PRS of the pairing exchange
	CI       Label = "decant/1/channel"   // channel identifier of the pairing exchange
	PakeWrap Label = "decant/1/pake-wrap" // key that wraps the grant in pairing message 3
	PakeTag  Label = "decant/1/pake-tag"  // key confirmation tags Ta, Tb
	Ticket   Label = "decant/1/ticket"    // derivations from a ticket
	TicketGr Label = "decant/1/tgrant"    // the grant sealed under a ticket
	Journal  Label = "decant/1/journal"   // local journal sealing
)

// All lists every label once.
var All = []Label{Card, Root, Pack, Manifest, RootBlob, Mailbox, Commit, Grant, Pin, Claim, Receipt, Ack,
	Revoke, Permit, Code, CI, PakeWrap, PakeTag, Ticket, TicketGr, Journal}

// LV encodes the label and the parts, each behind its length as a 64-bit big-endian
// number, so that two different lists of parts never give the same bytes. The result
// is freshly allocated.
func LV(l Label, parts ...[]byte) []byte {
	n := 8 + len(l)
	for _, p := range parts {
		n += 8 + len(p)
	}
	out := make([]byte, 0, n)
	out = binary.BigEndian.AppendUint64(out, uint64(len(l)))
	out = append(out, l...)
	for _, p := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}

// U64 encodes a number for use as a part of LV.
func U64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
