package env

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// SearchMemory looks through the writable memory of a running process, which must be
// a child of this one. It returns how many bytes it has read.
func (c *Canaries) SearchMemory(pid int) (hits []Hit, searched int64, err error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, 0, err
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, 0, err
	}
	defer mem.Close()
	var buf []byte
	for s := bufio.NewScanner(maps); s.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(s.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += 16 << 20 {
			n := int(min(to-at, 16<<20+4096))
			if cap(buf) < n {
				buf = make([]byte, n)
			}
			n, _ = mem.ReadAt(buf[:n], at) // a page that was given back in the meantime reads short
			searched += int64(n)
			hits = append(hits, c.SearchBytes(fmt.Sprintf("memory of process %d at %x", pid, at), buf[:n])...)
		}
	}
	return hits, searched, nil
}
