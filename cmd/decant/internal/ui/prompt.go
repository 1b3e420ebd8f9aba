package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// ErrNobody means that a question could not be answered: stdin has ended.
var ErrNobody = errors.New("nobody is there to answer")

// maxAnswer is the longest line that is taken as an answer, in bytes.
const maxAnswer = 4096

type answer struct {
	line string
	err  error
}

// Ask shows a question on stderr and returns the line that is typed, without
// space around it. Where stdin is no terminal it takes the next line of stdin. It
// returns ErrNobody at the end of stdin. Only one Ask may run at a time.
func (s *Screen) Ask(ctx context.Context, question string) (string, error) {
	s.Flush()
	s.question(question + " ")
	defer s.answered()
	line, err := s.readLine(ctx)
	if err != nil && s.o.StdinTTY {
		s.endLine()
	}
	return line, err
}

// AskSecret is Ask for something that must not stay on the screen: the lines that
// question and answer took are wiped once it is typed.
func (s *Screen) AskSecret(ctx context.Context, question string) (string, error) {
	line, err := s.Ask(ctx, question)
	if err == nil && s.o.StdinTTY && s.o.ErrTTY {
		s.wipe(utf8.RuneCountInString(question) + 1 + utf8.RuneCountInString(line))
	}
	return line, err
}

func (s *Screen) question(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.asking = true
	if s.o.StdinTTY {
		s.write(text)
	}
}

func (s *Screen) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = false
}

func (s *Screen) endLine() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw("\n")
}

// wipe clears the rows that typed characters and the line feed behind them took.
func (s *Screen) wipe(typed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cols, _ := s.o.Size()
	rows := 1
	if cols > 0 {
		rows += max(typed-1, 0) / cols
	}
	s.raw(strings.Repeat("\x1b[A\x1b[2K", rows) + "\r")
}

// readLine reads on a goroutine of its own, because a read from a terminal can't
// be called off: after a cancelled one the next readLine takes its answer.
func (s *Screen) readLine(ctx context.Context) (string, error) {
	if s.asked == nil {
		c := make(chan answer, 1)
		s.asked = c
		go func() {
			line, err := line(s.in)
			c <- answer{line, err}
		}()
	}
	select {
	case a := <-s.asked:
		s.asked = nil
		return a.line, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// line reads a line of at most maxAnswer bytes.
func line(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	case err == io.EOF && len(b) == 0:
		return "", ErrNobody
	case err != nil && err != io.EOF:
		return "", fmt.Errorf("stdin: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// FD reads secrets from a file descriptor, a line each.
type FD struct {
	r *bufio.Reader
}

// OpenFD reads from file descriptor n, which the caller inherited.
func OpenFD(n int) (*FD, error) {
	f := os.NewFile(uintptr(n), fmt.Sprintf("fd %d", n))
	if f == nil {
		return nil, fmt.Errorf("file descriptor %d can't be used", n)
	}
	if _, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("file descriptor %d is not open", n)
	}
	return &FD{bufio.NewReaderSize(f, maxAnswer)}, nil
}

// Next returns the next line, or ErrNobody at the end.
func (f *FD) Next() (string, error) { return line(f.r) }

// Confirm asks a question whose answer is yes or no; an empty line means no.
func (s *Screen) Confirm(ctx context.Context, question string) (bool, error) {
	for {
		a, err := s.Ask(ctx, question+" [y]es, [n]o:")
		if err != nil {
			return false, err
		}
		switch strings.ToLower(a) {
		case "y", "yes":
			return true, nil
		case "n", "no", "":
			return false, nil
		}
		s.Lines("Please answer y or n.")
	}
}
