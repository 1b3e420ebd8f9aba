package contact

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Rules are the rules of contacts: docs/SPEC.md section 9.3 (canonical form) and 9.4
// (shape and match). The canonical form is the card's own bytes, in any version of vCard.
type Rules struct{}

var _ rule.Rules = Rules{}

// Label of a record that is no card.
const noCard = "(no card)"

// Split cuts an address book into cards. Blank lines and a byte order mark belong to the
// card before them, at the start of the file to the first one, so that the records one
// after the other are the file. Other text outside of cards is a record of its own, as is a card
// that is not closed. UTF-16 becomes UTF-8.
func (Rules) Split(path string, data []byte) []item.Record { return SplitFrom(path, 1, data) }

// SplitFrom is Rules.Split for a part of a file that begins at a line.
func SplitFrom(path string, line int, data []byte) []item.Record {
	text := contentline.Narrow(data)
	var out []item.Record
	at := 0
	add := func(end int, card bool) {
		piece := text[at:end:end]
		if !card && blank(piece) {
			if len(out) == 0 {
				return // goes to the first card
			}
			last := &out[len(out)-1]
			start := at - len(last.Data)
			last.Data = text[start:end:end]
		} else {
			r := item.Record{Kind: item.Contact, Label: noCard, From: fmt.Sprintf("%s:%d", path, line+leading(piece)), Data: piece}
			if card {
				r.Label = label(piece)
			}
			out = append(out, r)
		}
		line += bytes.Count(piece, []byte{'\n'})
		at = end
	}
	for _, r := range Records(text) {
		g := r.Ranges[0]
		if int(g.Offset) > at {
			add(int(g.Offset), false)
		}
		add(int(g.Offset+g.Length), true)
	}
	if at < len(text) {
		add(len(text), false)
	}
	return out
}

// leading counts the blank lines that a piece begins with.
func leading(piece []byte) int {
	return bytes.Count(piece[:len(piece)-len(bytes.TrimLeft(piece, "\ufeff \t\r\n"))], []byte{'\n'})
}

// Label returns what a person knows a card by: its formatted name, else its name, its
// organisation, an address or a number.
func Label(card []byte) string { return label(card) }

func label(data []byte) string {
	const most = 200
	best, rank := "", len(labelNames)
	version := "3.0"
	if i := bytes.Index(data, []byte("VERSION:2.1")); i >= 0 && i < 64<<10 {
		version = "2.1"
	}
	for s := contentline.NewScanner(data); s.Next(); {
		name := s.Name()
		for i, n := range labelNames[:rank] {
			if !contentline.EqualFold(name, n) {
				continue
			}
			v, ok := s.Value(4 << 10)
			if !ok && len(v) == 0 {
				break
			}
			f := contentline.Parse(append([]byte("BEGIN:VCARD\nVERSION:"+version+"\n"), data[s.Start:s.End]...))
			if t := labelText(f.Root.Nodes[0].Component.Get(n), n); t != "" {
				best, rank = t, i
			}
			break
		}
		if rank == 0 {
			break
		}
	}
	if r := []rune(best); len(r) > most {
		best = string(r[:most])
	}
	return best
}

var labelNames = []string{"FN", "N", "NICKNAME", "ORG", "EMAIL", "TEL"}

func labelText(p *contentline.Property, name string) string {
	if p == nil {
		return ""
	}
	if name == "N" {
		return fullName(p.Components())
	}
	if name == "ORG" {
		return joinNonEmpty(p.Fields(), ", ")
	}
	return strings.TrimSpace(p.Text())
}

// fullName writes the components of N as a person says them: prefixes, given, additional,
// family, suffixes.
func fullName(n [][]string) string {
	var parts []string
	for _, i := range [...]int{3, 1, 2, 0, 4} {
		if i < len(n) {
			parts = append(parts, joinNonEmpty(n[i], " "))
		}
	}
	return joinNonEmpty(parts, " ")
}

func joinNonEmpty(parts []string, sep string) string {
	var out []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, sep)
}

// open parses a record and returns its first card, nil if there is none.
func open(data []byte) (*contentline.File, *contentline.Component) {
	f := contentline.Parse(data)
	for c := range f.Root.Components() {
		if c.Name == "VCARD" {
			return f, c
		}
	}
	return f, nil
}

// notes collects the changes of one record.
type notes struct {
	record item.Record
	uid    string
	list   []item.Change
}

func (n *notes) add(property string, e item.Effect, why, before, after string) {
	n.list = append(n.list, item.Change{Kind: item.Contact, Record: n.record.Label, UID: n.uid, From: n.record.From,
		Property: property, Effect: e, Why: why, Before: shown(before), After: shown(after)})
}

// reading tells what is not clear, or not kept, about how a property that is written anew was written.
func (n *notes) reading(p *contentline.Property) {
	if p.Joined() {
		n.add("", item.EffectRepaired, "lines of "+p.Name()+" had no blank before them", value(p), "")
		n.add(p.Name(), item.EffectRepaired, "its lines had no blank before them", value(p), "")
	}
	charset, ok := p.Param("CHARSET")
	switch strings.ToUpper(charset) {
	case "UTF-8", "US-ASCII", "ISO-8859-1", "WINDOWS-1252":
	default:
		if ok {
			n.add(p.Name(), item.EffectAltered, "it was in "+charset+" and is in UTF-8", original(p), p.Text())
		}
	}
}

// original is a value as it stands in the file, if that is text.
func original(p *contentline.Property) string {
	if v := p.Value(); utf8.ValidString(v) {
		return v
	}
	return p.Decoded()
}

// shown cuts a value for a Change, between characters.
func shown(s string) string {
	if len(s) <= item.MaxShown {
		return s
	}
	s = s[:item.MaxShown]
	for i := 1; i <= 3; i++ {
		if s[len(s)-i]&0xc0 != 0x80 {
			if s[len(s)-i] >= 0xc0 {
				s = s[:len(s)-i]
			}
			break
		}
	}
	return s
}

// value is what a Change shows of a property.
func value(p *contentline.Property) string {
	if p.Size() > 16<<10 || p.Encoding() == "BASE64" {
		return fmt.Sprintf("(%d bytes)", p.Size())
	}
	return p.Text()
}
