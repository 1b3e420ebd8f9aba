// Package cache opens what it keeps.
package cache

import _ "github.com/decant-dev/decant/crypto/seal"
