package mp4

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"time"
)

func box(name string, content ...[]byte) []byte {
	c := slices.Concat(content...)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(c))), name...), c...)
}

func mvhd(t time.Time) []byte {
	b := make([]byte, 100)
	binary.BigEndian.PutUint32(b[4:], uint32(t.Sub(epoch)/time.Second))
	return box("mvhd", b)
}

func apple(names, values []string) []byte {
	keys := []byte{0, 0, 0, 0, 0, 0, 0, byte(len(names))}
	var list []byte
	for i, n := range names {
		keys = append(keys, box("mdta", []byte(n))...)
		list = append(list, box(string([]byte{0, 0, 0, byte(i + 1)}), box("data", []byte{0, 0, 0, 1, 0, 0, 0, 0}, []byte(values[i])))...)
	}
	return box("meta", box("hdlr", make([]byte, 24)), box("keys", keys), box("ilst", list))
}

var taken = time.Date(2023, 5, 6, 7, 8, 9, 0, time.UTC)

func film() []byte {
	return slices.Concat(box("ftyp", []byte("qt  \x00\x00\x00\x00qt  ")), box("mdat", make([]byte, 100)),
		box("moov", mvhd(taken), box("trak", make([]byte, 50)), apple([]string{"com.apple.quicktime.creationdate", "com.apple.quicktime.content.identifier"}, []string{"2023-05-06T09:08:09+0200", "PAIR"})))
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

func TestReadFilm(t *testing.T) {
	b := film()
	f, ok := ReadFilm(bytes.NewReader(b), int64(len(b)))
	if want := (Film{taken, "2023-05-06T09:08:09+0200", "PAIR"}); !ok || f != want {
		t.Errorf("%+v %v", f, ok)
	}
	for name, at := range map[string]time.Time{"1904": epoch, "1970": epoch.Add(1_000_000_000 * time.Second)} {
		b := box("moov", mvhd(at))
		if f, ok := ReadFilm(bytes.NewReader(b), int64(len(b))); !ok || !f.Created.IsZero() {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// TestRT20Sizes shows that sizes of 0, of 2⁶⁴ and beyond what holds a box neither hang nor read much.
func TestRT20Sizes(t *testing.T) {
	huge := append([]byte("\x00\x00\x00\x01mdat"), bytes.Repeat([]byte{0xff}, 8)...)
	rest := []byte("\x00\x00\x00\x00mdat")
	for name, b := range map[string][]byte{
		"huge": append(huge, film()...), "negative": append([]byte("\x00\x00\x00\x01mdat\x80\x00\x00\x00\x00\x00\x00\x00"), film()...), "to the end": append(rest, film()...),
		"small": bytes.Repeat([]byte("\x00\x00\x00\x07moov"), 1000), "many": bytes.Repeat([]byte("\x00\x00\x00\x08free"), 100_000),
		"nested": bytes.Repeat([]byte("\x00\x00\x00\x00moov"), 100_000), "one": []byte("\x00\x00\x00\x01mo"),
	} {
		c := &counting{ReaderAt: bytes.NewReader(b)}
		ReadFilm(c, int64(len(b)))
		if c.bytes > 1<<20 {
			t.Errorf("%s: %d bytes were read", name, c.bytes)
		}
	}
}

func FuzzReadFilm(f *testing.F) {
	f.Add(film())
	f.Add(box("moov", box("udta", box("\xa9day", []byte("\x00\x042020")))))
	f.Fuzz(func(t *testing.T, b []byte) { ReadFilm(bytes.NewReader(b), int64(len(b))) })
}
