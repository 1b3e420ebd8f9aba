package keyfile

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const sample = "# comment\n[connection]\nid = Cafe\\s; x\nuuid=1\r\n\n[wifi]\nssid=67;97;\n[connection]\ntype=wifi\nuuid=2"

func TestParse(t *testing.T) {
	f := Parse([]byte(sample))
	if got := string(f.Bytes()); got != sample {
		t.Errorf("written back as %q", got)
	}
	if got := f.Groups(); !slices.Equal(got, []string{"connection", "wifi"}) {
		t.Errorf("groups %q", got)
	}
	if got := f.Keys("connection"); !slices.Equal(got, []string{"id", "uuid", "type"}) {
		t.Errorf("keys %q", got)
	}
	if got := f.String("connection", "id"); got != "Cafe ; x" {
		t.Errorf("id %q", got)
	}
	if got := f.String("connection", "uuid"); got != "2" {
		t.Errorf("uuid %q: the last one counts", got)
	}
	if len(f.Broken()) != 0 {
		t.Errorf("broken %v", f.Broken())
	}
	if got := Parse([]byte("a=b\n[x\n[y]\nnothing\n=z\n")).Broken(); !slices.Equal(got, []int{1, 2, 4, 5}) {
		t.Errorf("broken %v", got)
	}
}

func TestSet(t *testing.T) {
	f := Parse([]byte(sample))
	f.Set("connection", "uuid", "3")
	f.Set("connection", "zone", " home")
	f.Set("wifi", "hidden", "true")
	f.Set("ipv4", "method", "auto")
	want := "# comment\n[connection]\nid = Cafe\\s; x\nuuid=1\r\n\n[wifi]\nssid=67;97;\nhidden=true\n[connection]\ntype=wifi\nuuid=3\nzone=\\shome\n\n[ipv4]\nmethod=auto\n"
	if got := string(f.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !f.Delete("connection", "uuid") || f.Delete("connection", "uuid") || f.String("connection", "uuid") != "" {
		t.Error("uuid is still there")
	}
	f.Set("connection", "last", "x")
	if again := Parse(f.Bytes()); again.String("connection", "last") != "x" || again.String("wifi", "hidden") != "true" || again.String("connection", "uuid") != "" {
		t.Errorf("became\n%s", f.Bytes())
	}
}

// TestLarge shows that files at the limits take time and memory that are linear in them.
func TestLarge(t *testing.T) {
	many := append([]byte("[g]\n"), bytes.Repeat([]byte("\n#\n"), 1<<20)...)
	for i := range maxLines + 10 {
		many = fmt.Appendf(many, "k%d=v\n", i)
	}
	f := Parse(many)
	if !bytes.Equal(f.Bytes(), many) || len(f.Keys("g")) != maxLines-2 || len(f.Broken()) != 1 {
		t.Errorf("%d keys, %d broken lines", len(f.Keys("g")), len(f.Broken()))
	}
	for i := range maxLines - 2 {
		if i%5 > 0 && i < maxLines-10 {
			continue
		}
		f.Set("h", fmt.Sprint("n", i), "v")
		f.Delete("g", fmt.Sprint("k", i))
	}
	if set, left := len(f.Keys("h")), len(f.Keys("g")); set < maxLines/5 || set+left != maxLines-2 {
		t.Errorf("%d and %d keys", set, left)
	}
}

func TestEscapes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		if got := Unescape(Escape(s)); got != s {
			t.Fatalf("%q became %q", s, got)
		}
		list := rapid.SliceOf(rapid.String()).Draw(t, "list")
		if got := List(JoinList(list)); !slices.Equal(got, list) {
			t.Fatalf("%q became %q", list, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("[a]\n[b]\nx=\\\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := Parse(b)
		if !bytes.Equal(file.Bytes(), b) {
			t.Fatal("not written back as it was")
		}
		for _, g := range file.Groups() {
			for _, k := range file.Keys(g) {
				file.Set(g, k, " v")
				if file.String(g, k) != " v" {
					t.Fatalf("%q %q was not set", g, k)
				}
				file.Delete(g, k)
			}
		}
		file.Set("g", "k", "v")
		if again := Parse(file.Bytes()); again.String("g", "k") != "v" {
			t.Fatalf("what was set is not in %q", file.Bytes())
		}
	})
}
