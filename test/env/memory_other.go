//go:build !linux

package env

import "errors"

// SearchMemory is for Linux only.
func (c *Canaries) SearchMemory(int) ([]Hit, int64, error) {
	return nil, 0, errors.New("env: the memory of another process can't be read on this system")
}
