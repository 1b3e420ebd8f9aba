package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/xattr"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

func TestMain(m *testing.M) { env.Main(m) }

// awkward are names that a file system holds and a careless program trips over.
var awkward = []string{
	"-rf", "--json", " leading", "trailing ", "trailing.", "two  spaces", "$(touch x);`y`", "quote\"'", "percent%2e%2e%2f", "~",
	"CON", "nul.txt", "a:b", "back\\slash", "é-nfc", "é-nfd", "\u202egnp.exe", "zero\u200bwidth", "😀", "ﬁ", "İı", "A.txt", "a.txt",
	".hidden", "..more", "...", strings.Repeat("n", 255), "deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/x",
}

// collection makes a small collection of every sort in Dir/name, with the canaries, if any, in names and contents alike.
func collection(t *testing.T, w *env.World, name string, canaries *env.Canaries) string {
	t.Helper()
	return collectionIn(t, w.Path(name), canaries)
}

func collectionIn(t *testing.T, root string, canaries *env.Canaries) string {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 1))
	n := 0
	word := func() string {
		if canaries == nil {
			return fmt.Sprintf("word%012d", r.Uint32())
		}
		n++
		return canaries.Words[n%len(canaries.Words)]
	}
	files := map[string]string{
		"empty":                              "",
		"empty-dir/":                         "",
		"contacts.vcf":                       vcard("1", word(), word()) + vcard("2", word(), word()) + vcard("3", word(), word()),
		"calendar.ics":                       ics("1", word(), word()),
		"big.bin":                            noise(r, 1<<20+3) + word() + noise(r, 1<<20),
		"text.txt":                           strings.Repeat("the same again and again\n", 5000) + word(),
		"photos/1.jpg":                       picture(t, r, word()),
		"photos/2.JPG":                       picture(t, r, word()),
		word() + ".txt":                      word(),
		word() + "/" + word() + "/" + word(): word(),
	}
	for i, path := range awkward {
		files["awkward/"+path] = fmt.Sprintf("%d %s", i, word())
	}
	for i := range 300 {
		files[fmt.Sprintf("many/%02d/%s-%d", i%7, word(), i)] = word() + noise(r, r.IntN(2000))
	}
	for path, content := range files {
		put(t, filepath.Join(root, path)+path[len(strings.TrimSuffix(path, "/")):], content)
	}
	adorn(t, root, word())
	return root
}

// put writes a file and the directories above it; a path that ends with a slash is a directory.
func put(t *testing.T, path, content string) {
	t.Helper()
	if strings.HasSuffix(path, "/") {
		must(t, os.MkdirAll(path, 0o755))
		return
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// adorn gives files times, permissions and attributes that are worth keeping.
func adorn(t *testing.T, root, word string) {
	t.Helper()
	for path, perm := range map[string]os.FileMode{"big.bin": 0o400, "text.txt": 0o755, "photos": 0o700, "contacts.vcf": 0o640} {
		must(t, os.Chmod(filepath.Join(root, path), perm))
	}
	at := time.Date(2019, 2, 3, 4, 5, 6, 789_012_345, time.UTC)
	for _, path := range []string{"text.txt", "photos/1.jpg", "many/03", "empty-dir", "photos"} {
		must(t, os.Chtimes(filepath.Join(root, path), at, at))
	}
	must(t, os.Chtimes(filepath.Join(root, "empty"), at, time.Unix(-86400, 1)))
	if err := xattr.Set(filepath.Join(root, "text.txt"), "user.note", []byte(word)); err != nil && !errors.Is(err, syscall.ENOTSUP) {
		t.Fatal(err)
	}
}

func vcard(uid, name, note string) string {
	return "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:" + uid + "\r\nFN:" + name + "\r\nN:" + name + ";;;;\r\nX-NOTE:" + note + "\r\nEND:VCARD\r\n"
}

func ics(uid, title, note string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20240101T000000Z\r\nDTSTART:20240102T000000Z\r\nSUMMARY:" +
		title + "\r\nDESCRIPTION:" + note + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

func noise(r *rand.Rand, n int) string {
	b := make([]byte, (n+7)/8*8)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return string(b[:n])
}

// picture is a JPEG whose EXIF description is text.
func picture(t *testing.T, r *rand.Rand, text string) string {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 96, 64))
	for i := range img.Pix {
		img.Set(i%96, i/96, color.Gray{uint8(r.Uint32())})
	}
	var buf bytes.Buffer
	must(t, jpeg.Encode(&buf, img, nil))
	// One directory with ImageDescription (0x010e, ASCII), behind which the text lies.
	tiff := binary.BigEndian.AppendUint16([]byte("MM\x00*\x00\x00\x00\x08"), 1)
	tiff = append(tiff, 0x01, 0x0e, 0, 2)
	tiff = binary.BigEndian.AppendUint32(tiff, uint32(len(text)+1))
	tiff = binary.BigEndian.AppendUint32(tiff, uint32(len(tiff)+8))
	tiff = append(append(tiff, 0, 0, 0, 0), text+"\x00"...)
	app1 := append([]byte("Exif\x00\x00"), tiff...)
	out := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(len(app1)+2))
	return string(out) + string(app1) + buf.String()[2:]
}

// same fails the test unless the two trees are the same by names, bytes, times and permissions.
func same(t *testing.T, want, got string) {
	t.Helper()
	if err := corpus.Compare(want, got); err != nil {
		t.Errorf("%s and %s differ: %v", filepath.Base(want), filepath.Base(got), err)
	}
}

// copyTree copies a tree with its times and permissions, to compare with later.
func copyTree(t *testing.T, from, to string) string {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
	var dirs []string
	must(t, filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			dirs = append(dirs, rel)
			return nil
		}
		return imitate(filepath.Join(to, rel), info)
	}))
	for i := len(dirs) - 1; i >= 0; i-- {
		info, err := os.Stat(filepath.Join(from, dirs[i]))
		must(t, err)
		must(t, imitate(filepath.Join(to, dirs[i]), info))
	}
	return to
}

func imitate(path string, info os.FileInfo) error {
	return errors.Join(os.Chmod(path, info.Mode().Perm()), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
