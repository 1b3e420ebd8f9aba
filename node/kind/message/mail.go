package message

import (
	"bytes"
	"encoding/hex"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/item"
)

// maxHeader is how much of a mail is searched for its header, in bytes.
const maxHeader = 256 << 10

// NewMail makes a message of a mail. Its bytes are kept as they are; date and subject are
// taken from its header for showing. envelope is what follows "From " in an mbox file,
// flags are the letters at the end of a Maildir's file name.
func NewMail(raw []byte, envelope, flags string) *Message {
	m := &Message{Type: Mail, Form: FormMail, Raw: raw, Envelope: envelope, Flags: flags}
	head := raw[:min(len(raw), maxHeader)]
	if end := headerEnd(head); end >= 0 {
		head = head[:end]
	}
	head = bytes.TrimRight(head, "\r")
	parsed, err := mail.ReadMessage(bytes.NewReader(append(slices.Clip(head), "\r\n\r\n"...)))
	if err != nil {
		return m
	}
	if d, err := parsed.Header.Date(); err == nil {
		m.Date = Int{d.UnixMilli(), true}
	}
	m.Subject = header(parsed.Header, "Subject")
	m.Address = header(parsed.Header, "From")
	return m
}

// headerEnd is where the header ends, -1 if it has no end.
func headerEnd(b []byte) int {
	i, j := bytes.Index(b, []byte("\n\n")), bytes.Index(b, []byte("\n\r\n"))
	if i < 0 || j >= 0 && j < i {
		return j
	}
	return i
}

func header(h mail.Header, name string) Text {
	v := h.Get(name)
	if v == "" || len(v) > MaxText {
		return Text{}
	}
	if s, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
		v = s
	}
	return Known(strings.ToValidUTF8(v, "\ufffd"))
}

// mailDomain is the domain of addresses that stand for numbers; RFC 2606 says that there is none.
const mailDomain = "sms.invalid"

// mail makes a mail of an SMS or MMS: an archive for reading.
func (s *shaper) mail() {
	m := s.m
	if m.Type == Mail {
		return
	}
	out := NewMail(m.RFC5322(), "", m.mailFlags())
	s.change("", item.EffectAltered, "it is written as a mail, for reading: a telephone can't take it back from there", m.Type, Mail)
	if rest := m.unwritten(); rest != "" {
		s.change("X", item.EffectDropped, "a mail has no place for what the provider keeps beside the message", rest, "")
	}
	if strings.ContainsFunc(m.Body.S, func(r rune) bool { return r == utf8.RuneError }) && !utf8.ValidString(m.Body.S) {
		s.change("BODY", item.EffectAltered, "half of a character is no text", m.Body.S, strings.ToValidUTF8(m.Body.S, "\ufffd"))
	}
	s.m, s.altered = out, true
}

func (m *Message) mailFlags() string {
	if m.Read.Known && !m.Read.Set {
		return ""
	}
	return "S"
}

// unwritten lists what RFC5322 leaves out.
func (m *Message) unwritten() string {
	var out []string
	for _, a := range m.properties() {
		switch a.Name {
		case "name", "date_sent", "subject", "sub", "read":
		default:
			out = append(out, a.Name+"="+a.Value)
		}
	}
	return strings.Join(out, " ")
}

// RFC5322 returns an SMS or MMS as a mail. The same message gives the same bytes. The
// header fields X-SMS-Box, X-SMS-Address and X-SMS-Date-Sent hold the source's values.
func (m *Message) RFC5322() []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if value = oneLine(value); value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	from, to, cc := m.mailPeople()
	id := m.Identity()
	field("Message-ID", "<"+hex.EncodeToString(id[1:])+"@"+mailDomain+">")
	if m.Date.Known {
		field("Date", time.UnixMilli(m.Date.N).UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"))
	}
	field("From", from)
	field("To", to)
	field("Cc", cc)
	field("Subject", mime.QEncoding.Encode("utf-8", oneLine(m.mailSubject())))
	field("X-SMS-Type", m.Type)
	field("X-SMS-Box", m.Box)
	field("X-SMS-Address", mime.QEncoding.Encode("utf-8", oneLine(m.Address.S)))
	if m.DateSent.N != 0 {
		field("X-SMS-Date-Sent", formatInt(m.DateSent.N))
	}
	if m.Date.Known {
		field("X-SMS-Date", formatInt(m.Date.N))
	}
	field("MIME-Version", "1.0")
	if m.Type == SMS {
		writeText(&b, "text/plain; charset=utf-8", "", m.Body.S)
		return b.Bytes()
	}
	m.writeParts(&b, hex.EncodeToString(id[1:17]))
	return b.Bytes()
}

func (m *Message) mailSubject() string {
	who := m.Name.S
	if who == "" {
		who = strings.Join(split(m.Address), ", ")
	}
	if who == "" {
		who = strings.Join(m.others(), ", ")
	}
	switch {
	case m.Subject.S != "":
		return m.Subject.S
	case m.Box == "received":
		return strings.ToUpper(m.Type) + " from " + who
	}
	return strings.ToUpper(m.Type) + " to " + who
}

func (m *Message) mailPeople() (from, to, cc string) {
	const me = `"me" <me@` + mailDomain + `>`
	peers := split(m.Address)
	if m.Type == SMS || len(m.Addrs) == 0 {
		if len(peers) == 1 {
			from = mailAddress(peers[0], m.Name.S)
		} else {
			from = mailAddresses(peers)
		}
		if m.Box == "received" {
			return from, me, ""
		}
		return me, from, ""
	}
	role := func(want ...string) []string {
		return m.with(func(r string) bool { return slices.Contains(want, r) })
	}
	from, to, cc = mailAddresses(role("from")), mailAddresses(role("to")), mailAddresses(role("cc", "bcc"))
	switch f := role("from"); {
	case len(f) == 0:
		from = me
	case len(f) == 1 && m.Box == "received" && len(peers) < 2:
		from = mailAddress(f[0], m.Name.S)
	}
	return from, to, cc
}

func mailAddresses(numbers []string) string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = mailAddress(n, "")
	}
	return strings.Join(out, ", ")
}

func mailAddress(number, name string) string {
	address := mail.Address{Name: oneLine(name), Address: oneLine(number)}
	if !strings.Contains(number, "@") {
		address.Address += "@" + mailDomain
	}
	return address.String()
}

// oneLine keeps a value from being more than a header field's line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7F {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func writeText(b *bytes.Buffer, contentType, more, text string) {
	b.WriteString("Content-Type: " + contentType + "\r\nContent-Transfer-Encoding: quoted-printable\r\n" + more + "\r\n")
	var q bytes.Buffer
	w := quotedprintable.NewWriter(&q)
	w.Write([]byte("\n" + strings.ToValidUTF8(text, "\ufffd")))
	w.Close()
	// No line begins with "From ", so that no mbox file needs to quote it (RFC 2049, section 3).
	b.Write(bytes.ReplaceAll(q.Bytes(), []byte("\nFrom "), []byte("\n=46rom "))[len("\r\n"):])
	b.WriteString("\r\n")
}

func (m *Message) writeParts(b *bytes.Buffer, boundary string) {
	b.WriteString("Content-Type: multipart/mixed; boundary=\"" + boundary + "\"\r\n\r\n")
	for i := range m.Parts {
		p := &m.Parts[i]
		b.WriteString("--" + boundary + "\r\n")
		if p.Base64 == nil {
			writeText(b, p.mediaType("text/plain", map[string]string{"charset": "utf-8"}), p.mailFields(), p.Text.S)
			continue
		}
		b.WriteString("Content-Type: " + p.mediaType("application/octet-stream", nil) + "\r\nContent-Transfer-Encoding: base64\r\n" + p.mailFields() + "\r\n")
		for line := range slices.Chunk(p.Base64, 76) {
			b.Write(line)
			b.WriteString("\r\n")
		}
	}
	b.WriteString("--" + boundary + "--\r\n")
}

func (p *Part) mediaType(otherwise string, parameters map[string]string) string {
	t, _, err := mime.ParseMediaType(p.Type.S)
	if err != nil || strings.HasPrefix(t, "multipart/") {
		t = otherwise
	}
	if s := mime.FormatMediaType(t, parameters); s != "" {
		return s
	}
	return otherwise
}

// mailFields are the header fields that name a part.
func (p *Part) mailFields() string {
	out := ""
	if p.Name.S != "" {
		if s := mime.FormatMediaType("attachment", map[string]string{"filename": oneLine(p.Name.S)}); s != "" {
			out = "Content-Disposition: " + s + "\r\n"
		}
	}
	if id := oneLine(p.CID.S); id != "" && len(id) < 200 && strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") {
		out += "Content-ID: " + mime.QEncoding.Encode("utf-8", id) + "\r\n"
	}
	return out
}

// stateLetters are the letters of the header fields Status and X-Status, and the flags of
// a Maildir that mean the same. Status has O too: seen by a mail program, but not read.
var stateLetters = []struct {
	field, letter string
	flag          byte
}{{"Status", "R", 'S'}, {"X-Status", "A", 'R'}, {"X-Status", "F", 'F'}, {"X-Status", "D", 'T'}, {"X-Status", "T", 'D'}}

// MailFlags returns the flags of a mail, sorted: those that its Maildir had, or those that its header has.
func (m *Message) MailFlags() string {
	if m.Flags != "" {
		return m.Flags
	}
	status, xStatus, _ := stateOf(m.Raw)
	var out []byte
	for _, l := range stateLetters {
		v := status
		if l.field == "X-Status" {
			v = xStatus
		}
		if strings.Contains(v, l.letter) {
			out = append(out, l.flag)
		}
	}
	slices.Sort(out)
	return string(out)
}

// stateOf returns the values of Status and X-Status; known is false if there is neither.
func stateOf(raw []byte) (status, xStatus string, known bool) {
	end := headerEnd(raw[:min(len(raw), maxHeader)])
	for line := range bytes.Lines(raw[:max(end, 0)]) {
		name, value, _ := strings.Cut(string(bytes.TrimSpace(line)), ":")
		switch {
		case len(name) > 8:
		case strings.EqualFold(name, "Status"):
			status, known = strings.TrimSpace(value), true
		case strings.EqualFold(name, "X-Status"):
			xStatus, known = strings.TrimSpace(value), true
		}
	}
	return status, xStatus, known
}

// mbox prepares a mail for an mbox file.
func (s *shaper) mbox() {
	m := s.m
	if n := len(m.Raw); n == 0 || m.Raw[n-1] != '\n' {
		m.Raw, s.altered = append(slices.Clip(m.Raw), '\n'), true
		s.change("BODY", item.EffectAltered, "in an mbox file its last line has a line break", "", "")
	}
	s.flags()
}

// flags puts a Maildir's flags into the header, where an mbox file has them.
func (s *shaper) flags() {
	m := s.m
	if m.Flags == "" {
		return
	}
	end := headerEnd(m.Raw[:min(len(m.Raw), maxHeader)])
	if _, _, has := stateOf(m.Raw); has || end < 0 {
		s.change("FLAGS", item.EffectDropped, "the mail's header has its own state, or no end", m.Flags, "")
	} else {
		brk := "\n"
		if end > 0 && m.Raw[end-1] == '\r' || bytes.HasPrefix(m.Raw[end:], []byte("\n\r\n")) {
			brk = "\r\n"
		}
		lines := stateLines(m.Flags, brk)
		m.Raw = slices.Concat(m.Raw[:end+1], []byte(lines), m.Raw[end+1:])
		s.change("FLAGS", item.EffectMoved, "an mbox file keeps them in the header", m.Flags, strings.TrimSpace(lines))
		if strings.Trim(m.Flags, "DFRST") != "" {
			s.change("FLAGS", item.EffectDropped, "an mbox file has no such flag", strings.Trim(m.Flags, "DFRST"), "")
		}
	}
	m.Flags, s.altered = "", true
}

func stateLines(flags, brk string) string {
	status, x := "O", ""
	for _, l := range stateLetters {
		if strings.IndexByte(flags, l.flag) < 0 {
			continue
		}
		if l.field == "Status" {
			status = l.letter + status
		} else {
			x += l.letter
		}
	}
	out := "Status: " + status + brk
	if x != "" {
		out += "X-Status: " + x + brk
	}
	return out
}
