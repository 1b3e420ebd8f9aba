// Package remote opens what it carries.
package remote

import (
	_ "github.com/decant-dev/decant/crypto/seal"
	_ "github.com/decant-dev/decant/proto/serverpb"
)
