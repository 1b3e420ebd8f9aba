// Package marker puts in order the steps with which Pebble moves a marker, the empty file whose name says which manifest is the current one.
//
// Pebble writes and syncs a manifest, creates the new marker, removes the old one, and syncs the directory after that. A file system that
// promises only what POSIX does may keep, of the three names, any: the new marker without its manifest, which can't be opened any more, or
// neither marker, which is opened as an empty database. Journaling file systems keep the order of what happens in a directory; a network's or
// a phone's need not. A sync more on each side costs nothing, since manifests change once per tens of megabytes.
package marker

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS returns fs as it is, but that the directory is synced before a marker in it is created and before one is removed. It may be used
// concurrently as fs may.
func FS(fs vfs.FS) vfs.FS { return ordered{fs} }

type ordered struct{ vfs.FS }

// Create implements vfs.FS.
func (fs ordered) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.settle(name); err != nil {
		return nil, err
	}
	return fs.FS.Create(name, c)
}

// Remove implements vfs.FS.
func (fs ordered) Remove(name string) error {
	if err := fs.settle(name); err != nil {
		return err
	}
	return fs.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (fs ordered) Unwrap() vfs.FS { return fs.FS }

// settle makes the names that are in a marker's directory by now survive a power cut.
func (fs ordered) settle(name string) error {
	if !strings.HasPrefix(fs.PathBase(name), "marker.") {
		return nil
	}
	dir, err := fs.OpenDir(fs.PathDir(name))
	if err != nil {
		return err
	}
	if err := dir.Sync(); err != nil {
		dir.Close()
		return err
	}
	return dir.Close()
}
