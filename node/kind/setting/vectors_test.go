package setting

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/decant-dev/decant/node/format/dconfdump"
)

var update = flag.Bool("update", false, "write the vectors again")

const vectorFile = "testdata/vectors.json"

// list is the list of settings as another implementation may read it, and values that are equal or not.
type list struct {
	Allowed  []allowance `json:"allowed"`
	Never    []string    `json:"never"`
	Harmless []string    `json:"harmless"`
	Values   []values    `json:"values"`
}

type allowance struct {
	Dir  string   `json:"dir"`
	Keys []string `json:"keys"`
}

type values struct {
	A     string `json:"a"`
	B     string `json:"b"`
	Equal bool   `json:"equal"`
}

func current() (l list) {
	for _, a := range allowed {
		l.Allowed = append(l.Allowed, allowance{a.dir, a.keys})
	}
	for _, n := range never {
		l.Never = append(l.Never, n.word)
	}
	l.Harmless = harmless
	for _, v := range [][2]string{{`'a'`, `"a"`}, {"[1,2]", "[1, 2]"}, {"5", "uint32 5"}, {"-5.50", "-5.5"}, {"0x10", "16"}, {"5", "5.0"}, {"(1,)", "(1)"}, {"'a b'", "'a  b'"}, {"@as []", "[]"}} {
		l.Values = append(l.Values, values{v[0], v[1], dconfdump.Normal(v[0]) == dconfdump.Normal(v[1])})
	}
	return l
}

// TestVectors shows that the published list is the one in the code. With -update it writes it.
func TestVectors(t *testing.T) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(current()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(vectorFile); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%s is not what the code makes (go test -update writes it again): %v", vectorFile, err)
	}
}
