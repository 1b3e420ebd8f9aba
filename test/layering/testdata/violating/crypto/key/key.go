// Package key reads a format of the wire that is not its business.
package key

import _ "github.com/decant-dev/decant/proto/wire"
