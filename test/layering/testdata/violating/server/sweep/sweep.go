// Package sweep writes to the database behind its owner's back, and without a sync.
package sweep

import "github.com/cockroachdb/pebble"

// Option is the wrong one.
var Option = pebble.NoSync
