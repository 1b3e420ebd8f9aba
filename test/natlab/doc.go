// Package natlab is an internet of network namespaces: homes behind routers that
// translate addresses in the four classical ways, machines with public addresses, links
// with a rate or with all that package impair does. Programs and sockets of a test run
// inside, over the kernel's own TCP, UDP and NAT. It serves tests and L-1.
//
//	                  internet 11.0.0.0/16
//	     ┌───────────────────┼──────────────────┐
//	11.0.1.2            11.0.2.2           11.0.3.2
//	 server            router, NAT        router, NAT
//	                 192.168.1.1/24      192.168.1.1/24     every home has the same addresses
//	                  ┌──────┴─────┐           │
//	           192.168.1.10  192.168.1.11  192.168.1.10
//
// It needs Linux, root, and the programs ip, tc (Debian: iproute2), nft (nftables) and
// setpriv (util-linux); [Test] skips a test that lacks them. There is IPv4 only, and no
// name service. TCP's congestion control is Reno, which is nobody's best, so that figures
// don't depend on what the machine prefers. The addresses are somebody's on the real
// internet, because libraries don't dial those that are reserved for documentation; no
// packet leaves the lab.
//
// A namespace is held by a thread of this process and by nothing else: no name in the
// file system, no daemon. So when the process ends, with SIGKILL too, the namespaces, what
// is in them and the programs that run in them go with it.
package natlab
