package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// How a message of a pairing scope begins: which secret the exchange was started with.
// Then follows the exchange's number, drawn by the old device, so that an answer to an
// earlier attempt is not taken for one to this (SPEC 6.4).
const (
	pairByCode = 'c'
	pairByLink = 'l'
	pairHead   = 1 + 8
)

const (
	codeLife   = 10 * time.Minute
	maxGuesses = 3 // per code, counted on the new device before each answer
	fetchWait  = 45 * time.Second
	keyPairing = "m/pairing"
)

// oldPairing is the sender's side of one exchange, kept as a secret until the grant is posted.
type oldPairing struct {
	Link     string   `json:"link,omitempty"` // or
	Code     string   `json:"code,omitempty"`
	Scope    id.Scope `json:"scope"`
	Owner    id.Peer  `json:"owner"`
	Exchange []byte   `json:"exchange,omitempty"`
	Number   [8]byte  `json:"number"`
	Message1 []byte   `json:"message1,omitempty"`
	Message3 []byte   `json:"message3,omitempty"`
	Direct   bool     `json:"direct,omitempty"` // with the receiver's desk instead of a server
	At       []string `json:"at,omitempty"`     // where it is, if a link said so
}

// body is a message as it stands in the mailbox.
func (p *oldPairing) body(message []byte) []byte {
	how := byte(pairByCode)
	if p.Link != "" {
		how = pairByLink
	}
	return slices.Concat([]byte{how}, p.Number[:], message)
}

func (p *oldPairing) params(server id.Peer) (pairing.Params, error) {
	if p.Link != "" {
		l, err := pairing.ParseLink(p.Link)
		return l.Params(), err
	}
	c, err := pairing.ParseCode(p.Code)
	return c.Params(server, p.Scope), err
}

// pairOld runs the sender's side until the receiver's card is in the journal and the
// grant is on its way. It asks for another code after a wrong one.
func (s *sending) pairOld(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := s.pairOnce(ctx, attempt)
		if !errors.Is(err, ErrWrongCode) && !errors.Is(err, ErrCodeExpired) && !errors.Is(err, ErrMalformed) {
			return err
		}
		s.n.notice("attempt-failed", noticeOf(err))
		if err := s.t.j.Batch().Delete([]byte(keyPairing)).Commit(); err != nil {
			return err
		}
	}
}

func noticeOf(err error) string {
	switch {
	case errors.Is(err, ErrWrongCode):
		return "wrong"
	case errors.Is(err, ErrCodeExpired):
		return "expired"
	}
	return "malformed"
}

func (s *sending) pairOnce(ctx context.Context, attempt int) error {
	var p oldPairing
	err := s.t.j.GetSecretJSON([]byte(keyPairing), &p)
	if errors.Is(err, journal.ErrNotFound) {
		err = s.beginPairing(ctx, attempt, &p)
	}
	if err != nil {
		return err
	}
	if err := s.meetAt(ctx, &p); err != nil {
		return err
	}
	if s.st.OpenedAt != s.homeName() { // who holds the session has shown only now
		if err := s.openSession(ctx); err != nil {
			return err
		}
	}
	box := s.hub.home().Mailbox(p.Scope)
	if p.Message3 == nil {
		if err := box.Post(ctx, p.Owner, p.body(p.Message1)); err != nil {
			return codeError(err)
		}
		if err := s.answerFrom(ctx, box, &p); err != nil {
			return err
		}
	}
	// The receiver claims as soon as it has message 3, and only a pinned one may.
	if err := s.pin(ctx); err != nil {
		return err
	}
	if err := box.Post(ctx, p.Owner, p.body(p.Message3)); err != nil {
		if err = codeError(err); errors.Is(err, ErrCodeExpired) {
			err = s.claimed(ctx)
		}
		if err != nil {
			return err
		}
	}
	kill.Point(kill.SenderGranted)
	s.st.Granted = true
	if err := s.t.j.Batch().Delete([]byte(keyPairing)).PutJSON(keyState, &s.st).Commit(); err != nil {
		return err
	}
	return nil
}

// claimed tells why the scope is gone although message 3 was ready: the receiver gives
// it back when it has had message 3, from an earlier run or from a request whose answer
// was lost, and then claims. It returns ErrCodeExpired if the claim does not come.
func (s *sending) claimed(ctx context.Context) error {
	for range claimPolls {
		st, err := s.hub.home().Status(ctx, s.st.Session)
		if err != nil {
			return err
		}
		if st.Receiver == s.st.Peer && bytes.Equal(st.ReceiverCard, s.st.PeerCard) {
			return nil
		}
		wait := time.NewTimer(claimPoll)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return context.Cause(ctx)
		}
	}
	return ErrCodeExpired
}

// How long a receiver that has message 3 may take to claim.
const (
	claimPoll  = 300 * time.Millisecond
	claimPolls = 50
)

// beginPairing asks for a code and makes message 1. From here on the typed code is spent.
func (s *sending) beginPairing(ctx context.Context, attempt int, p *oldPairing) error {
	if s.opts.AskCode == nil {
		return errors.New("node: no way to ask for the code")
	}
	text, err := s.opts.AskCode(ctx, attempt)
	if err != nil {
		return err
	}
	if err := s.locate(ctx, text, p); err != nil {
		return err
	}
	params, err := p.params(s.counterpart(p))
	if err != nil {
		return err
	}
	params.Remote, params.AtReceiver = p.Owner, p.Direct
	old, m1, err := pairing.StartOld(params, s.id.card)
	if err != nil {
		return err
	}
	p.Exchange, p.Message1 = old.Bytes(), m1
	rand.Read(p.Number[:])
	if err := s.t.j.Batch().PutSecretJSON([]byte(keyPairing), p).Commit(); err != nil {
		return err
	}
	kill.Point(kill.SenderGuess)
	return nil
}

// counterpart is whose peer stands for the server in the exchange.
func (s *sending) counterpart(p *oldPairing) id.Peer {
	if p.Direct {
		return p.Owner
	}
	return s.server.Peer
}

// locate finds who shows a code or link: with the server's help, or nearby.
func (s *sending) locate(ctx context.Context, text string, p *oldPairing) error {
	if l, err := pairing.ParseLink(text); err == nil {
		return s.locateLink(ctx, &l, p)
	}
	c, err := pairing.ParseCode(text)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	p.Code = c.String()
	if s.remote != nil {
		p.Scope, p.Owner, err = s.remote.Resolve(ctx, c.Nameplate)
		if err = codeError(err); !errors.Is(err, ErrCodeExpired) || c.Nameplate < deskNameplate {
			return err
		}
	}
	return s.locateNearby(ctx, c.Nameplate, p)
}

func (s *sending) locateLink(ctx context.Context, l *pairing.Link, p *oldPairing) (err error) {
	p.Link, p.Scope = l.String(), l.Scope
	if s.remote != nil && l.Server.Peer == s.server.Peer {
		p.Owner, err = s.remote.ResolveScope(ctx, l.Scope)
		return codeError(err)
	}
	if s.n.cfg.Route == RouteStored {
		return ErrWrongServer
	}
	// Without a server a link names the device itself.
	p.Direct, p.Owner, p.At = true, l.Server.Peer, []string{l.Server.HostPort()}
	if err := s.meetAt(ctx, p); err != nil {
		return err
	}
	owner, err := s.reach.ctl.ResolveScope(ctx, l.Scope)
	if err == nil && owner != p.Owner {
		err = ErrWrongServer
	}
	return codeError(err)
}

func (s *sending) locateNearby(ctx context.Context, nameplate uint32, p *oldPairing) error {
	if s.n.cfg.Route == RouteStored {
		return ErrCodeExpired
	}
	want := strconv.FormatUint(uint64(nameplate), 10)
	f, err := s.n.findNearby(ctx, func(f link.Found) bool { return f.Note[noteNameplate] == want })
	if err != nil {
		return err
	}
	p.Direct, p.Owner, p.At = true, f.Peer, f.Addrs
	if err := s.meetAt(ctx, p); err != nil {
		return err
	}
	var owner id.Peer
	p.Scope, owner, err = s.reach.ctl.Resolve(ctx, nameplate)
	if err == nil && owner != p.Owner {
		err = ErrInterferedWith
	}
	return codeError(err)
}

// codeError says what a refusal means for a code.
func codeError(err error) error {
	switch wire.StatusOf(err) {
	case wire.NotFound, wire.Expired, wire.Done:
		return ErrCodeExpired
	}
	return err
}

// answerFrom waits for message 2 and prepares message 3 with the grant.
func (s *sending) answerFrom(ctx context.Context, box transfer.Mailbox, p *oldPairing) error {
	old, err := pairing.ParseOld(p.Exchange)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, codeLife)
	defer cancel()
	s.n.stage("pairing")
	after := uint64(0)
	for {
		ms, _, err := box.Fetch(ctx, after, fetchWait)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return ErrCodeExpired
			}
			return codeError(err)
		}
		for _, m := range ms {
			after = m.Sequence
			if head := p.body(nil); m.From != p.Owner || !bytes.HasPrefix(m.Body, head) {
				continue
			}
			paired, err := old.Finish(m.Body[pairHead:])
			if errors.Is(err, pairing.ErrExchange) {
				continue // the true one may still come
			}
			if err != nil {
				return ErrWrongCode
			}
			return s.paired(p, paired)
		}
	}
}

// paired makes the grant for the card that the exchange has proved, and message 3.
func (s *sending) paired(p *oldPairing, paired *pairing.Paired) error {
	card, err := key.ParseCard(paired.ReceiverCard)
	if err != nil {
		return err
	}
	g, err := s.grantTo(paired.ReceiverCard)
	if err != nil {
		return err
	}
	if card.Expired(s.n.cfg.Now()) {
		return ErrInterferedWith
	}
	p.Message3 = paired.Message3(slices.Concat(s.st.Session[:], g, []byte(s.n.cfg.Label)))
	s.st.Peer, s.st.PeerCard, s.st.Pinned = card.Peer, paired.ReceiverCard, false // an earlier code may have led elsewhere
	err = s.t.j.Batch().PutSecretJSON([]byte(keyPairing), p).PutJSON(keyState, &s.st).Commit()
	if err != nil {
		return err
	}
	kill.Point(kill.SenderPaired)
	return nil
}

// grantTo seals the master key to a receiver's card.
func (s *sending) grantTo(card []byte) ([]byte, error) {
	mk, err := seal.MasterKeyFromBytes(s.secrets.Master)
	if err != nil {
		return nil, err
	}
	return grant.Seal(&grant.Grant{MK: mk, Session: s.st.Session, Epoch: s.st.Epoch, Commit: s.st.Commit, SenderCard: s.id.cardHash,
		ReceiverCard: key.HashCard(card), NotAfter: s.st.Expires.UTC().Truncate(time.Second)}, s.id.device, s.id.exchange, card)
}

// newPairing is the receiver's side of a code, a secret until the grant is here.
type newPairing struct {
	Nameplate uint32        `json:"nameplate"`
	Code      string        `json:"code"`
	Link      string        `json:"link"`
	Scope     id.Scope      `json:"scope"`
	Expires   time.Time     `json:"expires"`
	Guesses   int           `json:"guesses"`
	Answers   []cachedReply `json:"answers,omitempty"`
}

// cachedReply is one answered message 1: asked again, it gets the same answer and costs nothing.
type cachedReply struct {
	From     id.Peer  `json:"from"`
	Asked    [32]byte `json:"asked"` // SHA-256 of the body
	Head     []byte   `json:"head"`  // of the body
	Exchange []byte   `json:"exchange"`
	Message2 []byte   `json:"message2"`
}

// pairingDesk is one place where messages of a pairing arrive: the server's mailbox, or this
// device's own desk. peer is what stands in for the server in the exchange.
type pairingDesk struct {
	box  transfer.Mailbox
	peer id.Peer
	home string
}

// pairingDesks are all places where the sender may knock.
func (r *receiving) pairingDesks(scope id.Scope) (desks []pairingDesk) {
	if r.remote != nil {
		desks = append(desks, pairingDesk{r.remote.Mailbox(scope), r.server.Peer, ""})
	}
	if r.near != nil {
		desks = append(desks, pairingDesk{r.near.desk.Mailbox(scope), r.id.device.Peer(), homeDirect})
	}
	return desks
}

// knock is a message of a pairing, or the end of a place's messages.
type knock struct {
	at  pairingDesk
	m   wire.Message
	err error
}

// pairNew shows a code and waits until the sender has proved that it knows it. Then
// the master key is in the journal.
func (r *receiving) pairNew(ctx context.Context) error {
	p, err := r.beginCode(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(p.Expires.Sub(r.n.cfg.Now())))
	defer cancel()
	r.n.stage("pairing")
	if r.opts.ShowCode != nil {
		r.opts.ShowCode(p.Code, p.Link, maxGuesses-p.Guesses)
	}
	desks := r.pairingDesks(p.Scope)
	knocks := make(chan knock)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, at := range desks {
		wg.Go(func() { listenAt(ctx, at, knocks) })
	}
	for open := len(desks); open > 0; {
		var k knock
		select {
		case k = <-knocks:
		case <-ctx.Done():
			k, open = knock{err: context.Cause(ctx)}, 1
		}
		if k.err != nil {
			if open--; err == nil || k.at.home == "" {
				err = k.err
			}
			continue
		}
		r.st.Home = k.at.home
		done, err := r.pairingMessage(ctx, k.at, p, &k.m)
		if err != nil {
			return err
		}
		if done {
			r.release(ctx, p.Scope)
			return nil
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return r.dropCode(ErrCodeExpired)
	}
	return r.dropCode(codeError(err))
}

// listenAt passes on what arrives at one place, and at last why nothing more does.
func listenAt(ctx context.Context, at pairingDesk, knocks chan<- knock) {
	send := func(k knock) bool {
		select {
		case knocks <- k:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for after := uint64(0); ; {
		ms, _, err := at.box.Fetch(ctx, after, fetchWait)
		if err != nil {
			send(knock{at: at, err: err})
			return
		}
		for _, m := range ms {
			after = m.Sequence
			if !send(knock{at: at, m: m}) {
				return
			}
		}
	}
}

// release gives a nameplate back; it expires anyway.
func (r *receiving) release(ctx context.Context, scope id.Scope) {
	if r.remote != nil {
		_ = r.remote.Release(ctx, scope)
	}
	if r.near != nil {
		_ = r.near.desk.Release(ctx, scope)
	}
}

// beginCode returns the code that is being shown, or allocates one: at the server, or at
// this device's own desk. A desk answers for a server's nameplate too.
func (r *receiving) beginCode(ctx context.Context) (*newPairing, error) {
	var p newPairing
	err := r.t.j.GetSecretJSON([]byte(keyPairing), &p)
	known := err == nil && p.Expires.After(r.n.cfg.Now()) && (r.remote != nil || p.Nameplate >= deskNameplate)
	if err != nil && !errors.Is(err, journal.ErrNotFound) {
		return nil, err
	}
	if !known { // a known one is shown also after the last guess: it may have been the right one, whose message 3 is on its way
		plate, server, err := r.allocate(ctx)
		if err != nil {
			return nil, err
		}
		p = newPairing{Nameplate: plate.Number, Code: pairing.NewCode(plate.Number).String(), Scope: plate.Scope,
			Link: pairing.NewLink(server, plate.Scope, r.id.cardHash).String(), Expires: minTime(plate.Expires, r.n.cfg.Now().Add(codeLife))}
		if err := r.t.j.Batch().PutSecretJSON([]byte(keyPairing), &p).Commit(); err != nil {
			return nil, err
		}
	}
	if r.near == nil {
		return &p, nil
	}
	if err := r.near.desk.Offer(p.Scope, p.Nameplate, p.Expires); err != nil {
		return nil, err
	}
	r.near.announce(p.Nameplate)
	return &p, nil
}

// allocate draws a nameplate, and says what a link shall name as the server.
func (r *receiving) allocate(ctx context.Context) (*remote.Nameplate, id.Server, error) {
	if r.remote != nil {
		plate, err := r.remote.Allocate(ctx)
		return plate, r.server, err
	}
	plate, err := r.near.desk.Allocate(ctx)
	return plate, r.near.address(), err
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// dropCode forgets a code that can't be used any more, so that the next run makes another.
func (r *receiving) dropCode(why error) error {
	if errors.Is(why, ErrCodeExpired) || errors.Is(why, ErrCodeUsedUp) {
		return errors.Join(why, r.t.j.Batch().Delete([]byte(keyPairing)).Commit())
	}
	return why
}

// pairingMessage deals with one message of the scope; done says that the grant is here.
func (r *receiving) pairingMessage(ctx context.Context, at pairingDesk, p *newPairing, m *wire.Message) (done bool, err error) {
	if len(m.Body) <= pairHead || m.Body[0] != pairByCode && m.Body[0] != pairByLink {
		return false, nil
	}
	asked := sha256.Sum256(m.Body)
	for i := range p.Answers {
		if a := &p.Answers[i]; a.From == m.From && a.Asked == asked {
			return false, at.box.Post(ctx, m.From, slices.Concat(a.Head, a.Message2))
		}
	}
	for i := range p.Answers {
		if a := &p.Answers[i]; a.From == m.From && bytes.HasPrefix(m.Body, a.Head) {
			if done, err := r.confirm(a, m); done || err != nil {
				return done, err
			}
		}
	}
	return false, r.answer(ctx, at, p, m, asked)
}

// confirm tries a message as the third one of an exchange that was answered.
func (r *receiving) confirm(a *cachedReply, m *wire.Message) (done bool, err error) {
	ex, err := pairing.ParseNew(a.Exchange)
	if err != nil {
		return false, err
	}
	payload, senderCard, err := ex.Confirm(m.Body[pairHead:])
	if err != nil {
		return false, nil // a wrong guess was counted when it was answered
	}
	const fixed = id.Size + grant.Size
	if len(payload) < fixed || len(payload) > fixed+maxLabel {
		return false, ErrInterferedWith
	}
	r.st.From = string(payload[fixed:])
	return r.granted(id.Session(payload), payload[id.Size:fixed], senderCard)
}

// answer makes message 2 for a new message 1. The attempt is counted, durably, before
// message 2 leaves: it lets the other side test one guess (SPEC 6.1).
func (r *receiving) answer(ctx context.Context, at pairingDesk, p *newPairing, m *wire.Message, asked [32]byte) error {
	if p.Guesses >= maxGuesses {
		r.release(ctx, p.Scope) // so that whoever types it next is told
		return r.dropCode(ErrCodeUsedUp)
	}
	params, err := p.params(at.peer, m.Body[0])
	if err != nil {
		return err
	}
	params.Remote = m.From
	ex, m2, err := pairing.AnswerNew(params, r.id.card, m.Body[pairHead:])
	if errors.Is(err, pairing.ErrExchange) {
		return nil // no honest device sent this, and nothing was given away
	}
	if err != nil {
		return err
	}
	p.Guesses++
	p.Answers = append(p.Answers, cachedReply{From: m.From, Asked: asked, Head: m.Body[:pairHead], Exchange: ex.Bytes(), Message2: m2})
	if err := r.t.j.Batch().PutSecretJSON([]byte(keyPairing), p).Commit(); err != nil {
		return err
	}
	kill.Point(kill.ReceiverGuess)
	if p.Guesses > 1 && r.opts.ShowCode != nil {
		r.opts.ShowCode(p.Code, p.Link, maxGuesses-p.Guesses+1)
	}
	return at.box.Post(ctx, m.From, slices.Concat(m.Body[:pairHead], m2))
}

func (p *newPairing) params(server id.Peer, how byte) (pairing.Params, error) {
	o := oldPairing{Code: p.Code, Scope: p.Scope}
	if how == pairByLink {
		o.Link = p.Link
	}
	return o.params(server)
}

// granted opens the grant and makes the master key durable.
func (r *receiving) granted(sid id.Session, sealed, senderCard []byte) (bool, error) {
	g, err := grant.Open(sealed, r.id.exchange, senderCard, r.id.card, sid)
	if err != nil {
		return false, ErrInterferedWith
	}
	return true, r.adopt(g, senderCard)
}
