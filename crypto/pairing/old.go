package pairing

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"fmt"
	"io"
	"log/slog"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
)

// Old is the old device's side between messages 1 and 2. Not safe for concurrent use.
type Old struct {
	_      [0]func() // not comparable
	y      *ecdh.PrivateKey
	ya     []byte
	card   []byte // own, signed
	own    id.Peer
	params Params // without PRS and Channel, which are in ya
}

// StartOld begins the exchange with the sender's signed card and returns message 1. In p,
// Remote is the nameplate's owner as the server tells it, or zero.
func StartOld(p Params, senderCard []byte) (*Old, []byte, error) {
	return startOld(p, senderCard, sampleScalar())
}

func startOld(p Params, senderCard []byte, y *ecdh.PrivateKey) (*Old, []byte, error) {
	c, err := key.ParseCard(senderCard)
	if err != nil || c.Role != key.Sender {
		return nil, nil, fmt.Errorf("pairing: own card: %w", key.ErrCard)
	}
	if p.AtReceiver != (p.Remote == p.Server) {
		return nil, nil, ErrExchange
	}
	ya, err := scalarMultVfy(y, p.generator())
	if err != nil {
		return nil, nil, err
	}
	p.PRS, p.Channel = nil, nil
	o := &Old{y: y, ya: ya, card: append([]byte(nil), senderCard...), own: c.Peer, params: p}
	return o, appendMessage(message1, ya, nil, senderCard), nil
}

// Finish takes message 2 and, if the other device knows the code, returns what is needed
// for message 3. After ErrExchange the true message 2 may still arrive; after ErrMismatch
// the code is spent.
func (o *Old) Finish(message []byte) (*Paired, error) {
	yb, tag, card, err := cutMessage(message, message2, tagSize)
	if err != nil {
		return nil, err
	}
	if err := o.params.checkCard(card, key.Receiver, o.own); err != nil {
		return nil, err
	}
	if pinned := o.params.Card; bytes.Equal(yb, o.ya) || pinned != (id.CardHash{}) && key.HashCard(card) != pinned {
		return nil, ErrExchange
	}
	k, err := scalarMultVfy(o.y, yb)
	if err != nil {
		return nil, ErrExchange
	}
	s := newSecrets(isk(o.params.Scope[:], k, transcript(o.ya, o.card, yb, card)), o.ya, o.card, yb, card)
	if !hmac.Equal(s.tagNew[:], tag) {
		return nil, ErrMismatch
	}
	return &Paired{ReceiverCard: append([]byte(nil), card...), secrets: s}, nil
}

// oldHead is the length of what stands in front of the card in Old.Bytes.
const oldHead = 32 + 32 + 32 + id.Size + 32 + 32

// Bytes returns the state for the device's own journal: y (32) ‖ Ya (32) ‖ server (32) ‖
// scope (16) ‖ pinned card (32) ‖ remote (32) ‖ own card. With the messages it would allow
// to test guesses of the code offline, so it is a secret while the code is good.
func (o *Old) Bytes() []byte {
	b := make([]byte, 0, oldHead+len(o.card))
	b = append(append(b, o.y.Bytes()...), o.ya...)
	b = append(append(b, o.params.Server[:]...), o.params.Scope[:]...)
	b = append(append(b, o.params.Card[:]...), o.params.Remote[:]...)
	return append(b, o.card...)
}

// ParseOld restores the state that Bytes returned. It shares nothing with b.
func ParseOld(b []byte) (*Old, error) {
	if len(b) < oldHead {
		return nil, fmt.Errorf("pairing: state: %w", key.ErrKey)
	}
	b = append([]byte(nil), b...)
	c, err := key.ParseCard(b[oldHead:])
	if err != nil || c.Role != key.Sender {
		return nil, fmt.Errorf("pairing: state: %w", key.ErrCard)
	}
	return &Old{y: scalar(b[:32]), ya: b[32:64], card: b[oldHead:], own: c.Peer, params: Params{
		Server: id.Peer(b[64:]),
		Scope:  id.Scope(b[96:]),
		Card:   id.CardHash(b[96+id.Size:]),
		Remote: id.Peer(b[128+id.Size:]),
	}}, nil
}

// Paired is the old device's side after message 2: the receiver's card is authentic.
type Paired struct {
	_            [0]func() // not comparable
	ReceiverCard []byte    // signed
	secrets
}

// Message3 returns the last message, which carries the grant to the receiver. The caller
// keeps it in its journal and sends those bytes again if need be.
func (p *Paired) Message3(grant []byte) []byte {
	b := append([]byte{message3}, p.tagOld[:]...)
	return append(b, wrapGrant(&p.wrap, grant)...)
}

// Format, String and LogValue keep the states out of logs.
func (*Old) Format(s fmt.State, _ rune)    { io.WriteString(s, "pairing state (redacted)") }
func (*Old) String() string                { return "pairing state (redacted)" }
func (*Old) LogValue() slog.Value          { return slog.StringValue("pairing state (redacted)") }
func (*Paired) Format(s fmt.State, _ rune) { io.WriteString(s, "pairing state (redacted)") }
func (*Paired) String() string             { return "pairing state (redacted)" }
func (*Paired) LogValue() slog.Value       { return slog.StringValue("pairing state (redacted)") }
