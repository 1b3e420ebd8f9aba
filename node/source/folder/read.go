package folder

import (
	"io"
	"io/fs"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
)

// openFile opens the regular file of a path and says what it is.
func (f *Folder) openFile(path string) (handle, source.Stat, error) {
	h, err := f.openAny(path)
	if err != nil {
		if isSymlinkError(err) {
			err = source.ErrNotRegular
		}
		return h, source.Stat{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	st, regular, err := h.stat()
	if err == nil && !regular {
		err = source.ErrNotRegular
	}
	if err != nil {
		h.close()
		return h, st, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return h, st, nil
}

func (f *Folder) openAny(path string) (handle, error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		r, err := f.lookup(path)
		if err != nil || !r.file {
			return handle{}, source.ErrPath
		}
		return r.dir.open(r.raw)
	}
	if leaves(path[i+1:]) {
		return handle{}, source.ErrPath
	}
	d, err := f.get(path[:i])
	if err != nil {
		return handle{}, err
	}
	defer f.cache.put(d)
	return openRaw(path[i+1:], d.dir.open)
}

// ReadSmall implements source.Reader with five system calls: open, stat, read, stat, close,
// and one for the names of extended attributes.
func (f *Folder) ReadSmall(path string, buf []byte) (int, source.Stat, error) {
	h, st, err := f.openFile(path)
	if err != nil {
		return 0, st, err
	}
	defer h.close()
	if st.Size >= int64(len(buf)) {
		return 0, st, source.ErrTooLarge
	}
	st.HasXAttrs = h.hasXAttrs()
	n := 0
	for n <= int(st.Size) {
		// One byte more than the size is asked for, so that one read meets the end too.
		m, err := h.read(buf[n : st.Size+1])
		n += m
		if err != nil {
			return n, st, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if m == 0 || n == int(st.Size) {
			break
		}
	}
	after, _, err := h.stat()
	if err != nil {
		return n, st, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if n != int(st.Size) || !st.Same(after) {
		return n, after, source.ErrChanged
	}
	return n, st, nil
}

// Open implements source.Source.
func (f *Folder) Open(path string) (source.File, error) {
	h, _, err := f.openFile(path)
	if err != nil {
		return nil, err
	}
	return &file{h: h, path: path}, nil
}

// file is a source.File.
type file struct {
	h    handle
	path string
}

// readAtOnce is how much one system call reads. Go's scheduler takes its processor away from a call that lasts longer than some tens of microseconds,
// which costs two switches of threads.
const readAtOnce = 128 << 10

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := f.h.readAt(p[n:min(len(p), n+readAtOnce)], off+int64(n))
		n += m
		if err != nil {
			return n, &fs.PathError{Op: "read", Path: f.path, Err: err}
		}
		if m == 0 {
			return n, io.EOF
		}
	}
	return n, nil
}

func (f *file) Stat() (source.Stat, error) {
	st, _, err := f.h.stat()
	if err != nil {
		return st, &fs.PathError{Op: "stat", Path: f.path, Err: err}
	}
	st.HasXAttrs = f.h.hasXAttrs()
	return st, nil
}

func (f *file) XAttrs() ([]item.XAttr, []string, error) { return f.h.xattrs() }

func (f *file) Close() error {
	f.h.close()
	return nil
}
