//go:build linux || darwin

package folder

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/decant-dev/decant/proto/wire"
)

// TestGone: what a medium says that was pulled out while it was in use is ErrAway, without a status: it may come back.
func TestGone(t *testing.T) {
	for _, no := range []error{syscall.EIO, syscall.ENODEV, syscall.ENXIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ENOENT} {
		err := fail("put blob", &fs.PathError{Op: "write", Path: "x", Err: no})
		if !errors.Is(err, ErrAway) || !errors.Is(err, no) || wire.StatusOf(err) != wire.StatusOf(ErrAway) {
			t.Errorf("%v: %v", no, err)
		}
	}
	if _, err := freeBytes(filepath.Join(t.TempDir(), "pulled out")); !errors.Is(fail("put blob", err), ErrAway) {
		t.Errorf("free space of a folder that is away: %v", err)
	}
	if err := fail("put blob", &fs.PathError{Op: "write", Path: "x", Err: syscall.EINVAL}); errors.Is(err, ErrAway) {
		t.Errorf("another error: %v", err)
	}
}
