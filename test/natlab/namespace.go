//go:build linux

package natlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/test/env"
)

// Namespace is a machine's network: interfaces, routes and sockets of its own. Its methods
// may be called from any goroutine until the lab is closed.
type Namespace struct {
	work chan func()   // what the thread shall do
	done chan struct{} // closed when the thread has ended
	file *os.File      // keeps the namespace for Path

	mu       sync.Mutex // guards what follows
	programs []*env.Process
}

var errNoNamespace = errors.New("natlab: can't make a network namespace")

func newNamespace() (*Namespace, error) {
	n := &Namespace{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go n.live(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("%w: %w", errNoNamespace, err)
	}
	err := errors.Join(n.ip("link set lo up"), n.sysctlIfThere("net.ipv6.conf.all.disable_ipv6", "1"),
		n.sysctl("net.ipv4.tcp_congestion_control", "reno")) // every kernel has it, and allows it in any namespace
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// live is the namespace's thread. It ends with its goroutine, which never unlocks it.
func (n *Namespace) live(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() { // the first thread stays what it is: it is the process's face, and can't end
		elsewhere := make(chan error)
		go n.live(elsewhere)
		err := <-elsewhere
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	defer close(n.done)
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		n.file, err = os.Open("/proc/thread-self/ns/net")
	}
	ready <- err
	if err != nil {
		return
	}
	for f := range n.work {
		f()
	}
}

func (n *Namespace) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.programs {
		p.Kill()
	}
	close(n.work)
	<-n.done
	n.file.Close()
}

// Path names the namespace to other programs while the lab is there: nsenter --net=PATH.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Do runs f inside the namespace and returns its error. A socket that f opens stays in the
// namespace and may be used from anywhere; a goroutine that f starts is outside. Calls are
// made one after the other, on one thread, which f must not end as FailNow does.
func (n *Namespace) Do(f func() error) (err error) {
	finished := make(chan struct{})
	n.work <- func() {
		defer close(finished)
		err = f()
	}
	<-finished
	return err
}

// Start starts a program inside the namespace. It is killed when the lab is closed, and by
// the kernel, through setpriv, when this process has ended without that.
func (n *Namespace) Start(ctx context.Context, c env.Command) (p *env.Process, err error) {
	c.Args = append([]string{"--pdeathsig", "KILL", "--", c.Path}, c.Args...)
	c.Path = "setpriv"
	err = n.Do(func() error {
		p, err = env.Start(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.programs = append(n.programs, p)
	n.mu.Unlock()
	return p, nil
}

// run runs a program to its end inside the namespace.
func (n *Namespace) run(stdin, name string, args ...string) error {
	_, err := n.output(stdin, name, args...)
	return err
}

// output is run, and returns what the program said.
func (n *Namespace) output(stdin, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("natlab: %s %s: %w\n%s\n%s", name, strings.Join(args, " "), err, stdin, out.String())
	}
	return out.String(), nil
}

// ip runs commands of the program ip, one a line.
func (n *Namespace) ip(lines ...string) error {
	return n.run(strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
}

// sysctl sets a setting of the namespace.
func (n *Namespace) sysctl(name, value string) error {
	return n.Do(func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
	})
}

// sysctlIfThere is sysctl for settings that a kernel without the part they belong to does not have.
func (n *Namespace) sysctlIfThere(name, value string) error {
	if err := n.sysctl(name, value); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
