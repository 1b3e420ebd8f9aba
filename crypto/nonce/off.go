//go:build !nonceoracle

package nonce

// Enabled reports whether this build records nonces.
const Enabled = false

// Record does nothing in this build.
func Record(key []byte, nonces func(yield func([]byte) bool)) {}
