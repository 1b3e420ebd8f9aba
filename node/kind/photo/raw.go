package photo

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"github.com/bep/imagemeta"

	"github.com/decant-dev/decant/node/format/mp4"
)

// raw reads the formats of cameras that imagemeta does not know: Olympus's and Panasonic's, which are TIFF
// under another mark, Fujifilm's, which has a JPEG inside, and Canon's CR3, which is boxes with TIFF inside.
func raw(r io.ReaderAt, size int64, head []byte) string {
	switch {
	case has(head, 0, "IIRO"), has(head, 0, "IIRS"), has(head, 0, "IIU\x00"):
		return tiffTime(r, 0, size)
	case has(head, 0, "FUJIFILM") && len(head) >= 92:
		at, n := int64(binary.BigEndian.Uint32(head[84:])), int64(binary.BigEndian.Uint32(head[88:]))
		if at > 0 && n > 0 && at < size {
			n = min(n, size-at)
			taken, _ := exif(io.NewSectionReader(r, at, n), n, imagemeta.JPEG)
			return taken
		}
	case has(head, 4, "ftypcrx "):
		return canonTime(r, size)
	}
	return ""
}

// canonUUID marks the box in which a CR3 keeps its TIFF structures; "CMT2" is the one of EXIF.
const canonUUID = "\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48"

func canonTime(r io.ReaderAt, size int64) (taken string) {
	boxes := mp4.NewReader(r, size)
	moov, ok := boxes.Find("moov")
	if !ok {
		return ""
	}
	boxes.Inside(moov, 0, func(b mp4.Box) bool {
		if b.Type != "uuid" || b.UUID != canonUUID {
			return true
		}
		boxes.Inside(b, 0, func(t mp4.Box) bool {
			if t.Type == "CMT2" {
				taken = tiffTime(r, t.Start, t.End)
			}
			return taken == ""
		})
		return false
	})
	return taken
}

// Tags of TIFF and EXIF.
const (
	tagExifIFD  = 0x8769
	tagOriginal = 0x9003
	tagOffset   = 0x9011
)

// tiffTime reads DateTimeOriginal of the TIFF structure between two offsets: of its first directory, or
// of the EXIF directory that this names.
func tiffTime(r io.ReaderAt, start, end int64) string {
	t, first := openTIFF(io.NewSectionReader(r, start, end-start))
	if t == nil {
		return ""
	}
	tags := t.directory(first)
	if sub, ok := tags[tagExifIFD]; ok && tags[tagOriginal].count == 0 {
		tags = t.directory(int64(sub.value))
	}
	return rfc3339(t.text(tags[tagOriginal]), t.text(tags[tagOffset]))
}

// tiff reads directories. Each is read once: nothing is followed but what the caller follows.
type tiff struct {
	r     io.ReaderAt
	order binary.ByteOrder
}

type entry struct {
	kind         uint16
	count, value uint32
	inline       [4]byte
}

func openTIFF(r io.ReaderAt) (*tiff, int64) {
	var head [8]byte
	if n, _ := r.ReadAt(head[:], 0); n < 8 {
		return nil, 0
	}
	t := &tiff{r: r}
	switch string(head[:2]) {
	case "II":
		t.order = binary.LittleEndian
	case "MM":
		t.order = binary.BigEndian
	default:
		return nil, 0
	}
	return t, int64(t.order.Uint32(head[4:]))
}

func (t *tiff) directory(at int64) map[uint16]entry {
	var count [2]byte
	if n, _ := t.r.ReadAt(count[:], at); n < 2 {
		return nil
	}
	b := make([]byte, 12*min(int(t.order.Uint16(count[:])), 500))
	n, _ := t.r.ReadAt(b, at+2)
	tags := map[uint16]entry{}
	for b = b[:n]; len(b) >= 12; b = b[12:] {
		e := entry{kind: t.order.Uint16(b[2:]), count: t.order.Uint32(b[4:]), value: t.order.Uint32(b[8:]), inline: [4]byte(b[8:])}
		tag := t.order.Uint16(b)
		if _, twice := tags[tag]; !twice {
			tags[tag] = e
		}
	}
	return tags
}

// text reads a short ASCII value.
func (t *tiff) text(e entry) string {
	if e.kind != 2 || e.count == 0 || e.count > 256 {
		return ""
	}
	b := e.inline[:min(e.count, 4)]
	if e.count > 4 {
		b = make([]byte, e.count)
		if n, _ := t.r.ReadAt(b, int64(e.value)); n < len(b) {
			return ""
		}
	}
	return strings.TrimRight(string(b), "\x00")
}

// appleMark begins Apple's maker note, which is a directory whose offsets count from the mark.
var appleMark = []byte("Apple iOS\x00\x00\x01MM")

const tagContentIdentifier = 0x0011

// applePair reads the content identifier of a Live Photo's still.
func applePair(head []byte) string {
	at := bytes.Index(head, appleMark)
	if at < 0 {
		return ""
	}
	t := &tiff{r: bytes.NewReader(head[at:]), order: binary.BigEndian}
	id := t.text(t.directory(int64(len(appleMark)))[tagContentIdentifier])
	if len(id) > 64 {
		return ""
	}
	return id
}
