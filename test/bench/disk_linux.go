package main

import (
	"fmt"
	"syscall"
)

// fileSystem names the kind of file system that dir lies on.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "an unknown file system"
	}
	switch s.Type {
	case 0x01021994:
		return "tmpfs"
	case 0xef53:
		return "disk (ext4)"
	case 0x9123683e:
		return "disk (btrfs)"
	case 0x58465342:
		return "disk (xfs)"
	case 0x794c7630:
		return "disk (overlay)"
	}
	return fmt.Sprintf("file system %x", s.Type)
}
