//go:build linux

package link_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/test/impair"
	"github.com/decant-dev/decant/test/natlab"
)

// kernelPatience is how long is waited for what the kernel does by itself.
const kernelPatience = 2 * time.Minute

// TestR14Events: the kernel tells of an interface that goes down and comes up and of another address, each time, and the reader ends with
// its context.
func TestR14Events(t *testing.T) {
	t.Parallel()
	lab := natlab.Test(t)
	d := ok(ok(lab.Home(natlab.PortRestricted, natlab.Cable{}))(t).Device(natlab.Cable{}))(t)
	var f *os.File
	if err := d.Do(func() (err error) {
		f, err = link.OpenEvents()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), kernelPatience)
	defer cancel()
	said, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		link.ReadEvents(ctx, f, said)
	}()
	for _, x := range []struct {
		name string
		make func() error
	}{{"down", d.Down}, {"up", d.Up}, {"another address", d.Renumber}} {
		select { // of what came before
		case <-said:
		default:
		}
		if err := x.make(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-said:
		case <-ctx.Done():
			t.Fatalf("nothing is said of %s", x.name)
		}
	}
	cancel()
	<-ended
}

// TestStuck: on a link that is cut, what the kernel repeats in vain is told from what is acknowledged, and from a connection on which
// nothing is under way.
func TestStuck(t *testing.T) {
	t.Parallel()
	lab := natlab.Test(t)
	far := ok(lab.Public(natlab.Cable{}))(t)
	line := impair.Both(1, impair.Profile{Delay: 10 * time.Millisecond})
	near := ok(ok(lab.Home(natlab.PortRestricted, natlab.Cable{Link: line}))(t).Device(natlab.Cable{}))(t)
	out, in := joined(t, near, far)
	until := func(what string, alive, stuck bool) {
		t.Helper()
		deadline := time.Now().Add(kernelPatience)
		for {
			a, s := link.AckState(out)
			if a == alive && s == stuck {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: alive %v, stuck %v", what, a, s)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	pass := func(what string) {
		t.Helper()
		if _, err := out.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		in.SetReadDeadline(time.Now().Add(kernelPatience))
		if _, err := io.ReadFull(in, make([]byte, 1000)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		until(what, false, false) // all is acknowledged
	}
	pass("at first")
	line.Cut()
	if _, err := out.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	until("cut", false, true)
	line.Restore()
	in.SetReadDeadline(time.Now().Add(kernelPatience))
	if _, err := io.ReadFull(in, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	until("restored", false, false)
	pass("afterwards")
	if alive, stuck := link.AckState(struct{ net.Conn }{out}); alive || stuck {
		t.Error("something is known of a connection that hides its socket")
	}
}

// joined connects one device to another by TCP.
func joined(t *testing.T, from, to *natlab.Device) (out, in net.Conn) {
	t.Helper()
	var l net.Listener
	if err := to.Do(func() (err error) {
		l, err = net.Listen("tcp4", net.JoinHostPort(to.Addr().String(), "0"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := from.Do(func() (err error) {
		out, err = net.DialTimeout("tcp4", l.Addr().String(), kernelPatience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	in = ok(l.Accept())(t)
	t.Cleanup(func() { in.Close() })
	return out, in
}
