package handset

import (
	"encoding/binary"
	"time"
)

// shot is what a camera notes of a picture.
type shot struct {
	taken         time.Time // in its own zone
	width, height int
	latitude      float64 // degrees, north positive
	longitude     float64 // degrees, east positive
	exposure      uint32  // 1/exposure seconds
	iso           uint16
}

// Types of TIFF fields.
const (
	tiffByte      = 1
	tiffASCII     = 2
	tiffShort     = 3
	tiffLong      = 4
	tiffRational  = 5
	tiffUndefined = 7
)

var le = binary.LittleEndian

// field is one entry of an image file directory.
type field struct {
	tag, typ uint16
	count    uint32
	value    []byte
}

func ascii(tag uint16, s string) field {
	return field{tag, tiffASCII, uint32(len(s) + 1), append([]byte(s), 0)}
}

func short(tag, v uint16) field { return field{tag, tiffShort, 1, le.AppendUint16(nil, v)} }

func long(tag uint16, v uint32) field { return field{tag, tiffLong, 1, le.AppendUint32(nil, v)} }

func undefined(tag uint16, s string) field {
	return field{tag, tiffUndefined, uint32(len(s)), []byte(s)}
}

// rationals takes numerators and denominators in turn.
func rationals(tag uint16, parts ...uint32) field {
	f := field{tag: tag, typ: tiffRational, count: uint32(len(parts) / 2)}
	for _, p := range parts {
		f.value = le.AppendUint32(f.value, p)
	}
	return f
}

// ifdSize is the length of a directory with its values.
func ifdSize(fields []field) (n int) {
	n = 2 + 12*len(fields) + 4
	for _, f := range fields {
		if len(f.value) > 4 {
			n += (len(f.value) + 1) &^ 1
		}
	}
	return n
}

// appendIFD appends a directory whose fields are sorted by tag, and the values that don't
// fit into it; b is the TIFF structure so far.
func appendIFD(b []byte, fields []field) []byte {
	at := len(b) + 2 + 12*len(fields) + 4
	b = le.AppendUint16(b, uint16(len(fields)))
	var tail []byte
	for _, f := range fields {
		b = le.AppendUint32(le.AppendUint16(le.AppendUint16(b, f.tag), f.typ), f.count)
		if len(f.value) <= 4 {
			b = append(append(b, f.value...), make([]byte, 4-len(f.value))...)
			continue
		}
		b = le.AppendUint32(b, uint32(at+len(tail)))
		tail = append(tail, f.value...)
		if len(f.value)%2 == 1 {
			tail = append(tail, 0)
		}
	}
	return append(append(b, 0, 0, 0, 0), tail...)
}

// exif returns the APP1 segment of a JPEG file.
func (s shot) exif() []byte {
	when, zone := s.taken.Format("2006:01:02 15:04:05"), s.taken.Format("-07:00")
	camera := []field{
		rationals(0x829a, 1, s.exposure), rationals(0x829d, 18, 10), short(0x8827, s.iso), undefined(0x9000, "0232"),
		ascii(0x9003, when), ascii(0x9004, when), ascii(0x9010, zone), ascii(0x9011, zone), ascii(0x9012, zone),
		undefined(0x9101, "\x01\x02\x03\x00"), ascii(0x9291, s.taken.Format("000")), undefined(0xa000, "0100"), short(0xa001, 1), long(0xa002, uint32(s.width)), long(0xa003, uint32(s.height)),
	}
	place := []field{
		{0, tiffByte, 4, []byte{2, 3, 0, 0}},
		hemisphere(1, s.latitude, "N", "S"), degrees(2, s.latitude), hemisphere(3, s.longitude, "E", "W"), degrees(4, s.longitude),
	}
	main := func(cameraAt, placeAt int) []field {
		return []field{
			ascii(0x10f, "Decant"), ascii(0x110, "Handset 1"), short(0x112, 1), rationals(0x11a, 72, 1), rationals(0x11b, 72, 1),
			short(0x128, 2), ascii(0x132, when), short(0x213, 1), long(0x8769, uint32(cameraAt)), long(0x8825, uint32(placeAt)),
		}
	}
	tiff := []byte{'I', 'I', 42, 0, 8, 0, 0, 0}
	cameraAt := len(tiff) + ifdSize(main(0, 0))
	tiff = appendIFD(tiff, main(cameraAt, cameraAt+ifdSize(camera)))
	tiff = appendIFD(tiff, camera)
	tiff = appendIFD(tiff, place)
	return segment(0xe1, append([]byte("Exif\x00\x00"), tiff...))
}

func hemisphere(tag uint16, v float64, positive, negative string) field {
	if v < 0 {
		return ascii(tag, negative)
	}
	return ascii(tag, positive)
}

func degrees(tag uint16, v float64) field {
	hundredths := uint32(max(v, -v) * 3600 * 100)
	return rationals(tag, hundredths/360000, 1, hundredths/6000%60, 1, hundredths%6000, 100)
}

// segment returns a JPEG segment; data is at most 65,533 bytes.
func segment(marker byte, data []byte) []byte {
	return append([]byte{0xff, marker, byte((len(data) + 2) >> 8), byte(len(data) + 2)}, data...)
}
