package server

import (
	"sync/atomic"

	"github.com/decant-dev/decant/proto/id"
)

// The carrier's relay passes bytes between two devices; whether it may, and what it passed, is the server's business. The
// methods are those that link.RelayConfig asks for.

// relayed counts what the relay does, for the operator.
type relayed struct {
	reservations, circuits atomic.Int64
	bytes, refused         atomic.Int64
}

// RelayReserve reports whether the device may wait for circuits: it is a party to a live session.
func (s *Server) RelayReserve(p id.Peer) bool { return s.sessions.InSession(p) }

// RelayAllow reports whether src may have a circuit to dst: they share a live session and have bytes left (Limits.RelayBytes).
func (s *Server) RelayAllow(src, dst id.Peer) bool {
	ok := s.sessions.MayRelay(src, dst)
	if !ok {
		s.relay.refused.Add(1)
	}
	return ok
}

// RelayAccount accounts bytes to the two devices.
func (s *Server) RelayAccount(src, dst id.Peer, bytes int64) {
	s.relay.bytes.Add(bytes)
	s.sessions.Relayed(src, dst, bytes)
}

// RelayGauge takes note of the numbers of reservations and circuits.
func (s *Server) RelayGauge(reservations, circuits int) {
	s.relay.reservations.Store(int64(reservations))
	s.relay.circuits.Store(int64(circuits))
}
