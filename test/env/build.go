package env

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Build names one way of building the command.
type Build struct {
	Tags string // comma-separated build tags
	Race bool   // with the race detector
}

// The builds that tests use.
var (
	Plain = Build{}
	// Faulty can be killed at named points and records every nonce.
	Faulty = Build{Tags: "killpoints,nonceoracle"}
)

var (
	buildMu  sync.Mutex // guards built and buildDir
	built    = map[Build]string{}
	buildDir string
)

// Binary returns the path of the command, built at most once a process. The file is
// removed by RemoveBinaries.
func Binary(b Build) (string, error) {
	buildMu.Lock()
	defer buildMu.Unlock()
	if path := built[b]; path != "" {
		return path, nil
	}
	if buildDir == "" {
		dir, err := os.MkdirTemp("", "decant-test-bin-")
		if err != nil {
			return "", err
		}
		if err := os.Chmod(dir, 0o755); err != nil { // for processes of another user
			return "", err
		}
		buildDir = dir
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, fmt.Sprintf("decant-%d", len(built)))
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	args := []string{"build", "-tags", b.Tags, "-o", path}
	if b.Race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/decant")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	built[b] = path
	return path, nil
}

// RemoveBinaries deletes what Binary has built. TestMain of a package that uses Binary calls it.
func RemoveBinaries() {
	buildMu.Lock()
	defer buildMu.Unlock()
	os.RemoveAll(buildDir)
	built, buildDir = map[Build]string{}, ""
}

// Main runs the tests of a package and removes the binaries that they have built.
func Main(m *testing.M) {
	status := m.Run()
	RemoveBinaries()
	os.Exit(status)
}

// Root returns the directory of the module, found from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("env: the working directory is outside the module")
		}
		dir = parent
	}
}

// Program returns the path of a program that the system may lack, or skips the test
// with a message. Where DECANT_TEST_PROGRAMS is "required", a missing one is a failure.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("DECANT_TEST_PROGRAMS") == "required" {
		tb.Fatalf("%s is not installed", name)
	}
	tb.Skipf("%s is not installed", name)
	return ""
}
