package redteam

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// rogue is a device that follows the protocol as far as it suits it.
type rogue struct {
	w        *world
	device   *key.Device
	exchange *key.Exchange
	sender   []byte // its card as a sender
	receiver []byte // and as a receiver
	remote   *remote.Remote
}

func (w *world) rogue() *rogue {
	w.t.Helper()
	r := &rogue{w: w, device: key.NewDevice()}
	var err error
	r.exchange, err = key.NewExchange()
	w.must(err)
	r.sender, r.receiver = r.card(key.Sender), r.card(key.Receiver)
	r.remote, err = remote.New(remote.Config{Device: r.device, Server: w.address, Carrier: link.Fast})
	w.must(err)
	w.t.Cleanup(func() { r.remote.Close() })
	return r
}

func (r *rogue) card(role key.Role) []byte {
	r.w.t.Helper()
	card, err := key.SignCard(r.device, r.exchange, role, key.Limits{}, time.Now().Add(time.Hour), "")
	r.w.must(err)
	return card
}

func (r *rogue) peer() id.Peer { return r.device.Peer() }

// place is where a code's exchange happens.
type place struct {
	code  pairing.Code
	scope id.Scope
	owner id.Peer
}

func (r *rogue) find(code string) place {
	r.w.t.Helper()
	c, err := pairing.ParseCode(code)
	r.w.must(err)
	scope, owner, err := r.remote.Resolve(r.w.context(), c.Nameplate)
	r.w.must(err)
	return place{c, scope, owner}
}

// attempt is one message 1 that was sent.
type attempt struct {
	old  *pairing.Old
	head []byte // what stands before each message of the exchange
}

// ask sends a message 1 for a secret.
func (r *rogue) ask(at place, secret pairing.Code) (*attempt, error) {
	p := secret.Params(r.w.address.Peer, at.scope)
	p.Remote = at.owner
	old, m1, err := pairing.StartOld(p, r.sender)
	if err != nil {
		return nil, err
	}
	a := &attempt{old: old, head: newHead()}
	return a, r.post(at.scope, at.owner, append(slices.Clone(a.head), m1...))
}

func newHead() []byte {
	head := append([]byte{'c'}, make([]byte, 8)...)
	rand.Read(head[1:])
	return head
}

func (r *rogue) post(scope id.Scope, to id.Peer, body []byte) error {
	ctx, cancel := context.WithTimeout(r.w.t.Context(), patience)
	defer cancel()
	return r.remote.Mailbox(scope).Post(ctx, to, body)
}

// mail returns everything that lies in the rogue's mailbox.
func (r *rogue) mail(scope id.Scope) []wire.Message {
	r.w.t.Helper()
	var all []wire.Message
	for after := uint64(0); ; {
		ms, _, err := r.remote.Mailbox(scope).Fetch(r.w.context(), after, 0)
		r.w.must(err)
		if len(ms) == 0 {
			return all
		}
		all, after = append(all, ms...), ms[len(ms)-1].Sequence
	}
}

// answer waits for the answer to an attempt and returns what it says about the guess.
func (r *rogue) answer(at place, a *attempt) error {
	r.w.t.Helper()
	for after := uint64(0); ; {
		ms, _, err := r.remote.Mailbox(at.scope).Fetch(r.w.context(), after, patience/2)
		r.w.must(err)
		for _, m := range ms {
			after = m.Sequence
			if bytes.HasPrefix(m.Body, a.head) {
				_, err := a.old.Finish(m.Body[len(a.head):])
				return err
			}
		}
	}
}

// wrong draws other words for the same nameplate.
func (at place) wrong() pairing.Code {
	for {
		if c := pairing.NewCode(at.code.Nameplate); c != at.code {
			return c
		}
	}
}

// answers counts the different answers that a device has posted: each lets its reader test one guess.
func (p *wiretap) answers(of id.Peer) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[string]bool{}
	for _, m := range p.posts {
		if m.from == of {
			seen[string(m.body)] = true
		}
	}
	return len(seen)
}

// gone reports whether an attempt failed because the code has been given back meanwhile.
func gone(err error) bool { return wire.StatusOf(err) == wire.NotFound }

// holder is a device that has claimed a session with its ticket and opened the grant.
type holder struct {
	*rogue
	claimed *remote.Claimed
	grant   *grant.Grant
	sender  id.Peer
	keys    *seal.Keys
}

func (r *rogue) claim(ticket string) (*remote.Claimed, error) {
	r.w.t.Helper()
	t, err := pairing.ParseTicket(ticket)
	r.w.must(err)
	return r.remote.Claim(r.w.context(), remote.Claim{Locator: t.Locator(), Card: r.receiver,
		Signature: pairing.SignClaim(t, r.peer(), key.HashCard(r.receiver))})
}

func (r *rogue) hold(ticket string) *holder {
	r.w.t.Helper()
	c, err := r.claim(ticket)
	r.w.must(err)
	return r.open(ticket, c)
}

// open opens the grant of a claim that was answered, perhaps to somebody else.
func (r *rogue) open(ticket string, c *remote.Claimed) *holder {
	r.w.t.Helper()
	t, err := pairing.ParseTicket(ticket)
	r.w.must(err)
	k, err := t.Key(c.Share)
	r.w.must(err)
	g, card, err := grant.OpenTicket(c.Grant, k, c.Session)
	r.w.must(err)
	keys, err := seal.Schedule(g.MK, c.Session, key.HashCard(card))
	r.w.must(err)
	return &holder{rogue: r, claimed: c, grant: g, sender: c.Sender, keys: keys}
}

// offer opens a ticket session as its sender, with a grant that opens and nothing else in it.
func (r *rogue) offer() (sid id.Session, ticket *pairing.Ticket, o remote.Offer) {
	r.w.t.Helper()
	t, share := pairing.NewTicket(), pairing.NewShare()
	k, err := t.Key(share[:])
	r.w.must(err)
	sid = id.NewSession()
	sealed, err := grant.SealTicket(&grant.Grant{MK: seal.NewMasterKey(), Session: sid, SenderCard: key.HashCard(r.sender),
		NotAfter: time.Now().Add(time.Hour).UTC().Truncate(time.Second)}, r.device, r.sender, k)
	r.w.must(err)
	o = remote.Offer{Request: id.NewRequest(), Session: sid, Class: wire.ClassS, Blobs: 8, Expiry: time.Hour,
		Ticket: &remote.Ticket{Locator: t.Locator(), ClaimKey: t.ClaimPublic(), Share: share, Grant: sealed}}
	_, err = r.remote.Open(r.w.context(), o)
	r.w.must(err)
	return sid, t, o
}

// wiretap sees what devices post, and knows when a device has read its mail.
type wiretap struct {
	mu     sync.Mutex // guards all
	posts  []posted
	after  map[id.Peer]uint64 // of each device's newest Fetch
	pins   int
	ripple chan struct{} // closed and replaced at each change
}

type posted struct {
	from, to id.Peer
	body     []byte
}

// tap looks at every request, which then is treated as hold says, if it is not nil.
func (w *world) tap(hold func(*exchange) <-chan struct{}) *wiretap {
	p := &wiretap{after: map[id.Peer]uint64{}, ripple: make(chan struct{})}
	w.layer.keep(func(x *exchange) <-chan struct{} {
		p.see(x)
		if hold == nil {
			return nil
		}
		return hold(x)
	})
	return p
}

func (p *wiretap) see(x *exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch x.call {
	case "Post":
		m := asked[serverpb.PostRequest](x)
		p.posts = append(p.posts, posted{x.caller, id.Peer(m.To), m.Body})
	case "Fetch":
		p.after[x.caller] = asked[serverpb.FetchRequest](x).After
	case "Pin":
		p.pins++
	default:
		return
	}
	close(p.ripple)
	p.ripple = make(chan struct{})
}

// until waits for something to be seen.
func (p *wiretap) until(t *testing.T, what string, seen func() bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		p.mu.Lock()
		ok, ripple := seen(), p.ripple
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-ripple:
		case <-limit:
			t.Fatalf("never seen: %s", what)
		}
	}
}

// post waits for a message and returns it.
func (p *wiretap) post(t *testing.T, what string, is func(posted) bool) posted {
	t.Helper()
	var found posted
	p.until(t, what, func() bool {
		i := slices.IndexFunc(p.posts, is)
		if i >= 0 {
			found = p.posts[i]
		}
		return i >= 0
	})
	return found
}

func (p *wiretap) count(is func(posted) bool) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.posts {
		if is(m) {
			n++
		}
	}
	return n
}

func (p *wiretap) pinned() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pins
}

var errGiveUp = errors.New("the person gives up")
