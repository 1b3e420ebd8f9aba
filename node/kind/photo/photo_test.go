package photo

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/test/env"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTakenAt(t *testing.T) {
	for name, want := range map[string]string{
		"simple.jpg": "2002-11-16T15:27:01", "mushroom.jpg": "2024-09-29T10:37:52+01:00",
		"2004-01-11-22-45-15-sep-2004-01-11-22-45-15a.jpg": "2004-01-11T22:45:15", "infinite_loop_exif.jpg": "",
	} {
		if got := TakenAt(read(t, name)); got != want {
			t.Errorf("%s: taken at %q, want %q", name, got, want)
		}
	}
	for _, none := range []string{"", "\xff\xd8\xff", "hello", "II*\x00", "\x89PNG\r\n\x1a\n", "\x00\x00\x00\x18ftypheic", "RIFF\x00\x00\x00\x00WEBP"} {
		if got := TakenAt([]byte(none)); got != "" {
			t.Errorf("%q: taken at %q", none, got)
		}
	}
}

func TestRFC3339(t *testing.T) {
	for _, c := range []struct{ original, offset, want string }{
		{"2024:02:29 23:59:59", "+05:30", "2024-02-29T23:59:59+05:30"},
		{"2024:02:29 23:59:59", "-08:00", "2024-02-29T23:59:59-08:00"},
		{"2024:02:29 23:59:59", "Z", "2024-02-29T23:59:59+00:00"},
		{"2024:02:29 23:59:59", "", "2024-02-29T23:59:59"},
		{"2024:02:29 23:59:59", "   :  ", "2024-02-29T23:59:59"},
		{"2024:02:29 23:59:59", "+25:00", "2024-02-29T23:59:59"},
		{"2023:02:29 23:59:59", "+01:00", ""},
		{"0000:00:00 00:00:00", "", ""},
		{"    :  :     :  :  ", "", ""},
		{"2024-02-29T23:59:59", "", ""},
		{"2024:02:29 23:59:59 ", "", ""},
		{"0001:01:01 00:00:00", "", ""},
	} {
		if got := rfc3339(c.original, c.offset); got != c.want {
			t.Errorf("%q %q: got %q, want %q", c.original, c.offset, got, c.want)
		}
	}
}

func TestIs(t *testing.T) {
	jpeg := read(t, "simple.jpg")[:64]
	for _, c := range []struct {
		path string
		head []byte
		want bool
	}{
		{"a.jpg", nil, true}, {"a.jpg", jpeg, true}, {"a.png", jpeg, true}, {"a.txt", jpeg, false}, {"a.jpg", []byte("hello, I am a text"), false},
		{"a.jpg", []byte("PK\x03\x04"), false}, {"a.mp4", []byte("\x00\x00\x00\x18ftypisom"), true}, {"a.heic", []byte("\x00\x00\x00\x18ftypheic"), true},
		{"a.mkv", []byte("\x1a\x45\xdf\xa3"), true}, {"a.gif", []byte("GIF89a"), true}, {"a.mov", []byte("\x00\x00\x00\x08moov"), true},
	} {
		if got := Is(c.path, c.head); got != c.want {
			t.Errorf("%s %q: %v", c.path, c.head, got)
		}
	}
}

// corpus calls f for each photo of testdata, of the public collection, and of the library that reads EXIF, where they are here.
func corpus(t testing.TB, f func(path string, head []byte)) {
	t.Helper()
	dirs := []string{"testdata", filepath.Join("..", "..", "..", "..", "shared", "fixtures", "exif")}
	if out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta").Output(); err == nil {
		dirs = append(dirs, filepath.Join(strings.TrimSpace(string(out)), "testdata", "images"))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err != nil {
			t.Logf("%s is not here", dir)
			continue
		}
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !Is(p, nil) && !strings.HasPrefix(d.Name(), "sample.") {
				return err
			}
			b, err := os.ReadFile(p)
			f(p, b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// theirs is what exiftool says of one file.
type theirs struct {
	SourceFile         string
	DateTimeOriginal   string
	OffsetTimeOriginal string
	CreationDate       string
	CreateDate         string
}

// exiftool reads files with exiftool.
func exiftool(t *testing.T, names []string) (all []theirs) {
	t.Helper()
	tool := env.Program(t, "exiftool")
	out, err := exec.Command(tool, append([]string{"-json", "-DateTimeOriginal", "-OffsetTimeOriginal", "-CreationDate", "-QuickTime:CreateDate"}, names...)...).Output()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &all); err != nil || len(all) != len(names) {
		t.Fatal(len(all), len(names), err)
	}
	return all
}

// exifForm is how exiftool writes a time: with a fraction of the second and a zone, or without.
var exifForm = regexp.MustCompile(`^(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)?([+-]\d\d:\d\d|Z)?$`)

// rfc turns exiftool's time into ours.
func rfc(s, zone string) string {
	m := exifForm.FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	return m[1] + "-" + m[2] + "-" + m[3] + "T" + m[4] + m[5] + zone
}

// TestAgainstExiftool shows that a time is never wrong: what exiftool reads as the time
// is what TakenAt and Read say, or they say nothing. Files that are cut off behind their EXIF
// data, which exiftool does not read, say in their names what they hold.
func TestAgainstExiftool(t *testing.T) {
	ours := map[string]string{}
	var names []string
	corpus(t, func(p string, b []byte) {
		i := Read(p, bytes.NewReader(b), int64(len(b)))
		ours[p] = i.TakenAt
		if at := TakenAt(b); at != "" && at != i.TakenAt {
			t.Errorf("%s: its beginning says %s, all of it %s", p, at, i.TakenAt)
		}
		names = append(names, p)
	})
	equal, nothing, wrong, unknown := 0, 0, 0, 0
	public := map[bool]int{} // of the public collection: whether they are equal
	for _, it := range exiftool(t, names) {
		got, want := ours[it.SourceFile], rfc(it.DateTimeOriginal, it.OffsetTimeOriginal)
		base := filepath.Base(it.SourceFile)
		if named, err := time.Parse("2006-01-02-15-04-05", base[:min(len(base), 19)]); err == nil && want == "" {
			want = named.Format("2006-01-02T15:04:05")
		}
		if want != "" && strings.Contains(it.SourceFile, "fixtures") {
			public[got == want]++
		}
		switch {
		case got == want && got == "":
			nothing++
		case got == want:
			equal++
		case got == "":
			unknown++
			t.Logf("%s: not known, exiftool says %q", it.SourceFile, want)
		default:
			wrong++
			t.Errorf("%s: taken at %q, exiftool says %q", it.SourceFile, got, want)
		}
	}
	t.Logf("of %d files with a time: %d equal to exiftool (%.1f %%), %d unknown, %d wrong; %d files have none", equal+unknown+wrong, equal, 100*float64(equal)/float64(equal+unknown+wrong), unknown, wrong, nothing)
	t.Logf("of these, in the public collection: %d equal, %d not", public[true], public[false])
	if unknown*100 > (equal+unknown)*3 {
		t.Errorf("%d times known, %d not", equal, unknown)
	}
}

// TestRT20Bounded shows that no photo, whole, cut off or damaged anywhere in its
// first bytes, keeps TakenAt busy or makes it say what is no time.
func TestRT20Bounded(t *testing.T) {
	corpus(t, func(p string, b []byte) {
		b = b[:min(len(b), HeadSize)]
		variants := [][]byte{b}
		for _, at := range []int{3, 20, 40, 100, 200, 500, 1000} {
			if at < len(b) {
				damaged := bytes.Clone(b)
				damaged[at] ^= 0xff
				variants = append(variants, b[:at], damaged)
			}
		}
		for i, v := range variants {
			start := time.Now()
			got := TakenAt(v)
			if took := time.Since(start); took > time.Minute {
				t.Errorf("%s, variant %d: %v", p, i, took)
			}
			checkTime(t, got)
		}
	})
}

func checkTime(t *testing.T, got string) {
	t.Helper()
	if got == "" {
		return
	}
	if _, err := time.Parse("2006-01-02T15:04:05-07:00", got); err == nil {
		return
	}
	if _, err := time.Parse("2006-01-02T15:04:05", got); err != nil {
		t.Errorf("%q is no time", got)
	}
}

func FuzzTakenAt(f *testing.F) {
	for _, n := range []string{"simple.jpg", "infinite_loop_exif.jpg", "2004-01-11-22-45-15-sep-2004-01-11-22-45-15a.jpg"} {
		f.Add(read(f, n)[:2000])
	}
	f.Add([]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"))
	f.Add([]byte("RIFF\x10\x00\x00\x00WEBPEXIF\x04\x00\x00\x00II*\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		start := time.Now()
		checkTime(t, TakenAt(b))
		if took := time.Since(start); took > time.Minute {
			t.Fatalf("took %v", took)
		}
	})
}

func BenchmarkTakenAt(b *testing.B) {
	data := read(b, "mushroom.jpg")
	b.ReportAllocs()
	for b.Loop() {
		TakenAt(data)
	}
}
