package message_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/decant-dev/decant/node/format/smsie"
	"github.com/decant-dev/decant/node/format/smsxml"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// vector is a message or call as a source has it, and what is made of it.
type vector struct {
	Comment   string `json:"comment"`
	Form      string `json:"form"`   // smsxml, smsie or mbox
	Source    string `json:"source"` // an element, a line or row, a mail
	Canonical string `json:"canonical"`
	Identity  string `json:"identity"` // hexadecimal
	Thread    string `json:"thread,omitempty"`
}

var inputs = []vector{
	{Comment: "an SMS as the app writes it, emoji as surrogates", Form: "smsxml", Source: `<sms protocol="0" address="+15551234567" date="1609459200000" type="1" subject="null" body="Hi &#55357;&#56832;&#10;there" toa="null" sc_toa="null" service_center="+15559876543" read="1" status="-1" locked="0" date_sent="1609459190000" sub_id="1" readable_date="Jan 1, 2021 1:00:00 AM" contact_name="Alice Smith" />`},
	{Comment: "everything that the fields do not say stays in x", Form: "smsxml", Source: `<sms protocol="0" address="1" date="bad" type="9" body="" toa="145" sc_toa="null" read="yes" status="-1" locked="0" date_sent="0" sub_id="1" readable_date="x" contact_name="null" unknown="&#0;" />`},
	{Comment: "attributes in another order, some missing", Form: "smsxml", Source: `<sms body="x" address="1" type="2" date="1" />`},
	{Comment: "half of a surrogate pair", Form: "smsxml", Source: `<sms address="1" date="1" type="1" body="&#55357;x&#56832;" />`},
	{Comment: "an MMS with parts and addresses; date_sent is in seconds", Form: "smsxml", Source: `<mms date="1609545600000" msg_box="2" sub="Hello" address="+15551234567~+15552222222" m_type="128" read="1" date_sent="1609545599" seen="1" locked="0" contact_name="A, B"><parts><part seq="-1" ct="application/smil" text="&lt;smil/&gt;" /><part seq="0" ct="image/png" name="a.png" text="null" data="iVBORw0KGgo=" /></parts><addrs><addr address="insert-address-token" type="137" charset="106" /><addr address="+15551234567" type="151" charset="106" /><addr address="+15552222222" type="130" charset="106" /></addrs></mms>`},
	{Comment: "an SMS of the provider", Form: "smsie", Source: `{"_id":"7","thread_id":"2","address":"+15551234567","date":"1609459200123","date_sent":"0","type":"2","body":"hi","read":"1","seen":"1","status":"-1","locked":"0","sub_id":"1","creator":"x","__display_name":"Alice"}`},
	{Comment: "an MMS of the provider, times in seconds, without the own number", Form: "smsie", Source: `{"m_type":"132","date":"1609459200","msg_box":"1","odd":{"a": 1},"__sender_address":{"address":"+15551234567","type":"137","charset":"106"},"__recipient_addresses":[{"address":"+15559999999","type":"151"}],"__parts":[{"seq":"0","ct":"text/plain","text":"hi"}]}`},
	{Comment: "a mail", Form: "mbox", Source: "From: a@b\nDate: Fri, 01 Jan 2021 00:00:00 +0000\nSubject: =?utf-8?q?caf=C3=A9?=\nStatus: RO\n\nbody\n"},
	{Comment: "the same mail without its state is the same", Form: "mbox", Source: "From: a@b\r\nDate: Fri, 01 Jan 2021 00:00:00 +0000\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\nbody\r\n\r\n"},
	{Comment: "a call", Form: "smsxml", Source: `<call number="+15551234567" duration="125" date="1609632000123" type="1" presentation="1" subscription_id="1" readable_date="Jan 3, 2021 12:00:00 AM" contact_name="Alice Smith" />`},
	{Comment: "the same call of the provider", Form: "smsie calls", Source: `{"number":"+15551234567","date":"1609632000000","duration":"125","type":"1","name":"Alice Smith","geocoded_location":"Town"}`},
}

func (v *vector) make(t *testing.T) {
	t.Helper()
	var m *message.Message
	var c *call.Call
	switch v.Form {
	case "mbox":
		m = message.NewMail([]byte(v.Source), "", "")
	case "smsie":
		r, _, err := smsie.ParseRow([]byte(v.Source))
		if err != nil {
			t.Fatal(err)
		}
		m = message.FromProvider(r)
		m.SetThread(map[string]bool{message.NormalAddress("+15559999999", ""): true})
	case "smsie calls":
		columns, _, err := smsie.ParseCall(rawjson.Value(v.Source))
		if err != nil {
			t.Fatal(err)
		}
		c = call.FromProvider(columns)
	default:
		rec, err := smsxml.Parse([]byte(v.Source))
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind() == item.Call {
			c = call.FromSBR(rec.Attrs)
		} else {
			m = message.FromSBR(&rec.Element)
		}
	}
	if c != nil {
		v.Canonical, v.Identity = string(c.Bytes()), hex.EncodeToString(c.Identity())
		return
	}
	v.Canonical, v.Identity, v.Thread = string(m.Bytes()), hex.EncodeToString(m.Identity()), m.Thread
}

// TestVectors compares testdata/canonical.json, the executable part of docs/SPEC.md section 9.3, with what is made now.
func TestVectors(t *testing.T) {
	const path = "testdata/canonical.json"
	made := append([]vector(nil), inputs...)
	for i := range made {
		made[i].make(t)
	}
	if *update {
		text, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []vector
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for i := range made {
		if i >= len(want) || !reflect.DeepEqual(made[i], want[i]) {
			t.Errorf("%s: made\n%+v\nwant\n%+v", made[i].Comment, made[i], append(want, vector{})[min(i, len(want))])
		}
	}
	if len(made) != len(want) {
		t.Errorf("%d vectors, want %d", len(made), len(want))
	}
}
