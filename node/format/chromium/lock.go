package chromium

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// File and directory names of a profile.
const (
	File      = "Bookmarks"
	Account   = "AccountBookmarks"    // those of the account that the browser is signed in to
	Encrypted = "EncryptedBookmarks2" // a copy, by now; of a later browser perhaps all there is
)

// ErrRunning is returned if the browser has the profile open.
var ErrRunning = errors.New("the browser is running with this profile: close it first")

// Running returns ErrRunning if a browser has the directory open in which a profile lies.
// On Unix it leaves a link SingletonLock there whose target is "computer-process"
// (chrome/browser/process_singleton_posix.cc); on Windows a file lockfile that nobody else
// can write. One of another computer, which shares the directory, counts as running.
func Running(profile string) error {
	dir := filepath.Dir(profile)
	if f, err := os.OpenFile(filepath.Join(dir, "lockfile"), os.O_WRONLY, 0); err == nil {
		f.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return ErrRunning
	}
	to, err := os.Readlink(filepath.Join(dir, "SingletonLock"))
	if err != nil {
		return nil
	}
	i := strings.LastIndexByte(to, '-')
	if i < 0 {
		return nil
	}
	name, err := os.Hostname()
	pid, bad := strconv.Atoi(to[i+1:])
	if err == nil && name == to[:i] && (bad != nil || !alive(pid)) {
		return nil // it has crashed
	}
	return ErrRunning
}
