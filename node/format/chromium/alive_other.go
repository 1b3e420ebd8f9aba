//go:build !unix

package chromium

func alive(int) bool { return true }
