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

// lowOrderProducts are the draft's scalar_mult_vfy(s, Yn) for its twelve "Invalid" points, s
// beside it. Those without a product abort; the others have the top bit set, which X25519
// ignores, and show that it does.
var lowOrderProducts = map[string]string{
	"Invalid Y6":  "d8e2c776bbacd510d09fd9278b7edcd25fc5ae9adfba3b6e040e8d3b71b21806",
	"Invalid Y8":  "c85c655ebe8be44ba9c0ffde69f2fe10194458d137f09bbff725ce58803cdb38",
	"Invalid Y9":  "db64dafa9b8fdd136914e61461935fe92aa372cb056314e1231bc4ec12417456",
	"Invalid Y10": "e062dcd5376d58297be2618c7498f55baa07d7e03184e8aada20bca28888bf7a",
	"Invalid Y11": "993c6ad11c4c29da9a56f7691fd0ff8d732e49de6250b6c2e80003ff4629a175",
}

// P-5, RT-13: the draft's weak points behave as it says below, and all twelve are refused
// in either message, because no honest device sends a share that is not canonical.
func TestP5WeakPoints(t *testing.T) {
	w := newWorld(t)
	o, m1, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	_, m2, err := AnswerNew(w.params, w.new.card, m1)
	if err != nil {
		t.Fatal(err)
	}
	points := draft(t, "X25519_points")
	if len(points) != 12 {
		t.Fatalf("%d weak points", len(points))
	}
	y, err := hex.DecodeString("af46e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449aff")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range points {
		k, err := scalarMultVfy(scalar(y), p)
		if want := lowOrderProducts[name]; hex.EncodeToString(k) != want || (err == errWeakPoint) != (want == "") {
			t.Errorf("%s: %x, %v", name, k, err)
		}
		bad := bytes.Clone(m1)
		copy(bad[1:], p)
		if _, _, err := AnswerNew(w.params, w.new.card, bad); err != ErrExchange {
			t.Errorf("%s in message 1: %v", name, err)
		}
		bad = bytes.Clone(m2)
		copy(bad[1:], p)
		if _, err := o.Finish(bad); err != ErrExchange {
			t.Errorf("%s in message 2: %v", name, err)
		}
	}
}

// The padding keeps the first block of the hash a function of the password alone.
func TestGeneratorString(t *testing.T) {
	for n := range 200 {
		s := generatorString(make([]byte, n), []byte("ci"), []byte("sid"))
		tail := lvCat([]byte("ci"), []byte("sid"))
		if !bytes.HasSuffix(s, tail) || len(s)-len(tail) < 128 {
			t.Errorf("password of %d bytes: %d bytes before CI", n, len(s)-len(tail))
		}
	}
	if got := lvCat(make([]byte, 300))[:2]; !bytes.Equal(got, []byte{0xac, 0x02}) {
		t.Errorf("LEB128 of 300 = %x", got)
	}
}
