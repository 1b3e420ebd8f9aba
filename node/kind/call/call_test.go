package call

import (
	"bytes"
	"context"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
	"github.com/decant-dev/decant/node/kind/rule"
	"pgregory.net/rapid"
)

func attrs(pairs ...string) (out []message.Attr) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, message.Attr{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func TestMatch(t *testing.T) {
	rec := func(c *Call) item.Record { return item.Record{Data: c.Bytes()} }
	sbr := FromSBR(attrs("number", "+15551234567", "duration", "125", "date", "1609632000123", "type", "1", "presentation", "1", "contact_name", "Alice"))
	row := FromProvider([]message.Column{{Name: "number", Value: rawjson.Value(`"5551234567"`)}, {Name: "date", Value: rawjson.Value(`"1609632000000"`)}, {Name: "duration", Value: rawjson.Value(`"125"`)},
		{Name: "type", Value: rawjson.Value(`"1"`)}, {Name: "via_number", Value: rawjson.Value(`"+1999"`)}})
	other := FromSBR(attrs("number", "+15551234567", "duration", "126", "date", "1609632000123", "type", "1"))
	d, err := Rules{}.Match(context.Background(), []item.Record{rec(sbr)}, []item.Record{rec(row), rec(other), rec(other), {Data: []byte("x")}}, rule.Options{})
	if err != nil || d[0].Verdict != rule.Same || d[0].With != 0 || d[1].Verdict != rule.New || d[2].Verdict != rule.Same || d[2].With != 2 || d[3].Verdict != rule.New {
		t.Fatalf("%+v, %v", d, err)
	}
	if c := d[0].Changes; len(c) != 1 || c[0].Property != "VIA_NUMBER" || c[0].Effect != item.EffectDropped {
		t.Errorf("told %+v", c)
	}
}

func TestShapeForTargets(t *testing.T) {
	for _, c := range []struct {
		in       *Call
		form     string
		property string
	}{
		{FromSBR(attrs("number", "1", "date", "1", "duration", "0", "name", "x", "contact_name", "y")), FormProvider, "NAME dropped"},
		{FromProvider([]message.Column{{Name: "date", Value: rawjson.Value(`"1"`)}, {Name: "duration", Value: rawjson.Value(`"1"`)}, {Name: "contact_name", Value: rawjson.Value(`"x"`)}}), FormSBR, "CONTACT_NAME dropped"},
		{FromProvider([]message.Column{{Name: "date", Value: rawjson.Value(`"1"`)}}), FormSBR, "DURATION added"},
		{FromProvider([]message.Column{{Name: "date", Value: rawjson.Value(`"1"`)}, {Name: "duration", Value: rawjson.Value(`"1"`)}, {Name: "a b", Value: rawjson.Value(`1`)}}), FormSBR, "A B dropped"},
	} {
		out, changes, ok := Rules{}.Shape(item.Record{Data: c.in.Bytes()}, rule.Profile{Version: c.form})
		if !ok || len(changes) != 1 || changes[0].Property+" "+changes[0].Effect.String() != c.property {
			t.Errorf("%s: %+v", c.in.Bytes(), changes)
		}
		if _, again, _ := (Rules{}).Shape(out, rule.Profile{Version: c.form}); c.property == "NAME dropped" && len(again) != 0 {
			t.Errorf("shaping twice: %+v", again)
		}
	}
}

func TestContainers(t *testing.T) {
	a, b := FromSBR(attrs("number", "1", "date", "1", "type", "2")).Bytes(), FromSBR(attrs("number", "2", "date", "1", "type", "3")).Bytes()
	old := []byte(string(a) + "\n")
	both := Merge(old, []byte(string(b)+"\n"+string(a)+"\n"))
	if string(both) != string(a)+"\n"+string(b)+"\n" || Merge(both, []byte("x\n")) != nil {
		t.Errorf("%s", both)
	}
	if r := (Rules{}).Split("Calls/log.calls.ndjson", both); len(r) != 2 || r[0].Book != "log" || r[0].Kind != item.Call || r[1].Label != "missed 2 1970-01-01 00:00:00Z" {
		t.Errorf("%+v", r)
	}
	if r := Records(append(both, "x\n"...)); len(r) != 3 || r[0].Problem != "" || r[2].Problem == "" {
		t.Errorf("%+v", r)
	}
}

// TestAnyCallRoundTrips: both forms come back as they were, and each through the other's keeps what it says.
func TestAnyCallRoundTrips(t *testing.T) {
	names := []string{"number", "duration", "date", "type", "presentation", "subscription_id", "readable_date", "contact_name", "name", "odd", "post_dial_digits"}
	rapid.Check(t, func(rt *rapid.T) {
		var in []message.Attr
		for _, n := range rapid.Permutation(names).Draw(rt, "names")[:rapid.IntRange(0, len(names)).Draw(rt, "count")] {
			in = append(in, message.Attr{Name: n, Value: rapid.OneOf(rapid.SampledFrom([]string{"null", "", "0", "1", "7", "007", "1609632000123", "(Unknown)", "\xed\xa0\xbd"}), rapid.String()).Draw(rt, n)})
		}
		c, err := Decode(FromSBR(in).Bytes())
		if err != nil {
			rt.Fatal(err)
		}
		out := c.SBR()
		if len(out) != len(in) {
			rt.Fatalf("%v became %v", in, out)
		}
		for i := range in {
			if in[i] != out[i] {
				rt.Fatalf("%v became %v", in, out)
			}
		}
		var columns []message.Column
		for _, a := range in {
			columns = append(columns, message.Column{Name: a.Name, Value: rawjson.AppendString(nil, a.Value)})
		}
		p, err := Decode(FromProvider(columns).Bytes())
		if err != nil {
			rt.Fatal(err)
		}
		back := p.Provider()
		if len(back) != len(columns) {
			rt.Fatalf("%v became %v", columns, back)
		}
		for _, x := range columns {
			if v, _ := message.Get(back, x.Name); !bytes.Equal(rawjson.AppendString(nil, v), x.Value) {
				rt.Fatalf("%s: %v became %v", x.Name, columns, back)
			}
		}
	})
}
