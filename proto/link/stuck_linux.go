package link

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ackState says what the system knows of how what was written to c arrives.
func ackState(c net.Conn) (s acks) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return s
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return s
	}
	raw.Control(func(fd uintptr) {
		i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || i.Unacked == 0 {
			return
		}
		rtt := time.Duration(i.Rtt) * time.Microsecond
		lossy := lossyPart*(i.Total_retrans-uint32(i.Retransmits)) > i.Segs_out
		s.alive = time.Duration(i.Last_ack_recv)*time.Millisecond < max(time.Second, 4*rtt)
		s.stuck = !s.alive && !lossy && i.Retransmits >= 2 && time.Duration(i.Rto)*time.Microsecond >= max(longWait, 4*rtt)
	})
	return s
}
