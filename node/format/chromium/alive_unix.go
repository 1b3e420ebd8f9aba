//go:build unix

package chromium

import (
	"errors"
	"syscall"
)

func alive(pid int) bool { return pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
