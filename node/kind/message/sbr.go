package message

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Element is a message in an archive of SMS Backup & Restore: <sms>, or <mms> with its
// parts and addresses.
type Element struct {
	Name         string
	Attrs        []Attr
	Parts, Addrs [][]Attr
	XML          []string // elements inside that are unknown, as they stand in the archive
}

// The names of the elements.
const (
	elementSMS = "sms"
	elementMMS = "mms"
)

// FromSBR makes a message of an element, whose attributes have different names. Message.SBR gives it back.
func FromSBR(e *Element) *Message {
	m := &Message{Type: SMS, Form: FormSBR, XML: e.XML}
	table := sbrSMS
	if e.Name == elementMMS {
		m.Type, table = MMS, sbrMMS
	}
	m.take(table, e.Attrs, true)
	for _, p := range e.Parts {
		m.Parts = append(m.Parts, partFromSBR(p))
	}
	for _, a := range e.Addrs {
		m.Addrs = append(m.Addrs, addrFromSBR(a))
	}
	m.X, m.Order = Differ(m.derive(table), e.Attrs)
	m.SetThread(nil)
	return m
}

// SBR returns the element that stands for an SMS or MMS in an archive of SMS Backup & Restore.
func (m *Message) SBR() *Element {
	e := &Element{Name: elementSMS, XML: m.XML}
	table := sbrSMS
	if m.Type == MMS {
		e.Name, table = elementMMS, sbrMMS
	}
	e.Attrs = Override(m.derive(table), m.sbrColumns(m.X), m.Order)
	for i := range m.Parts {
		p := &m.Parts[i]
		e.Parts = append(e.Parts, Override(p.sbr(), m.sbrColumns(p.X), p.Order))
	}
	for i := range m.Addrs {
		a := &m.Addrs[i]
		e.Addrs = append(e.Addrs, Override(a.sbr(), m.sbrColumns(a.X), a.Order))
	}
	return e
}

// sbrColumns are the columns that can be attributes. What a column of another form says
// about what a field holds has no meaning here: a date in seconds, say.
func (m *Message) sbrColumns(x []Column) []Column {
	if m.Form == FormSBR {
		return x
	}
	out := make([]Column, 0, len(x))
	for _, c := range x {
		if IsAttribute(c.Name) && !c.Value.IsNull() && !m.dated(c.Name) {
			out = append(out, c)
		}
	}
	return out
}

// IsAttribute reports whether an XML attribute can have this name.
func IsAttribute(name string) bool {
	if name == "" || len(name) > 256 || !utf8.ValidString(name) {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == ':' || c >= utf8.RuneSelf
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '-' || c == '.')) {
			return false
		}
	}
	return true
}

func addrFromSBR(attrs []Attr) (a Addr) {
	for _, t := range attrs {
		switch {
		case t.Value == null:
		case t.Name == "address":
			a.Address = Known(t.Value)
		case t.Name == "type":
			a.setRole(t.Value)
		}
	}
	a.X, a.Order = Differ(a.sbr(), attrs)
	return a
}

func (a *Addr) setRole(number string) {
	if a.Role = roles[number]; a.Role == "" {
		a.Role = number
	}
}

func (a *Addr) roleNumber() string {
	if n := roleNumbers[a.Role]; n != "" {
		return n
	}
	return a.Role
}

func (a *Addr) sbr() []Attr {
	number := a.roleNumber()
	if number == "" {
		number = null
	}
	return []Attr{{"address", orNull(a.Address)}, {"type", number}, {"charset", null}}
}

func orNull(t Text) string {
	if t.Known {
		return t.S
	}
	return null
}

func partFromSBR(attrs []Attr) (p Part) {
	for _, t := range attrs {
		if t.Name == "ct" && t.Value != null {
			p.Type = Known(t.Value)
		}
	}
	for _, t := range attrs {
		switch {
		case t.Name == "text" && p.isText():
			p.SetText(t.Value)
		case t.Value == null:
		case t.Name == "seq":
			parse(&p.Seq, t.Value, 1)
		case t.Name == "name":
			p.Name = Known(t.Value)
		case t.Name == "cid":
			p.CID = Known(t.Value)
		case t.Name == "text":
			p.SetText(t.Value)
		}
	}
	if d := index(attrs, "data"); d >= 0 && attrs[d].Value != null {
		p.takeBase64(attrs[d].Value)
	}
	p.X, p.Order = Differ(p.sbr(), attrs)
	return p
}

// isText reports whether the provider keeps the part's content as text.
func (p *Part) isText() bool {
	t := strings.ToLower(p.Type.S)
	return strings.HasPrefix(t, "text/") || t == "application/smil"
}

// takeBase64 takes base64 of any habit: broken into lines, without its padding. What is no base64 is left alone.
func (p *Part) takeBase64(s string) {
	b := []byte(s)
	if data, err := base64.StdEncoding.AppendDecode(nil, b); err == nil {
		p.Base64 = b
		if len(b) != base64.StdEncoding.EncodedLen(len(data)) { // it has line breaks
			p.SetData(data)
		}
		p.hash(data)
		return
	}
	b = bytes.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\n', '\r', '=':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, b)
	if data, err := base64.RawStdEncoding.AppendDecode(nil, b); err == nil {
		p.SetData(data)
	}
}

func (p *Part) sbr() []Attr {
	seq := "0"
	if p.Seq.Known {
		seq = formatInt(p.Seq.N)
	}
	out := append(make([]Attr, 0, 14), Attr{"seq", seq}, Attr{"ct", orNull(p.Type)}, Attr{"name", orNull(p.Name)}, Attr{"chset", null}, Attr{"cd", null},
		Attr{"fn", null}, Attr{"cid", orNull(p.CID)}, Attr{"cl", null}, Attr{"ctt_s", null}, Attr{"ctt_t", null}, Attr{"text", orNull(p.Text)})
	if p.Base64 != nil {
		out = append(out, Attr{"data", string(p.Base64)})
	}
	return out
}
