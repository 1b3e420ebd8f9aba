package placeless

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/folder"
)

// located is a picture that says where it was taken, in its EXIF data.
func located() []byte {
	order := binary.BigEndian
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x02\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x88\x25\x00\x04\x00\x00\x00\x01\x00\x00\x00\x26\x00\x00\x00\x00")
	tiff = append(tiff, "\x00\x02\x00\x01\x00\x02\x00\x00\x00\x02N\x00\x00\x00\x00\x02\x00\x05\x00\x00\x00\x03\x00\x00\x00\x44\x00\x00\x00\x00"...)
	for _, n := range []uint32{48, 1, 8, 1, 1234, 100} {
		tiff = order.AppendUint32(tiff, n)
	}
	b := order.AppendUint16([]byte("\xff\xd8\xff\xe1"), uint16(2+6+len(tiff)))
	return append(append(append(b, "Exif\x00\x00"...), tiff...), "\xff\xda\x00\x02 the picture \xff\xd9"...)
}

const silver = "\x00\x00\x04\xd2" // of the place: 12.34 seconds

// read is what a transfer would send of each file, whole and in pieces, and what it is told.
func read(t *testing.T, dir string) (map[string][]byte, []item.Change) {
	t.Helper()
	f, err := folder.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	var told []item.Change
	calls := 0
	s := New(f, func(c []item.Change) error { told, calls = c, calls+1; return nil })
	defer s.Close()
	out := map[string][]byte{}
	err = s.Scan(context.Background(), func(it *item.Item, st source.Stat) error {
		if it.Form == item.FormFile {
			out[it.Path] = nil
		}
		return nil
	}, func(item.Loss) {})
	if err != nil || calls != 1 {
		t.Fatal(calls, err)
	}
	for name := range out {
		buf := make([]byte, 4096)
		n, st, err := s.ReadSmall(name, buf)
		if err != nil || int64(n) != st.Size {
			t.Fatal(name, n, err)
		}
		file, err := s.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		pieces := make([]byte, n)
		for at := 0; at < n; at += 13 {
			if _, err := file.ReadAt(pieces[at:min(at+13, n)], int64(at)); err != nil && err != io.EOF {
				t.Fatal(err)
			}
		}
		file.Close()
		if !bytes.Equal(pieces, buf[:n]) {
			t.Errorf("%s: read in pieces it is another file", name)
		}
		out[name] = pieces
	}
	return out, told
}

func TestPlaceless(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"a.jpg": located(), "lies.txt": located(), "plain.jpg": []byte("\xff\xd8\xff\xda\x00\x02 nothing \xff\xd9"), "anim.gif": []byte("GIF89a;"),
		"a.jpg.json": []byte(`{"photoTakenTime":{"timestamp":"1600000000"},"geoData":{"latitude":48.1}}`), "a.xmp": []byte(`<rdf:Description exif:GPSLatitude="48,8N" tiff:Make="x"/>`),
		"map.json": []byte(`{"latitude":48.1}`),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, told := read(t, dir)
	for name, b := range files {
		out := got["c/"+name]
		gone := name == "a.jpg" || name == "a.jpg.json" || name == "a.xmp"
		if len(out) != len(b) || bytes.Equal(out, b) == gone {
			t.Errorf("%s: %q", name, out)
		}
		if now, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(now, b) {
			t.Errorf("%s: the source has changed: %v", name, err)
		}
	}
	if b := got["c/a.jpg"]; bytes.Contains(b, []byte(silver)) || !bytes.Contains(b, []byte("\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06")) || !bytes.HasSuffix(b, []byte(" the picture \xff\xd9")) {
		t.Errorf("%q", b)
	}
	var lines []string
	for _, c := range told {
		lines = append(lines, c.Record+" "+c.Effect.String()+" "+c.Property)
	}
	if got, want := strings.Join(lines, "; "), "c/a.jpg dropped location (EXIF); c/a.jpg.json dropped location (sidecar); c/a.xmp dropped location (XMP); c/anim.gif flagged "; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if again, _ := read(t, dir); !bytes.Equal(again["c/a.jpg"], got["c/a.jpg"]) {
		t.Error("the second time it is another file")
	}
}

// TestErrors: what the one who is told says is what Scan says, and a broken scan tells nothing.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.jpg"), located(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := folder.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	told := 0
	s := New(f, func([]item.Change) error { told++; return failed })
	defer s.Close()
	if err := s.Scan(t.Context(), func(*item.Item, source.Stat) error { return nil }, nil); err != failed || told != 1 {
		t.Error(told, err)
	}
	other := errors.New("other")
	if err := s.Scan(t.Context(), func(*item.Item, source.Stat) error { return other }, nil); err != other || told != 1 {
		t.Error(told, err)
	}
	if _, err := s.Open("nothing/there.jpg"); err == nil {
		t.Error("it is there")
	}
}
