package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/compress"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Manifest puts the manifest packs of an epoch, with the padding that brings the
// session's number of blobs to a Padmé bucket, and returns the root that names it all,
// unsealed. Epoch 0 is the catalog of epoch 1's scan. What it puts is durable when it
// returns; run again after a crash it puts the manifest anew, under other indices.
func (u *Uploader) Manifest(ctx context.Context, epoch uint64, final bool, prev id.Commit) (*manifest.Root, error) {
	pads, ctx := errgroup.WithContext(ctx)
	pads.SetLimit(u.cfg.Streams + 1)
	var root *manifest.Root
	pads.Go(func() (err error) {
		root, err = u.manifest(ctx, pads, epoch, final, prev)
		return err
	})
	if err := pads.Wait(); err != nil {
		return nil, err
	}
	return root, nil
}

// manifest is Manifest; the last of the padding is put by pads when it returns.
func (u *Uploader) manifest(ctx context.Context, pads *errgroup.Group, epoch uint64, final bool, prev id.Commit) (*manifest.Root, error) {
	root := &manifest.Root{Session: u.cfg.Session, Epoch: epoch, Final: final, Class: u.cfg.Class, Prev: prev}
	m := &manifestWriter{u: u, ctx: ctx, pads: pads, root: root, b: pack.NewBuilder(u.cfg.Class), enc: compress.NewEncoder(), cut: cutFor(u.cfg.Class),
		coded: make([]byte, 0, pack.MaxChunk+compress.EncodeSlack), totals: map[item.Kind]*manifest.Total{}}
	prefix := donePrefix(epoch)
	if epoch == 0 {
		prefix = scanPrefix(1)
	}
	err := u.cfg.Journal.Each(prefix, func(_, v []byte) error {
		l, err := decodePage(v)
		if err != nil {
			return err
		}
		return m.items(l)
	})
	if err == nil {
		err = m.endPage()
	}
	if err != nil {
		return nil, err
	}
	if epoch > 0 {
		if err := m.lists(); err != nil {
			return nil, err
		}
	}
	if err := m.flush(); err != nil {
		return nil, err
	}
	for _, t := range m.totals {
		root.Totals = append(root.Totals, *t)
	}
	slices.SortFunc(root.Totals, func(a, b manifest.Total) int { return cmp.Compare(a.Kind, b.Kind) })
	root.Pages = append(m.listRefs, m.pageRefs...)
	return root, nil
}

// manifestWriter lays pages into manifest packs and puts each when it is full.
type manifestWriter struct {
	u     *Uploader
	ctx   context.Context
	pads  *errgroup.Group
	root  *manifest.Root
	b     *pack.Builder
	enc   *compress.Encoder
	coded []byte
	cut   cut

	page     *manifest.PageBuilder // being filled, nil if none
	kind     item.Kind
	first    item.Ordinal
	pageRefs []manifest.PageRef
	listRefs []manifest.PageRef
	totals   map[item.Kind]*manifest.Total
}

// items adds the items of one journal page, which may become several pages or parts of one.
func (m *manifestWriter) items(l *Local) error {
	for i := range l.Items {
		it := &l.Items[i]
		if m.page != nil && (m.kind != it.Kind || m.page.Count() == 0) {
			if err := m.endPage(); err != nil {
				return err
			}
		}
		for {
			if m.page == nil {
				m.page, m.kind, m.first = manifest.NewPageBuilder(it.Kind, it.Ordinal), it.Kind, it.Ordinal
			}
			added := m.page.Count() == 0 || len(m.page.Bytes()) < m.cut.page
			if added {
				var err error
				if added, err = m.page.Add(it); err != nil {
					return err
				}
			}
			if added {
				break
			}
			if err := m.endPage(); err != nil {
				return err
			}
		}
		m.count(it)
	}
	return nil
}

func (m *manifestWriter) count(it *item.Item) {
	t := m.totals[it.Kind]
	if t == nil {
		t = &manifest.Total{Kind: it.Kind}
		m.totals[it.Kind] = t
	}
	t.Add(it)
}

func (m *manifestWriter) endPage() error {
	if m.page == nil || m.page.Count() == 0 {
		return nil
	}
	ref := manifest.PageRef{Type: pack.Page, Kind: m.kind, First: uint64(m.first), Count: uint32(m.page.Count())}
	err := m.frame(m.page.Bytes(), &ref)
	m.pageRefs = append(m.pageRefs, ref)
	m.page = nil
	return err
}

// frame adds a chunk to the manifest pack and says in ref where it lies.
func (m *manifestWriter) frame(chunk []byte, ref *manifest.PageRef) error {
	data, codec := m.enc.Encode(m.coded[:0], chunk)
	f := pack.FrameInfo{Type: ref.Type, Kind: ref.Kind, Codec: codec, RawSize: uint32(len(chunk)), Size: uint32(len(data)), Hash: sha256.Sum256(chunk)}
	err := m.b.Add(f, data)
	if errors.Is(err, pack.ErrFull) {
		if err = m.flush(); err == nil {
			err = m.b.Add(f, data)
		}
	}
	ref.Pack, ref.Frame, ref.Bytes = m.u.nextManifest, uint16(m.b.Frames()-1), uint32(len(chunk))
	return err
}

// flush seals and puts the manifest pack.
func (m *manifestWriter) flush() error {
	if m.b.Frames() == 0 {
		return nil
	}
	plain, _ := m.b.Finish()
	s := m.u.sealPack(plain, m.u.nextManifest, m.root.Epoch, &record{Purpose: manifestPack})
	m.b.Reset()
	m.u.nextManifest++
	m.root.ManifestPacks = append(m.root.ManifestPacks, s.rec.Ref)
	return m.u.store(m.ctx, s)
}

// lists adds the padding and the pack lists, which name it too.
func (m *manifestWriter) lists() error {
	refs, err := Refs(m.u.cfg.Journal)
	if err != nil {
		return err
	}
	padding := m.u.padding(1) // the manifest pack that is still open
	if m.full(len(refs) + int(padding)) {
		padding = m.u.padding(2)
	}
	refs = append(refs, m.pad(int(padding))...)
	slices.SortFunc(refs, func(a, b manifest.PackRef) int { return cmp.Compare(a.Index, b.Index) })
	m.root.Packs = uint32(len(refs))
	for list := range slices.Chunk(refs, manifest.MaxListPacks) {
		b, err := manifest.AppendPackList(nil, list)
		if err != nil {
			return err
		}
		ref := manifest.PageRef{Type: pack.PackList, First: uint64(list[0].Index), Count: uint32(len(list))}
		if err := m.frame(b, &ref); err != nil {
			return err
		}
		m.listRefs = append(m.listRefs, ref)
	}
	return nil
}

// padding is how many packs bring those in the store, and more to come, to a bucket. What
// went to the other device itself is nobody else's to count.
func (u *Uploader) padding(more uint64) uint64 {
	if u.cfg.Routes != nil && !u.cfg.Routes.Stores() {
		return 0
	}
	n := uint64(u.stored.Load()) + more
	return pack.Padme(n) - n
}

// full reports whether lists of n packs need another manifest pack. Names and
// commitments do not compress. (From 75,000 packs, 300 GiB, on, lists fill several; the number of blobs is
// then above its bucket by what they take, and says no more than that.)
func (m *manifestWriter) full(n int) bool {
	const refSize = id.Size + 32 + 8
	lists := (n + manifest.MaxListPacks - 1) / manifest.MaxListPacks
	return m.b.Room(0) < min(n*refSize, pack.MaxChunk) || n*refSize+lists*64 > pack.PlainSize(m.u.cfg.Class)/2
}

// pad has n packs put that nobody can open, beside what follows. The root that names them comes when they are durable.
func (m *manifestWriter) pad(n int) (refs []manifest.PackRef) {
	zeros := make([]byte, pack.PlainSize(m.u.cfg.Class))
	for range n {
		s := m.u.sealPack(zeros, m.u.takeIndex(), m.root.Epoch, &record{Purpose: paddingPack})
		refs = append(refs, s.rec.Ref)
		m.pads.Go(func() error { return m.u.store(m.ctx, s) })
	}
	return refs
}

// FetchManifest gets, checks and returns a root's manifest: its packs by reference, and
// each of its pages, in the order of their items, through page, which must not keep it.
// Everything is verified before the call returns nil; what page did before an error must be undone by the caller.
func FetchManifest(ctx context.Context, store BlobStore, keys *seal.Keys, root *manifest.Root, limits key.Limits,
	page func(*manifest.Page, []byte) error) ([]manifest.PackRef, error) {
	v, err := manifest.NewValidator(root, limits)
	if err != nil {
		return nil, err
	}
	f := &manifestReader{ctx: ctx, store: store, keys: keys, root: root, dec: compress.NewDecoder()}
	var refs []manifest.PackRef
	var p manifest.Page
	for i := range root.Pages {
		ref := &root.Pages[i]
		chunk, err := f.chunk(ref)
		if err != nil {
			return nil, err
		}
		if ref.Type == pack.PackList {
			list, err := manifest.DecodePackList(chunk)
			if err == nil {
				err = v.Packs(list)
			}
			if err != nil {
				return nil, err
			}
			refs = append(refs, list...)
			continue
		}
		if err := p.DecodeInto(chunk); err != nil {
			return nil, err
		}
		if err := v.Page(&p); err != nil {
			return nil, err
		}
		if err := page(&p, chunk); err != nil {
			return nil, err
		}
	}
	return refs, v.Finish()
}

// manifestReader reads frames of manifest packs, the pack used last held open: pages
// lie in packs in their order, lists in the last.
type manifestReader struct {
	ctx   context.Context
	store BlobStore
	keys  *seal.Keys
	root  *manifest.Root
	dec   *compress.Decoder

	have    bool
	index   uint32
	blob    []byte
	plain   []byte
	scratch []byte
	table   pack.Table
}

func (f *manifestReader) chunk(ref *manifest.PageRef) ([]byte, error) {
	if !f.have || f.index != ref.Pack {
		if err := f.open(ref.Pack); err != nil {
			return nil, err
		}
	}
	if int(ref.Frame) >= len(f.table.Frames) {
		return nil, fmt.Errorf("%w: manifest pack %d has no frame %d", ErrIntegrity, ref.Pack, ref.Frame)
	}
	if err := ref.Check(&f.table.Frames[ref.Frame]); err != nil {
		return nil, err
	}
	chunk, err := f.table.Chunk(f.dec, f.scratch, f.plain, int(ref.Frame))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrIntegrity, err)
	}
	if f.table.Frames[ref.Frame].Codec != compress.Raw {
		f.scratch = chunk
	}
	return chunk, nil
}

func (f *manifestReader) open(index uint32) (err error) {
	f.have = false
	i, ok := slices.BinarySearchFunc(f.root.ManifestPacks, index, func(p manifest.PackRef, index uint32) int { return cmp.Compare(p.Index, index) })
	if !ok {
		return fmt.Errorf("%w: manifest pack %d is not listed", ErrIntegrity, index)
	}
	ref := &f.root.ManifestPacks[i]
again:
	if f.blob, err = f.store.Get(f.ctx, ref.Blob, f.blob[:0]); err != nil {
		if errors.Is(err, wire.NotFound) {
			return fmt.Errorf("manifest: %w", &MissingError{Packs: []manifest.PackRef{*ref}})
		}
		return fmt.Errorf("get manifest: %w", err)
	}
	context := manifest.ManifestPackContext(f.root.Session, ref.Epoch, ref.Index)
	if f.plain, err = seal.OpenWith(f.plain[:0], &f.keys.Manifest, context, f.blob, ref.Commitment); err != nil {
		if doubt(f.store, ref.Blob) {
			goto again
		}
		return fmt.Errorf("%w: manifest pack %d", ErrIntegrity, index)
	}
	if err := f.table.ParseInto(f.plain, f.root.Class); err != nil {
		return fmt.Errorf("%w: manifest pack %d: %v", ErrIntegrity, index, err)
	}
	f.have, f.index = true, index
	return nil
}
