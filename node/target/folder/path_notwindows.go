//go:build !windows

package folder

const backslashSeparates = false
