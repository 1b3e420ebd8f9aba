//go:build !linux || portable

package folder

import "github.com/decant-dev/decant/node/item"

// Only Linux has the "user." namespace that an item may carry. Attributes elsewhere
// (Finder information, quarantine marks, streams) are the system's own.

func (h handle) hasXAttrs() bool { return false }

func (h handle) xattrs() (kept []item.XAttr, dropped []string, err error) { return nil, nil, nil }

func (d dir) xattrs() (kept []item.XAttr, dropped []string, err error) { return nil, nil, nil }
