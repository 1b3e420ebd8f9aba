package label_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/decant-dev/decant/crypto/label"
)

// declared reads the label constants from the source, so that none can be left out of All.
func declared(t *testing.T) []label.Label {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "label.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []label.Label
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, label.Label(s))
			}
		}
		return true
	})
	return out
}

func TestAllIsTheTable(t *testing.T) {
	want, got := declared(t), slices.Clone(label.All)
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("All = %q, declared are %q", got, want)
	}
}

func TestPrefixFree(t *testing.T) {
	for i, a := range label.All {
		if purpose, ok := strings.CutPrefix(string(a), "decant/1/"); !ok || purpose == "" || len(a) > 255 {
			t.Errorf("%q is not decant/1/<purpose> of at most 255 bytes", a)
		}
		for j, b := range label.All {
			if i != j && strings.HasPrefix(string(b), string(a)) {
				t.Errorf("%q is a prefix of %q", a, b)
			}
		}
	}
}

// split undoes LV: that it can be undone is that it is injective.
func split(b []byte) (out [][]byte, ok bool) {
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, false
		}
		n := 0
		for _, c := range b[:8] {
			n = n<<8 | int(c)
		}
		if n < 0 || n > len(b)-8 {
			return nil, false
		}
		out, b = append(out, b[8:8+n]), b[8+n:]
	}
	return out, true
}

func TestLVLayout(t *testing.T) {
	got := label.LV("decant/1/x", []byte("a"), nil, []byte("bc"))
	want := "\x00\x00\x00\x00\x00\x00\x00\x0adecant/1/x\x00\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02bc"
	if string(got) != want {
		t.Errorf("LV = %q, want %q", got, want)
	}
	if got := label.U64(0x0102030405060708); !bytes.Equal(got, []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("U64 = %x", got)
	}
}

// All lists of up to three parts over an alphabet that imitates lengths and labels.
func TestLVInjective(t *testing.T) {
	parts := [][]byte{nil, {0}, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 1}, []byte("a"), []byte("ab"), []byte("b"), label.LV("a"), label.LV("a", []byte("b"))}
	seen := map[string]string{}
	try := func(l label.Label, list ...[]byte) {
		key, what := string(label.LV(l, list...)), fmt.Sprintf("%q %q", l, list)
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s encode alike", what, other)
		}
		seen[key] = what
	}
	for _, l := range []label.Label{"", "a", "ab", "decant/1/a"} {
		try(l)
		for _, a := range parts {
			try(l, a)
			for _, b := range parts {
				try(l, a, b)
				for _, c := range parts {
					try(l, a, b, c)
				}
			}
		}
	}
}

func FuzzLV(f *testing.F) {
	f.Add("decant/1/card", []byte("a"), []byte(""))
	f.Fuzz(func(t *testing.T, l string, a, b []byte) {
		got, ok := split(label.LV(label.Label(l), a, b))
		if !ok || len(got) != 3 || string(got[0]) != l || !bytes.Equal(got[1], a) || !bytes.Equal(got[2], b) {
			t.Errorf("LV(%q, %q, %q) can't be undone: %q", l, a, b, got)
		}
	})
}
