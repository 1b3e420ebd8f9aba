//go:build linux

package natlab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/test/env"
)

const (
	patience = time.Minute
	childEnv = "NATLAB_TEST_CHILD"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		fmt.Println(child())
		os.Stdout.Close()
		select {}
	}
	os.Exit(m.Run())
}

// child makes a lab with a program in it and returns the program's process ID, or what went wrong.
func child() any {
	l, err := New()
	if err != nil {
		return err
	}
	d, err := l.Public(Cable{})
	if err != nil {
		return err
	}
	p, err := d.Start(context.Background(), env.Command{Path: "sh", Args: []string{"-c", "echo ready; exec sleep 600"}})
	if err != nil {
		return err
	}
	if _, err := p.WaitFor(context.Background(), "the program", func(e env.Event) bool { return e.Raw == "ready" }); err != nil {
		return err
	}
	return p.PID()
}

// TestNothingOutlivesTheProcess kills a process that has a lab, as a test that runs into its time limit.
func TestNothingOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	Test(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the child says %q", line)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, cmd.Process.Kill())
	cmd.Wait()
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	}
	if n != 1 || err != nil {
		t.Errorf("the program lives on in its namespace: %v", err)
	}
}

func TestCloseEndsPrograms(t *testing.T) {
	t.Parallel()
	l := Test(t)
	d := public(t, l, Cable{})
	p, err := d.Start(t.Context(), env.Command{Path: "sleep", Args: []string{"600"}})
	must(t, err)
	l.Close()
	if r := p.Wait(); r.Exit != env.ExitKilled {
		t.Errorf("the program ended with exit code %d", r.Exit)
	}
}

// TestProgramsRunInside asks a program where it is.
func TestProgramsRunInside(t *testing.T) {
	t.Parallel()
	d := public(t, Test(t), Cable{})
	p, err := d.Start(t.Context(), env.Command{Path: "ip", Args: []string{"-4", "-o", "addr"}})
	must(t, err)
	r := p.Wait()
	must(t, r.Err())
	var all strings.Builder
	for _, e := range r.Events {
		fmt.Fprintln(&all, e.Raw)
	}
	if !strings.Contains(all.String(), d.Addr().String()+"/24") || strings.Count(all.String(), "\n") != 2 {
		t.Errorf("a program inside sees\n%s", all.String())
	}
	must(t, exec.Command(env.Program(t, "nsenter"), "--net="+d.Path(), "true").Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func public(t *testing.T, l *Lab, c Cable) *Device {
	t.Helper()
	d, err := l.Public(c)
	must(t, err)
	return d
}

func home(t *testing.T, l *Lab, n NAT, c Cable) *Home {
	t.Helper()
	h, err := l.Home(n, c)
	must(t, err)
	return h
}

func device(t *testing.T, h *Home, c Cable) *Device {
	t.Helper()
	d, err := h.Device(c)
	must(t, err)
	return d
}

// udp opens a socket on a port of the device, 0 for any.
func udp(t *testing.T, d *Device, port uint16) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, d.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), port)))
		return err
	}))
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// at is where others reach a socket of a machine with a public address.
func at(d *Device, c *net.UDPConn) netip.AddrPort {
	return netip.AddrPortFrom(d.Addr(), c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

func say(t *testing.T, c *net.UDPConn, to netip.AddrPort, what string) {
	t.Helper()
	_, err := c.WriteToUDPAddrPort([]byte(what), to)
	must(t, err)
}

func hear(t *testing.T, c *net.UDPConn) (what string, from netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 100)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	must(t, err)
	return string(buf[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// accept takes one TCP connection on a device, on a port of its own, and gives it to serve.
func accept(t *testing.T, d *Device, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	var l net.Listener
	must(t, d.Do(func() (err error) {
		l, err = net.Listen("tcp4", "0.0.0.0:0")
		return err
	}))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return netip.AddrPortFrom(d.Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
}

// dial connects from a device by TCP.
func dial(t *testing.T, d *Device, to netip.AddrPort) net.Conn {
	t.Helper()
	var c net.Conn
	must(t, d.Do(func() (err error) {
		c, err = net.DialTimeout("tcp4", to.String(), patience)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// seenAs asks a server, to which the device connects, from where that was.
func seenAs(t *testing.T, d *Device, server netip.AddrPort) string {
	t.Helper()
	b, err := io.ReadAll(dial(t, d, server))
	must(t, err)
	return string(b)
}

// mirror serves seenAs.
func mirror(c net.Conn) {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	io.WriteString(c, host)
}
