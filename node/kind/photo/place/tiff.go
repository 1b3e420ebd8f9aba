package place

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Tags of TIFF and EXIF that lead to others, or to text.
const (
	tagXMP       = 700
	tagIPTC      = 33723
	tagSubIFDs   = 330
	tagExifIFD   = 34665
	tagGPS       = 34853
	tagMakerNote = 37500
	tagPhotoshop = 34377
)

// Limits on the directories of one structure.
const (
	maxDirectories = 64
	maxEntries     = 4096 // of a directory: more is none
	maxUsed        = 20_000
	maxPlaces      = 16 // directories of places
	maxPlaceTags   = 64 // in one; EXIF has 32
)

// sizes are the bytes of one value of each type.
var sizes = [...]int64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4}

// span is a run of bytes.
type span struct{ from, to int64 }

// tiffWalk is one TIFF structure: EXIF data, or a whole file. All offsets are from its beginning.
type tiffWalk struct {
	f     *finder
	base  int64 // of the structure in the file
	size  int64
	order binary.ByteOrder
	first int64          // directory
	seen  map[int64]bool // directories
	used  []span         // bytes of directories and of values that are no places
	gps   []int64        // directories of places
}

// newTIFF returns the structure between two offsets of the file, nil if there is none.
func newTIFF(f *finder, from, to int64) *tiffWalk {
	w := &tiffWalk{f: f, base: from, size: to - from, order: binary.BigEndian, seen: map[int64]bool{}, used: []span{{0, 8}}}
	head := w.bytes(0, 8)
	switch {
	case head == nil:
		return nil
	case string(head[:2]) == "II":
		w.order = binary.LittleEndian
	case string(head[:2]) != "MM":
		return nil
	}
	w.first = int64(w.order.Uint32(head[4:]))
	return w
}

// tiff looks into it.
func (f *finder) tiff(from, to int64) {
	if !f.enter() {
		return
	}
	defer f.leave()
	w := newTIFF(f, from, to)
	if w == nil {
		return
	}
	w.chain(w.first)
	for _, at := range w.gps {
		w.wipe(at)
	}
}

func (w *tiffWalk) bytes(from, to int64) []byte {
	if to > w.size {
		return nil
	}
	return w.f.bytes(w.base+from, w.base+to)
}

// entry is one field of a directory.
type entry struct {
	tag, kind    uint16
	count, value uint32
}

// span is where the value of an entry lies, if that is not in the entry itself.
func (e entry) span() (span, bool) {
	if int(e.kind) >= len(sizes) || int64(e.count)*sizes[e.kind] <= 4 {
		return span{}, false
	}
	return span{int64(e.value), int64(e.value) + int64(e.count)*sizes[e.kind]}, true
}

// directory reads the entries at an offset. ok is false if there is none.
func (w *tiffWalk) directory(at int64) (raw []byte, entries []entry, ok bool) {
	head := w.bytes(at, at+2)
	if head == nil {
		return nil, nil, false
	}
	n := int64(w.order.Uint16(head))
	if n == 0 || n > maxEntries {
		return nil, nil, false
	}
	raw = w.bytes(at, min(at+2+12*n+4, w.size)) // the last one may lack its end
	n = min(n, int64(len(raw)-2)/12)
	for i := range max(n, 0) {
		b := raw[2+12*i:]
		entries = append(entries, entry{w.order.Uint16(b), w.order.Uint16(b[2:]), w.order.Uint32(b[4:]), w.order.Uint32(b[8:])})
	}
	return raw, entries, n > 0
}

// chain walks directories that follow each other.
func (w *tiffWalk) chain(at int64) {
	for at != 0 && !w.seen[at] {
		if len(w.seen) == maxDirectories || len(w.used) > maxUsed {
			w.f.unknown("it has too many directories")
			return
		}
		w.seen[at] = true
		raw, entries, ok := w.directory(at)
		if !ok {
			return
		}
		w.used = append(w.used, span{at, at + int64(len(raw))})
		for _, e := range entries {
			w.entry(e)
		}
		w.remove(at, raw, entries)
		if at = 0; len(raw) == 2+12*len(entries)+4 {
			at = int64(w.order.Uint32(raw[len(raw)-4:]))
		}
	}
}

// entry follows what leads to other directories or to text.
func (w *tiffWalk) entry(e entry) {
	s, out := e.span()
	switch e.tag {
	case tagGPS:
		if len(w.gps) < maxPlaces {
			w.gps = append(w.gps, int64(e.value))
		}
		return
	case tagExifIFD:
		w.chain(int64(e.value))
	case tagSubIFDs:
		if !out {
			w.chain(int64(e.value))
			break
		}
		if e.count > maxDirectories || e.kind != 4 && e.kind != 13 {
			break
		}
		list := w.bytes(s.from, s.to)
		for ; len(list) >= 4; list = list[4:] {
			w.chain(int64(w.order.Uint32(list)))
		}
	case tagMakerNote:
		if out {
			w.panasonic(s)
		}
	case tagXMP:
		if out && s.to <= w.size {
			w.f.xmpAt(w.base+s.from, w.base+s.to)
		}
	case tagIPTC:
		if out && s.to <= w.size {
			w.f.iptcAt(w.base+s.from, w.base+s.to)
		}
	case tagPhotoshop:
		if out && s.to <= w.size {
			w.f.resources(w.base+s.from, w.base+s.to)
		}
	}
	if out {
		w.used = append(w.used, s)
	}
}

// panasonicPlaces are the tags in which Panasonic's cameras name where they are: a location, country, state, city and landmark.
var panasonicPlaces = map[uint16]bool{0x67: true, 0x69: true, 0x6b: true, 0x6d: true, 0x6f: true, 0x80: true}

// panasonic overwrites the names of places in Panasonic's maker note, whose offsets count like all others. Maker notes
// of others are not known to name any.
func (w *tiffWalk) panasonic(note span) {
	const mark = "Panasonic\x00\x00\x00"
	if b := w.bytes(note.from, min(note.from+int64(len(mark)), w.size)); string(b) != mark {
		return
	}
	_, entries, _ := w.directory(note.from + int64(len(mark)))
	for _, e := range entries {
		if s, out := e.span(); out && panasonicPlaces[e.tag] {
			w.zero(s)
		}
	}
}

// remove takes the pointers to places out of a directory: those behind move up, and zeros are behind them.
func (w *tiffWalk) remove(at int64, raw []byte, entries []entry) {
	after := make([]byte, 2, len(raw))
	n := 0
	for i, e := range entries {
		if e.tag != tagGPS {
			after = append(after, raw[2+12*i:][:12]...)
			n++
		}
	}
	if n == len(entries) {
		return
	}
	w.order.PutUint16(after, uint16(n))
	after = append(after, raw[2+12*len(entries):]...) // the next directory
	w.f.difference("EXIF", w.base+at, raw, append(after, make([]byte, len(raw)-len(after))...))
}

// wipe overwrites a directory of places with its values, as far as nothing else is there.
func (w *tiffWalk) wipe(at int64) {
	raw, entries, ok := w.directory(at)
	if !ok || w.seen[at] {
		return
	}
	w.zero(span{at, at + int64(len(raw))})
	for _, e := range entries[:min(len(entries), maxPlaceTags)] {
		if s, out := e.span(); out {
			w.zero(s)
		}
	}
}

const maxPlace = 64 << 10 // bytes of one value

func (w *tiffWalk) zero(s span) {
	if s.to > w.size || s.to-s.from > maxPlace || slices.ContainsFunc(w.used, func(u span) bool { return u.from < s.to && s.from < u.to }) {
		return
	}
	if b := w.bytes(s.from, s.to); len(bytes.Trim(b, "\x00")) > 0 {
		w.f.put("EXIF", w.base+s.from, make([]byte, len(b)))
	}
}
