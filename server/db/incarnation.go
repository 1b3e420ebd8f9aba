package db

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Incarnation tells devices that the server's state is the same history as before. It is 16 random
// bytes, drawn anew whenever the state may have been restored from a backup (docs/OPERATIONS.md
// "Backup and restore"; adversity R-10). Three signs say so, each on its own:
//
//   - the mark is missing: a file in the database's directory that the database's own backup
//     (Checkpoint) does not copy;
//   - the mark is another file than the one the database remembers, by its content, its inode or its
//     change time, which no copying tool can carry over: the directory was copied back;
//   - the witness, a file outside the database's directory that holds the server's clock, is ahead of
//     the database: the volume under the database went back in time. The witness is worth most
//     on another volume.
//
// A false alarm (a move to another machine) costs the devices one confirmation more.
type Incarnation [16]byte

const markName = "decant-mark"

var incarnationKey = MetaKey("incarnation")

// Incarnate returns the incarnation of the state in dir, the database's directory. restored reports
// that a new one replaces an earlier one.
func Incarnate(d *DB, filesystem FS, dir, witness string, c *Clock, log *slog.Logger) (in Incarnation, restored bool, err error) {
	row, err := d.Get(incarnationKey)
	if err != nil {
		return in, false, err
	}
	if len(row) >= 16 {
		why, err := restoredSign(filesystem, dir, witness, row, c)
		if err != nil {
			return in, false, err
		}
		if why == "" {
			return Incarnation(row[:16]), false, nil
		}
		log.Warn("state was restored from a backup: new incarnation", "sign", why)
	}
	rand.Read(in[:])
	mark, err := writeMark(filesystem, dir)
	if err != nil {
		return in, false, fmt.Errorf("write incarnation mark: %w", err)
	}
	if err := WriteWitness(filesystem, witness, c.Kept()); err != nil {
		return in, false, err
	}
	b := d.Batch()
	b.Set(incarnationKey, append(in[:], mark...))
	return in, row != nil, b.Commit()
}

// restoredSign says which sign of a restore there is, "" for none. row is the incarnation and the mark's identity.
func restoredSign(filesystem FS, dir, witness string, row []byte, c *Clock) (string, error) {
	mark, err := readMark(filesystem, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "mark missing", nil
	case err != nil:
		return "", fmt.Errorf("read incarnation mark: %w", err)
	case !bytes.Equal(mark, row[16:]):
		return "mark copied", nil
	}
	ahead, err := witnessAhead(filesystem, witness, c.found)
	if err != nil || !ahead {
		return "", err
	}
	return "witness ahead", nil
}

// writeMark replaces the mark by a new file and returns its identity.
func writeMark(filesystem FS, dir string) ([]byte, error) {
	path := filesystem.PathJoin(dir, markName)
	if err := writeFile(filesystem, path, rand.Text()); err != nil {
		return nil, err
	}
	return readMark(filesystem, dir)
}

// readMark returns the mark's identity: what the file system knows about it, then its content.
func readMark(filesystem FS, dir string) ([]byte, error) {
	path := filesystem.PathJoin(dir, markName)
	content, err := readFile(filesystem, path)
	if err != nil {
		return nil, err
	}
	info, err := filesystem.Stat(path)
	if err != nil {
		return nil, err
	}
	return append(fileIdentity(info), content...), nil
}

// WriteWitness notes the server's clock outside the database, after the database has it. An empty path does nothing.
func WriteWitness(filesystem FS, path string, ms int64) error {
	if path == "" {
		return nil
	}
	if err := writeFile(filesystem, path, string(binary.BigEndian.AppendUint64(nil, uint64(ms)))); err != nil {
		return fmt.Errorf("write witness: %w", err)
	}
	return nil
}

// witnessAhead reports whether the witness has seen a later time than the database had when it was opened.
func witnessAhead(filesystem FS, path string, found int64) (bool, error) {
	if path == "" {
		return false, nil
	}
	v, err := readFile(filesystem, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read witness: %w", err)
	}
	return len(v) != 8 || int64(binary.BigEndian.Uint64(v)) > found, nil
}

// writeFile makes a file appear whole or not at all.
func writeFile(filesystem FS, path, content string) error {
	temporary := path + ".new"
	f, err := filesystem.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := filesystem.Rename(temporary, path); err != nil {
		return err
	}
	return SyncDir(filesystem, filesystem.PathDir(path))
}

// readFile reads a small file.
func readFile(filesystem FS, path string) ([]byte, error) {
	f, err := filesystem.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 4096))
}
