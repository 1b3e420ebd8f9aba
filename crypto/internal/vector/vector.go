// Package vector reads and writes the test vectors below crypto/*/testdata, the
// executable part of docs/SPEC.md sections 2, 3.4, 5 and 6. Only tests import it.
//
// One file holds one case of one class of success or failure:
//
//	# what the case shows
//	expect: ok
//	name: value
//
//	base64 of the bytes under test
//
// Values are hexadecimal unless the name ends in "-size", "-text" or is "expect".
package vector

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// File is one case.
type File struct {
	Name    string // without ".txt"
	Comment string
	Expect  string // "ok", or the failure
	Fields  []Field
	Body    []byte // the bytes under test, if any
}

// Field is one named value.
type Field struct{ Name, Value string }

// Hex makes a field of bytes.
func Hex(name string, b []byte) Field { return Field{name, hex.EncodeToString(b)} }

// Num makes a field of a number.
func Num(name string, n int) Field { return Field{name, strconv.Itoa(n)} }

// Text returns a field as it stands; the test fails if there is none.
func (f File) Text(t testing.TB, name string) string {
	t.Helper()
	for _, x := range f.Fields {
		if x.Name == name {
			return x.Value
		}
	}
	t.Fatalf("%s: no field %q", f.Name, name)
	return ""
}

// Bytes returns a field of bytes.
func (f File) Bytes(t testing.TB, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(f.Text(t, name))
	if err != nil {
		t.Fatalf("%s: %s: %v", f.Name, name, err)
	}
	return b
}

// Num returns a field that is a number.
func (f File) Num(t testing.TB, name string) int {
	t.Helper()
	n, err := strconv.Atoi(f.Text(t, name))
	if err != nil {
		t.Fatalf("%s: %s: %v", f.Name, name, err)
	}
	return n
}

// Read returns all cases in a folder, by name.
func Read(t testing.TB, dir string) []File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	var out []File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.Name = strings.TrimSuffix(filepath.Base(name), ".txt")
		out = append(out, f)
	}
	return out
}

// Current compares a folder with what the generator gives now, or, with update, writes it.
func Current(t testing.TB, dir string, files []File, update bool) {
	t.Helper()
	if update {
		write(t, dir, files)
	}
	want := map[string]bool{}
	for _, f := range files {
		want[f.Name] = true
		got, err := os.ReadFile(filepath.Join(dir, f.Name+".txt"))
		if err != nil || !bytes.Equal(got, f.format()) {
			t.Errorf("%s differs from what its generator makes (go test -update writes it again): %v", f.Name, err)
		}
	}
	for _, f := range Read(t, dir) {
		if !want[f.Name] {
			t.Errorf("%s has no generator", f.Name)
		}
	}
}

func write(t testing.TB, dir string, files []File) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name+".txt"), f.format(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (f File) format() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\nexpect: %s\n", f.Comment, f.Expect)
	for _, x := range f.Fields {
		fmt.Fprintf(&b, "%s: %s\n", x.Name, x.Value)
	}
	text := base64.StdEncoding.EncodeToString(f.Body)
	if text != "" {
		b.WriteByte('\n')
	}
	for text != "" {
		n := min(100, len(text))
		fmt.Fprintln(&b, text[:n])
		text = text[n:]
	}
	return b.Bytes()
}

func parse(text string) (f File, err error) {
	head, body, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(head) {
		line = strings.TrimSuffix(line, "\n")
		if c, ok := strings.CutPrefix(line, "# "); ok {
			f.Comment = c
			continue
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			name, ok = strings.CutSuffix(line, ":") // an empty value whose blank an editor took away
		}
		if !ok {
			return f, fmt.Errorf("malformed line %q", line)
		}
		if name == "expect" {
			f.Expect = value
			continue
		}
		f.Fields = append(f.Fields, Field{name, value})
	}
	f.Body, err = base64.StdEncoding.DecodeString(body)
	return f, err
}
