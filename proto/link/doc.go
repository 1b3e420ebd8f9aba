// Package link carries HTTP/1.1 between devices, and between a device and a server, whose
// identities are their Ed25519 keys (docs/SPEC.md sections 7.1 and 7.7). It is the only
// importer of go-libp2p.
//
// Two carriers bring connections to one http.Handler:
//
//   - the fast lane: one TLS 1.3 connection over TCP, with libp2p's certificate, which
//     proves the peer's identity, and no multiplexer. It costs least per byte and is
//     used wherever the other side's TCP port can be reached;
//   - libp2p streams: each stream of protocol wire.ProtocolID over QUIC-v1, over TCP, TLS
//     and yamux, or over a circuit through a relay, is one HTTP/1.1 connection, for where
//     UDP, hole punching or a relay is needed.
//
// On both the caller is its peer ID: a handler asks PeerFrom. All ends accept Ed25519
// identities only, and the dialling end pins the other's. Nothing here reads what the
// connections carry.
//
// Who is who: a Server takes devices, and relays between them if it is told whom for; a
// Dialer asks one server. An Endpoint is a device among devices: it takes others, announces
// itself by multicast DNS when asked to, and dials them with a PeerDialer, which finds a
// way and keeps one. Browse finds endpoints that announce themselves.
//
// The libp2p side is a swarm with QUIC and TCP, and circuits and hole punching where there
// is a relay. No identify, ping, DHT or AutoNAT runs, so it has no addresses or agent name
// to reveal; an endpoint learns from its relay alone where it is seen, and dials only what
// its address policy allows, whoever named it.
package link
