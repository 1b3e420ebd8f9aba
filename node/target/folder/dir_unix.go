//go:build (linux || darwin) && !portable

package folder

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// replacesEmptyDir: POSIX rename of a directory replaces an empty directory.
const replacesEmptyDir = true

// Dir is a handle on one directory. All names given to its methods are single
// components, never followed if they are links. Safe for concurrent use.
type Dir struct {
	f  *os.File
	fd int
}

// openTop opens the target itself; dir is the person's own word and may be a link.
func openTop(dir string) (*Dir, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := r.Open(".")
	if err != nil {
		return nil, err
	}
	return &Dir{f, int(f.Fd())}, nil
}

// Close closes the handle.
func (d *Dir) Close() error { return d.f.Close() }

// OpenDir opens a directory below d; it fails with ErrNotDirectory for anything else, links included.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	fd, err := d.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{os.NewFile(uintptr(fd), name), fd}, nil
}

func (d *Dir) openat(name string, flags int, perm uint32) (int, error) {
	if !component(name) {
		return -1, ErrPath
	}
	for {
		fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, perm)
		if err == nil {
			runtime.KeepAlive(d)
			return fd, nil
		}
		if err != unix.EINTR {
			return -1, mapErr("open", name, err)
		}
	}
}

// Mkdir creates a directory with perm less the umask.
func (d *Dir) Mkdir(name string, perm uint16) error {
	if !component(name) {
		return ErrPath
	}
	return mapErr("mkdir", name, unix.Mkdirat(d.fd, name, uint32(perm&MetaPerm)))
}

// Lstat describes a name; a name that is not there is an Info of Type Absent, not an error.
func (d *Dir) Lstat(name string) (Info, error) {
	if !component(name) {
		return Info{}, ErrPath
	}
	var st unix.Stat_t
	for {
		err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOENT {
			return Info{}, nil
		}
		if err != nil {
			return Info{}, mapErr("lstat", name, err)
		}
		return infoOf(&st), nil
	}
}

// Stat describes the directory itself.
func (d *Dir) Stat() (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return Info{}, mapErr("stat", ".", err)
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) Info {
	i := Info{Type: Other, Perm: uint16(st.Mode) & MetaPerm, Nlink: uint32(st.Nlink), Size: st.Size,
		ModTime: st.Mtim.Nano(), ChangeTime: st.Ctim.Nano(), Device: uint64(st.Dev), Inode: st.Ino, Blocks: st.Blocks * 512}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		i.Type = Regular
	case unix.S_IFDIR:
		i.Type = Directory
	case unix.S_IFLNK:
		i.Type = Link
	}
	return i
}

// WriteFile creates a file that must not exist, with its content, time and
// permissions. bare is what the umask leaves of perm: the permission bits are set
// once more only if the two differ. On failure nothing of that name remains.
func (d *Dir) WriteFile(name string, data []byte, mtime int64, perm, bare uint16) error {
	fd, err := d.openat(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, uint32(perm&MetaPerm))
	if err != nil {
		return err
	}
	err = writeAll(fd, data)
	if err == nil && perm != bare {
		err = unix.Fchmod(fd, uint32(perm&MetaPerm))
	}
	if err == nil {
		err = futimes(d.fd, fd, name, mtime)
	}
	if cerr := unix.Close(fd); err == nil && cerr != unix.EINTR {
		err = cerr
	}
	if err != nil {
		unix.Unlinkat(d.fd, name, 0)
		return mapErr("write", name, err)
	}
	return nil
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		data = data[n:]
	}
	return nil
}

// Create creates a file that must not exist and opens it for reading and writing.
func (d *Dir) Create(name string, perm uint16) (*os.File, error) {
	return d.file2(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, perm)
}

// OpenRead opens a regular file for reading; links and pipes are refused.
func (d *Dir) OpenRead(name string) (*os.File, error) { return d.file2(name, unix.O_RDONLY, 0) }

// OpenWrite opens an existing regular file for reading and writing; one with several
// names is refused, because writing to it would change the others.
func (d *Dir) OpenWrite(name string) (*os.File, error) { return d.file2(name, unix.O_RDWR, 0) }

func (d *Dir) file2(name string, flags int, perm uint16) (*os.File, error) {
	fd, err := d.openat(name, flags, uint32(perm&MetaPerm))
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG || (flags&unix.O_RDWR != 0 && st.Nlink > 1) {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Join(err, errNotRegular)}
	}
	return os.NewFile(uintptr(fd), name), nil
}

var errNotRegular = errors.New("not a regular file of its own")

// Unlink removes a file or link.
func (d *Dir) Unlink(name string) error { return d.unlink(name, 0) }

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error { return d.unlink(name, unix.AT_REMOVEDIR) }

func (d *Dir) unlink(name string, flags int) error {
	if !component(name) {
		return ErrPath
	}
	return mapErr("remove", name, unix.Unlinkat(d.fd, name, flags))
}

// Chmod sets the nine permission bits of a file or directory that is no link.
func (d *Dir) Chmod(name string, perm uint16) error {
	in, err := d.Lstat(name)
	if err != nil {
		return err
	}
	if in.Type != Regular && in.Type != Directory {
		return &fs.PathError{Op: "chmod", Path: name, Err: errNotRegular}
	}
	return d.chmod(name, in.Type, perm)
}

// Chtimes sets the modification time, and the access time to the same, of a name that is not followed.
func (d *Dir) Chtimes(name string, mtime int64) error {
	if !component(name) {
		return ErrPath
	}
	ts := [2]unix.Timespec{unix.NsecToTimespec(mtime), unix.NsecToTimespec(mtime)}
	return mapErr("chtimes", name, unix.UtimesNanoAt(d.fd, name, ts[:], unix.AT_SYMLINK_NOFOLLOW))
}

// chtimesSelf sets the modification time of the directory itself.
func (d *Dir) chtimesSelf(mtime int64) error {
	ts := [2]unix.Timespec{unix.NsecToTimespec(mtime), unix.NsecToTimespec(mtime)}
	return mapErr("chtimes", ".", unix.UtimesNanoAt(d.fd, ".", ts[:], unix.AT_SYMLINK_NOFOLLOW))
}

// Link gives the file a second name in another directory.
func (d *Dir) Link(name string, to *Dir, toName string) error {
	if !component(name) || !component(toName) {
		return ErrPath
	}
	return mapErr("link", name, unix.Linkat(d.fd, name, to.fd, toName, 0))
}

// replace renames over whatever has the name; only for placeholders that we made.
func (d *Dir) replace(name string, to *Dir, toName string) error {
	if !component(name) || !component(toName) {
		return ErrPath
	}
	return mapErr("rename", name, unix.Renameat(d.fd, name, to.fd, toName))
}

// Names lists the directory in no particular order, at most limit names (all if limit ≤ 0).
func (d *Dir) Names(limit int) ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, mapErr("list", ".", err)
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if err == io.EOF {
		err = nil
	}
	return names, err
}

// Sync makes the directory's entries durable.
func (d *Dir) Sync() error { return d.f.Sync() }

func setXAttr(f *os.File, name string, value []byte) error {
	return mapErr("setxattr", name, unix.Fsetxattr(int(f.Fd()), name, value, 0))
}

func getXAttr(f *os.File, name string) ([]byte, error) {
	buf := make([]byte, 1<<16)
	n, err := unix.Fgetxattr(int(f.Fd()), name, buf)
	if err != nil {
		return nil, mapErr("getxattr", name, err)
	}
	return buf[:n], nil
}

// copyXAttrs gives to the user attributes of from, as far as that is possible.
func copyXAttrs(to, from *os.File) {
	list := make([]byte, 1<<16)
	n, err := unix.Flistxattr(int(from.Fd()), list)
	if err != nil {
		return
	}
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		if !userXAttr(string(name)) {
			continue
		}
		if value, err := getXAttr(from, string(name)); err == nil {
			setXAttr(to, string(name), value)
		}
	}
}

// mapErr wraps a system error so that the sentinels of this package and of io/fs match.
func mapErr(op, name string, err error) error {
	if err == nil {
		return nil
	}
	switch err {
	case unix.ENOSPC, unix.EDQUOT:
		err = &both{ErrNoSpace, err}
	case unix.ENOTEMPTY:
		err = &both{ErrNotEmpty, err}
	case unix.ELOOP, unix.ENOTDIR:
		err = &both{ErrNotDirectory, err}
	case unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL:
		err = &both{errUnsupported, err}
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// both is a system error that also matches a sentinel.
type both struct{ kind, err error }

func (b *both) Error() string   { return b.err.Error() }
func (b *both) Unwrap() []error { return []error{b.kind, b.err} }

// mapWrite is mapErr for errors that os.File has wrapped already.
func mapWrite(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &both{ErrNoSpace, err}
	}
	return err
}
