//go:build unix && !portable

package folder

import (
	"math"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/node/source"
)

// dir is an open directory.
type dir struct{ fd int }

// handle is an open file.
type handle struct{ fd int }

// again repeats a call that a signal interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func openat(at int, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(at, name, flags|unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// openPath opens a directory that the person named; its path has no symbolic links left.
func openPath(path string) (dir, error) {
	fd, err := openat(unix.AT_FDCWD, filepath.Clean(path), unix.O_DIRECTORY)
	return dir{fd}, err
}

func (d dir) openDir(name string) (dir, error) {
	fd, err := openat(d.fd, name, unix.O_DIRECTORY|unix.O_NOFOLLOW)
	return dir{fd}, err
}

// open opens a file and never waits: what turned into a pipe meanwhile is found out by stat.
func (d dir) open(name string) (handle, error) {
	fd, err := openat(d.fd, name, unix.O_NOFOLLOW)
	return handle{fd}, err
}

func (d dir) close() { unix.Close(d.fd) }

// names lists a freshly opened directory without "." and "..", in no order.
func (d dir) names(buf []byte) ([]string, error) {
	var names []string
	for {
		n, err := unix.ReadDirent(d.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return names, err
		}
		for rest := buf[:n]; len(rest) > 0; {
			var used int
			used, _, names = unix.ParseDirent(rest, -1, names)
			if used <= 0 {
				break
			}
			rest = rest[used:]
		}
	}
}

// shape is what a directory entry is.
type shape uint8

const (
	isSpecial shape = iota
	isRegular
	isDir
	isLink
)

// entry is a directory entry's Stat and what it does not hold.
type entry struct {
	source.Stat
	shape   shape
	special bool // has set-user-ID, set-group-ID or sticky bits
	clamped bool // ModTime is not what the file system says
}

func (d dir) stat(name string) (entry, error) {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return entry{}, err
	}
	return fromSys(&st), nil
}

// self describes the directory itself.
func (d dir) self() (entry, error) {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(d.fd, &st) }); err != nil {
		return entry{}, err
	}
	return fromSys(&st), nil
}

func fromSys(st *unix.Stat_t) entry {
	mtime, ok := nanoseconds(int64(st.Mtim.Sec), int64(st.Mtim.Nsec))
	ctime, _ := nanoseconds(int64(st.Ctim.Sec), int64(st.Ctim.Nsec))
	e := entry{clamped: !ok, special: st.Mode&0o7000 != 0, Stat: source.Stat{
		Size: st.Size, ModTime: mtime, ChangeTime: ctime, Device: uint64(st.Dev), Inode: uint64(st.Ino),
		Perm: uint16(st.Mode & 0o777), Nlink: uint32(st.Nlink), Blocks: int64(st.Blocks),
	}}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.shape = isRegular
	case unix.S_IFDIR:
		e.shape = isDir
	case unix.S_IFLNK:
		e.shape = isLink
	}
	return e
}

// nanoseconds clamps to what an int64 holds: the years 1678 to 2262.
func nanoseconds(sec, nsec int64) (int64, bool) {
	const limit = math.MaxInt64/1_000_000_000 - 1
	switch {
	case sec > limit:
		return math.MaxInt64, false
	case sec < -limit:
		return math.MinInt64, false
	}
	return sec*1_000_000_000 + nsec, true
}

func (h handle) stat() (source.Stat, bool, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstat(h.fd, &st) })
	e := fromSys(&st)
	return e.Stat, e.shape == isRegular, err
}

func (h handle) read(p []byte) (n int, err error) {
	for {
		if n, err = unix.Read(h.fd, p); err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (h handle) readAt(p []byte, off int64) (n int, err error) {
	for {
		if n, err = unix.Pread(h.fd, p, off); err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (h handle) close() { unix.Close(h.fd) }

// isSymlinkError reports whether opening failed because a symbolic link stands where a
// directory or file was.
func isSymlinkError(err error) bool {
	return err == unix.ELOOP || err == unix.ENOTDIR || err == unix.EMLINK
}
