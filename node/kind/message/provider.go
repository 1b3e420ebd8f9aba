package message

import (
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

// Row is a message in the columns of Android's telephony provider, with its parts and
// addresses. Values are JSON; SMS Import / Export writes all as strings.
type Row struct {
	MMS          bool
	Columns      []Column
	Parts, Addrs [][]Column
	Data         [][]byte // of each part: base64 of its bytes, nil if it has none
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

// Get returns the text of a column.
func Get(columns []Column, name string) (string, bool) {
	for _, c := range columns {
		if c.Name == name && !c.Value.IsNull() {
			return plain(c.Value), true
		}
	}
	return "", false
}

// FromProvider makes a message of a row, whose columns have different names.
func FromProvider(r *Row) *Message {
	m := &Message{Type: SMS, Form: FormProvider}
	table := providerSMS
	if r.MMS {
		m.Type, table = MMS, providerMMS
	}
	m.take(table, attrs(r.Columns), false)
	m.X = Beyond(m.derive(table), r.Columns)
	for i, p := range r.Parts {
		var data []byte
		if i < len(r.Data) {
			data = r.Data[i]
		}
		m.Parts = append(m.Parts, partFromProvider(p, data))
	}
	for _, a := range r.Addrs {
		m.Addrs = append(m.Addrs, addrFromProvider(a))
	}
	m.SetThread(nil)
	return m
}

func attrs(columns []Column) []Attr {
	out := make([]Attr, 0, len(columns))
	for _, c := range columns {
		if !c.Value.IsNull() {
			out = append(out, Attr{c.Name, plain(c.Value)})
		}
	}
	return out
}

// Beyond returns the columns that are not what is derived. One that is derived, but that
// the source has not, is null.
func Beyond(derived []Attr, columns []Column) (x []Column) {
	for _, c := range columns {
		v := compact(c.Value)
		if d := index(derived, c.Name); d < 0 || string(rawjson.AppendString(nil, derived[d].Value)) != string(v) {
			x = append(x, Column{c.Name, v})
		}
	}
	for _, d := range derived {
		if !has(columns, d.Name) {
			x = append(x, Column{d.Name, rawjson.Value(null)})
		}
	}
	return x
}

func has(columns []Column, name string) bool {
	for i := range columns {
		if columns[i].Name == name {
			return true
		}
	}
	return false
}

func addrFromProvider(columns []Column) (a Addr) {
	if s, ok := Get(columns, "address"); ok {
		a.Address = Known(s)
	}
	if s, ok := Get(columns, "type"); ok {
		a.setRole(s)
	}
	a.X = Beyond(a.provider(), columns)
	return a
}

func (a *Addr) provider() (out []Attr) {
	if a.Address.Known {
		out = append(out, Attr{"address", a.Address.S})
	}
	if n := a.roleNumber(); n != "" {
		out = append(out, Attr{"type", n})
	}
	return out
}

func partFromProvider(columns []Column, data []byte) (p Part) {
	for _, t := range attrs(columns) {
		switch t.Name {
		case "seq":
			parse(&p.Seq, t.Value, 1)
		case "ct":
			p.Type = Known(t.Value)
		case "name":
			p.Name = Known(t.Value)
		case "cid":
			p.CID = Known(t.Value)
		case "text":
			p.SetText(t.Value)
		}
	}
	if data != nil {
		p.takeBase64(string(data))
	}
	p.X = Beyond(p.provider(), columns)
	return p
}

func (p *Part) provider() (out []Attr) {
	if p.Seq.Known {
		out = append(out, Attr{"seq", formatInt(p.Seq.N)})
	}
	for _, f := range []struct {
		name string
		text Text
	}{{"ct", p.Type}, {"name", p.Name}, {"cid", p.CID}, {"text", p.Text}} {
		if f.text.Known {
			out = append(out, Attr{f.name, f.text.S})
		}
	}
	return out
}

// Provider returns an SMS or MMS in the provider's columns: those that have a value.
func (m *Message) Provider() *Row {
	r := &Row{MMS: m.Type == MMS}
	table := providerSMS
	if r.MMS {
		table = providerMMS
	}
	r.Columns = m.merged(m.derive(table), m.X)
	for i := range m.Parts {
		p := &m.Parts[i]
		r.Parts = append(r.Parts, m.merged(p.provider(), p.X))
		r.Data = append(r.Data, p.Base64)
	}
	for i := range m.Addrs {
		r.Addrs = append(r.Addrs, m.merged(m.Addrs[i].provider(), m.Addrs[i].X))
	}
	return r
}

// merged is the inverse of Beyond. Of a message of another form it leaves out what says
// the same as a field.
func (m *Message) merged(derived []Attr, x []Column) []Column {
	out := make([]Column, 0, len(derived)+len(x))
	for _, d := range derived {
		out = append(out, Column{d.Name, rawjson.AppendString(nil, d.Value)})
	}
	for _, c := range x {
		d := index(derived, c.Name)
		switch {
		case d >= 0 && m.Form != FormProvider && (c.Value.IsNull() || m.dated(c.Name)):
		case d >= 0:
			out[d].Value = c.Value
		default:
			out = append(out, c)
		}
	}
	kept := out[:0]
	for _, c := range out {
		if !c.Value.IsNull() {
			kept = append(kept, c)
		}
	}
	return kept
}

// dated reports whether name is a time that a field holds: forms differ in their units.
func (m *Message) dated(name string) bool {
	return name == "date" && m.Date.Known || name == "date_sent" && m.DateSent.Known
}

// token is what the provider has for the own address of a message that is sent.
const token = "insert-address-token"

func isToken(s string) bool { return strings.EqualFold(s, token) }
