package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// filler keeps free memory full of page cache, as it is on a machine that has been up for a
// while. A virtual machine that hands free pages back to its host pays for the first touch
// of each anew (1.7 s a GiB were seen), and then a tool's time is that of the memory that it touches.
type filler struct {
	f    *os.File
	size int64
	at   int64
}

// keepFree is how much memory stays free.
const keepFree = 512 << 20

// newFiller makes a sparse file as large as the memory at path, which must be on a disk.
func newFiller(path string) (*filler, error) {
	total, err := memInfo("MemTotal")
	if err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &filler{f: f, size: total}, f.Truncate(total)
}

// fill reads on in the file until little memory is free, once around at most.
func (x *filler) fill() error {
	if x == nil {
		return nil
	}
	const piece = 64 << 20
	for range x.size/piece + 1 {
		free, err := memInfo("MemFree")
		if err != nil || free < keepFree {
			return err
		}
		if x.at >= x.size {
			x.at = 0
		}
		n, err := io.Copy(io.Discard, struct{ io.Reader }{io.NewSectionReader(x.f, x.at, piece)})
		if err != nil {
			return err
		}
		x.at += n
	}
	return nil
}

func (x *filler) remove() {
	if x != nil {
		x.f.Close()
		os.Remove(x.f.Name())
	}
}

// memInfo reads a line of /proc/meminfo, in bytes.
func memInfo(name string) (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			var kB int64
			_, err := fmt.Sscan(rest, &kB)
			return kB << 10, err
		}
	}
	return 0, errors.Join(fmt.Errorf("/proc/meminfo has no %s", name), lines.Err())
}
