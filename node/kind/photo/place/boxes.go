package place

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/mp4"
)

// uuidXMP marks the box in which a film keeps an XMP packet.
const uuidXMP = "\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac"

// boxes looks into the film, or the picture in boxes (HEIF, AVIF), that is between two offsets.
func (f *finder) boxes(at, end int64) {
	if !f.enter() {
		return
	}
	defer f.leave()
	w := &boxWalk{f: f, base: at, r: mp4.NewReader(io.NewSectionReader(f, at, end-at), end-at)}
	err := w.r.Top(func(b mp4.Box) bool {
		switch {
		case b.Type == "moov":
			w.inside(b, 0, w.movie)
		case b.Type == "meta":
			w.meta(b)
		case b.Type == "mpvd": // the film of a Motion Photo
			f.boxes(at+b.Start, at+b.End)
		case b.Type == "uuid" && b.UUID == uuidXMP:
			f.xmpAt(at+b.Start, at+b.End)
		}
		return true
	})
	w.check(err)
}

// boxWalk is one sequence of boxes. All offsets are from its beginning.
type boxWalk struct {
	f    *finder
	base int64
	r    *mp4.Reader
}

func (w *boxWalk) check(err error) {
	if err != nil {
		w.f.unknown("its boxes can't be followed")
	}
}

func (w *boxWalk) inside(b mp4.Box, skip int64, each func(mp4.Box)) {
	w.check(w.r.Inside(b, skip, func(b mp4.Box) bool { each(b); return true }))
}

func (w *boxWalk) bytes(b mp4.Box) []byte { return w.f.bytes(w.base+b.Start, w.base+b.End) }

// free makes a box one that is to be skipped, and its content zeros.
func (w *boxWalk) free(b mp4.Box) {
	content := w.bytes(b)
	if content == nil || b.End-b.Start > maxPlace {
		w.f.unknown("a part of it is too large to be looked through")
		return
	}
	w.f.put("film", w.base+b.Start-4, append([]byte("free"), make([]byte, len(content))...))
}

// movie looks at a box of "moov".
func (w *boxWalk) movie(b mp4.Box) {
	switch b.Type {
	case "meta":
		w.keys(b)
	case "udta":
		w.userData(b)
	case "uuid":
		if b.UUID == uuidXMP {
			w.f.xmpAt(w.base+b.Start, w.base+b.End)
		}
	case "trak":
		w.track(b)
	case "gps ":
		w.free(b) // where dashboard cameras list the boxes with positions
		w.f.unknown("it has positions beside its pictures")
	}
}

// track looks at a track's own data, and whether it is one of positions.
func (w *boxWalk) track(b mp4.Box) {
	if head := w.r.Payload(b); bytes.Contains(head, []byte("gpmd")) || bytes.Contains(head, []byte("location.ISO6709")) || bytes.Contains(head, []byte("camm")) {
		w.f.unknown("it has a track of positions")
	}
	w.inside(b, 0, func(b mp4.Box) {
		switch b.Type {
		case "meta":
			w.keys(b)
		case "udta":
			w.userData(b)
		}
	})
}

// userData looks at what the makers of phones write: ©xyz is ISO 6709, loci 3GPP's.
func (w *boxWalk) userData(b mp4.Box) {
	w.inside(b, 0, func(b mp4.Box) {
		switch b.Type {
		case "\xa9xyz", "loci":
			w.free(b)
		case "XMP_":
			w.f.xmpAt(w.base+b.Start, w.base+b.End)
		case "meta":
			w.keys(b)
		}
	})
}

// keys looks at Apple's metadata: names in "keys", values in "ilst" by their numbers, or by their own names.
func (w *boxWalk) keys(meta mp4.Box) {
	skip := int64(4)
	if head := w.f.bytes(w.base+meta.Start, min(w.base+meta.Start+8, w.base+meta.End)); len(head) == 8 && string(head[4:]) == "hdlr" {
		skip = 0 // QuickTime's has no version
	}
	var names []string
	w.inside(meta, skip, func(b mp4.Box) {
		if b.Type == "keys" {
			names = keyNames(w.bytes(b))
		}
	})
	w.inside(meta, skip, func(b mp4.Box) {
		if b.Type != "ilst" {
			return
		}
		w.inside(b, 0, func(value mp4.Box) {
			n := int(binary.BigEndian.Uint32([]byte(value.Type)))
			if value.Type == "\xa9xyz" || n >= 1 && n <= len(names) && strings.Contains(names[n-1], ".location.") {
				w.free(value)
			}
		})
	})
}

func keyNames(b []byte) (names []string) {
	for b = b[min(len(b), 8):]; len(b) >= 8; {
		n := int64(binary.BigEndian.Uint32(b))
		if n < 8 || n > int64(len(b)) {
			break
		}
		names = append(names, string(b[8:n]))
		b = b[n:]
	}
	return names
}

// meta looks at the items of a picture in boxes: one of type Exif, and one of type mime that is XMP.
func (w *boxWalk) meta(b mp4.Box) {
	kinds, where := map[uint32]string{}, map[uint32]span{}
	broken := false
	w.inside(b, 4, func(b mp4.Box) {
		switch b.Type {
		case "iinf":
			skip := int64(6)
			if c := w.bytes(b); len(c) > 0 && c[0] > 0 {
				skip = 8
			}
			w.inside(b, skip, func(b mp4.Box) {
				if id, kind := itemInfo(w.bytes(b)); kind != "" {
					kinds[id] = kind
				}
			})
		case "iloc":
			where = itemPlaces(w.bytes(b))
		case "iref", "iprp", "pitm", "hdlr", "idat", "grpl", "dinf", "free":
		default:
			broken = broken || b.Type == "ipro" // it is encrypted
		}
	})
	for _, id := range slices.Sorted(maps.Keys(kinds)) {
		kind := kinds[id]
		s, ok := where[id]
		if !ok || broken || s.to > w.f.size-w.base {
			w.f.unknown("its notes can't be found")
			continue
		}
		if kind == "mime" {
			w.f.xmpAt(w.base+s.from, w.base+s.to)
			continue
		}
		if head := w.f.bytes(w.base+s.from, min(w.base+s.from+4, w.base+s.to)); len(head) == 4 {
			w.f.tiff(w.base+s.from+4+int64(binary.BigEndian.Uint32(head)), w.base+s.to)
		}
	}
}

// itemInfo reads the number and the type of an item that has notes; of others no type.
func itemInfo(infe []byte) (id uint32, kind string) {
	if len(infe) < 4 || infe[0] < 2 {
		return 0, ""
	}
	rest := infe[4:]
	if infe[0] == 2 && len(rest) >= 8 {
		id, rest = uint32(binary.BigEndian.Uint16(rest)), rest[4:]
	} else if infe[0] == 3 && len(rest) >= 10 {
		id, rest = binary.BigEndian.Uint32(rest), rest[6:]
	} else {
		return 0, ""
	}
	switch kind = string(rest[:4]); {
	case kind == "Exif", kind == "mime" && bytes.Contains(rest, []byte("application/rdf+xml\x00")):
		return id, kind
	}
	return 0, ""
}

// numbers reads one number after another; after the end they are 0 and ok is false.
type numbers struct {
	b  []byte
	ok bool
}

func (n *numbers) next(size int) (v uint64) {
	if len(n.b) < size {
		n.ok, n.b = false, nil
		return 0
	}
	for _, c := range n.b[:size] {
		v = v<<8 | uint64(c)
	}
	n.b = n.b[size:]
	return v
}

// itemPlaces reads where the items lie that are in one piece, and in the file itself.
func itemPlaces(iloc []byte) map[uint32]span {
	out := map[uint32]span{}
	n := numbers{iloc, true}
	version := n.next(1)
	n.next(3)
	sizes, index := n.next(1), n.next(1)
	offsetSize, lengthSize, baseSize, indexSize := int(sizes>>4), int(sizes&15), int(index>>4), int(index&15)
	if version == 0 {
		indexSize = 0
	}
	idSize := 2
	if version == 2 {
		idSize = 4
	}
	for count := n.next(idSize); count > 0 && n.ok && version <= 2; count-- {
		id, method := uint32(n.next(idSize)), uint64(0)
		if version > 0 {
			method = n.next(2) & 15
		}
		n.next(2)
		base, extents := n.next(baseSize), n.next(2)
		var s span
		for i := range extents {
			n.next(indexSize)
			offset, length := n.next(offsetSize), n.next(lengthSize)
			if !n.ok {
				return out
			}
			if from := base + offset; i == 0 && from < 1<<50 && length < 1<<50 {
				s = span{int64(from), int64(from + length)}
			}
		}
		if n.ok && method == 0 && extents == 1 && s.to > s.from {
			out[id] = s
		}
	}
	return out
}
