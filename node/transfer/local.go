package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/source"
)

// Local is what the sender's journal keeps of one page: its items, and what the file
// system said of each when it was last looked at. An item with content but without
// extents is still to be read.
type Local struct {
	Kind  item.Kind
	First item.Ordinal
	Items []item.Item
	Stats []source.Stat
}

var errLocal = errors.New("journal: a page is damaged")

// appendLocal encodes l: the manifest page behind its 32-bit length, then eight
// signed varints for each item.
func appendLocal(dst []byte, l *Local) ([]byte, error) {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst, err := manifest.AppendPage(dst, &manifest.Page{Kind: l.Kind, First: l.First, Items: l.Items})
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	for i := range l.Stats {
		dst = appendStat(dst, &l.Stats[i])
	}
	return dst, nil
}

// decodeLocal decodes what appendLocal made. Nothing of it aliases b.
func decodeLocal(b []byte) (*Local, error) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, errLocal
	}
	n := binary.BigEndian.Uint32(b)
	page, err := manifest.DecodePage(b[4 : 4+n])
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	l := &Local{Kind: page.Kind, First: page.First, Items: page.Items, Stats: make([]source.Stat, len(page.Items))}
	r := varints{b: b[4+n:]}
	for i := range l.Stats {
		l.Stats[i] = r.stat()
	}
	if r.bad || len(r.b) != 0 {
		return nil, errLocal
	}
	return l, nil
}

// varints reads the journal's own records, which need no strictness beyond not panicking.
type varints struct {
	b   []byte
	bad bool
}

func (r *varints) signed() int64 {
	v, n := binary.Varint(r.b)
	return take(r, v, n)
}

func (r *varints) unsigned() uint64 {
	v, n := binary.Uvarint(r.b)
	return take(r, v, n)
}

func take[T int64 | uint64](r *varints, v T, n int) T {
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varints) bytes() []byte {
	n := r.unsigned()
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}
