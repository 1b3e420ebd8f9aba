package impair

import (
	"math"
	"time"
)

// Profile is what a line does to each packet. The zero value passes everything at once.
type Profile struct {
	Delay     time.Duration // one way
	Jitter    time.Duration // a packet is late by a random part of it, and so is what is behind it: the order stays
	Rate      int64         // bytes a second; 0 is no limit
	Queue     int           // bytes that may wait for the rate, those behind are lost; 0 is 200 ms of the rate, at least 32 KiB
	Loss      float64       // the part of the packets that is lost, 0 to 1, each packet by itself
	Duplicate float64       // the part that arrives twice
	Reorder   float64       // the part that is overtaken by what was sent up to 5 ms later
	Corrupt   float64       // the part that arrives with a bit flipped
}

const (
	reorderLag = 5 * time.Millisecond
	maxFlight  = 64 << 20 // bytes on a line without a rate; more is lost
)

// queue is how many bytes may wait.
func (p Profile) queue() int64 {
	if p.Queue > 0 {
		return int64(p.Queue)
	}
	return max(32<<10, p.Rate/5)
}

// span is how long n bytes take at the rate.
func (p Profile) span(n int) time.Duration {
	if p.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(p.Rate) * float64(time.Second))
}

const segment = 1460 // bytes that a TCP segment carries

// Mathis is the throughput in bytes a second that one TCP connection reaches over a path
// of this round-trip time that loses this part of the segments: 1.22 · 1460 B / (rtt · √loss).
// It is +Inf where there is neither. "The macroscopic behavior of the TCP congestion
// avoidance algorithm", 1997.
func Mathis(rtt time.Duration, loss float64) float64 {
	return math.Sqrt(1.5) * segment / (rtt.Seconds() * math.Sqrt(loss))
}
