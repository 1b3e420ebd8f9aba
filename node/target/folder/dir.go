package folder

import (
	"errors"
	"io/fs"
)

// Errors of this package, to be told apart with errors.Is.
var (
	// ErrPath marks a path that is not a clean relative path below the target.
	ErrPath = errors.New("path leads outside the target or is malformed")
	// ErrNotDirectory is returned where a directory of a path is a symbolic link or no directory.
	ErrNotDirectory = errors.New("part of the path is a link or no directory")
	// ErrNoSpace says that the file system is full or the quota is used up; trying again helps once there is room.
	ErrNoSpace = errors.New("no space left on the target")
	// ErrExist is returned where a name is taken. It is fs.ErrExist.
	ErrExist = fs.ErrExist
	// ErrNotEmpty is returned when a directory that is to be removed holds something.
	ErrNotEmpty = errors.New("directory is not empty")
	// errUnsupported is returned by a system call that this system or file system lacks.
	errUnsupported = errors.New("not supported here")
)

// Type is what a name in the target stands for.
type Type uint8

// The types. Absent is the zero value.
const (
	Absent Type = iota
	Regular
	Directory
	Link  // symbolic link, junction, mount point that is a link
	Other // device, socket, pipe
)

// Info describes one name without following it.
type Info struct {
	Type       Type
	Perm       uint16 // nine permission bits
	Nlink      uint32
	Size       int64 // bytes
	ModTime    int64 // nanoseconds since 1970 UTC
	ChangeTime int64 // of the inode; 0 where the system does not say
	Device     uint64
	Inode      uint64 // 0 where the system does not say
	Blocks     int64  // bytes allocated; -1 where the system does not say
}

// Exists reports whether there is anything of that name.
func (i Info) Exists() bool { return i.Type != Absent }

// SameInode reports whether two descriptions are of one file. Where the system
// gives no inode numbers, size and time must do.
func (i Info) SameInode(j Info) bool {
	if i.Type != j.Type || i.Type == Absent {
		return false
	}
	if i.Inode == 0 || j.Inode == 0 {
		return i.Size == j.Size && i.ModTime == j.ModTime
	}
	return i.Device == j.Device && i.Inode == j.Inode
}

// MetaPerm is the set of bits that may ever be set: no set-user-ID, set-group-ID, sticky.
const MetaPerm = 0o777
