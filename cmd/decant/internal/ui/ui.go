// Package ui is what Decant's commands say to a person or to a program, and how
// they listen. docs/SPEC.md section 10 gives the form of --json.
//
// The rules:
//
//   - stdout carries what was asked for: a code, a ticket, a receipt, a list. With
//     --json it carries one JSON object a line and nothing else. All the rest is
//     stderr: questions, progress, warnings, errors. Errors and remarks begin with
//     the program's name, screens do not.
//   - Every sentence that goes wrong says what happened, then, on a line of its
//     own that begins with "hint:", what to do about it.
//   - Names, labels and texts that come from outside go through show.Name where
//     they are put into a sentence, and everything that is written goes through
//     Clean once more: a raw control byte never reaches the terminal. Only this
//     package writes escape sequences.
//   - One progress line, redrawn at most ten times a second, that shows bytes and
//     items both. Where there is no terminal it is an ordinary line every few seconds.
//   - Secrets are asked for on the terminal, or read from a file descriptor or from
//     stdin where that is no terminal. They are never arguments and never logged. A
//     code stays on the screen, it is worthless once used; a ticket is typed in the
//     clear because nobody types twelve words blindly, and its line is wiped from
//     the screen afterwards.
package ui

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"golang.org/x/term"
)

// The pace of the progress line.
const (
	redraw  = 100 * time.Millisecond // on a terminal, and between progress events of --json
	refresh = time.Second            // on a terminal, when nothing is reported
	plain   = 5 * time.Second        // without a terminal
)

// warnings is how many losses are shown as they happen; the rest is in the summary.
const warnings = 5

// Options describe where a Screen writes. The zero value is of no use; Standard gives the usual ones.
type Options struct {
	Stdin    io.Reader
	Stdout   io.Writer
	Stderr   io.Writer
	StdinTTY bool                              // questions can be answered by a person
	OutTTY   bool                              // stdout is a terminal
	ErrTTY   bool                              // stderr is a terminal that understands escape sequences
	Size     func() (cols, rows int)           // of the terminal; zeros where unknown
	Now      func() time.Time                  // default time.Now
	Ticker   func() (<-chan time.Time, func()) // default ten times a second
}

// Standard returns the options for this process.
func Standard() Options {
	smart := os.Getenv("TERM") != "dumb"
	return Options{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdinTTY: term.IsTerminal(int(os.Stdin.Fd())),
		OutTTY:   term.IsTerminal(int(os.Stdout.Fd())) && smart,
		ErrTTY:   term.IsTerminal(int(os.Stderr.Fd())) && smart,
		Size: func() (int, int) {
			cols, rows, err := term.GetSize(int(os.Stderr.Fd()))
			if err != nil {
				return 0, 0
			}
			return cols, rows
		},
	}
}

// Screen is the one place that writes to the terminal. Its methods may be called
// from any goroutine. Events are drawn by a goroutine of its own, so that a
// terminal that is held up holds up no transfer until 256 remarks are waiting.
type Screen struct {
	o     Options
	in    *bufio.Reader
	asked chan answer // the read that is under way, if any; used by one Ask at a time

	queue    chan queued
	progress atomic.Pointer[pending] // the latest that was not drawn
	begun    atomic.Int64            // stages that were reported
	done     chan struct{}           // closed by Close
	json     atomic.Bool             // --json
	verbose  atomic.Bool             // --verbose
	stopped  chan struct{}           // closed when the drawing goroutine is gone

	mu      sync.Mutex // guards all below and all writing
	drawn   bool       // a progress line is on the terminal
	asking  bool       // a question is on the terminal: no progress line
	lastRow string     // what was drawn last
	drew    time.Time
	m       meter
	waiting string // what to say when the waiting stage begins
	losses  int64
	attempt string // why the last code was refused

	entered int64 // stages that were handled; the drawing goroutine's
}

type queued struct {
	event  item.Event
	before *item.Progress  // a stage: the last progress of the one before
	flush  chan<- struct{} // not nil: only close it
}

// pending is a progress with the number of the stage that it belongs to.
type pending struct {
	p     *item.Progress
	stage int64
}

// New returns a Screen, to be closed.
func New(o Options) *Screen {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Size == nil {
		o.Size = func() (int, int) { return 0, 0 }
	}
	if o.Ticker == nil {
		o.Ticker = func() (<-chan time.Time, func()) {
			t := time.NewTicker(redraw)
			return t.C, t.Stop
		}
	}
	s := &Screen{o: o, in: bufio.NewReaderSize(o.Stdin, 4096), queue: make(chan queued, 256),
		done: make(chan struct{}), stopped: make(chan struct{})}
	go s.pump()
	return s
}

// JSON reports whether stdout carries events.
func (s *Screen) JSON() bool { return s.json.Load() }

// Lively reports whether progress is drawn in place or written as events, and not as lines.
func (s *Screen) Lively() bool { return s.json.Load() || s.o.ErrTTY }

// Close draws what is waiting and removes the progress line. No event may follow.
func (s *Screen) Close() {
	s.Flush()
	close(s.done)
	<-s.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

// Event takes what the engine reports: node.Config.Events. It blocks only if 256
// events other than progress are waiting.
func (s *Screen) Event(e item.Event) {
	q := queued{event: e}
	switch e.Type {
	case "progress":
		s.progress.Store(&pending{e.Progress, s.begun.Load()})
		return
	case "stage":
		if last := s.progress.Swap(nil); last != nil {
			q.before = last.p
		}
		s.begun.Add(1)
	}
	select {
	case s.queue <- q:
	case <-s.done:
	}
}

// Flush returns once every event so far was drawn.
func (s *Screen) Flush() {
	c := make(chan struct{})
	select {
	case s.queue <- queued{flush: c}:
		<-c
	case <-s.done:
	}
}

func (s *Screen) pump() {
	defer close(s.stopped)
	tick, stop := s.o.Ticker()
	defer stop()
	for {
		select {
		case q := <-s.queue:
			if q.flush != nil {
				close(q.flush)
				continue
			}
			s.handle(q)
		case <-tick:
			s.tick()
		case <-s.done:
			return
		}
	}
}

// tick shows the progress that has come in since the last one.
func (s *Screen) tick() {
	p := s.latest()
	if s.json.Load() {
		if p != nil {
			s.Emit(Event{Type: "progress", Progress: p})
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	if p != nil {
		s.m.update(*p, now)
	}
	if s.o.ErrTTY {
		if p != nil || now.Sub(s.drew) >= refresh {
			s.draw(now)
		}
	} else if p != nil && now.Sub(s.drew) >= plain {
		s.drew = now
		if row := s.m.line(0, now); row != s.lastRow && row != "" {
			s.lastRow = row
			s.write("decant: " + row + "\n")
		}
	}
}

// latest takes the progress that waits, unless its stage still does.
func (s *Screen) latest() *item.Progress {
	next := s.progress.Load()
	if next == nil || next.stage != s.entered || !s.progress.CompareAndSwap(next, nil) {
		return nil
	}
	return next.p
}

// draw replaces the progress line. mu is held.
func (s *Screen) draw(now time.Time) {
	s.drew = now
	if s.asking {
		return
	}
	cols, _ := s.o.Size()
	row := s.m.line(max(cols-1, 20), now)
	if row == "" || row == s.lastRow && s.drawn {
		return
	}
	s.lastRow = row
	s.raw("\r" + Clean(row) + "\x1b[K")
	s.drawn = true
}

// erase removes the progress line. mu is held.
func (s *Screen) erase() {
	if s.drawn {
		s.raw("\r\x1b[K")
		s.drawn = false
	}
}

// raw writes to stderr as it is; write passes text through Clean first. mu is held.
func (s *Screen) raw(text string)   { io.WriteString(s.o.Stderr, text) }
func (s *Screen) write(text string) { s.raw(Clean(text)) }

func (s *Screen) handle(q queued) {
	e := q.event
	switch {
	case e.Type == "stage":
		s.entered++
	case e.Type == "notice" && e.Notice.Code == "attempt-failed":
		s.mu.Lock()
		s.attempt = e.Notice.Detail
		s.mu.Unlock()
	}
	if s.json.Load() {
		if q.before != nil {
			s.Emit(Event{Type: "progress", Progress: q.before})
		}
		s.Emit(fromItem(e))
		return
	}
	switch e.Type {
	case "stage":
		s.stage(e.Stage, q.before)
	case "loss":
		s.loss(e.Loss)
	case "notice":
		if text := noticeText(*e.Notice, s.verbose.Load()); text != "" {
			s.Say("%s", text)
		}
	case "session":
		if s.verbose.Load() {
			s.Say("this transfer is %s", show.Name(e.Session.ID))
		}
	}
}

func (s *Screen) stage(st item.Stage, before *item.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	if before != nil {
		s.m.update(*before, now)
	}
	if s.m.stage == st {
		return
	}
	if st == item.StageWaiting && s.waiting != "" {
		s.erase()
		s.write("decant: " + s.waiting + "\n")
		s.waiting = ""
	}
	s.m.enter(st, now)
	if s.o.ErrTTY {
		s.draw(now)
		return
	}
	if name := stageNames[st]; name != "" {
		s.write("decant: " + name + "\n")
		s.drew, s.lastRow = now, name
	}
}

func (s *Screen) loss(l *item.Loss) {
	s.mu.Lock()
	s.losses++
	n := s.losses
	s.mu.Unlock()
	switch {
	case n <= warnings || s.verbose.Load():
		s.Say("warning: %s", LossLine(*l))
	case n == warnings+1:
		s.Say("warning: there is more of this; it is counted at the end (--verbose shows all of it)")
	}
}

// Losses is the number of loss events so far.
func (s *Screen) Losses() int64 {
	s.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.losses
}

// LastAttempt says why the last code was refused.
func (s *Screen) LastAttempt() error {
	s.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.attempt {
	case "malformed":
		return node.ErrMalformed
	case "expired":
		return node.ErrCodeExpired
	}
	return node.ErrWrongCode
}

// LossLine says what was not kept, and why.
func LossLine(l item.Loss) string {
	line := show.Name(l.Path) + " " + l.Reason.String()
	if l.Detail != "" {
		line += " (" + show.Name(l.Detail) + ")"
	}
	return line
}

// placelessText says how many photos lose a place, and how many may keep one: the numbers of the detail.
func placelessText(detail string) string {
	var lose, may int64
	if _, err := fmt.Sscanf(detail, "%d %d", &lose, &may); err != nil {
		return ""
	}
	text := Plural(lose, "file") + " will not say where it was taken"
	if lose != 1 {
		text = Plural(lose, "file") + " will not say where they were taken"
	}
	if may > 0 {
		text = "warning: " + text + "; " + Plural(may, "file") + " may say it still (`decant report` lists all)"
	}
	return text
}

// noticeText gives the words for a notice; "" means that it is not worth a person's time.
func noticeText(n item.Notice, verbose bool) string {
	detail := show.Name(n.Detail)
	with := func(text string) string {
		if n.Detail == "" {
			return text
		}
		return text + " (" + detail + ")"
	}
	switch n.Code {
	case "retrying":
		return with("the server does not answer; trying again")
	case "connection-restored":
		return "the server answers again"
	case "resumed":
		return "continuing where the last run stopped"
	case "claimed-by":
		if n.Detail == "" {
			return "the new device has claimed the transfer"
		}
		return "the new device has claimed the transfer: …" + detail
	case "already-sent":
		return "nothing has changed since the last run; everything is stored already"
	case "placeless":
		return placelessText(n.Detail)
	case "rollback-alarm":
		return with("warning: the server offered an older collection than it had before")
	case "attempt-failed":
		return attemptText(n.Detail)
	case "device-away":
		return "the other device does not answer; trying again"
	case "device-back":
		return "the other device answers again"
	case "server-unreachable":
		return "the server does not answer; going on without it"
	case "cache-unreachable":
		return with("the cache does not answer; going on without it")
	case "cache-refused":
		return with("the cache brings nothing to this server; going on without it")
	case "cache-full":
		return with("the cache has no room; going on without it")
	case "no-cache":
		return with("this is a server and no cache; going on without it")
	case "cache-lost":
		return "what the cache had is lost in part; it is sent again"
	case "cache-brought":
		return "the cache has brought everything to the server"
	case "waiting-for-cache":
		return "the rest is in a cache that can't be reached from here; waiting until it has brought it to the server"
	case "asked-again":
		return "part of what was sent directly is not on the new device any more; it is sent again"
	case "packs-elsewhere":
		return n.Detail + " packs are neither here nor in the folder; the old device is asked for them through it"
	case "packs-damaged":
		return "part of what is in the folder is damaged; it is looked for elsewhere"
	case "receipt-pending":
		return "the receipt could not be left anywhere: the folder can't be written, and the server can't be reached; `decant resume` tries again"
	case "folder-read-only":
		return "the folder can't be written here: the old device will not hear of this"
	}
	if verbose {
		return with(show.Name(n.Code))
	}
	return ""
}

// attemptText says why a code that was typed here is asked for again.
func attemptText(why string) string {
	switch why {
	case "malformed":
		return "that is neither a code nor a link: a code looks like 7-apple-river-stone"
	case "expired":
		return "the server does not know this code: it has expired, or the other device uses another server"
	}
	return "that code is wrong; after three wrong ones the other device needs a new code"
}

// Say writes one remark to stderr: "decant: …". The progress line gives way and comes back.
func (s *Screen) Say(format string, args ...any) {
	s.Lines("decant: " + fmt.Sprintf(format, args...))
}

// Verbose is Say with --verbose, and silent without.
func (s *Screen) Verbose(format string, args ...any) {
	if s.verbose.Load() {
		s.Say(format, args...)
	}
}

// Lines writes lines to stderr, without the program's name. With --json they are still written: stderr is for people.
func (s *Screen) Lines(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.write(strings.Join(lines, "\n") + "\n")
}

// Data writes lines to stdout. It does nothing with --json, where Emit does it.
func (s *Screen) Data(lines ...string) {
	if s.json.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	io.WriteString(s.o.Stdout, Clean(strings.Join(lines, "\n"))+"\n")
}

// Strong writes one line to stdout that a person is meant to copy: bold on a terminal.
func (s *Screen) Strong(line string) {
	if s.json.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	if s.o.OutTTY && os.Getenv("NO_COLOR") == "" {
		io.WriteString(s.o.Stdout, "\x1b[1m"+Clean(line)+"\x1b[0m\n")
		return
	}
	io.WriteString(s.o.Stdout, Clean(line)+"\n")
}

// Emit writes one event to stdout if --json is on, filling in its time.
func (s *Screen) Emit(e Event) {
	if !s.json.Load() {
		return
	}
	if e.Time.IsZero() {
		e.Time = s.o.Now().UTC()
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic("ui: event: " + err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Stdout.Write(append(escapeJSON(b), '\n'))
}

// escapeJSON writes what is not printable as \u escapes, so that a stream of
// events may be looked at in a terminal. Such bytes occur inside strings only.
func escapeJSON(b []byte) []byte {
	if isClean(string(b)) {
		return b
	}
	var out strings.Builder
	for _, r := range string(b) {
		switch {
		case r < 0x7f || show.Name(string(r)) == string(r):
			out.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return []byte(out.String())
}

// Result emits the last event of a command that worked.
func (s *Screen) Result(v any) { s.Emit(Event{Type: "result", Result: v}) }

// StreamResult is Result for a document that is too large to be held: write writes it as JSON, whose line breaks
// outside of strings are left out.
func (s *Screen) StreamResult(write func(io.Writer) error) error {
	head, err := json.Marshal(Event{Time: s.o.Now().UTC(), Type: "result"})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := bufio.NewWriter(s.o.Stdout)
	out.Write(head[:len(head)-1])
	out.WriteString(`,"result":`)
	if err := write(oneLine{out}); err != nil {
		return errors.Join(err, out.Flush())
	}
	out.WriteString("}\n")
	return out.Flush()
}

// oneLine leaves out line breaks.
type oneLine struct{ *bufio.Writer }

func (w oneLine) Write(b []byte) (int, error) {
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if _, err := w.Writer.Write(line); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// Fail reports a problem and returns its exit code.
func (s *Screen) Fail(p *Problem) Code {
	s.Flush()
	s.Emit(Event{Type: "error", Error: &ErrorEvent{Name: p.Name, Message: Clean(p.Text), Hint: Clean(p.Hint), Exit: p.Code}})
	s.Lines(FailLines(p)...)
	return p.Code
}

// FailLines is a problem as a person reads it.
func FailLines(p *Problem) []string {
	lines := []string{"decant: " + p.Text + "."}
	if p.Hint != "" {
		lines = append(lines, "decant: hint: "+p.Hint)
	}
	return lines
}

// QR draws text as a QR code on stderr, and reports whether it did.
func (s *Screen) QR(text string, mode QRMode) bool {
	if mode == QRNever || s.json.Load() {
		return false
	}
	lines, err := QRLines(text)
	if err != nil {
		return false
	}
	if mode == QRAuto {
		cols, rows := s.o.Size()
		if !s.o.ErrTTY || cols < len([]rune(lines[0])) || rows < len(lines)+2 {
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	for _, line := range lines {
		if s.o.ErrTTY {
			line = paint(line)
		}
		s.raw(line + "\n")
	}
	return true
}

// WhenWaiting sets what is said, once, when the wait for the other device begins.
func (s *Screen) WhenWaiting(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = text
}

// Configure sets what the global flags say. It comes before any event.
func (s *Screen) Configure(json, verbose bool) {
	s.Flush()
	s.json.Store(json)
	s.verbose.Store(verbose)
}

// Out writes text to stdout as it is: its characters must be harmless already.
func (s *Screen) Out() io.Writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	return s.o.Stdout
}

// Writer writes whole lines to stderr, for a log.
func (s *Screen) Writer() io.Writer { return lineWriter{s} }

type lineWriter struct{ s *Screen }

func (w lineWriter) Write(b []byte) (int, error) {
	w.s.Lines(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
