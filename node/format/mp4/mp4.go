// Package mp4 walks the boxes of ISO base media files (MP4, QuickTime, 3GP, HEIF, CR3)
// and reads when and where a film was made. It reads box headers and a few small boxes
// through an io.ReaderAt, never the media, and bounds boxes and bytes whatever the sizes
// in the file claim (ISO/IEC 14496-12 section 4.2; Apple, QuickTime File Format).
package mp4

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// Limits on one walk.
const (
	maxBoxes   = 4096
	maxPayload = 64 << 10 // bytes of one box that is read
	maxDepth   = 8
)

// ErrForm is returned for what is no such file, or one beyond the limits.
var ErrForm = errors.New("mp4: not a sequence of boxes")

// Box is one box: where its content lies.
type Box struct {
	Type       string
	UUID       string // of a box of type "uuid": its 16 bytes
	Start, End int64  // of the content
}

// Reader walks one file. Its boxes are counted together.
type Reader struct {
	r     io.ReaderAt
	size  int64
	boxes int
}

// NewReader returns a reader of a file of size bytes.
func NewReader(r io.ReaderAt, size int64) *Reader { return &Reader{r: r, size: size} }

// Top calls each for the outermost boxes, until it returns false.
func (r *Reader) Top(each func(Box) bool) error { return r.walk(0, r.size, each) }

// Inside calls each for the boxes in another. skip is how many bytes of its content come before them.
func (r *Reader) Inside(b Box, skip int64, each func(Box) bool) error {
	return r.walk(b.Start+skip, b.End, each)
}

func (r *Reader) walk(at, end int64, each func(Box) bool) error {
	for at >= 0 && end-at >= 8 {
		if r.boxes++; r.boxes > maxBoxes {
			return ErrForm
		}
		var head [32]byte
		n, err := r.r.ReadAt(head[:min(32, end-at)], at)
		if n < 8 {
			if err == nil || err == io.EOF {
				err = ErrForm
			}
			return err
		}
		b := Box{Type: string(head[4:8]), Start: at + 8}
		size := int64(binary.BigEndian.Uint32(head[:]))
		switch {
		case size == 0:
			size = end - at
		case size == 1 && n >= 16:
			size, b.Start = int64(binary.BigEndian.Uint64(head[8:])), at+16
		}
		if b.Type == "uuid" && n >= 32 && b.Start == at+8 {
			b.UUID, b.Start = string(head[8:24]), at+24
		}
		if size < b.Start-at || size > end-at {
			return ErrForm // a size beyond what holds it: nothing after it can be trusted
		}
		b.End = at + size
		if !each(b) {
			return nil
		}
		at = b.End
	}
	return nil
}

// Payload returns a box's content, or its beginning if it is large.
func (r *Reader) Payload(b Box) []byte {
	buf := make([]byte, min(b.End-b.Start, maxPayload))
	n, _ := r.r.ReadAt(buf, b.Start)
	return buf[:n]
}

// Find returns the first box at the end of a path of types, looking into the boxes before it.
func (r *Reader) Find(path ...string) (found Box, ok bool) {
	top := Box{End: r.size}
	for i, name := range path {
		if i >= maxDepth {
			return Box{}, false
		}
		skip := int64(0)
		if i > 0 && path[i-1] == "meta" {
			skip = r.metaHeader(top)
		}
		ok = false
		r.Inside(top, skip, func(b Box) bool {
			if b.Type == name {
				top, ok = b, true
			}
			return !ok
		})
		if !ok {
			return Box{}, false
		}
	}
	return top, ok
}

// metaHeader is how many bytes stand before the boxes in a "meta": 4 in ISO's, none in Apple's.
func (r *Reader) metaHeader(meta Box) int64 {
	var b [8]byte
	if n, _ := r.r.ReadAt(b[:], meta.Start); n == 8 && string(b[4:]) != "hdlr" {
		return 4
	}
	return 0
}

// Film is what a film says of itself.
type Film struct {
	Created  time.Time // UTC, of mvhd; the zero time is unknown
	Creation string    // com.apple.quicktime.creationdate, or ©day: with the zone, as it is written
	Pair     string    // com.apple.quicktime.content.identifier: what a still and a film of one Live Photo share
}

// epoch is where these times begin.
var epoch = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)

// ReadFilm reads what a film says of itself. ok is false for what is no film.
func ReadFilm(file io.ReaderAt, size int64) (f Film, ok bool) {
	r := NewReader(file, size)
	moov, ok := r.Find("moov")
	if !ok {
		return f, false
	}
	r.Inside(moov, 0, func(b Box) bool {
		switch b.Type {
		case "mvhd":
			f.Created = created(r.Payload(b))
		case "meta":
			f.keys(r, b)
		case "udta":
			f.udta(r, b)
		}
		return true
	})
	return f, true
}

// created reads the time of a mvhd. What lies before 1970 is the work of software that counts from
// there, or of none: unknown.
func created(mvhd []byte) time.Time {
	var seconds uint64
	switch {
	case len(mvhd) >= 8 && mvhd[0] == 0:
		seconds = uint64(binary.BigEndian.Uint32(mvhd[4:]))
	case len(mvhd) >= 12 && mvhd[0] == 1:
		seconds = binary.BigEndian.Uint64(mvhd[4:])
	}
	if seconds < 2_082_844_800+1 || seconds > 1<<33 {
		return time.Time{}
	}
	return epoch.Add(time.Duration(seconds) * time.Second)
}

// keys reads Apple's metadata: names in "keys", values in "ilst" by their numbers.
func (f *Film) keys(r *Reader, meta Box) {
	var names []string
	skip := r.metaHeader(meta)
	r.Inside(meta, skip, func(b Box) bool {
		if b.Type == "keys" {
			names = keyNames(r.Payload(b))
		}
		return names == nil
	})
	r.Inside(meta, skip, func(b Box) bool {
		if b.Type != "ilst" {
			return true
		}
		r.Inside(b, 0, func(value Box) bool {
			n := int(binary.BigEndian.Uint32([]byte(value.Type)))
			if n < 1 || n > len(names) {
				return true
			}
			switch names[n-1] {
			case "com.apple.quicktime.creationdate":
				f.Creation = r.text(value)
			case "com.apple.quicktime.content.identifier":
				f.Pair = r.text(value)
			}
			return true
		})
		return false
	})
}

func keyNames(b []byte) (names []string) {
	if len(b) < 8 {
		return nil
	}
	names = []string{}
	for b = b[8:]; len(b) >= 8 && len(names) < 1000; {
		n := int64(binary.BigEndian.Uint32(b))
		if n < 8 || n > int64(len(b)) {
			break
		}
		names = append(names, string(b[8:n]))
		b = b[n:]
	}
	return names
}

// text reads the UTF-8 of an ilst value's "data" box.
func (r *Reader) text(value Box) (s string) {
	r.Inside(value, 0, func(b Box) bool {
		if p := r.Payload(b); b.Type == "data" && len(p) > 8 && binary.BigEndian.Uint32(p) == 1 {
			s = string(p[8:min(len(p), 8+1024)])
		}
		return s == ""
	})
	return s
}

// udta reads the QuickTime user data ©day: a length, a language and text.
func (f *Film) udta(r *Reader, udta Box) {
	r.Inside(udta, 0, func(b Box) bool {
		if b.Type == "\xa9day" && f.Creation == "" {
			if p := r.Payload(b); len(p) >= 4 {
				n := int(binary.BigEndian.Uint16(p))
				f.Creation = string(p[4:min(len(p), 4+n)])
			}
		}
		return true
	})
}
