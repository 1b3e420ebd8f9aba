//go:build !portable

package folder

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// futimes sets both times on an open file: one system call, no second lookup of the name.
func futimes(_, fd int, _ string, mtime int64) error {
	ts := [2]unix.Timespec{unix.NsecToTimespec(mtime), unix.NsecToTimespec(mtime)}
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// RenameExclusive moves a name to a name that must not exist (ErrExist).
func (d *Dir) RenameExclusive(name string, to *Dir, toName string) error {
	if !component(name) || !component(toName) {
		return ErrPath
	}
	err := mapErr("rename", name, unix.Renameat2(d.fd, name, to.fd, toName, unix.RENAME_NOREPLACE))
	if errors.Is(err, errUnsupported) {
		return renameSlowly(d, name, to, toName)
	}
	return err
}

// exchange swaps two names in one step.
func (d *Dir) exchange(name string, to *Dir, toName string) error {
	return mapErr("exchange", name, unix.Renameat2(d.fd, name, to.fd, toName, unix.RENAME_EXCHANGE))
}

// chmod changes a name that Lstat has just shown to be t. Linux before 6.6 has no
// fchmodat without following, so the name is opened and the handle changed.
func (d *Dir) chmod(name string, t Type, perm uint16) error {
	flags := unix.O_RDONLY
	if t == Directory {
		flags |= unix.O_DIRECTORY
	}
	fd, err := d.openat(name, flags, 0)
	if err != nil { // not readable by us, but ours: go through /proc, which can't be redirected
		return d.chmodPath(name, perm)
	}
	defer unix.Close(fd)
	return mapErr("chmod", name, unix.Fchmod(fd, uint32(perm&MetaPerm)))
}

func (d *Dir) chmodPath(name string, perm uint16) error {
	fd, err := d.openat(name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return mapErr("chmod", name, unix.Chmod("/proc/self/fd/"+itoa(fd), uint32(perm&MetaPerm)))
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// syncAll makes everything on the file system of d durable.
func (d *Dir) syncAll() error { return mapErr("syncfs", ".", unix.Syncfs(d.fd)) }

// free returns the bytes that this user may still write.
func (d *Dir) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, mapErr("statfs", ".", err)
	}
	return clampSpace(uint64(st.Bavail), uint64(st.Bsize)), nil
}

// DropCache asks the kernel to forget the file's pages, so that the next read comes
// from storage. Pages that are dirty stay: sync first.
func DropCache(f *os.File) {
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// BootID names this run of the kernel: what was written but not synced survives the
// death of a process but not of the kernel. Empty where unknown.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) > 64 {
		return ""
	}
	return string(b)
}
