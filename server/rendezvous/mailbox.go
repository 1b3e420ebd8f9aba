package rendezvous

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// mailbox counts what a scope's mailboxes hold together.
type mailbox struct {
	next  uint64 // sequence number of the next message; never reused
	posts uint64 // in the scope's life
	count uint32 // unacknowledged
	bytes uint64 // of them
}

func (m mailbox) encode() []byte {
	out := append(u64(m.next), u64(m.posts)...)
	return append(binary.BigEndian.AppendUint32(out, m.count), u64(m.bytes)...)
}

func decodeMailbox(v []byte) (mailbox, error) {
	if v == nil {
		return mailbox{next: 1}, nil
	}
	if len(v) != 28 {
		return mailbox{}, errRecord
	}
	return mailbox{binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint32(v[16:]),
		binary.BigEndian.Uint64(v[20:])}, nil
}

// budget is what a scope's mailboxes may hold.
type budget struct {
	count, bytes int
	posts        uint64
}

// Message is one message as its recipient sees it.
type Message = wire.Message

// mail checks that the caller may use the scope's mailboxes. For a session that has ended it returns the refusal beside the record.
func (s *Service) mail(scope id.Scope, caller id.Peer) (rec Session, l budget, err error) {
	rec, err = s.Party(id.Session(scope), caller)
	if err == nil {
		return rec, budget{s.limits.SessionMessages, s.limits.SessionMailBytes, s.limits.SessionPosts}, rec.State.refusal()
	}
	if wire.StatusOf(err) != wire.NotFound {
		return rec, l, err
	}
	// Whoever was told a nameplate's scope may use it.
	if _, _, err := s.plateOf(scope); err != nil {
		return rec, l, err
	}
	n := s.limits.NameplateMessages
	return rec, budget{n, n * wire.MaxBody, s.limits.NameplatePosts}, nil
}

// Post puts a message into a mailbox and returns its sequence number. In a session the sender may write to any device, which
// can read it once it is the receiver; the receiver may write to the sender.
func (s *Service) Post(caller id.Peer, rid id.Request, scope id.Scope, to id.Peer, body []byte) (sequence uint64, err error) {
	if len(body) > wire.MaxBody {
		return 0, wire.TooLarge
	}
	defer s.locks.lock(scope)()
	rec, limit, err := s.mail(scope, caller)
	if err != nil {
		return 0, err
	}
	if !rec.Sender.IsZero() && caller != rec.Sender && to != rec.Sender {
		return 0, wire.Forbidden
	}
	req := newRequest(scope, caller, rid, "post", to[:], body)
	if answer, found, err := s.seen(req); found || err != nil {
		return uint64(answered(answer)), err
	}
	v, err := s.db.Get(db.MailboxKey(scope))
	if err != nil {
		return 0, err
	}
	m, err := decodeMailbox(v)
	if err != nil {
		return 0, err
	}
	if s.space.Low() {
		return 0, wire.NoSpace
	}
	if int(m.count) >= limit.count || m.posts >= limit.posts {
		return 0, wire.QuotaCount
	}
	if m.bytes+uint64(len(body)) > uint64(limit.bytes) {
		return 0, wire.QuotaSpace
	}
	sequence = m.next
	m = mailbox{m.next + 1, m.posts + 1, m.count + 1, m.bytes + uint64(len(body))}
	b := s.db.Batch()
	b.Set(db.MessageKey(scope, to, sequence), append(caller[:], body...))
	b.Set(db.MailboxKey(scope), m.encode())
	req.note(b, u64(sequence))
	if err := b.Commit(); err != nil {
		return 0, err
	}
	kill.Point(kill.ServerPosted)
	s.hub.notify(scope)
	return sequence, nil
}

// fetchBytes bounds one answer.
const fetchBytes = wire.MaxRoot

// Fetch returns the caller's messages with a sequence number above after, oldest first, waiting up to wait for one.
// Of a DONE session it returns the sender's ack instead (rule R2).
func (s *Service) Fetch(ctx context.Context, caller id.Peer, scope id.Scope, after uint64, wait time.Duration) (out []Message, ack []byte, err error) {
	if rec, _, err := s.mail(scope, caller); err == nil && !rec.ID.IsZero() {
		wait = min(wait, time.Duration(rec.Expires-s.clock.Now())*time.Millisecond)
	} else if err != nil {
		wait = 0
	}
	err = s.hub.poll(ctx, scope, wait, func() (bool, error) {
		rec, _, err := s.mail(scope, caller)
		if rec.State == Done && wire.StatusOf(err) == wire.Done {
			ack = rec.Ack
			return true, nil
		}
		if err != nil {
			return false, err
		}
		out, err = s.messages(scope, caller, after)
		return len(out) > 0, err
	})
	return out, ack, err
}

func (s *Service) messages(scope id.Scope, to id.Peer, after uint64) (out []Message, err error) {
	if after == ^uint64(0) {
		return nil, nil
	}
	size := 0
	err = s.db.Each(db.MessageKey(scope, to, after+1), db.After(db.MailPrefix(scope, to)), false, func(k, v []byte) (bool, error) {
		if len(v) < 32 {
			return false, errRecord
		}
		if size += len(v); size > fetchBytes && len(out) > 0 {
			return false, nil
		}
		out = append(out, Message{Sequence: db.MessageSequence(k), From: id.Peer(v[:32]), Body: append([]byte(nil), v[32:]...)})
		return len(out) < wire.MaxFetch, nil
	})
	return out, err
}

// Ack deletes the caller's messages up to and including a sequence number. In an ended session there is nothing left to do.
func (s *Service) Ack(caller id.Peer, scope id.Scope, upTo uint64) error {
	defer s.locks.lock(scope)()
	rec, _, err := s.mail(scope, caller)
	if err != nil {
		if rec.State.Ended() && err == rec.State.refusal() {
			return nil
		}
		return err
	}
	v, err := s.db.Get(db.MailboxKey(scope))
	if err != nil {
		return err
	}
	m, err := decodeMailbox(v)
	if err != nil {
		return err
	}
	end := db.After(db.MailPrefix(scope, caller))
	if upTo != ^uint64(0) {
		end = db.MessageKey(scope, caller, upTo+1)
	}
	b := s.db.Batch()
	err = s.db.Each(db.MailPrefix(scope, caller), end, false, func(k, v []byte) (bool, error) {
		b.Delete(k)
		m.count--
		m.bytes -= uint64(len(v) - 32)
		return true, nil
	})
	if err != nil || b.Empty() {
		b.Discard()
		return err
	}
	b.Set(db.MailboxKey(scope), m.encode())
	if err := b.Commit(); err != nil {
		return err
	}
	kill.Point(kill.ServerAcked)
	return nil
}
