package rendezvous

import (
	"bytes"
	"sync"

	"github.com/decant-dev/decant/proto/id"
)

// pairs knows which devices share a live session, for the relay: in memory, counted from the records at the start like
// the ledger.
type pairs struct {
	mu      sync.Mutex // guards the rest
	parties map[id.Peer]int
	shared  map[pair]*relayed
}

// pair is two devices in order of their identities.
type pair [2]id.Peer

func pairOf(a, b id.Peer) pair {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return pair{a, b}
}

// relayed is what two devices have in common.
type relayed struct {
	sessions int
	bytes    uint64 // relayed between them since they have a session
}

// replace makes the index follow a session's record. A session that has ended, or no record, counts for nothing.
func (p *pairs) replace(before, after *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(before, -1)
	p.add(after, 1)
	for _, s := range []*Session{before, after} {
		if s != nil {
			p.prune(s)
		}
	}
}

// add counts a session n times. The caller holds mu.
func (p *pairs) add(s *Session, n int) {
	if s == nil || s.State.Ended() {
		return
	}
	p.parties[s.Sender] += n
	if s.Receiver.IsZero() {
		return
	}
	p.parties[s.Receiver] += n
	k := pairOf(s.Sender, s.Receiver)
	if p.shared[k] == nil {
		p.shared[k] = &relayed{}
	}
	p.shared[k].sessions += n
}

// prune forgets what counts to nothing. The caller holds mu.
func (p *pairs) prune(s *Session) {
	for _, who := range []id.Peer{s.Sender, s.Receiver} {
		if p.parties[who] == 0 {
			delete(p.parties, who)
		}
	}
	if k := pairOf(s.Sender, s.Receiver); p.shared[k] != nil && p.shared[k].sessions == 0 {
		delete(p.shared, k)
	}
}

// InSession reports whether the device is a party to a live session. A session whose time is over counts until it is swept.
func (s *Service) InSession(p id.Peer) bool {
	s.pairs.mu.Lock()
	defer s.pairs.mu.Unlock()
	return s.pairs.parties[p] > 0
}

// MayRelay reports whether the two devices share a live session and have not used up what may be relayed between them.
func (s *Service) MayRelay(a, b id.Peer) bool {
	s.pairs.mu.Lock()
	defer s.pairs.mu.Unlock()
	r := s.pairs.shared[pairOf(a, b)]
	return r != nil && r.bytes < s.limits.RelayBytes
}

// Relayed accounts bytes that passed between the two devices through the relay.
func (s *Service) Relayed(a, b id.Peer, bytes int64) {
	s.pairs.mu.Lock()
	defer s.pairs.mu.Unlock()
	if r := s.pairs.shared[pairOf(a, b)]; r != nil && bytes > 0 {
		r.bytes += uint64(bytes)
	}
}
