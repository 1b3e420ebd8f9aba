package folder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// spread reports whether the session's blobs lie in 256 directories, by their first byte, or in one.
func (o *offer) spread() bool { return o.blobs > maxEntries }

// blob is where a blob lies.
func (o *offer) blob(name id.Blob) string {
	text := name.String()
	if o.spread() {
		return blobsDir + "/" + text[:2] + "/" + text
	}
	return blobsDir + "/" + text
}

// Put stores blob under name; it is durable when nil is returned. The same name with the same bytes is no error, with other
// bytes wire.Conflict. The blob is not copied, and not used after Put returns. Only the sender may put.
func (s *Session) Put(ctx context.Context, name id.Blob, blob []byte) error {
	return fail("put blob", s.put(ctx, name, blob))
}

func (s *Session) put(ctx context.Context, name id.Blob, blob []byte) error {
	v, err := s.own(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	switch size := v.offer.class.BlobSize(); {
	case len(blob) > size:
		return wire.TooLarge
	case len(blob) < size:
		return wire.Malformed
	}
	file := v.offer.blob(name)
	if there, err := v.holds(file, blob); there || err != nil {
		return err
	}
	free, err := freeBytes(s.f.cfg.Dir)
	if err != nil {
		return err
	}
	if free < uint64(len(blob))+reserve {
		return wire.NoSpace
	}
	temp, err := v.stage(blob)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return errors.Join(err, v.remove(temp))
	}
	if err := s.name(v, temp, file, blob); err != nil {
		return err
	}
	return v.confirm(file)
}

// name gives a staged blob its name, unless another Put of that name was quicker.
func (s *Session) name(v *view, temp, file string, blob []byte) error {
	s.naming.Lock()
	defer s.naming.Unlock()
	there, err := v.holds(file, blob)
	if there || err != nil {
		return errors.Join(err, v.remove(temp))
	}
	return v.settle(temp, file)
}

// Get appends the blob to dst and returns the longer slice. A blob that is not there, or not yet whole, is wire.NotFound. On
// error dst is returned as it was; bytes between its length and capacity may have changed.
func (s *Session) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	out, err := s.get(ctx, name, dst)
	if err != nil {
		return dst, fail("get blob", err)
	}
	return out, nil
}

func (s *Session) get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	v, err := s.live(ctx)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	f, size, err := v.open(v.offer.blob(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = wire.NotFound
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n := v.offer.class.BlobSize()
	if size != int64(n) {
		return nil, wire.NotFound
	}
	dst = slices.Grow(dst, n)
	if _, err = io.ReadFull(f, dst[len(dst):len(dst)+n]); err == io.EOF || err == io.ErrUnexpectedEOF {
		err = wire.NotFound // it has just become shorter
	}
	return dst[:len(dst)+n], err
}

// Has tells which blobs are there, whole, in the order of names; to the sender, which are durable.
func (s *Session) Has(ctx context.Context, names []id.Blob) ([]bool, error) {
	out, err := s.has(ctx, names)
	return out, fail("has", err)
}

func (s *Session) has(ctx context.Context, names []id.Blob) ([]bool, error) {
	v, err := s.live(ctx)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	out := make([]bool, len(names))
	for i, name := range names {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		file := v.offer.blob(name)
		info, err := v.Lstat(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		out[i] = err == nil && info.Mode().IsRegular() && info.Size() == int64(v.offer.class.BlobSize())
		if out[i] && v.device == v.offer.sender {
			if err := s.settle(v, path.Dir(file)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// settle syncs a directory once: an earlier process may have died between naming a file and that.
func (s *Session) settle(v *view, dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled[dir] {
		return nil
	}
	err := v.syncDir(dir)
	s.settled[dir] = err == nil
	return err
}

// Delete removes blobs. One that is not there is no error. Only the sender may delete.
func (s *Session) Delete(ctx context.Context, names ...id.Blob) error {
	return fail("delete blob", s.delete(ctx, names))
}

func (s *Session) delete(ctx context.Context, names []id.Blob) error {
	v, err := s.own(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	changed := map[string]bool{}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		file := v.offer.blob(name)
		if err := v.remove(file); err != nil {
			return err
		}
		changed[path.Dir(file)] = true
	}
	for dir := range changed {
		if err := v.syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
