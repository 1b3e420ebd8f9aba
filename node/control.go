package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// control is how another process of the same user reaches the one that works on a
// transfer: a Unix socket in the transfer's directory that understands two words,
// "status" and "pause". The directory's mode keeps others out.
type control struct {
	l    net.Listener
	done chan struct{}
}

func socketPath(dir string) string { return filepath.Join(dir, "control") }

// maxSocketPath is what every system's sockaddr_un has room for.
const maxSocketPath = 100

// controlTimeout bounds one exchange with the other process.
const controlTimeout = 2 * time.Second

func listenControl(dir string, status func() *TransferStatus, pause func()) (*control, error) {
	path := socketPath(dir)
	if len(path) > maxSocketPath {
		return nil, nil // status and pause then only say that a process is at work; an interrupt (Ctrl-C) pauses too
	}
	os.Remove(path) // of a process that died: we hold the lock
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	c := &control{l: l, done: make(chan struct{})}
	go c.serve(status, pause)
	return c, nil
}

func (c *control) serve(status func() *TransferStatus, pause func()) {
	defer close(c.done)
	for {
		conn, err := c.l.Accept()
		if err != nil {
			return
		}
		conn.SetDeadline(time.Now().Add(controlTimeout))
		line, err := bufio.NewReader(io.LimitReader(conn, 64)).ReadString('\n')
		switch word := strings.TrimSpace(line); {
		case err != nil:
		case word == "status":
			json.NewEncoder(conn).Encode(status()) // a failure is the asker's to notice
		case word == "pause":
			pause()
			io.WriteString(conn, "ok\n")
		}
		conn.Close()
	}
}

func (c *control) close() {
	if c == nil {
		return
	}
	c.l.Close()
	<-c.done
}

// ask sends a word to the process that works on the transfer in dir and returns its answer.
func ask(ctx context.Context, dir, word string) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketPath(dir))
	if err != nil {
		return nil, fmt.Errorf("%w, and it can't be asked", ErrBusy)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(controlTimeout))
	if _, err := io.WriteString(conn, word+"\n"); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(conn, 64<<10))
}

func askPause(ctx context.Context, dir string) error {
	answer, err := ask(ctx, dir, "pause")
	if err == nil && string(answer) != "ok\n" {
		err = errors.New("the running process did not answer")
	}
	return err
}

func askStatus(ctx context.Context, dir string) (*TransferStatus, error) {
	answer, err := ask(ctx, dir, "status")
	if err != nil {
		return nil, err
	}
	st := new(TransferStatus)
	if err := json.Unmarshal(answer, st); err != nil {
		return nil, errors.New("the running process did not answer")
	}
	return st, nil
}
