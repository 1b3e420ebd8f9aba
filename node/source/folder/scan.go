package folder

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/source"
)

// direntBuffer is what one getdents call may fill: about 1,000 names.
const direntBuffer = 64 << 10

// scan is one run of Scan. It holds the names of the directories between the root and
// where it is, and no others.
type scan struct {
	ctx    context.Context
	folder *Folder
	emit   func(*item.Item, source.Stat) error
	loss   func(item.Loss)
	buf    []byte
	item   item.Item           // overwritten for each
	links  map[fileID]struct{} // files with several names that were met
	seen   int
}

type fileID struct{ device, inode uint64 }

// Scan implements source.Source. Directories are items too, before what they hold; the
// entries of each follow in the order of their names' bytes.
func (f *Folder) Scan(ctx context.Context, emit func(*item.Item, source.Stat) error, loss func(item.Loss)) error {
	s := &scan{ctx: ctx, folder: f, emit: emit, loss: loss, buf: make([]byte, direntBuffer), links: map[fileID]struct{}{}}
	for i := range f.roots {
		if err := s.root(&f.roots[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) root(r *root) error {
	if r.name != r.given {
		s.lose(kind.Of(r.name), r.name, item.ReasonName, r.given)
	}
	if r.file {
		e, err := r.dir.stat(r.raw)
		if err != nil {
			s.loseError(kind.Of(r.name), r.name, err)
			return nil
		}
		return s.entry(r.dir, r.raw, r.name, 1, e)
	}
	e, err := r.dir.self()
	if err != nil {
		s.loseError(item.File, r.name, err)
		return nil
	}
	// A handle of its own: the position of a directory's listing belongs to the handle.
	d, err := r.dir.openDir(".")
	if err != nil {
		s.loseError(item.File, r.name, err)
		return nil
	}
	defer d.close()
	if err := s.directory(r.name, e, d.xattrs); err != nil {
		return err
	}
	return s.list(d, r.name, 1)
}

// list scans what a directory holds.
func (s *scan) list(d dir, path string, depth int) error {
	names, err := d.names(s.buf)
	if err != nil {
		s.loseError(item.File, path, err)
	}
	sort.Strings(names)
	for _, raw := range names {
		if s.seen++; s.seen%256 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		name, ok := s.name(raw, path, depth, names)
		if !ok {
			continue
		}
		full := path + "/" + name
		e, err := d.stat(raw)
		if err != nil {
			s.loseError(kind.Of(name), full, err)
			continue
		}
		if err := s.entry(d, raw, full, depth+1, e); err != nil {
			return err
		}
	}
	return s.ctx.Err()
}

// name returns the name under which an entry moves, or false if it can't.
func (s *scan) name(raw, path string, depth int, names []string) (string, bool) {
	name := raw
	if !portable(raw, false) {
		name = escape(raw, false)
		if _, taken := slices.BinarySearch(names, name); taken {
			s.lose(kind.Of(name), path+"/"+name, item.ReasonUnreadable, "another file has the name under which it would be moved")
			return "", false
		}
	}
	if len(name) > maxComponent || len(path)+1+len(name) > item.MaxPath || depth+1 > item.MaxDepth {
		s.lose(kind.Of(name), path+"/"+name, item.ReasonTooLong, "")
		return "", false
	}
	if name != raw {
		s.lose(kind.Of(name), path+"/"+name, item.ReasonName, raw)
	}
	return name, true
}

// entry emits one entry of a directory, and what lies below it.
func (s *scan) entry(parent dir, raw, path string, depth int, e entry) error {
	switch e.shape {
	case isRegular:
		return s.file(parent, raw, path, e)
	case isDir:
		d, err := parent.openDir(raw)
		switch {
		case err == nil:
			defer d.close()
		case isSymlinkError(err) || errors.Is(err, fs.ErrNotExist):
			s.loseError(item.File, path, err)
			return nil
		default: // it is there, and moves as an empty directory
			s.loseError(item.File, path, err)
			return s.directory(path, e, nil)
		}
		if err := s.directory(path, e, d.xattrs); err != nil {
			return err
		}
		return s.list(d, path, depth)
	case isLink:
		s.lose(kind.Of(path), path, item.ReasonSymlink, "")
	default:
		s.lose(kind.Of(path), path, item.ReasonSpecial, "")
	}
	return nil
}

// directory emits a directory; its attributes are read here because nobody opens it again.
func (s *scan) directory(path string, e entry, xattrs func() ([]item.XAttr, []string, error)) error {
	s.item = item.Item{Kind: item.File, Form: item.FormDir, Path: path, ModTime: e.ModTime, Perm: e.Perm}
	if xattrs != nil {
		kept, dropped, err := xattrs()
		if err != nil {
			s.lose(item.File, path, item.ReasonXAttr, "")
		}
		for _, name := range dropped {
			s.lose(item.File, path, item.ReasonXAttr, name)
		}
		s.item.XAttrs = kept
	}
	s.changed(item.File, path, e)
	return s.emit(&s.item, e.Stat)
}

func (s *scan) file(parent dir, raw, path string, e entry) error {
	k := kind.Of(path)
	if e.Size > item.MaxSize {
		s.lose(k, path, item.ReasonTooLong, "")
		return nil
	}
	if e.Nlink > 1 {
		id := fileID{e.Device, e.Inode}
		if _, met := s.links[id]; met {
			s.lose(k, path, item.ReasonHardLink, "")
		}
		s.links[id] = struct{}{}
	}
	s.changed(k, path, e)
	s.item = item.Item{Kind: k, Form: item.FormFile, Path: path, Size: e.Size, ModTime: e.ModTime, Perm: e.Perm}
	if kind.HasRecords(k) {
		return s.container(parent, raw, path, e)
	}
	return s.emit(&s.item, e.Stat)
}

// container emits a file and its records. What can't be read now is emitted without
// records: whoever reads it again finds out whether it still can't be.
func (s *scan) container(parent dir, raw, path string, e entry) error {
	k := s.item.Kind
	var records []contentline.Record
	switch {
	case e.Size > kind.MaxRecordFile:
		s.lose(k, path, item.ReasonMalformed, "too large to be taken apart")
	default:
		data, st, err := readWhole(parent, raw)
		if err != nil {
			break
		}
		e.Stat = st
		s.item.Size, s.item.ModTime, s.item.Perm = st.Size, st.ModTime, st.Perm
		records = s.records(k, path, data)
	}
	if err := s.emit(&s.item, e.Stat); err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		if r.Problem != "" {
			continue
		}
		s.item = item.Item{Kind: k, Form: item.FormRecord, Size: r.Size(), Identity: r.Identity, Ranges: r.Ranges}
		if err := s.emit(&s.item, e.Stat); err != nil {
			return err
		}
	}
	return nil
}

// records parses a container and reports, once, what of it could not be.
func (s *scan) records(k item.Kind, path string, data []byte) []contentline.Record {
	var records []contentline.Record
	tooMany := kind.TooMany(k, data)
	if !tooMany {
		records = kind.Records(k, data)
	}
	if tooMany || len(records) > kind.MaxRecords {
		s.lose(k, path, item.ReasonMalformed, "too many records to be taken apart")
		return nil
	}
	broken, why := 0, ""
	for i := range records {
		if p := records[i].Problem; p != "" {
			broken, why = broken+1, p
		}
	}
	switch {
	case broken > 0:
		s.lose(k, path, item.ReasonMalformed, strconv.Itoa(broken)+" of "+strconv.Itoa(len(records))+" records; the last "+why)
	case len(records) == 0 && len(bytes.TrimSpace(data)) > 0:
		s.lose(k, path, item.ReasonMalformed, contentline.ProblemNoRecord)
	}
	return records
}

// readWhole reads a file of at most kind.MaxRecordFile bytes that does not change meanwhile.
func readWhole(parent dir, raw string) ([]byte, source.Stat, error) {
	h, err := parent.open(raw)
	if err != nil {
		return nil, source.Stat{}, err
	}
	defer h.close()
	st, regular, err := h.stat()
	if err != nil || !regular || st.Size > kind.MaxRecordFile {
		return nil, st, cmp.Or(err, source.ErrNotRegular)
	}
	data := make([]byte, st.Size)
	for n := 0; n < len(data); {
		m, err := h.read(data[n:])
		if err != nil || m == 0 {
			return nil, st, cmp.Or(err, source.ErrChanged)
		}
		n += m
	}
	after, _, err := h.stat()
	if err != nil || !st.Same(after) {
		return nil, st, cmp.Or(err, source.ErrChanged)
	}
	return data, st, nil
}

// changed reports what an item can't say of an entry.
func (s *scan) changed(k item.Kind, path string, e entry) {
	if e.special {
		s.lose(k, path, item.ReasonPerm, "set-user-ID, set-group-ID or sticky")
	}
	if e.clamped {
		s.lose(k, path, item.ReasonTime, "")
	}
}

func (s *scan) lose(k item.Kind, path string, why item.Reason, detail string) {
	s.loss(item.Loss{Kind: k, Path: path, Reason: why, Detail: strings.Clone(detail)})
}

func (s *scan) loseError(k item.Kind, path string, err error) {
	why := item.ReasonUnreadable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = item.ReasonVanished
	case isSymlinkError(err):
		why = item.ReasonSymlink
	}
	s.lose(k, path, why, "")
}
