package node

import (
	"context"
	"sync"
	"time"
)

// Level says how much a finding matters.
type Level string

// The levels.
const (
	LevelOK   Level = "ok"
	LevelNote Level = "note" // worth knowing; a transfer works all the same
	LevelBad  Level = "bad"  // a transfer fails, or part of it
)

// Finding names what a check has found. The names are part of --json: append only.
type Finding string

// Check is one thing that was looked at. Which of the last four fields are set depends on the finding.
type Check struct {
	Name    string // what was looked at
	Level   Level
	Finding Finding
	Detail  string // an address, a path, a reason
	List    []string
	Bytes   int64
	Span    time.Duration
}

// Diagnosis is what Doctor has found.
type Diagnosis struct{ Checks []Check }

// Count returns the number of checks of a level.
func (d *Diagnosis) Count(l Level) (n int) {
	for _, c := range d.Checks {
		if c.Level == l {
			n++
		}
	}
	return n
}

// DoctorOptions say what to look at beside the configuration.
type DoctorOptions struct {
	// To is the directory that a collection would be received into. Empty: it is not looked at.
	To string
	// Found is called with each check, one call at a time, in the order of Diagnosis. Default: nobody is told.
	Found func(Check)
}

// Bounds of a diagnosis. Everything runs at once: the server's part takes at most twice probeTime, for a name and a
// carrier that do not answer, and helloTime.
const (
	doctorTime = 18 * time.Second
	probeTime  = 5 * time.Second
	helloTime  = 5 * time.Second
	graceTime  = 200 * time.Millisecond // for what ends because its time is over
	tidyTime   = time.Second            // after ^C, for what was begun on a disk
)

// examination is a group of checks that belong together.
type examination struct {
	name string
	run  func(context.Context) []Check
}

// Doctor looks for what stands in the way of a transfer on this device. It takes less than 20 s, and changes nothing: what
// it writes to find out whether it may is removed. The error is the context's if that ends first.
//
// An examination that hangs, as a dead network file system makes it, is reported as bad and left behind: nothing can end
// it.
func (n *Node) Doctor(ctx context.Context, o DoctorOptions) (*Diagnosis, error) {
	return diagnose(ctx, n.examinations(o), o.Found)
}

func diagnose(ctx context.Context, exams []examination, found func(Check)) (*Diagnosis, error) {
	bounded, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	results := make([]chan []Check, len(exams))
	var wg sync.WaitGroup
	for i, x := range exams {
		results[i] = make(chan []Check, 1)
		wg.Go(func() { results[i] <- x.run(bounded) })
	}
	d := &Diagnosis{}
	for i, x := range exams {
		checks, ok := await(bounded, results[i])
		if ctx.Err() != nil {
			waitAtMost(&wg, tidyTime)
			return nil, context.Cause(ctx)
		}
		if !ok {
			checks = []Check{{Name: x.name, Level: LevelBad, Finding: TookTooLong, Span: doctorTime}}
		}
		for _, c := range checks {
			d.Checks = append(d.Checks, c)
			if found != nil {
				found(c)
			}
		}
	}
	return d, nil
}

// await returns what an examination found. What has been told to end gets a moment to do so.
func await(ctx context.Context, result <-chan []Check) (checks []Check, ok bool) {
	select {
	case checks = <-result:
		return checks, true
	case <-ctx.Done():
	}
	select {
	case checks = <-result:
		return checks, true
	case <-time.After(graceTime):
		return nil, false
	}
}

// examinations lists what is looked at, in the order in which it is told.
func (n *Node) examinations(o DoctorOptions) []examination {
	exams := []examination{{"state", n.examineState}}
	if o.To != "" {
		exams = append(exams, examination{"target", func(context.Context) []Check { return examineTarget(o.To) }})
	}
	return append(exams, examination{"transfers", n.examineTransfers}, examination{"addresses", n.examineAddrs},
		examination{"server", n.examineServer}, examination{"nearby", n.examineNearby})
}

// waitAtMost waits for wg, but not for longer than d.
func waitAtMost(wg *sync.WaitGroup, d time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	select {
	case <-done:
	case <-time.After(d):
	}
}

// The findings.
const (
	TookTooLong Finding = "took-too-long"

	TargetFree     Finding = "target-free"   // Detail, Bytes
	TargetNew      Finding = "target-new"    // Detail: does not exist yet
	TargetLow      Finding = "target-low"    // Detail, Bytes
	TargetFull     Finding = "target-full"   // Detail, Bytes
	TargetNoDir    Finding = "target-no-dir" // Detail
	TargetDenied   Finding = "target-denied" // Detail
	TargetFails    Finding = "target-fails"  // Detail: the reason
	TargetKeepsAll Finding = "target-keeps-all"
	TargetLoses    Finding = "target-loses" // List: Lost…

	StatePrivate Finding = "state-private" // Detail
	StateOpen    Finding = "state-open"    // Detail: others may read it
	StateDenied  Finding = "state-denied"  // Detail
	StateFree    Finding = "state-free"    // Bytes
	StateFull    Finding = "state-full"    // Bytes

	TransfersNone       Finding = "transfers-none"
	TransfersUnfinished Finding = "transfers-unfinished" // List: short IDs and states
	TransfersBroken     Finding = "transfers-broken"     // Detail: the reason

	Addresses          Finding = "addresses" // List
	NoAddress          Finding = "no-address"
	SeenAs             Finding = "seen-as"     // Detail: no NAT
	SeenByNAT          Finding = "nat"         // Detail: the NAT keeps port numbers
	SeenByRewritingNAT Finding = "nat-rewrite" // Detail: the NAT changes them too

	ServerSet         Finding = "server-set"         // Detail: address, List: short identity
	ServerUnset       Finding = "server-unset"       // and none is needed
	ServerNeeded      Finding = "server-needed"      // by the route that was chosen
	ServerResolves    Finding = "server-resolves"    // List
	ServerUnknown     Finding = "server-unknown"     // Detail: the name
	FastReached       Finding = "fast-reached"       // Span
	FastFails         Finding = "fast-fails"         // Detail
	QUICReached       Finding = "quic-reached"       // Span
	QUICFails         Finding = "quic-fails"         // Detail
	UDPBlocked        Finding = "udp-blocked"        // Detail
	TCPReached        Finding = "tcp-reached"        // Span
	TCPFails          Finding = "tcp-fails"          // Detail
	ServerUnreachable Finding = "server-unreachable" // Detail: address
	ServerOther       Finding = "server-other"       // Detail: the identity that answers, short
	ServerVersion     Finding = "server-version"
	VersionDiffers    Finding = "version-differs"
	ServerRefuses     Finding = "server-refuses" // Detail
	ServerLimits      Finding = "server-limits"  // Bytes: of a transfer, Span: longest expiry
	ServerRoom        Finding = "server-room"    // Bytes
	ServerHasNoRoom   Finding = "server-full"
	ClockAgrees       Finding = "clock-agrees" // Span
	ClockAhead        Finding = "clock-ahead"  // Span
	ClockBehind       Finding = "clock-behind" // Span
	Relays            Finding = "relays"       // Detail: address
	RelaysNot         Finding = "relays-not"
	RelayUnknown      Finding = "relay-unknown"

	NearbyOff     Finding = "nearby-off"
	NearbyWorks   Finding = "nearby-works"   // List: interfaces
	NearbyPartly  Finding = "nearby-partly"  // List: interfaces without
	NearbyFails   Finding = "nearby-fails"   // List: interfaces; a server does without
	NearbyMissing Finding = "nearby-missing" // List: interfaces; and there is no other way
)
