package rawjson

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStringsKeepHalvesAndControls(t *testing.T) {
	for text, want := range map[string]string{
		`"\ud83d\ude00"`:  "😀",
		`"\ud83d"`:        "\xed\xa0\xbd",
		`"\ude00x\ud83d"`: "\xed\xb8\x80x\xed\xa0\xbd",
		`"\u0000\u001f"`:  "\x00\x1f",
		`"a\/\b\f\"\\"`:   "a/\b\f\"\\",
		`"\ud83d\u0041"`:  "\xed\xa0\xbdA",
	} {
		got, ok := Value(text).String()
		if !ok || got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
		again, ok := Value(AppendString(nil, got)).String()
		if !ok || again != want {
			t.Errorf("%s comes back as %q", text, again)
		}
	}
}

func TestObjectsKeepOrderAndDuplicates(t *testing.T) {
	members, err := Object([]byte(` {"b":1, "a" : [1,{"x":null}] ,"b":12345678901234567890} `))
	if err != nil || len(members) != 3 || members[0].Name != "b" || string(members[1].Value) != `[1,{"x":null}]` || string(members[2].Value) != "12345678901234567890" {
		t.Errorf("got %q, %v", members, err)
	}
}

func TestBadTextIsRefused(t *testing.T) {
	for _, text := range []string{``, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":01}`, `{"a":"\x"}`, `{"a":1}x`, `{1:2}`, `{"a":tru}`, "{\"a\":\"\n\"}", `{"a":-}`, `{"a":1.}`, `{"a":1e}`} {
		if m, err := Object([]byte(text)); err == nil {
			t.Errorf("%s is taken as %q", text, m)
		}
	}
	if _, err := Object([]byte(`{"a":` + strings.Repeat("[", 100000))); err != ErrDepth {
		t.Errorf("deep nesting: %v", err)
	}
}

func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":"\ud83d","b":[1,2.5e3,true,null,{"c":"x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		members, err := Object(text)
		var std map[string]json.RawMessage
		stdErr := json.Unmarshal(text, &std)
		if err == nil && utf8.Valid(text) && stdErr != nil {
			t.Fatalf("taken, but encoding/json says %v", stdErr)
		}
		if err != nil && stdErr == nil && err != ErrDepth && std != nil {
			t.Fatalf("%v, but encoding/json takes it", err)
		}
		for _, m := range members {
			s, ok := m.Value.String()
			if !ok || !utf8.Valid(text) {
				continue
			}
			if again, ok := Value(AppendString(nil, s)).String(); !ok || again != s {
				t.Fatalf("%q comes back as %q", s, again)
			}
		}
	})
}
