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

// appendLocal encodes l: its items as one manifest page or, if attributes and extents have
// made them too many bytes for one, as several, each behind its 32-bit length and a zero behind
// the last; then what appendStat makes of each item.
func appendLocal(dst []byte, l *Local) ([]byte, error) {
	b := manifest.NewPageBuilder(l.Kind, l.First)
	for i := range l.Items {
		added, err := b.Add(&l.Items[i])
		if err == nil && !added {
			dst = appendLength(dst, b.Bytes())
			b.Reset(l.Kind, l.Items[i].Ordinal)
			_, err = b.Add(&l.Items[i]) // fits, or is an error
		}
		if err != nil {
			return nil, err
		}
	}
	dst = appendLength(appendLength(dst, b.Bytes()), nil)
	for i := range l.Stats {
		dst = appendStat(dst, &l.Stats[i])
	}
	return dst, nil
}

func appendLength(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// decodeLocal decodes what appendLocal made. Nothing of it aliases b.
func decodeLocal(b []byte) (*Local, error) {
	l := new(Local)
	for first := true; ; first = false {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, errLocal
		}
		n := binary.BigEndian.Uint32(b)
		part := b[4 : 4+n]
		if b = b[4+n:]; n == 0 && !first {
			break
		}
		page, err := manifest.DecodePage(part)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		if first {
			l.Kind, l.First, l.Items = page.Kind, page.First, page.Items
			continue
		}
		if page.Kind != l.Kind || page.First != l.First+item.Ordinal(len(l.Items)) {
			return nil, errLocal
		}
		l.Items = append(l.Items, page.Items...)
	}
	l.Stats = make([]source.Stat, len(l.Items))
	r := varints{b: b}
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
