package direct

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// box holds the mailboxes of one scope: the counters and what is unacknowledged. Bodies
// stay in the store.
type box struct {
	next    uint64   // sequence number of the next message; never used twice
	posts   uint64   // by others than the receiver, in the scope's life
	letters []letter // ascending
}

type letter struct {
	seq      uint64
	from, to id.Peer
	size     int
}

// Keys of the store.
const (
	keyBoxes   = "box/"  // + scope: next, posts
	keyLetters = "mail/" // + scope/recipient/sequence number in 16 hex digits: sender, body
	keySeen    = "seen/" // + scope/sender/request ID: SHA-256 of recipient ‖ body, sequence number
)

func letterKey(scope id.Scope, to id.Peer, seq uint64) string {
	return fmt.Sprintf("%s%v/%v/%016x", keyLetters, scope, to, seq)
}

func seenKey(scope id.Scope, from id.Peer, rid id.Request) string {
	return fmt.Sprintf("%s%v/%v/%v", keySeen, scope, from, rid)
}

func (b *box) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, b.next), b.posts)
}

// quota is what the unacknowledged messages of a scope may come to, those of the receiver
// and those of the others each, and what others may post in its life.
type quota struct {
	letters, each int // of all, and of one device
	bytes         int
	posts         uint64
}

// A session's are the server's. Those of a nameplate bound what strangers can leave here.
var (
	sessionQuota = quota{letters: 4096, each: 4096, bytes: 64 << 20, posts: 1 << 17}
	plateQuota   = quota{letters: 64, each: 16, bytes: 64 * wire.MaxBody, posts: 256}
)

// room checks a message against the quota.
func (b *box) room(q quota, receiver, from id.Peer, size int) error {
	letters, own, total := 0, 0, size
	for i := range b.letters {
		l := &b.letters[i]
		if (l.from == receiver) == (from == receiver) {
			letters++
			total += l.size
		}
		if l.from == from {
			own++
		}
	}
	switch {
	case letters >= q.letters, from != receiver && (own >= q.each || b.posts >= q.posts):
		return wire.QuotaCount
	case total > q.bytes:
		return wire.QuotaSpace
	}
	return nil
}

// loadMail reads counters and messages. Sequence numbers go on where they were.
func (d *Desk) loadMail() error {
	err := d.cfg.Store.Each(keyBoxes, func(k string, v []byte) error {
		scope, err := id.ParseSession(strings.TrimPrefix(k, keyBoxes))
		if err != nil || len(v) != 16 {
			return errMail
		}
		d.boxes[scope.Scope()] = &box{next: binary.BigEndian.Uint64(v), posts: binary.BigEndian.Uint64(v[8:])}
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.cfg.Store.Each(keyLetters, d.loadLetter); err != nil {
		return err
	}
	for _, b := range d.boxes {
		slices.SortFunc(b.letters, func(x, y letter) int { return cmp.Compare(x.seq, y.seq) })
	}
	return nil
}

var errMail = errors.New("message record: malformed")

func (d *Desk) loadLetter(k string, v []byte) error {
	part := strings.Split(strings.TrimPrefix(k, keyLetters), "/")
	if len(part) != 3 || len(v) < 32 {
		return errMail
	}
	scope, err := id.ParseSession(part[0])
	to, err2 := id.ParsePeer(part[1])
	seq, err3 := strconv.ParseUint(part[2], 16, 64)
	b := d.boxes[scope.Scope()]
	if err != nil || err2 != nil || err3 != nil || b == nil {
		return errMail
	}
	b.letters = append(b.letters, letter{seq: seq, from: id.Peer(v[:32]), to: to, size: len(v) - 32})
	return nil
}

// mailOf returns the deletion of everything that the store has of a scope's mailboxes.
// The caller holds mu.
func (d *Desk) mailOf(scope id.Scope) (map[string][]byte, error) {
	kv := map[string][]byte{keyBoxes + scope.String(): nil}
	for _, prefix := range []string{keyLetters, keySeen} {
		err := d.cfg.Store.Each(prefix+scope.String()+"/", func(k string, _ []byte) error {
			kv[strings.Clone(k)] = nil
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return kv, nil
}

// mail checks that caller may use the mailboxes of scope, and says how much. A sender
// that is not admitted yet is told Busy in the scope of its session. The caller holds mu.
func (d *Desk) mail(caller id.Peer, scope id.Scope) (quota, error) {
	if s := d.session; s != nil {
		switch {
		case caller != s.Sender && caller != d.cfg.Device:
			return quota{}, wire.Forbidden
		case s.ID.Scope() == scope && s.State == remote.Done:
			return quota{}, wire.Done
		case s.ID.Scope() == scope:
			return sessionQuota, nil
		}
	}
	if o := d.offers[caller]; o != nil && o.ID.Scope() == scope {
		return quota{}, wire.Busy
	}
	if !d.live(d.plates[scope]) {
		return quota{}, wire.NotFound
	}
	return plateQuota, nil
}

// offered reports whether scope is that of a session for which caller waits to be admitted.
func (d *Desk) offered(caller id.Peer, scope id.Scope) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.offers[caller]
	return o != nil && o.ID.Scope() == scope
}

// Mailbox is the receiver's end of one scope's mailboxes. It is safe for concurrent use.
type Mailbox struct {
	d     *Desk
	scope id.Scope
}

// Mailbox returns the mailbox of scope: the session's or a nameplate's.
func (d *Desk) Mailbox(scope id.Scope) *Mailbox { return &Mailbox{d, scope} }

// Post leaves a message of at most wire.MaxBody bytes for another device, which has to
// come and fetch it. It is durable when nil is returned.
func (m *Mailbox) Post(_ context.Context, to id.Peer, body []byte) error {
	if _, err := m.d.post(m.d.cfg.Device, id.NewRequest(), m.scope, to, body); err != nil {
		return fmt.Errorf("post: %w", err)
	}
	return nil
}

// Fetch returns the receiver's messages above after, in ascending order, waiting up to
// wait (at most wire.MaxWait) for the first. None is an empty slice and no error. ack is
// the sender's ack of a finished session, else nil.
func (m *Mailbox) Fetch(ctx context.Context, after uint64, wait time.Duration) (ms []wire.Message, ack []byte, err error) {
	if ms, ack, err = m.d.fetch(ctx, m.d.cfg.Device, m.scope, after, wait); err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	return ms, ack, nil
}

// Ack removes the receiver's messages up to and including upTo.
func (m *Mailbox) Ack(_ context.Context, upTo uint64) error {
	if err := m.d.ack(m.d.cfg.Device, m.scope, upTo); err != nil {
		return fmt.Errorf("ack: %w", err)
	}
	return nil
}

// mayWrite reports whether a message may go from one device to another: to the receiver,
// and from it to whoever asks in a pairing or to the sender in the session. The caller
// holds mu.
func (d *Desk) mayWrite(from id.Peer, scope id.Scope, to id.Peer) bool {
	if from != d.cfg.Device {
		return to == d.cfg.Device
	}
	s := d.session
	return s == nil || s.ID.Scope() != scope || to == s.Sender
}

// post puts a message into a mailbox. A request that comes again has no second effect.
func (d *Desk) post(caller id.Peer, rid id.Request, scope id.Scope, to id.Peer, body []byte) (uint64, error) {
	if len(body) > wire.MaxBody {
		return 0, wire.TooLarge
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	q, err := d.mail(caller, scope)
	if err != nil {
		return 0, err
	}
	if !d.mayWrite(caller, scope, to) {
		return 0, wire.Forbidden
	}
	digest := sha256.Sum256(append(to[:], body...))
	seen, err := d.cfg.Store.Get(seenKey(scope, caller, rid))
	switch {
	case err != nil:
		return 0, err
	case len(seen) == 40 && bytes.Equal(seen[:32], digest[:]):
		return binary.BigEndian.Uint64(seen[32:]), nil
	case seen != nil:
		return 0, wire.Conflict
	}
	b := box{next: 1}
	if old := d.boxes[scope]; old != nil {
		b = *old
	}
	if err := b.room(q, d.cfg.Device, caller, len(body)); err != nil {
		return 0, err
	}
	l := letter{seq: b.next, from: caller, to: to, size: len(body)}
	b.next++
	if caller != d.cfg.Device {
		b.posts++
	}
	err = d.put(map[string][]byte{
		letterKey(scope, to, l.seq): append(caller[:], body...),
		seenKey(scope, caller, rid): binary.BigEndian.AppendUint64(digest[:], l.seq),
		keyBoxes + scope.String():   b.encode(),
	})
	if err != nil {
		return 0, err
	}
	kill.Point(kill.ReceiverDeskPosted)
	b.letters = append(b.letters, l)
	d.boxes[scope] = &b
	d.ring()
	return l.seq, nil
}

// fetch returns the caller's messages. A sender that waits to be admitted has none.
func (d *Desk) fetch(ctx context.Context, caller id.Peer, scope id.Scope, after uint64, wait time.Duration) (ms []wire.Message, ack []byte, err error) {
	_, err = d.poll(ctx, d.waitable(scope, wait), func() (bool, error) {
		switch _, err := d.mail(caller, scope); wire.StatusOf(err) {
		case wire.OK:
		case wire.Busy:
			return false, nil
		case wire.Done:
			ack = d.session.Ack
			return true, nil
		default:
			return false, err
		}
		var err error
		ms, err = d.letters(caller, scope, after)
		return len(ms) > 0, err
	})
	return ms, ack, err
}

// waitable cuts a wait to the protocol's longest and to the life of a nameplate.
func (d *Desk) waitable(scope id.Scope, wait time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait = min(max(wait, 0), wire.MaxWait)
	if p := d.plates[scope]; p != nil {
		wait = min(wait, max(p.expires.Sub(d.cfg.Now()), 0))
	}
	return wait
}

// letters reads messages: at most wire.MaxFetch, and about a mebibyte. The caller holds mu.
func (d *Desk) letters(to id.Peer, scope id.Scope, after uint64) ([]wire.Message, error) {
	b := d.boxes[scope]
	if b == nil {
		return nil, nil
	}
	var out []wire.Message
	size := 0
	for _, l := range b.letters {
		if l.to != to || l.seq <= after {
			continue
		}
		if size += l.size; len(out) == wire.MaxFetch || len(out) > 0 && size > wire.MaxRoot {
			break
		}
		v, err := d.cfg.Store.Get(letterKey(scope, to, l.seq))
		if err != nil {
			return nil, err
		}
		if len(v) < 32 {
			return nil, errMail
		}
		out = append(out, wire.Message{Sequence: l.seq, From: l.from, Body: v[32:]})
	}
	return out, nil
}

// ack removes the caller's messages up to and including upTo. Once the session is done
// there is nothing left to remove.
func (d *Desk) ack(caller id.Peer, scope id.Scope, upTo uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.mail(caller, scope); err != nil {
		if wire.StatusOf(err) == wire.Done {
			return nil
		}
		return err
	}
	old := d.boxes[scope]
	if old == nil {
		return nil
	}
	b, kv := *old, map[string][]byte{}
	b.letters = nil
	for _, l := range old.letters {
		if l.to == caller && l.seq <= upTo {
			kv[letterKey(scope, l.to, l.seq)] = nil
		} else {
			b.letters = append(b.letters, l)
		}
	}
	if len(kv) == 0 {
		return nil
	}
	if err := d.put(kv); err != nil {
		return err
	}
	kill.Point(kill.ReceiverDeskAcked)
	d.boxes[scope] = &b
	return nil
}
