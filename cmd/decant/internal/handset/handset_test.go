package handset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/photo"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/folder"
)

func generate(t testing.TB, o Options) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "handset")
	if err := Generate(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fingerprint describes a tree by names, permissions, times and content.
func fingerprint(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		s := fi.Mode().String()
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %v %x", fi.ModTime().UnixNano(), sha256.Sum256(b))
		}
		rel, err := filepath.Rel(dir, p)
		all[rel] = s
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSeedDecides(t *testing.T) {
	one, two := fingerprint(t, generate(t, Options{Seed: 1, Scale: 0.01})), fingerprint(t, generate(t, Options{Seed: 1, Scale: 0.01}))
	for p, s := range one {
		if two[p] != s {
			t.Errorf("%q: %s, then %s", p, s, two[p])
		}
	}
	if len(one) != len(two) {
		t.Errorf("%d files, then %d", len(one), len(two))
	}
	other := fingerprint(t, generate(t, Options{Seed: 2, Scale: 0.01}))
	if p := "Contacts/contacts.vcf"; other[p] == one[p] {
		t.Errorf("%s does not depend on the seed", p)
	}
}

func TestNoTwoFilesAreTheSame(t *testing.T) {
	met := map[[32]byte]string{}
	dir := generate(t, Options{Scale: 0.05})
	err := filepath.WalkDir(filepath.Join(dir, "DCIM"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		sum := sha256.Sum256(b)
		if met[sum] != "" {
			t.Errorf("%s and %s are the same", p, met[sum])
		}
		met[sum] = p
		return err
	})
	if err != nil || len(met) < 5 {
		t.Fatal(len(met), err)
	}
}

func TestRefusesFullDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Generate(dir, Options{Scale: 0.01}); err == nil {
		t.Fatal("wrote into a directory that is not empty")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("%d entries left behind", len(left))
	}
}

func TestRecords(t *testing.T) {
	dir := generate(t, Options{Scale: 0.01})
	for name, want := range map[string]int{
		"Contacts/contacts.vcf": 120, "Contacts/work.vcf": 80, "Contacts/family and friends.vcf": 60,
		"Calendar/personal.ics": 90, "Calendar/work.ics": 60, "Calendar/tasks.ics": 40,
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		records := kind.Records(kind.Of(name), b)
		if len(records) != want {
			t.Errorf("%s: %d records, want %d", name, len(records), want)
		}
		for _, r := range records {
			if r.Problem != "" {
				t.Errorf("%s: a record %s", name, r.Problem)
			}
		}
		for line := range bytes.SplitSeq(b, []byte("\r\n")) {
			if len(line) > 76 && bytes.HasPrefix(b, []byte("BEGIN:VCALENDAR")) {
				t.Errorf("%s: a line of %d bytes", name, len(line))
			}
		}
	}
}

// TestExif compares what photo.TakenAt reads, and what exiftool reads, if it is here, with
// what was written.
func TestExif(t *testing.T) {
	dir := filepath.Join(generate(t, Options{Seed: 7, Scale: 0.03}), "DCIM", "Camera")
	names, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	taken := map[string]string{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		taken[n] = photo.TakenAt(b)
		if len(taken[n]) != len("2006-01-02T15:04:05+00:00") {
			t.Errorf("%s: taken at %q", n, taken[n])
		}
		if kind.Of(n) != item.Photo || !photo.Is(n, b) {
			t.Errorf("%s is no photo", n)
		}
	}
	tool, err := exec.LookPath("exiftool")
	if err != nil {
		t.Skip("exiftool is not installed: only our own reader was asked")
	}
	out, err := exec.Command(tool, append([]string{"-json", "-validate", "-warning", "-error", "-d", "%Y-%m-%dT%H:%M:%S", "-EXIF:DateTimeOriginal", "-EXIF:OffsetTimeOriginal",
		"-EXIF:Make", "-EXIF:Model", "-GPSPosition", "-c", "%.5f"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		name, _ := p["SourceFile"].(string)
		if got := fmt.Sprint(p["DateTimeOriginal"], p["OffsetTimeOriginal"]); got != taken[name] {
			t.Errorf("%s: exiftool says %s, photo.TakenAt %s", name, got, taken[name])
		}
		if p["Make"] != "Decant" || p["GPSPosition"] == nil || p["Warning"] != nil || p["Error"] != nil {
			t.Errorf("%s: exiftool reads %v", name, p)
		}
	}
}

// TestLosses pins what the demo has to report: a link of each sort, and no more.
func TestLosses(t *testing.T) {
	f, err := folder.New([]string{generate(t, Options{Scale: 0.01})})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lost, records := map[string]item.Reason{}, 0
	err = f.Scan(context.Background(), func(it *item.Item, _ source.Stat) error {
		if it.Form == item.FormRecord {
			records++
		}
		return nil
	}, func(l item.Loss) { lost[l.Path] = l.Reason })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]item.Reason{"handset/Odd/links/second name": item.ReasonHardLink, "handset/Odd/links/symbolic": item.ReasonSymlink}
	if runtime.GOOS == "linux" && !maps.Equal(lost, want) {
		t.Errorf("lost %v, want %v", lost, want)
	}
	if records != 120+80+60+90+60+40 {
		t.Errorf("%d records", records)
	}
}

func BenchmarkGenerate(b *testing.B) {
	for b.Loop() {
		dir, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		if err := Generate(dir, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
