//go:build !portable

package folder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// futimes sets both times by name relative to the directory, not following it.
func futimes(dirfd, _ int, name string, mtime int64) error {
	ts := [2]unix.Timespec{unix.NsecToTimespec(mtime), unix.NsecToTimespec(mtime)}
	return unix.UtimesNanoAt(dirfd, name, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

// RenameExclusive moves a name to a name that must not exist (ErrExist).
func (d *Dir) RenameExclusive(name string, to *Dir, toName string) error {
	if !component(name) || !component(toName) {
		return ErrPath
	}
	err := mapErr("rename", name, unix.RenameatxNp(d.fd, name, to.fd, toName, unix.RENAME_EXCL))
	if errors.Is(err, errUnsupported) {
		return renameSlowly(d, name, to, toName)
	}
	return err
}

// exchange swaps two names in one step.
func (d *Dir) exchange(name string, to *Dir, toName string) error {
	return mapErr("exchange", name, unix.RenameatxNp(d.fd, name, to.fd, toName, unix.RENAME_SWAP))
}

func (d *Dir) chmod(name string, _ Type, perm uint16) error {
	return mapErr("chmod", name, unix.Fchmodat(d.fd, name, uint32(perm&MetaPerm), unix.AT_SYMLINK_NOFOLLOW))
}

// syncAll: there is no syncfs; the caller walks.
func (d *Dir) syncAll() error { return errUnsupported }

func (d *Dir) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, mapErr("statfs", ".", err)
	}
	return clampSpace(st.Bavail, uint64(st.Bsize)), nil
}

// DropCache asks the system to forget the file's pages, where it can.
func DropCache(f *os.File) { unix.FcntlInt(f.Fd(), unix.F_NOCACHE, 1) }

// BootID names this run of the kernel; unknown here.
func BootID() string { return "" }
