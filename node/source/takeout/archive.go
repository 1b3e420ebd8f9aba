package takeout

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source/photos"
)

// Limits on archives.
const (
	maxFiles   = 2_000_000
	maxPath    = 4096
	maxRatio   = 500       // unpacked bytes for one that is packed, of a file beyond:
	ratioFloor = 100 << 20 // bytes
	maxEntry   = 1 << 40   // bytes of one file
)

// tree is the content of an export, wherever it lies.
type tree struct {
	files []photos.Entry // Path without "Takeout/" at its beginning; sorted
	left  []item.Change
	close []io.Closer
}

func (t *tree) Close() error {
	var errs []error
	for _, c := range t.close {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (t *tree) lose(name, from, why string) {
	t.left = append(t.left, item.Change{Kind: item.File, Record: name, From: from, Effect: item.EffectDropped, Why: why})
}

// exportName is what Google calls the archives of one export: all but the last number is the same.
var exportName = regexp.MustCompile(`^(takeout-\d{8}T\d{6}Z(?:-\d+)?-)(\d{3})\.zip$`)

// siblings returns the archives of the export that one belongs to, in order.
func siblings(name string) []string {
	m := exportName.FindStringSubmatch(filepath.Base(name))
	if m == nil {
		return []string{name}
	}
	entries, _ := os.ReadDir(filepath.Dir(name))
	var out []string
	for _, e := range entries {
		if o := exportName.FindStringSubmatch(e.Name()); o != nil && o[1] == m[1] && !e.IsDir() {
			out = append(out, filepath.Join(filepath.Dir(name), e.Name()))
		}
	}
	return out
}

// openTree opens an export: an archive with those that belong to it, a directory of archives, or one that was unpacked.
func openTree(ctx context.Context, arg string) (*tree, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, err
	}
	t := &tree{}
	switch {
	case info.Mode().IsRegular():
		err = t.zips(ctx, siblings(arg))
	case info.IsDir():
		archives, _ := filepath.Glob(filepath.Join(escapeGlob(arg), "takeout-*.zip"))
		if len(archives) > 0 {
			err = t.zips(ctx, archives)
		} else {
			err = t.dir(ctx, arg)
		}
	default:
		err = fmt.Errorf("%s is neither an archive nor a directory", arg)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	slices.SortStableFunc(t.files, func(a, b photos.Entry) int { return cmp.Compare(a.Path, b.Path) })
	t.unique()
	return t, nil
}

func escapeGlob(s string) string { return regexp.MustCompile(`[\\*?\[]`).ReplaceAllString(s, `\$0`) }

// unique leaves one of the files that have one path, which no export has.
func (t *tree) unique() {
	var out []photos.Entry
	for _, e := range t.files {
		if n := len(out); n > 0 && out[n-1].Path == e.Path {
			t.lose(e.Path, e.From, "another file of the export has the same path")
			continue
		}
		out = append(out, e)
	}
	t.files = out
}

func (t *tree) zips(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.zip(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (t *tree) zip(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	z, err := zip.OpenReader(name)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	t.close = append(t.close, z)
	if len(z.File)+len(t.files) > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	packed := uint64(0)
	for _, f := range z.File {
		packed += f.CompressedSize64
		if packed > uint64(info.Size()) {
			return errors.New("its files overlap: it is made to overflow whoever unpacks it")
		}
		t.entry(name, f)
	}
	return nil
}

// entry takes one file of an archive, unless its name or its size is made to do harm.
func (t *tree) entry(archive string, f *zip.File) {
	if strings.HasSuffix(f.Name, "/") {
		return
	}
	from := archive + ":" + f.Name
	switch p, ok := cleanPath(f.Name); {
	case !ok:
		t.lose(f.Name, archive, "its name leads out of the archive, or is none")
	case !f.Mode().IsRegular():
		t.lose(f.Name, archive, "it is no file but a link or a device")
	case f.Flags&1 != 0:
		t.lose(f.Name, archive, "it is encrypted")
	case f.UncompressedSize64 > maxEntry || f.UncompressedSize64 > ratioFloor && f.UncompressedSize64/maxRatio > f.CompressedSize64:
		t.lose(f.Name, archive, fmt.Sprintf("it would grow from %d to %d bytes when it is unpacked", f.CompressedSize64, f.UncompressedSize64))
	default:
		t.files = append(t.files, photos.Entry{Path: p, From: from, Size: int64(f.UncompressedSize64), Modified: f.Modified, Made: true,
			Open: func() (io.ReadCloser, error) {
				r, err := f.Open()
				if err != nil {
					return nil, err
				}
				return &bounded{ReadCloser: r, left: int64(f.UncompressedSize64)}, nil
			}})
	}
}

// bounded ends a file that is longer than the archive says.
type bounded struct {
	io.ReadCloser
	left int64
}

var errLonger = errors.New("it is longer than the archive says")

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errLonger
	}
	return n, err
}

// cleanPath returns a path inside the export, without "Takeout/". ok is false for one that leads elsewhere.
func cleanPath(name string) (string, bool) {
	if name == "" || len(name) > maxPath || strings.ContainsAny(name, "\\\x00") || strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':' {
		return "", false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return "", false
		}
	}
	if rest, ok := strings.CutPrefix(name, "Takeout/"); ok && rest != "" {
		name = rest
	}
	return name, true
}

// dir takes the files of an export that was unpacked.
func (t *tree) dir(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	t.close = append(t.close, root)
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && p == ".":
			return err
		case err != nil:
			t.lose(p, filepath.Join(dir, p), "it could not be read")
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			t.lose(p, filepath.Join(dir, p), "it is no file but a link or a device")
			return nil
		case len(t.files) >= maxFiles:
			return fmt.Errorf("%s has more than %d files", dir, maxFiles)
		}
		info, err := d.Info()
		if err != nil {
			t.lose(p, filepath.Join(dir, p), "it could not be read")
			return nil
		}
		clean, ok := cleanPath(p)
		if !ok {
			t.lose(p, filepath.Join(dir, p), "its name is none that an export has")
			return nil
		}
		t.files = append(t.files, photos.Entry{Path: clean, From: filepath.Join(dir, p), Size: info.Size(), Modified: info.ModTime(), Made: true,
			Open: func() (io.ReadCloser, error) { return root.Open(filepath.FromSlash(p)) }})
		return nil
	})
}

// read reads a file that has to be held whole.
func read(e photos.Entry, limit int64) ([]byte, error) {
	if e.Size > limit {
		return nil, fmt.Errorf("it is larger than %d MiB", limit>>20)
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it is larger than %d MiB", limit>>20)
	}
	return b, err
}

// head reads a file's beginning.
func head(e photos.Entry, n int) []byte {
	r, err := e.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	b := make([]byte, n)
	got, _ := io.ReadFull(r, b)
	return b[:got]
}

// service is the first folder of a path: what Google calls the program that the file is from.
func service(p string) string {
	if i := strings.IndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// below is a path without its service.
func below(p string) string { return strings.TrimPrefix(p, service(p)+"/") }
