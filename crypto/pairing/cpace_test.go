package pairing

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// draft reads a suite of the draft's own vectors.
func draft(t testing.TB, suite string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/cpace-draft-20.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage // some suites, not ours, are nested deeper
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(all[suite], &fields); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for name, v := range fields {
		if out[name], err = hex.DecodeString(v); err != nil {
			t.Fatal(err)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no vectors for %s", suite)
	}
	return out
}

func TestDraftVectors(t *testing.T) {
	v := draft(t, "G_25519")
	check := func(name string, got []byte) {
		t.Helper()
		if !bytes.Equal(got, v[name]) {
			t.Errorf("%s = %x, want %x", name, got, v[name])
		}
	}
	g := generator(v["PRS"], v["CI"], v["sid"])
	check("g", g)
	for _, side := range []struct{ scalar, share, other string }{{"ya", "Ya", "Yb"}, {"yb", "Yb", "Ya"}} {
		y := scalar(v[side.scalar])
		share, err := scalarMultVfy(y, g)
		if err != nil {
			t.Fatal(err)
		}
		check(side.share, share)
		k, err := scalarMultVfy(y, v[side.other])
		if err != nil {
			t.Fatal(err)
		}
		check("K", k)
	}
	tr := transcript(v["Ya"], v["ADa"], v["Yb"], v["ADb"])
	check("ISK_IR", isk(v["sid"], v["K"], tr))
}
