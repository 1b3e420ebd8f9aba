package folder

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
)

// openFlags are none: there are no pipes among files.
const openFlags = 0

// syncsDirs says that a directory can't be synced: its file system is journaled, or has no way to be asked.
const syncsDirs = false

func isUnsupported(error) bool { return false }

func isNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

func isQuota(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// isGone recognises a medium that was pulled out, and a share that is away.
func isGone(err error) bool {
	return errors.Is(err, windows.ERROR_NOT_READY) || errors.Is(err, windows.ERROR_NO_SUCH_DEVICE) || errors.Is(err, windows.ERROR_DEV_NOT_EXIST) ||
		errors.Is(err, windows.ERROR_NETNAME_DELETED) || errors.Is(err, windows.ERROR_BAD_NETPATH)
}

// freeBytes returns what this user may still write to the file system of a directory.
func freeBytes(dir string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &all); err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	return free, nil
}
