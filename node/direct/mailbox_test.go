package direct

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// TestA19PairingMailIsBounded floods a nameplate: the receiver can answer all the same, and
// what is left is bounded.
func TestA19PairingMailIsBounded(t *testing.T) {
	w := newWorld(t)
	plate := w.plate()
	ctx := t.Context()
	body := make([]byte, wire.MaxBody)
	first := w.visit()
	for range plateQuota.each {
		must(t, first.Mailbox(plate.Scope).Post(ctx, w.young.Peer(), body))
	}
	want(t, first.Mailbox(plate.Scope).Post(ctx, w.young.Peer(), nil), wire.QuotaCount)
	want(t, first.Mailbox(plate.Scope).Post(ctx, w.visit().peer, nil), wire.Forbidden) // no letters between strangers
	left := plateQuota.letters - plateQuota.each
	for left > 0 {
		v := w.visit()
		for range min(left, plateQuota.each) {
			must(t, v.Mailbox(plate.Scope).Post(ctx, w.young.Peer(), nil))
			left--
		}
	}
	want(t, w.visit().Mailbox(plate.Scope).Post(ctx, w.young.Peer(), nil), wire.QuotaCount)
	must(t, w.Mailbox(plate.Scope).Post(ctx, first.peer, body))
	if ms, _, err := first.Mailbox(plate.Scope).Fetch(ctx, 0, 0); err != nil || len(ms) != 1 {
		t.Fatalf("the answer: %d messages, %v", len(ms), err)
	}
	posts := plateQuota.letters
	for ; posts < int(plateQuota.posts); posts++ { // also of what is acknowledged there is an end
		must(t, w.Mailbox(plate.Scope).Ack(ctx, ^uint64(0)))
		must(t, w.visit().Mailbox(plate.Scope).Post(ctx, w.young.Peer(), nil))
	}
	must(t, w.Mailbox(plate.Scope).Ack(ctx, ^uint64(0)))
	want(t, w.visit().Mailbox(plate.Scope).Post(ctx, w.young.Peer(), nil), wire.QuotaCount)
}

// TestMailSurvives reopens the desk between all steps: order, senders, sequence numbers and
// request IDs stay.
func TestMailSurvives(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	scope, ctx := sid.Scope(), t.Context()
	rid := id.NewRequest()
	for i := range 20 {
		body := fmt.Append(nil, i)
		r := id.NewRequest()
		if i == 7 {
			r = rid
		}
		if n, err := w.post(v.peer, r, scope, w.young.Peer(), body); err != nil || n != uint64(i+1) {
			t.Fatalf("message %d: number %d, %v", i, n, err)
		}
		if i%5 == 0 {
			w.reopen()
		}
	}
	if n, err := w.post(v.peer, rid, scope, w.young.Peer(), []byte("7")); err != nil || n != 8 {
		t.Fatalf("a request again: %d, %v", n, err)
	}
	_, err := w.post(v.peer, rid, scope, w.young.Peer(), []byte("8"))
	want(t, err, wire.Conflict)
	if n, err := w.post(w.young.Peer(), rid, scope, v.peer, []byte("7")); err != nil || n != 21 { // another's request ID
		t.Fatalf("from the receiver: %d, %v", n, err)
	}
	must(t, w.Mailbox(scope).Ack(ctx, 5))
	w.reopen()
	ms, _, err := w.Mailbox(scope).Fetch(ctx, 0, 0)
	must(t, err)
	if len(ms) != 15 {
		t.Fatalf("%d messages", len(ms))
	}
	for i, m := range ms {
		if m.Sequence != uint64(i+6) || m.From != v.peer || !bytes.Equal(m.Body, fmt.Append(nil, i+5)) {
			t.Fatalf("message %d: %d %q", i, m.Sequence, m.Body)
		}
	}
}

// TestFetchSize keeps an answer within what one call may carry.
func TestFetchSize(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	for range 40 {
		must(t, w.Mailbox(sid.Scope()).Post(t.Context(), v.peer, make([]byte, wire.MaxBody)))
	}
	after, n := uint64(0), 0
	for n < 40 {
		ms, _, err := v.Mailbox(sid.Scope()).Fetch(t.Context(), after, 0)
		must(t, err)
		if len(ms) == 0 || len(ms)*wire.MaxBody > wire.MaxRoot {
			t.Fatalf("%d messages after %d", len(ms), after)
		}
		n += len(ms)
		after = ms[len(ms)-1].Sequence
	}
}
