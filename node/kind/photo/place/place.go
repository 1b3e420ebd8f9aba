// Package place finds what a picture or film says of where it was taken, and the bytes
// that make it silent. A file keeps its length: entries are taken out of their directory,
// values are overwritten, and no offset, no other tag and no pixel changes, so that maker
// notes, previews and films behind a picture stay whole. Places that a person wrote (city,
// country) go too. What can't be looked into is told, and left as it is.
//
// Sources: TIFF 6.0 section 2; Exif 2.32 sections 4.5.4, 4.6.6; Adobe XMP part 3; IPTC IIM 4.2;
// ISO/IEC 14496-12 section 8.11; the registration of PNG's eXIf.
package place

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/decant-dev/decant/node/format/takeout"
)

// Patch is bytes that stand in the place of others.
type Patch struct {
	At   int64
	Data []byte
}

// Result is what Find has found.
type Result struct {
	Patches []Patch  // to be applied in order; they may overlap
	Found   []string // where a place was named: "EXIF", "XMP", "IPTC", "film", "sidecar"; sorted, each once
	Unknown string   // why more places may be there than were found; "" is: there are none
}

// Limits on the look into one file.
const (
	maxRead    = 8 << 20 // bytes that are read of it
	maxPiece   = 2 << 20 // bytes of one segment, chunk or packet
	maxPatches = 10_000
	maxDepth   = 4 // of pictures, films and directories inside of each other
)

var errLimit = errors.New("place: too much of the file would have to be read")

// Find looks into a file of size bytes. name tells sidecars, which have no magic. It never panics, changes nothing, reads at most maxRead bytes
// and may be called concurrently; that r fails is told as Unknown. After Apply, Find finds nothing in the same file, unless
// that contradicts itself.
func Find(name string, r io.ReaderAt, size int64) Result {
	f := &finder{r: r, size: size, left: maxRead}
	f.file(name)
	slices.Sort(f.result.Found)
	f.result.Found = slices.Compact(f.result.Found)
	return f.result
}

// Apply changes p, which is the part of the file that begins at off.
func Apply(patches []Patch, p []byte, off int64) {
	for _, c := range patches {
		if from, to := max(c.At, off), min(c.At+int64(len(c.Data)), off+int64(len(p))); from < to {
			copy(p[from-off:to-off], c.Data[from-c.At:])
		}
	}
}

// finder looks into one file.
type finder struct {
	r      io.ReaderAt
	size   int64
	left   int
	depth  int // of what lies inside of others
	result Result
}

// ReadAt implements io.ReaderAt for those who walk boxes, within the limit.
func (f *finder) ReadAt(p []byte, at int64) (int, error) {
	if f.left -= len(p); f.left < 0 {
		f.unknown("it is too large to be looked through")
		return 0, errLimit
	}
	n, err := f.r.ReadAt(p, at)
	if err != nil && err != io.EOF {
		f.unknown("it could not be read")
	}
	return n, err
}

// bytes returns what stands between two offsets, or nil if that is not all there.
func (f *finder) bytes(from, to int64) []byte {
	if from < 0 || to < from || to > f.size {
		return nil
	}
	if to-from > maxPiece {
		f.unknown("a part of it is too large to be looked through")
		return nil
	}
	b := make([]byte, to-from)
	if n, _ := f.ReadAt(b, from); n < len(b) {
		return nil
	}
	return b
}

func (f *finder) unknown(why string) {
	if f.result.Unknown == "" {
		f.result.Unknown = why
	}
}

// enter reports whether one may look deeper; then leave must follow.
func (f *finder) enter() bool {
	if f.depth == maxDepth {
		f.unknown("it has too much inside of other things")
		return false
	}
	f.depth++
	return true
}

func (f *finder) leave() { f.depth-- }

// put notes that where names a place, and what is to stand there.
func (f *finder) put(where string, at int64, data []byte) {
	if len(f.result.Patches) == maxPatches {
		f.unknown("it names more places than are taken out")
		return
	}
	f.result.Patches = append(f.result.Patches, Patch{at, data})
	f.found(where)
}

func (f *finder) found(where string) {
	if !slices.Contains(f.result.Found, where) {
		f.result.Found = append(f.result.Found, where)
	}
}

// difference puts what is not the same in before and after, which stands at an offset.
func (f *finder) difference(where string, at int64, before, after []byte) {
	from := 0
	for from < len(before) && before[from] == after[from] {
		from++
	}
	to := len(before)
	for to > from && before[to-1] == after[to-1] {
		to--
	}
	if from < to {
		f.put(where, at+int64(from), after[from:to])
	}
}

// file tells the format by the first bytes.
func (f *finder) file(name string) {
	head := f.bytes(0, min(f.size, 16))
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	switch {
	case takeout.IsSidecarName(name):
		f.sidecar()
	case has(0, "\xff\xd8\xff"):
		f.jpeg(0, f.size)
	case has(0, "\x89PNG\r\n\x1a\n"):
		f.png()
	case has(0, "RIFF") && has(8, "WEBP"):
		f.webp()
	case has(0, "II*\x00"), has(0, "MM\x00*"):
		f.tiff(0, f.size)
	case has(4, "ftyp") && !has(8, "crx "), has(4, "moov"), has(4, "mdat"), has(4, "wide"), has(4, "free"):
		f.boxes(0, f.size)
	case has(0, "BM"), f.size == 0: // a bitmap says nothing but its size
	case bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n"), []byte("<")):
		f.xmpAt(0, f.size)
	default:
		f.unknown("Decant can't look into files of its form")
	}
}
