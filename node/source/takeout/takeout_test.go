package takeout

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
)

// sink collects what a source gives.
type sink struct {
	records []item.Record
	changes []item.Change
	files   map[string][]byte
	times   map[string]time.Time
	kinds   map[string]item.Kind
	failed  []string
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

func (s *sink) File(p string, k item.Kind, modified time.Time, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.failed = append(s.failed, p+": "+err.Error())
		return nil
	}
	if _, twice := s.files[p]; twice {
		return fmt.Errorf("%s comes twice", p)
	}
	s.files[p], s.times[p], s.kinds[p] = b, modified, k
	return nil
}

func (s *sink) told(record string) string {
	var all []string
	for _, c := range s.changes {
		if c.Record == record {
			all = append(all, c.Why)
		}
	}
	return strings.Join(all, "; ")
}

func (s *sink) count(k item.Kind) (n int) {
	for _, r := range s.records {
		if r.Kind == k {
			n++
		}
	}
	return n
}

func readAll(t *testing.T, arg string) *sink {
	t.Helper()
	b, err := Open(arg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Survey(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := &sink{files: map[string][]byte{}, times: map[string]time.Time{}, kinds: map[string]item.Kind{}}
	if err := b.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func card(name string) string {
	return "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:" + name + "\r\nCATEGORIES:myContacts\r\nEND:VCARD\r\n"
}

func event(uid string) string {
	return "BEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20200101T000000Z\r\nDTSTART:20200101T100000Z\r\nSUMMARY:x\r\nEND:VEVENT\r\n"
}

func sidecar(title string, taken int64) string {
	return fmt.Sprintf(`{"title":%q,"description":"","imageViews":"1","creationTime":{"timestamp":"1700000000"},"photoTakenTime":{"timestamp":"%d","formatted":"x"},"geoData":{"latitude":52.5,"longitude":13.4}}`, title, taken)
}

const (
	jpeg     = "\xff\xd8\xff\xe0 a picture"
	longName = "PXL_20230506_070809123.PORTRAIT-01.COVER_long_name_of_file.jpg"
)

// export is what Google gives to a person whose language is German: folders have German names, but for those of programs.
var export = []map[string]string{{
	"Takeout/archive_browser.html":                                            "<html>",
	"Takeout/Kontakte/Alle Kontakte/Alle Kontakte.vcf":                        card("Anna") + card("Bob") + card("Carla"),
	"Takeout/Kontakte/Meine Kontakte/Meine Kontakte.vcf":                      card("Anna") + card("Bob"),
	"Takeout/Kontakte/Meine Kontakte/Anna.jpg":                                jpeg,
	"Takeout/Kalender/anna@example.org.ics":                                   "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n" + event("1") + event("2") + "END:VCALENDAR\r\n",
	"Takeout/Notizen/Einkauf.json":                                            `{"color":"DEFAULT","isTrashed":false,"isPinned":true,"isArchived":false,"textContent":"Milch","title":"Einkauf","userEditedTimestampUsec":1600000000000000,"createdTimestampUsec":1600000000000000}`,
	"Takeout/Notizen/Einkauf.html":                                            "<html>",
	"Takeout/Mail/Alle Nachrichten.mbox":                                      "From 1@x Mon Jan 01 00:00:00 +0000 2024\r\nSubject: x\r\n\r\nx\r\n",
	"Takeout/Google Fotos/Fotos von 2023/x.jpg":                               jpeg,
	"Takeout/Google Fotos/Fotos von 2023/x.jpg.supplemental-metadata.json":    sidecar("x.jpg", 1683356889),
	"Takeout/Google Fotos/Fotos von 2023/x(1).jpg":                            jpeg,
	"Takeout/Google Fotos/Fotos von 2023/x.jpg.supplemental-metadata(1).json": sidecar("x.jpg", 1683356890),
	"Takeout/Google Fotos/Fotos von 2023/x-bearbeitet.jpg":                    jpeg,
	"Takeout/Google Fotos/Fotos von 2023/" + longName:                         jpeg,
	"Takeout/Google Fotos/Fotos von 2023/" + longName[:46] + ".json":          sidecar(longName, 1683356891),
	"Takeout/Google Fotos/Fotos von 2023/weg.jpg.json":                        sidecar("weg.jpg", 1683356892),
	"Takeout/Google Fotos/Fotos von 2023/VID_20200102_030405.mp4":             "\x00\x00\x00\x18ftypisom a film",
	"Takeout/YouTube und YouTube Music/Verlauf/Wiedergabeverlauf.html":        "<html>",
	"Takeout/YouTube und YouTube Music/Abos/abos.csv":                         "a,b",
	"Takeout/Chrome/Bookmarks.html":                                           "<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<META HTTP-EQUIV=\"Content-Type\" CONTENT=\"text/html; charset=UTF-8\">\n<TITLE>Bookmarks</TITLE>\n<H1>Bookmarks</H1>\n<DL><p>\n<DT><A HREF=\"https://example.org/\">x</A>\n</DL><p>\n",
	"Takeout/Standortverlauf/Records.json":                                    `{"locations":[]}`,
}, {
	"Takeout/Google Fotos/Urlaub/Metadaten.json":   `{"title":"Urlaub","description":"","access":"protected","date":{"timestamp":"1683356889"}}`,
	"Takeout/Google Fotos/Urlaub/strand.heic":      "\x00\x00\x00\x18ftypheic",
	"Takeout/Google Fotos/Urlaub/strand.heic.json": sidecar("strand.heic", 1600000000),
	"Takeout/Google Fotos/Urlaub/strand.mov":       "\x00\x00\x00\x08wide",
	"Takeout/Drive/Ordner/brief.odt":               "PK",
	"Takeout/Drive/bild.jpg":                       jpeg,
}}

func archive(t *testing.T, name string, files map[string]string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		w, err := z.CreateHeader(&zip.FileHeader{Name: n, Method: zip.Deflate, Modified: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[n])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func checkExport(t *testing.T, s *sink) {
	t.Helper()
	for k, want := range map[item.Kind]int{item.Contact: 3, item.Calendar: 2, item.Note: 1, item.Bookmark: 1} {
		if got := s.count(k); got != want {
			t.Errorf("%d %vs, want %d", got, k, want)
		}
	}
	for _, r := range s.records {
		if r.Kind == item.Contact && r.Book != "Alle Kontakte" || r.Kind == item.Calendar && r.Book != "anna@example.org" {
			t.Errorf("%s is in %q", r.Label, r.Book)
		}
	}
	for p, taken := range map[string]int64{"Fotos von 2023/x.jpg": 1683356889, "Fotos von 2023/x(1).jpg": 1683356890, "Fotos von 2023/x-bearbeitet.jpg": 1683356889,
		"Fotos von 2023/" + longName: 1683356891, "Urlaub/strand.heic": 1600000000, "Urlaub/strand.mov": 1600000000,
		"Fotos von 2023/VID_20200102_030405.mp4": time.Date(2020, 1, 2, 3, 4, 5, 0, time.Local).Unix()} {
		if s.files[p] == nil || s.times[p].Unix() != taken || s.kinds[p] != item.Photo {
			t.Errorf("%s: %d bytes of %v, at %v, want %v", p, len(s.files[p]), s.kinds[p], s.times[p], time.Unix(taken, 0))
		}
	}
	for p, k := range map[string]item.Kind{"Mail/Alle Nachrichten.mbox": item.File, "Drive/Ordner/brief.odt": item.File, "Drive/bild.jpg": item.File, "Kontakte/Meine Kontakte/Anna.jpg": item.File,
		"Urlaub/Metadaten.json": item.Photo, "Fotos von 2023/x.jpg.supplemental-metadata.json": item.Photo} {
		if s.files[p] == nil || s.kinds[p] != k {
			t.Errorf("%s: %v", p, s.kinds[p])
		}
	}
	if string(s.files["Fotos von 2023/x.jpg"]) != jpeg {
		t.Error("a photo is not what it was")
	}
	for _, left := range []string{".", "YouTube und YouTube Music/Verlauf", "YouTube und YouTube Music/Abos", "Standortverlauf", "Fotos von 2023/weg.jpg.json"} {
		if s.told(left) == "" {
			t.Errorf("%s: nothing is said", left)
		}
	}
	if len(s.failed) > 0 {
		t.Errorf("failed: %v", s.failed)
	}
}

func TestArchivesOfOneExport(t *testing.T) {
	dir := t.TempDir()
	for i, files := range export {
		archive(t, filepath.Join(dir, fmt.Sprintf("takeout-20240101T000000Z-%03d.zip", i+1)), files)
	}
	archive(t, filepath.Join(dir, "takeout-20230101T000000Z-001.zip"), map[string]string{"Takeout/Drive/other.txt": "x"})
	checkExport(t, readAll(t, filepath.Join(dir, "takeout-20240101T000000Z-002.zip")))
	if s := readAll(t, dir); s.files["Drive/other.txt"] == nil {
		t.Error("a directory of archives is not all of them")
	}
}

func TestUnpacked(t *testing.T) {
	dir := t.TempDir()
	for _, files := range export {
		for name, content := range files {
			p := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "Takeout", "Drive", "link")); err != nil {
		t.Fatal(err)
	}
	s := readAll(t, dir)
	checkExport(t, s)
	if s.files["Drive/link"] != nil || s.told("Takeout/Drive/link") == "" {
		t.Error("a link was followed, or nothing is said")
	}
	checkExport(t, readAll(t, filepath.Join(dir, "Takeout")))
}

// TestFind shows that exports are found once each.
func TestFind(t *testing.T) {
	home := t.TempDir()
	down := filepath.Join(home, "Downloads")
	if err := os.MkdirAll(filepath.Join(down, "Takeout"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"takeout-20240101T000000Z-001.zip", "takeout-20240101T000000Z-002.zip", "other.zip"} {
		archive(t, filepath.Join(down, n), nil)
	}
	got := Find(home)
	if want := []string{filepath.Join(down, "Takeout"), filepath.Join(down, "takeout-20240101T000000Z-001.zip")}; !slices.Equal(got, want) {
		t.Errorf("found %q", got)
	}
}

// TestHostileNames shows that no name leads out of the export.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.zip")
	bad := []string{"../../etc/cron.d/x.jpg", "/etc/x.jpg", "Takeout/../../x.jpg", `Takeout\..\x.jpg`, "C:/x.jpg", "Takeout//x.jpg", "Takeout/./x.jpg", "Takeout/a\x00.jpg", strings.Repeat("a/", 3000) + "x.jpg"}
	files := map[string]string{"Takeout/Google Photos/a/ok.jpg": jpeg}
	for _, b := range bad {
		files[b] = jpeg
	}
	archive(t, name, files)
	s := readAll(t, name)
	if len(s.files) != 1 || s.files["a/ok.jpg"] == nil {
		t.Errorf("%d files", len(s.files))
	}
	for _, b := range bad {
		if s.told(b) == "" {
			t.Errorf("%q: nothing is said", b)
		}
	}
}

// TestBombs shows that what would grow without measure is left out, told, and costs no memory.
func TestBombs(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.zip")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "Takeout/Kontakte/a.vcf", Method: zip.Deflate, CompressedSize64: 1000, UncompressedSize64: 10 << 30})
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 1000))
	w, _ = z.Create("Takeout/Google Photos/a/x.jpg")
	io.WriteString(w, jpeg)
	z.Close()
	f.Close()
	s := readAll(t, name)
	if len(s.records) != 0 || len(s.files) != 1 || !strings.Contains(s.told("Takeout/Kontakte/a.vcf"), "grow") {
		t.Errorf("%d records, %d files, %q", len(s.records), len(s.files), s.told("Takeout/Kontakte/a.vcf"))
	}
}

// TestLies shows that a file that is longer than its header says is an error and not read on.
func TestLies(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 10_000)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "Takeout/Drive/x.bin", Method: zip.Store, CRC32: crc32.ChecksumIEEE(content), CompressedSize64: uint64(len(content)), UncompressedSize64: uint64(len(content))}
	w, err := z.CreateRaw(h)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	z.Close()
	data := b.Bytes()
	at := bytes.Index(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[at+24:], 10) // the directory says that it is small
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := readAll(t, name); len(s.files["Drive/x.bin"]) > 10 {
		t.Errorf("%d bytes were read: %v", len(s.files["Drive/x.bin"]), s.failed)
	}
}

// TestOverlap shows that an archive whose files share their bytes is refused.
func TestOverlap(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 50 {
		w, _ := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%02d.bin", i), Method: zip.Store})
		w.Write(make([]byte, 1000))
	}
	z.Close()
	data := b.Bytes()
	for at := bytes.Index(data, []byte("PK\x01\x02")); at >= 0 && at+46 < len(data) && string(data[at:at+4]) == "PK\x01\x02"; at += 46 + 6 {
		binary.LittleEndian.PutUint32(data[at+20:], uint32(len(data)))
	}
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Open(name); err == nil {
		b.Close()
		t.Error("it was opened")
	}
}

func FuzzArchive(f *testing.F) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, _ := z.Create("Takeout/Kontakte/a.vcf")
	io.WriteString(w, card("Anna"))
	w, _ = z.Create("Takeout/Google Photos/a/x.jpg")
	io.WriteString(w, jpeg)
	z.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "a.zip")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Open(name)
		if err != nil {
			return
		}
		defer b.Close()
		s := &sink{files: map[string][]byte{}, times: map[string]time.Time{}, kinds: map[string]item.Kind{}}
		if err := b.Read(context.Background(), s); err != nil && !strings.Contains(err.Error(), "zip:") {
			t.Fatal(err)
		}
		for p := range s.files {
			if strings.HasPrefix(p, "/") || !filepath.IsLocal(p) {
				t.Fatalf("%q", p)
			}
		}
	})
}
