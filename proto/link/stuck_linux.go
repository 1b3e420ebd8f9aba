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
		silence, short := time.Duration(i.Last_ack_recv)*time.Millisecond, max(time.Second, 4*rtt)
		quiet := short
		if lossyPart*(i.Total_retrans-uint32(i.Retransmits)) > i.Segs_out {
			quiet = max(lossyWait, 8*rtt)
		}
		s.alive = silence < short
		s.stuck = silence >= quiet && i.Retransmits >= 2 && time.Duration(i.Rto)*time.Microsecond >= max(longWait, 4*rtt)
	})
	return s
}
