//go:build !linux && !darwin

package db

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileIdentity is the file's modification time: this system tells no more in a portable way.
func fileIdentity(info vfs.FileInfo) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 16), uint64(info.ModTime().UnixNano()))
}
