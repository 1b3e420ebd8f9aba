//go:build !linux

package main

// fileSystem names the kind of file system that dir lies on.
func fileSystem(string) string { return "disk" }
