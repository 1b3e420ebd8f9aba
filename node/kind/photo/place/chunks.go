package place

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// png looks into the chunks. The checksum of one that is changed is made anew.
func (f *finder) png() {
	at := int64(8)
	for n := 0; ; n++ {
		head := f.bytes(at, min(at+8, f.size))
		if len(head) < 8 {
			return
		}
		if n == maxSegments {
			f.unknown("it has too many chunks")
			return
		}
		kind, from := string(head[4:]), at+8
		to := from + int64(binary.BigEndian.Uint32(head))
		if to+4 > f.size {
			return
		}
		before := len(f.result.Patches)
		switch kind {
		case "eXIf":
			f.tiff(from, to)
		case "iTXt", "zTXt", "tEXt":
			f.pngText(kind, from, to)
		case "IEND":
			return
		}
		if patches := f.result.Patches[before:]; len(patches) > 0 {
			b := append(head[4:8:8], f.bytes(from, to)...)
			Apply(patches, b, from-4)
			f.put(f.result.Found[len(f.result.Found)-1], to, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)))
		}
		at = to + 4
	}
}

func (f *finder) pngText(kind string, from, to int64) {
	b := f.bytes(from, to)
	text, packet := bytes.CutPrefix(b, []byte("XML:com.adobe.xmp\x00"))
	switch {
	case packet && kind == "iTXt" && len(text) > 4 && text[0] == 0:
		f.xmpAt(to-int64(len(text)), to)
	case packet, bytes.HasPrefix(b, []byte("Raw profile type ")) && !bytes.HasPrefix(b, []byte("Raw profile type ic")):
		f.unknown("it has notes in a form that can't be changed in their place")
	}
}

// webp looks into the chunks of a RIFF file.
func (f *finder) webp() {
	at := int64(12)
	for range maxSegments {
		head := f.bytes(at, min(at+8, f.size))
		if len(head) < 8 {
			return
		}
		from := at + 8
		to := min(from+int64(binary.LittleEndian.Uint32(head[4:])), f.size)
		switch string(head[:4]) {
		case "EXIF":
			if b := f.bytes(from, min(from+6, to)); bytes.HasPrefix(b, []byte(markEXIF)) {
				from += 6
			}
			f.tiff(from, to)
		case "XMP ":
			f.xmpAt(from, to)
		}
		at = to + (to-from)&1
	}
	f.unknown("it has too many chunks")
}
