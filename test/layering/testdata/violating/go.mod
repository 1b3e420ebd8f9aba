// A module in which every rule of test/layering is broken once. It imports stand-ins of the foreign libraries.
module github.com/decant-dev/decant

go 1.26.0

require (
	github.com/cockroachdb/pebble v0.0.0
	github.com/libp2p/go-libp2p v0.0.0
)

replace (
	github.com/cockroachdb/pebble => ./stand-in/pebble
	github.com/libp2p/go-libp2p => ./stand-in/libp2p
)
