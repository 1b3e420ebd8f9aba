package message

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

func sms(box, address string, date int64, body string) *Message {
	return &Message{Type: SMS, Form: FormSBR, Box: box, Address: Known(address), Date: Int{date, true}, Body: Known(body)}
}

func mms(box string, date int64, text string, addrs ...string) *Message {
	m := &Message{Type: MMS, Form: FormProvider, Box: box, Date: Int{date, true}}
	for _, a := range addrs {
		role, address, _ := strings.Cut(a, ":")
		m.Addrs = append(m.Addrs, Addr{Role: role, Address: Known(address)})
	}
	p := Part{Type: Known("text/plain")}
	p.SetText(text)
	m.Parts = []Part{{Type: Known("application/smil"), Text: Known("<smil/>")}, p}
	return m
}

func record(m *Message) item.Record {
	return item.Record{Kind: item.Message, Data: m.Bytes(), Label: m.Label()}
}

func match(t *testing.T, existing, incoming []*Message, opts rule.Options) []rule.Decision {
	t.Helper()
	var e, i []item.Record
	for _, m := range existing {
		e = append(e, record(m))
	}
	for _, m := range incoming {
		i = append(i, record(m))
	}
	d, err := Rules{}.Match(context.Background(), e, i, opts)
	if err != nil || len(d) != len(i) {
		t.Fatalf("%d decisions, %v", len(d), err)
	}
	return d
}

func TestMatch(t *testing.T) {
	sent := func(m *Message, at int64) *Message { m.DateSent = Int{at, true}; return m }
	for name, c := range map[string]struct {
		a, b *Message
		want rule.Verdict
	}{
		"the same":                    {sms("received", "+15551234567", 1000, "a"), sms("received", "+15551234567", 1000, "a"), rule.Same},
		"number written otherwise":    {sms("received", "+1 555-123-4567", 1000, "a"), sms("received", "5551234567", 1000, "a"), rule.Same},
		"another number":              {sms("received", "+15551234567", 1000, "a"), sms("received", "+15551234568", 1000, "a"), rule.New},
		"another box":                 {sms("received", "1", 1000, "a"), sms("sent", "1", 1000, "a"), rule.New},
		"another text":                {sms("received", "1", 1000, "a"), sms("received", "1", 1000, "b"), rule.New},
		"another millisecond":         {sms("received", "1", 1000, "a"), sms("received", "1", 1001, "a"), rule.New},
		"a name without case":         {sms("received", "AMAZON", 1000, "a"), sms("received", "Amazon", 1000, "a"), rule.Same},
		"no body and null":            {sms("received", "1", 1000, "null"), &Message{Type: SMS, Box: "received", Address: Known("1"), Date: Int{1000, true}}, rule.Same},
		"sent in the same second":     {sent(sms("received", "1", 60_000, "a"), 55_000), sent(sms("received", "1", 55_000, "a"), 55_400), rule.Same},
		"sent in another second":      {sent(sms("received", "1", 60_000, "a"), 55_000), sent(sms("received", "1", 55_000, "a"), 57_000), rule.New},
		"MMS in seconds":              {mms("received", 5000, "a", "from:1", "to:9"), mms("received", 5700, "a", "from:1", "to:9"), rule.Same},
		"MMS in another second":       {mms("received", 5000, "a", "from:1", "to:9"), mms("received", 7000, "a", "from:1", "to:9"), rule.New},
		"own number among recipients": {mms("sent", 5000, "a", "from:99999999", "to:1", "to:2"), mms("sent", 5000, "a", "from:insert-address-token", "to:1", "to:2", "to:99999999"), rule.Same},
		"MMS of address and of rows":  {mms("received", 5000, "a", "from:1", "to:9"), &Message{Type: MMS, Box: "received", Address: Known("1"), Date: Int{5000, true}, Parts: mms("received", 0, "a").Parts[1:]}, rule.Same},
		"another part":                {mms("received", 5000, "a", "from:1"), mms("received", 5000, "b", "from:1"), rule.New},
		"mail":                        {NewMail([]byte("A: b\nStatus: RO\n\nx\n"), "", ""), NewMail([]byte("A: b\r\n\r\nx\r\n\r\n"), "x", "S"), rule.Same},
		"other mail":                  {NewMail([]byte("A: b\n\nx\n"), "", ""), NewMail([]byte("A: b\n\ny\n"), "", ""), rule.New},
	} {
		if d := match(t, []*Message{c.a}, []*Message{c.b}, rule.Options{}); d[0].Verdict != c.want {
			t.Errorf("%s: %v (%s), want %v", name, d[0].Verdict, d[0].Why, c.want)
		}
		if d := match(t, nil, []*Message{c.b, c.b}, rule.Options{}); d[0].Verdict != rule.New || d[1].Verdict != rule.Same || d[1].With != 0 {
			t.Errorf("%s: twice in the source: %+v", name, d)
		}
	}
	if d := match(t, []*Message{mms("received", 5000, "a", "from:1")}, []*Message{mms("received", 5700, "a", "from:1")}, rule.Options{NoFuzzy: true}); d[0].Verdict != rule.New {
		t.Error("without fuzziness, a second matters")
	}
	region := rule.Options{Profile: rule.Profile{Region: "IS"}} // seven digits
	if d := match(t, []*Message{sms("received", "+3545551234", 1, "a")}, []*Message{sms("received", "555 1234", 1, "a")}, region); d[0].Verdict != rule.Same {
		t.Error("in Iceland, the number is the same")
	}
}

func TestMatchIsOneToOneAndSettles(t *testing.T) {
	existing := []*Message{mms("received", 5000, "a", "from:1")}
	incoming := []*Message{mms("received", 5100, "a", "from:1"), mms("received", 5200, "a", "from:1")}
	d := match(t, existing, incoming, rule.Options{})
	if d[0].Verdict != rule.Same || d[1].Verdict != rule.New {
		t.Fatalf("%+v", d)
	}
	for i, d := range match(t, append(existing, incoming[1]), incoming, rule.Options{}) {
		if d.Verdict != rule.Same {
			t.Errorf("message %d the second time: %v", i, d.Verdict)
		}
	}
}

func TestWhatTheKeptOneLacksIsTold(t *testing.T) {
	a, b := sms("received", "1", 1000, "a"), sms("received", "1", 1000, "a")
	a.Read, b.Read = Flag{true, true}, Flag{false, true}
	b.Name, b.X = Known("Alice"), []Column{{"service_center", []byte(`"+49"`)}, {"toa", []byte("null")}}
	d := match(t, []*Message{a}, []*Message{b}, rule.Options{})
	got := ""
	for _, c := range d[0].Changes {
		got += fmt.Sprint(c.Property, " ", c.Effect, " ", c.Before, " ", c.After, "; ")
	}
	if want := "SERVICE_CENTER dropped +49 ; READ dropped 0 1; NAME dropped Alice ; "; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if d := match(t, []*Message{a}, []*Message{a}, rule.Options{}); len(d[0].Changes) != 0 {
		t.Errorf("told of the same: %v", d[0].Changes)
	}
}

func TestThreads(t *testing.T) {
	own := map[string]bool{NormalAddress("+49 170 9999999", ""): true}
	for _, c := range []struct {
		m    *Message
		want string
	}{
		{sms("received", "+1 (555) 123", 1, ""), "+1555123"},
		{mms("received", 1, "", "from:+1", "to:+491709999999", "to:+2"), "+1~+2"},
		{mms("sent", 1, "", "from:insert-address-token", "to:+2", "cc:+1", "to:01709999999"), "+1~+2"},
		{mms("sent", 1, "", "from:+491709999999", "to:+491709999999"), "+491709999999"},
	} {
		c.m.SetThread(own)
		if c.m.Thread != c.want {
			t.Errorf("%s is in %q, want %q", c.m.Bytes(), c.m.Thread, c.want)
		}
		if again, err := Decode(c.m.Bytes()); err != nil || again.Thread != c.want {
			t.Errorf("%s: %v", c.m.Bytes(), err)
		}
	}
}

func TestContainers(t *testing.T) {
	a, b, c := sms("received", "1", 1, "a").Bytes(), sms("received", "1", 2, "b").Bytes(), sms("received", "1", 3, "c").Bytes()
	data := []byte(string(a) + "\n\n" + string(b) + "\r\n" + "nonsense\n" + string(c))
	records := Rules{}.Split("Messages/sms.messages.ndjson", data)
	if len(records) != 4 || records[0].Book != "sms" || string(records[1].Data) != string(b) || records[3].From != "Messages/sms.messages.ndjson:5" || records[2].Label != "" {
		t.Errorf("%+v", records)
	}
	found := Records(data)
	if len(found) != 4 || found[2].Problem == "" || found[0].Identity == nil || string(found[1].Bytes(data)) != string(b)+"\r\n" || bytes.Equal(found[0].Identity, found[1].Identity) {
		t.Errorf("%+v", found)
	}
	old := []byte(string(a) + "\n" + string(b))
	merged := Merge(old, []byte(string(b)+"\n"+string(c)+"\n"))
	if want := string(a) + "\n" + string(b) + "\n" + string(c) + "\n"; string(merged) != want {
		t.Errorf("merged\n%s", merged)
	}
	if again := Merge(merged, []byte(string(c)+"\n")); !bytes.Equal(again, merged) {
		t.Error("merging twice adds something")
	}
	if Merge(old, data) != nil {
		t.Error("a line that is no message is merged")
	}
	if string(old) != string(a)+"\n"+string(b) {
		t.Error("the old file was changed")
	}
}

func TestShapeForTargets(t *testing.T) {
	mail := item.Record{Data: NewMail([]byte("A: b\n\nx"), "", "FS").Bytes()}
	for _, form := range []string{FormSBR, FormProvider} {
		if _, c, ok := (Rules{}).Shape(mail, rule.Profile{Version: form}); ok || len(c) != 1 || c[0].Effect != item.EffectDropped {
			t.Errorf("%s takes mail: %v", form, c)
		}
	}
	r, c, ok := Rules{}.Shape(mail, rule.Profile{Version: FormMbox})
	if m, _ := Decode(r.Data); !ok || len(c) != 2 || string(m.Raw) != "A: b\nStatus: RO\nX-Status: F\n\nx\n" || m.MailFlags() != "FS" {
		t.Errorf("%q %v", m.Raw, c)
	}
	if again, c, ok := (Rules{}).Shape(r, rule.Profile{Version: FormMbox}); !ok || len(c) != 0 || !bytes.Equal(again.Data, r.Data) {
		t.Errorf("shaping twice: %v", c)
	}
	m := sms("sent", "1", 1, "x")
	m.SubID = Int{3, true}
	r, c, ok = Rules{}.Shape(record(m), rule.Profile{Version: FormProvider})
	if m, _ := Decode(r.Data); !ok || len(c) != 1 || c[0].Property != "SUB_ID" || m.SubID.N != -1 {
		t.Errorf("%s %v", r.Data, c)
	}
	if _, c, ok := (Rules{}).Shape(item.Record{Data: []byte("{")}, rule.Profile{Version: FormSBR}); ok || len(c) != 1 {
		t.Error("what is no message is taken")
	}
	if r, c, ok := (Rules{}).Shape(item.Record{Data: []byte("{")}, rule.Profile{}); !ok || len(c) != 1 || string(r.Data) != "{" {
		t.Error("what is no message does not stay")
	}
	if _, _, ok := (Rules{}).Shape(record(m), rule.Profile{MaxSize: 10}); ok {
		t.Error("a message is too large and is taken")
	}
}

// TestManyAlikeAreNotQuadratic would not end in time if it were.
func TestManyAlikeAreNotQuadratic(t *testing.T) {
	var all []item.Record
	for i := range 60_000 {
		all = append(all, record(sms("received", "1", int64(i)*1000, "ok")))
	}
	var late []item.Record
	for i := range 60_000 {
		late = append(late, record(sms("received", "1", int64(i)*1000+1, "ok")))
	}
	d, err := Rules{}.Match(context.Background(), all, late, rule.Options{})
	if err != nil || d[0].Verdict != rule.New || d[59_999].Verdict != rule.New {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sms("received", "+1", 1, "a\x00😀").Bytes())
	f.Add(mms("received", 5000, "a", "from:1", "to:9").Bytes())
	f.Add(NewMail([]byte("From: =?utf-8?q?=ff?= <x>\nDate: Mon, 1 Jan 2001 00:00:00 +0000\n\nx"), "e", "S").Bytes())
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := Decode(line)
		if err != nil {
			return
		}
		again, err := Decode(m.Bytes())
		if err != nil || !bytes.Equal(again.Bytes(), m.Bytes()) {
			t.Fatalf("%v\n%s\n%s", err, m.Bytes(), again.Bytes())
		}
		if bytes.ContainsAny(m.Bytes(), "\n") && !bytes.ContainsAny(line, "\n") {
			t.Fatal("a line became several")
		}
		r := item.Record{Data: line}
		for _, form := range []string{"", FormSBR, FormProvider, FormMail, FormMbox} {
			out, _, ok := Rules{}.Shape(r, rule.Profile{Version: form})
			if !ok {
				continue
			}
			if _, err := Decode(out.Data); err != nil {
				t.Fatalf("shaped for %q: %v", form, err)
			}
			d, err := Rules{}.Match(context.Background(), []item.Record{out}, []item.Record{out}, rule.Options{Profile: rule.Profile{Region: "DE"}})
			if err != nil || d[0].Verdict != rule.Same {
				t.Fatalf("it is not the same as itself: %v", err)
			}
		}
	})
}

// TestUnreadable: what nobody can read still tells messages apart.
func TestUnreadable(t *testing.T) {
	var records []item.Record
	for _, date := range []string{"", "bad", "-", "99999999999999999999", "NaN"} {
		for _, box := range []string{"", "9", "bad"} {
			m := &Message{Type: MMS, Form: FormSBR, X: []Column{{"date", quoteNull(date)}, {"msg_box", quoteNull(box)}}}
			records = append(records, item.Record{Kind: item.Message, Data: m.Bytes()})
		}
	}
	for n, existing := range [][]item.Record{nil, records} {
		out, err := Rules{}.Match(t.Context(), existing, records, rule.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range out {
			if want := []rule.Verdict{rule.New, rule.Same}[n]; d.Verdict != want || n == 1 && d.With != i {
				t.Errorf("%s: %v with %d", records[i].Data, d.Verdict, d.With)
			}
		}
	}
}
