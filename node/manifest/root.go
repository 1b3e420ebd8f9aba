package manifest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Root is one epoch of a session: everything that the manifest consists of. Each
// epoch's root is whole; what has not changed since the one before is named again.
type Root struct {
	Session id.Session
	Epoch   uint64 // 0 is the catalog: items without content
	Final   bool   // no epoch follows
	Class   wire.Class
	Prev    id.Commit // of the epoch before; zero for epoch 0

	Packs         uint32    // content packs, in the pack lists
	Totals        []Total   // one for each kind that has items, in ascending order
	ManifestPacks []PackRef // in ascending order
	Pages         []PageRef // all pack lists, then all pages in the order of their items
}

// Total sums up the items of one kind.
type Total struct {
	Kind    item.Kind
	Items   uint64 // all of them
	Removed uint64 // of Items, those with item.ReasonRemoved: they are no part of the collection, and in none of the counts below
	Dirs    uint64 // of Items, the directories
	Records uint64 // of Items, the records
	Lost    uint64 // of Items, those with another reason
	Bytes   uint64 // Size of the files that are not lost
}

// PageRef says where a page or pack list lies and what it holds.
type PageRef struct {
	Pack  uint32    // Index of a manifest pack
	Frame uint16    // number of the frame in it
	Type  pack.Type // Page or PackList
	Kind  item.Kind // of a Page
	First uint64    // ordinal of a page's first item, follows from the pages before; index of a list's first pack
	Count uint32    // items or packs
	Bytes uint32    // of its encoding
}

// Check compares the description of the frame that ref names with ref.
func (ref *PageRef) Check(f *pack.FrameInfo) error {
	if f.Type != ref.Type || f.Kind != ref.Kind || f.RawSize != ref.Bytes {
		return fmt.Errorf("%w: frame %d of manifest pack %d", ErrOrder, ref.Frame, ref.Pack)
	}
	return nil
}

// Items is the number of items of all kinds.
func (r *Root) Items() uint64 { return r.sum(func(t *Total) uint64 { return t.Items }) }

// Bytes is the number of bytes of content of all kinds.
func (r *Root) Bytes() uint64 { return r.sum(func(t *Total) uint64 { return t.Bytes }) }

func (r *Root) sum(of func(*Total) uint64) (n uint64) {
	for i := range r.Totals {
		n += of(&r.Totals[i])
	}
	return n
}

// A root is: byte version, 16 bytes session, varint epoch, byte flags, byte class, 32
// bytes Prev, varint Packs, then counted lists of totals (byte kind and six varints),
// manifest packs (as in a pack list) and pages.
const (
	rootVersion = 1
	flagFinal   = 1
	minPageRef  = 2 + 4
	maxTotal    = 1 << 60 // bytes of a kind
)

// Append appends the root's one encoding. The error says why the root is not valid.
func (r *Root) Append(dst []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	dst = append(dst, rootVersion)
	dst = append(dst, r.Session[:]...)
	dst = exact.Append(dst, r.Epoch)
	flags := byte(0)
	if r.Final {
		flags = flagFinal
	}
	dst = append(dst, flags, byte(r.Class))
	dst = append(dst, r.Prev[:]...)
	dst = exact.Append(dst, uint64(r.Packs))
	dst = exact.Append(dst, uint64(len(r.Totals)))
	for _, t := range r.Totals {
		dst = append(dst, byte(t.Kind))
		for _, n := range []uint64{t.Items, t.Removed, t.Dirs, t.Records, t.Lost, t.Bytes} {
			dst = exact.Append(dst, n)
		}
	}
	dst, err := appendPacks(dst, r.ManifestPacks)
	if err != nil {
		return nil, err
	}
	dst = exact.Append(dst, uint64(len(r.Pages)))
	for i := range r.Pages {
		dst = r.Pages[i].append(dst)
	}
	return dst, nil
}

func (ref *PageRef) append(dst []byte) []byte {
	dst = append(dst, byte(ref.Type), byte(ref.Kind))
	dst = exact.Append(dst, uint64(ref.Pack))
	dst = exact.Append(dst, uint64(ref.Frame))
	if ref.Type == pack.PackList {
		dst = exact.Append(dst, ref.First)
	}
	dst = exact.Append(dst, uint64(ref.Count))
	return exact.Append(dst, uint64(ref.Bytes))
}

// DecodeRoot decodes and validates a root. Nothing of the result aliases b.
func DecodeRoot(b []byte) (*Root, error) {
	d := exact.NewReader(b)
	if d.Byte() != rootVersion {
		return nil, fmt.Errorf("%w: version", ErrRoot)
	}
	r := new(Root)
	d.Fixed(r.Session[:])
	r.Epoch = d.Max(MaxEpoch - 1)
	flags := d.Byte()
	r.Final, r.Class = flags == flagFinal, wire.Class(d.Byte())
	d.Fixed(r.Prev[:])
	r.Packs = uint32(d.Max(MaxPacks))
	if flags > flagFinal || !readTotals(&d, r) {
		return nil, ErrEncoding
	}
	var err error
	if r.ManifestPacks, err = readPacks(&d, MaxManPacks); err != nil {
		return nil, err
	}
	if !readPages(&d, r) || !d.Done() {
		return nil, ErrEncoding
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

func readTotals(d *exact.Reader, r *Root) bool {
	for range d.Max(uint64(len(item.Kinds))) {
		t := Total{Kind: item.Kind(d.Byte())}
		for _, n := range []*uint64{&t.Items, &t.Removed, &t.Dirs, &t.Records, &t.Lost, &t.Bytes} {
			*n = d.Max(maxTotal)
		}
		r.Totals = append(r.Totals, t)
	}
	return !d.Failed()
}

func readPages(d *exact.Reader, r *Root) bool {
	count := d.Max(MaxPages)
	if count*minPageRef > uint64(d.Len()) {
		return false
	}
	r.Pages = slices.Grow(r.Pages, int(count))
	next := uint64(0)
	for range count {
		ref := PageRef{Type: pack.Type(d.Byte()), Kind: item.Kind(d.Byte()), Pack: uint32(d.Max(MaxPacks - 1)), Frame: uint16(d.Max(pack.MaxFrames - 1))}
		if ref.Type == pack.PackList {
			ref.First = d.Max(MaxPacks - 1)
		} else {
			ref.First = next
		}
		ref.Count, ref.Bytes = uint32(d.Max(MaxPageItems)), uint32(d.Max(MaxPageBytes))
		if ref.Type == pack.Page {
			next += uint64(ref.Count)
		}
		r.Pages = append(r.Pages, ref)
	}
	return !d.Failed()
}

// check validates what the root alone shows.
func (r *Root) check() error {
	switch {
	case r.Class.BlobSize() == 0, r.Epoch >= MaxEpoch, r.Packs > MaxPacks,
		len(r.ManifestPacks) > MaxManPacks, len(r.Pages) > MaxPages:
		return ErrRoot
	case r.Epoch == 0 && (r.Final || r.Packs != 0 || r.Prev != id.Commit{}):
		return fmt.Errorf("%w: catalog", ErrRoot)
	case r.Epoch > 0 && r.Prev == id.Commit{}:
		return fmt.Errorf("%w: no root before it", ErrRoot)
	}
	for i, p := range r.ManifestPacks {
		if p.Epoch > r.Epoch || p.Padding || i > 0 && r.ManifestPacks[i-1].Index >= p.Index {
			return fmt.Errorf("%w: manifest pack %d", ErrPack, p.Index)
		}
	}
	if err := r.checkTotals(); err != nil {
		return err
	}
	return r.checkPages()
}

func (r *Root) checkTotals() error {
	if r.Items() > MaxItems {
		return ErrLimit
	}
	for i, t := range r.Totals {
		if !t.Kind.Valid() || i > 0 && r.Totals[i-1].Kind >= t.Kind || t.Items == 0 || t.Bytes > maxTotal ||
			t.Removed > t.Items || t.Dirs > t.Items-t.Removed || t.Records > t.Items-t.Removed-t.Dirs || t.Lost > t.Items-t.Removed {
			return fmt.Errorf("%w: %v", ErrTotals, t.Kind)
		}
	}
	return nil
}

// checkPages demands: lists first, in ascending order; pages without a gap; no frame twice;
// every frame in a listed pack; counts that add up to the totals.
func (r *Root) checkPages() error {
	type frame struct {
		pack  uint32
		frame uint16
	}
	seen := make(map[frame]struct{}, len(r.Pages))
	perKind := map[item.Kind]uint64{}
	var packs, items, lastFirst uint64
	for i := range r.Pages {
		ref := &r.Pages[i]
		f := frame{ref.Pack, ref.Frame}
		if _, twice := seen[f]; twice || !r.hasManifestPack(ref.Pack) || ref.Frame >= pack.MaxFrames {
			return fmt.Errorf("%w: page %d", ErrPack, i)
		}
		seen[f] = struct{}{}
		ok := ref.Count > 0 && ref.Count <= MaxPageItems && ref.Bytes > 0 && ref.Bytes <= MaxPageBytes
		switch ref.Type {
		case pack.PackList:
			ok = ok && ref.Kind == item.KindNone && items == 0 && ref.First < MaxPacks && (packs == 0 || ref.First > lastFirst)
			packs, lastFirst = packs+uint64(ref.Count), ref.First
		case pack.Page:
			ok = ok && ref.Kind.Valid() && ref.First == items
			items += uint64(ref.Count)
			perKind[ref.Kind] += uint64(ref.Count)
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("%w: page %d", ErrOrder, i)
		}
	}
	for _, t := range r.Totals {
		if perKind[t.Kind] != t.Items {
			return fmt.Errorf("%w: %v", ErrTotals, t.Kind)
		}
	}
	if packs != uint64(r.Packs) || len(perKind) != len(r.Totals) {
		return ErrTotals
	}
	return nil
}

func (r *Root) hasManifestPack(index uint32) bool {
	_, ok := slices.BinarySearchFunc(r.ManifestPacks, index, func(p PackRef, index uint32) int { return cmp.Compare(p.Index, index) })
	return ok
}

// minRoot is the least size in bytes of a padded root, maxRoot the largest whose seal is within wire.MaxRoot.
const (
	minRoot = 16 << 10
	maxRoot = 512 << 10
)

// SealRoot seals a root for the server: its encoding behind a 32-bit length, padded with
// zeros to a power of two. A second call gives other bytes and so another commit: the one to
// be committed is kept.
func SealRoot(keys *seal.Keys, r *Root) (sealed []byte, commit id.Commit, err error) {
	plain, err := r.Append(make([]byte, 4, minRoot))
	if err != nil {
		return nil, commit, err
	}
	if len(plain) > maxRoot {
		return nil, commit, ErrLimit
	}
	binary.BigEndian.PutUint32(plain, uint32(len(plain)-4))
	size := max(minRoot, 1<<bits.Len(uint(len(plain)-1)))
	plain = append(plain, make([]byte, size-len(plain))...)
	sealed = seal.Seal(nil, &keys.Manifest, rootContext(r.Session, r.Epoch), plain)
	return sealed, CommitOf(r.Session, r.Epoch, r.Prev, sealed), nil
}

// OpenRoot opens and validates the root of one epoch of one session. The commit is to be
// compared with the signed one (VerifyCommit) and with those seen before (Root.Follows).
func OpenRoot(keys *seal.Keys, sid id.Session, epoch uint64, sealed []byte) (*Root, id.Commit, error) {
	if len(sealed) > wire.MaxRoot {
		return nil, id.Commit{}, fmt.Errorf("%w: %d bytes", ErrRoot, len(sealed))
	}
	plain, err := seal.Open(nil, &keys.Manifest, rootContext(sid, epoch), sealed)
	if err != nil {
		return nil, id.Commit{}, fmt.Errorf("%w: %w", ErrRoot, err)
	}
	b, err := unpad(plain)
	if err != nil {
		return nil, id.Commit{}, err
	}
	r, err := DecodeRoot(b)
	if err != nil {
		return nil, id.Commit{}, err
	}
	if r.Session != sid || r.Epoch != epoch {
		return nil, id.Commit{}, fmt.Errorf("%w: of another session or epoch", ErrRoot)
	}
	return r, CommitOf(sid, epoch, r.Prev, sealed), nil
}

// unpad accepts only the size that SealRoot pads to, and only zeros.
func unpad(plain []byte) ([]byte, error) {
	size := len(plain)
	if size < minRoot || size > maxRoot || bits.OnesCount(uint(size)) != 1 {
		return nil, fmt.Errorf("%w: size", ErrRoot)
	}
	n := uint64(binary.BigEndian.Uint32(plain))
	if n > uint64(size-4) || size > minRoot && n+4 <= uint64(size/2) || slices.ContainsFunc(plain[4+n:], func(b byte) bool { return b != 0 }) {
		return nil, fmt.Errorf("%w: padding", ErrRoot)
	}
	return plain[4 : 4+n], nil
}

func rootContext(sid id.Session, epoch uint64) []byte {
	return label.LV(label.RootBlob, sid[:], label.U64(epoch))
}

// PackContext is the context under which a content pack is sealed with Keys.Pack.
func PackContext(sid id.Session, epoch uint64, index uint32) []byte {
	return label.LV(label.Pack, sid[:], label.U64(epoch), label.U64(uint64(index)))
}

// ManifestPackContext is the context under which a manifest pack is sealed with Keys.Manifest.
func ManifestPackContext(sid id.Session, epoch uint64, index uint32) []byte {
	return label.LV(label.Manifest, sid[:], label.U64(epoch), label.U64(uint64(index)))
}

// CommitOf identifies a sealed root and, through prev, all roots before it.
func CommitOf(sid id.Session, epoch uint64, prev id.Commit, sealed []byte) id.Commit {
	return key.CommitOf(sid, epoch, prev, sealed)
}

// SignCommit signs a commit as the session's sender.
func SignCommit(d *key.Device, c id.Commit) []byte {
	return d.Sign(label.Manifest, label.LV(label.Manifest, c[:]))
}

// VerifyCommit checks SignCommit's signature by the peer on the sender's card. The error is ErrSignature.
func VerifyCommit(sender id.Peer, c id.Commit, sig []byte) error {
	if key.VerifyCommit(sender, c, sig) != nil {
		return ErrSignature
	}
	return nil
}

// Follows judges a root, whose commit is c, by the highest epoch that was ever accepted
// and its commit last (zero if there was none). The same root again is no error. Everything
// older or other is ErrRollback: not to be retried but shown to the person.
func (r *Root) Follows(epoch uint64, last, c id.Commit) error {
	switch {
	case last == id.Commit{}:
		return nil
	case r.Epoch < epoch, r.Epoch == epoch && c != last, r.Epoch == epoch+1 && r.Prev != last:
		return fmt.Errorf("%w: epoch %d after %d", ErrRollback, r.Epoch, epoch)
	}
	return nil
}
