//go:build !linux && !darwin && !windows

package folder

import (
	"errors"
	"syscall"
)

const (
	openFlags = syscall.O_NONBLOCK // see sys_unix.go
	syncsDirs = true
)

func isUnsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS)
}

func isNoSpace(err error) bool  { return errors.Is(err, syscall.ENOSPC) }
func isQuota(err error) bool    { return errors.Is(err, syscall.EDQUOT) }
func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// isGone recognises a medium that was pulled out, and a share or a file system program that is away.
func isGone(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.ENOTCONN)
}

// freeBytes knows nothing here: a full file system shows when it refuses.
func freeBytes(string) (uint64, error) { return 1 << 60, nil }
