package corpus

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/decant-dev/decant/test/fidelity"
)

// TestDataIsReadable asks the tokenizer, which shares nothing with this package, what the files hold.
func TestDataIsReadable(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(io.Writer, int, uint64) (Contents, error)
		kind  string
		plus  func(Contents) int // records that are more than the contents' own
	}{
		{"a.vcf", Contacts, "contact", nil},
		{"a.ics", Events, "calendar", nil},
		{"a.xml", Messages, "message", nil},
		{"b.xml", Calls, "call", nil},
		{"a.html", Bookmarks, "bookmark", func(c Contents) int { return c.Parts - 1 }},
	} {
		const n = 300
		var one, two, other bytes.Buffer
		contents, err := c.write(&one, n, 7)
		if err != nil {
			t.Fatal(err)
		}
		c.write(&two, n, 7)
		c.write(&other, n, 8)
		if !bytes.Equal(one.Bytes(), two.Bytes()) || bytes.Equal(one.Bytes(), other.Bytes()) {
			t.Errorf("%s does not follow from the seed", c.name)
		}
		d, err := fidelity.Parse(c.name, one.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, r := range d.Records {
			if r.Kind == c.kind && !(c.kind == "bookmark" && r.Properties[0].Value == "separator") {
				got++
			}
		}
		want := contents.Records
		if c.plus != nil {
			want += c.plus(contents)
		}
		if got != want || contents.Records != n {
			t.Errorf("%s has %d records, want %d: %+v", c.name, got, want, contents)
		}
		for _, r := range d.Records {
			for _, p := range r.Properties {
				if p.Name == "" {
					t.Errorf("%s: %s", c.name, p)
				}
			}
		}
	}
}

func TestDirectories(t *testing.T) {
	for name, make := range map[string]func(string, int, uint64) (Contents, error){"keep": KeepNotes, "networks": Networks} {
		one, two := t.TempDir(), t.TempDir()
		c, err := make(one, 40, 3)
		if err != nil || c.Records != 40 {
			t.Fatalf("%s: %+v %v", name, c, err)
		}
		if _, err := make(two, 40, 3); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(one)
		if err != nil || len(files) != c.Records+c.Parts {
			t.Errorf("%s: %d files of %+v, %v", name, len(files), c, err)
		}
		for _, f := range files {
			a, _ := os.ReadFile(filepath.Join(one, f.Name()))
			b, _ := os.ReadFile(filepath.Join(two, f.Name()))
			if len(a) == 0 || !bytes.Equal(a, b) {
				t.Errorf("%s: %s does not follow from the seed", name, f.Name())
			}
		}
	}
}

// TestDataStreams writes much and keeps little.
func TestDataStreams(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	count := &counter{}
	if _, err := Messages(count, 20_000, 1); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); count.n < 5<<20 || grown > 8<<20 {
		t.Errorf("%d bytes were written, %d are kept", count.n, grown)
	}
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

func ExampleContacts() {
	c, err := Contacts(io.Discard, 100, 1)
	fmt.Println(c, err)
	// Output: {100 5 5 0} <nil>
}
