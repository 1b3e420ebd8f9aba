// Package handset makes up a telephone's collection for "decant demo": photos with the
// time and place at which nobody took them, address books, calendars, notes, and the
// names, times and permissions that break file movers. Everything follows from the seed.
// It serves docs/SPEC.md sections 4.1 and 9.1 with examples of what they speak of.
package handset

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what to make. The zero value makes the usual handset.
type Options struct {
	Seed  uint64  // the same seed makes the same bytes, names and times
	Scale float64 // how many photos and small files, as a part of the usual 300 and 2,000; 0 is 1
}

const (
	photos     = 300
	smallFiles = 2000
)

// file is one file to be made.
type file struct {
	path  string // slash-separated, below the handset's directory
	perm  fs.FileMode
	mtime time.Time
	data  func(r *rand.Rand) []byte // called on any goroutine, with a generator of the file's own
}

// Generate makes a handset in dir, which must be empty or absent: about 40 MiB at the
// usual scale. What the file system can't hold (a name that is not UTF-8, a symbolic
// link) is left out.
func Generate(dir string, o Options) error {
	if o.Scale == 0 {
		o.Scale = 1
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if old, err := os.ReadDir(dir); err != nil || len(old) > 0 {
		return fmt.Errorf("handset: %s is not empty", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	files := slices.Concat(camera(o, scaled(photos, o)), small(o, scaled(smallFiles, o)), books(o), agendas(o), oddFiles(o))
	dirs := directories(files)
	for _, d := range dirs {
		if err := root.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := writeAll(root, o, files); err != nil {
		return err
	}
	if err := oddities(root); err != nil {
		return err
	}
	return finishDirectories(root, o, dirs)
}

func scaled(n int, o Options) int { return max(1, int(float64(n)*o.Scale)) }

// generator returns the random numbers of the i-th thing of a series.
func generator(o Options, series string, i int) *rand.Rand {
	h := o.Seed
	for _, c := range []byte(series) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return rand.New(rand.NewPCG(h, uint64(i)))
}

// directories lists the directories that the files need, parents first.
func directories(files []file) []string {
	met := map[string]bool{".": true}
	var dirs []string
	for _, f := range files {
		for d := filepath.Dir(filepath.FromSlash(f.path)); !met[d]; d = filepath.Dir(d) {
			met[d] = true
			dirs = append(dirs, d)
		}
	}
	slices.Sort(dirs)
	return dirs
}

func writeAll(root *os.Root, o Options, files []file) error {
	g, ctx := errgroup.WithContext(context.Background())
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(files) && ctx.Err() == nil; i += workers {
				if err := write(root, files[i], generator(o, "file", i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func write(root *os.Root, f file, r *rand.Rand) error {
	name := filepath.FromSlash(f.path)
	w, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if unrepresentable(f.path) {
			return nil
		}
		return err
	}
	_, err = w.Write(f.data(r))
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = root.Chtimes(name, f.mtime, f.mtime)
	}
	if err == nil {
		err = root.Chmod(name, f.perm)
	}
	return err
}

// finishDirectories gives the directories their times, the inner ones first, because
// making something in a directory changes its time.
func finishDirectories(root *os.Root, o Options, dirs []string) error {
	for i, d := range slices.Backward(dirs) {
		t := moment(generator(o, "directory", i))
		if err := root.Chtimes(d, t, t); err != nil {
			return err
		}
	}
	return nil
}

// moment returns a time in the handset's life, with the nanoseconds that a file system keeps.
func moment(r *rand.Rand) time.Time {
	from := time.Date(2015, 3, 1, 8, 0, 0, 0, time.UTC).Unix()
	to := time.Date(2026, 6, 30, 22, 0, 0, 0, time.UTC).Unix()
	return time.Unix(from+r.Int64N(to-from), r.Int64N(1_000_000_000)).UTC()
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
