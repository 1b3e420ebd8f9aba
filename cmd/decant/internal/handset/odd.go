package handset

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// oddNames break programs that paste names into commands, terminals, other alphabets or
// other file systems. After the big list of naughty strings (Max Woolf, MIT licence).
var oddNames = []string{
	"-rf", "--help", "~backup~", "....", "...hidden", ".nomedia", "%2e%2e%2fetc", "$(touch pwned).txt", "`id`.txt", "; rm -rf x.txt", "a'b\"c.txt",
	"name.", "name ", " name", "CON.txt", "aux", "nul.tar.gz", "COM1", "file:stream", "what?.txt", "star*.txt", "pipe|.txt", "<script>alert(1)<", "#hash %percent &and.txt",
	"🎉 party 🎉.txt", "👩‍👩‍👧‍👦 family.txt", "שלום עולם.txt", "مرحبا.txt", "rtl \u202egpj.exe", "zero\u200bwidth.txt", "bom\ufeff.txt", "caf\u00e9.txt", "cafe\u0301.txt",
	"ﬁ ligature.txt", "İstanbul ı.txt", "ﾃﾞｰﾀﾍﾞｰｽ.txt", "田中さんにあげて下さい.txt", "Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮.txt", "Readme", "README", "readme", "latin1-\xe9.txt", "nul_byte_%00.txt",
	"desktop.ini", ".DS_Store", ".bashrc", "autorun.inf", "1;DROP TABLE items", "null", "undefined", "NaN", "٠١٢٣.txt", "ÅÍÎÏ˝ÓÔ\uf8ffÒÚÆ☃.txt",
}

// unrepresentable reports whether a file system may refuse the name.
func unrepresentable(path string) bool { return strings.HasPrefix(path, odd+"names/") }

const odd = "Odd/"

// oddFiles returns the files with odd names, times, permissions and sizes.
func oddFiles(o Options) []file {
	var files []file
	add := func(path string, perm fs.FileMode, t time.Time, size int) {
		files = append(files, file{odd + path, perm, t, func(r *rand.Rand) []byte {
			b := make([]byte, size)
			fill(r, b)
			return b
		}})
	}
	for i, n := range oddNames {
		add("names/"+n, 0o644, moment(generator(o, "odd", i)), 100+i)
	}
	add("names/"+strings.Repeat("long", 62)+".txt", 0o644, moment(generator(o, "long", 0)), 12)
	add("deep/"+strings.Repeat("down/", 40)+"bottom.txt", 0o644, moment(generator(o, "deep", 0)), 12)
	for _, f := range []struct {
		name string
		at   time.Time
	}{
		{"1901", time.Date(1901, 12, 14, 0, 0, 0, 0, time.UTC)}, {"1969", time.Unix(-1, 0)}, {"1970", time.Unix(0, 0)},
		{"nanosecond", time.Date(2020, 2, 29, 23, 59, 59, 999_999_999, time.UTC)}, {"2038", time.Unix(1<<31, 0)}, {"2106", time.Unix(1<<32, 1)},
	} {
		add("times/"+f.name, 0o644, f.at, 4)
	}
	for _, f := range []struct {
		name string
		perm fs.FileMode
	}{{"read only", 0o400}, {"for all", 0o777}, {"executable", 0o755}, {"group", 0o640}} {
		add("permissions/"+f.name, f.perm, moment(generator(o, f.name, 0)), 8)
	}
	for _, n := range []string{"empty", "empty.jpg", "empty.vcf", "empty.ics"} {
		add("empty/"+n, 0o644, moment(generator(o, n, 0)), 0)
	}
	add("sizes/one byte", 0o644, moment(generator(o, "one", 0)), 1)
	add("sizes/a mebibyte", 0o644, moment(generator(o, "mebibyte", 0)), 1<<20)
	add("sizes/a mebibyte and one", 0o644, moment(generator(o, "more", 0)), 1<<20+1)
	add("links/first name", 0o644, moment(generator(o, "link", 0)), 3000)
	add("liar.jpg", 0o644, moment(generator(o, "liar", 0)), 5000)
	return files
}

// oddities makes what is more than a file with content: a sparse file, a hard link, a
// symbolic link, empty directories.
func oddities(root *os.Root) error {
	for _, d := range []string{odd + "empty/directory", odd + "empty/closed"} {
		if err := root.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := sparse(root, odd+"sizes/sparse.img"); err != nil {
		return err
	}
	if err := root.Link(odd+"links/first name", odd+"links/second name"); err != nil && !refused(err) {
		return err
	}
	if err := root.Symlink("first name", odd+"links/symbolic"); err != nil && !refused(err) {
		return err
	}
	return root.Chmod(odd+"empty/closed", 0o500)
}

// refused reports whether the file system or the system's policy does not do such a thing.
func refused(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission)
}

// sparse makes a file of 3 MiB that takes up two blocks.
func sparse(root *os.Root, name string) error {
	f, err := root.Create(name)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt([]byte("begin"), 0); err == nil {
		_, err = f.WriteAt([]byte("middle"), 1<<20)
	}
	if err == nil {
		err = f.Truncate(3 << 20)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	t := time.Date(2021, 1, 2, 3, 4, 5, 6000, time.UTC)
	return root.Chtimes(name, t, t)
}
