// Package impair makes a bad network out of a good one, in user space: delay, jitter, a
// limited rate, loss, reordering, duplicates, flipped bits, outages. It serves the tests
// which can't count on the kernel's netem being there.
//
// A [Line] is one direction and does to packets what its [Profile] says, which may be
// changed at any time; a [Link] is two of them. Two things put a link between others: a
// [Proxy] stands on loopback between programs, for TCP and UDP, and needs no privilege; a
// wire of package natlab joins two network namespaces, and there the kernel's own TCP
// meets what the lines do.
//
// A proxy never sees a TCP segment, so it models what TCP makes of a line: a connection
// begins a round trip late; lost segments hold up what is behind them for a round trip or
// a retransmission timeout; throughput is capped by the rate, by a window of 4 MiB a
// round trip, and with loss by the formula of Mathis et al. (1997); jitter delays without
// reordering; duplicates and reordering can't be seen. A flipped bit gets through, as one
// that TCP's weak checksum misses. Slow start and the growth of buffers are not modelled.
//
// Everything random comes from a seed. The same packets in the same order meet the same
// fate; which packets come first is the sender's and the scheduler's doing.
package impair
