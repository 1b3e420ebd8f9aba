package photo

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"regexp"
	"time"
)

// In an XMP packet a property is an attribute or an element. The prefix is the one that all writers use.
var xmpOriginal = regexp.MustCompile(`\bexif:DateTimeOriginal\s*=\s*["']([^"'<>]{1,40})["']|<exif:DateTimeOriginal\s*>([^<>]{1,40})<`)

// fromXMP returns the time that the XMP packets in a file's beginning agree on. A packet that
// describes other pictures too (its ingredients) says nothing certain of this one.
func fromXMP(head []byte) (taken string) {
	for {
		start := bytes.Index(head, []byte("<x:xmpmeta"))
		if start < 0 {
			return taken
		}
		head = head[start:]
		end := bytes.Index(head, []byte("</x:xmpmeta>"))
		if end < 0 {
			return taken
		}
		packet := head[:end]
		head = head[end:]
		if bytes.Contains(packet, []byte("xmpMM:Pantry")) {
			return ""
		}
		for _, m := range xmpOriginal.FindAllSubmatch(packet, -1) {
			at := iso8601(string(m[1]) + string(m[2]))
			if at == "" || taken != "" && at != taken {
				return ""
			}
			taken = at
		}
	}
}

const plain = "2006-01-02T15:04:05"

// iso8601 reads XMP's way of writing a time. One without seconds is not known to the second.
func iso8601(s string) string {
	for _, form := range []string{"2006-01-02T15:04:05-07:00", "2006-01-02T15:04:05Z", plain, "2006:01:02 15:04:05"} {
		t, err := time.Parse(form, s)
		if err != nil || t.Year() < 1826 {
			continue
		}
		switch form {
		case plain, "2006:01:02 15:04:05": // the latter is EXIF's way, which some write here too
			return t.Format(plain)
		case "2006-01-02T15:04:05Z":
			return t.Format(plain) + "+00:00"
		}
		return t.Format(form)
	}
	return ""
}

// maxInflated is how much of a compressed packet is looked at, in bytes.
const maxInflated = 256 << 10

// inflated returns the XMP packet of a PNG that compresses it, nil if there is none in its beginning.
func inflated(head []byte) []byte {
	const keyword = "XML:com.adobe.xmp\x00"
	if !has(head, 0, "\x89PNG\r\n\x1a\n") {
		return nil
	}
	for b := head[8:]; len(b) >= 12; {
		n := int64(binary.BigEndian.Uint32(b))
		if n > int64(len(b))-12 {
			return nil
		}
		text, ok := bytes.CutPrefix(b[8:8+n], []byte(keyword))
		switch {
		case ok && string(b[4:8]) == "zTXt" && len(text) > 1:
			return inflate(text[1:])
		case ok && string(b[4:8]) == "iTXt" && len(text) > 4 && text[0] == 1:
			return inflate(text[4:])
		}
		b = b[12+n:]
	}
	return nil
}

func inflate(b []byte) []byte {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	out, _ := io.ReadAll(io.LimitReader(z, maxInflated))
	return out
}
