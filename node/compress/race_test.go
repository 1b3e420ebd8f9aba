//go:build race

package compress_test

// Under the race detector sync.Pool forgets at random, and with it the zstd decoder its tables.
func init() { raceEnabled = true }
