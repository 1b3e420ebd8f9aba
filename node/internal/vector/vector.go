// Package vector reads and writes the test vectors below node/*/testdata, the
// executable part of docs/SPEC.md sections 3 and 4, in the form that crypto's have.
// Only tests import it.
//
// One file holds one case of one class of success or failure:
//
//	# what the case shows
//	expect: ok
//	name: value
//
//	base64 of the bytes under test
package vector

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// File is one case.
type File struct {
	Name    string // without ".txt"
	Comment string
	Expect  string // "ok", or the class of failure
	Fields  []Field
	Body    []byte // the bytes under test
}

// Field is one named value: hexadecimal, or as its name says a -size or -text.
type Field struct{ Name, Value string }

// Get returns a field; the test fails if there is none.
func (f File) Get(t testing.TB, name string) string {
	t.Helper()
	for _, x := range f.Fields {
		if x.Name == name {
			return x.Value
		}
	}
	t.Fatalf("%s: no field %q", f.Name, name)
	return ""
}

// Read returns all cases in a folder, by name.
func Read(t testing.TB, dir string) (files []File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
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
		files = append(files, f)
	}
	return files
}

// Current compares a folder with what its generator makes now or, with update, writes it.
func Current(t testing.TB, dir string, files []File, update bool) {
	t.Helper()
	made := map[string][]byte{}
	for _, f := range files {
		if made[f.Name] != nil {
			t.Fatalf("two vectors are called %s", f.Name)
		}
		made[f.Name] = f.format()
	}
	if update {
		write(t, dir, made)
	}
	for name, want := range made {
		got, err := os.ReadFile(filepath.Join(dir, name+".txt"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from what its generator makes (go test -update writes it again): %v", name, err)
		}
	}
	for _, f := range Read(t, dir) {
		if made[f.Name] == nil {
			t.Errorf("%s has no generator", f.Name)
		}
	}
}

func write(t testing.TB, dir string, made map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range made {
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), b, 0o644); err != nil {
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
	b.WriteByte('\n')
	for text := base64.StdEncoding.EncodeToString(f.Body); text != ""; {
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
