// Package message knows SMS, MMS and mail: their canonical form, which is one JSON object
// on one line, what makes two of them the same, what the columns of Android's telephony
// provider and of its archives mean, and how a message is shaped for a target. It reads
// and writes no archive: the packages below node/format do. docs/SPEC.md section 9.3
// gives the canonical form and section 9.4 the rules.
//
// Strings may hold halves of surrogate pairs (see package rawjson): archives have them.
package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

// The types of message.
const (
	SMS  = "sms"
	MMS  = "mms"
	Mail = "mail" // Raw is all there is to know
)

// The forms of messages: where one was read, and what a target takes (rule.Profile.Version).
const (
	FormSBR      = "smsxml" // an archive of SMS Backup & Restore
	FormProvider = "smsie"  // columns of the telephony provider: an archive of SMS Import / Export, or mmssms.db
	FormMail     = "mail"   // RFC 5322
	FormMbox     = "mbox"   // the same, its state in the header
)

// Limits on one message. A source leaves out what goes beyond, and says so.
const (
	MaxData  = 48 << 20 // bytes of one part
	MaxText  = 1 << 20  // bytes of any other value
	MaxParts = 1000     // parts, and as many addresses
)

// Text is a string that may be unknown.
type Text struct {
	S     string
	Known bool
}

// Int is a number that may be unknown.
type Int struct {
	N     int64
	Known bool
}

// Flag is a truth value that may be unknown.
type Flag struct{ Set, Known bool }

// Known makes a Text that is known.
func Known(s string) Text { return Text{s, true} }

// Column is a column or attribute of a source that no field holds as the source had it.
type Column struct {
	Name  string
	Value rawjson.Value // a string; null, where the source says that there is nothing; or what else a JSON source had
}

// Message is one message. The zero value of a field is unknown.
type Message struct {
	Type     string
	Date     Int    // milliseconds since 1970 UTC: when it came, or was sent
	DateSent Int    // the same of its sending
	Box      string // received, sent, draft, outbox, failed, queued; "" is unknown
	Address  Text   // as the source has it: of an MMS, all other participants, joined with "~"
	Addrs    []Addr // of an MMS
	Name     Text   // what the source's address book calls the other side
	Subject  Text
	Body     Text // of an SMS
	Parts    []Part

	Read, Seen, Locked Flag
	Status             Int // of an SMS: -1 none, 0 complete, 32 pending, 64 failed
	SubID              Int // the subscription (SIM card); -1 is unknown

	Raw      []byte // of a mail: its bytes, line breaks as the source had them
	Envelope string // of a mail: what follows "From " in the line that an mbox file has before it
	Flags    string // of a mail: the letters that a Maildir's file name ends with, sorted

	Thread string // the other participants in normal form, joined with "~"; not written where Address says it
	Form   string // FormSBR, FormProvider or FormMail: what X and Order mean
	X      []Column
	Order  []string // FormSBR: the names of all attributes in order, if that is not what SBR makes of the fields
	XML    []string // FormSBR: elements that are unknown, as they stand in the archive

	other []rawjson.Member // what a later version of Decant wrote
}

// Addr is one participant of an MMS.
type Addr struct {
	Role    string // from, to, cc, bcc, or the number that the source has
	Address Text
	X       []Column
	Order   []string
}

// Part is one part of an MMS.
type Part struct {
	Seq    Int
	Type   Text // media type
	Name   Text
	CID    Text
	Text   Text   // of a part that is text
	Base64 []byte // of one that is not; nil is none
	SHA256 string // hexadecimal, of the text or the bytes; kept where a source left out the bytes
	X      []Column
	Order  []string
}

// Data decodes a part's bytes.
func (p *Part) Data() ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(p.Base64)))
	n, err := base64.StdEncoding.Decode(out, p.Base64)
	return out[:n], err
}

// SetData gives the part its bytes.
func (p *Part) SetData(data []byte) {
	p.Base64 = base64.StdEncoding.AppendEncode(make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))), data)
	p.hash(data)
}

// SetText gives the part its text.
func (p *Part) SetText(s string) {
	p.Text = Known(s)
	if p.Base64 == nil {
		p.hash([]byte(s))
	}
}

func (p *Part) hash(b []byte) {
	sum := sha256.Sum256(b)
	p.SHA256 = hex.EncodeToString(sum[:])
}

// ErrNoMessage is returned for a line that holds no message in canonical form.
var ErrNoMessage = errors.New("is not a message")

// Decode parses a line in canonical form. The result may refer to it.
func Decode(line []byte) (*Message, error) {
	members, err := rawjson.AppendObject(make([]rawjson.Member, 0, 24), line)
	if err != nil {
		return nil, err
	}
	m := &Message{}
	for _, f := range members {
		if err := m.set(f); err != nil {
			return nil, err
		}
	}
	if m.Type != SMS && m.Type != MMS && m.Type != Mail {
		return nil, ErrNoMessage
	}
	if m.Thread == "" && m.Type != Mail {
		m.Thread = threadOf(split(m.Address))
	}
	return m, nil
}

func (m *Message) set(f rawjson.Member) (err error) {
	switch f.Name {
	case "type":
		m.Type, err = str(f.Value)
	case "date":
		m.Date, err = number(f.Value)
	case "date_sent":
		m.DateSent, err = number(f.Value)
	case "box":
		m.Box, err = str(f.Value)
	case "address":
		m.Address, err = text(f.Value)
	case "addresses":
		m.Addrs, err = each(f.Value, addr)
	case "name":
		m.Name, err = text(f.Value)
	case "subject":
		m.Subject, err = text(f.Value)
	case "body":
		m.Body, err = text(f.Value)
	case "parts":
		m.Parts, err = each(f.Value, part)
	case "read":
		m.Read, err = flag(f.Value)
	case "seen":
		m.Seen, err = flag(f.Value)
	case "locked":
		m.Locked, err = flag(f.Value)
	case "status":
		m.Status, err = number(f.Value)
	case "sub_id":
		m.SubID, err = number(f.Value)
	case "raw":
		m.Raw, err = data(f.Value)
	case "envelope":
		m.Envelope, err = str(f.Value)
	case "flags":
		m.Flags, err = str(f.Value)
	case "thread":
		m.Thread, err = str(f.Value)
	case "form":
		m.Form, err = str(f.Value)
	case "x":
		m.X, err = columns(f.Value)
	case "order":
		m.Order, err = each(f.Value, str)
	case "xml":
		m.XML, err = each(f.Value, str)
	default:
		m.other = append(m.other, f)
	}
	return err
}

func addr(v rawjson.Value) (a Addr, err error) {
	members, err := rawjson.Object(v)
	for _, f := range members {
		if err != nil {
			break
		}
		switch f.Name {
		case "role":
			a.Role, err = str(f.Value)
		case "address":
			a.Address, err = text(f.Value)
		case "x":
			a.X, err = columns(f.Value)
		case "order":
			a.Order, err = each(f.Value, str)
		}
	}
	return a, err
}

func part(v rawjson.Value) (p Part, err error) {
	members, err := rawjson.Object(v)
	for _, f := range members {
		if err != nil {
			break
		}
		switch f.Name {
		case "seq":
			p.Seq, err = number(f.Value)
		case "type":
			p.Type, err = text(f.Value)
		case "name":
			p.Name, err = text(f.Value)
		case "cid":
			p.CID, err = text(f.Value)
		case "sha256":
			p.SHA256, err = str(f.Value)
		case "text":
			p.Text, err = text(f.Value)
		case "data":
			b, plain := f.Value.Unquoted()
			if !plain {
				return p, ErrNoMessage
			}
			p.Base64 = b
		case "x":
			p.X, err = columns(f.Value)
		case "order":
			p.Order, err = each(f.Value, str)
		}
	}
	return p, err
}

func str(v rawjson.Value) (string, error) {
	s, ok := v.String()
	if !ok {
		return "", ErrNoMessage
	}
	return s, nil
}

func text(v rawjson.Value) (Text, error) {
	s, err := str(v)
	return Text{s, err == nil}, err
}

func number(v rawjson.Value) (Int, error) {
	n, ok := v.Int()
	if !ok {
		return Int{}, ErrNoMessage
	}
	return Int{n, true}, nil
}

func flag(v rawjson.Value) (Flag, error) {
	b, ok := v.Bool()
	if !ok {
		return Flag{}, ErrNoMessage
	}
	return Flag{b, true}, nil
}

func data(v rawjson.Value) ([]byte, error) {
	b, ok := v.Unquoted()
	if !ok {
		return nil, ErrNoMessage
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(out, b)
	if err != nil {
		return nil, ErrNoMessage
	}
	return out[:n], nil
}

func each[T any](v rawjson.Value, parse func(rawjson.Value) (T, error)) ([]T, error) {
	elements, err := rawjson.Array(v)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(elements))
	for i, e := range elements {
		if out[i], err = parse(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func columns(v rawjson.Value) ([]Column, error) {
	members, err := rawjson.AppendObject(make([]rawjson.Member, 0, 4), v)
	if err != nil {
		return nil, err
	}
	out := make([]Column, len(members))
	for i, f := range members {
		out[i] = Column(f)
	}
	return out, nil
}

// Append appends the message's canonical form to dst, without a line break.
func (m *Message) Append(dst []byte) []byte {
	w := writer{dst: append(dst, '{')}
	w.str("type", m.Type)
	w.int("date", m.Date)
	w.int("date_sent", m.DateSent)
	w.some("box", m.Box)
	w.text("address", m.Address)
	if len(m.Addrs) > 0 {
		w.name("addresses")
		array(&w, m.Addrs, (*writer).addr)
	}
	w.text("name", m.Name)
	w.text("subject", m.Subject)
	w.text("body", m.Body)
	if len(m.Parts) > 0 {
		w.name("parts")
		array(&w, m.Parts, (*writer).part)
	}
	w.flag("read", m.Read)
	w.flag("seen", m.Seen)
	w.flag("locked", m.Locked)
	w.int("status", m.Status)
	w.int("sub_id", m.SubID)
	if m.Type == Mail {
		w.name("raw")
		w.dst = append(w.dst, '"')
		w.dst = append(base64.StdEncoding.AppendEncode(w.dst, m.Raw), '"')
	}
	w.some("envelope", m.Envelope)
	w.some("flags", m.Flags)
	if m.Thread != threadOf(split(m.Address)) {
		w.some("thread", m.Thread)
	}
	w.some("form", m.Form)
	w.columns(m.X)
	w.strings("order", m.Order)
	w.strings("xml", m.XML)
	for _, f := range m.other {
		w.name(f.Name)
		w.dst = append(w.dst, f.Value...)
	}
	return append(w.dst, '}')
}

// Bytes returns the message's canonical form, without a line break, in no more memory than it needs.
func (m *Message) Bytes() []byte { return bytes.Clone(m.Append(make([]byte, 0, 1024))) }

// writer appends members to an object.
type writer struct{ dst []byte }

func (w *writer) name(n string) {
	if c := w.dst[len(w.dst)-1]; c != '{' {
		w.dst = append(w.dst, ',')
	}
	w.dst = append(rawjson.AppendString(w.dst, n), ':')
}

func (w *writer) str(n, s string) {
	w.name(n)
	w.dst = rawjson.AppendString(w.dst, s)
}

func (w *writer) some(n, s string) {
	if s != "" {
		w.str(n, s)
	}
}

func (w *writer) text(n string, t Text) {
	if t.Known {
		w.str(n, t.S)
	}
}

func (w *writer) int(n string, i Int) {
	if i.Known {
		w.name(n)
		w.dst = strconv.AppendInt(w.dst, i.N, 10)
	}
}

func (w *writer) flag(n string, f Flag) {
	if f.Known {
		w.name(n)
		w.dst = strconv.AppendBool(w.dst, f.Set)
	}
}

func (w *writer) columns(x []Column) {
	if len(x) == 0 {
		return
	}
	w.name("x")
	w.dst = append(w.dst, '{')
	for _, c := range x {
		w.name(c.Name)
		w.dst = append(w.dst, c.Value...)
	}
	w.dst = append(w.dst, '}')
}

func (w *writer) strings(n string, s []string) {
	if s != nil {
		w.name(n)
		array(w, s, func(w *writer, s *string) { w.dst = rawjson.AppendString(w.dst, *s) })
	}
}

func array[T any](w *writer, elements []T, one func(*writer, *T)) {
	w.dst = append(w.dst, '[')
	for i := range elements {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		one(w, &elements[i])
	}
	w.dst = append(w.dst, ']')
}

func (w *writer) addr(a *Addr) {
	w.dst = append(w.dst, '{')
	w.str("role", a.Role)
	w.text("address", a.Address)
	w.columns(a.X)
	w.strings("order", a.Order)
	w.dst = append(w.dst, '}')
}

func (w *writer) part(p *Part) {
	w.dst = append(w.dst, '{')
	w.int("seq", p.Seq)
	w.text("type", p.Type)
	w.text("name", p.Name)
	w.text("cid", p.CID)
	w.some("sha256", p.SHA256)
	w.text("text", p.Text)
	if p.Base64 != nil {
		w.name("data")
		w.dst = append(append(append(w.dst, '"'), p.Base64...), '"')
	}
	w.columns(p.X)
	w.strings("order", p.Order)
	w.dst = append(w.dst, '}')
}
