package direct

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// spool keeps sealed blobs as files, one each, named after the blob in hexadecimal. A file
// has its name when it is whole and synced. Safe for concurrent use, with one name from
// one goroutine at a time.
type spool struct {
	dir string

	mu    sync.Mutex // guards blobs
	blobs map[id.Blob]struct{}
}

const unfinished = ".new" // ends the name of a file that is being written

// openSpool opens or creates the directory and takes in what lies there. What an earlier
// process did not finish goes.
func openSpool(dir string) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &spool{dir: dir, blobs: map[id.Blob]struct{}{}}
	for _, e := range entries {
		if name, err := id.ParseBlob(e.Name()); err == nil {
			s.blobs[name] = struct{}{}
		} else if filepath.Ext(e.Name()) == unfinished {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return s, nil
}

func (s *spool) path(name id.Blob) string { return filepath.Join(s.dir, name.String()) }

func (s *spool) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blobs)
}

func (s *spool) has(name id.Blob) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.blobs[name]
	return ok
}

// same reports whether a blob is there already; wire.Conflict if it has other bytes.
func (s *spool) same(name id.Blob, blob []byte) (bool, error) {
	if !s.has(name) {
		return false, nil
	}
	old, err := os.ReadFile(s.path(name))
	if err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	if !bytes.Equal(old, blob) {
		return false, wire.Conflict
	}
	return true, nil
}

// put writes a blob that is not there. It is durable when nil is returned.
func (s *spool) put(name id.Blob, blob []byte) error {
	path := s.path(name)
	err := writeSynced(path+unfinished, blob)
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		os.Remove(path + unfinished)
		return spoolError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[name] = struct{}{}
	return nil
}

// spoolError tells a full disk from other trouble.
func spoolError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("spool: %w: %w", wire.NoSpace, err)
	}
	return fmt.Errorf("spool: %w", err)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a rename durable. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// get appends a blob to dst.
func (s *spool) get(name id.Blob, dst []byte) ([]byte, error) {
	if !s.has(name) {
		return dst, wire.NotFound
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		return dst, fmt.Errorf("spool: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return dst, fmt.Errorf("spool: %w", err)
	}
	n := len(dst)
	out := slices.Grow(dst, int(st.Size()))[:n+int(st.Size())]
	if _, err := io.ReadFull(f, out[n:]); err != nil {
		return dst, fmt.Errorf("spool: %w", err)
	}
	return out, nil
}

// remove deletes a blob, present or not.
func (s *spool) remove(name id.Blob) error {
	s.mu.Lock()
	delete(s.blobs, name)
	s.mu.Unlock()
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// clear deletes everything.
func (s *spool) clear() error {
	s.mu.Lock()
	names := make([]id.Blob, 0, len(s.blobs))
	for name := range s.blobs {
		names = append(names, name)
	}
	s.mu.Unlock()
	for _, name := range names {
		if err := s.remove(name); err != nil {
			return err
		}
	}
	return nil
}
