package remote

import (
	"context"
	"fmt"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/proto/wire"
)

// Mailbox is the mailbox of one scope on the server. It is safe for concurrent use.
type Mailbox struct {
	r     *Remote
	scope id.Scope
}

// Mailbox returns the mailbox of scope: a session's (id.Session.Scope) or a nameplate's.
func (r *Remote) Mailbox(scope id.Scope) *Mailbox { return &Mailbox{r: r, scope: scope} }

// Post puts a message of at most wire.MaxBody bytes into another device's mailbox; it is
// durable when nil is returned.
func (m *Mailbox) Post(ctx context.Context, to id.Peer, body []byte) error {
	if len(body) > wire.MaxBody {
		return wire.Fail(wire.TooLarge, "post")
	}
	rid := id.NewRequest()
	req := &serverpb.PostRequest{RequestId: rid[:], Scope: m.scope[:], To: to[:], Body: body}
	return m.r.call(ctx, "post", serverpbconnect.DecantPostProcedure, req, &serverpb.PostResponse{}, 0)
}

// Fetch returns this device's messages above after, in ascending order, waiting up to
// wait (at most wire.MaxWait) for the first. None is an empty slice and no error. ack is
// the sender's ack of a finished session, else nil (rule R2 of SPEC 7.3).
func (m *Mailbox) Fetch(ctx context.Context, after uint64, wait time.Duration) (msgs []wire.Message, ack []byte, err error) {
	wait = clampWait(wait)
	req := &serverpb.FetchRequest{Scope: m.scope[:], After: after, WaitMs: uint32(wait.Milliseconds())}
	var resp serverpb.FetchResponse
	if err := m.r.call(ctx, "fetch", serverpbconnect.DecantFetchProcedure, req, &resp, wait); err != nil {
		return nil, nil, err
	}
	msgs, ack, err = fetchFromWire(&resp, after)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	return msgs, ack, nil
}

// Ack removes this device's messages up to and including upTo.
func (m *Mailbox) Ack(ctx context.Context, upTo uint64) error {
	req := &serverpb.AckRequest{Scope: m.scope[:], UpTo: upTo}
	return m.r.call(ctx, "ack", serverpbconnect.DecantAckProcedure, req, &serverpb.AckResponse{}, 0)
}

func clampWait(d time.Duration) time.Duration { return min(max(d, 0), wire.MaxWait) }
