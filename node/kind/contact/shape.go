package contact

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Shape gives a card the version and the properties that the target takes. A card without
// an end gets one for every target, since it would take what follows for a part of it. See the
// methods of shaper for what a strict target needs.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	if p.Version == "" && !p.Strict && len(p.Drops) == 0 && p.MaxSize == 0 {
		if all := Records(r.Data); len(all) == 1 && all[0].Problem == "" {
			return r, nil, true
		}
	}
	file, card := open(r.Data)
	s := shaper{profile: p, file: file, card: card, notes: notes{record: r}}
	if card == nil {
		return r, s.noCard(), false
	}
	if len(card.Nodes) > maxProperties {
		return r, s.tooMany(), !p.Strict && p.Version == "" && p.MaxSize == 0
	}
	s.notes.uid = card.Text("UID")
	if s.notes.record.Label == "" {
		s.notes.record.Label = s.notes.uid
	}
	s.run()
	out := s.bytes()
	if p.MaxSize > 0 && int64(len(out)) > p.MaxSize {
		if out = s.shrink(); int64(len(out)) > p.MaxSize {
			s.notes.add("", item.EffectDropped, fmt.Sprintf("the target takes no card of more than %d bytes", p.MaxSize), "", "")
			return r, s.notes.list, false
		}
	}
	if !bytes.Equal(out, r.Data) {
		r.Data = out
	}
	return r, s.notes.list, true
}

// maxProperties is how many lines a card may have that is shaped or merged: each may move
// all others. The largest that is known to be real is a group of some thousand members.
const maxProperties = 10_000

// tooMany tells what becomes of a card that has more.
func (s *shaper) tooMany() []item.Change {
	effect := item.EffectFlagged
	if s.profile.Strict || s.profile.Version != "" || s.profile.MaxSize > 0 {
		effect = item.EffectDropped
	}
	s.notes.add("", effect, fmt.Sprintf("a card of more than %d lines is not changed for a target", maxProperties), "", "")
	return s.notes.list
}

// noCard tells what is lost of a record that is none, line by line.
func (s *shaper) noCard() []item.Change {
	for p := range s.file.Root.Properties() {
		if !p.Blank() {
			s.notes.add(p.Name(), item.EffectDropped, "it is outside of cards", value(p), "")
		}
	}
	if len(s.file.Root.Nodes) == 0 {
		s.notes.add("", item.EffectDropped, "it is empty", "", "")
	}
	for c := range s.file.Root.Components() {
		s.notes.add(c.Name, item.EffectDropped, "it is outside of cards", string(c.Bytes()), "")
	}
	return s.notes.list
}

type shaper struct {
	profile rule.Profile
	file    *cl.File
	card    *cl.Component
	notes   notes
	groups  map[string]bool // in use; made by freeGroup
}

func (s *shaper) run() {
	strict := s.profile.Strict
	original := s.card.Bytes()
	s.close()
	if strict {
		s.outside()
		s.card.Begin.SetValue("VCARD") // not vCard, which Xandikos does not know
		s.card.End.SetValue("VCARD")
		s.lines()
	}
	if to, ok := s.version(); ok {
		if strict {
			s.charsets()
		}
		convert(s.card, to, &s.notes)
	}
	if strict {
		s.mend()
		s.require(original)
	}
	s.drop()
}

// bytes is the result. A strict target gets the card alone, without a break that has a CR too many or no LF.
func (s *shaper) bytes() []byte {
	if !s.profile.Strict {
		return s.file.Root.Bytes()
	}
	out := bytes.TrimPrefix(s.card.Bytes(), []byte("\ufeff"))
	switch s.file.Break() {
	case "\r\n", "\n":
		return out
	}
	return cl.AppendLines(nil, out, "\r\n")
}

// version returns what the card is to be converted to. A strict target gets no 2.1: RFC
// 6352 5.1 has only 3.0 and 4.0.
func (s *shaper) version() (cl.Dialect, bool) {
	to, ok := cl.VCard(s.profile.Version)
	switch {
	case ok && (to != s.card.Dialect || s.card.Get("VERSION") == nil):
	case s.profile.Version == "" && s.profile.Strict && s.card.Dialect == cl.VCard21:
		to = cl.VCard30
	default:
		return 0, false
	}
	return to, true
}

func (s *shaper) outside() {
	for p := range s.file.Root.Properties() {
		if !p.Blank() {
			s.notes.add("", item.EffectDropped, "it is text outside of the card", p.Value(), "")
		}
	}
	first := true
	for c := range s.file.Root.Components() {
		if c.Name == "VCARD" && first {
			first = false
			continue
		}
		s.notes.add("", item.EffectDropped, "it is a component outside of the card", string(c.Bytes()), "")
	}
}

func (s *shaper) close() {
	if s.card.End == nil {
		s.card.Close()
		s.notes.add("", item.EffectRepaired, "it had no end", "", "END:VCARD")
	}
}

// lines mends what is no property: a line that goes on without a blank before it becomes
// a part of the text before it, anything else an extension.
func (s *shaper) lines() {
	var last *cl.Property
	var more []string // lines that go on with it
	join := func() {
		switch {
		case len(more) == 0:
		case isStructured(last.Name()): // its semicolons are to stay
			last.SetValue(last.Value() + `\n` + strings.Join(more, `\n`))
		default:
			last.SetText(last.Text() + "\n" + strings.Join(more, "\n"))
		}
		more = nil
	}
	gone := map[*cl.Property]bool{}
	for _, n := range slices.Clone(s.card.Nodes) {
		p := n.Property
		switch {
		case p == nil:
			join()
			last = nil
		case p.Blank():
			gone[p] = true
		case p.Name() != "" && cleanName(p) && p.Problem() == "":
			join()
			last = p
		case p.Name() == "" && last != nil && !strings.HasPrefix(p.Value(), "#") && formOf(last.Name()) != formBinary && last.Encoding() != "BASE64":
			more = append(more, p.Value())
			s.notes.add(last.Name(), item.EffectRepaired, "a line of it had no blank before it", p.Value(), "")
			gone[p] = true
		default:
			join()
			s.extension(p)
		}
	}
	join()
	s.card.DeleteFunc(func(n cl.Node) bool { return n.Property != nil && gone[n.Property] })
}

func isStructured(name string) bool {
	f := formOf(name)
	return f == formComponents || f == formFields || f == formList
}

func cleanName(p *cl.Property) bool {
	return p.Name() != "BEGIN" && p.Name() != "END" && isToken(strings.ReplaceAll(p.Name(), "_", "-")) && !strings.Contains(p.Name(), "_") && (p.Group() == "" || isToken(p.Group()))
}

// The names under which a card keeps what has no place in it.
const (
	lineName = "X-DECANT-LINE"
	keepName = "X-DECANT-"
)

func (s *shaper) extension(p *cl.Property) {
	if p.Name() != "" && p.Name() != "BEGIN" && p.Name() != "END" && p.Problem() == "" {
		name, group := mendName(p.Name()), mendName(p.Group())
		s.notes.add(p.Name(), item.EffectMoved, "its name has characters that names can't have", p.Text(), name)
		p.SetName(name)
		p.SetGroup(group)
		return
	}
	text := p.Value()
	if p.Name() != "" {
		text = strings.TrimSpace(string(p.Raw()))
	}
	q := cl.NewProperty(s.card.Dialect, s.card.Begin.Break(), lineName)
	q.SetText(text)
	s.notes.add("", item.EffectMoved, "the line is no property", text, lineName)
	i := slices.IndexFunc(s.card.Nodes, func(n cl.Node) bool { return n.Property == p })
	s.card.Nodes[i].Property = q
}

func mendName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (isToken(string(r)) && r != '_') {
			return r
		}
		return '-'
	}, name)
	return name
}

// charsets mends text that is in no character set, as far as a guess can, before it is converted.
func (s *shaper) charsets() {
	for p := range s.card.Properties() {
		if p.Check() == cl.ProblemCharset {
			s.notes.add(p.Name(), item.EffectRepaired, "it was not in its character set", fmt.Sprintf("%q", shown(p.Value())), p.Text())
		}
	}
}

// require adds what a card must have. The UID comes from the card's content, so that it
// is the same each time.
func (s *shaper) require(original []byte) {
	at := 0
	add := func(name, v string, set func(*cl.Property)) {
		q := cl.NewProperty(s.card.Dialect, s.card.Begin.Break(), name)
		set(q)
		s.card.Insert(at, cl.Node{Property: q})
		s.notes.add(name, item.EffectAdded, "the target wants it", "", v)
	}
	if v := s.card.Get("VERSION"); v == nil {
		add("VERSION", s.card.Dialect.String(), func(q *cl.Property) { q.SetValue(s.card.Dialect.String()) })
	} else if v.Value() != s.card.Dialect.String() {
		s.notes.add("VERSION", item.EffectRepaired, "there is no such version", v.Value(), s.card.Dialect.String())
		v.SetValue(s.card.Dialect.String())
	}
	at = 1 + slices.IndexFunc(s.card.Nodes, func(n cl.Node) bool { return n.Property != nil && n.Property.Name() == "VERSION" })
	if strings.TrimSpace(s.card.Text("UID")) == "" {
		s.card.DeleteFunc(func(n cl.Node) bool { return n.Property != nil && n.Property.Name() == "UID" })
		uid := derivedUID(original)
		add("UID", uid, func(q *cl.Property) { q.SetText(uid) })
		s.notes.uid = uid
		at++
	}
	if p := s.card.Get("FN"); p == nil || strings.TrimSpace(p.Text()) == "" {
		name := strings.Map(noControl, label(original))
		if strings.TrimSpace(name) == "" {
			name = "(no name)"
		}
		if p != nil {
			p.SetText(name)
			s.notes.add("FN", item.EffectAdded, "the target wants it", "", name)
		} else {
			add("FN", name, func(q *cl.Property) { q.SetText(name) })
			at++
		}
	}
	if s.card.Get("N") == nil && s.card.Dialect != cl.VCard40 {
		name := s.card.Text("FN")
		add("N", name, func(q *cl.Property) { q.SetComponents([][]string{{""}, {name}, {""}, {""}, {""}}) })
	}
}

// derivedUID is a UUID (version 8, RFC 9562 5.8) made of a card's fingerprint.
func derivedUID(card []byte) string {
	f := cl.Fingerprint(bytes.Trim(bytes.TrimPrefix(card, []byte("\ufeff")), "\r\n"))
	h := sha256.Sum256(append([]byte("decant/contact/uid\x00"), f[:]...))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// madeUp reports whether a UID has the form of those that derivedUID makes.
func madeUp(uid string) bool {
	return len(uid) == 36 && uid[14] == '8' && uid[8] == '-' && uid[13] == '-'
}

// drop takes out what the target does not keep.
func (s *shaper) drop() {
	if len(s.profile.Drops) == 0 {
		return
	}
	s.card.DeleteFunc(func(n cl.Node) bool {
		if n.Property == nil || n.Property.Name() == "" || !dropped(n.Property.Name(), s.profile) {
			return false
		}
		s.notes.add(n.Property.Name(), item.EffectDropped, "the target does not keep it", value(n.Property), "")
		return true
	})
}

func dropped(name string, p rule.Profile) bool {
	if slices.Contains(p.Keeps, name) {
		return false
	}
	return slices.ContainsFunc(p.Drops, func(d string) bool {
		prefix, any := strings.CutSuffix(d, "*")
		return d == name || any && strings.HasPrefix(name, prefix)
	})
}

// shrink leaves out the largest inline values until the card is small enough.
func (s *shaper) shrink() []byte {
	for {
		var largest *cl.Property
		for p := range s.card.Properties() {
			if formOf(p.Name()) == formBinary && (largest == nil || p.Size() > largest.Size()) {
				largest = p
			}
		}
		out := s.bytes()
		if int64(len(out)) <= s.profile.MaxSize || largest == nil {
			return out
		}
		s.card.Remove(largest)
		s.notes.add(largest.Name(), item.EffectDropped, fmt.Sprintf("the target takes no card of more than %d bytes", s.profile.MaxSize), value(largest), "")
	}
}
