package ui

// Code is an exit code. The numbers are part of the command's interface:
// README.md and docs/SPEC.md section 10 list them.
type Code int

// The exit codes.
const (
	OK         Code = 0 // done
	Failed     Code = 1 // something else went wrong
	Usage      Code = 2 // the command line makes no sense, or something it needs is missing
	LeftBehind Code = 3 // done, but something was lost, failed, refused or differs; it was listed
	Refused    Code = 4 // the code, ticket or identity was refused
	TryAgain   Code = 5 // the server can't be reached or has no room now; retrying helps
	NoSpace    Code = 6 // there is not enough space on this device
	Paused     Code = 7 // paused, interrupted or declined; resume continues
	Alarm      Code = 8 // something did not verify, or someone interfered; retrying does not help
)

// Problem is an error in a person's words: one sentence, perhaps with advice.
type Problem struct {
	Name string // stable, for machines: "wrong-code"
	Text string // a sentence without its full stop
	Hint string // what to do about it; may be empty
	Code Code
	Err  error // what it was made from; may be nil
}

// Error returns the sentence.
func (p *Problem) Error() string { return p.Text }

// Unwrap returns the error that the problem was made from.
func (p *Problem) Unwrap() error { return p.Err }
