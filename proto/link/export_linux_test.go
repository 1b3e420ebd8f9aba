package link

import "net"

// For tests in a network of natlab's, which are outside of the package.
var (
	OpenEvents = openEvents
	ReadEvents = readEvents
)

// AckState says whether the system hears acknowledgements on c, and whether it repeats in vain what was written.
func AckState(c net.Conn) (alive, stuck bool) {
	s := ackState(c)
	return s.alive, s.stuck
}
