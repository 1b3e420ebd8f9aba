package vcf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
)

// sink keeps what a source gives.
type sink struct {
	records []item.Record
	changes []item.Change
	fail    error
}

func (s *sink) Record(r item.Record) error {
	s.records = append(s.records, r)
	return s.fail
}

func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error { return s.fail }

func (s *sink) Change(c item.Change) error {
	s.changes = append(s.changes, c)
	return s.fail
}

func readAll(t *testing.T, path string) *sink {
	t.Helper()
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := &sink{}
	if err := b.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sink) bytes() (out []byte) {
	for _, r := range s.records {
		out = append(out, r.Data...)
	}
	return out
}

func TestPublicFilesStayAsTheyAre(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "vcard")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public collection is not here")
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".vcf" {
			return err
		}
		want, err := os.ReadFile(p)
		if got := readAll(t, p); !bytes.Equal(got.bytes(), want) || len(got.changes) > 0 {
			t.Errorf("%s: %d bytes became %d, %v", d.Name(), len(want), len(got.bytes()), got.changes)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLargeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vcf")
	var data bytes.Buffer
	for i := range 4000 {
		fmt.Fprintf(&data, "BEGIN:VCARD\r\nUID:%d\r\nNOTE:%s\r\nEND:VCARD\r\n", i, strings.Repeat("x", 5000))
		if i%100 == 0 {
			data.WriteString("\r\n")
		}
	}
	if err := os.WriteFile(path, data.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, path)
	if len(got.records) != 4000 || !bytes.Equal(got.bytes(), data.Bytes()) {
		t.Fatalf("%d records of %d bytes", len(got.records), len(got.bytes()))
	}
	if from := got.records[3999].From; from != "a.vcf:16037" {
		t.Errorf("the last one is said to be at %s", from)
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := b.Survey(context.Background())
	if err != nil || len(found) != 1 || found[0].Items != 4000 || found[0].Bytes != int64(data.Len()) {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestRT18CardThatIsTooLarge reads a card that never ends, and what is around it.
func TestRT18CardThatIsTooLarge(t *testing.T) {
	const small = "BEGIN:VCARD\nUID:a\nEND:VCARD\n"
	path := filepath.Join(t.TempDir(), "a.vcf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(small + "BEGIN:VCARD\nPHOTO;ENCODING=b:")
	line := []byte(strings.Repeat("QUJD", 1<<18) + "\n ")
	for range 60 {
		f.Write(line)
	}
	f.WriteString("\nEND:VCARD\n" + small)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, path)
	if len(got.records) != 2 || string(got.bytes()) != small+small {
		t.Errorf("%d records of %d bytes", len(got.records), len(got.bytes()))
	}
	if len(got.changes) != 1 || got.changes[0].Effect != item.EffectDropped {
		t.Errorf("%+v", got.changes)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"b.vcf": "BEGIN:VCARD\nUID:b\nEND:VCARD\n", "a.VCF": "BEGIN:VCARD\nUID:a\nEND:VCARD\n", "work/c.vcf": "BEGIN:VCARD\nUID:c\nEND:VCARD\n",
		".hidden.vcf": "BEGIN:VCARD\nEND:VCARD\n", "notes.txt": "hello", "work/deep/d.vcf": "BEGIN:VCARD\nEND:VCARD\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.vcf")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range readAll(t, dir).records {
		got = append(got, r.Book+" "+r.From)
	}
	if s := strings.Join(got, ", "); s != " a.VCF:1,  b.vcf:1, work work/c.vcf:1" {
		t.Error(s)
	}
}

func TestUTF16(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vcf")
	wide := []byte{0xff, 0xfe}
	for _, r := range "BEGIN:VCARD\r\nFN:Zoë\r\nEND:VCARD\r\n" {
		wide = append(wide, byte(r), byte(r>>8))
	}
	if err := os.WriteFile(path, wide, 0o600); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, path)
	if len(got.records) != 1 || got.records[0].Label != "Zoë" {
		t.Fatalf("%+v", got.records)
	}
}

func TestSinkAndContextEndIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vcf")
	if err := os.WriteFile(path, []byte("BEGIN:VCARD\nEND:VCARD\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	if err := b.Read(context.Background(), &sink{fail: stop}); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Read(ctx, &sink{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"Downloads/contacts.vcf", ".contacts/friends/a.vcf", ".local/share/khard/readme.txt"} {
		if err := os.MkdirAll(filepath.Join(home, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := Find(home)
	if len(got) != 2 || got[0] != filepath.Join(home, "Downloads/contacts.vcf") || got[1] != filepath.Join(home, ".contacts") {
		t.Error(got)
	}
}
