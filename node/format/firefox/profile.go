package firefox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Places is the name of the database in a profile.
const Places = "places.sqlite"

// attempts is how often a database is copied anew that its browser changes meanwhile.
const attempts = 8

// Copy copies a database, with what its browser has noted beside it and not yet moved into
// it, to a directory, and returns the copy's path. Nothing is written beside the original.
func Copy(ctx context.Context, path, dir string) (string, error) {
	to := filepath.Join(dir, Places)
	for range attempts {
		before := state(path)
		for _, suffix := range []string{"", "-wal"} {
			if err := copyFile(path+suffix, to+suffix); err != nil {
				if suffix == "" || !errors.Is(err, fs.ErrNotExist) {
					return "", err
				}
				if err := os.Remove(to + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return "", err
				}
			}
		}
		if state(path) == before {
			return to, nil
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
	}
	return "", errors.New("it changes all the time: close the browser")
}

// state tells whether a database was changed.
func state(path string) (s [2]string) {
	for i, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err == nil {
			s[i] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		}
	}
	return s
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", from)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Open opens a database. What its schema says can run nothing but SQL. One connection is
// all there is. query holds further parameters of SQLite's URI.
func Open(path, query string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_pragma=busy_timeout(2000)"}
	if query != "" {
		u.RawQuery += "&" + query
	}
	db, err := sql.Open("sqlite", u.String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// Settle moves into the database itself what lies beside it, so that it is one file.
func Settle(ctx context.Context, path string) error {
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
		return nil
	}
	db, err := Open(path, "")
	if err != nil {
		return err
	}
	var busy, a, b int
	err = db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &a, &b)
	if err == nil && busy != 0 {
		err = errors.New("another program uses it")
	}
	return errors.Join(err, db.Close())
}

// Count returns how many bookmarks a database has, without what its browser has not moved
// into it yet; -1 if that is not to be seen.
func Count(ctx context.Context, path string) int64 {
	db, err := Open(path, "mode=ro&immutable=1")
	if err != nil {
		return -1
	}
	defer db.Close()
	n := int64(-1)
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM moz_bookmarks WHERE guid NOT LIKE '%\_\_\_\_\_' ESCAPE '\' AND parent NOT IN
	(SELECT id FROM moz_bookmarks WHERE guid = 'tags________' UNION SELECT id FROM moz_bookmarks WHERE parent = (SELECT id FROM moz_bookmarks WHERE guid = 'tags________'))`).Scan(&n); err != nil {
		return -1
	}
	return n
}
