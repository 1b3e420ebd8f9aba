package env

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// ExitKilled is the exit code that Result gives for a process that a signal ended.
const ExitKilled = -1

// Exit codes of the command that tests care about; `decant help` has them all.
const (
	ExitOK         = 0
	ExitLeftBehind = 3
	ExitRefused    = 4
	ExitTryAgain   = 5
	ExitNoSpace    = 6
	ExitPaused     = 7
	ExitAlarm      = 8
)

// Event is one line of --json as the tests read it (docs/SPEC.md section 10).
type Event struct {
	Time     time.Time       `json:"time"`
	Type     string          `json:"type"`
	Stage    string          `json:"stage"`
	Progress *Progress       `json:"progress"`
	Loss     json.RawMessage `json:"loss"`
	Notice   *struct{ Code, Detail string }
	Pairing  *struct{ Code, Link, Ticket, URI string }
	Question *struct{ What string }
	Preview  json.RawMessage `json:"preview"`
	Session  *struct{ ID, Peer string }
	Result   *Outcome `json:"result"`
	Error    *struct {
		Name, Message string
		Exit          int
	}
	Raw string `json:"-"` // the line
}

// Progress is the part of item.Progress that tests read.
type Progress struct {
	ItemsDone  int64 `json:"items_done"`
	ItemsTotal int64 `json:"items_total"`
	BytesDone  int64 `json:"bytes_done"`
	BytesTotal int64 `json:"bytes_total"`
	WireBytes  int64 `json:"wire_bytes"`
}

// Outcome is the union of the results of send, receive, receipt, verify and undo.
type Outcome struct {
	Session   string           `json:"session"`
	Sent      map[string]Tally `json:"sent"`
	Losses    int64            `json:"losses"`
	Packs     int64            `json:"packs"`
	WireBytes int64            `json:"wire_bytes"`
	Read      int64            `json:"read_bytes"`
	Epoch     uint64           `json:"epoch"`
	Unchanged bool             `json:"unchanged"`
	Elsewhere int64            `json:"elsewhere"`
	Cached    bool             `json:"cached"`
	Receipt   *Receipt         `json:"receipt"`
	Acked     bool             `json:"acked"`
	Restored  int64            `json:"restored"`
	Refused   int64            `json:"refused_count"`
	Items     int64            `json:"items"`
	Different int64            `json:"different_count"`
	Delivered *Delivered       `json:"delivered"` // into targets
	// Of receipt.
	SafeWipe bool                        `json:"safe_to_wipe"`
	Kinds    map[string]map[string]Tally `json:"kinds"`
	// Of status.
	Transfers []struct {
		Session  string `json:"session"`
		Role     string `json:"role"`
		State    string `json:"state"`
		SafeWipe bool   `json:"safe_to_wipe"`
	} `json:"transfers"`
}

// Delivered counts records by what became of them in targets.
type Delivered struct {
	Written int64 `json:"written"`
	Same    int64 `json:"same"`
	Failed  int64 `json:"failed"`
	Left    int64 `json:"left"`
}

// Tally counts items and bytes.
type Tally struct {
	Items int64 `json:"items"`
	Bytes int64 `json:"bytes"`
}

// Receipt is the part of a receipt that tests read.
type Receipt struct {
	Session  string                      `json:"session"`
	Epoch    uint64                      `json:"epoch"`
	Level    string                      `json:"level"`
	Kinds    map[string]map[string]Tally `json:"kinds"`
	SafeWipe bool                        `json:"safe_to_wipe"`
}

// Outcome sums one outcome ("moved", "same", "kept both", …) over all kinds.
func (r *Receipt) Outcome(name string) (t Tally) {
	if r == nil {
		return t
	}
	for _, by := range r.Kinds {
		t.Items += by[name].Items
		t.Bytes += by[name].Bytes
	}
	return t
}

// Command says which process to start.
type Command struct {
	Path   string   // of the binary
	Args   []string // without the program name
	Env    []string // added to the environment of the test
	Dir    string   // working directory
	Secret string   // if not empty, a file that the process inherits as descriptor 3 holds this line
	Stdin  string   // what it reads on standard input, then the end
	UID    int      // if not 0, the user that it runs as; only root can
	Stderr io.Writer
}

// Process is a running command. Its methods may be called from any goroutine.
type Process struct {
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{}

	mu     sync.Mutex // guards what follows
	events []Event
	more   chan struct{} // closed and replaced when an event has arrived
	stderr bytes.Buffer
	exit   int
	wall   time.Duration
}

// Start runs the command. It is killed when ctx ends.
func Start(ctx context.Context, c Command) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, c.Path, c.Args...), done: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "DECANT_ROUTE=stored") // unless the test says otherwise
	p.cmd.Env = append(p.cmd.Env, c.Env...)
	p.cmd.Dir = c.Dir
	become(p.cmd, c.UID)
	p.cmd.WaitDelay = 5 * time.Second
	if c.Stdin != "" {
		p.cmd.Stdin = bytes.NewReader([]byte(c.Stdin))
	}
	p.cmd.Stderr = &guarded{p: p, also: c.Stderr}
	if c.Secret != "" {
		r, err := inherited(c.Secret + "\n")
		if err != nil {
			return nil, err
		}
		defer r.Close()
		p.cmd.ExtraFiles = []*os.File{r}
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch(out)
	return p, nil
}

// inherited returns the reading end of a pipe that holds text and then the end.
func inherited(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.WriteString(text) // far below a pipe's capacity
	return r, errors.Join(err, w.Close())
}

type guarded struct {
	p    *Process
	also io.Writer
}

func (g *guarded) Write(b []byte) (int, error) {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if g.also != nil {
		g.also.Write(b)
	}
	return g.p.stderr.Write(b)
}

// watch reads standard output to its end, then reaps the process.
func (p *Process) watch(out io.Reader) {
	s := bufio.NewScanner(out)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		e := Event{Raw: s.Text()}
		json.Unmarshal(s.Bytes(), &e) // a line that is no event keeps its text
		p.mu.Lock()
		p.events = append(p.events, e)
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
	io.Copy(io.Discard, out)
	p.cmd.Wait()
	p.mu.Lock()
	p.wall = time.Since(p.started)
	p.exit = p.cmd.ProcessState.ExitCode()
	p.mu.Unlock()
	close(p.done)
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal; a process that has ended already is no error.
func (p *Process) Signal(s os.Signal) {
	select {
	case <-p.done:
	default:
		p.cmd.Process.Signal(s)
	}
}

// Stopped waits until the process has stopped itself (StopEnv). It fails when the process ends instead. Linux only.
func (p *Process) Stopped(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			return err
		}
		if _, state, ok := bytes.Cut(b, []byte(") ")); ok && len(state) > 0 && state[0] == 'T' { // the name may hold anything but ends there
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("it ended instead of stopping: %w", p.Wait().Err())
		case <-ctx.Done():
			return fmt.Errorf("it does not stop: %w", context.Cause(ctx))
		}
	}
}

// Kill ends the process with SIGKILL and waits for it.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// WaitFor returns the first event, from the start on, for which is returns true. It fails when the process ends without one.
func (p *Process) WaitFor(ctx context.Context, what string, is func(Event) bool) (Event, error) {
	for i := 0; ; {
		p.mu.Lock()
		events, more := p.events, p.more
		p.mu.Unlock()
		for ; i < len(events); i++ {
			if is(events[i]) {
				return events[i], nil
			}
		}
		select {
		case <-more:
		case <-p.done:
			p.mu.Lock()
			late := len(p.events) > i
			p.mu.Unlock()
			if !late {
				return Event{}, fmt.Errorf("%s: the process ended first: %w", what, p.Wait().Err())
			}
		case <-ctx.Done():
			return Event{}, fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}

// Result is how a process ended and what it said.
type Result struct {
	Exit   int // ExitKilled if a signal ended it
	Events []Event
	Stderr string
	Wall   time.Duration
	User   time.Duration
	System time.Duration
	PeakKB int64 // peak resident set, 0 where the system does not tell
}

// Wait returns once the process has ended.
func (p *Process) Wait() *Result {
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	return &Result{Exit: p.exit, Events: p.events, Stderr: p.stderr.String(), Wall: p.wall,
		User: p.cmd.ProcessState.UserTime(), System: p.cmd.ProcessState.SystemTime(), PeakKB: peak(p.cmd.ProcessState)}
}

// Err describes an exit code that is neither 0 nor LeftBehind, with what the process said last.
func (r *Result) Err() error {
	if r.Exit == ExitOK || r.Exit == ExitLeftBehind {
		return nil
	}
	last := r.Stderr
	if len(last) > 2000 {
		last = "…" + last[len(last)-2000:]
	}
	for i := len(r.Events) - 1; i >= 0; i-- {
		if e := r.Events[i].Error; e != nil {
			return fmt.Errorf("exit code %d: %s: %s\n%s", r.Exit, e.Name, e.Message, last)
		}
	}
	return fmt.Errorf("exit code %d\n%s", r.Exit, last)
}

// ErrorName is the stable name of the error that the command ended with, or "".
func (r *Result) ErrorName() string {
	for i := len(r.Events) - 1; i >= 0; i-- {
		if e := r.Events[i].Error; e != nil {
			return e.Name
		}
	}
	return ""
}

// Outcome is the result that the command printed, an empty one if it printed none.
func (r *Result) Outcome() *Outcome {
	for i := len(r.Events) - 1; i >= 0; i-- {
		if r.Events[i].Result != nil {
			return r.Events[i].Result
		}
	}
	return &Outcome{}
}

// WireBytes is the highest count of sealed bytes that the process reported, in its result or on its way.
func (r *Result) WireBytes() (n int64) {
	for _, e := range r.Events {
		if e.Progress != nil {
			n = max(n, e.Progress.WireBytes)
		}
	}
	return max(n, r.Outcome().WireBytes)
}

// Killed counts the runs that a signal ended.
func Killed(runs []*Result) (n int) {
	for _, r := range runs {
		if r.Exit == ExitKilled {
			n++
		}
	}
	return n
}
