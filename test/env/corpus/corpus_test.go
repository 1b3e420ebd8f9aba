package corpus

import (
	"bytes"
	"compress/flate"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func make2(t *testing.T, s Spec, seedA, seedB uint64) (string, string) {
	t.Helper()
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	if _, err := Generate(a, s, seedA); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(b, s, seedB); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestSeedDecides(t *testing.T) {
	for _, s := range All {
		f := 0.002
		if s.Name == Million.Name {
			f = 0.0005
		}
		a, b := make2(t, s.Scaled(f), 1, 1)
		if err := Compare(a, b); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		a, b = make2(t, s.Scaled(f), 1, 2)
		if err := Compare(a, b); err == nil {
			t.Errorf("%s: another seed made the same", s.Name)
		}
	}
}

func TestGenerateCountsAndSizes(t *testing.T) {
	dir := t.TempDir()
	s := Spec{"test", []Part{{"texts", ".txt", 450, 200, 300, 8 << 10, Text}, {"half", ".doc", 3, 2, 100 << 10, 500 << 10, Half}, {"photos", ".jpg", 2, 5, 1 << 20, 2 << 20, JPEG}}}
	want, err := Generate(dir, s, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	ratio := map[string]float64{}
	for _, p := range s.Parts {
		names, err := filepath.Glob(filepath.Join(dir, p.Dir, "*", "*"+p.Ext))
		if err != nil || len(names) != p.Count {
			t.Fatalf("%s: %d files, want %d: %v", p.Dir, len(names), p.Count, err)
		}
		var all []byte
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(b)) < p.Min || int64(len(b)) > p.Max {
				t.Errorf("%s has %d bytes", n, len(b))
			}
			got += int64(len(b))
			all = append(all, b...)
		}
		ratio[p.Dir] = compressed(t, all)
	}
	if got != want {
		t.Errorf("%d bytes on disk, %d reported", got, want)
	}
	if ratio["texts"] > 0.6 || ratio["half"] < 0.6 || ratio["half"] > 0.9 || ratio["photos"] < 0.99 {
		t.Errorf("compressibility %v", ratio)
	}
}

func compressed(t *testing.T, b []byte) float64 {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return float64(out.Len()) / float64(len(b))
}

func TestCompareFindsEachDifference(t *testing.T) {
	s := Spec{"test", []Part{{"d", ".txt", 4, 2, 5000, 5000, Text}}}
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"missing":    {func(d string) error { return os.Remove(filepath.Join(d, "d/0000/f0000001.txt")) }, "missing"},
		"additional": {func(d string) error { return os.WriteFile(filepath.Join(d, "new"), nil, 0o600) }, "not in the original"},
		"link":       {func(d string) error { return os.Symlink("/", filepath.Join(d, "link")) }, "not in the original"},
		"permission": {func(d string) error { return os.Chmod(filepath.Join(d, "d/0001/f0000002.txt"), 0o600) }, "permissions"},
		"directory":  {func(d string) error { return os.Chmod(filepath.Join(d, "d/0001"), 0o700) }, "permissions"},
		"time": {func(d string) error {
			return os.Chtimes(filepath.Join(d, "d/0001/f0000002.txt"), time.Time{}, time.Unix(1, 1))
		}, "changed at"},
		"shorter": {func(d string) error { return os.Truncate(filepath.Join(d, "d/0001/f0000002.txt"), 4999) }, "has 4999 bytes"},
		"a bit":   {func(d string) error { return flip(filepath.Join(d, "d/0001/f0000002.txt"), 4321) }, "differs from byte 4321"},
		"another type": {func(d string) error {
			p := filepath.Join(d, "d/0001/f0000002.txt")
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o755))
		}, "is d"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := make2(t, s, 1, 1)
			if err := c.change(b); err != nil {
				t.Fatal(err)
			}
			err := Compare(a, b)
			var d *Difference
			if !errors.As(err, &d) || d.Count == 0 || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestComparePassesOverLinksOfTheOriginal(t *testing.T) {
	a, b := make2(t, Spec{"test", []Part{{"d", ".txt", 1, 1, 5, 5, Text}}}, 1, 1)
	if err := os.Symlink("x", filepath.Join(a, "link")); err != nil {
		t.Skip("no symbolic links here")
	}
	if err := Compare(a, b); err != nil {
		t.Fatal(err)
	}
}

// flip changes a bit and keeps the time.
func flip(name string, at int64) error {
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	b[at] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		return err
	}
	return os.Chtimes(name, fi.ModTime(), fi.ModTime())
}
