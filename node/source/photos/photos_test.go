package photos

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
)

type sink struct {
	files   map[string][]byte
	times   map[string]time.Time
	order   []string
	changes []item.Change
}

func (s *sink) Record(item.Record) error   { return fmt.Errorf("photos are no records") }
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

func (s *sink) File(p string, k item.Kind, modified time.Time, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	if k != item.Photo {
		return fmt.Errorf("%s is a %v", p, k)
	}
	s.files[p], err = io.ReadAll(r)
	s.times[p], s.order = modified, append(s.order, p)
	return err
}

func (s *sink) told(record string) string {
	for _, c := range s.changes {
		if c.Record == record {
			return c.Why
		}
	}
	return ""
}

func box(name string, content ...[]byte) []byte {
	c := slices.Concat(content...)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(c))), name...), c...)
}

// half is a film that says that it belongs to a Live Photo.
func half(id string) []byte {
	keys := append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, box("mdta", []byte("com.apple.quicktime.content.identifier"))...)
	list := box("\x00\x00\x00\x01", box("data", []byte{0, 0, 0, 1, 0, 0, 0, 0}, []byte(id)))
	return slices.Concat(box("ftyp", []byte("qt  \x00\x00\x00\x00qt  ")), box("mdat", make([]byte, 1000)), box("moov", box("meta", box("hdlr", make([]byte, 24)), box("keys", keys), box("ilst", list))))
}

// TestRead shows that each photo comes as it is, with its own time or its sidecar's, and that all else is told.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	own := time.Date(2019, 8, 7, 6, 5, 4, 123456789, time.UTC)
	const jpeg = "\xff\xd8\xff\xe0 x"
	files := map[string]string{"DCIM/Camera/a.jpg": jpeg, "DCIM/Camera/b.jpg": jpeg, "DCIM/Camera/b.jpg.json": `{"title":"b.jpg","photoTakenTime":{"timestamp":"1600000000"}}`,
		"Urlaub/ä ö.HEIC": "\x00\x00\x00\x18ftypheic", "lies.jpg": "PK\x03\x04 no picture", "notes.txt": "x", ".thumbnails/t.jpg": jpeg, "IMG_1.MOV": string(half("LIVE"))}
	for p, content := range files {
		p = filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, own, own); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	found, err := b.Survey(context.Background())
	if err != nil || len(found) != 1 || found[0].Items != 5 || !found[0].Can {
		t.Errorf("%+v %v", found, err)
	}
	s := &sink{files: map[string][]byte{}, times: map[string]time.Time{}}
	if err := b.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	for p, content := range files {
		if p == "notes.txt" || strings.HasPrefix(p, ".") {
			continue
		}
		want := own
		if p == "DCIM/Camera/b.jpg" {
			want = time.Unix(1600000000, 0)
		}
		if !bytes.Equal(s.files[p], []byte(content)) || !s.times[p].Equal(want) {
			t.Errorf("%s: %d bytes at %v, want %v", p, len(s.files[p]), s.times[p], want)
		}
	}
	if len(s.files) != 6 {
		t.Errorf("%d files: %v", len(s.files), s.order)
	}
	for _, p := range []string{"lies.jpg", "notes.txt", ".thumbnails", "link", "IMG_1.MOV"} {
		if s.told(p) == "" {
			t.Errorf("%s: nothing is said", p)
		}
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "Bilder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(home, ".config"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".config", "user-dirs.dirs"), []byte("# x\nXDG_PICTURES_DIR=\"$HOME/Bilder\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Find(home); !slices.Contains(got, filepath.Join(home, "Bilder")) {
		t.Errorf("found %q", got)
	}
}
