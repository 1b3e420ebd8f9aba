// Package link carries HTTP/1.1 between a device and a server whose identities are
// their Ed25519 keys (docs/SPEC.md section 7.1). It is the only importer of go-libp2p.
//
// Two carriers bring connections to one http.Handler:
//
//   - the fast lane: one TLS 1.3 connection over TCP, with libp2p's certificate, which
//     proves the peer's identity, and no multiplexer. It costs least per byte and is
//     used wherever the server's TCP port can be reached;
//   - libp2p streams: each stream of protocol wire.ProtocolID over QUIC-v1 or over
//     TCP, TLS and yamux is one HTTP/1.1 connection, for where UDP or a relay is needed.
//
// On both the caller is its peer ID: a handler asks PeerFrom. Both ends accept Ed25519
// identities only, and the dialling end pins the server's. Nothing here reads what the
// connections carry.
//
// The libp2p side is a swarm with QUIC and TCP and nothing else: no identify, ping,
// relay, DHT or address discovery runs, so it has no addresses or agent name to reveal
// and takes no hints from the other side about where to dial.
package link
