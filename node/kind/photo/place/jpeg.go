package place

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strconv"
)

const maxSegments = 4096

// What a segment of a JPEG begins with.
const (
	markEXIF      = "Exif\x00"
	markXMP       = "http://ns.adobe.com/xap/1.0/\x00"
	markMoreXMP   = "http://ns.adobe.com/xmp/extension/\x00"
	markPhotoshop = "Photoshop 3.0\x00"
	markMore      = "MPF\x00"
)

// moreXMP is what stands before each part of a long packet: its mark, a digest, the length and the offset.
const moreXMP = len(markMoreXMP) + 32 + 4 + 4

// jpeg looks into the segments before the picture itself, and into pictures and films behind it.
func (f *finder) jpeg(at, end int64) {
	if !f.enter() {
		return
	}
	defer f.leave()
	f.samsung(end)
	from := at
	var long []byte // the parts of a long packet
	var parts []span
	defer func() { f.longXMP(long, parts) }()
	at += 2
	for n := 0; ; n++ {
		head := f.bytes(at, min(at+4, end))
		if len(head) < 4 || head[0] != 0xff {
			return
		}
		marker, size := head[1], int64(binary.BigEndian.Uint16(head[2:]))
		switch {
		case n == maxSegments:
			f.unknown("it has too many segments")
			return
		case marker == 0xff:
			at++
			continue
		case marker == 0x01, marker >= 0xd0 && marker <= 0xd7:
			at += 2
			continue
		case marker == 0xd9, marker == 0xda, size < 2:
			return
		}
		body, next := at+4, min(at+2+size, end)
		if next < body {
			return
		}
		if marker == 0xe1 || marker == 0xe2 || marker == 0xed {
			b := f.bytes(body, next)
			switch {
			case bytes.HasPrefix(b, []byte(markEXIF)) && len(b) > 6:
				f.tiff(body+6, next)
			case bytes.HasPrefix(b, []byte(markXMP)):
				f.xmpAt(body+int64(len(markXMP)), next)
				f.behind(b, from, end)
			case bytes.HasPrefix(b, []byte(markMoreXMP)) && len(b) > moreXMP:
				parts = append(parts, span{body + int64(moreXMP), next})
				long = append(long, b[moreXMP:]...)
			case bytes.HasPrefix(b, []byte(markPhotoshop)):
				f.resources(body+int64(len(markPhotoshop)), next)
			case bytes.HasPrefix(b, []byte(markMore)) && from == 0:
				f.more(body+int64(len(markMore)), next, end)
			case marker == 0xe1: // a packet behind a mark that is not spelled right
				f.xmpAt(body, next)
			}
		}
		at = next
	}
}

// longXMP looks into a packet that is spread over segments, in their order.
func (f *finder) longXMP(long []byte, parts []span) {
	after := f.blankXMP(long)
	for _, p := range parts {
		n := p.to - p.from
		f.difference("XMP", p.from, long[:n], after[:n])
		long, after = long[n:], after[n:]
	}
}

// film is the length of what a picture has behind it, as its packet says in one of two ways.
var film = regexp.MustCompile(`(?:MicroVideoOffset|Item:Length)\s*=\s*["'](\d{1,12})["']`)

// behind looks into the film of a Motion Photo, which ends the file.
func (f *finder) behind(packet []byte, from, end int64) {
	for _, m := range film.FindAllSubmatch(packet, 16) {
		n, err := strconv.ParseInt(string(m[1]), 10, 64)
		if err != nil || n < 16 || n >= end-from {
			continue
		}
		if b := f.bytes(end-n, end-n+8); b != nil && string(b[4:]) == "ftyp" {
			f.boxes(end-n, end)
		}
	}
}

// resources looks into Photoshop's blocks between two offsets.
func (f *finder) resources(at, end int64) {
	for n := 0; n < maxSegments; n++ {
		head := f.bytes(at, at+7)
		if head == nil || at+7 > end || string(head[:4]) != "8BIM" {
			return
		}
		kind := binary.BigEndian.Uint16(head[4:])
		at += 6 + (int64(head[6])+2)&^1
		head = f.bytes(at, at+4)
		if head == nil {
			return
		}
		from := at + 4
		to := from + int64(binary.BigEndian.Uint32(head))
		if to > end {
			return
		}
		switch kind {
		case 0x0404:
			f.iptcAt(from, to)
		case 0x0422, 0x0423:
			f.tiff(from, to)
		case 0x0424:
			f.xmpAt(from, to)
		}
		at = to + (to-from)&1
	}
}

// more looks into the other pictures of a file with several, which an index between two offsets lists (CIPA DC-007 section 5.2).
// Their offsets are from the index.
func (f *finder) more(at, to, end int64) {
	const tagPictures = 0xb002
	w := newTIFF(f, at, to)
	if w == nil {
		return
	}
	_, entries, _ := w.directory(w.first)
	for _, e := range entries {
		s, out := e.span()
		if e.tag != tagPictures || !out {
			continue
		}
		list := w.bytes(s.from, s.to)
		for n := 0; len(list) >= 16 && n < maxDirectories; n++ {
			size, offset := int64(w.order.Uint32(list[4:])), int64(w.order.Uint32(list[8:]))
			if from := at + offset; offset > 0 && from+size <= end && bytes.Equal(f.bytes(from, min(from+2, end)), []byte("\xff\xd8")) {
				f.jpeg(from, from+size)
			}
			list = list[16:]
		}
	}
}

// samsung looks into the films among the blocks that Samsung's phones put behind a picture: a directory at the end of the
// file, whose offsets count back from it, as exiftool describes it.
func (f *finder) samsung(end int64) {
	tail := f.bytes(max(end-8, 0), end)
	if len(tail) < 8 || string(tail[4:]) != "SEFT" {
		return
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	at := end - 8 - n
	if n < 12 || n > 64<<10 || at < 0 {
		return
	}
	for list := f.bytes(at+12, at+n); len(list) >= 12; list = list[12:] {
		back, size := int64(binary.LittleEndian.Uint32(list[4:])), int64(binary.LittleEndian.Uint32(list[8:]))
		from := at - back
		head := f.bytes(from, from+8)
		if size > back || head == nil {
			continue
		}
		film := from + 8 + int64(binary.LittleEndian.Uint32(head[4:])) // behind the block's name
		if b := f.bytes(film, film+8); b != nil && film < from+size && string(b[4:]) == "ftyp" {
			f.boxes(film, from+size)
		}
	}
}
