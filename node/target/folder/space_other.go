//go:build ((!linux && !darwin) || portable) && !windows

package folder

import (
	"errors"
	"syscall"
)

func isNoSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }
