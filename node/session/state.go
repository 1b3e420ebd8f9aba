package session

import "fmt"

// State is where a transfer stands on this device. It is stored in the journal by
// its name and only ever moves through Next.
type State string

// The states. A sender passes Pairing or Ticket, Sending, Stored, Received, Done; a
// receiver Pairing, Granted, Planned, Staged, Applied, Done. Over ends both.
const (
	New     State = "new"     // keys exist, nothing is on the server
	Open    State = "open"    // sender: the session exists on the server
	Paired  State = "paired"  // sender: the grant is on its way; receiver: the master key is here
	Sending State = "sending" // sender: the catalog is committed
	Stored  State = "stored"  // sender: the final root is committed
	Planned State = "planned" // receiver: the person said yes
	Staged  State = "staged"  // receiver: everything is in staging, and synced
	Applied State = "applied" // receiver: everything is in the target, the receipt is signed; sender: a valid receipt is here
	Done    State = "done"    // sender: the session is finished on the server; receiver: the sender has confirmed the receipt
	Undone  State = "undone"  // receiver: taken back
	Over    State = "over"    // expired, revoked or declined: nothing more can happen
)

// Event moves a transfer from one state to the next.
type Event string

// The events.
const (
	Opened    Event = "opened"
	Granted   Event = "granted"
	Cataloged Event = "cataloged"
	Committed Event = "committed" // a final root
	Changed   Event = "changed"   // sender: a later epoch begins
	Accepted  Event = "accepted"
	Complete  Event = "complete"
	AllDone   Event = "all-done"
	Confirmed Event = "confirmed"
	TakenBack Event = "taken-back"
	Ended     Event = "ended"
)

// transitions is the whole machine; what is not here can't happen.
var transitions = map[State]map[Event]State{
	New:     {Opened: Open, Granted: Paired, Ended: Over},
	Open:    {Granted: Paired, Cataloged: Sending, Ended: Over},
	Paired:  {Granted: Paired, Cataloged: Sending, Accepted: Planned, Ended: Over},
	Sending: {Cataloged: Sending, Granted: Sending, Committed: Stored, Ended: Over},
	Stored:  {Committed: Stored, Granted: Stored, Changed: Sending, AllDone: Applied, Ended: Over},
	Planned: {Accepted: Planned, Complete: Staged, Ended: Over},
	Staged:  {Complete: Staged, AllDone: Applied},
	Applied: {AllDone: Applied, Confirmed: Done, TakenBack: Undone},
	Done:    {Confirmed: Done, TakenBack: Undone},
	Undone:  {TakenBack: Undone},
	Over:    {Ended: Over},
}

// Next returns the state after e, or an error if e can't happen in s.
func Next(s State, e Event) (State, error) {
	if n, ok := transitions[s][e]; ok {
		return n, nil
	}
	return s, fmt.Errorf("session: %s can't happen while %s", e, s)
}

// Finished reports whether nothing is left to do for the person in s.
func (s State) Finished() bool { return s == Done || s == Undone || s == Over }
