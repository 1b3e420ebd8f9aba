//go:build linux || darwin

package folder

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFlags keep the opening of a pipe, which has taken a file's place since that was looked at, from waiting for its other end.
const openFlags = syscall.O_NONBLOCK

// syncsDirs says that a directory can be synced.
const syncsDirs = true

// isUnsupported recognises file systems that can't sync a directory.
func isUnsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)
}

func isNoSpace(err error) bool  { return errors.Is(err, syscall.ENOSPC) }
func isQuota(err error) bool    { return errors.Is(err, syscall.EDQUOT) }
func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// isGone recognises a medium that was pulled out, and a share or a file system program that is away.
func isGone(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.ENOTCONN)
}

// freeBytes returns what this user may still write to the file system of a directory.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
