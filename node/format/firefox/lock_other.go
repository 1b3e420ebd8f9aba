//go:build !unix

package firefox

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// ErrRunning is returned, wrapped, if Firefox has the profile open.
var ErrRunning = errors.New("the profile is open in Firefox: close it first")

// Lock keeps Firefox from opening a profile until the result is closed. A Firefox that has
// it open holds the file parent.lock so that nobody else can write it.
func Lock(profile string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(profile, "parent.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, errors.Join(ErrRunning, err)
	}
	return f, nil
}
