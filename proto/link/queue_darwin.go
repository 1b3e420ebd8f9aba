package link

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// soNWrite is SO_NWRITE of <sys/socket.h>: the bytes in the send buffer.
const soNWrite = 0x1024

// unsent asks the kernel for the bytes of a TCP connection that the other end has not acknowledged yet, or that have not
// left at all.
func unsent(c syscall.RawConn) (n int, ok bool) {
	err := c.Control(func(fd uintptr) {
		var err error
		n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, soNWrite)
		ok = err == nil
	})
	return n, ok && err == nil
}
