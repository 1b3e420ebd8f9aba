package message

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

// Attr is an attribute of an element, or a column of a row in text.
type Attr struct{ Name, Value string }

// null is what SMS Backup & Restore writes where the provider has nothing.
const null = "null"

// boxes are the values of an SMS's type and an MMS's msg_box.
var boxes = [...]string{1: "received", 2: "sent", 3: "draft", 4: "outbox", 5: "failed", 6: "queued"}

// roles are the values of an address's type.
var roles = map[string]string{"137": "from", "151": "to", "130": "cc", "129": "bcc"}

var roleNumbers = map[string]string{"from": "137", "to": "151", "cc": "130", "bcc": "129"}

// field binds a column to what it means. set returns false for a value that it would not
// give back as it is; get returns false for what is unknown.
type field struct {
	name    string
	set     func(m *Message, v string) bool
	get     func(m *Message) (string, bool)
	unknown string // what SMS Backup & Restore has for what is unknown; "" leaves it out
	free    bool   // no field of a message holds it
}

func textField(name string, at func(*Message) *Text, unknown string) field {
	return field{name,
		func(m *Message, v string) bool { *at(m) = Known(v); return true },
		func(m *Message) (string, bool) { return at(m).S, at(m).Known }, unknown, false}
}

func intField(name string, at func(*Message) *Int, unit int64, unknown string) field {
	return field{name,
		func(m *Message, v string) bool { return parse(at(m), v, unit) },
		func(m *Message) (string, bool) { return strconv.FormatInt(at(m).N/unit, 10), at(m).Known }, unknown, false}
}

func flagField(name string, at func(*Message) *Flag, unknown string) field {
	return field{name,
		func(m *Message, v string) bool {
			if v != "0" && v != "1" {
				return false
			}
			*at(m) = Flag{v == "1", true}
			return true
		},
		func(m *Message) (string, bool) {
			if at(m).Set {
				return "1", at(m).Known
			}
			return "0", at(m).Known
		}, unknown, false}
}

// constField is an attribute that no field of a message holds.
func constField(name, unknown string) field {
	return field{name, func(*Message, string) bool { return false }, func(*Message) (string, bool) { return "", false }, unknown, true}
}

// parse takes a number in units of so many milliseconds.
func parse(i *Int, v string, unit int64) bool {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != v || n > maxNumber || n < -maxNumber {
		return false
	}
	*i = Int{n * unit, true}
	return true
}

const maxNumber = 1 << 53 // beyond it other programs' JSON loses digits

// beyondSeconds is where a number can't be seconds of this or the next two thousand years any more.
const beyondSeconds = 1e11

// sentField is an MMS's date_sent, which is in seconds everywhere, but some programs write milliseconds.
func sentField(unknown string) field {
	f := intField("date_sent", func(m *Message) *Int { return &m.DateSent }, 1000, unknown)
	f.set = func(m *Message, v string) bool {
		if !parse(&m.DateSent, v, 1) {
			return false
		}
		if m.DateSent.N < beyondSeconds {
			m.DateSent.N *= 1000
		}
		return true
	}
	return f
}

func boxField(name string) field {
	return field{name,
		func(m *Message, v string) bool {
			if len(v) != 1 || v < "1" || v > "6" {
				return false
			}
			m.Box = boxes[v[0]-'0']
			return true
		},
		func(m *Message) (string, bool) {
			for i, b := range boxes {
				if b != "" && b == m.Box {
					return strconv.Itoa(i), true
				}
			}
			return "", false
		}, null, false}
}

func readableField() field {
	f := constField("readable_date", "")
	f.get = func(m *Message) (string, bool) {
		return time.UnixMilli(m.Date.N).UTC().Format("Jan 2, 2006 3:04:05 PM"), m.Date.Known
	}
	f.unknown = null
	return f
}

func subject(m *Message) *Text { return &m.Subject }
func name(m *Message) *Text    { return &m.Name }
func address(m *Message) *Text { return &m.Address }
func body(m *Message) *Text    { return &m.Body }
func date(m *Message) *Int     { return &m.Date }
func dateSent(m *Message) *Int { return &m.DateSent }
func status(m *Message) *Int   { return &m.Status }
func subID(m *Message) *Int    { return &m.SubID }
func read(m *Message) *Flag    { return &m.Read }
func seen(m *Message) *Flag    { return &m.Seen }
func locked(m *Message) *Flag  { return &m.Locked }

// sbrAddress is an MMS's address attribute, made of the thread where the source has none.
func sbrAddress() field {
	f := textField("address", address, null)
	f.get = func(m *Message) (string, bool) {
		if m.Address.Known || m.Form == FormSBR {
			return m.Address.S, m.Address.Known
		}
		s := strings.Join(m.others(), "~")
		return s, s != ""
	}
	return f
}

// sbrSMS are the attributes of <sms> in the order in which the app writes them.
var sbrSMS = []field{
	constField("protocol", null), textField("address", address, null), intField("date", date, 1, "0"), boxField("type"),
	textField("subject", subject, null), textField("body", body, null), constField("toa", null), constField("sc_toa", null),
	constField("service_center", null), flagField("read", read, "1"), intField("status", status, 1, "-1"),
	flagField("locked", locked, "0"), intField("date_sent", dateSent, 1, "0"), intField("sub_id", subID, 1, "-1"),
	readableField(), textField("contact_name", name, "(Unknown)"), flagField("seen", seen, ""),
}

// sbrMMS are the attributes of <mms>. The app's own order differs from device to device.
var sbrMMS = []field{
	intField("date", date, 1, "0"), constField("ct_t", null), boxField("msg_box"),
	constField("rr", null), textField("sub", subject, null), constField("read_status", null), sbrAddress(), constField("m_id", null),
	flagField("read", read, "1"), constField("m_size", null), mType(), constField("text_only", null), constField("retr_st", null),
	constField("ct_cls", null), constField("sub_cs", null), constField("ct_l", null), constField("tr_id", null), constField("st", null),
	constField("m_cls", null), constField("d_tm", null), constField("retr_txt_cs", null), constField("d_rpt", null),
	sentField("0"), flagField("seen", seen, "1"), constField("v", null), constField("exp", null), constField("pri", null),
	constField("resp_txt", null), constField("rpt_a", null), flagField("locked", locked, "0"), constField("retr_txt", null),
	constField("resp_st", null), intField("sub_id", subID, 1, "-1"), readableField(), textField("contact_name", name, "(Unknown)"),
}

// mType is the type of PDU, by which archives tell MMS from SMS: 132 was retrieved, 128 is to be sent.
func mType() field {
	f := constField("m_type", "")
	f.get = func(m *Message) (string, bool) {
		if m.Box == "received" {
			return "132", true
		}
		return "128", true
	}
	return f
}

// providerSMS and providerMMS are the columns of the provider that fields hold.
var providerSMS = []field{
	textField("address", address, ""), intField("date", date, 1, ""), intField("date_sent", dateSent, 1, ""), boxField("type"),
	textField("subject", subject, ""), textField("body", body, ""), flagField("read", read, ""), flagField("seen", seen, ""),
	flagField("locked", locked, ""), intField("status", status, 1, ""), intField("sub_id", subID, 1, ""), textField("__display_name", name, ""),
}

var providerMMS = []field{
	intField("date", date, 1000, ""), sentField(""), boxField("msg_box"), mType(), textField("address", address, ""),
	textField("sub", subject, ""), flagField("read", read, ""), flagField("seen", seen, ""), flagField("locked", locked, ""),
	intField("sub_id", subID, 1, ""), textField("__display_name", name, ""),
}

// sms2, mms2: SMS Backup & Restore's name of a column, and the archive's of SMS Import / Export.
const (
	contactName = "contact_name"
	displayName = "__display_name"
)

// take gives the fields what the attributes say, SMS Backup & Restore's "null" being nothing.
func (m *Message) take(table []field, attrs []Attr, sbr bool) {
	for i, a := range attrs {
		f := find(table, i, a.Name)
		if f == nil || sbr && (a.Value == null && a.Name != "body" || a.Name == contactName && a.Value == "(Unknown)") {
			continue
		}
		f.set(m, a.Value)
	}
}

// find looks where the field is if the attributes are in the usual order, then everywhere.
func find(table []field, i int, name string) *field {
	if i < len(table) && table[i].name == name {
		return &table[i]
	}
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}

// derive returns what the fields say as attributes.
func (m *Message) derive(table []field) []Attr {
	out := make([]Attr, 0, len(table)+4)
	for _, f := range table {
		if v, ok := f.get(m); ok {
			out = append(out, Attr{f.name, v})
		} else if f.unknown != "" {
			out = append(out, Attr{f.name, f.unknown})
		}
	}
	return out
}

// Differ returns which attributes are not what is derived, and the names of all if
// applying those to what is derived would not give attrs in their order.
func Differ(derived, attrs []Attr) (x []Column, order []string) {
	same, at := true, 0 // at: the next of derived, as long as they are in step
	extra := false
	for _, a := range attrs {
		d := -1
		if at < len(derived) && derived[at].Name == a.Name {
			d = at
		} else {
			d = index(derived, a.Name)
		}
		if d < 0 {
			extra = true
		} else if d != at || extra {
			same = false
		}
		if d >= 0 {
			at = d + 1
		}
		if d < 0 || derived[d].Value != a.Value {
			x = append(x, Column{a.Name, quoteNull(a.Value)})
		}
	}
	if same && at == len(derived) {
		return x, nil
	}
	order = make([]string, len(attrs))
	for i, a := range attrs {
		order[i] = a.Name
	}
	return x, order
}

func index(attrs []Attr, name string) int {
	for i := range attrs {
		if attrs[i].Name == name {
			return i
		}
	}
	return -1
}

// quoteNull is the JSON of a value of SMS Backup & Restore.
func quoteNull(s string) rawjson.Value {
	if s == null {
		return rawjson.Value(null)
	}
	return rawjson.AppendString(nil, s)
}

// plain is the text of a column: its string, or its JSON if it is none.
func plain(v rawjson.Value) string {
	if s, ok := v.String(); ok {
		return s
	}
	return string(v)
}

// Override is the inverse of Differ.
func Override(derived []Attr, x []Column, order []string) []Attr {
	for _, c := range x {
		if d := index(derived, c.Name); d >= 0 {
			derived[d].Value = plain(c.Value)
		} else {
			derived = append(derived, Attr{c.Name, plain(c.Value)})
		}
	}
	if order == nil {
		return derived
	}
	out := make([]Attr, 0, len(order))
	for _, n := range order {
		if d := index(derived, n); d >= 0 {
			out = append(out, derived[d])
		}
	}
	return out
}

// compact is v on one line, every string in it in the one form that AppendString gives.
func compact(v rawjson.Value) rawjson.Value {
	if s, ok := v.String(); ok {
		return rawjson.AppendString(nil, s)
	}
	if bytes.ContainsAny(v, "\n\r\t ") {
		var b bytes.Buffer
		if json.Compact(&b, v) == nil {
			return b.Bytes()
		}
	}
	return bytes.Clone(v)
}
