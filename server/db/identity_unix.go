//go:build linux || darwin

package db

import (
	"encoding/binary"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileIdentity is the file's inode and change time: no copying tool can set both. It is empty on a file system in memory.
func fileIdentity(info vfs.FileInfo) []byte {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return make([]byte, 24)
	}
	seconds, nanos := changeTime(st)
	out := binary.BigEndian.AppendUint64(nil, uint64(st.Ino))
	out = binary.BigEndian.AppendUint64(out, uint64(seconds))
	return binary.BigEndian.AppendUint64(out, uint64(nanos))
}
