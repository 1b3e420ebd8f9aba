package dconfdump

import (
	"testing"
)

func TestParse(t *testing.T) {
	const dump = "[/]\na={'k': <'a\\nb=c[]'>}\n\n[org/gnome/desktop/interface]\nclock-format='24h'\nx=-5.5\ny=@as []\n"
	entries, odd := Parse([]byte(dump))
	if len(entries) != 4 || len(odd) != 0 || entries[0].Path() != "/a" || entries[3] != (Entry{"org/gnome/desktop/interface", "y", "@as []", 7}) {
		t.Fatalf("%+v %v", entries, odd)
	}
	if got := string(Format(entries)); got != dump {
		t.Errorf("written as\n%s", got)
	}
	for _, e := range entries {
		if !e.Proper() {
			t.Errorf("%+v is not proper", e)
		}
	}
}

func TestNormal(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`'a'`, `"a"`, true}, {`'it\'s'`, `"it's"`, true}, {"[1,2]", "[1, 2]", true}, {"5", "uint32 5", false}, {"-5.50", "-5.5", true}, {"0x10", "16", true},
		{"true", "false", false}, {"'a b'", "'a  b'", false}, {"{'a': <1>}", "{'a':<1>}", true}, {"5", "5.0", false}, {"(1,)", "(1)", true}, {`'\u00e9'`, "'é'", true},
	} {
		if got := Normal(c.a) == Normal(c.b); got != c.same || !Valid(c.a) || !Valid(c.b) {
			t.Errorf("%s and %s: %v (%q, %q)", c.a, c.b, got, Normal(c.a), Normal(c.b))
		}
	}
	for _, bad := range []string{"", "'a", "[1", "1]", "[1)", "'a\nb'", "\x00", "\xff", `'\`} {
		if Valid(bad) {
			t.Errorf("%q is valid", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("[a/b]\nc='d'\n"))
	f.Add([]byte("[0]\n0=\"\x7f\""))
	f.Add([]byte("[a]\nx={'k': <(uint32 5, @as [], \"q\\u00e9\")>}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _ := Parse(data)
		for _, e := range entries {
			if !e.Proper() {
				continue
			}
			again, odd := Parse(e.Append(nil))
			if len(again) != 1 || len(odd) != 0 || again[0].Path() != e.Path() || again[0].Value != e.Value {
				t.Fatalf("%+v is read again as %+v %v", e, again, odd)
			}
			if Normal(Normal(e.Value)) != Normal(e.Value) && Valid(Normal(e.Value)) {
				t.Fatalf("%q is normal as %q and again as %q", e.Value, Normal(e.Value), Normal(Normal(e.Value)))
			}
		}
	})
}
