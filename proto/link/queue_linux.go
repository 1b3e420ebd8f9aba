package link

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent asks the kernel for the bytes of a TCP connection that the other end has not acknowledged yet, or that have not
// left at all (SIOCOUTQ, tcp(7)).
func unsent(c syscall.RawConn) (n int, ok bool) {
	err := c.Control(func(fd uintptr) {
		var err error
		n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		ok = err == nil
	})
	return n, ok && err == nil
}
