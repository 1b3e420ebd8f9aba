// Package redteam attacks whole devices: other people's devices that guess, relay and claim, a server that lies, stalls or was
// restored from a backup, and old messages sent again. The devices are real engines, the server is a real one on loopback, and
// what lies is a layer in front of it, or a hand-made device that follows the protocol as far as it suits it. There is nothing in
// it but tests; docs/THREATMODEL.md names them as proofs of its claims.
package redteam
