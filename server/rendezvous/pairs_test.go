package rendezvous

import (
	"testing"

	"github.com/decant-dev/decant/proto/id"
)

// TestPairs: two devices may be relayed while they share a live session, in whatever order its events come.
func TestPairs(t *testing.T) {
	a, b, c := id.Peer{1}, id.Peer{2}, id.Peer{3}
	s := &Service{limits: DefaultLimits(), pairs: pairs{parties: map[id.Peer]int{}, shared: map[pair]*relayed{}}}
	check := func(when string, party, ab, ac bool) {
		t.Helper()
		if s.InSession(a) != party || s.MayRelay(a, b) != ab || s.MayRelay(b, a) != ab || s.MayRelay(a, c) != ac {
			t.Errorf("%s: in session %v, with b %v, with c %v", when, s.InSession(a), s.MayRelay(a, b), s.MayRelay(a, c))
		}
	}
	check("before", false, false, false)
	open := Session{State: Open, Sender: a}
	s.pairs.replace(nil, &open)
	check("opened", true, false, false)
	claimed := open
	claimed.Receiver = b
	s.pairs.replace(&open, &claimed)
	check("claimed", true, true, false)
	s.pairs.replace(nil, &claimed)
	check("a second session", true, true, false)
	pinned := claimed
	pinned.Receiver = c
	s.pairs.replace(&claimed, &pinned)
	check("another device pinned", true, true, true)
	done := pinned
	done.State = Done
	s.pairs.replace(&pinned, &done)
	check("finished", true, true, false)

	s.Relayed(b, a, int64(s.limits.RelayBytes)-1)
	s.Relayed(a, c, 1<<40)
	check("much relayed", true, true, false)
	s.pairs.replace(&claimed, &claimed)
	s.Relayed(a, b, 1)
	check("too much relayed", true, false, false)
	gone := claimed
	gone.State = Expired
	s.pairs.replace(&claimed, &gone)
	check("expired", false, false, false)
	if len(s.pairs.parties)+len(s.pairs.shared) != 0 {
		t.Errorf("left over: %v, %v", s.pairs.parties, s.pairs.shared)
	}
}
