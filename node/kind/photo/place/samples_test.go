package place

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
)

// exif makes a TIFF structure that has an orientation, a time, and a place with values beside it. more is a text behind all.
func exif(order binary.AppendByteOrder, more string) []byte {
	b := []byte("II*\x00")
	if order.String() == "BigEndian" {
		b = []byte("MM\x00*")
	}
	field := func(tag, kind uint16, count, value uint32) {
		b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, tag), kind), count)
		if kind == 3 {
			b = order.AppendUint16(order.AppendUint16(b, uint16(value)), 0)
		} else if kind == 2 || kind == 1 {
			b = binary.BigEndian.AppendUint32(b, value)
		} else {
			b = order.AppendUint32(b, value)
		}
	}
	b = order.AppendUint16(order.AppendUint32(b, 8), 5)
	const exifAt = 8 + 2 + 5*12 + 4
	const gpsAt = exifAt + 2 + 1*12 + 4
	const dataAt = gpsAt + 2 + 5*12 + 4
	field(0x010f, 2, 4, 0x41636d00) // Make: "Acm"
	field(0x0112, 3, 1, 6)
	field(0x8769, 4, 1, exifAt)
	field(0x8825, 4, 1, gpsAt)
	field(0xa431, 2, 3, 0x37370000) // SerialNumber, behind it
	b = order.AppendUint32(b, 0)
	b = order.AppendUint16(b, 1)
	field(0x9003, 2, 20, dataAt+48)
	if order.String() == "LittleEndian" { // a text's offset is written as a number
		copy(b[len(b)-4:], order.AppendUint32(nil, dataAt+48))
	}
	b = order.AppendUint16(order.AppendUint32(b, 0), 5)
	field(0, 1, 4, 0x02030000)
	field(1, 2, 2, 0x4e000000)
	field(2, 5, 3, dataAt)
	field(3, 2, 2, 0x45000000)
	field(4, 5, 3, dataAt+24)
	b = order.AppendUint32(b, 0)
	for _, n := range []uint32{48, 1, 8, 1, 1234, 100, 11, 1, 34, 1, 5678, 100} {
		b = order.AppendUint32(b, n)
	}
	return append(append(b, "2024:05:06 07:08:09\x00"...), more...)
}

func segment(marker byte, parts ...string) []byte {
	n := 2
	for _, p := range parts {
		n += len(p)
	}
	out := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(n))
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

const packet = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" exif:GPSLatitude="48,8.2057N"
 tiff:Orientation="6" photoshop:City='M&#xfc;nchen' exif:DateTimeOriginal="2024-05-06T07:08:09">
<exif:GPSLongitude>11,34.9463E</exif:GPSLongitude><exif:GPSAltitude/>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">GPS in the title</rdf:li></rdf:Alt></dc:title>
<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li rdf:parseType="Resource"><Iptc4xmpExt:City>München</Iptc4xmpExt:City></rdf:li></rdf:Bag></Iptc4xmpExt:LocationShown >
</rdf:Description></rdf:RDF></x:xmpmeta>`

// iptc is Photoshop's block with a title and a city.
func iptc() string {
	records := "\x1c\x02\x05\x00\x05Title\x1c\x02\x5a\x00\x07Munich \x1c\x02\x65\x00\x07Germany"
	return "8BIM\x04\x04\x00\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(records)))) + records + string(make([]byte, len(records)%2))
}

// pixel is a picture of one pixel, from the first table on.
var pixel = []byte("\xff\xdb\x00\x43\x00\x03\x02\x02\x02\x02\x02\x03\x02\x02\x02\x03\x03\x03\x03\x04\x06\x04\x04\x04\x04\x04\x08\x06\x06\x05\x06\x09\x08\x0a\x0a\x09\x08\x09\x09\x0a\x0c\x0f\x0c\x0a\x0b\x0e\x0b\x09\x09\x0d\x11\x0d\x0e\x0f\x10\x10\x11\x10\x0a\x0c\x12\x13\x12\x10\x13\x0f\x10\x10\x10" +
	"\xff\xc9\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00\xff\xcc\x00\x06\x00\x10\x10\x05\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xd2\xcf\x20\xff\xd9")

func jpegOf(segments ...[]byte) []byte {
	return slices.Concat([]byte("\xff\xd8"), slices.Concat(segments...), pixel)
}

func chunk(kind string, data []byte) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), kind...)
	b = append(b, data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func riff(kind string, data []byte) []byte {
	b := append(binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(data))), data...)
	return append(b, make([]byte, len(data)%2)...)
}

func box(name string, content ...[]byte) []byte {
	c := slices.Concat(content...)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(c))), name...), c...)
}

// filmOf makes a film as Apple's and Google's phones do.
func filmOf() []byte {
	const where = "+48.1367+011.5824+519.000/"
	names, values := []string{"com.apple.quicktime.make", "com.apple.quicktime.location.ISO6709"}, []string{"Acme", where}
	keys, list := []byte{0, 0, 0, 0, 0, 0, 0, byte(len(names))}, []byte{}
	for i, n := range names {
		keys = append(keys, box("mdta", []byte(n))...)
		list = append(list, box(string([]byte{0, 0, 0, byte(i + 1)}), box("data", []byte{0, 0, 0, 1, 0, 0, 0, 0}, []byte(values[i])))...)
	}
	mvhd := make([]byte, 100)
	binary.BigEndian.PutUint32(mvhd[4:], 3_700_000_000)
	binary.BigEndian.PutUint32(mvhd[12:], 1000)
	hdlr := append(make([]byte, 8), "mdta\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	xyz := append([]byte{0, byte(len(where)), 0x15, 0xc7}, where...)
	return slices.Concat(box("ftyp", []byte("qt  \x00\x00\x00\x00qt  ")), box("mdat", bytes.Repeat([]byte("media"), 1000)),
		box("moov", box("mvhd", mvhd), box("udta", box("\xa9xyz", xyz), box("\xa9mak", []byte{0, 4, 0x15, 0xc7}, []byte("Acme"))), box("meta", box("hdlr", hdlr), box("keys", keys), box("ilst", list))))
}

// heifOf makes the notes of a picture in boxes, without a picture.
func heifOf(tiff []byte) []byte {
	exif := append([]byte{0, 0, 0, 0}, tiff...)
	infe := func(id byte, kind, more string) []byte {
		return box("infe", []byte{2, 0, 0, 0, 0, id, 0, 0}, []byte(kind), []byte("\x00"+more))
	}
	make1 := func(at uint32) []byte {
		iloc := []byte{0, 0, 0, 0, 0x44, 0, 0, 2}
		for i, n := range []int{len(exif), len(packet)} {
			iloc = append(iloc, 0, byte(i+1), 0, 0, 0, 1)
			iloc = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(iloc, at+uint32(i*len(exif))), uint32(n))
		}
		return slices.Concat(box("ftyp", []byte("heic\x00\x00\x00\x00mif1heic")), box("meta", make([]byte, 4), box("hdlr", make([]byte, 8), []byte("pict"), make([]byte, 13)),
			box("iinf", []byte{0, 0, 0, 0, 0, 2}, infe(1, "Exif", ""), infe(2, "mime", "application/rdf+xml\x00")), box("iloc", iloc)))
	}
	head := make1(0)
	return slices.Concat(make1(uint32(len(head)+8)), box("mdat", exif, []byte(packet)))
}

// several is a picture with another one behind it, which an index before it lists.
func several() []byte {
	second := jpegOf(segment(0xe1, "Exif\x00\x00", string(exif(binary.LittleEndian, ""))))
	make1 := func(size, offset int) []byte {
		be := binary.BigEndian
		index := []byte("MM\x00*\x00\x00\x00\x08\x00\x02\xb0\x01\x00\x04\x00\x00\x00\x01\x00\x00\x00\x02\xb0\x02\x00\x07\x00\x00\x00\x20\x00\x00\x00\x26\x00\x00\x00\x00")
		index = append(index, make([]byte, 16)...)
		index = be.AppendUint32(be.AppendUint32(be.AppendUint32(be.AppendUint32(index, 0), uint32(size)), uint32(offset)), 0)
		return jpegOf(segment(0xe1, "Exif\x00\x00", string(exif(binary.BigEndian, ""))), segment(0xe2, markMore, string(index)))
	}
	first := make1(0, 0)
	at := bytes.Index(first, []byte(markMore)) + len(markMore)
	return append(make1(len(second), len(first)-at), second...)
}

// samsung is a picture with a film behind it as Samsung's phones write it.
func samsung() []byte {
	le := binary.LittleEndian
	block := append([]byte("\x00\x00\x30\x0a\x10\x00\x00\x00MotionPhoto_Data"), filmOf()...)
	dir := append([]byte("SEFH\x6b\x00\x00\x00\x01\x00\x00\x00\x00\x00\x30\x0a"), le.AppendUint32(le.AppendUint32(nil, uint32(len(block))), uint32(len(block)))...)
	return slices.Concat(jpegOf(), block, dir, le.AppendUint32(nil, uint32(len(dir))), []byte("SEFT"))
}

// samples are files with places in every form that is looked into.
func samples() map[string][]byte {
	app1 := segment(0xe1, "Exif\x00\x00", string(exif(binary.LittleEndian, "")))
	clip := filmOf()
	motion := fmt.Sprintf(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MicroVideo="1" GCamera:MicroVideoOffset="%d"/></rdf:RDF></x:xmpmeta>`, len(clip))
	ihdr := []byte{0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0}
	long := func(from, to int) []byte {
		at := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), uint32(from))
		return segment(0xe1, markMoreXMP, "0123456789ABCDEF0123456789ABCDEF", string(at), packet[from:to])
	}
	cut := bytes.Index([]byte(packet), []byte("11,34.9")) // inside of a place
	webp := append([]byte("WEBP"), slices.Concat(riff("VP8X", []byte{0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0}), riff("EXIF", exif(binary.LittleEndian, "x")), riff("XMP ", []byte(packet)))...)
	return map[string][]byte{
		"own-le.jpg":     jpegOf(app1),
		"own-be.jpg":     jpegOf(segment(0xe0, "JFIF\x00\x01\x01\x00\x00\x48\x00\x48\x00\x00"), segment(0xe1, "Exif\x00\x00", string(exif(binary.BigEndian, "tail")))),
		"own-all.jpg":    jpegOf(app1, segment(0xe1, markXMP, packet), segment(0xed, markPhotoshop, iptc())),
		"own-long.jpg":   jpegOf(long(0, cut), long(cut, len(packet))),
		"own-motion.jpg": append(jpegOf(app1, segment(0xe1, markXMP, motion)), clip...),
		"own.png": slices.Concat([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", ihdr), chunk("eXIf", exif(binary.BigEndian, "")),
			chunk("iTXt", append([]byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"), packet...)), chunk("IDAT", []byte("\x78\x9c\x63\x60\x00\x00\x00\x02\x00\x01")), chunk("IEND", nil)),
		"own.webp": riff("RIFF", webp), "own.tif": exif(binary.LittleEndian, ""), "own.mov": clip, "own.heic": heifOf(exif(binary.BigEndian, "tail")),
		"own.xmp": []byte(packet), "own-mpf.jpg": several(), "own-motion-samsung.jpg": samsung(), "own-motion.heic": append(heifOf(exif(binary.BigEndian, "tail")), box("mpvd", clip)...),
	}
}

// TestForms: each form that is known is looked into, and each that is not is told.
func TestForms(t *testing.T) {
	all := samples()
	for name, want := range map[string]string{
		"own-le.jpg": "[EXIF]", "own-all.jpg": "[EXIF IPTC XMP]", "own-long.jpg": "[XMP]", "own-motion.jpg": "[EXIF film]", "own.png": "[EXIF XMP]", "own.webp": "[EXIF XMP]",
		"own.tif": "[EXIF]", "own.mov": "[film]", "own.heic": "[EXIF XMP]", "own.xmp": "[XMP]", "own-mpf.jpg": "[EXIF]", "own-motion-samsung.jpg": "[film]", "own-motion.heic": "[EXIF XMP film]",
	} {
		out, r := silent(name, all[name])
		if got := fmt.Sprint(r.Found); got != want || r.Unknown != "" {
			t.Errorf("%s: %s, %s; want %s", name, got, r.Unknown, want)
		}
		for _, place := range []string{"48.13", "11,34", "48,8", "M&#xfc;", "Munich", "Germany", "\xd2\x04\x00\x00\x64", "\x04\xd2\x00\x00\x00\x64"} {
			if bytes.Contains(out, []byte(place)) {
				t.Errorf("%s: %q is there still", name, place)
			}
		}
	}
	for name, b := range map[string]string{"a.gif": "GIF89a", "a.cr3": "\x00\x00\x00\x18ftypcrx ", "a.avi": "RIFF\x00\x00\x00\x00AVI ", "a.jxl": "\xff\x0a", "a.orf": "IIRO",
		"raw.png": string(slices.Concat([]byte("\x89PNG\r\n\x1a\n"), chunk("zTXt", []byte("Raw profile type exif\x00\x00"))))} {
		if _, r := silent(name, []byte(b)); r.Unknown == "" || len(r.Patches) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestSidecar(t *testing.T) {
	const before = `{"title":"a.jpg","photoTakenTime":{"timestamp":"1600000000"},"geoData":{"latitude":48.1367,"longitude": -1.5,"altitude":5,"latitudeSpan":0.0},"geoDataExif":{"latitude":48}}`
	const after = `{"title":"a.jpg","photoTakenTime":{"timestamp":"1600000000"},"geoData":{"latitude":0.0    ,"longitude": 0.0 ,"altitude":0,"latitudeSpan":0.0},"geoDataExif":{"latitude":0 }}`
	if out, r := silent("a.jpg.json", []byte(before)); string(out) != after || fmt.Sprint(r.Found) != "[sidecar]" {
		t.Errorf("%s %+v", out, r)
	}
	for name, same := range map[string]string{"a.jpg.json": after, "map.json": `{"latitude":48.1367}`, "broken.json": `{"latitude":48.1367`} {
		if out, r := silent(name, []byte(same)); string(out) != same || len(r.Found) > 0 || r.Unknown != "" {
			t.Errorf("%s: %s %+v", name, out, r)
		}
	}
}

// TestHostile: what contradicts itself costs no more than the limits, and no picture its content.
func TestHostile(t *testing.T) {
	le := binary.LittleEndian
	self := exif(le, "")
	le.PutUint32(self[8+2+3*12+8:], 8) // the place is the first directory
	outside := exif(le, "")
	le.PutUint32(outside[8+2+3*12+8:], 1<<31)
	loop := exif(le, "")
	le.PutUint32(loop[8+2+2*12+8:], 8) // EXIF's directory is the first one
	le.PutUint32(loop[8+2+5*12:], 8)   // and so is the next
	nested := exif(le, "")
	le.PutUint16(nested[8+2+4*12:], tagPhotoshop)
	overlap := exif(le, "")
	copy(overlap[8+2+5*12+4+2+12+4+2+2*12+8:], le.AppendUint32(nil, 0)) // a value of the place is the header
	for name, tiff := range map[string][]byte{"self": self, "outside": outside, "loop": loop, "nested": nested, "overlap": overlap, "cut": exif(le, "")[:100], "head": exif(le, "")[:8]} {
		b := jpegOf(segment(0xe1, "Exif\x00\x00", string(tiff)))
		out, r := silent(name+".jpg", b)
		if at := scan(b); !bytes.Equal(out[at:], b[at:]) || !bytes.Equal(out[:12], b[:12]) {
			t.Errorf("%s: %+v", name, r)
		}
		if at := bytes.Index(out, []byte("\x25\x88\x04\x00\x01")); at >= 0 {
			t.Errorf("%s: the pointer to its place is there", name)
		}
	}
	for name, b := range map[string][]byte{
		"many.xmp":  bytes.Repeat([]byte("<exif:GPSx>"), 100_000),
		"long.jpg":  append([]byte("\xff\xd8\xff"), bytes.Repeat([]byte("\xff\xe2\x00\x02"), 100_000)...),
		"huge.png":  []byte("\x89PNG\r\n\x1a\n\xff\xff\xff\xffeXIf"),
		"zero.mp4":  []byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomiso2\x00\x00\x00\x00moov\x00\x00\x00\x01udta\xff\xff\xff\xff\xff\xff\xff\xff"),
		"iloc.heic": heifOf(nil),
	} {
		c := &counting{b: bytes.NewReader(b)}
		if Find(name, c, int64(len(b))); c.n > maxRead {
			t.Errorf("%s: %d bytes were read", name, c.n)
		}
	}
}

type counting struct {
	b *bytes.Reader
	n int
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.n += len(p)
	return c.b.ReadAt(p, at)
}

func FuzzFind(f *testing.F) {
	for name, b := range samples() {
		f.Add(name, b)
	}
	f.Add("a.jpg.json", []byte(`{"latitude":1.5}`))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		out, r := silent(name, b)
		for _, p := range r.Patches {
			if p.At < 0 || p.At+int64(len(p.Data)) > int64(len(b)) || len(p.Data) == 0 {
				t.Fatalf("%d bytes at %d of %d", len(p.Data), p.At, len(b))
			}
		}
		if len(out) != len(b) {
			t.Fatal("another length")
		}
		if again := Find(name, bytes.NewReader(b), int64(len(b))); fmt.Sprint(again) != fmt.Sprint(r) {
			t.Fatalf("%+v, and then %+v", r, again)
		}
	})
}
