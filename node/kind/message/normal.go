package message

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// NormalAddress is the form in which addresses are compared. A number that is valid in
// the region, or has its country's prefix, becomes E.164 if a region is given. Otherwise
// a number becomes its last eight digits: that many tell numbers apart where the time and
// the content are the same too, and are the same with and without the prefixes of country
// and area. A name or a mail address is compared without case.
func NormalAddress(s, region string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	s = strings.TrimPrefix(strings.TrimPrefix(s, "tel:"), "sms:")
	digits := numberDigits(s)
	if digits == "" {
		return s
	}
	if region != "" {
		if n, err := phonenumbers.Parse(s, region); err == nil && phonenumbers.IsValidNumber(n) {
			return phonenumbers.Format(n, phonenumbers.E164)
		}
	}
	return digits[max(0, len(digits)-8):]
}

// numberDigits returns the digits of what looks like a telephone number, else "".
func numberDigits(s string) string {
	if len(s) > 64 {
		return ""
	}
	var out []byte
	for _, r := range s {
		switch {
		case '0' <= r && r <= '9':
			out = append(out, byte(r))
		case strings.ContainsRune("+-./() \u00a0\u202a\u202c\u2010\u2011*#,;", r):
		default:
			return ""
		}
	}
	return string(out)
}

// threadAddress is an address in a thread: as it is, but without what only makes a number readable.
func threadAddress(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	digits := numberDigits(s)
	switch {
	case digits == "":
		return s
	case strings.HasPrefix(s, "+"):
		return "+" + digits
	}
	return digits
}

// split returns the addresses that an address attribute names.
func split(t Text) (out []string) {
	for a := range strings.SplitSeq(t.S, "~") {
		if a = strings.TrimSpace(a); a != "" && !isToken(a) {
			out = append(out, a)
		}
	}
	return out
}

// with returns the addresses of a role.
func (m *Message) with(role func(string) bool) (out []string) {
	for _, a := range m.Addrs {
		if a.Address.S != "" && !isToken(a.Address.S) && role(a.Role) {
			out = append(out, a.Address.S)
		}
	}
	return out
}

func isFrom(role string) bool  { return role == "from" }
func notFrom(role string) bool { return role != "from" }

// others are the participants of an MMS but the own number, which the thread does not have.
func (m *Message) others() (out []string) {
	members := strings.Split(m.Thread, "~")
	for _, a := range m.with(func(string) bool { return true }) {
		if slices.Contains(members, threadAddress(a)) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// SetThread finds the thread: all participants but those of own, numbers of this device
// as OwnNumbers gives them.
func (m *Message) SetThread(own map[string]bool) {
	people := split(m.Address)
	if len(people) == 0 {
		people = m.with(func(string) bool { return true })
		normal := addresses{}
		var from []string
		if m.Box != "received" {
			from = m.with(isFrom)
		}
		people = normal.without(people, own, from)
	}
	m.Thread = threadOf(people)
}

// threadOf is the thread of some people. It changes the slice.
func threadOf(people []string) string {
	for i, a := range people {
		people[i] = threadAddress(a)
	}
	slices.Sort(people)
	return strings.Join(slices.Compact(people), "~")
}

// addresses makes the same addresses normal again and again.
type addresses struct {
	region string
	known  map[string]string // nil: none are kept
}

// maxKnown is how many addresses are kept.
const maxKnown = 10_000

func (n addresses) normal(s string) string {
	if a, ok := n.known[s]; ok {
		return a
	}
	a := NormalAddress(s, n.region)
	if n.known != nil && len(n.known) < maxKnown {
		n.known[s] = a
	}
	return a
}

// without returns the people who are not this device, which is own and from, or all if nobody would be left.
func (n addresses) without(people []string, own map[string]bool, from []string) []string {
	if len(own) == 0 && len(from) == 0 {
		return people
	}
	sent := make([]string, len(from))
	for i, f := range from {
		sent[i] = n.normal(f)
	}
	var out []string
	for _, a := range people {
		if a := n.normal(a); own[a] || slices.Contains(sent, a) {
			continue
		}
		out = append(out, a)
	}
	if len(out) == 0 {
		return people
	}
	return out
}

// Own returns the addresses that a message shows to be this device's own: who sent an MMS
// that is in the box of those sent, and who got one that came and names one recipient.
func (m *Message) Own() []string {
	if m.Type != MMS {
		return nil
	}
	switch m.Box {
	case "received":
		if to := m.with(notFrom); len(to) == 1 {
			return to
		}
	case "sent":
		return m.with(isFrom)
	}
	return nil
}

// people are those who, with the time and the content, tell a message apart: who sent it
// if it was received, to whom it goes if not.
func (m *Message) people(own map[string]bool, n addresses) []string {
	var out []string
	from := m.with(isFrom)
	switch {
	case m.Type == SMS:
		out = []string{m.Address.S}
	case m.Box == "received" && len(from) > 0:
		out = from
	case m.Box == "received":
		out = split(m.Address)
	default:
		out = m.with(notFrom)
		if len(out) == 0 {
			out = split(m.Address)
		}
		out = n.without(out, own, from)
	}
	normal := make([]string, len(out))
	for i, a := range out {
		normal[i] = n.normal(a)
	}
	slices.Sort(normal)
	return slices.Compact(normal)
}

// content is the hash of what the message says: of an SMS its body, of an MMS its parts in
// any order without the layout (SMIL), which programs make anew, of a mail its bytes
// without the header fields that mail programs keep its state in.
func (m *Message) content() [32]byte {
	switch m.Type {
	case SMS:
		if m.Body.S == null {
			return sha256.Sum256(nil)
		}
		return sha256.Sum256([]byte(m.Body.S))
	case Mail:
		return sha256.Sum256(steady(m.Raw))
	}
	var sums [][]byte
	for i := range m.Parts {
		p := &m.Parts[i]
		if strings.EqualFold(p.Type.S, "application/smil") {
			continue
		}
		if sum, ok := p.sum(); ok {
			sums = append(sums, sum[:])
		}
	}
	slices.SortFunc(sums, bytes.Compare)
	return sha256.Sum256(slices.Concat(sums...))
}

var emptySum = sha256.Sum256(nil)

// sum is the hash of a part's content, false if it has none.
func (p *Part) sum() (sum [32]byte, ok bool) {
	switch {
	case len(p.Base64) > 0:
		data, err := p.Data()
		if err != nil {
			data = p.Base64
		}
		sum = sha256.Sum256(data)
	case p.Text.Known && p.Text.S != null:
		sum = sha256.Sum256([]byte(p.Text.S))
	case p.Text.Known:
		return sum, false
	default:
		b, err := hex.DecodeString(p.SHA256)
		if err != nil || len(b) != 32 {
			return sum, false
		}
		sum = [32]byte(b)
	}
	return sum, sum != emptySum
}

// stateFields are header fields that mail programs keep a mail's state in.
var stateFields = []string{"status", "x-status", "x-keywords", "x-uid", "x-imap", "x-imapbase", "content-length", "lines"}

// steady is a mail without its state, each line ended by LF, no blank line at its end.
func steady(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	header, drop := true, false
	for line := range bytes.Lines(raw) {
		line = bytes.TrimRight(line, "\r\n")
		if header {
			if len(line) == 0 {
				header = false
			} else if line[0] != ' ' && line[0] != '\t' {
				name, _, _ := bytes.Cut(line, []byte(":"))
				drop = len(name) <= 16 && slices.Contains(stateFields, strings.ToLower(string(bytes.TrimSpace(name))))
			}
			if header && drop {
				continue
			}
		}
		out = append(append(out, line...), '\n')
	}
	return bytes.TrimRight(out, "\n")
}

// key is what is the same in two records of one message, but for the time.
func (m *Message) key(own map[string]bool, n addresses) (key [32]byte) {
	content := m.content()
	h := sha256.New()
	h.Write([]byte(m.Type))
	if m.Type != Mail {
		h.Write([]byte{0})
		h.Write([]byte(m.Box))
		for _, a := range m.people(own, n) {
			h.Write([]byte{0})
			h.Write([]byte(a))
		}
		h.Write([]byte{0, 0})
		h.Write(m.unread())
	}
	h.Write(content[:])
	h.Sum(key[:0])
	return key
}

// unread is what the source has for a time and a box that could not be read: it still tells messages apart.
func (m *Message) unread() (out []byte) {
	for _, f := range [...]struct {
		known   bool
		columns []string
	}{{m.Date.Known, []string{"date"}}, {m.Box != "", []string{"msg_box", "type"}}} {
		for _, name := range f.columns {
			if v, ok := Get(m.X, name); ok && !f.known && v != "" {
				out = append(append(append(out, name...), 0), v...)
				out = append(out, 0)
			}
		}
	}
	return out
}

// identityByKey is the first byte of an identity that is made of a message's key and time.
const identityByKey = 3

// Identity is what two records of the same message have in common, as far as one record
// alone can tell: Match finds more. It has 33 bytes.
func (m *Message) Identity() []byte {
	key := m.key(nil, addresses{})
	var at [8]byte
	if m.Type != Mail {
		binary.BigEndian.PutUint64(at[:], uint64(m.Date.N))
	}
	sum := sha256.Sum256(append(key[:], at[:]...))
	return append([]byte{identityByKey}, sum[:]...)
}

// Label is what a person knows the message by.
func (m *Message) Label() string {
	who := cmp.Or(m.Name.S, m.Address.S, strings.Join(m.others(), ", "))
	if m.Type == Mail {
		who = m.Subject.S
	}
	if m.Date.Known {
		return printable(who) + " " + formatTime(m.Date.N)
	}
	return printable(who)
}

// printable keeps a label short and on one line.
func printable(s string) string {
	n := 0
	for i, r := range s {
		if n++; n > 60 {
			return s[:i] + "…"
		}
		if unicode.IsControl(r) {
			return strings.Map(func(r rune) rune {
				if unicode.IsControl(r) {
					return ' '
				}
				return r
			}, s[:min(len(s), 60)])
		}
	}
	return s
}
