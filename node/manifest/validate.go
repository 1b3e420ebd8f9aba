package manifest

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
)

// validatorMemory bounds what a Validator holds, whatever it is fed.
const validatorMemory = 60 << 20

// Validator judges a whole manifest from its pages, in order, holding none of them.
// It is for one goroutine. It takes at most 60 MiB, about 10 bytes for each path, each frame
// with content and each pack. Once a method has failed the manifest is invalid as a whole and
// the Validator is done.
//
//	v, err := NewValidator(root, limits)
//	for each PackList of root.Pages: v.Packs(refs)
//	for each Page of root.Pages: v.Page(page)
//	v.Finish()
type Validator struct {
	root   *Root
	next   int // of root.Pages
	left   memory
	seed   maphash.Seed
	salt   uint64
	totals map[item.Kind]*Total

	packs     packSet // with content; padding is not among them
	lastPack  int64   // index, −1 before the first
	blobs     hashSet // hashes of blob names
	names     hashSet // hashes of paths; the two lowest bits are a nameIs
	frames    hashSet // what is taken of each frame; see claim
	lastDir   string  // whose ancestors are known to be directories
	container map[item.Ordinal]int64
}

// nameIs says what a path was seen as.
type nameIs uint64

const (
	nameFile    nameIs = 1
	nameDir     nameIs = 2
	nameImplied nameIs = 3 // a directory that only longer paths mention
	nameMask           = 3
)

// NewValidator begins the judgement of a root that DecodeRoot accepted. limits are the
// receiver's own; 0 is none. A manifest beyond them is ErrLimit at once.
func NewValidator(root *Root, limits key.Limits) (*Validator, error) {
	if limits.MaxItems != 0 && root.Items() > limits.MaxItems || limits.MaxBytes != 0 && root.Bytes() > limits.MaxBytes {
		return nil, fmt.Errorf("%w: %d items of %d bytes are more than this device takes", ErrLimit, root.Items(), root.Bytes())
	}
	v := &Validator{root: root, left: validatorMemory, seed: maphash.MakeSeed(), lastPack: -1,
		totals: map[item.Kind]*Total{}, container: map[item.Ordinal]int64{}}
	v.salt = maphash.String(v.seed, "frames")
	v.blobs.left, v.names.left, v.frames.left = &v.left, &v.left, &v.left
	if err := v.blobs.reserve(int(root.Packs) + len(root.ManifestPacks)); err != nil {
		return nil, err
	}
	items := int(root.Items())
	if err := v.names.reserve(items + items/32); err != nil {
		return nil, err
	}
	if err := v.frames.reserve(0); err != nil {
		return nil, err
	}
	for i := range root.ManifestPacks {
		if err := v.blob(&root.ManifestPacks[i]); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// expect returns the next entry of the root's list of pages, which must be of the type.
func (v *Validator) expect(t pack.Type) (*PageRef, error) {
	if v.next >= len(v.root.Pages) || v.root.Pages[v.next].Type != t {
		return nil, fmt.Errorf("%w: unexpected %v", ErrOrder, t)
	}
	v.next++
	return &v.root.Pages[v.next-1], nil
}

// Packs takes the next pack list.
func (v *Validator) Packs(refs []PackRef) error {
	want, err := v.expect(pack.PackList)
	if err != nil {
		return err
	}
	if len(refs) == 0 || len(refs) != int(want.Count) || uint64(refs[0].Index) != want.First {
		return fmt.Errorf("%w: pack list", ErrOrder)
	}
	for i := range refs {
		p := &refs[i]
		if p.Epoch == 0 || p.Epoch > v.root.Epoch || int64(p.Index) <= v.lastPack {
			return fmt.Errorf("%w: pack %d", ErrPack, p.Index)
		}
		v.lastPack = int64(p.Index)
		if !p.Padding {
			v.packs.add(p.Index)
		}
		if err := v.blob(p); err != nil {
			return err
		}
	}
	return nil
}

// blob notes a blob's name, which must be new.
func (v *Validator) blob(p *PackRef) error {
	h := maphash.Bytes(v.seed, p.Blob[:]) | 1
	slot := v.blobs.find(h, 0) // room for all is reserved
	if *slot != 0 {
		return fmt.Errorf("%w: blob of pack %d", ErrPack, p.Index)
	}
	*slot = h
	return nil
}

// Page takes the next page, as DecodePage returned it, and keeps nothing of it but the
// text of a path.
func (v *Validator) Page(p *Page) error {
	want, err := v.expect(pack.Page)
	if err != nil {
		return err
	}
	if p.Kind != want.Kind || uint64(p.First) != want.First || len(p.Items) != int(want.Count) {
		return fmt.Errorf("%w: page of items from %d", ErrOrder, want.First)
	}
	total := v.totals[p.Kind]
	if total == nil {
		total = &Total{Kind: p.Kind}
		v.totals[p.Kind] = total
	}
	for i := range p.Items {
		it := &p.Items[i]
		if err := v.item(it); err != nil {
			return at(it.Ordinal, err)
		}
		total.Add(it)
	}
	v.lastDir = strings.Clone(v.lastDir) // lets go of the page's text
	return nil
}

// Add counts an item.
func (t *Total) Add(it *item.Item) {
	t.Items++
	if it.Lost == item.ReasonRemoved {
		t.Removed++
		return
	}
	switch it.Form {
	case item.FormDir:
		t.Dirs++
	case item.FormRecord:
		t.Records++
	}
	if it.Lost != item.ReasonNone {
		t.Lost++
	} else if it.Form == item.FormFile {
		t.Bytes += uint64(it.Size)
	}
}

// Finish says whether everything that the root announces has come, and adds up.
func (v *Validator) Finish() error {
	if v.next != len(v.root.Pages) {
		return fmt.Errorf("%w: %d pages are missing", ErrOrder, len(v.root.Pages)-v.next)
	}
	for _, want := range v.root.Totals { // DecodeRoot saw to it that every page's kind is there
		if *v.totals[want.Kind] != want {
			return fmt.Errorf("%w: %v", ErrTotals, want.Kind)
		}
	}
	return nil
}

func (v *Validator) item(it *item.Item) error {
	if it.Lost == item.ReasonRemoved {
		return nil // a tombstone: its path is free, and a record in it that is none has no container
	}
	if it.Form == item.FormRecord {
		return v.record(it)
	}
	if err := v.name(it); err != nil {
		return err
	}
	if it.Form == item.FormDir {
		return nil
	}
	if err := v.noteContainer(it); err != nil {
		return err
	}
	if len(it.Extents) == 0 && it.HasContent() && it.Size > 0 && v.root.Final || len(it.Extents) > 0 && v.root.Epoch == 0 {
		return ErrContent
	}
	for i := range it.Extents {
		if err := v.claim(&it.Extents[i]); err != nil {
			return err
		}
	}
	return nil
}

// holdsRecords says of which kinds a file may contain records.
func holdsRecords(k item.Kind) bool { return k != item.Photo && k != item.File }

// containerCost is what one entry of the map of containers takes, about.
const containerCost = 48

func (v *Validator) noteContainer(it *item.Item) error {
	if !holdsRecords(it.Kind) {
		return nil
	}
	if v.left -= containerCost; v.left < 0 {
		return ErrLimit
	}
	size := it.Size
	if it.Lost != item.ReasonNone {
		size = item.MaxSize // it was not read: whatever the records say of it can't be checked
	}
	v.container[it.Ordinal] = size
	return nil
}

func (v *Validator) record(it *item.Item) error {
	size, ok := v.container[it.Container]
	last := it.Ranges[len(it.Ranges)-1]
	if !ok || !holdsRecords(it.Kind) || last.Offset+last.Length > size {
		return ErrRecord
	}
	return nil
}

// name notes an item's path and all directories above it.
func (v *Validator) name(it *item.Item) error {
	is := nameFile
	if it.Form == item.FormDir {
		is = nameDir
	}
	was, err := v.note(it.Path, is)
	if err != nil {
		return err
	}
	switch {
	case was == nameImplied && is == nameFile:
		return ErrConflict
	case was == nameFile || was == nameDir:
		return ErrDuplicate
	}
	end := strings.LastIndexByte(it.Path, '/')
	if end < 0 || it.Path[:end] == v.lastDir {
		return nil
	}
	v.lastDir = it.Path[:end]
	return v.noteAbove(it.Path[:end])
}

// noteAbove notes dir and what is above it as directories, up to one that is already known as such.
func (v *Validator) noteAbove(dir string) error {
	for {
		was, err := v.note(dir, nameImplied)
		if err != nil {
			return err
		}
		if was == nameFile {
			return ErrConflict
		}
		end := strings.LastIndexByte(dir, '/')
		if was != 0 || end < 0 {
			return nil
		}
		dir = dir[:end]
	}
}

// note enters a path and returns what it was before: 0 is new. It never takes back that a
// path is a file or a listed directory. Two paths are the same if 62 bits of a hash
// under a secret seed are: the chance that any two of a million differ and look the same is 10⁻⁷.
func (v *Validator) note(path string, is nameIs) (was nameIs, err error) {
	if err := v.names.grow(); err != nil {
		return 0, err
	}
	h := maphash.String(v.seed, path) | nameMask
	slot := v.names.find(h, nameMask)
	was = nameIs(*slot & nameMask)
	if *slot == 0 {
		v.names.used++
	}
	if was == 0 || was == nameImplied {
		*slot = h&^nameMask | uint64(is)
	}
	return was, nil
}
