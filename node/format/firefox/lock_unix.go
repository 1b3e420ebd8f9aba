//go:build unix

package firefox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrRunning is returned, wrapped, if Firefox has the profile open.
var ErrRunning = errors.New("the profile is open in Firefox: close it first")

// Lock keeps Firefox from opening a profile, as another Firefox would, until the result is
// closed. It locks the file .parentlock and looks at the link lock, whose target is
// "address:+process" if a lock on the file goes with it, which then is what counts, and
// "address:process" if not (toolkit/profile/nsProfileLock.cpp).
func Lock(profile string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(profile, ".parentlock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &l); err != nil {
		f.Close()
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf(".parentlock: %w", err)
	}
	to, err := os.Readlink(filepath.Join(profile, "lock"))
	if i := strings.LastIndexByte(to, ':'); err == nil && i >= 0 {
		if pid, err := strconv.Atoi(to[i+1:]); err == nil && to[i+1] != '+' && pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			f.Close()
			return nil, ErrRunning
		}
	}
	return f, nil
}
