package transfer

import (
	"encoding/binary"
	"fmt"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/proto/id"
)

// Keys of the sender's journal. Numbers in keys are big-endian, so that they sort.
func scanKey(epoch uint64, first item.Ordinal) []byte { return pageKey('s', epoch, first) } // to be read
func doneKey(epoch uint64, first item.Ordinal) []byte { return pageKey('f', epoch, first) } // read, and stored
func scanPrefix(epoch uint64) []byte                  { return scanKey(epoch, 0)[:9] }
func donePrefix(epoch uint64) []byte                  { return doneKey(epoch, 0)[:9] }
func packKey(index uint32) []byte                     { return binary.BigEndian.AppendUint32([]byte{'p'}, index) }

var (
	packPrefix     = []byte{'p'}
	manifestPrefix = []byte{'q'}
)

// key is where the journal has the record: content and manifest packs are numbered apart.
func (r *record) key() []byte {
	k := packKey(r.Ref.Index)
	if r.Purpose == manifestPack {
		k[0] = manifestPrefix[0]
	}
	return k
}

func pageKey(tag byte, epoch uint64, first item.Ordinal) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{tag}, epoch), uint64(first))
}

// purpose of a pack within its session.
type purpose byte

const (
	contentPack  purpose = 1
	manifestPack purpose = 2
	paddingPack  purpose = 3
)

// Note says to the other device which pack a delivered blob is. It travels beside the
// blob, to its receiver only, and is believed only as far as the pack opens.
type Note struct {
	Ref      manifest.PackRef // Padding included
	Manifest bool             // numbered and sealed as a manifest pack
}

// noteBytes is the length of an encoded Note: purpose, index, epoch, commitment.
const noteBytes = 1 + 4 + 8 + 32

func (r *record) note() []byte {
	dst := append(make([]byte, 0, noteBytes), byte(r.Purpose))
	dst = binary.BigEndian.AppendUint32(dst, r.Ref.Index)
	dst = binary.BigEndian.AppendUint64(dst, r.Ref.Epoch)
	return append(dst, r.Ref.Commitment[:]...)
}

// ParseNote decodes the note of the blob called name.
func ParseNote(name id.Blob, b []byte) (n Note, err error) {
	if len(b) != noteBytes || purpose(b[0]) < contentPack || purpose(b[0]) > paddingPack {
		return n, fmt.Errorf("%w: note of a pack", ErrIntegrity)
	}
	n.Manifest, n.Ref.Padding = purpose(b[0]) == manifestPack, purpose(b[0]) == paddingPack
	n.Ref.Blob = name
	n.Ref.Index, n.Ref.Epoch = binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint64(b[5:])
	copy(n.Ref.Commitment[:], b[13:])
	return n, nil
}

// update says how an item differs from its scan page, once its content was read.
type update struct {
	Ordinal  item.Ordinal
	Revision uint32
	Size     int64
	ModTime  int64
	Perm     uint16
	TakenAt  string
	XAttrs   []item.XAttr
	Stat     source.Stat
}

// record is the journal's entry for one pack that is durable in the store.
type record struct {
	Ref     manifest.PackRef
	Purpose purpose
	Kept    Kept
	Table   []byte   // as the pack has it, content packs only
	Updates []update // content packs only
}

func (r *record) append(dst []byte) []byte {
	dst = append(dst, byte(r.Purpose), byte(r.Kept))
	dst = binary.BigEndian.AppendUint32(dst, r.Ref.Index)
	dst = binary.BigEndian.AppendUint64(dst, r.Ref.Epoch)
	dst = append(append(dst, r.Ref.Blob[:]...), r.Ref.Commitment[:]...)
	dst = appendBytes(dst, r.Table)
	dst = binary.AppendUvarint(dst, uint64(len(r.Updates)))
	for i := range r.Updates {
		dst = r.Updates[i].append(dst)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func (u *update) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(u.Ordinal))
	dst = binary.AppendUvarint(dst, uint64(u.Revision))
	dst = binary.AppendVarint(dst, u.Size)
	dst = binary.AppendVarint(dst, u.ModTime)
	dst = binary.AppendUvarint(dst, uint64(u.Perm))
	dst = appendBytes(dst, []byte(u.TakenAt))
	dst = binary.AppendUvarint(dst, uint64(len(u.XAttrs)))
	for _, x := range u.XAttrs {
		dst = appendBytes(appendBytes(dst, []byte(x.Name)), x.Value)
	}
	return appendStat(dst, &u.Stat)
}

func (r *varints) update() (u update) {
	u.Ordinal, u.Revision = item.Ordinal(r.unsigned()), uint32(r.unsigned())
	u.Size, u.ModTime, u.Perm = r.signed(), r.signed(), uint16(r.unsigned())
	u.TakenAt = string(r.bytes())
	for n := r.unsigned(); n > 0 && !r.bad; n-- {
		u.XAttrs = append(u.XAttrs, item.XAttr{Name: string(r.bytes()), Value: append([]byte(nil), r.bytes()...)})
	}
	u.Stat = r.stat()
	return u
}

// decodeRecord decodes what append made. Table aliases b.
func decodeRecord(b []byte) (rec record, err error) {
	const fixed = 2 + 4 + 8 + 16 + 32
	if len(b) < fixed {
		return rec, fmt.Errorf("journal: a pack record is damaged")
	}
	rec.Purpose, rec.Kept = purpose(b[0]), Kept(b[1])
	b = b[1:]
	rec.Ref.Padding = rec.Purpose == paddingPack
	rec.Ref.Index, rec.Ref.Epoch = binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint64(b[5:])
	copy(rec.Ref.Blob[:], b[13:])
	copy(rec.Ref.Commitment[:], b[29:])
	r := varints{b: b[fixed-1:]}
	rec.Table = r.bytes()
	for n := r.unsigned(); n > 0 && !r.bad; n-- {
		rec.Updates = append(rec.Updates, r.update())
	}
	if r.bad || len(r.b) != 0 {
		return rec, fmt.Errorf("journal: a pack record is damaged")
	}
	return rec, nil
}

func appendStat(dst []byte, s *source.Stat) []byte {
	dst = binary.AppendVarint(dst, s.Size)
	dst = binary.AppendVarint(dst, s.ModTime)
	dst = binary.AppendVarint(dst, s.ChangeTime)
	dst = binary.AppendUvarint(dst, s.Device)
	dst = binary.AppendUvarint(dst, s.Inode)
	dst = binary.AppendUvarint(dst, uint64(s.Perm))
	dst = binary.AppendUvarint(dst, uint64(s.Nlink))
	return binary.AppendVarint(dst, s.Blocks)
}

func (r *varints) stat() source.Stat {
	return source.Stat{Size: r.signed(), ModTime: r.signed(), ChangeTime: r.signed(), Device: r.unsigned(),
		Inode: r.unsigned(), Perm: uint16(r.unsigned()), Nlink: uint32(r.unsigned()), Blocks: r.signed()}
}
