package wholefile

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/node/target"
)

func TestLinksAreResolvedAndPermissionsStay(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	link := filepath.Join(dir, "link")
	if err := os.WriteFile(real, []byte("old"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", link); err != nil {
		t.Skip(err)
	}
	f, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	in, _ := f.Open()
	defer in.Close()
	if err := f.Replace(in, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(real)
	info, _ := os.Stat(real)
	if to, _ := os.Readlink(link); string(got) != "new" || to != "real" || info.Mode().Perm() != 0o604 {
		t.Errorf("%q %q %v", got, to, info.Mode())
	}
	dangling := filepath.Join(dir, "dangling")
	os.Symlink("later", dangling)
	if f, err := Open(dangling); err != nil || filepath.Base(f.Path()) != "later" {
		t.Errorf("a link that leads nowhere yet: %v", err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a directory is opened as a file")
	}
}

func TestWritesThatFailLeaveTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	os.WriteFile(path, []byte("old"), 0o600)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	in, _ := f.Open()
	defer in.Close()
	broken := errors.New("broken")
	if err := f.Replace(in, func(w io.Writer) error { io.WriteString(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	err = f.Replace(in, func(w io.Writer) error { return os.WriteFile(path, []byte("theirs"), 0o600) })
	if !errors.Is(err, target.ErrEdited) {
		t.Errorf("an edit meanwhile: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "theirs" {
		t.Errorf("the file is %q", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := f.Restore(nil, sha256.Sum256([]byte("theirs"))); err != nil {
		t.Fatal(err)
	}
	if b, err := f.Snapshot(); b != nil || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if err := f.Restore([]byte("x"), [32]byte{}); !errors.Is(err, target.ErrEdited) {
		t.Errorf("a file that is gone is restored: %v", err)
	}
}
