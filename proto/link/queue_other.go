//go:build !linux && !darwin

package link

import "syscall"

// unsent does not know: this system does not tell.
func unsent(syscall.RawConn) (int, bool) { return 0, false }
