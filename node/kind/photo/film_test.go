package photo

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func box(name string, content ...[]byte) []byte {
	c := slices.Concat(content...)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(c))), name...), c...)
}

// film makes a film as phones do: the media first, and what it says of itself behind them.
func film(created time.Time, names, values []string) []byte {
	mvhd := make([]byte, 100)
	if !created.IsZero() {
		binary.BigEndian.PutUint32(mvhd[4:], uint32(created.Unix()+2_082_844_800))
	}
	binary.BigEndian.PutUint32(mvhd[12:], 1000)
	keys, list := []byte{0, 0, 0, 0, 0, 0, 0, byte(len(names))}, []byte{}
	for i, n := range names {
		keys = append(keys, box("mdta", []byte(n))...)
		list = append(list, box(string([]byte{0, 0, 0, byte(i + 1)}), box("data", []byte{0, 0, 0, 1, 0, 0, 0, 0}, []byte(values[i])))...)
	}
	hdlr := append(make([]byte, 8), "mdta\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	return slices.Concat(box("ftyp", []byte("qt  \x00\x00\x00\x00qt  ")), box("mdat", make([]byte, 300_000)),
		box("moov", box("mvhd", mvhd), box("meta", box("hdlr", hdlr), box("keys", keys), box("ilst", list))))
}

var apple = []string{"com.apple.quicktime.creationdate", "com.apple.quicktime.content.identifier"}

// jpeg makes a picture whose EXIF data have the tags given, and an Apple maker note if pair is not empty.
func jpeg(original, offset, pair string) []byte {
	t := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x87\x69\x00\x04\x00\x00\x00\x01\x00\x00\x00\x1a\x00\x00\x00\x00")
	type tag struct {
		id, kind uint16
		data     []byte
	}
	tags := []tag{{0x9003, 2, []byte(original + "\x00")}, {0x9011, 2, []byte(offset + "\x00")}}
	if pair != "" {
		note := []byte("Apple iOS\x00\x00\x01MM\x00\x01\x00\x11\x00\x02")
		note = binary.BigEndian.AppendUint32(note, uint32(len(pair)+1))
		note = binary.BigEndian.AppendUint32(note, 32)
		note = append(append(append(note, 0, 0, 0, 0), pair...), 0)
		tags = append(tags, tag{0x927c, 7, note})
	}
	at := len(t) + 2 + 12*len(tags) + 4
	dir, data := binary.BigEndian.AppendUint16(nil, uint16(len(tags))), []byte{}
	for _, g := range tags {
		dir = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dir, g.id), g.kind)
		dir = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dir, uint32(len(g.data))), uint32(at+len(data)))
		data = append(data, g.data...)
	}
	t = slices.Concat(t, dir, []byte{0, 0, 0, 0}, data)
	app1 := append([]byte("Exif\x00\x00"), t...)
	return slices.Concat([]byte("\xff\xd8\xff\xe1"), binary.BigEndian.AppendUint16(nil, uint16(len(app1)+2)), app1, []byte("\xff\xd9"))
}

// TestFilms compares with exiftool what films say, of which the public collection has none.
func TestFilms(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2023, 5, 6, 7, 8, 9, 0, time.UTC)
	want := map[string]Info{}
	for name, f := range map[string]struct {
		data []byte
		want Info
	}{
		"zone.mov":   {film(at, apple, []string{"2023-05-06T09:08:09+0200", "PAIR-1"}), Info{"2023-05-06T09:08:09+02:00", QuickTime, "PAIR-1", false, false}},
		"utc.mp4":    {film(at, nil, nil), Info{"2023-05-06T07:08:09Z", QuickTime, "", false, false}},
		"none.mov":   {film(time.Time{}, nil, nil), Info{}},
		"still.jpg":  {jpeg("2023:05:06 09:08:09", "+02:00", "PAIR-1"), Info{"2023-05-06T09:08:09+02:00", EXIF, "PAIR-1", false, false}},
		"lies.jpg":   {[]byte("PK\x03\x04 this is no picture"), Info{Lies: true}},
		"motion.jpg": {append(jpeg("2023:05:06 09:08:09", "", ""), "<x:xmpmeta GCamera:MotionPhoto=\"1\"></x:xmpmeta>"...), Info{"2023-05-06T09:08:09", EXIF, "", true, false}},
	} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, f.data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := &counting{ReaderAt: bytes.NewReader(f.data)}
		got := Read(p, c, int64(len(f.data)))
		if got.TakenAt == "" {
			got.Origin = ""
		}
		if got != f.want || c.bytes > MaxRead {
			t.Errorf("%s: %+v after %d bytes, want %+v", name, got, c.bytes, f.want)
		}
		want[p] = f.want
	}
	var names []string
	for p, w := range want {
		if !w.Lies {
			names = append(names, p)
		}
	}
	for _, it := range exiftool(t, names) {
		w := want[it.SourceFile]
		theirs := rfc(it.DateTimeOriginal, it.OffsetTimeOriginal)
		if theirs == "" {
			theirs = rfc(it.CreationDate, "")
		}
		if theirs == "" && it.CreateDate != "" && !strings.HasPrefix(it.CreateDate, "0000") {
			theirs = rfc(it.CreateDate, "Z") // exiftool does not name the zone of a film's header, which is UTC
		}
		if theirs != w.TakenAt {
			t.Errorf("%s: exiftool says %q (%+v), we %q", it.SourceFile, theirs, it, w.TakenAt)
		}
	}
}

// counting counts the bytes that are read.
type counting struct {
	io.ReaderAt
	bytes int
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.bytes += len(p)
	return c.ReaderAt.ReadAt(p, at)
}

// TestRT20Hostile shows that loops, lies and polyglots cost no more than the limit.
func TestRT20Hostile(t *testing.T) {
	loop := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x87\x69\x00\x04\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x08")
	for name, b := range map[string][]byte{
		"loop.tif": loop, "loop.orf": append([]byte("IIRO\x08\x00\x00\x00\x01\x00\x69\x87\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00"), make([]byte, 100)...),
		"large.jpg":    []byte("\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"),
		"polyglot.jpg": append(jpeg("2020:01:02 03:04:05", "", ""), "PK\x03\x04<html><script>"...),
		"zero.mp4":     append([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomiso2\x00\x00\x00\x00mdat"), make([]byte, 1000)...),
		"bomb.png":     []byte("\x89PNG\r\n\x1a\n\xff\xff\xff\xffzTXt"),
		"raf.raf":      append([]byte("FUJIFILM"), bytes.Repeat([]byte{0xff}, 200)...),
		"cr3.cr3":      []byte("\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom\x00\x00\x00\x00moov"),
		"long.jpg":     append([]byte("\xff\xd8\xff"), bytes.Repeat([]byte("\xff\xe2\xff\xff"), 1<<20)...),
	} {
		c := &counting{ReaderAt: bytes.NewReader(b)}
		i := Read(name, c, int64(len(b)))
		if c.bytes > MaxRead {
			t.Errorf("%s: %d bytes were read", name, c.bytes)
		}
		checkTime(t, strings.TrimSuffix(i.TakenAt, "Z"))
		if name == "polyglot.jpg" && i.TakenAt != "2020-01-02T03:04:05" {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

func TestFromName(t *testing.T) {
	for name, want := range map[string]string{
		"IMG_20200102_030405.jpg": "2020-01-02T03:04:05", "PXL_20201231_235959123.MP.jpg": "2020-12-31T23:59:59Z", "VID_20200102_030405.mp4": "2020-01-02T03:04:05",
		"20200102_030405.jpg": "2020-01-02T03:04:05", "20200102_030405(1).jpg": "2020-01-02T03:04:05", "2020-01-02 03.04.05.jpg": "2020-01-02T03:04:05", "Screenshot_20200102-030405.png": "2020-01-02T03:04:05",
		"Screenshot_20200102-030405_Chrome.png": "2020-01-02T03:04:05", "Screenshot from 2020-01-02 03-04-05.png": "2020-01-02T03:04:05", "IMG_20200102_030405_HDR.jpg": "2020-01-02T03:04:05",
		"IMG-20200102-WA0001.jpg": "", "IMG_1234.jpg": "", "DSC00001.jpg": "", "20209902_030405.jpg": "", "99999999_999999.jpg": "", "report 2020.pdf": "", "": "",
	} {
		if got := FromName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("a.mov", film(time.Unix(1.6e9, 0), apple, []string{"2023-05-06T09:08:09+0200", "x"})[300_000:])
	f.Add("a.jpg", jpeg("2023:05:06 09:08:09", "+02:00", "PAIR-1"))
	f.Add("a.cr3", []byte("\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom\x00\x00\x00\x00moov"))
	f.Add("a.jpg", []byte("\xff\xd8\xff<x:xmpmeta exif:DateTimeOriginal=\"2020-01-02T03:04:05\"></x:xmpmeta>"))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		i := Read(name, bytes.NewReader(b), int64(len(b)))
		checkTime(t, strings.TrimSuffix(i.TakenAt, "Z"))
	})
}
