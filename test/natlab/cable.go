//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/test/impair"
)

// Cable is what joins a machine to its network. The zero value is as fast as the machine is.
type Cable struct {
	// Rate in bytes a second, Ethernet headers included, each way; the kernel's token bucket keeps it.
	Rate int64
	// Link, if not nil, is in the cable's place and does what package impair says, up being
	// the way out of the machine; Rate is not used then. It carries a few hundred Mbit/s.
	Link *impair.Link
}

// plug joins an interface of that name in n to a new one in network, whose name it returns.
func (l *Lab) plug(n *Namespace, name string, network *Namespace, c Cable) (port string, err error) {
	l.mu.Lock()
	l.plugs++
	port = fmt.Sprintf("port%d", l.plugs)
	l.mu.Unlock()
	if c.Link != nil {
		w, err := newWire(n, name, network, port, c.Link)
		if err != nil {
			return "", err
		}
		l.mu.Lock()
		l.wires = append(l.wires, w)
		l.mu.Unlock()
		return port, nil
	}
	if err := n.ip(fmt.Sprintf("link add %s type veth peer name %s netns %s", name, port, network.Path())); err != nil {
		return "", err
	}
	if c.Rate > 0 {
		err = errors.Join(n.limit(name, c.Rate), network.limit(port, c.Rate))
	}
	return port, err
}

// limit puts a token bucket before an interface. What it lets pass at once is 10 ms' worth, and at least what the
// kernel hands over in one piece.
func (n *Namespace) limit(name string, rate int64) error {
	burst := max(rate/100, 64<<10)
	return n.run("", "tc", "qdisc", "replace", "dev", name, "root", "tbf", "rate", fmt.Sprintf("%dbps", rate),
		"burst", fmt.Sprint(burst), "latency", "100ms")
}

// wire is a cable that this process carries, frame by frame.
type wire struct {
	a, b *os.File
	wg   sync.WaitGroup
}

func newWire(a *Namespace, nameA string, b *Namespace, nameB string, link *impair.Link) (*wire, error) {
	w := &wire{}
	var err error
	if w.a, err = a.tap(nameA); err != nil {
		return nil, err
	}
	if w.b, err = b.tap(nameB); err != nil {
		w.a.Close()
		return nil, err
	}
	w.wg.Go(func() { carry(link.Up, w.b, w.a) })
	w.wg.Go(func() { carry(link.Down, w.a, w.b) })
	return w, nil
}

func (w *wire) close() {
	w.a.Close()
	w.b.Close()
	w.wg.Wait()
}

// carry passes frames on until one end is closed or its interface removed.
func carry(line *impair.Line, dst, src *os.File) {
	buf := make([]byte, 64<<10)
	deliver := func(frame []byte) { dst.Write(frame) } // to an interface that is down it is a lost frame
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		if isARP(buf[:n]) { // belongs to the cable, not to what the line stands for: a lost one costs a second
			deliver(buf[:n])
			continue
		}
		line.Send(buf[:n], deliver)
	}
}

func isARP(frame []byte) bool { return len(frame) > 13 && frame[12] == 0x08 && frame[13] == 0x06 }

// tap makes an interface whose frames are read from and written to the file. It is gone when the file is closed.
func (n *Namespace) tap(name string) (f *os.File, err error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	err = n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("natlab: /dev/net/tun: %w", err)
		}
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			unix.Close(fd)
			return fmt.Errorf("natlab: interface %s: %w", name, err)
		}
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	return f, err
}
